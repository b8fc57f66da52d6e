"""The library: `import moa`, then `moa.Panel` to ask a panel and `moa.Agent` for an agent with tools and counsel. docs/library.md shows both.

Settings, keys, presets and the ledger are those of the command line, so what a program spends stands in `moa activity`, under the same
caps. Nothing is printed, and no signal is handled.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from agent.approval.approval import ApprovalRequest, Mode, UserAnswer
from agent.errors import UsageError
from agent.events import AgentEvent, Cost, ErrorInfo, Record, TurnFinished, TurnStatus
from agent.llm.messages import user
from agent.llm.request import Effort
from agent.llm.stream import Usage
from agent.process import depth

if TYPE_CHECKING:
    from agent.host import Host, Options
    from moa.aggregate.analysis import Analysis
    from moa.counsel.counsel import Counsel
    from moa.panel.outcome import Answer, Failure
    from moa.plugin import Moa

T = TypeVar("T")
AskUser = Callable[[ApprovalRequest], Awaitable[UserAnswer]]
"""Decides about a tool call that needs a yes: `UserAnswer("once")`, or `UserAnswer("no", "why")`."""


@dataclass(frozen=True, slots=True)
class PanelAnswer:
    """What a panel came to.

    `answers` are what its members said, `failures` who gave nothing and why. `analysis` compares the answers; None where one member alone
    answered, where the preset compares nothing (`raw`), or where comparing failed. `text` is the whole for people: the analysis, else the answers.
    `cost.usd` is in US dollars; a lower bound where a part of it is unknown. Seconds.
    `run` is its name for `moa replay`; None where it could not be kept (then a warning says why).
    """

    text: str
    answers: tuple[Answer, ...]
    failures: tuple[Failure, ...]
    analysis: Analysis | None
    warnings: tuple[str, ...]
    cost: Cost
    duration_s: float
    run: str | None = None


@dataclass(frozen=True, slots=True)
class AgentAnswer:
    """What an agent's turn came to. `status` is `done`, or why not (docs/events.md); `error` says more. `counsel` has a dict for each counsel
    that was taken, as in `moa run --output-format json`. `cost.usd` is in US dollars, counsel included."""

    text: str
    status: TurnStatus
    error: ErrorInfo | None
    counsel: tuple[Mapping[str, Any], ...]
    usage: Usage
    cost: Cost
    duration_s: float


class Work(Generic[T]):
    """Work that is running: iterate over it for its events, `await` it for its result. Leaving it (`async with`) stops it within a second."""

    def __init__(self, begin: Callable[[Callable[[AgentEvent], None]], Awaitable[T]]) -> None:
        self._queue: asyncio.Queue[AgentEvent | None] = asyncio.Queue()
        self._task = asyncio.ensure_future(begin(self._queue.put_nowait))
        self._task.add_done_callback(lambda _task: self._queue.put_nowait(None))

    def __await__(self) -> Generator[Any, None, T]:
        """The result. Raises what the work raised."""
        return self._task.__await__()

    async def __aiter__(self) -> AsyncIterator[AgentEvent]:
        """The events, in order, until the work is over; they can be had once. Raises what the work raised."""
        while (event := await self._queue.get()) is not None:
            yield event
        await self._task

    async def __aenter__(self) -> Self:
        """The same, to be stopped at the end of a block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it, where it still runs."""
        await self.cancel()

    async def cancel(self) -> None:
        """Stop it and wait until its sockets and children are closed."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])


class _Opened:
    """Something with a host, which is closed with it."""

    _host: Host | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End children, and close connections and files."""
        if self._host is not None:
            await self._host.aclose()


class Panel(_Opened):
    """A panel of models, by the name of its preset (None: the one that config.toml names).

    `cwd` is where members with tools look, `budget_usd` the most that all of its work may cost. `env` replaces the environment, which
    names the folders of settings and state (`MOA_CONFIG_DIR` …). Use it as an async context manager.
    """

    def __init__(
        self,
        preset: str | None = None,
        *,
        cwd: str | Path | None = None,
        budget_usd: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._preset = preset
        self._cwd = Path(cwd) if cwd is not None else None
        self._budget_usd = budget_usd
        self._env = os.environ if env is None else env

    async def __aenter__(self) -> Self:
        """Read the settings. Raises UsageError where they are wrong, or the preset can't be asked here (a missing key, say), StateError."""
        from agent.host import Options
        from moa import alone

        options = Options(cwd=self._cwd, approve="deny", budget_usd=self._budget_usd, budget_name="budget_usd")
        self._host, _moa = alone.opened(options, self._env)
        try:
            self._check()
        except BaseException:
            await self._host.aclose()
            raise
        return self

    def ask(self, question: str, *, context: str = "") -> Work[PanelAnswer]:
        """Ask it. `context` is what the members have to know beside the question. Must be called within the running event loop.

        `await` the result for the answer, or iterate over it first for the events. A member that fails is in the answer, not raised; so is
        a panel of which nobody answered (`answers` is then empty).
        """
        if not question.strip():
            raise UsageError("the question is empty", remedy="say what you want to know")
        text = f"{context.strip()}\n\n{question}" if context.strip() else question
        return Work(lambda emit: self._take(text, emit))

    def _check(self) -> None:
        host, plugin = self._opened()
        if depth.depth(self._env):
            raise UsageError(
                f"there is no panel to ask: this program is inside of a panel already ({depth.VARIABLE})",
                remedy="continue without it",
                kind="recursion",
            )
        preset = plugin.load(self._preset or plugin.armed or plugin.settings.preset)
        plugin.check(preset)
        if host.model_error is not None and preset.main is None:
            raise host.model_error

    def _opened(self) -> tuple[Host, Moa]:
        if self._host is None:
            raise RuntimeError("open it first: async with moa.Panel(…) as panel")
        plugin: Any = next(each for each in self._host.plugins if each.name == "moa")
        return self._host, plugin

    async def _take(self, text: str, emit: Callable[[AgentEvent], None]) -> PanelAnswer:
        from moa import alone
        from moa.counsel.take import Council
        from moa.panel.tasks import ANSWER

        host, plugin = self._opened()
        preset = plugin.load(self._preset or plugin.armed or plugin.settings.preset)
        council = Council(preset, host.agent.client, run_member=plugin.host.run_member)
        taken = await alone.take(host, council, [user(text)], reason="asked by a program", emit=emit, task=ANSWER)
        return _answer(taken.counsel, taken.run)


class Agent(_Opened):
    """An agent with tools, a conversation, and counsel where `preset` names a panel.

    `model` is ENDPOINT:MODEL (None: config.toml's); `approve` says what runs without asking (`deny`: only what changes nothing), `ask_user`
    decides about the rest with `approve="ask"` or `"edits"`. `session` goes on with an earlier conversation. `budget_usd` is the most that
    it may cost in all. Use it as an async context manager; turns follow each other in one conversation.
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        effort: Effort | None = None,
        preset: str | None = None,
        cwd: str | Path | None = None,
        approve: Mode = "deny",
        ask_user: AskUser | None = None,
        session: str | None = None,
        budget_usd: float | None = None,
        max_iterations: int = 90,
        env: Mapping[str, str] | None = None,
    ) -> None:
        from agent.host import Options

        self._options: Options = Options(
            model=model,
            effort=effort,
            cwd=Path(cwd) if cwd is not None else None,
            session=session,
            approve=approve,
            budget_usd=budget_usd,
            budget_name="budget_usd",
            max_iterations=max_iterations,
            plugins={"moa": {"preset": preset} if preset else {"off": True}},
        )
        self._ask_user = ask_user
        self._env = os.environ if env is None else env

    async def __aenter__(self) -> Self:
        """Open the conversation. Raises UsageError for wrong settings, StateError."""
        from agent.build import build

        approver = None if self._ask_user is None else _Approver(self._ask_user)
        self._host = build(self._options, env=self._env, approver=approver)
        if (why := self._host.model_error) is not None:
            await self._host.aclose()
            raise why
        return self

    @property
    def session(self) -> str:
        """The id of the conversation, for `session=` and `moa --resume`."""
        return self._opened().agent.session.id

    def run(self, prompt: str) -> Work[AgentAnswer]:
        """One turn. `await` the result for the answer, or iterate over it first for the events. How a turn failed is in the answer."""
        if not prompt.strip():
            raise UsageError("the prompt is empty", remedy="say what is to be done")
        self._opened()
        return Work(lambda emit: self._turn(prompt, emit))

    def _opened(self) -> Host:
        if self._host is None:
            raise RuntimeError("open it first: async with moa.Agent(…) as agent")
        return self._host

    async def _turn(self, prompt: str, emit: Callable[[AgentEvent], None]) -> AgentAnswer:
        from agent.loop.turn import Turn

        counsel: list[Mapping[str, Any]] = []
        turn = Turn(self._opened().agent, prompt)
        async with aclosing(turn.events()) as events:
            async for event in events:
                emit(event)
                if isinstance(event, Record) and event.kind == "counsel":
                    counsel.append(event.data)
                elif isinstance(event, TurnFinished):
                    return AgentAnswer(
                        event.text,
                        event.status,
                        event.error,
                        tuple(counsel),
                        event.usage,
                        event.cost,
                        event.duration_s,
                    )
        raise RuntimeError("a turn ends with turn_finished")


@dataclass(frozen=True, slots=True)
class _Approver:
    decide: AskUser = field(repr=False)

    async def ask(self, request: ApprovalRequest) -> UserAnswer:
        return await self.decide(request)


def _answer(counsel: Counsel, run: str | None) -> PanelAnswer:
    from moa.counsel.guidance import whole

    found = counsel.aggregation
    analysis = found.analysis if found is not None else None
    made = ["\n".join(each.text for each in found.results)] if found is not None and found.results else []
    said = "\n\n".join(
        [*made, *(f"{each.model_requested}:\n{each.text}" for each in counsel.chosen or counsel.answers)]
    )
    text = (whole(counsel, turn=1) if analysis is not None else None) or said
    cost = Cost(usd=counsel.cost.usd, lower_bound=counsel.cost.lower_bound)
    return PanelAnswer(
        text, counsel.answers, counsel.failures, analysis, tuple(counsel.warnings), cost, counsel.duration_s, run
    )
