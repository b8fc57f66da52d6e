"""What git's settings name in a work tree as something to run or to read: hooks, filters, aliases, drivers, editors, further settings.

Git itself reads the settings (it runs nothing for that), so that its quotes, comments and continued lines mean what they mean to it. Every
value counts as a command line, whatever its key: a list of the keys that git runs would be out of date with its next version. Of such a
line what stands where a program or a script stands is named: what an alias counts or formats is the user's to have changed.
"""

# os.path rather than Path: what can't be looked at is not there, and no error.
# ruff: noqa: PTH114

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from agent.files.protected import links_within
from agent.files.run_by import MAY_RUN, TooMuch, Work, files_run_by
from agent.process import children
from agent.process.git import SETTINGS, common, repository, root_of

FOLDERS = frozenset({"core.hookspath", "init.templatedir"})
"""Keys whose value is a folder of hooks."""
HOOKS = frozenset(
    {
        *("applypatch-msg", "commit-msg", "fsmonitor-watchman", "post-applypatch", "post-checkout", "post-commit", "post-index-change"),
        *("post-merge", "post-receive", "post-rewrite", "post-update", "pre-applypatch", "pre-auto-gc", "pre-commit", "pre-merge-commit"),
        *("pre-push", "pre-rebase", "pre-receive", "prepare-commit-msg", "proc-receive", "push-to-checkout", "reference-transaction"),
        *("sendemail-validate", "update"),
    }
)  # fmt: skip
DATA = re.compile(
    r"(?:author|branch|color|committer|user|url)\..*|(?:remote|submodule)\..*\.(?:url|fetch|push|pushurl|branch|path|active)|init\.defaultbranch",
    re.DOTALL,
)
"""Keys whose values are names and addresses."""
READ = frozenset({"core.attributesfile", "gpg.ssh.allowedsignersfile"})
"""Keys whose value is a file that says which of the others run, or who is believed."""
BY_ENV = frozenset({"EDITOR", "VISUAL", "PAGER"})
"""Variables that git runs, beside its own."""
FOLDERS_BY_ENV = frozenset({"GIT_TEMPLATE_DIR", "GIT_EXEC_PATH"})
MOST_FILES = 100
"""Files of settings that are read for one repository, those that it includes among them."""
MOST_CHARACTERS = 200_000
"""In the settings of one repository."""
MOST_BYTES = 1_000_000
"""In one file."""
LONGEST_S = 5.0


class Setting(NamedTuple):
    """A key as git spells it, in lower letters but for its middle (or a variable's name), and its value."""

    key: str
    value: str


def why_named_by_git(path: Path, cwd: Path) -> str | None:
    """Why changing such a file needs the user's word; None where it is none. Both with their links resolved. Looks at the disk.

    Asked are the repositories that the file and the working folder are in. One that lies elsewhere and names it all the same is not found.
    """
    try:
        for folder in {cwd: None, **dict.fromkeys(around((path.parent, cwd)))}:
            if any(path.is_relative_to(place) for place in named_by_git(folder)):
                return "git's settings name it as something to run or to read"
    except TooMuch:
        return "git's settings are too long to be looked through, and may name it as something to run"
    return None


def around(folders: Iterable[Path]) -> Iterator[Path]:
    """The work trees that these folders are in, each once: a repository may lie in another's work tree."""
    seen: set[Path] = set()
    for folder in folders:
        here: Path | None = folder
        while here is not None and (root := root_of(here)) is not None and root not in seen:
            seen.add(root)
            yield root
            here = root.parent if root != root.parent else None


def named_by_git(root: Path) -> frozenset[Path]:
    """The files and folders, there or not, that git runs or reads in this work tree (or repository without one) by its settings.

    Those of the repository, of the user, of the machine and of the environment, and the files that they are in. A folder stands for all
    that is in it. With a place that is reached over links come those links, and where they lead. In a folder that is no repository the
    user's own count. Raises TooMuch.
    """
    theirs = repository(root) or (root if (root / "HEAD").is_file() else None)
    hooks = [common(theirs) / "hooks"] if theirs else []
    found: set[Path] = set()
    work = Work()
    for setting in _settings(root, theirs, found):
        if setting.key in FOLDERS:
            hooks.append(folder := _place(root, setting.value))
            # A folder with all of the work in it can't be guarded as a whole.
            found.update((folder, *(folder / name for name in HOOKS)))
        elif setting.key in READ:
            found.add(_place(root, setting.value))
        elif not DATA.fullmatch(setting.key) and MAY_RUN.search(setting.value):
            for base in _bases(setting, root):
                found.update(files_run_by(setting.value.removeprefix("!"), base, in_doubt=False, work=work))
    for folder in hooks:
        found.update(links_within(folder))
    # What is in a repository itself is guarded by its name.
    own = {Path(os.path.normpath(theirs)), common(theirs)} - {root} if theirs else ()
    return frozenset(
        place
        for each in found
        for place in _with_links(each)
        if (plain := Path(os.path.normpath(place))) not in (root, *root.parents)
        and not any(plain.is_relative_to(folder) for folder in own)
    )


def _bases(setting: Setting, root: Path) -> tuple[Path, ...]:
    """The folders that git runs it in: that of a submodule has its name, unless somebody has moved it."""
    section, _, rest = setting.key.partition(".")
    return (root, root / rest.rpartition(".")[0]) if section == "submodule" and "\0" not in rest else (root,)


def _with_links(place: Path) -> Iterator[Path]:
    """The place, each link on the way to it, and where they lead in the end."""
    yield place
    if ".." in place.parts:
        yield Path(os.path.normpath(place))
    for above in (place, *place.parents):
        # Not Path's own: it raises for what is too long, or closed to us.
        if os.path.islink(above):
            yield above
            yield Path(os.path.realpath(place))


def _place(base: Path, value: str) -> Path:
    return base / os.path.expanduser(value.replace("%(prefix)", ""))  # noqa: PTH111


def _includes(key: str) -> bool:
    return key == "include.path" or (key.startswith("includeif.") and key.endswith(".path"))


def _settings(root: Path, theirs: Path | None, files: set[Path]) -> Iterator[Setting]:
    """All that may hold, each file once, and into `files` those files that others may write. A condition of an include counts as met: what
    meets it may come later. Raises TooMuch."""
    env = os.environ
    home = Path.home()
    xdg = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "git"
    waiting = [root / (env.get("GIT_CONFIG_SYSTEM") or "/etc/gitconfig"), root / xdg / "config", home / ".gitconfig"]
    if named := env.get("GIT_CONFIG_GLOBAL"):
        waiting.append(root / named)
    files.update((*waiting, root / xdg / "attributes"))
    if theirs:
        waiting += [common(theirs) / "config", theirs / "config.worktree"]
    seen: set[Path] = set()
    left = MOST_CHARACTERS
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for key, value in _listed(file):
            left -= len(key) + len(value)
            if len(seen) > MOST_FILES or left < 0:
                raise TooMuch
            if not _includes(key):
                yield Setting(key, value)
            elif "\0" not in value:
                waiting.append(place := _place(file.parent, value))
                files.add(place)
    yield from _of_environment(env)


def _of_environment(env: Mapping[str, str]) -> Iterator[Setting]:
    for name, value in env.items():
        if name in FOLDERS_BY_ENV:
            yield Setting("core.hookspath", value)
        elif name in BY_ENV or name.startswith("GIT_"):
            yield Setting(name, value)
        if name.startswith("GIT_CONFIG_KEY_"):
            yield Setting(value.lower(), env.get(name.replace("_KEY_", "_VALUE_"), ""))
    for key, value in re.findall(r"'([^'=]+)(?:'='|=)([^']*)'", env.get("GIT_CONFIG_PARAMETERS", "")):
        yield Setting(key.lower(), value)


def _listed(file: Path) -> tuple[tuple[str, str], ...]:
    try:
        status = file.stat()
    except (OSError, ValueError):
        return ()
    if not stat.S_ISREG(status.st_mode):  # git would wait for a pipe
        return ()
    if status.st_size > MOST_BYTES:
        raise TooMuch
    return _read(str(file), status.st_mtime_ns, status.st_size, status.st_ino)


@functools.lru_cache(maxsize=8_192)
def _read(file: str, _changed: int, _size: int, _inode: int) -> tuple[tuple[str, str], ...]:
    """The settings in one file; none where git does not take it for one: then it runs nothing there either. Raises TooMuch."""
    # Without a repository: not even the settings of the folder that we are in count.
    env = children.environment() | SETTINGS | {"GIT_DIR": os.devnull}
    done = children.run(
        ["git", "config", "--no-includes", "--list", "-z", "--file", file], env=env, timeout_s=LONGEST_S
    )
    if done is None:
        if children.program("git", env=env) is None:
            return ()
        raise TooMuch
    if done.returncode:
        return ()
    entries = (entry.partition("\n") for entry in done.stdout.decode("utf-8", "surrogateescape").split("\0") if entry)
    return tuple((key, value) for key, _, value in entries)
