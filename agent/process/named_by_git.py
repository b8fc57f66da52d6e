"""What git's settings name in a work tree as something to run or to read: hooks, filters, aliases, drivers, editors, further settings.

Git itself reads the settings (it runs nothing for that), so that its quotes, comments and continued lines mean what they mean to it. Every
value counts as a command line, whatever its key: a list of the keys that git runs would be out of date with its next version.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from agent.files.protected import links_within
from agent.files.run_by import files_run_by
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
DATA = frozenset({"author", "branch", "color", "committer", "init", "remote", "submodule", "user"})
"""Sections whose values are names and addresses."""
PATHS = ("file", "path", "template")
"""Ends of the keys whose value is a path."""
BY_ENV = frozenset({"EDITOR", "VISUAL", "PAGER"})
"""Variables that git runs, beside its own."""
MOST_FILES = 100
"""Files of settings that are read for one repository, those that it includes among them."""
LONGEST_S = 5.0


class Setting(NamedTuple):
    """A key as git spells it, in lower letters but for its middle, and its value; `folder` is that of the file."""

    key: str
    value: str
    folder: Path


def why_named_by_git(path: Path, cwd: Path) -> str | None:
    """Why changing such a file needs the user's word; None where it is none. Both with their links resolved. Looks at the disk.

    Asked are the repositories that the file and the working folder are in. One that lies elsewhere and names it all the same is not found.
    """
    for folder in around((path.parent, cwd)):
        if any(path.is_relative_to(place) for place in named_by_git(folder)):
            return "git's settings name it as something to run or to read"
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

    Those of the repository, of the user, of the machine and of the environment. A folder stands for all that is in it. With a place that
    is reached over links come those links, and where they lead.
    """
    theirs = Path(os.path.normpath(repository(root) or root))
    hooks = [common(theirs) / "hooks"]
    found: set[Path] = set()
    for setting in _settings(root, theirs):
        if setting.key in FOLDERS:
            hooks.append(folder := _place(root, setting.value))
            # A folder with all of the work in it can't be guarded as a whole.
            found.update((folder, *(folder / name for name in HOOKS)))
        elif _includes(setting.key):
            found.add(_place(setting.folder, setting.value))
        else:
            if setting.key.endswith(PATHS):
                found.add(_place(root, setting.value))
            if "/" in setting.value or _has_words_to_run(setting):
                found.update(files_run_by(setting.value.removeprefix("!"), root))
    for folder in hooks:
        found.update(links_within(folder))
    own = {theirs, common(theirs)} - {root}  # guarded by the names of what is in it
    return frozenset(
        place
        for each in found
        for place in _with_links(each)
        if place not in (root, *root.parents) and not any(place.is_relative_to(folder) for folder in own)
    )


def _with_links(place: Path) -> Iterator[Path]:
    """The place, each link on the way to it, and where they lead in the end."""
    yield place
    for above in (place, *place.parents):
        if above.is_symlink():
            yield above
            try:
                yield place.resolve()
            except (OSError, RuntimeError):  # a circle
                continue


def _has_words_to_run(setting: Setting) -> bool:
    """Whether words without a slash can be files: `user.name = The main one` means no file of that name, `sh check.sh` does."""
    section = setting.key.partition(".")[0]
    if section == "alias":  # without a `!` it is a command of git, which runs what its options say
        return setting.value.startswith("!") or " -c" in f" {setting.value}"
    return section not in DATA and " " in setting.value


def _place(base: Path, value: str) -> Path:
    return Path(os.path.normpath(base / os.path.expanduser(value.replace("%(prefix)", ""))))  # noqa: PTH111


def _includes(key: str) -> bool:
    return key == "include.path" or (key.startswith("includeif.") and key.endswith(".path"))


def _settings(root: Path, theirs: Path) -> Iterator[Setting]:
    """All that may hold, each file once. A condition of an include counts as met: what meets it may come later."""
    env = os.environ
    home = Path.home()
    waiting = [
        Path(env.get("GIT_CONFIG_SYSTEM") or "/etc/gitconfig"),
        *([Path(env["GIT_CONFIG_GLOBAL"])] if env.get("GIT_CONFIG_GLOBAL") else []),
        Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "git" / "config",
        home / ".gitconfig",
        common(theirs) / "config",
        theirs / "config.worktree",
    ]
    seen: set[Path] = set()
    while waiting and len(seen) < MOST_FILES:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for key, value in _listed(file):
            yield Setting(key, value, file.parent)
            if _includes(key) and "\0" not in value:
                waiting.append(_place(file.parent, value))
    yield from (Setting(name, value, root) for name, value in _of_environment(env))


def _of_environment(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in env.items():
        if name in BY_ENV or name.startswith("GIT_"):
            yield name, value
            if name.startswith("GIT_CONFIG_KEY_"):
                yield value.lower(), env.get(name.replace("_KEY_", "_VALUE_"), "")


def _listed(file: Path) -> tuple[tuple[str, str], ...]:
    try:
        status = file.stat()
    except (OSError, ValueError):
        return ()
    if not stat.S_ISREG(status.st_mode):  # git would wait for a pipe
        return ()
    try:
        return _read(str(file), status.st_mtime_ns, status.st_size, status.st_ino)
    except TimeoutError:
        return ()


@functools.lru_cache(maxsize=8_192)
def _read(file: str, _changed: int, _size: int, _inode: int) -> tuple[tuple[str, str], ...]:
    """The settings in one file; none where git does not take it for one: then it runs nothing there either. Raises TimeoutError."""
    # Without a repository: not even the settings of the folder that we are in count.
    env = children.environment() | SETTINGS | {"GIT_DIR": os.devnull}
    done = children.run(
        ["git", "config", "--no-includes", "--list", "-z", "--file", file], env=env, timeout_s=LONGEST_S
    )
    if done is None:
        raise TimeoutError  # rather than an answer that is kept
    if done.returncode:
        return ()
    entries = (entry.partition("\n") for entry in done.stdout.decode("utf-8", "surrogateescape").split("\0") if entry)
    return tuple((key, value) for key, _, value in entries)
