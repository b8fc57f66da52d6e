"""Changing the user's config.toml for them: one value, or one table, with comments and order kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import StateError, UsageError


def set_value(file: Path, keys: tuple[str, ...], value: Any) -> None:
    """Set one key, making the file and the tables on the way where they are not there. `keys` is the path to it: `("ui", "theme")`.

    Raises UsageError where the file is no TOML, or where something else stands in the place of a table; StateError where it can't be
    read or written.
    """
    update(file, {keys: value})


def update(file: Path, values: Mapping[tuple[str, ...], Any]) -> None:
    """Set several keys at once: all of them are written, or none. Raises what `set_value` raises."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    from agent.tools.files import write_atomically

    target = file.resolve()  # a link to a file kept elsewhere stays a link
    try:
        document = tomlkit.parse(target.read_text("utf-8") if target.exists() else "")
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {error}", remedy="mend the file; nothing was changed", kind="config") from error
    except OSError as error:
        raise StateError(f"{file} can't be read: {error.strerror}", remedy="check its permissions") from error
    for keys, value in values.items():
        table: Any = document
        for depth, key in enumerate(keys[:-1]):
            table = table.setdefault(key, tomlkit.table(is_super_table=depth < len(keys) - 2))
            if not isinstance(table, dict):
                name = ".".join(keys[: depth + 1])
                raise UsageError(f"{file}: {name} is not a table", remedy=f"write [{name}]", kind="config")
        table[keys[-1]] = value
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, tomlkit.dumps(document).encode())
    except OSError as error:
        raise StateError(f"{file} can't be written: {error.strerror}", remedy="check its permissions") from error
