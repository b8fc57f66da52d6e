"""Reading a TOML file strictly: anything unknown or of the wrong kind is an error that names file, key and remedy.

By hand rather than by pydantic, because building the seven models of config.toml takes about 12 ms at every start, a seventh of what
the whole start may take (docs/decisions/0002-start-up.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from agent.errors import UsageError
from agent.files import text_file
from agent.text.foreign_json import MOST_DEPTH, MOST_DIGITS, within_bounds
from agent.text.nearest import did_you_mean

MOST_NUMBER = 10**12
"""Where a key has no bound of its own."""

MOST_PARTS = 32
"""Of a dotted key: the standard library takes time in proportion to the square of them."""
_LONG_KEY = re.compile(
    rf"""(?:^|[\[{{,])[ \t]*+(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{MOST_PARTS}}}""",
    re.MULTILINE,
)


def load(path: Path) -> dict[str, Any]:
    """The file's content, {} where there is no such file. Raises UsageError with the line for malformed TOML."""
    try:
        return parse(text_file.read(path), path, kind="config")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error}", remedy="save it as UTF-8", kind="config") from None
    except OSError as error:
        raise UsageError(
            f"can't read {path}: {error.strerror}", remedy="check the file and its permissions", kind="config"
        ) from None


def parse(text: str, path: Path, *, kind: str) -> dict[str, Any]:
    """The content of a TOML file, from its text. Raises UsageError of this `kind`, with the line where it is malformed."""
    import tomllib

    if (found := _LONG_KEY.search(text)) is not None:
        line = text.count("\n", 0, found.start() + 1) + 1
        raise UsageError(
            f"{path}: line {line} has a key of more than {MOST_PARTS} parts", remedy="take that out", kind=kind
        )
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", remedy="fix that line (TOML: https://toml.io)", kind=kind) from None
    except (ValueError, RecursionError):
        data = None  # a number of thousands of digits, brackets within brackets without end
    if data is None or not within_bounds(data, finite=False):
        problem = f"it is nested deeper than {MOST_DEPTH} levels, or has a number of more than {MOST_DIGITS} digits"
        raise UsageError(f"{path}: {problem}", remedy="take that out", kind=kind)
    return data


class Asked(NamedTuple):
    """One key that a reader asks for, with all that it takes: so the pages about the keys are made from the readers themselves.

    `name` is the key from the top of the file; `what` its type in words. `least` and `most` bound a whole number.
    """

    name: str
    what: str
    default: Any = None
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None


_heard: list[Asked] | None = None


@contextmanager
def listening() -> Iterator[list[Asked]]:
    """Every key that is asked for meanwhile, in order, whether it is in the file or not."""
    global _heard
    before, _heard = _heard, []
    try:
        yield _heard
    finally:
        _heard = before


class Table:
    """One table of a file, read key by key; `done` then complains about what nobody asked for."""

    def __init__(self, data: dict[str, Any], file: Path, name: str = "") -> None:
        self.data = data
        self.file = file
        self.name = name
        self.asked: set[str] = set()

    def error(self, key: str, problem: str, remedy: str) -> UsageError:
        """A UsageError about one key."""
        return UsageError(f"{self.file}: {self._full(key)} {problem}", remedy=remedy, kind="config")

    def text(self, key: str, default: str | None = None, *, choices: Iterable[str] = ()) -> str | None:
        """A string, perhaps one of a few."""
        allowed = tuple(choices)
        value = self._get(key, str, "a string", default, choices=allowed)
        if value is not None and allowed and value not in allowed:
            raise self.error(key, f"is {value!r}", f"use one of {', '.join(allowed)}")
        return None if value is None else str(value)

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        return bool(self._get(key, bool, "true or false", default))

    def integer(self, key: str, default: int | None = None, *, least: int = 0, most: int = MOST_NUMBER) -> int | None:
        """A whole number from `least` to `most`."""
        value = self._get(key, int, "a whole number", default, least=least, most=most)
        if value is not None and (isinstance(value, bool) or not least <= value <= most):
            wanted = f"of at least {least}" if value < least and most == MOST_NUMBER else f"from {least} to {most}"
            raise self.error(key, f"is {_short(value)}", f"use a whole number {wanted}")
        return None if value is None else int(value)

    def number(self, key: str, default: float | None = None) -> float | None:
        """A number from 0 to a million millions, which no price, no time and no count in here comes near."""
        value = self._get(key, (int, float), "a number", default)
        if value is not None and (isinstance(value, bool) or not value >= 0):
            raise self.error(key, f"is {value!r}", "use a number of at least 0")
        if value is not None and value > MOST_NUMBER:
            raise self.error(key, f"is {_short(value)}", f"use a number of at most {MOST_NUMBER:.0e}")
        return None if value is None else float(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._get(key, list, "a list of strings", [])
        if not all(isinstance(item, str) for item in value):
            raise self.error(key, "has something in it that is not a string", "use a list of strings")
        return tuple(value)

    def table(self, key: str) -> Table:
        """A table within this one; empty where it is absent."""
        return Table(self._get(key, dict, "a table", {}), self.file, self._full(key))

    def rows(self, key: str) -> list[Table]:
        """An array of tables (`[[key]]`), numbered from 1 in errors; empty where it is absent."""
        rows = self._get(key, list, f"[[{self._full(key)}]] tables", [])
        if not all(isinstance(row, dict) for row in rows):
            raise self.error(key, "has something in it that is not a table", f"write [[{self._full(key)}]]")
        return [Table(row, self.file, f"{self._full(key)}[{number}]") for number, row in enumerate(rows, 1)]

    def tables(self) -> Iterable[tuple[str, Table]]:
        """All tables within this one, by name, where the names are the user's to choose."""
        for key in self.data:
            yield key, self.table(key)

    def done(self) -> None:
        """Raises UsageError for the first key that is unknown, with the nearest known one."""
        for key in self.data:
            if key not in self.asked:
                remedy = did_you_mean(key, self.asked, "known here: " + ", ".join(sorted(self.asked)))
                raise self.error(key, "is not a known key", remedy)

    def _get(self, key: str, kind: type | tuple[type, ...], what: str, default: Any, **bounds: Any) -> Any:
        self.asked.add(key)
        if _heard is not None:
            _heard.append(Asked(self._full(key), what, default, **bounds))
        if key not in self.data:
            return default
        value = self.data[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"is {value!r}", f"use {what}")
        return value

    def _full(self, key: str) -> str:
        plain = key.replace("-", "").replace("_", "").isalnum()
        part = key if plain else f'"{key}"'
        return f"{self.name}.{part}" if self.name else part


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def variable(table: Table, default: str | None) -> str | None:
    """The name of the variable that holds an endpoint's key. Raises UsageError for what is not a name."""
    name = table.text("api_key_env", default)
    if name is not None and not (name.isascii() and name.isidentifier()):
        # Whoever puts the key itself here must not see it in an error.
        remedy = 'write the variable\'s name, for example "OPENROUTER_API_KEY", and put the key into that variable'
        raise table.error("api_key_env", "is not a name of an environment variable", remedy)
    return name
