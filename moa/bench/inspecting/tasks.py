"""A task of Inspect as a suite: its samples are the items, its scorers score, and each arm is a model of the provider `moa`.

A sample is a line of the run as soon as Inspect has scored it, so a run that was killed goes on behind it. The logs, of at most 2,000
samples each, are in the run's folder, for Inspect's own viewer.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from agent.errors import StateError, UsageError
from agent.extras import require
from agent.llm.accounting import Cap
from agent.llm.errors import BudgetReached
from agent.llm.money import Total
from moa.bench import arms as question_arms
from moa.bench.arms import Arm, Result
from moa.bench.engine import session_of
from moa.bench.items import INSPECT, Item, Suite
from moa.bench.loop import arms as loop_arms
from moa.preset.preset import FUSE

if TYPE_CHECKING:
    from agent.config.config import Config
    from agent.llm.request import ModelRef
    from moa.bench.runs import Run
    from moa.preset.preset import Preset
    from moa.serve.server import Server

PREFIX = "inspect:"
"""Before the name of a task, as `inspect eval` takes it."""
TOGETHER = 32
"""Samples of one call of Inspect. All arms do them before the next ones are begun, so that a run that was stopped has pairs."""
GRADER = "grader"
"""The role in which Inspect's own scorers ask a model."""
ARMS = "solo, solo:ENDPOINT:MODEL, best, fuse, counsel:turn, counsel:iteration, counsel:signal, counsel:every:N"

_waiting: list[Callable[[Any], None]] = []
"""Who is told of a sample that is done (`registry.Runs` tells)."""


def ended(sample: Any) -> None:
    """A sample is done."""
    for tell in _waiting:
        tell(sample)


def _inspect() -> Any:
    for package, module in (("inspect-ai", "inspect_ai"), ("openai", "openai"), ("starlette", "starlette")):
        require("bench", "a task of Inspect", package, module)
    import inspect_ai

    return inspect_ai


def items(name: str) -> list[Item]:
    """The samples of a task by its name with `inspect:` before it. Nothing is asked of a model. Raises UsageError."""
    inspect = _inspect()
    task = _named(name)
    # What Inspect says on standard output is no part of ours.
    with redirect_stdout(StringIO()), tempfile.TemporaryDirectory(prefix="moa-inspect-") as folder:
        try:
            (log, *more) = inspect.eval(
                task, model="mockllm/model", run_samples=False, log_dir=folder, display="none", epochs=1, sandbox=None
            )
        except Exception as error:  # whatever loading somebody's task raises
            raise UsageError(f"Inspect can't load the task {task!r}: {error}"[:500], remedy=_HOW) from error
    if more:
        names = ", ".join(str(each.eval.task) for each in (log, *more))
        raise UsageError(f"{task} has more than one task: {names}", remedy=f"name one: {PREFIX}{task}@TASK")
    about = f"{log.eval.task}@{log.eval.task_version} {log.eval.task_args}"
    return [Item(str(sample), about, "", INSPECT) for sample in log.eval.dataset.sample_ids or ()]


def _named(name: str) -> str:
    """The task as Inspect takes it: the path of a file must be a relative one."""
    task = name.removeprefix(PREFIX)
    return os.path.relpath(task) if Path(task).is_absolute() else task


def title(name: str) -> str:
    """What a report calls the task: without the folder that a file happens to be in."""
    task = name.removeprefix(PREFIX)
    return f"{PREFIX}{Path(task).name if Path(task).is_absolute() else task}"


_HOW = "write inspect:TASK as `inspect eval` takes TASK: inspect_evals/gsm8k, or the path of a file, file.py@task"


def parse(names: Sequence[str], *, main: ModelRef | None, preset: Preset | None) -> list[Arm]:
    """The arms that a task of Inspect can have. Raises UsageError."""
    found: dict[str, Arm] = {}
    for name in (each.strip() for each in names):
        kind, _colon, rest = name.partition(":")
        if name == "fuse" or kind in ("solo", "best"):
            chosen = question_arms.parse([name], main=main, preset=preset)
        elif kind == "counsel" and rest != "last":
            chosen = loop_arms.parse([name], main=main, preset=preset)
        else:
            raise UsageError(f"the arm {name} is none that a task of Inspect can have", remedy=f"use {ARMS}")
        for arm in chosen:
            found.setdefault(arm.name, arm)
    return list(found.values())


def model_of(arm: Arm) -> str:
    """The arm as a model of the provider `moa`; what its preset is there, `_Fixed` knows."""
    if arm.preset is None:
        return f"moa/{arm.model}"
    return f"moa/{FUSE}{arm.name}" if arm.name == "fuse" else f"moa/{arm.name.replace(':', '-')}/{arm.model}"


class _Fixed:
    """The presets of a run's arms, whatever their files say by now."""

    def __init__(self, chosen: Sequence[Arm]) -> None:
        self._by_name = {
            arm.name.replace(":", "-"): replace(arm.preset, main=str(arm.model))
            for arm in chosen
            if arm.preset is not None
        }

    def load(self, name: str) -> Preset:
        """The one of that arm."""
        return self._by_name[name]


def open_server(config: Config, chosen: Sequence[Arm], run: str, budget_nano: int | None) -> Server:
    """The server of a run: its account, its cap, its presets. Raises UsageError, before anything is spent."""
    from moa.bench.inspecting import serving

    _inspect()
    caps = () if budget_nano is None else (Cap("session", "--budget", budget_nano),)
    server = serving.build(config, session=session_of(run), caps=caps)
    server.names.load = _Fixed(chosen).load
    for arm in chosen:
        for model in loop_arms.models(arm):
            server.client.require_key(model.endpoint)
    serving.use(server)
    return server


async def run(
    server: Server,
    name: str,
    suite: Suite,
    chosen: Sequence[Arm],
    kept: Run,
    *,
    judges: Sequence[str] = (),
    budget_nano: int | None = None,
    retry: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> BudgetReached | None:
    """Answer what the run has no line for yet, and with `retry` what failed. Returns the budget that ended it, where one did. Raises StateError
    where Inspect gives up."""
    work = _Work(server, name, kept, judges, budget_nano)
    last = {(result.item, result.arm): result for result in kept.results()}
    work.failed = {key: result for key, result in last.items() if retry and result.status == "failed"}
    work.done = last.keys() - work.failed.keys()
    whole = len(suite.items) * len(chosen)
    ids = [item.id for item in suite.items]
    try:
        for start in range(0, len(ids), TOGETHER):
            for arm in chosen:
                todo = [each for each in ids[start : start + TOGETHER] if (each, arm.name) not in work.done]
                if todo:
                    await work.arm(arm, todo)
                if work.stopped is not None:
                    return work.stopped
                progress(len(work.done), whole)
    finally:
        kept.close()
    return None


class _Work:
    """One run in Inspect."""

    def __init__(self, server: Server, name: str, kept: Run, judges: Sequence[str], budget_nano: int | None) -> None:
        self.done: set[tuple[str, str]] = set()
        self.failed: dict[tuple[str, str], Result] = {}
        self.stopped: BudgetReached | None = None
        self._server, self._task, self._kept = server, _named(name), kept
        self._judges, self._budget = judges, budget_nano
        self._ids = kept.asked["items"]

    async def arm(self, arm: Arm, samples: Sequence[str]) -> None:
        """These samples in one arm."""
        inspect = _inspect()

        def tell(sample: Any) -> None:
            self._ended(arm, sample)

        _waiting.append(tell)
        roles = {GRADER: f"moa/{self._judges[0]}"} if self._judges else {}
        try:
            with redirect_stdout(sys.stderr):
                (log,) = await inspect.eval_async(
                    self._task,
                    model=model_of(arm),
                    model_roles=roles,
                    sample_id=[*samples],
                    epochs=1,
                    fail_on_error=False,
                    log_dir=str(self._kept.folder / "inspect" / arm.name.replace(":", "-")),
                    log_format="eval",
                )
        finally:
            _waiting.remove(tell)
        if log.status != "success" and self.stopped is None:
            said = log.error.message if log.error is not None else log.status
            raise StateError(
                f"Inspect did not finish the task: {said}"[:500], remedy=f"moa bench run --resume {self._kept.id}"
            )

    def _ended(self, arm: Arm, sample: Any) -> None:
        result = result_of(arm, sample)
        rows = [row for row in self._server.ledger.calls(session=session_of(self._kept.id)) if row.run in _runs(sample)]
        if self._budget is not None and result.status == "failed" and BudgetReached.kind in result.error:
            self.stopped = BudgetReached(
                "the run has reached its budget", cap="--budget", remedy="resume with --resume and a larger --budget"
            )
            return
        graded = _runs(sample, GRADER)
        own = [row for row in rows if row.run not in graded]
        total, judged = (
            Total.of([row.cost_nano for row in each]) for each in (own, [r for r in rows if r.run in graded])
        )
        result.calls, result.judge_calls = [row.id for row in own], [row.id for row in rows if row.run in graded]
        result.cost_nano, result.unknown = total.nano, total.unknown
        result.judge_nano, result.judge_unknown = judged.nano, judged.unknown
        result.tokens = sum((row.prompt_tokens or 0) + (row.completion_tokens or 0) for row in own)
        result.served = sorted({row.model_served for row in own if row.model_served})
        if arm.preset is not None:
            said = [note.get("counsel", "").partition(";")[0] for note in _notes(sample)]
            sent = sum(word in ("taken", "reused") for word in said)
            result.counsel = {"taken": sent + sum(word in ("silent", "withheld") for word in said), "sent": sent}
        result.steps = sum(row.purpose == "serve" for row in own)
        key = result.item, result.arm
        if key not in self.done:
            self.done.add(key)
            if (earlier := self.failed.get(key)) is not None:
                result.supersede(earlier)
            self._kept.add(result)


def result_of(arm: Arm, sample: Any) -> Result:
    """What a sample came to. A scorer's word becomes a number as Inspect has it (C is 1, P a half, I and N are 0)."""
    from inspect_ai.scorer import value_to_float

    result = Result(str(sample.id), arm.name, text=sample.output.completion[-4_000:])
    if sample.error is not None:
        result.status, result.error = "failed", sample.error.message[:300]
    elif not sample.scores:
        result.status, result.error = "blocked", "no scorer gave a score"
    else:
        values = next(iter(sample.scores.values())).value
        number = value_to_float()
        each = list(values.values()) if isinstance(values, dict) else values if isinstance(values, list) else [values]
        result.score = min(1.0, max(0.0, fmean(number(value) for value in each))) if each else 0.0
    result.seconds = sample.working_time if sample.working_time is not None else sample.total_time
    return result


def _notes(sample: Any, role: str | None = None) -> list[dict[str, str]]:
    """What our server said of a sample's calls; with `role` of those of that role alone."""
    from moa.bench.inspecting.model import NOTE

    events = [event for event in sample.events or () if event.event == "model" and role in (None, event.role)]
    return [note for event in events if (note := (event.output.metadata or {}).get(NOTE)) is not None]


def _runs(sample: Any, role: str | None = None) -> set[str]:
    """The runs of these calls in the ledger."""
    return {note["run"] for note in _notes(sample, role) if "run" in note}
