"""Work beside the main model (panel members, aggregator, judges, helpers, summaries) as the one family of events that faces know."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Literal

from agent import events
from agent.llm.money import Total
from agent.llm.stream import ReasoningDelta, Retrying, Started, TextDelta, ToolCallDelta
from agent.text.cleaning import last_words

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.stream import Reply, StreamEvent, Usage

State = Literal["queued", "waiting", "thinking", "writing", "retrying", "soft_deadline"]
Outcome = Literal["answered", "failed", "cancelled", "late"]

RATE = 8
"""Signs of life in any second, at most; what comes in between is folded into the next one."""
_KEPT, _SHOWN = 240, 120
"""Characters of the last words: those that are remembered, and those that are told."""


class SideWork:
    """One piece of it: `start`, any number of signs of life, then exactly one `finish`.

    `id` is unlike all others, `group` binds those that work together. `stop` and `go` are the commands that end it, or go on without it.
    `spoken`: what it writes is for people to read; a judge's JSON is not, and gives signs of life without words.
    """

    def __init__(
        self,
        emit: Emit,
        *,
        source: str,
        id: str,
        group: str,
        kind: str,
        label: str,
        model: str,
        role: str | None = None,
        stop: str | None = None,
        go: str | None = None,
        spoken: bool = True,
    ) -> None:
        self.id = id
        self._spoken = spoken
        self.tokens = 0
        self.began = time.monotonic()
        self._source = source
        self._emit = emit
        self._started = events.SideStarted(
            source=source, id=id, group=group, kind=kind, label=label, model=model, role=role, stop=stop, go=go
        )
        self._sent: deque[float] = deque(maxlen=RATE)
        self._state: State | None = None
        self._words = ""

    def start(self) -> None:
        """Tell that it begins."""
        self.began = time.monotonic()
        self._emit(self._started)

    def beat(self, state: State, words: str = "") -> None:
        """Say where it stands. A change of state goes out at once, further words not before an eighth of a second has passed."""
        if words:
            self.tokens += 1
            # A bounded tail: the whole text is the worker's to keep, and no face shows more than a line of it.
            self._words = (self._words + words)[-_KEPT:] if self._spoken or state == "thinking" else ""
        now = time.monotonic()
        if self._sent and state == self._state and now - self._sent[-1] < 1 / RATE:
            return
        if len(self._sent) == RATE and now - self._sent[0] < 1:
            return
        self._state = state
        self._sent.append(now)
        self._emit(
            events.SideProgress(
                source=self._source,
                id=self.id,
                state=state,
                elapsed_s=now - self.began,
                tokens=self.tokens,
                last_words=last_words(self._words, _SHOWN, whole=len(self._words) < _KEPT),
            )
        )

    def hear(self, event: StreamEvent | events.AgentEvent) -> None:
        """A stream event as a sign of life."""
        match event:
            case TextDelta():
                self.beat("writing", event.text)
            case ReasoningDelta():
                self.beat("thinking", event.text)
            case Started():
                self.beat("waiting")
            case ToolCallDelta():
                self.beat("writing")
            case Retrying():
                self.beat("retrying")
            case _:
                pass

    def finish(
        self,
        outcome: Outcome,
        *,
        text: str = "",
        error: tuple[str, str] | events.ErrorInfo | None = None,
        reply: Reply | None = None,
        call_id: str | None = None,
        model_served: str | None = None,
        usage: Usage | None = None,
        cost: Total | None = None,
        duration_s: float | None = None,
    ) -> None:
        """Tell how it ended. What is not given comes from `reply`, where there is one; a cost that nobody knows is unknown."""
        if reply is not None:
            call_id, model_served = call_id or reply.call_id, model_served or reply.model_served
            usage, cost = usage or reply.usage, cost or Total.of([reply.cost_nano])
        cost = cost or Total.of([None])
        if isinstance(error, tuple):
            error = events.ErrorInfo(kind=error[0], message=error[1])
        self._emit(
            events.SideFinished(
                source=self._source,
                id=self.id,
                outcome=outcome,
                text=text,
                error=error,
                call_id=call_id,
                model_served=model_served,
                usage=usage,
                cost=events.Cost(usd=cost.usd, lower_bound=cost.lower_bound),
                duration_s=time.monotonic() - self.began if duration_s is None else duration_s,
            )
        )
