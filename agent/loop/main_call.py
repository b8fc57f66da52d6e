"""One call of the main model: what plugins tell it beforehand, the request, its stream, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from agent.context.prompt import build_request
from agent.events import (
    AgentEvent,
    Cost,
    DraftSuperseded,
    ModelFinished,
    ModelRetrying,
    ModelStarted,
    Notice,
    ReasoningDeltaEvent,
    Steered,
    TextDeltaEvent,
)
from agent.llm.errors import ContextOverflow, ModelError
from agent.llm.messages import Message, Part, ReasoningPart, TextPart, user
from agent.llm.stream import Finished, ReasoningDelta, Reply, Retrying, TextDelta
from agent.loop.window import counted, nearly_full
from agent.plugin import ModelCall
from agent.text.numbers import plural
from agent.values import dataclass

if TYPE_CHECKING:
    from agent.hooks import Given, Hooks
    from agent.llm.accounting import CallContext
    from agent.llm.request import Request
    from agent.loop.agent import Agent
    from agent.plugin import TurnState
    from agent.session.sent import Guidance

GO_ON = "(go on)"
GUIDANCE_HEADROOM = 3_000
"""Tokens set aside in the main call's reservation for guidance that is not written yet."""


@dataclass(frozen=True, slots=True)
class Held:
    """A reply that a plugin holds back: it becomes a draft only when something follows it. `before` is what the turn said before it."""

    entry: str
    reply: Message
    before: str
    reason: str


class MainModel:
    """The main model over one turn. `text` is the last that it said to the user."""

    def __init__(
        self,
        agent: Agent,
        state: TurnState,
        hooks: Hooks,
        emit: Callable[[AgentEvent], None],
        steered: Callable[[], list[Message]],
    ) -> None:
        self.text = ""
        self.held: Held | None = None
        self._agent = agent
        self._state = state
        self._hooks = hooks
        self._emit = emit
        self._steered = steered
        self._before = ""
        self._answers = False
        """Whether a plugin wants an answer of this turn's next call, and no tools used."""

    def hold(self, reason: str) -> None:
        """The last reply is held back."""
        session, reply = self._agent.session, self._state.reply
        if session.head is not None and reply is not None:
            self.held = Held(session.head, reply, self._before, reason)

    def supersede(self) -> None:
        """Something follows the reply that was held back: it is a draft."""
        held, self.held = self.held, None
        if held is not None:
            self._agent.session.mark_draft(held.entry, reason=held.reason)
            self.text = held.before
            self._emit(DraftSuperseded(message=replace(held.reply, draft=True), reason=held.reason))

    async def call(self, context: CallContext) -> Reply | None:
        """Make the next call. None: the reply that was held back is the answer after all, since nobody had anything to say about it."""
        agent, state = self._agent, self._state
        self.join_steered()
        await self._make_room("threshold", context)
        tools = agent.tools.specs
        call = ModelCall(turn=state, model=agent.model, tools=tools, context=context, iteration=state.iteration)
        # The answer's own share is set aside before anybody gives advice on it: a panel can't spend the reply.
        advised = self._hooks.advise()
        hold = await agent.client.hold(self._request(), context, headroom_tokens=GUIDANCE_HEADROOM if advised else 0)
        try:
            given = await self._hooks.before_model(call)
            joined = self.join_steered()  # said while counsel was taken: this call is the next
            stands = self.held is not None and not joined and not any(each.contribution.text for each in given)
            texts = self._guide(given)
            self._answers = any(each.contribution.answers for each in given)
            if stands:
                self.held = None
                await agent.client.release(hold)
                return None
            self.supersede()
            self._let_speak()
            request = self._request()
        except BaseException:
            await agent.client.release(hold)
            raise
        agent.session.went_out()
        self._emit(ModelStarted(iteration=state.iteration, model=str(agent.model), guidance="\n\n".join(texts) or None))
        try:
            reply = await self._stream(request, context, hold)
        except ContextOverflow as problem:  # adapted once; a second one is the error that it is
            if not await self._make_room("overflow", context):
                raise
            for each in given:  # it has just been paid for
                self._write(each)
            self._let_speak()
            agent.session.went_out()
            self._emit(ModelRetrying(reason=problem.message, delay_s=0.0, adapted=True))
            reply = await self._stream(self._request(), context, None)
        self._keep(reply)
        await self._hooks.after_model(call, reply)
        return reply

    def join_steered(self) -> bool:
        """What the user has said meanwhile joins the conversation. Whether there was something."""
        messages = self._steered()
        for message in messages:
            self._agent.session.add(message)
            self._emit(Steered(message=message))
        self._state.history = self._agent.session.history()
        return bool(messages)

    # Before it

    def _guide(self, given: list[Given]) -> list[str]:
        """Write down what plugins contribute, directly before the call. Returns the texts, as they are sent."""
        session, state, texts = self._agent.session, self._state, []
        for each in given:
            guidance, record = self._write(each), each.contribution.record
            if guidance is not None:
                texts.append(guidance.text)
            if record is not None:
                session.add_record(record, turn=state.turn, iteration=state.iteration, guidance=guidance)
                self._emit(record)
        return texts

    def _write(self, each: Given) -> Guidance | None:
        text, state = each.contribution.text, self._state
        if not text:
            return None
        alternate = "strict_alternation" in self._quirks()
        return self._agent.session.guide(
            each.plugin, text, turn=state.turn, iteration=state.iteration, alternate=alternate
        )

    def _let_speak(self) -> None:
        """A reply can't be the last message: it would be continued as the model's own words, which newer models refuse."""
        session = self._agent.session
        if session.sent()[-1].role == "assistant":
            session.add(user(GO_ON, synthetic="continuation"))
            self._state.history = session.history()

    def _request(self) -> Request:
        agent, state = self._agent, self._state
        request = build_request(
            agent.session.sent(),
            model=agent.model,
            tools=agent.tools.specs,
            max_tokens=agent.max_tokens,
            quirks=self._quirks(),
            effort=agent.effort,
        )
        request = replace(request, served_as=self._served_as())
        rounds = agent.client.facts(agent.model).tool_rounds
        if self._answers or (rounds is not None and state.iteration > rounds):
            request = replace(request, tool_choice="none")
        return request

    def _quirks(self) -> frozenset[str]:
        """The endpoint's peculiarities as this conversation has known them from its first request on."""
        agent, kept = self._agent, self._agent.session.kept("quirks") or {}
        name = str(agent.model)
        if name not in kept:
            found = agent.client.quirks(agent.client.require_key(agent.model.endpoint), agent.model.model)
            kept = {**kept, name: sorted(found)}
            agent.session.keep("quirks", kept)
        return frozenset(kept[name])

    def _learned(self, quirks: frozenset[str]) -> None:
        kept = self._agent.session.kept("quirks") or {}
        self._agent.session.keep("quirks", {**kept, str(self._agent.model): sorted(quirks)})

    def _served_as(self) -> str | None:
        name = (self._agent.session.kept("aliases") or {}).get(str(self._agent.model))
        return name if isinstance(name, str) else None

    async def _make_room(self, reason: Literal["threshold", "overflow"], context: CallContext) -> bool:
        """Compact the conversation where the window is nearly full, or has overflowed. Whether that was done."""
        if reason == "threshold" and not nearly_full(self._agent):
            return False
        from agent.loop.compaction.compact import compact

        done = await compact(self._agent, context, self._emit, reason=reason)
        self._state.history = self._agent.session.history()
        return done is not None

    # The stream

    async def _stream(self, request: Request, context: CallContext, hold: Any) -> Reply:
        text: list[str] = []
        reasoning: list[str] = []
        try:
            async with aclosing(self._agent.client.stream(request, context, hold=hold)) as stream:
                async for event in stream:
                    match event:
                        case TextDelta():
                            text.append(event.text)
                            self._emit(TextDeltaEvent(text=event.text))
                        case ReasoningDelta():
                            reasoning.append(event.text)
                            self._emit(ReasoningDeltaEvent(text=event.text))
                        case Retrying():
                            if event.quirks is not None:
                                self._learned(event.quirks)
                            self._emit(ModelRetrying(reason=event.reason, delay_s=event.delay_s, adapted=event.adapted))
                        case Finished():
                            return event.reply
                        case _:
                            pass
        except BaseException as error:
            # What the user has read stays in the conversation, marked as what it is. A half-written tool call does not.
            partial = error.partial if isinstance(error, ModelError) else None
            if partial is not None and len(partial.text) > len("".join(text)):  # its end came with the error
                text, reasoning = [partial.text], [partial.reasoning]
            if isinstance(error, ModelError) and error.note is not None:
                self._agent.session.add(error.note)
            self._keep_partial("".join(text), "".join(reasoning))
            raise
        raise AssertionError("a call ended without Finished or an error")

    def _keep_partial(self, text: str, reasoning: str) -> None:
        if not text.strip():
            return
        parts: tuple[Part, ...] = (TextPart(text=text),)
        if reasoning:
            parts = (ReasoningPart(text=reasoning), *parts)
        message = Message(role="assistant", parts=parts, origin=str(self._agent.model), incomplete=True)
        self.text = message.text
        self._agent.session.add(message)

    # After it

    def _keep(self, reply: Reply) -> None:
        agent, state = self._agent, self._state
        self._before, self.text = self.text, reply.message.text or self.text
        if reply.note is not None:
            agent.session.add(reply.note)
        agent.session.add(replace(reply.message, binding=reply.binding), call_id=reply.call_id, tokens=counted(reply))
        state.history, state.reply = agent.session.history(), reply.message
        self._emit(
            ModelFinished(
                iteration=state.iteration,
                call_id=reply.call_id,
                message=reply.message,
                finish=reply.finish,
                model_served=reply.model_served,
                usage=reply.usage,
                cost=Cost(
                    usd=None if reply.cost_nano is None else reply.cost_nano / 1e9, lower_bound=reply.cost_nano is None
                ),
                ttft_s=reply.ttft_s,
                duration_s=reply.duration_s,
            )
        )
        self._tell_of(reply)

    def _tell_of(self, reply: Reply) -> None:
        agent = self._agent
        if reply.finish == "length":
            text = "the answer was cut off at its limit of tokens (max_tokens in config.toml, or the model's own)"
            self._emit(Notice(level="warning", code="answer_cut_off", text=text))
        if reply.left != agent.left:
            agent.left = reply.left
            if reply.left:
                text = f"{agent.model}: {describe_left(reply.left)}"
                self._emit(Notice(level="warning", code="thoughts_left", text=text))
        served = reply.model_served
        if is_alias(agent.model.model) and served and served != agent.model.model and self._served_as() is None:
            kept = agent.session.kept("aliases") or {}
            agent.session.keep("aliases", {**kept, str(agent.model): served})
            text = f"{agent.model} is {served} for the whole of this conversation"
            self._emit(Notice(level="info", code="alias_resolved", text=text))


def is_alias(model: str) -> bool:
    """Whether a model's name moves on with each release (`~anthropic/claude-opus-latest`)."""
    return model.startswith("~") or model.endswith("-latest")


def describe_left(left: tuple[str, ...]) -> str:
    """Thoughts that were left behind, in words."""
    from collections import Counter

    whys = "; ".join(f"{count}: {why}" if len(set(left)) > 1 else why for why, count in Counter(left).most_common())
    return f"the thoughts of {plural(len(left), 'earlier reply', 'earlier replies')} were left behind ({whys})"
