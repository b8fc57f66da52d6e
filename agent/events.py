"""What a turn streams. These names are public: they are the `stream-json` schema, and every face reads them.

A turn is: turn_started, then per iteration [side work, records, notices] model_started, deltas, model_finished, [tool_started,
tool_progress, tool_finished …], and at last turn_finished. `source` says whose event it is: `main`, a plugin's name, or the id of
the side work that a nested loop is doing.

Plain dataclasses, because a pydantic class costs twice as much at start-up; `agent.serialize` turns them into JSON, `agent.ui.schema` documents
them (docs/events.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from agent.llm.messages import Message, ToolCallPart
from agent.llm.stream import FinishReason, Usage
from agent.values import dataclass

TurnStatus = Literal["done", "failed", "usage", "budget", "limit", "unmet", "retryable", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """A failure for people and programs: a stable word, what happened, what to do."""

    kind: str
    message: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """US dollars. `usd` is null where nothing is known; `lower_bound` is true where a part is unknown."""

    usd: float | None
    lower_bound: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events share."""

    source: str = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted(Event):
    """A turn begins with the user's message."""

    type: Literal["turn_started"] = "turn_started"
    session: str
    turn: str
    prompt: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStarted(Event):
    """The main model is about to be called. `guidance` is the private text that goes with this one request, exactly as sent."""

    type: Literal["model_started"] = "model_started"
    iteration: int
    model: str
    guidance: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDeltaEvent(Event):
    """A piece of the main model's answer."""

    type: Literal["text_delta"] = "text_delta"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningDeltaEvent(Event):
    """A piece of the main model's reasoning."""

    type: Literal["reasoning_delta"] = "reasoning_delta"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRetrying(Event):
    """The call goes out again: blindly after a fault, or adapted to something the endpoint refused."""

    type: Literal["model_retrying"] = "model_retrying"
    reason: str
    delay_s: float
    adapted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFinished(Event):
    """The main model's call came to an end; `message` is what joined the history."""

    type: Literal["model_finished"] = "model_finished"
    iteration: int
    call_id: str
    message: Message
    finish: FinishReason | None
    model_served: str | None = None
    usage: Usage | None = None
    cost: Cost = Cost(usd=None, lower_bound=True)
    ttft_s: float | None = None
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(Event):
    """A tool begins to run (it was allowed)."""

    type: Literal["tool_started"] = "tool_started"
    call: ToolCallPart
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolProgress(Event):
    """Output of a running tool, for eyes only."""

    type: Literal["tool_progress"] = "tool_progress"
    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished(Event):
    """A tool's result. `text` is what the model gets; `diff` a unified diff where a file changed."""

    type: Literal["tool_finished"] = "tool_finished"
    call: ToolCallPart
    outcome: Literal["ok", "error", "denied", "cancelled"]
    text: str
    diff: str | None = None
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SideStarted(Event):
    """Work beside the main model begins: a panel member, an aggregator, a judge, a sub-agent.

    `group` binds what belongs together (one counsel), `label` is for people, `model` what was asked for. `stop` is the slash command
    that ends this work alone, `go` the one that goes on without waiting for it: so a face can steer work without knowing whose it is.
    """

    type: Literal["side_started"] = "side_started"
    id: str
    group: str
    kind: str
    label: str
    model: str
    role: str | None = None
    stop: str | None = None
    go: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SideProgress(Event):
    """Signs of life, at most eight a second for each id. `last_words` is the tail of what it says; text, never markup."""

    type: Literal["side_progress"] = "side_progress"
    id: str
    state: Literal["queued", "waiting", "thinking", "writing", "retrying", "soft_deadline"]
    elapsed_s: float
    tokens: int = 0
    last_words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFinished(Event):
    """Side work ended. `late`: it came after the others had gone on. `text` is the whole of what it said."""

    type: Literal["side_finished"] = "side_finished"
    id: str
    outcome: Literal["answered", "failed", "cancelled", "late"]
    text: str = ""
    error: ErrorInfo | None = None
    call_id: str | None = None
    model_served: str | None = None
    usage: Usage | None = None
    cost: Cost = Cost(usd=None, lower_bound=True)
    duration_s: float = 0.0


RecordLevel = Literal["good", "degraded", "failed", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Event):
    """Something durable that a plugin did for one request: kept in the session off the message path, and part of the JSON result.

    `kind` is a key of that result (`counsel`); `data` is plain JSON that only its plugin reads. `line` says it to people, in one line of
    plain text (empty: it is not told), `level` how it went. `group` is that of the side work which it summarizes, where there was some.
    What there is to see beside the line, the plugin shows (`Plugin.view`).
    """

    type: Literal["record"] = "record"
    kind: str
    data: dict[str, Any]
    line: str = ""
    level: RecordLevel = "info"
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftSuperseded(Event):
    """The reply that would have ended the turn is kept as a draft; the model goes on with new guidance."""

    type: Literal["draft_superseded"] = "draft_superseded"
    message: Message
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered(Event):
    """A message that the user sent to the running turn has joined the history; the next call of the main model sees it."""

    type: Literal["steered"] = "steered"
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted(Event):
    """The conversation was shortened: from here on models are sent `message` in place of what was said before.

    Tokens are those of the next request, about. `model` wrote the summary; null: none did, it is made of heads and tails. Everything
    stays in the session, and going back behind it undoes it.
    """

    type: Literal["compacted"] = "compacted"
    reason: Literal["threshold", "overflow", "command"]
    before_tokens: int
    after_tokens: int
    messages: int
    model: str | None
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class TodoItem:
    """One thing that the agent means to do."""

    text: str
    status: Literal["pending", "in_progress", "done"] = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class TodoChanged(Event):
    """The agent's list of what is to be done, whole, each time that it changes."""

    type: Literal["todo_changed"] = "todo_changed"
    items: tuple[TodoItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """Something the user should know: a degradation, a denial, a learned quirk."""

    type: Literal["notice"] = "notice"
    level: Literal["info", "warning", "error"]
    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFinished(Event):
    """The turn is over. `text` is the final answer, `usage` and `cost` the sum of every call made in it, `duration_s` its time without
    that in which a question waited for the user."""

    type: Literal["turn_finished"] = "turn_finished"
    turn: str
    status: TurnStatus
    text: str
    error: ErrorInfo | None = None
    iterations: int = 0
    usage: Usage = Usage()
    cost: Cost = Cost(usd=None)
    duration_s: float = 0.0


AgentEvent = (
    TurnStarted
    | ModelStarted
    | TextDeltaEvent
    | ReasoningDeltaEvent
    | ModelRetrying
    | ModelFinished
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | SideStarted
    | SideProgress
    | SideFinished
    | Record
    | DraftSuperseded
    | Steered
    | Compacted
    | TodoChanged
    | Notice
    | TurnFinished
)

Emit = Callable[[AgentEvent], None]
"""What takes the events of a turn, in order."""
