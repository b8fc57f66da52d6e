"""What one repository of the suite is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Literal, NamedTuple

from agent.text.numbers import plural

Kind = Literal["one-file", "several-files", "ambiguous", "misleading"]
COMMAND = "python3 -m unittest -q"


class Edit(NamedTuple):
    """A change: in the file at `path`, `old` (which is there once) becomes `new`."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository with a bug. `request` is what the user says, `files` are what the agent finds.

    `hidden` are tests that are only there when the work is judged, beside those in `files`, which are then put back: a model that changes
    a test, or writes what satisfies the visible one alone, has not mended anything. `fix` is a change after which all of them pass; `wrong`
    is the tempting one, after which they don't (the visible ones may).
    """

    name: str
    kind: Kind
    request: str
    files: Mapping[str, str]
    fix: tuple[Edit, ...]
    wrong: tuple[Edit, ...] = ()
    hidden: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Kind and name."""
        return f"{self.kind}/{self.name}"

    @property
    def tests(self) -> dict[str, str]:
        """What is put in place before the work is judged."""
        return {path: text for path, text in self.files.items() if path.startswith("test_")} | dict(self.hidden)

    def changed(self, edits: tuple[Edit, ...]) -> dict[str, str]:
        """The files after a change. Raises ValueError where it does not fit."""
        files = dict(self.files)
        for path, old, new in edits:
            if files[path].count(old) != 1:
                raise ValueError(f"{self.id}: {old!r} is {plural(files[path].count(old), 'time')} in {path}")
            files[path] = files[path].replace(old, new)
        return files


def text(block: str) -> str:
    """An indented block as the text of a file."""
    return dedent(block).strip("\n") + "\n"


def tests(imports: str, body: str) -> str:
    """A test file: `body` are the methods of one test case."""
    lines = "\n".join(f"    {line}" if line else "" for line in dedent(body).strip("\n").split("\n"))
    return f"import unittest\n\n{dedent(imports).strip()}\n\n\nclass Test(unittest.TestCase):\n{lines}\n"
