"""Where presets are: the user's folder, a trusted project's, and those that ship with the program; and writing them back."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agent.errors import StateError, UsageError
from agent.files import text_file
from agent.text.nearest import nearest
from agent.values import dataclass
from moa.aggregate.methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moa.preset.preset import Preset

Origin = Literal["user", "project", "shipped"]


@dataclass(frozen=True, slots=True)
class Found:
    """A preset's file. `shadowed` names the origins of files of the same name that lose to it."""

    name: str
    path: Path
    origin: Origin
    shadowed: tuple[Origin, ...] = ()


def shipped_dir() -> Path:
    """The presets that ship: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "presets"
    return inside if inside.is_dir() else package.parent / "presets"


def _folders(config_dir: Path, project_dir: Path | None) -> list[tuple[Origin, Path]]:
    folders: list[tuple[Origin, Path]] = [("user", config_dir / "presets")]
    if project_dir is not None:
        folders.append(("project", project_dir / "presets"))
    return [*folders, ("shipped", shipped_dir())]


def find(config_dir: Path, project_dir: Path | None) -> dict[str, Found]:
    """All presets by name. The user's file beats the project's, which beats the shipped one.

    `project_dir` is the project's `.moa` folder, or None where it is not trusted.
    """
    found: dict[str, Found] = {}
    for origin, folder in _folders(config_dir, project_dir):
        for path in sorted(folder.glob("*.toml")):
            name = path.stem
            if name in found:
                first = found[name]
                found[name] = Found(name, first.path, first.origin, (*first.shadowed, origin))
            else:
                found[name] = Found(name, path, origin)
    return found


def locate(name: str, *, config_dir: Path, project_dir: Path | None = None, cwd: Path | None = None) -> Found:
    """The file of one preset. Raises UsageError with the nearest name and the list, or how to let a project's take effect: `cwd` is
    where the work is (None: where the program was started)."""
    # The folders are only listed where the name is unknown: this is on the way to the first byte.
    if Path(name).name == name:
        for origin, folder in _folders(config_dir, project_dir):
            path = folder / f"{name}.toml"
            if os.path.isfile(path):  # noqa: PTH113 - no file's name is that long, and that is no crash
                return Found(name, path, origin)
    if project_dir is None and (error := untrusted(name, cwd)) is not None:
        raise error
    raise unknown(name, sorted(find(config_dir, project_dir)))


def untrusted(name: str, cwd: Path | None = None) -> UsageError | None:
    """The error for a preset that only a project has which the user does not trust; None where there is none of that name."""
    from agent.config.paths import project_folder
    from agent.process.folder import here

    try:
        folder = project_folder(cwd or here())
    except UsageError:
        return None
    if folder is None or Path(name).name != name or not os.path.isfile(folder / "presets" / f"{name}.toml"):  # noqa: PTH113
        return None
    return UsageError(
        f"the preset {name!r} is this project's, and nothing in {folder} has an effect until you trust it",
        remedy=f"look at what is there, then: moa trust {shlex.quote(str(folder.parent))}",
        kind="untrusted_preset",
    )


def unknown(name: str, known: list[str]) -> UsageError:
    """The error for a preset that is not there."""
    near, listed = nearest(name, known, cutoff=0.5), "presets: " + ", ".join(known)
    remedy = f"did you mean {near}? ({listed})" if near else f"{listed}; `moa preset new NAME` makes one"
    return UsageError(f"there is no preset {name[:200]!r}", remedy=remedy, kind="unknown_preset")


def text_at(path: Path) -> str:
    """A preset file's text. Raises UsageError where it can't be read."""
    try:
        return text_file.read(path)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 (byte {error.start})", remedy="save it as UTF-8", kind="preset"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", remedy="check its permissions") from None


def descriptions(config_dir: Path, project_dir: Path | None = None) -> list[tuple[Found, str, str | None]]:
    """Every preset with its description and, where it can't be used, what is wrong with it."""
    every = read_all(config_dir, project_dir)
    return [(found, preset.description if preset else "", problem) for found, preset, problem in every]


def read_all(config_dir: Path, project_dir: Path | None = None) -> list[tuple[Found, Preset | None, str | None]]:
    """Every preset, or what is wrong with its file."""
    from moa.store.reading import read

    rows: list[tuple[Found, Preset | None, str | None]] = []
    for found in find(config_dir, project_dir).values():
        try:
            preset = read(text_at(found.path), name=found.name, path=found.path)
        except UsageError as error:
            rows.append((found, None, error.message))
        else:
            rows.append((found, preset, None))
    return rows


def text_of(name: str, *, config_dir: Path, project_dir: Path | None = None) -> tuple[Path, str]:
    """A preset's file and its text as it stands, comments and all."""
    path = locate(name, config_dir=config_dir, project_dir=project_dir).path
    return path, text_at(path)


NEW = """\
description = "{name}: three cheap members, compared by the cheapest"
cadence = "iteration"        # iteration | turn | every:N | signal
aggregate = "analysis"       # {methods}
severity = "note"            # from where on guidance is sent: note | concern | blocker
guidance_tokens = 8_000      # of it in force at once; 0: no bound

[[references]]
model = "openrouter:~google/gemini-flash-latest"
role = "Look for what the plan would break."

[[references]]
model = "openrouter:~moonshotai/kimi-latest"

[[references]]
model = "openrouter:~deepseek/deepseek-pro-latest"

# [aggregator]               # who compares them; without one, the cheapest member
# model = "openrouter:~deepseek/deepseek-pro-latest"

[budget]                     # counsel's share of a turn: whichever is reached first
turn_usd = 0.25
turn_tokens = 400_000        # with a cap in tokens, models whose price nobody knows can be named, too
"""


def new(name: str, *, config_dir: Path) -> Path:
    """Write a commented beginning of a preset into the user's folder. Raises UsageError where the name is taken or can't be used."""
    return create(name, NEW.format(name=name, methods=" | ".join(METHODS)), config_dir=config_dir)


def copy(name: str, target: str, *, config_dir: Path, project_dir: Path | None = None) -> Path:
    """Copy a preset, comments included, into the user's folder under another name (or the same, to have one's own)."""
    _path, text = text_of(name, config_dir=config_dir, project_dir=project_dir)
    return create(target, text, config_dir=config_dir)


def create(name: str, text: str, *, config_dir: Path) -> Path:
    """Write a new preset into the user's folder. Raises UsageError where the name is taken or the text is no preset, StateError."""
    from moa.store.reading import check_name, read

    path = config_dir / "presets" / f"{name}.toml"
    check_name(name, path)
    read(text, name=name, path=path)
    if path.exists():
        raise UsageError(f"{path} already exists", remedy="choose another name, or edit that file")
    write(path, text)
    return path


def save(path: Path, changes: Mapping[str, Any]) -> Preset:
    """Write values into a preset's file, keeping its comments, order and everything else.

    `changes` maps a dotted key (`quorum`, `budget.turn_usd`, `references.0.model`) to its new value; None takes the key out. The
    result is checked before anything is written: a change that would spoil the preset raises UsageError and leaves the file as it is.
    """
    import tomlkit
    from tomlkit.exceptions import ParseError

    from moa.store.reading import read

    try:
        document: Any = tomlkit.parse(text_at(path))
    except ParseError as error:
        raise UsageError(f"{path} is not TOML: {error}", remedy="fix that line", kind="preset") from None
    for dotted, value in changes.items():
        *parents, key = dotted.split(".")
        table = document
        for part in parents:
            table = table[int(part)] if part.isdigit() else table.setdefault(part, tomlkit.table())
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    text = tomlkit.dumps(document)
    preset = read(text, name=path.stem, path=path)
    write(path, text)
    return preset


def write(path: Path, text: str) -> None:
    """Write a preset's file, whole or not at all. Raises StateError."""
    from agent.files.own_files import make_folder, write_atomically

    try:
        make_folder(path.parent)
        write_atomically(path, text.encode())
    except OSError as error:
        raise StateError(f"{path} can't be written: {error.strerror}", remedy="check the folder and the disk") from None


def load(name: str, *, config_dir: Path, project_dir: Path | None = None, cwd: Path | None = None) -> Preset:
    """Find and read a preset: the user's, a trusted project's (its `.moa` folder, else None), or a shipped one. `cwd`: see `locate`.

    Raises UsageError that names file, key and remedy.
    """
    from moa.store.reading import read

    path = locate(name, config_dir=config_dir, project_dir=project_dir, cwd=cwd).path
    return read(text_at(path), name=name, path=path)


def names(*, config_dir: Path, project_dir: Path | None = None) -> list[str]:
    """The names of all presets there are, usable or not, sorted."""
    return sorted(find(config_dir, project_dir))
