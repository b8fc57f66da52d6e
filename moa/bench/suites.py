"""Where the items of a suite come from: what ships, stored questions, or a file of one's own."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from moa.bench import judged, scorers, stored
from moa.bench.inspecting import tasks
from moa.bench.items import Criterion, Item, Suite

NAMES = (*stored.FILES, "humaneval", "mt-bench", "draco", "repo")


def load(name: str, *, data: Path | None = None, limit: int | None = None, seed: int = 0) -> Suite:
    """A named suite, or the JSON Lines file of that path; with `limit` a sample of so many items, the same for the same `seed`.

    Raises UsageError for an unknown suite, data that is not there, or a line that is no item.
    """
    if name == "repo":
        items = _repositories()
    elif name.startswith(tasks.PREFIX):
        items = tasks.items(name)
    elif name not in stored.FILES and name in (*NAMES, "verdicts"):
        items = judged.load(name, data)
    elif name in NAMES:
        found = stored.load(name, data)
        items = [Item(q.id, q.prompt, q.expected, found.kind) for q in found.questions.values()]
    elif Path(name).is_file():
        items = list(_own(Path(name)))
    else:
        known = f"the suites are {', '.join(NAMES)}, the path of a JSON Lines file of {{id, prompt, expected, scorer}}, or inspect:TASK"
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
    title = tasks.title(name) if name.startswith(tasks.PREFIX) else Path(name).name
    return Suite(title, tuple(items))


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
            _text(row, "expected", where) if _scorer(row) not in ("rubric", "pairwise") else "",
            _scorer(row),
            files=_files(row, "files", where),
            checks=_files(row, "checks", where),
            rubric=_rubric(row, where) if _scorer(row) == "rubric" else (),
        )
        if item.files and item.scorer != "command":
            raise UsageError(f"{where}: only a command can judge files", remedy="use the scorer command")
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
        raise UsageError(f"{where}: {key} is not a table of texts by path", remedy='write {"path": "text"}')
    for path in value:
        if not path or Path(path).is_absolute() or ".." in Path(path).parts:
            raise UsageError(f"{where}: {path!r} leads out of the folder", remedy="name files below it")
    return tuple(value.items())


def _rubric(row: dict[str, Any], where: str) -> tuple[Criterion, ...]:
    value = row.get("rubric")
    lines = value if isinstance(value, list) else []
    found: list[Criterion] = []
    for number, each in enumerate(lines, 1):
        one = {"requirement": each} if isinstance(each, str) else each
        weight = one.get("weight", 1) if isinstance(one, dict) else None
        if not isinstance(one, dict) or not isinstance(one.get("requirement"), str) or isinstance(weight, bool):
            found = []
            break
        if not isinstance(weight, int | float):
            found = []
            break
        found.append(Criterion(str(one.get("id", number)), one["requirement"], float(weight)))
    if not any(each.weight > 0 for each in found) or len({each.id for each in found}) < len(found):
        raise UsageError(
            f"{where}: rubric is not a list of criteria with ids of their own, one of them of positive weight",
            remedy='write "rubric": [{"id": "a", "requirement": "Says …", "weight": 2}]',
        )
    return tuple(found)


def _scorer(row: dict[str, Any]) -> str:
    value = row.get("scorer", "auto")
    return value if isinstance(value, str) else repr(value)
