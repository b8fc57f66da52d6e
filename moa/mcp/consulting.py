"""Counsel for another agent: one question to a panel, on the user's account, with signs of life on the way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.errors import UsageError
from agent.events import Notice, SideFinished, SideStarted
from agent.llm.messages import user
from agent.process import depth
from moa import alone
from moa.counsel.guidance import whole
from moa.counsel.take import Council
from moa.panel import prompts

if TYPE_CHECKING:
    from agent.events import AgentEvent
    from agent.host import Host
    from moa.counsel.counsel import Counsel
    from moa.plugin import Moa
    from moa.preset.preset import Preset

MOST_CHARS = 400_000
"""Of a question and its context together: about as much as a large window holds."""
Progress = Callable[[int, int, str], None]
"""`progress(done, total, words)`."""


class Consulted(NamedTuple):
    """What a panel came to: `text` for the one who asked, `facts` for a program."""

    text: str
    facts: dict[str, Any]
    failed: bool = False


class Consulting:
    """Panels for one server process. The agent behind it is put together when the first question comes, so that a wrong setting is an
    answer that somebody reads, and no server that does not start."""

    def __init__(self, *, cwd: Path | None = None, env: Mapping[str, str] = os.environ) -> None:
        self._cwd = cwd
        self._env = env
        self._opened: tuple[Host, Moa] | None = None
        self._works: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, Consulted]) -> asyncio.Task[Consulted]:
        """The same as a task that is brought to its end, whoever waits for it."""
        task = asyncio.create_task(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)
        return task

    async def aclose(self) -> None:
        """Stop what still works, and close what is open."""
        for work in self._works:
            work.cancel()
        if self._works:
            await asyncio.wait(self._works)
        if self._opened is not None:
            await self._opened[0].aclose()

    async def ask(
        self, question: str, preset: str | None, context: str | None, progress: Progress, *, level: int = 0
    ) -> Consulted:
        """Take counsel. `context`: what the panel has to know; `level`: how deep inside of panels the one who asks is.

        Raises UsageError where there is no panel to ask: a wrong name, a missing key, a budget that can't be kept, or a panel that asks.
        """
        _check(question, context)
        if level or depth.depth(self._env):
            text = f"there is no panel to ask: the one who asks is inside of a panel already ({depth.VARIABLE})"
            raise UsageError(text, remedy="continue without it", kind="recursion")
        host, plugin = self._open()
        chosen = plugin.load(preset or plugin.armed or plugin.settings.preset)
        plugin.check(chosen)
        if host.model_error is not None and chosen.main is None:
            raise host.model_error
        taken = await alone.take(
            host,
            Council(chosen, host.agent.client, run_member=plugin.host.run_member),
            [user(context or question)],
            reason="asked over MCP",
            emit=_Signs(chosen, progress),
            question=question,
        )
        return _told(taken.counsel, taken.run)

    def presets(self) -> list[dict[str, Any]]:
        """The presets there are, who sits on them, and whether they can be asked here."""
        from moa.store import store

        _host, plugin = self._open()
        found = []
        for name in store.names(config_dir=plugin.host.config_dir, project_dir=plugin.host.project_dir):
            try:
                each = plugin.load(name)
                why = "; ".join(plugin.obstacles(each))
                row = {
                    "description": each.description,
                    "members": [one.model for one in each.references if one.enabled],
                }
            except UsageError as error:
                row, why = {"description": "", "members": []}, error.message
            found.append(
                {"name": name, **row, "runs_here": not why, "why_not": why, "default": name == plugin.settings.preset}
            )
        return found

    def activity(self, since: str | None) -> dict[str, Any]:
        """What was spent, by role: of this machine's ledger, all sessions. Raises UsageError for a time that is none."""
        from agent.ledger.activity import activity_json, parse_since
        from agent.text import foreign_json

        host, _plugin = self._open()
        start = parse_since(since) if since else None
        found: dict[str, Any] = foreign_json.loads("".join(activity_json(host.agent.ledger, since=start, by="role")))
        return found

    def _open(self) -> tuple[Host, Moa]:
        from agent.host import Options

        if self._opened is None:
            self._opened = alone.opened(Options(cwd=self._cwd, approve="deny"), self._env)
        return self._opened


def _check(question: str, context: str | None) -> None:
    if not question.strip():
        raise UsageError("the question is empty", remedy="say what you want to know, in full sentences", kind="usage")
    if (size := len(question) + len(context or "")) > MOST_CHARS:
        text = f"question and context have {size:,} characters; {MOST_CHARS:,} is the most"
        raise UsageError(text, remedy="give the panel what matters for the question", kind="usage")


class _Signs:
    """The events of a counsel as progress: who is asked, who has answered."""

    def __init__(self, preset: Preset, progress: Progress) -> None:
        self._progress = progress
        self._labels: dict[str, str] = {}
        self._total = sum(one.count for one in preset.references if one.enabled) + 1
        self._done = 0

    def __call__(self, event: AgentEvent) -> None:
        if isinstance(event, SideStarted):
            self._labels[event.id] = event.label
            self._say(f"{event.label} is asked")
        elif isinstance(event, SideFinished):
            self._done += 1
            self._say(f"{self._labels.get(event.id, event.id)} {event.outcome}")
        elif isinstance(event, Notice):
            self._say(event.text)

    def _say(self, words: str) -> None:
        self._progress(self._done, max(self._total, self._done), words)


def _told(counsel: Counsel, run: str | None) -> Consulted:
    failed = [{"member": each.slot, "kind": each.kind} for each in counsel.failures]
    cost = {"usd": counsel.cost.usd, "lower_bound": counsel.cost.lower_bound}
    analysis = counsel.aggregation.analysis if counsel.aggregation is not None else None
    facts: dict[str, Any] = {
        "run": run,
        "preset": counsel.preset,
        "severity": counsel.grade,
        "answered": [each.slot for each in counsel.answers],
        "silent": list(counsel.silent),
        "failed": failed,
        "analysis": None if analysis is None else analysis.model_dump(mode="json"),
        "warnings": list(counsel.warnings),
        "cost": cost,
        "duration_s": round(counsel.duration_s, 3),
    }
    if not counsel.answers:
        why = "; ".join(f"{each.slot}: {each.kind}" for each in counsel.failures) or "; ".join(counsel.warnings)
        return Consulted(
            f"Nobody on the panel answered ({why or 'it broke off'}). Go on without it.", facts, failed=True
        )
    text = whole(counsel, turn=1) if counsel.grade != "nothing" else None
    return Consulted(text or prompts.SILENT, facts)
