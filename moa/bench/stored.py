"""Stored answers of real models to benchmark questions, as they lie on disk: what the suites and the `replay:` endpoint read.

The layout is that of ZeroEval and MMLU-Pro, one JSON Lines file each (gzip or plain). `FILES` says which file holds what; docs/evidence.md
says where they come from.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from agent.errors import UsageError
from agent.text import foreign_json
from moa.aggregate.short_answer import Kind, normal

DATA_ENV = "MOA_DATA"


class Files(NamedTuple):
    """Where a suite's questions and answers are, below the data folder, and how its answers are compared."""

    questions: str
    answers: str
    outputs: str
    field: str
    kind: Kind


FILES: Mapping[str, Files] = {
    "gsm8k": Files(
        "zeroeval/gsm_questions.jsonl", "zeroeval/gsm_answers.jsonl", "zeroeval/gsm_outputs.jsonl", "answers", "number"
    ),
    "math": Files(
        "zeroeval/math_l5_questions.jsonl",
        "zeroeval/math_l5_answers.jsonl",
        "zeroeval/math_l5_outputs.jsonl",
        "answers",
        "auto",
    ),
    "crux": Files(
        "zeroeval/crux_questions.jsonl", "zeroeval/crux_answers.jsonl", "zeroeval/crux_outputs.jsonl", "answers", "code"
    ),
    "mmlu-pro": Files(
        "mmlu_pro/questions.jsonl", "mmlu_pro/predictions.jsonl", "mmlu_pro/outputs_sample.jsonl", "pred", "letter"
    ),
}


@dataclass(frozen=True, slots=True)
class Question:
    """One item: its prompt as a model gets it, and the right answer as it is stored."""

    id: str
    prompt: str
    expected: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A suite with the answers of many models. `answers[model][item]` is the parsed answer, None where none could be parsed."""

    suite: str
    kind: Kind
    questions: Mapping[str, Question]
    answers: Mapping[str, Mapping[str, str | None]]

    def asked(self, panel: Sequence[str]) -> list[str]:
        """The items that were put to every member of the panel, in the order of the questions."""
        return [item for item in self.questions if all(item in self.answers[model] for model in panel)]

    def vote(self, model: str, item: str) -> str | None:
        """A model's answer in canonical form; None where it gave none (it abstains)."""
        given = self.answers[model].get(item)
        return None if given is None else normal(given, self.kind)

    def votes(self, panel: Sequence[str]) -> list[tuple[str | None, ...]]:
        """A row for each item of `asked`, a column for each member."""
        return [tuple(self.vote(model, item) for model in panel) for item in self.asked(panel)]

    def truths(self, panel: Sequence[str]) -> list[str]:
        """The right answer of each item of `asked`, in canonical form."""
        return [normal(self.questions[item].expected, self.kind) for item in self.asked(panel)]


def data_folder(named: Path | None = None) -> Path | None:
    """The folder of stored data: the one named with --data, else `$MOA_DATA`; None where neither is there."""
    if named is not None:
        return named
    found = os.environ.get(DATA_ENV)
    return Path(found) if found else None


def load(suite: str, data: Path | None = None) -> Stored:
    """Read a suite's questions and answers. Raises UsageError where the data is not there, with the layout that is expected."""
    files = FILES[suite]
    folder = need_folder(suite, data, (files.questions, files.answers))
    questions = {
        str(row["id"]): Question(str(row["id"]), _prompt(row), str(row["gold"]))
        for row in rows(folder, files.questions)
    }
    answers = {
        str(row["model"]): {
            str(item): None if answer is None else str(answer) for item, answer in row[files.field].items()
        }
        for row in rows(folder, files.answers)
    }
    return Stored(suite, files.kind, questions, answers)


def need_folder(suite: str, data: Path | None, files: Sequence[str]) -> Path:
    """The folder with a suite's data. Raises UsageError where none is named."""
    if (folder := data_folder(data)) is not None:
        return folder
    raise UsageError(
        f"the data of the suite {suite} is not shipped",
        remedy=f"name its folder with --data DIR or {DATA_ENV}; it holds {' and '.join(f'{name}.gz' for name in files)} (docs/evidence.md)",
        kind="no_data",
    )


def rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The objects of `name` (or `name`.gz) below `folder`. Raises UsageError for a missing file or a line that is not an object."""
    path = next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)
    if path is None:
        raise UsageError(
            f"{folder} holds no {name} (nor {name}.gz)",
            remedy="docs/evidence.md says which files a suite needs, and where they come from",
            kind="no_data",
        )
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = foreign_json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path}, line {number}: {error}", remedy="each line is one JSON object") from error
            if not isinstance(row, dict):
                raise UsageError(f"{path}, line {number}: not a JSON object", remedy="each line is one JSON object")
            yield row


def criteria(rubric: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The criteria (`{id, requirement, weight}`) of a DRACO rubric, of all its sections."""
    for section in rubric["sections"]:
        yield from section["criteria"]


def _prompt(row: Mapping[str, Any]) -> str:
    text = str(row["question"])
    options = row.get("options")
    if not isinstance(options, list):
        return text
    letters = "\n".join(f"({chr(65 + at)}) {option}" for at, option in enumerate(options))
    return f"{text}\n\n{letters}\n\nAnswer with the letter of the right option."
