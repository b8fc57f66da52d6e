"""Server tools, executed by the user's own panel: Fusion, a consultation, an advisor."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.errors import UsageError
from agent.events import SideFinished, SideStarted, ToolFinished
from agent.llm.errors import ModelError
from agent.llm.messages import Message
from agent.llm.stream import ReasoningDelta, TextDelta
from agent.web.plugin import NAMES
from moa import preflight
from moa.counsel import keep
from moa.counsel.cadence import Decision
from moa.counsel.guidance import whole
from moa.counsel.take import Council
from moa.panel import prompts
from moa.panel.quoting import first_sentences
from moa.panel.tasks import ANSWER
from moa.serve.fusion.called import (
    AnalysisStarted,
    Called,
    MemberAdded,
    MemberCompleted,
    MemberDelta,
    MemberFailed,
    ServerEvent,
    arguments_of,
)
from moa.serve.fusion.offered import FUNCTIONS, FUSION, Offered
from moa.serve.fusion.panel import model_ref, preset_for, slug_of
from moa.serve.fusion.results import CAPPED, UNEXPECTED, Fused, unique
from moa.serve.wires.errors import unusable

if TYPE_CHECKING:
    from agent.config.domains import Domains
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.messages import ToolCallPart
    from agent.llm.request import ModelRef, Request
    from agent.llm.stream import Reply, StreamEvent
    from agent.plugin import MemberRunner
    from moa.counsel.counsel import Counsel
    from moa.preset.preset import Preset
    from moa.serve.counsel.lookups import Lookup, Lookups
    from moa.serve.counsel.saving import Saving
    from moa.serve.keys.account import Account

Tell = Callable[[ServerEvent], None]

ASK = "Is the course right, what is being overlooked, and what should be done next?"
"""What a panel is asked by an advisor's call, which says nothing of its own."""

# Why a panel gave no advice, in Anthropic's words.
_CODES: Mapping[str, str] = {
    "rate_limited": "too_many_requests",
    "overloaded": "overloaded",
    "context_overflow": "prompt_too_long",
    "timed_out": "execution_time_exceeded",
}
_LINK = re.compile(r"\[([^\]\n]{1,200})\]\((https?://[^\s)]+)\)|(https?://[^\s<>\"')\]]+)")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a tool is called in: the history as a panel sees it, the assistant's own instructions, who acts, whose panel the request names
    (empty: nobody's), and how often Fusion was called in this turn already. `routed`: the model is Fusion's own, so its panel says who
    analyses."""

    history: tuple[Message, ...]
    brief: str
    main: ModelRef
    preset: str = ""
    fusions: int = 0
    routed: bool = False
    turn: int = 1


@dataclass(slots=True)
class ServerTools:
    """What executes server tools: one a process.

    `load` gives a preset by name, `preset` is the one of bare `/moa`. `lookups` lets members look things up, `saving` keeps
    whole counsels.
    """

    client: ModelClient
    load: Callable[[str], Preset]
    endpoints: Collection[str]
    preset: str
    lookups: Lookups | None = None
    saving: Saving | None = None

    def check(
        self,
        offered: Sequence[Offered],
        conversation: Conversation,
        context: CallContext,
        account: Account | None = None,
    ) -> None:
        """Raises UsageError where a panel that is offered can't be asked, and AuthError where it is not for this key: better before the first
        call than after."""
        for each in offered:
            try:
                preset = self._preset(each, conversation)
                if account is not None:
                    account.check_panel(preset.name, self._chosen(each))
                preflight.check(preset, self.client, conversation.main, context.caps, None)
            except UsageError as error:
                if account is None or account.is_own or error.kind == "invalid_request" or self._chosen(each):
                    raise
                raise unusable(f"the panel of {each.type}", error) from None

    def _chosen(self, offered: Offered) -> list[str]:
        """The models that a request names for a panel."""
        if offered.type != FUSION:
            return []
        fusion = offered.fusion
        slugs = [*fusion.analysis_models, *([] if fusion.model is None else [fusion.model])]
        return [model_ref(slug, self.endpoints, FUSION) for slug in slugs]

    def _preset(self, offered: Offered, conversation: Conversation) -> Preset:
        if offered.type == FUSION:
            outer = None if conversation.routed else conversation.main
            return preset_for(
                offered.fusion,
                load=self.load,
                endpoints=self.endpoints,
                outer=outer,
                tools=() if self.lookups is None else NAMES,
                where=FUSION,
            )
        return self.load(offered.preset or conversation.preset or self.preset)

    async def call(
        self,
        offered: Offered,
        call: ToolCallPart,
        conversation: Conversation,
        context: CallContext,
        tell: Tell,
        *,
        used: int = 0,
    ) -> Called:
        """Execute one call. `used`: how often this tool was called in the request before. Never raises but for being cancelled: what went
        wrong is in the result."""
        if offered.type == FUSION:
            return await self._fuse(offered, call, conversation, context, tell, used=used)
        most = offered.advisor.max_uses
        if most is not None and used >= most:
            return Called(offered, call, f"No advice: at most {most} in one request.", code="max_uses_exceeded")
        return await self._advise(offered, call, conversation, context)

    async def _fuse(
        self,
        offered: Offered,
        call: ToolCallPart,
        conversation: Conversation,
        context: CallContext,
        tell: Tell,
        *,
        used: int,
    ) -> Called:
        prompt = str(arguments_of(call).get("prompt") or "").strip()
        if conversation.fusions + used > 0:
            capped = Fused(reason=CAPPED)
            return Called(offered, call, capped.text(), prompt, fused=capped)
        watch = _Watch(call.id, tell)
        council: Council | None = None
        try:
            preset = self._preset(offered, conversation)
            council = Council(preset, watch.client(self.client))
            lookup = self._lookup(conversation, context)
            counsel = await council.take(
                conversation.history,
                main=conversation.main,
                context=context,
                decision=Decision(True, "fuse", "the model called openrouter:fusion"),
                emit=watch.event,
                question=prompt or None,
                tools=preset.tools_at != "never",
                task=ANSWER,
                brief=conversation.brief,
                run_member=None if lookup is None else watch.runner(lookup.run),
            )
        except UsageError as error:
            fused = Fused(reason=UNEXPECTED, detail=error.message)
            return Called(offered, call, fused.text(), prompt, fused=fused)
        finally:
            if council is not None:
                await council.close()
        fused = Fused(counsel, sources=unique(watch.sources))
        await self._save(counsel, conversation, context, fused.text())
        models = tuple(slug_of(str(member.model)) for member in counsel.members)
        return Called(
            offered, call, fused.text(), prompt, fused=fused, cost=counsel.cost, searches=watch.searches, models=models
        )

    async def _advise(
        self, offered: Offered, call: ToolCallPart, conversation: Conversation, context: CallContext
    ) -> Called:
        arguments = arguments_of(call)
        asked = str(arguments.get("prompt") or arguments.get("question") or "").strip()
        advisor = offered.advisor
        alone = offered.kind == "advisor" and not advisor.forward
        council: Council | None = None
        try:
            preset = self._preset(offered, conversation)
            council = Council(preset, self.client)
            lookup = self._lookup(conversation, context)
            counsel = await council.take(
                () if alone else conversation.history,
                main=conversation.main,
                context=context,
                decision=Decision(True, "consult", f"the model called {offered.type}"),
                emit=lambda _event: None,
                question=asked or ASK,
                tools=preset.tools_at != "never",
                brief=advisor.instructions or conversation.brief,
                run_member=None if lookup is None else lookup.run,
            )
        except UsageError as error:
            return Called(offered, call, f"No advice: {error.message}.", asked, code="unavailable")
        finally:
            if council is not None:
                await council.close()
        if not counsel.answers:
            await self._save(counsel, conversation, context, None)
            return Called(offered, call, _nobody(counsel), asked, code=_code(counsel), cost=counsel.cost)
        text = None if counsel.grade == "nothing" else whole(counsel, turn=conversation.turn)
        if text is not None and advisor.max_tokens is not None:
            text = first_sentences(text, advisor.max_tokens)[0]
        await self._save(counsel, conversation, context, text)
        return Called(offered, call, text or prompts.SILENT, asked, cost=counsel.cost)

    async def _save(
        self, counsel: Counsel, conversation: Conversation, context: CallContext, result: str | None
    ) -> None:
        """Keep it, where counsels are kept. `result` is what the model gets."""
        if self.saving is not None:
            record = keep.full(
                counsel, iteration=context.iteration, turn=conversation.turn, guidance=result, receipt=None
            )
            await self.saving.keep(conversation.history[: counsel.messages], record, context)

    def _lookup(self, conversation: Conversation, context: CallContext) -> Lookup | None:
        if self.lookups is None:
            return None
        return self.lookups.begin(conversation.history, conversation.main, context)


def fusions_in(history: Sequence[Message]) -> int:
    """How often Fusion was called in this turn: since the user's last words."""
    count = 0
    for message in reversed(history):
        if message.role == "user" and message.synthetic is None:
            break
        count += sum(call.name == FUNCTIONS[FUSION] for call in message.tool_calls)
    return count


def _nobody(counsel: Counsel) -> str:
    why = "; ".join(f"{failure.slot}: {failure.kind}" for failure in counsel.failures) or "it broke off"
    return f"No advice: nobody on the panel answered ({why}). Go on without it."


def _code(counsel: Counsel) -> str:
    """The one reason that all have in common, else `unavailable`."""
    kinds = {failure.kind for failure in counsel.failures}
    return _CODES.get(kinds.pop(), "unavailable") if len(kinds) == 1 else "unavailable"


@dataclass(slots=True)
class _Watch:
    """Sees the calls of Fusion's panel as they go, and tells of them in its events."""

    call: str
    tell: Tell
    sources: list[tuple[str, str]] = field(default_factory=list)
    searches: int = 0
    _models: dict[str, str] = field(default_factory=dict)
    _status: dict[str, int | None] = field(default_factory=dict)

    def event(self, event: Any) -> None:
        """One event of the council's."""
        if isinstance(event, SideStarted):
            model = slug_of(event.model)
            if event.kind == "aggregator":
                self.tell(AnalysisStarted(self.call, model))
            else:
                self._models[event.id] = model
                self.tell(MemberAdded(self.call, model))
        elif isinstance(event, SideFinished) and (found := self._models.get(event.id)) is not None:
            if event.outcome in ("answered", "late"):
                self.tell(MemberCompleted(self.call, found, event.text))
            else:
                why = event.error.kind if event.error else event.outcome
                told = f"{why}: {event.error.message}" if event.error else why
                self.tell(MemberFailed(self.call, found, told, self._status.get(event.id.rpartition("/")[2])))
        elif isinstance(event, ToolFinished) and event.outcome == "ok":
            self._page(event)

    def _page(self, event: ToolFinished) -> None:
        if event.call.name == "web_search":
            self.searches += 1
            for title, linked, bare in _LINK.findall(event.text):
                self.sources.append((linked or bare.rstrip(".,;"), title))
        elif event.call.name == "web_fetch" and (url := arguments_of(event.call).get("url")):
            self.sources.append((str(url), ""))

    def heard(self, context: CallContext, event: Any) -> None:
        """One event of a member's own stream."""
        if context.purpose != "reference" or not isinstance(event, TextDelta | ReasoningDelta) or not event.text:
            return
        model = next((name for id, name in self._models.items() if id.rpartition("/")[2] == context.slot), None)
        if model is not None:
            self.tell(MemberDelta(self.call, model, event.text, thought=isinstance(event, ReasoningDelta)))

    def failed(self, context: CallContext, error: ModelError) -> None:
        """A member's call has failed."""
        self._status[context.slot or ""] = error.status

    def client(self, client: ModelClient) -> ModelClient:
        """The client, watched."""
        return _Watched(client, self)  # type: ignore[return-value]

    def runner(self, run_member: MemberRunner) -> MemberRunner:
        """What lets members use tools, watched."""

        async def run(
            request: Request,
            context: CallContext,
            tools: Sequence[str],
            max_calls: int,
            on_event: Any = None,
            *,
            domains: Domains | None = None,
        ) -> Reply:
            def both(event: Any) -> None:
                self.heard(context, event)
                if on_event is not None:
                    on_event(event)

            try:
                return await run_member(request, context, tools, max_calls, both, domains=domains)
            except ModelError as error:
                self.failed(context, error)
                raise

        return run


class _Watched:
    """A client whose calls somebody sees. Everything else of it is the client's own."""

    def __init__(self, client: ModelClient, watch: _Watch) -> None:
        self._client = client
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def complete(
        self, request: Request, context: CallContext, *, on_event: Callable[[StreamEvent], None] | None = None
    ) -> Reply:
        def both(event: StreamEvent) -> None:
            self._watch.heard(context, event)
            if on_event is not None:
                on_event(event)

        try:
            return await self._client.complete(request, context, on_event=both)
        except ModelError as error:
            self._watch.failed(context, error)
            raise
