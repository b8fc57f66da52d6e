"""Suites whose answers are programs, or are judged by models: `humaneval`, `mt-bench`, `draco`; and the stored verdicts of a judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moa.bench import stored
from moa.bench.items import Criterion, Item

if TYPE_CHECKING:
    from collections.abc import Callable

COMPLETE = "Complete this Python function. Reply with the whole function, with its imports, in one block of code."
REPORT_TOKENS = 12_000
"""How long a report of `draco` may be."""
VERDICTS = "verdicts"
"""The suite of `moa bench judge-check`."""


def load(name: str, data: Path | None) -> list[Item]:
    """The items of one of these suites. Raises UsageError where its data is not there."""
    folder = stored.need_folder(name, data, FILES[name])
    return list(_SUITES[name](folder))


def _humaneval(folder: Path) -> Iterator[Item]:
    for row in stored.rows(folder, FILES["humaneval"][0]):
        tests = f"{row['test']}\ncheck({row['entry_point']})"
        yield Item(str(row["task_id"]), f"{COMPLETE}\n\n```python\n{row['prompt']}```", tests, "python")


def _mt_bench(folder: Path) -> Iterator[Item]:
    for row in stored.rows(folder, FILES["mt-bench"][0]):
        first, *further = (str(turn) for turn in row["turns"])
        group = str(row.get("category", ""))
        yield Item(str(row["question_id"]), first, "", "pairwise", turns=tuple(further), group=group)


def _draco(folder: Path) -> Iterator[Item]:
    for row in stored.rows(folder, FILES["draco"][0]):
        group = str(row.get("domain", ""))
        rubric = tuple(_criteria(row["rubric"]))
        yield Item(
            str(row["id"]), str(row["problem"]), "", "rubric", rubric=rubric, group=group, max_tokens=REPORT_TOKENS
        )


def _verdicts(folder: Path) -> Iterator[Item]:
    """Each criterion of each stored report, with what the stored judge said of it.

    Left out are verdicts without a score, and reports that were judged more than once: nobody knows which of the verdicts is on this text.
    """
    tasks = {row["id"]: row for row in stored.rows(folder, FILES["draco"][0])}
    reports = {_of(row): str(row["content"] or "") for row in stored.rows(folder, FILES[VERDICTS][1])}
    verdicts = list(stored.rows(folder, FILES[VERDICTS][2]))
    times = Counter(map(_of, verdicts))
    for row in verdicts:
        task, text = tasks.get(row["task_id"]), reports.get(_of(row), "")
        if task is None or not text or row["score"] is None or times[_of(row)] > 1:
            continue
        met = set(row["met"])
        for each in _criteria(task["rubric"]):
            yield Item(
                f"{row['config_id']}/{row['task_id']}/{each.id}",
                str(task["problem"]),
                "met" if each.id in met else "unmet",
                "exact",
                rubric=(each,),
                text=text,
            )


def _of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Which configuration's answer to which task."""
    return str(row["config_id"]), str(row["task_id"])


def _criteria(rubric: Mapping[str, Any]) -> Iterator[Criterion]:
    for each in stored.criteria(rubric):
        yield Criterion(str(each["id"]), str(each["requirement"]), float(each["weight"]))


FILES: Mapping[str, tuple[str, ...]] = {
    "humaneval": ("human_eval/HumanEval.jsonl",),
    "mt-bench": ("mt_bench/question.jsonl",),
    "draco": ("draco/tasks.jsonl",),
    VERDICTS: ("draco/tasks.jsonl", "draco/reports.jsonl", "draco/verdicts.jsonl"),
}
_SUITES: Mapping[str, Callable[[Path], Iterator[Item]]] = {
    "humaneval": _humaneval,
    "mt-bench": _mt_bench,
    "draco": _draco,
    VERDICTS: _verdicts,
}
