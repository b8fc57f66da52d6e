"""A run as logs of Inspect (inspect-ai, extra `bench`), so that its viewer and its tools read it: one log an arm, at most 2,000 samples each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.extras import missing
from agent.llm.money import NANO

if TYPE_CHECKING:
    from moa.bench.arms import Result
    from moa.bench.items import Item
    from moa.bench.runs import Run

MOST_SAMPLES = 2_000
"""Samples of one log: Inspect reads a log as a whole."""


def export(run: Run, items: Mapping[str, Item], report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the logs and return their paths. `items` are the suite's, by id; one that is not there is shown by its id alone.

    Raises UsageError where inspect-ai is not installed.
    """
    try:
        from inspect_ai.log import write_eval_log
    except ImportError as error:
        raise missing("bench", "moa bench export", "inspect-ai") from error
    folder.mkdir(parents=True, exist_ok=True)
    by_arm: dict[str, dict[str, Result]] = {}
    for result in run.results():
        by_arm.setdefault(result.arm, {})[result.item] = result
    found = []
    for arm in report["arms"]:
        results = list(by_arm.get(arm["name"], {}).values())
        parts = [results[at : at + MOST_SAMPLES] for at in range(0, len(results), MOST_SAMPLES)]
        for number, part in enumerate(parts, 1):
            path = folder / f"{run.id}.{re.sub(r'[^A-Za-z0-9.-]+', '-', arm['name'])}.{number}.eval"
            write_eval_log(_log(run, arm, part, items, number, len(parts)), str(path))
            found.append(path)
    return found


def _log(
    run: Run, arm: Mapping[str, Any], results: Sequence[Result], items: Mapping[str, Item], number: int, parts: int
) -> Any:
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalResults,
        EvalScore,
        EvalSpec,
        EvalStats,
    )

    asked = run.asked
    when = f"{asked['date']}T00:00:00+00:00"
    served = sorted({model for result in results for model in result.served})
    samples = [_sample(result, items.get(result.item)) for result in results]
    mean = sum(result.score for result in results) / len(results)
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=when,
            task=f"moa/{asked['suite']}",
            task_args={"arm": arm["name"], "seed": asked["seed"], "part": number, "parts": parts},
            dataset=EvalDataset(name=asked["suite"], samples=len(samples), sample_ids=[each.id for each in samples]),
            model=f"moa/{arm['name']}",
            config=EvalConfig(),
            metadata={"run": run.id, "digest": asked["digest"], "served": served, "whole_arm": dict(arm)},
        ),
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=sum(result.status == "done" for result in results),
            scores=[EvalScore(name="score", scorer="moa", metrics={"mean": EvalMetric(name="mean", value=mean)})],
        ),
        stats=EvalStats(started_at=when, completed_at=when),
        samples=samples,
    )


def _sample(result: Result, item: Item | None) -> Any:
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.model import ModelOutput
    from inspect_ai.scorer import Score

    return EvalSample(
        id=result.item,
        epoch=1,
        input=result.item if item is None else item.request,
        target="" if item is None else item.expected,
        output=ModelOutput.from_content(model=", ".join(result.served) or result.arm, content=result.text),
        scores={"score": Score(value=result.score, answer=(result.votes or [result.text])[0][:2_000])},
        metadata={
            "arm": result.arm,
            "status": result.status,
            "error": result.error,
            "calls": result.calls,
            "usd": result.cost_nano / NANO,
            "cost_is_a_lower_bound": result.unknown > 0,
            "tokens": result.tokens,
            "steps": result.steps,
            "counsel": result.counsel,
        },
        total_time=result.seconds,
        error=None
        if result.status == "done"
        else EvalError(message=result.error or result.status, traceback="", traceback_ansi=""),
    )
