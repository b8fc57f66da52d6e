"""Stored answers of a suite as a file for an endpoint of the dialect `replay`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from agent.files.own_files import write_atomically
from moa.bench import stored


def write(suite: str, out: Path, data: Path | None = None) -> tuple[int, int]:
    """Write the answers of all models to all items of a suite; returns how many models and answers. The whole output where there is one,
    else the parsed answer. An item that a model was asked and gave no answer to is left out. Raises UsageError for data that is not there.
    """
    found = list(_rows(suite, data))
    write_atomically(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found).encode())
    return len({row["model"] for row in found}), len(found)


def _rows(suite: str, data: Path | None) -> Iterator[dict[str, Any]]:
    found = stored.load(suite, data)
    whole = dict(_outputs(suite, data))
    for model, answers in found.answers.items():
        for item, answer in answers.items():
            question = found.questions.get(item)
            text = whole.get((model, item)) or (f"Answer: {answer}" if answer is not None else "")
            if question is not None and text.strip():
                yield {"model": model, "prompt": question.prompt, "text": text}


def _outputs(suite: str, data: Path | None) -> Iterator[tuple[tuple[str, str], str]]:
    folder = stored.data_folder(data)
    assert folder is not None  # else the answers could not have been loaded
    try:
        for row in stored.rows(folder, stored.FILES[suite].outputs):
            yield (str(row["model"]), str(row["id"])), str(row["output"])
    except UsageError as error:
        if error.kind != "no_data":
            raise
