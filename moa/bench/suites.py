"""Suites: the items that arms are compared on."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from moa.bench import scorers, stored

NAMES = (*stored.FILES, "repo")
WHOLE = ("exact", "regex", "command")
"""Scorers that judge the whole text: it must not be told how to end."""

ENDING = "\n\nEnd with one line of the form `Answer: …`, with the answer alone in it."


@dataclass(frozen=True, slots=True)
class Item:
    """One item. `scorer` is a name of `moa.bench.scorers`; `expected` is what that compares with, or the command that judges.

    With `files` (path and text) it is a task: the agent's loop works on them, and the command judges what they are like then, with `checks`
    put in place. `group` is what it is counted with.
    """

    id: str
    prompt: str
    expected: str
    scorer: str
    files: tuple[tuple[str, str], ...] = ()
    checks: tuple[tuple[str, str], ...] = ()
    group: str = ""

    @property
    def request(self) -> str:
        """The words that a model gets."""
        return self.prompt if self.scorer in WHOLE else self.prompt + ENDING


@dataclass(frozen=True, slots=True)
class Suite:
    """Items in the order in which they are run. `digest` names exactly these: another person's run of the same suite has it, too."""

    name: str
    items: tuple[Item, ...]

    @property
    def tasks(self) -> bool:
        """Whether its items are tasks for the agent's loop."""
        return any(item.files for item in self.items)

    @property
    def digest(self) -> str:
        """SHA-256 over ids, prompts, expectations and scorers, and the files of tasks."""
        lines = (
            json.dumps(
                [i.id, i.prompt, i.expected, i.scorer, *([i.files, i.checks] if i.files else [])], ensure_ascii=False
            )
            for i in self.items
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load(name: str, *, data: Path | None = None, limit: int | None = None, seed: int = 0) -> Suite:
    """A named suite, or the JSON Lines file of that path; with `limit` a sample of so many items, the same for the same `seed`.

    Raises UsageError for an unknown suite, data that is not there, or a line that is no item.
    """
    if name == "repo":
        items = _repositories()
    elif name in NAMES:
        found = stored.load(name, data)
        items = [Item(q.id, q.prompt, q.expected, found.kind) for q in found.questions.values()]
    elif Path(name).is_file():
        items = list(_own(Path(name)))
    else:
        known = (
            f"the suites are {', '.join(NAMES)}, or the path of a JSON Lines file of {{id, prompt, expected, scorer}}"
        )
        raise UsageError(f"there is no suite {name!r}, and no file of that name", remedy=known)
    if not items:
        raise UsageError(f"the suite {name} has no items", remedy="each line is one item")
    if len({bool(item.files) for item in items}) > 1:
        raise UsageError(
            f"{name} has tasks with files and questions without", remedy="put them into files of their own"
        )
    if limit is not None and limit < len(items):
        chosen = set(random.Random(seed).sample(range(len(items)), limit))
        items = [item for at, item in enumerate(items) if at in chosen]
    return Suite(Path(name).name if name not in NAMES else name, tuple(items))


def _repositories() -> list[Item]:
    from moa.bench.repo.repository import COMMAND
    from moa.bench.repo.suite import ALL

    return [
        Item(
            each.id,
            each.request,
            COMMAND,
            "command",
            files=tuple(each.files.items()),
            checks=tuple(each.tests.items()),
            group=each.kind,
        )
        for each in ALL
    ]


def _own(path: Path) -> Iterable[Item]:
    seen: set[str] = set()
    for number, row in enumerate(stored.rows(path.parent, path.name), 1):
        where = f"{path}, item {number}"
        item = Item(
            _text(row, "id", where),
            _text(row, "prompt", where),
            _text(row, "expected", where),
            _scorer(row),
            files=_files(row, "files", where),
            checks=_files(row, "checks", where),
        )
        if bool(item.files) != (item.scorer == "command"):
            raise UsageError(
                f"{where}: the scorer command judges files, and nothing else does",
                remedy="give both files and the scorer command, with the command in expected",
            )
        scorers.check(item.scorer, item.expected, where)
        if item.id in seen:
            raise UsageError(f"{where}: the id {item.id!r} was used before", remedy="give each item an id of its own")
        seen.add(item.id)
        yield item


def _text(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise UsageError(f"{where}: {key} is missing", remedy="an item is {id, prompt, expected, scorer}")
    return value


def _files(row: dict[str, Any], key: str, where: str) -> tuple[tuple[str, str], ...]:
    value = row.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise UsageError(f"{where}: {key} is no table of texts by path", remedy='write {"path": "text"}')
    for path in value:
        if not path or Path(path).is_absolute() or ".." in Path(path).parts:
            raise UsageError(f"{where}: {path!r} leads out of the folder", remedy="name files below it")
    return tuple(value.items())


def _scorer(row: dict[str, Any]) -> str:
    value = row.get("scorer", "auto")
    return value if isinstance(value, str) else repr(value)
