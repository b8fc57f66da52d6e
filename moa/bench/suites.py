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

NAMES = tuple(stored.FILES)

ENDING = "\n\nEnd with one line of the form `Answer: …`, with the answer alone in it."


@dataclass(frozen=True, slots=True)
class Item:
    """One item. `scorer` is a name of `moa.bench.scorers`; `expected` is what that compares with."""

    id: str
    prompt: str
    expected: str
    scorer: str

    @property
    def request(self) -> str:
        """The words that a model gets. A text that is compared as a whole must not be told how to end."""
        return self.prompt if self.scorer in ("exact", "regex") else self.prompt + ENDING


@dataclass(frozen=True, slots=True)
class Suite:
    """Items in the order in which they are run. `digest` names exactly these: another person's run of the same suite has it, too."""

    name: str
    items: tuple[Item, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over ids, prompts, expectations and scorers."""
        lines = (json.dumps([i.id, i.prompt, i.expected, i.scorer], ensure_ascii=False) for i in self.items)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load(name: str, *, data: Path | None = None, limit: int | None = None, seed: int = 0) -> Suite:
    """A named suite, or the JSON Lines file of that path; with `limit` a sample of so many items, the same for the same `seed`.

    Raises UsageError for an unknown suite, data that is not there, or a line that is no item.
    """
    if name in NAMES:
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
    if limit is not None and limit < len(items):
        chosen = set(random.Random(seed).sample(range(len(items)), limit))
        items = [item for at, item in enumerate(items) if at in chosen]
    return Suite(Path(name).name if name not in NAMES else name, tuple(items))


def _own(path: Path) -> Iterable[Item]:
    seen: set[str] = set()
    for number, row in enumerate(stored.rows(path.parent, path.name), 1):
        where = f"{path}, item {number}"
        item = Item(_text(row, "id", where), _text(row, "prompt", where), _text(row, "expected", where), _scorer(row))
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


def _scorer(row: dict[str, Any]) -> str:
    value = row.get("scorer", "auto")
    return value if isinstance(value, str) else repr(value)
