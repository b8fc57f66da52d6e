"""Files that run later, outside, when the user does something quite different: a `git status`, a `cd`, opening the folder in an editor.

One list for all that must know: approval asks before a tool changes one (in every mode), the sandbox mounts what is there read-only and
takes away what a command has made anew. What the user runs knowingly (sources, tests, a Makefile) is not on it.
"""

# os.path rather than Path: what lies in a folder that is closed to the user is not there, and no error.
# ruff: noqa: PTH110, PTH114

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

GIT = ".git"
# A folder that has all of one of these is a repository, whatever its name: commondir says where the rest is.
BARE = (frozenset({"HEAD", "objects", "refs"}), frozenset({"HEAD", "commondir"}))

# Names that mean it anywhere, and who runs what is in there.
ANYWHERE: Mapping[str, str] = {
    GIT: "git runs what is named there",
    ".moa": "it is this program's own settings",
    ".envrc": "direnv runs it",
    ".direnv": "direnv runs what it keeps there",
    **dict.fromkeys(
        (".autoenv", ".autoenv.zsh", ".autoenv_leave.zsh", ".rvmrc"), "the shell runs it on entering the folder"
    ),
    **dict.fromkeys(
        (".hg", ".jj", ".sl", ".bzr", "_darcs", ".pijul", ".fslckout", "_fossil_"),
        "version control runs what is named there",
    ),
    **dict.fromkeys((".shadowenv.d", ".flox"), "the shell runs it on entering the folder"),
    # R and others look for the name in capitals; for names that know none there is the other.
    **dict.fromkeys(
        (
            *(".Rprofile", ".rprofile", ".Renviron", ".renviron", ".RData", ".rdata", ".irbrc", ".pryrc", ".ghci"),
            *(".iex.exs", ".ocamlinit", ".octaverc", ".erlang"),
        ),
        "an interpreter runs it when it starts here",
    ),
    **dict.fromkeys((".mise.toml", "mise.toml", ".mise", ".rtx.toml"), "mise runs it"),
    **dict.fromkeys((".tool-versions", "rust-toolchain", "rust-toolchain.toml"), "it says which programs run here"),
    **dict.fromkeys(
        (
            ".husky",
            ".pre-commit-config.yaml",
            ".pre-commit-config.yml",
            "prek.toml",
            ".overcommit.yml",
            "captainhook.json",
            ".lefthook",
            "hk.pkl",
            ".trunk",
        ),
        "git hooks run it",
    ),
    **dict.fromkeys((".pdbrc", ".gdbinit", ".lldbinit"), "the debugger runs it"),
    **{
        f"{dot}lefthook{local}.{form}": "git hooks run it"
        for dot in ("", ".")
        for local in ("", "-local")
        for form in ("yml", "yaml", "toml", "json", "jsonc")
    },
    ".idea": "the editor runs what is named there",
    ".devcontainer": "the editor runs what is named there",
    ".devcontainer.json": "the editor runs what is named there",
    **dict.fromkeys(
        (
            *(".zed", ".helix", ".fleet", ".theia", ".exrc", ".nvimrc", ".nvim.lua", ".vimrc", ".lvimrc"),
            *(".dir-locals.el", ".dir-locals-2.el", ".lazy.lua", ".neoconf.json", ".externaltoolbuilders"),
        ),
        "the editor runs what is named there",
    ),
    **dict.fromkeys(
        (
            *(".claude", ".cursor", ".codex", ".gemini", ".opencode", "opencode.json", "opencode.jsonc", ".mcp.json"),
            *(".windsurf", ".roo", ".kiro", ".amazonq", ".trae", ".junie", ".continue", ".qwen", ".kimi", ".vibe"),
            *(
                ".aider.conf.yml",
                ".pi",
                ".omp",
                ".crush",
                ".crush.json",
                "crush.json",
                ".goose",
                ".factory",
                ".augment",
            ),
            *(".copilot", ".cline", ".hermes", ".grok", ".kilocode"),
        ),
        "another agent runs what is named there",
    ),
}
EDITOR = ".vscode"
EDITOR_FILES = frozenset({"tasks.json", "launch.json", "settings.json", "mcp.json", "c_cpp_properties.json"})
# Names that mean it in a folder of that name alone.
IN_FOLDERS: Mapping[str, Mapping[str, str]] = {
    ".config": {"mise": "mise runs it", "pre-commit.yaml": "git hooks run it"},
    ".vim": {"coc-settings.json": "the editor runs what is named there"},
    "mise": dict.fromkeys(("config.toml", "config.local.toml", "conf.d"), "mise runs it"),
    ".cargo": dict.fromkeys(("config", "config.toml"), "it says which programs cargo runs"),
    ".github": {"hooks": "another agent runs what is named there"},
    ".clinerules": {"hooks": "another agent runs what is named there"},
}
# mise.local.toml, .mise.production.toml: one for each environment.
MISE = re.compile(r"\.?mise\..+\.toml", re.DOTALL)
WORKSPACE = ".code-workspace"
VENVS = frozenset({".venv", "venv"})
VENV_MARK = "pyvenv.cfg"
SYSTEM = (
    "/etc",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/boot",
    "/proc",
    "/sys",
    "/var/spool/cron",
    "/Library",
)
"""Settings and programs of the machine, which are root's to write: it may be root that runs this program."""
PROGRAMS = frozenset({"bin"})
"""What of the home folder runs beside its dotfiles."""


def why_protected(path: Path, cwd: Path, own: Iterable[Path] = ()) -> str | None:
    """Why changing a file needs the user's word in every mode; None where it does not.

    `path` is absolute with its links resolved; `cwd` is the working folder, `own` are this program's own folders (settings, state).
    Looks at the disk.
    """
    if any(path.is_relative_to(_real(folder)) for folder in own):
        return "it is this program's own"
    root = cwd.resolve()
    # In the project only what lies below its root counts: a project that lives in ~/.husky/x is no hook.
    inside = path.is_relative_to(root)
    parts = [spelled(part) for part in (path.relative_to(root) if inside else path).parts]
    for at, part in enumerate(parts):
        if why := why_named(part, parts[at - 1] if at else ""):
            return why
        if part == EDITOR and (at == len(parts) - 1 or parts[at + 1] in EDITOR_FILES):
            return "the editor runs what is named there"
    below = [
        folder for folder in (path, *path.parents) if not inside or (folder != root and folder.is_relative_to(root))
    ]
    if inside and (linked := _linked_as(path, (root, *below[1:]))):
        return linked
    if any(map(_is_venv, below)):
        return "it is a Python environment: what is in there runs with the next python"
    if any(_would_be_repository(path, folder) for folder in path.parents):
        return "it is a part of a git repository without a work tree: git runs what is named there"
    if path.parent in program_folders(os.environ, root):
        return "its folder is on PATH"
    return _outside(path, root)


def why_named(name: str, folder: str = "") -> str | None:
    """Why what has this name, in a folder of that name, runs later; None where it does not. Both as `spelled`."""
    if name in ANYWHERE:
        return ANYWHERE[name]
    if MISE.fullmatch(name):
        return ANYWHERE["mise.toml"]
    if name.endswith(WORKSPACE):
        return ANYWHERE[".idea"]
    return IN_FOLDERS[folder].get(name) if folder in IN_FOLDERS else None


def _outside(path: Path, root: Path) -> str | None:
    """Of the home folder and the system, as far as they are not the project."""
    home = Path.home().resolve()
    if any(path.is_relative_to(place) for place in linked_from_home() if place not in (root, *root.parents)):
        return OF_THE_ACCOUNT
    if path.is_relative_to(root) and not home.is_relative_to(root):
        return None
    if path.is_relative_to(home) and path != home:
        first = spelled(path.relative_to(home).parts[0])
        if first.startswith(".") or first in PROGRAMS:
            return OF_THE_ACCOUNT
    if any(path.is_relative_to(folder) for folder in SYSTEM):
        return "the system runs it"
    return None


OF_THE_ACCOUNT = "it is among the settings of your account: shells, desktops and other programs run them"
_PLACES = (
    *ANYWHERE.items(),
    *((f"{EDITOR}/{each}", ANYWHERE[".idea"]) for each in sorted(EDITOR_FILES)),
    *((f"{folder}/{name}", why) for folder, names in IN_FOLDERS.items() for name, why in names.items()),
)


def _linked_as(path: Path, folders: Iterable[Path]) -> str | None:
    """Why a file runs later that has a harmless name itself, and another one by a link beside it or above: `.husky -> tools/hooks`."""
    for folder in folders:
        for name, why in _PLACES:
            link = folder / name
            if (os.path.islink(link) or os.path.islink(link.parent)) and path.is_relative_to(_real(link)):
                return why
            if any(path.is_relative_to(_real(target)) for target in links_within(link)):
                return why
    return None


def linked_from_home() -> frozenset[Path]:
    """Where the links lead that stand among the account's settings: a project may be what keeps them (`~/.bashrc -> dotfiles/bashrc`)."""
    home = Path.home()
    found = [*links_within(home, starts="."), *links_within(home / ".config")]
    return frozenset(place for each in found for place in (Path(os.path.normpath(each)), _real(each)))


def links_within(folder: Path, starts: str = "") -> Iterator[Path]:
    """Where the links lead that lie in a folder, not deeper: a hook may be a link to a script of the work tree. They are as they are written,
    behind the folder: what `..` is there, the disk knows."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink() and entry.name.startswith(starts):
                    yield folder / os.readlink(entry.path)  # noqa: PTH115
    except OSError:
        return


def _real(path: Path) -> Path:
    # Not Path.resolve, which raises for links in a circle: somebody's circle is no reason to know nothing of all the rest.
    return Path(os.path.realpath(path))


def spelled(name: str) -> str:
    """A name as file systems compare it that know neither case nor invisible characters."""
    if name.isascii():
        return name.casefold()
    visible = "".join(char for char in name if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", visible).casefold()


def _is_venv(folder: Path) -> bool:
    return spelled(folder.name) in VENVS or os.path.exists(folder / VENV_MARK)


def _would_be_repository(path: Path, folder: Path) -> bool:
    """Whether `folder` is a repository without a work tree, or would be one with this file in it."""
    wanted = path.relative_to(folder).parts[0]
    return any(
        all(name == wanted or os.path.lexists(folder / name) for name in names)
        for names in BARE
        if wanted in names or len(names) == 3
    )


def program_folders(env: Mapping[str, str], root: Path) -> frozenset[Path]:
    """The folders of PATH; those without a place of their own count from `root`, which is none itself."""
    named = (folder for folder in env.get("PATH", "").split(os.pathsep) if folder)
    return frozenset(_real(root / folder) for folder in named) - {root}


def is_bare(names: Collection[str]) -> bool:
    """Whether a folder with these entries is a repository."""
    there = set(names)
    return any(there >= wanted for wanted in BARE)
