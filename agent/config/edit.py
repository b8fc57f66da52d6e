"""Changing the user's config.toml for them: one value, or one table, with comments and order kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import StateError, UsageError
from agent.files import text_file


def set_value(file: Path, keys: tuple[str, ...], value: Any) -> None:
    """Set one key, making the file and the tables on the way where they are not there. `keys` is the path to it: `("ui", "theme")`.

    Raises UsageError where the file is not TOML, or where something else stands in the place of a table; StateError where it can't be
    read or written.
    """
    update(file, {keys: value})


def update(file: Path, values: Mapping[tuple[str, ...], Any]) -> None:
    """Set several keys at once: all of them are written, or none. Raises what `set_value` raises."""
    import tomlkit

    document = _parsed(file)
    for keys, value in values.items():
        table: Any = document
        for depth, key in enumerate(keys[:-1]):
            table = table.setdefault(key, tomlkit.table(is_super_table=depth < len(keys) - 2))
            if not isinstance(table, dict):
                name = ".".join(keys[: depth + 1])
                raise UsageError(f"{file}: {name} is not a table", remedy=f"write [{name}]", kind="config")
        table[keys[-1]] = value
    _write(file, document)


def add_to_list(file: Path, keys: tuple[str, str], value: str) -> None:
    """Put a text at the end of a list, where it is not in it already. Raises what `set_value` raises, and UsageError where no list is there."""
    import tomlkit

    document = _parsed(file)
    name = ".".join(keys)
    table = document.setdefault(keys[0], tomlkit.table())
    found = table.setdefault(keys[1], tomlkit.array()) if isinstance(table, dict) else None
    if not isinstance(found, list):
        raise UsageError(
            f"{file}: {name} is not a list", remedy=f'write {keys[1]} = ["…"] under [{keys[0]}]', kind="config"
        )
    if value not in found:
        found.append(value)
        _write(file, document)


def remove_table(file: Path, keys: tuple[str, ...]) -> None:
    """Take a table out, and those around it that are empty then. Nothing happens where it is not there. Raises what `set_value` raises."""
    document = _parsed(file)
    tables: list[Any] = [document]
    for key in keys[:-1]:
        if not isinstance(inner := tables[-1].get(key), dict):
            return
        tables.append(inner)
    for table, key in zip(reversed(tables), reversed(keys), strict=True):
        if key in table:
            del table[key]
        if table:
            break
    _write(file, document, end="\n")


def _parsed(file: Path) -> Any:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    target = file.resolve()  # a link to a file kept elsewhere stays a link
    try:
        return tomlkit.parse(text_file.read(target) if target.exists() else "")
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {error}", remedy="fix the file; nothing was changed", kind="config") from error
    except OSError as error:
        raise StateError(f"{file} can't be read: {error.strerror}", remedy="check its permissions") from error


def _write(file: Path, document: Any, *, end: str | None = None) -> None:
    import tomlkit

    from agent.files.own_files import make_folder, write_atomically

    target, text = file.resolve(), tomlkit.dumps(document)
    if end is not None:  # what was taken out at the end leaves the line before it empty
        text = text.rstrip("\n") + end
    try:
        make_folder(target.parent)
        write_atomically(target, text.encode())
    except OSError as error:
        raise StateError(f"{file} can't be written: {error.strerror}", remedy="check its permissions") from error
