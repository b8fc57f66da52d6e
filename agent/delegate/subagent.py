"""A sub-agent: the loop in small, for one bounded task. It has tools and a model of its own, but no plugins, no session and no sub-agents.

It says what it does as the turn's own events, under its id: side work that begins, goes on and ends, and in between its tool calls.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from agent import events
from agent.errors import UsageError
from agent.llm.errors import BudgetReached, ModelError
from agent.llm.messages import Message, system, user
from agent.llm.money import Total
from agent.llm.request import Request
from agent.llm.stream import Reply, Usage
from agent.side_work import SideWork

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.loop.tool_runner import ToolRunner
    from agent.plugin import Profile

KIND = "delegate"

BRIEF = """\
You are a helper: another agent has handed you one bounded task, which is the message that follows. You see nothing of its conversation,
and nobody answers questions. Do the task and no more. Then report: what you found or did, with names, paths and figures, and what you
could not settle. The report is all that the other agent gets, so make it complete and short."""
LAST_STEP = "That was your last step with tools. Report now what you have, and say what is missing."

Ended = Literal["done", "steps", "failed"]


@dataclass(slots=True)
class Work:
    """What a sub-agent has done so far, and at the end all of it. `text` is its last words, `error` why it broke off."""

    text: str = ""
    steps: int = 0
    tool_calls: int = 0
    usage: Usage | None = None
    costs: list[int | None] = field(default_factory=list)
    call_id: str | None = None
    model_served: str | None = None
    ended: Ended = "failed"
    error: events.ErrorInfo | None = None

    @property
    def cost(self) -> Total:
        """Of all its model calls."""
        return Total.of(self.costs)

    def add(self, reply: Reply) -> None:
        """A call of its model has ended."""
        self.steps += 1
        self.costs.append(reply.cost_nano)
        if reply.usage is not None:
            self.usage = reply.usage if self.usage is None else self.usage + reply.usage
        self.call_id, self.model_served = reply.call_id, reply.model_served
        self.text = reply.message.text.strip() or self.text


@dataclass(slots=True)
class SubAgent:
    """One of them. `max_steps` bounds the calls of its model, `timeout_s` (seconds) the whole; `label` is for people, `group` binds
    those that work at the same time."""

    id: str
    group: str
    label: str
    client: ModelClient
    tools: ToolRunner
    profile: Profile
    emit: Emit
    max_steps: int
    timeout_s: float
    max_tokens: int
    _side: SideWork = field(init=False)

    def __post_init__(self) -> None:
        self._side = SideWork(
            self.emit,
            source=KIND,
            id=self.id,
            group=self.group,
            kind=KIND,
            label=self.label,
            model=str(self.profile.model),
        )

    async def run(self, setting: str, task: str, context: CallContext) -> Work:
        """Work on a task to its end. `setting` is the text that opens the leader's own conversation (folder, rules of the project).

        Failures are in what it returns, with all that was done until then; only cancellation, and mistakes of ours, are raised.
        """
        work = Work()
        side = self._side
        side.start()
        outcome: Literal["answered", "failed", "cancelled"] = "failed"
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._work(work, [system(f"{setting}\n\n{BRIEF}"), user(task)], context)
            outcome = "answered"
        except asyncio.CancelledError:
            outcome, work.error = "cancelled", events.ErrorInfo(kind="cancelled", message="stopped with the turn")
            raise
        except TimeoutError:
            work.error = events.ErrorInfo(kind="timed_out", message=f"timed out after {self.timeout_s:g} s")
        except ModelError as problem:
            if problem.partial is not None:
                work.text = problem.partial.text.strip() or work.text
            work.costs.append(problem.cost_nano)
            work.error = events.ErrorInfo(kind=problem.kind, message=problem.message, remedy=problem.remedy)
        except (BudgetReached, UsageError) as problem:
            work.error = events.ErrorInfo(kind=problem.kind, message=problem.message, remedy=problem.remedy)
        except Exception as problem:
            work.error = events.ErrorInfo(kind="internal", message=f"{type(problem).__name__}: {problem}")
            raise
        finally:
            side.finish(
                outcome,
                text=work.text,
                error=work.error,
                call_id=work.call_id,
                model_served=work.model_served,
                usage=work.usage,
                cost=work.cost,
            )
        return work

    async def _work(self, work: Work, history: list[Message], context: CallContext) -> None:
        """The loop itself. The tools stay in every request, so that the endpoint's cache of them holds."""
        specs = self.tools.specs
        rounds = self.client.facts(self.profile.model).tool_rounds
        limit = self.max_steps if rounds is None else min(self.max_steps, rounds + 1)
        quirks: frozenset[str] | None = None
        while True:
            last = work.steps + 1 >= limit
            if last and work.steps:
                history.append(user(LAST_STEP, synthetic="continuation"))
            request = Request(
                model=self.profile.model,
                messages=tuple(history),
                tools=specs,
                max_tokens=self.max_tokens,
                temperature=self.profile.temperature,
                reasoning=self.profile.reasoning,
                tool_choice="none" if last else "auto",
                quirks=quirks,
            )
            self._side.beat("waiting")
            reply = await self.client.complete(request, context, on_event=self._side.hear)
            work.add(reply)
            quirks = reply.quirks
            calls = () if last else reply.message.tool_calls
            if not calls:
                if not work.text:
                    raise UsageError("it ended without a word", kind="empty_answer")
                work.ended = "steps" if last and limit > 1 else "done"
                return
            history.append(replace(reply.message, binding=reply.binding))
            work.tool_calls += len(calls)
            async for result in self.tools.run(calls, None, self._pass_on):
                history.append(result)

    # Signs of life

    def _pass_on(self, event: events.AgentEvent) -> None:
        """An event of its tools, marked as its own."""
        if isinstance(event, events.ToolStarted):
            self._side.beat("waiting", f" {event.title} ")
        self.emit(event if isinstance(event, events.Notice) else replace(event, source=self.id))
