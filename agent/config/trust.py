"""Trusting a project: its `.moa` folder and its AGENTS.md take effect only when the user has said so, and only as they were then.

`[trust] folders` in config.toml names the projects. What such a folder had in it when it was trusted is kept in the state folder, as a
digest a file: after a change (a pull brought a new skill) it has no effect until the user has looked again. The files of the project that
its hooks and MCP servers run are among it. A folder that was written into config.toml by hand is taken as it is when it is first used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from agent.config.named_by_us import scripts_of
from agent.config.paths import project_folder
from agent.config.toml import load
from agent.errors import UsageError
from agent.files.run_by import RECIPES, TooMuch, is_script
from agent.text import foreign_json
from agent.text.cleaning import visible

if TYPE_CHECKING:
    from agent.config.paths import Paths

MOST_FILES = 2_000
MOST_BYTES = 64 * 1024 * 1024
MOST_OF_SCRIPTS = 256 * 1024 * 1024
"""Of all that hooks and servers run, which may be programs: a third of a second to go through."""
Digests = dict[str, str]
"""Of the files in a `.moa` folder, by their path in it; the project's AGENTS.md, and what hooks and servers run, stand beside it."""
INSTRUCTIONS = "../AGENTS.md"


class Trusting(Protocol):
    """What of the settings says whom the user trusts: `[trust] folders`, and where the state folder is."""

    @property
    def trusted(self) -> Collection[str]:
        """The projects of `[trust] folders`."""

    @property
    def paths(self) -> Paths:
        """The program's own folders."""


class Standing(NamedTuple):
    """How a project's `.moa` folder stands. `problem`: why it has no effect although its project is named as trusted."""

    folder: Path | None
    problem: str = ""


def standing(config: Trusting, folder: Path) -> Standing:
    """Whether a `.moa` folder takes effect: its project is trusted, and the folder is what it was then."""
    root = str(folder.parent)
    if root not in config.trusted:
        return Standing(None)
    found = digests(folder)
    if found is None:
        return Standing(
            None,
            f"{folder} has more in it, or names more to run, than can be looked through ({MOST_FILES:,} files, 64 MB of its own, 256 MB of scripts)",
        )
    seen = read_seen(config)
    if root not in seen:
        write_seen(config, {**seen, root: found | instructions_digest(folder.parent)})
        return Standing(folder)
    before = {name: digest for name, digest in seen[root].items() if name != INSTRUCTIONS}
    if changed := changes(before, found):
        told = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        return Standing(
            None, f"{folder} has changed since you trusted it ({told}); nothing of it is used until: moa trust {root}"
        )
    return Standing(folder)


def why_not(config: Trusting, cwd: Path) -> str:
    """Why the `.moa` folder that governs `cwd` has no effect although its project is named as trusted; empty where it has, or is not."""
    folder = project_folder(cwd)
    return standing(config, folder).problem if folder is not None else ""


def why_changed(config: Trusting, folder: Path | None) -> str:
    """Why nothing of a `.moa` folder may be run any more that was trusted when the program started: a pull, or another branch, has brought
    other settings or scripts. Empty where it may. Blocking."""
    if folder is None or (found := standing(config, folder)).folder is not None:
        return ""
    return found.problem or f"{folder} is not trusted any more"


def speaks(config: Trusting, path: Path) -> bool:
    """Whether an AGENTS.md speaks for the user: it stands at the root of a project that is trusted, and is what it was then."""
    root = path.parent.resolve()
    if str(root) not in config.trusted:
        return False
    seen, now = read_seen(config), instructions_digest(root)
    if str(root) not in seen:  # written into config.toml by hand: taken as it is when it is first used
        write_seen(config, {**seen, str(root): (digests(root / ".moa") or {}) | now})
        return True
    return bool(now) and seen[str(root)].get(INSTRUCTIONS) == now[INSTRUCTIONS]


def gone_silent(config: Trusting, cwd: Path) -> Iterator[str]:
    """What to tell of each AGENTS.md around `cwd` that a trusted project has changed since."""
    for folder in (cwd, *cwd.parents):
        path = folder / "AGENTS.md"
        if str(folder.resolve()) in config.trusted and path.is_file() and not speaks(config, path):
            yield f"{path} has changed since you trusted it; it is read as information, not as your word, until: moa trust {folder}"


def taken_up(config: Trusting, path: Path) -> None:
    """The user has changed an AGENTS.md through this program: where it spoke for them, it still does."""
    root, seen = str(path.parent.resolve()), read_seen(config)
    if root in config.trusted and root in seen:
        write_seen(config, {**seen, root: seen[root] | instructions_digest(path.parent)})


def instructions_digest(root: Path) -> Digests:
    """The digest of a project's AGENTS.md; empty where there is none. Blocking, but never on a pipe of that name."""
    try:
        with os.fdopen(os.open(root / "AGENTS.md", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return {}
            return {INSTRUCTIONS: hashlib.sha256(file.read(MOST_BYTES)).hexdigest()}
    except OSError:
        return {}


def changes(before: Digests, now: Digests) -> list[str]:
    """What is new, gone or another one, each with a word for it."""
    kinds = {
        name: "new" if name not in before else "gone" if name not in now else "changed"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    }
    return [f"{kind}: {one_line(name)}" for name, kind in kinds.items()]


def digests(folder: Path) -> Digests | None:
    """The digests of all files in a `.moa` folder, links followed, and of what its settings run; None where it has too much in it. Blocking."""
    try:
        found = _scripts(folder)
    except TooMuch:
        return None
    left = MOST_BYTES
    for path in _files(folder):
        if len(found) >= MOST_FILES:
            return None
        hasher = hashlib.sha256()
        try:
            # Not blocking: a pipe of that name would wait for a writer for ever.
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    continue
                while data := file.read(1 << 20):
                    hasher.update(data)
                    if (left := left - len(data)) < 0:
                        return None
        except OSError:
            continue  # what we can't read has no effect
        found[path.relative_to(folder).as_posix()] = hasher.hexdigest()
    return found


def _scripts(folder: Path) -> Digests:
    """Of the scripts in the project that its hooks and servers run, each whole. One that leads out of it is known by where it leads.
    Raises TooMuch."""
    try:
        settings = load(folder / "config.toml")
    except UsageError:
        return {}
    root, left = folder.parent, MOST_OF_SCRIPTS
    found: Digests = {}
    paths = set(scripts_of(settings, root))
    if len(paths) > MOST_FILES:
        raise TooMuch
    for path in sorted(paths):
        # What a command only reads or writes (a report, a log) may change, and so may what make and npm read.
        if (
            not path.is_relative_to(root)
            or ".." in path.parts
            or path.is_relative_to(folder)
            or path.name in RECIPES
            or not is_script(path)
        ):
            continue
        hasher = hashlib.sha256()
        with contextlib.suppress(OSError):
            if path.is_symlink():
                hasher.update(os.fsencode(path.readlink()))
            else:
                with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                    status = os.fstat(file.fileno())
                    if not stat.S_ISREG(status.st_mode):
                        continue
                    hasher.update(b"%d " % status.st_size)
                    while data := file.read(1 << 20):
                        hasher.update(data)
                        if (left := left - len(data)) < 0:
                            raise TooMuch
            found[f"../{path.relative_to(root).as_posix()}"] = hasher.hexdigest()
    return found


def _files(folder: Path) -> Iterator[Path]:
    been: set[str] = set()
    for place, names, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in been:
            names.clear()
            continue
        been.add(real)
        names.sort()
        yield from (Path(place, name) for name in sorted(files))


def one_line(text: str) -> str:
    """Somebody else's words on one line, with what is unseen in them written out."""
    line = " ".join(visible(text).split())
    return line if len(line) <= 200 else line[:199] + "…"


def whole_line(text: str) -> str:
    """The same for what would run: none of it is left out, and line ends are seen."""
    return "\\n".join(visible(text).splitlines())


def seen_file(config: Trusting) -> Path:
    """Where the digests of trusted projects are kept."""
    return config.paths.state / "trusted.json"


def read_seen(config: Trusting) -> dict[str, Digests]:
    """What each trusted project had in it when it was trusted, by its root."""
    try:
        found = foreign_json.loads(seen_file(config).read_bytes())
    except (OSError, ValueError):
        return {}
    return {
        str(root): {str(name): str(digest) for name, digest in files.items()}
        for root, files in (found.items() if isinstance(found, dict) else ())
        if isinstance(files, dict)
    }


def write_seen(config: Trusting, seen: dict[str, Digests]) -> bool:
    """Keep it; False if the file can't be written."""
    from agent.llm.models.cache_file import replace_file

    return replace_file(seen_file(config), json.dumps(seen, indent=1, sort_keys=True))
