"""Runs the agent on a task: in a copy of its files, with an arm's plugin, to the end of one turn; then the task's command judges."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tempfile
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.build import build
from agent.config.config import BudgetSettings
from agent.errors import UsageError
from agent.events import TurnFinished
from agent.files.own_files import make_folder
from agent.host import Options
from agent.llm.errors import BudgetReached, Refused
from agent.loop.turn import Turn
from agent.session.session import Session
from agent.within import Within
from moa.bench.arms import Result
from moa.bench.check import Checker, put, settings_of
from moa.bench.loop.arms import MOST_STEPS
from moa.bench.loop.plugin import NAME, Donated, Fixed, Given, LastOnly
from moa.counsel import in_force, tally

if TYPE_CHECKING:
    from agent.config.config import Config
    from agent.ledger.book import Ledger
    from agent.llm.client import ModelClient
    from agent.plugin import Plugin, PluginHost
    from moa.bench.arms import Arm
    from moa.bench.items import Item

MOST_TEXT = 4_000
"""Characters of the last reply that a result keeps; the whole conversation is in the run's folder."""
MOST_ARGUMENTS = 1_000
"""Characters of a call's arguments that a result keeps: paths stand at their beginning."""


@dataclass(slots=True)
class Loops:
    """What the loops of one run share. Each works in a copy of its task's files; its conversation stays in `folder`."""

    config: Config
    ledger: Ledger
    client: ModelClient
    folder: Path
    run: str
    account: str
    budget_usd: float | None = None

    async def answer(self, arm: Arm, item: Item, donor: Result | None = None) -> Result:
        """Do a task in an arm. `donor` is the other task's result whose guidance a placebo gives.

        Raises BudgetReached, and UsageError for what is wrong with the settings; a model's failure is a result.
        """
        work = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="moa-bench-"))
        session = self._session(arm, item)
        try:
            await asyncio.to_thread(put, work, dict(item.files))
            result = await self.turn(arm, item, work, session, donor)
            await self._judge(result, item, work)
            return result
        finally:
            session.close()
            await asyncio.to_thread(self.tidy, work, session)

    def tidy(self, work: Path, session: Session) -> None:
        """Take away what a loop leaves beside its conversation. Blocking."""
        state = self.config.paths.state
        for left in (work, state / "scratch" / session.id, state / "snapshots" / session.id):
            shutil.rmtree(left, ignore_errors=True)

    def session_path(self, arm: Arm, item: Item) -> Path:
        """Where the conversation of an item in an arm is."""
        words = re.sub(r"[^\w.-]+", "-", f"{item.id}.{arm.name}")[:80]
        short = hashlib.sha256(f"{item.id}\n{arm.name}".encode()).hexdigest()[:8]
        return self.folder / "sessions" / f"{self.account}.{words}.{short}.jsonl"

    def _session(self, arm: Arm, item: Item) -> Session:
        path = self.session_path(arm, item)
        make_folder(path.parent)
        path.unlink(missing_ok=True)  # of a run that was killed in the middle of it
        kind = LastOnly if arm.name == "counsel:last" else Session
        return kind(path, redact=self.config.redact)

    def _settings(self) -> Config:
        """The user's, but for what would make a run another on another machine: their hooks, their servers, their caps on a turn."""
        day = BudgetSettings(day_usd=self.config.budget.day_usd, day_tokens=self.config.budget.day_tokens)
        return replace(settings_of(self.config), mcp={}, hooks=(), budget=day)

    async def turn(self, arm: Arm, item: Item, work: Path, session: Session, donor: Result | None = None) -> Result:
        """One turn of an arm's agent in a folder, begun with the item's prompt; nobody judges it. Raises as `answer` does."""

        def make(host: PluginHost) -> Plugin:
            if arm.donor is not None and arm.preset is not None:
                given = [Given(**{**each, "steps": tuple(each["steps"])}) for each in donor.given] if donor else []
                return Donated(given, arm.preset.name)
            return Fixed(host, arm.preset, shuffles=item.id if arm.name == "placebo:shuffled" else None)

        counsel = {"off": True} if arm.preset is None else {"preset": arm.preset.name}
        host = build(
            Options(
                model=str(arm.model),
                effort=arm.effort,
                cwd=work,
                approve="all",
                budget_usd=self.budget_usd,
                max_iterations=MOST_STEPS,
                plugins={NAME: counsel},
            ),
            makers={NAME: make},
            within=Within(self._settings(), self.ledger, self.client, session, self.account, self.run),
        )
        try:
            if host.model_error is not None:
                raise host.model_error
            turn = Turn(host.agent, item.prompt)
            finished: TurnFinished | None = None
            async with aclosing(turn.events()) as events:
                async for event in events:
                    if isinstance(event, TurnFinished):
                        finished = event
        finally:
            await host.aclose()
        assert finished is not None
        return self._result(arm, item, finished, session)

    def _result(self, arm: Arm, item: Item, finished: TurnFinished, session: Session) -> Result:
        error = finished.error
        if finished.status == "budget" and error is not None:
            raise BudgetReached(error.message, cap="--budget", remedy="resume with --resume and a larger --budget")
        if finished.status == "usage" and error is not None:
            raise UsageError(error.message, remedy=error.remedy or "", kind=error.kind)
        calls, total = self.ledger.calls(turn=finished.turn), self.ledger.total(turn=finished.turn)
        result = Result(
            item.id,
            arm.name,
            text=finished.text[-MOST_TEXT:],
            cost_nano=total.nano,
            unknown=total.unknown,
            tokens=finished.usage.prompt + finished.usage.completion,
            calls=[call.id for call in calls],
            served=sorted({call.model_served for call in calls if call.model_served}),
            steps=finished.iterations,
        )
        replies = [message for message in session.transcript() if message.role == "assistant"]
        result.made = [
            [number, call.name, call.arguments[:MOST_ARGUMENTS]]
            for number, reply in enumerate(replies, 1)
            for call in reply.tool_calls
        ]
        if finished.status not in ("done", "limit"):
            result.status = "refused" if error is not None and error.kind == Refused.kind else "failed"
        if error is not None:
            result.error = f"{error.kind}: {error.message}"[:300]
        if arm.preset is not None:
            found = tally.count(session, arm.preset.name)
            result.counsel = {
                "taken": found.counsels,
                "sent": found.followed + found.ignored + found.untold,
                "followed": found.followed,
                "ignored": found.ignored,
                "untold": found.untold,
            }
            records = [data for data in session.records("counsel") if in_force.delivered(data)]
            result.given = [asdict(Given.of(data)) for data in records]
        return result

    async def _judge(self, result: Result, item: Item, work: Path) -> None:
        """Whether the task is done. A turn that broke off has not done it, whatever its files are like."""
        if result.status != "done":
            return
        try:
            checked = await Checker(self.config).run(item.expected, dict(item.checks), folder=work)
        except (OSError, ValueError) as error:
            result.status, result.error = "blocked", f"check: {error}"[:300]
            return
        if not checked.started:
            result.status, result.error = "blocked", f"check: {checked.output.strip()}"[:300]
        result.score = float(checked.passed)
