"""A run as logs of Inspect. With inspect-ai installed (extra `bench`) they are written and read back by Inspect itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from agent.errors import UsageError
from moa.bench import inspect_log, runs
from moa.bench.arms import Result
from moa.bench.items import Item
from moa.bench.report import report

HERE = importlib.util.find_spec("inspect_ai") is not None


def made(root: Path) -> tuple[runs.Run, dict[str, Item], dict[str, Any]]:
    items = {str(n): Item(str(n), f"What is {n}?", str(n), "auto") for n in range(5)}
    asked = {
        "arms": ["solo", "fuse"],
        "items": list(items),
        "seed": 1,
        "suite": "s",
        "digest": "d",
        "date": "2026-11-26",
    }
    run = runs.begin(root, asked)
    for name in asked["arms"]:
        run.add(*(Result(item, name, text=f"Answer: {item}", score=float(int(item) % 2)) for item in items))
    run.add(Result("9", "other"))
    run.close()
    return run, items, report(run)


@pytest.mark.skipif(HERE, reason="inspect-ai is installed")
def test_without_inspect_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        inspect_log.export(*made(tmp_path), tmp_path / "logs")
    assert "moa-agent[bench]" in str(refused.value.remedy)


@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="inspect-ai is not installed")
def test_inspect_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inspect_ai.log import read_eval_log

    monkeypatch.setattr(inspect_log, "MOST_SAMPLES", 3)
    run, items, found = made(tmp_path)
    paths = inspect_log.export(run, {**items, "4": items["4"]}, found, tmp_path / "logs")
    logs = [read_eval_log(str(path)) for path in paths]
    assert [len(log.samples or ()) for log in logs] == [3, 2, 3, 2], "an arm's samples are spread over logs"
    sample = (logs[0].samples or [])[1]
    assert (sample.input, sample.target, sample.output.completion) == (items["1"].request, "1", "Answer: 1")
    assert sample.scores is not None and sample.scores["score"].value == 1.0
    assert logs[0].status == "success" and logs[0].eval.metadata is not None and logs[0].eval.metadata["run"] == run.id
