"""/moa: counsel in the agent's loop. Arms a panel, hooks into each turn, and hands its slash commands to `moa.slash`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent import events
from agent.commands import Command
from agent.errors import UsageError
from agent.plugin import Continue, Contribution, RecordLine
from agent.process import depth
from moa import offers, preflight
from moa.armed import Armed
from moa.counsel.cadence import KIND, REPLAYED, Decision
from moa.preset.preset import FUSE
from moa.trial import Trial

if TYPE_CHECKING:
    from agent.commands import CommandContext, Result
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.messages import ToolCallPart
    from agent.llm.stream import Reply
    from agent.plugin import Disclosure, ModelCall, PluginHost, Reviewed, TurnState
    from agent.session.session import Session
    from agent.tools.base import Tool, ToolResult
    from agent.views import View
    from moa.counsel.counsel import Counsel
    from moa.counsel.delivery import Delivery
    from moa.preset.preset import Preset

ARGS_HINT = "[on | off | PRESET | status | ask [@PRESET] PROMPT | show [N] | again | quote [PRESET] | cancel N | go | tool MODE]"
PRESET_HINT = "[PRESET | new [NAME [MODEL…]] | show | check | edit | remove | arm NAME | copy NAME NEW]"
BUSY_VERBS = frozenset(("status", "show", "quote", "cancel", "go"))
"""The verbs that look, or steer a panel at work; the others wait for the turn's end."""

NOT_OFFERED = "the user has not offered the panel to you (they can, with /moa tool offer)"

REMIND = "Ask the panel with the consult tool before you answer: the user has asked for that. Then answer."


def make(host: PluginHost) -> Moa:
    """The plugin, as the entry point `agent.plugins` names it. Raises UsageError for a wrong `[moa]` section or preset."""
    return Moa(host)


class Moa(Armed):
    """Counsel for the main model: the hooks."""

    records = (KIND,)

    def __init__(self, host: PluginHost, *, env: Mapping[str, str] = os.environ) -> None:
        super().__init__(host)
        self._env = env
        self._consulted = False
        self._reminded = False
        self._trial: Trial | None = None
        self._told: set[str] = set()
        offers.make(self)
        host.registry.reviewers.append(self._review_plan)

    # What it offers

    def commands(self) -> Sequence[Command]:
        """`/moa`, `/preset` and `/review`. What they do is imported when the first is used: a run without a face uses none."""
        return (
            Command(
                name="moa",
                summary="take counsel from a panel of models before each step (bare: arm or disarm)",
                run=self._command,
                args_hint=ARGS_HINT,
                busy_verbs=BUSY_VERBS,
                complete=self._complete,
            ),
            Command(
                name="preset",
                summary="the presets there are and which can run here; arm, make, try, edit or remove one",
                run=self._preset_command,
                args_hint=PRESET_HINT,
                complete=self._complete_preset,
            ),
            Command(
                name="review",
                summary="the panel reads the working tree's diff, or what you name; findings with file and line",
                run=self._review_command,
                args_hint="[@PRESET] [staged | REVISION | A..B] [PATH…]",
                complete=self._complete_review,
            ),
        )

    async def _command(self, context: CommandContext, args: str) -> Result:
        from moa.slash.counsel import run

        return await run(self, context, args)

    def _complete(self, typed: str) -> Iterable[str]:
        from moa.slash.counsel import complete

        return complete(self, typed)

    async def _preset_command(self, context: CommandContext, args: str) -> Result:
        from moa.slash.presets import run

        return await run(self, context, args)

    async def _review_command(self, context: CommandContext, args: str) -> Result:
        from moa.review.command import run

        return await run(self, context, args)

    async def _review_plan(
        self, named: str | None, session: Session, context: CallContext, emit: Emit
    ) -> Reviewed | None:
        from moa.review.plans import review

        return await review(self, named, session, context, emit)

    def _complete_review(self, typed: str) -> Iterable[str]:
        from moa.store import store

        choices = ["staged", *(f"@{name}" for name in store.names(config_dir=self.host.config_dir))]
        return [choice for choice in choices if choice.startswith(typed)]

    def _complete_preset(self, typed: str) -> Iterable[str]:
        from moa.slash.presets import complete

        return complete(self, typed)

    def tools(self) -> Sequence[Tool]:
        """`consult`. It is listed whether or not it may be used now (`refuses`), but for the small models that this program runs itself: they
        do better with fewer tools."""
        main = self.main_model() or self.host.main_model or ""
        if self.tool_mode == "off" and main.startswith("local:"):
            return ()
        from moa.consult import Consult

        return (Consult(self._consult),)

    def refuses(self) -> Mapping[str, str]:
        """`consult`, until the user offers it."""
        return {} if self.tool_mode != "off" else {"consult": NOT_OFFERED}

    def status(self) -> str | None:
        """`moa budget`, or nothing."""
        return f"moa {self.armed}" if self.armed else None

    def record_line(self, kind: str, data: Mapping[str, Any]) -> RecordLine | None:
        """A counsel's line, for sessions that were written without."""
        if kind != KIND or data.get("trigger") == REPLAYED:
            return None
        from moa.counsel.record import CounselRecord
        from moa.counsel.telling import line_of

        return line_of(CounselRecord.read(data))

    def view(self, kind: str, data: Mapping[str, Any]) -> View | None:
        """A counsel in full."""
        if kind != KIND:
            return None
        from moa.counsel.view import counsel_view

        return counsel_view(data)

    def disclosure(self, line: str) -> Disclosure | None:
        """Before the first counsel with a panel: who will receive the conversation, and what it may cost."""
        from moa.slash.disclosing import disclosure

        return disclosure(self, line)

    # The hooks

    async def before_turn(self, turn: TurnState, emit: Emit) -> None:
        """Set up the turn's counsel. Raises UsageError where the armed preset is wrong: better before the turn than in it."""
        self.turn, self.call, self.emit = None, None, emit
        self._consulted = self._reminded = False
        option = turn.options.get(self.name) or {}
        composed = "" if option else turn.composed  # what is asked for this turn goes first
        fused = composed.startswith(FUSE)
        name: str | None
        if fused:
            name = composed.removeprefix(FUSE)
            if named := self.host.options.get("preset"):
                text = f"the model {composed} asks its own panel, and --preset {named} names another"
                raise UsageError(text, remedy="leave one of them out", kind="usage")
        else:
            name = None if option.get("off") else option.get("preset", self.armed)
        if name is None:
            return
        if level := depth.depth(self._env):
            text = f"no counsel: this process is inside of a panel already ({depth.VARIABLE}={level})"
            emit(events.Notice(source=self.name, level="warning", code="recursion", text=text))
            return
        council = self.council(name)
        self._tell_strangers(council.preset, emit)
        council.begin_turn()
        self._trial = None
        if fused:
            from moa.fuse import FuseTurn

            self.turn = FuseTurn(council, self.receipts, turn, emit)
            return
        from moa.counsel.turn import TurnCounsel

        self.turn = TurnCounsel(council, self.receipts, turn, emit)
        if self.settings.worth and not option:  # counsel that was asked for is sent
            self._trial = Trial(name, self.settings.worth)
            self.turn.withholds = self._trial.withheld

    def advises(self) -> bool:
        """Only where a panel is armed for this turn."""
        return self.turn is not None

    def _tell_strangers(self, preset: Preset, emit: Emit) -> None:
        """Once for each preset: whose family nobody knows, where the preset wants others than the main model's."""
        unknown = preflight.strangers(preset, self.main())
        if unknown and preset.name not in self._told:
            self._told.add(preset.name)
            text = f'nobody knows whose models these are, so family = "other" lets them pass: {", ".join(unknown)}'
            emit(events.Notice(source=self.name, level="info", code="family_unknown", text=text))

    async def before_model(self, call: ModelCall, emit: Emit) -> Contribution | None:
        """Counsel for this call, where the cadence asks for some."""
        self.call, self.emit = call, emit
        if self.turn is None:
            return None
        contribution = await self.turn.before_model(call)
        self.last = self.turn.latest or self.last
        return contribution

    async def after_model(self, call: ModelCall, reply: Reply, emit: Emit) -> None:
        """Say so where the answer parrots what was private, whenever that was given."""
        in_force = [given.text for given in call.turn.session.guidance() if given.plugin == self.name]
        if not in_force or reply.message.tool_calls:
            return
        from moa.counsel.leak import repeats

        if any(repeats(reply.message.text, guidance) for guidance in in_force):
            text = "this answer repeats its private guidance almost word for word: the main model may be too small to take counsel"
            emit(events.Notice(source=self.name, level="warning", code="guidance_repeated", text=text))

    async def after_tool(self, turn: TurnState, call: ToolCallPart, result: ToolResult) -> None:
        """What happened may be a signal for counsel."""
        if self.turn is not None:
            self.turn.after_tool(call, result)
        if self._trial is not None:
            self._trial.after_tool(call, result)

    async def before_stop(self, turn: TurnState, context: CallContext, emit: Emit) -> Continue | None:
        """A draft may be held back: for review, or because the panel was to be asked and was not."""
        if self.tool_mode == "force" and not self._consulted and not self._reminded and self._offered():
            from agent.llm.messages import user

            self._reminded = True  # once: a model that will not ask is not worth a second call
            message = user(REMIND, synthetic="continuation")
            return Continue(message=message, supersede=True, reason="the panel was to be asked first (/moa tool force)")
        if self.turn is None:
            return None
        further = await self.turn.before_stop(turn, context)
        self.last = self.turn.latest or self.last
        return further

    async def after_turn(self, turn: TurnState) -> None:
        """Cancel what still runs."""
        ending, self.turn = self.turn, None
        if ending is not None:
            await ending.close()
        trial, self._trial = self._trial, None
        if trial is not None and turn.iteration:
            turn.session.add_record(trial.record(turn), turn=turn.turn, iteration=turn.iteration)
        await self.close_councils()

    # The consult tool

    def _offered(self) -> bool:
        return self.call is not None and any(tool.name == "consult" for tool in self.call.tools)

    async def _consult(self, question: str) -> str:
        """One counsel on a question, as text. Raises ToolError where there is no panel to ask."""
        from agent.tools.base import ToolError
        from moa.counsel import keep
        from moa.panel import prompts

        call, emit = self.call, self.emit
        if self.tool_mode == "off":
            raise ToolError(f"The panel was not asked: {NOT_OFFERED}. Go on without it.")
        self._consulted = True
        if call is None or emit is None:
            raise ToolError("There is no turn to take counsel in.")
        if depth.depth(self._env):
            raise ToolError("There is no panel to ask: this agent is a panel's member itself.")
        try:
            council = self.turn.council if self.turn else self.council(self.armed or self.settings.preset)
        except UsageError as error:
            raise ToolError(f"The panel can't be asked: {error.message}") from None
        counsel = await council.take(
            call.turn.history,
            main=call.model,
            context=call.context,
            decision=Decision(True, "consult", "the main model asked"),
            emit=emit,
            question=question,
            tools=council.preset.tools_at != "never",
        )
        self.last = counsel
        text, found = _consulted(counsel, call.turn.number)
        receipt = self.receipts.taken(
            call.turn.turn, call.iteration, counsel.decision, counsel.cost, counsel.duration_s, found.withheld
        )
        entry = keep.full(
            counsel, iteration=call.iteration, turn=call.turn.number, guidance=text, receipt=receipt, delivery=found
        )
        call.turn.session.add_record(entry, turn=call.turn.turn, iteration=call.iteration)
        emit(entry)
        if found.withheld == "failed":
            why = "; ".join(f"{failure.slot}: {failure.kind}" for failure in counsel.failures)
            raise ToolError(f"Nobody on the panel answered ({why or 'it broke off'}). Go on without it.")
        return text or prompts.SILENT


def _consulted(counsel: Counsel, turn: int) -> tuple[str | None, Delivery]:
    """The whole of a counsel that was asked for: no severity, no bound, and what was said before may be said again."""
    from moa.counsel.delivery import Delivery
    from moa.counsel.guidance import whole

    text = whole(counsel, turn=turn)
    if text is not None and counsel.grade != "nothing":
        return text, Delivery()
    return None, Delivery(withheld="silent" if counsel.answers else "failed")
