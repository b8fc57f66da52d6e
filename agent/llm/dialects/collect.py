"""What has arrived of an answer, piece by piece, and the rules by which it counts as one. Shared by the decoders of all dialects."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.llm.errors import EmptyAnswer, ModelError, StreamBroken
from agent.llm.messages import Message, Part, ReasoningPart, TextPart, ToolCallPart
from agent.llm.request import Request
from agent.llm.stream import FinishReason, ReasoningDelta, Reply, StreamEvent, TextDelta, ToolCallDelta, Usage
from agent.llm.text import whole, whole_value

# Every provider's words for the ends that are ends. Whatever is in none of these sets and names a fault is a broken stream.
_STOP = frozenset({"stop", "end_turn", "stop_sequence", "eos", "eos_token", "completed"})
_TOOLS = frozenset({"tool_calls", "tool_use", "function_call"})
_LENGTH = frozenset(
    {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded", "pause_turn"}
)
_REFUSAL = frozenset({"content_filter", "refusal", "safety", "sensitive", "prohibited_content", "recitation"})


def finish_reason(word: str) -> FinishReason | None:
    """A provider's finish reason as one of ours; None for a fault (`error`, `network_error`, `abort` …)."""
    word = word.lower()
    if word in _TOOLS:
        return "tool_calls"
    if word in _LENGTH:
        return "length"
    if word in _REFUSAL:
        return "refusal"
    if word in _STOP or not any(
        fault in word for fault in ("error", "abort", "cancel", "timeout", "fail", "malformed")
    ):
        return "stop"
    return None


@dataclass(slots=True)
class Piece:
    """A part in the making."""

    kind: Literal["text", "reasoning", "call"]
    chunks: list[str] = field(default_factory=list)
    id: str | None = None
    name: str | None = None
    index: int = 0
    extra: dict[str, Any] | None = None
    half: str = ""

    @property
    def text(self) -> str:
        """What has arrived of it."""
        return whole("".join(self.chunks))

    def take(self, chunk: str) -> str:
        """More of it. Returns what can be shown: a character that was cut in two waits for its other half."""
        self.chunks.append(chunk)
        chunk = self.half + chunk
        self.half = chunk[-1] if "\ud800" <= chunk[-1] <= "\udbff" else ""
        return whole(chunk.removesuffix(self.half))


class Collector:
    """Parts in the order in which they began, what the endpoint said about itself, and the reply they make in the end."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._pieces: dict[Hashable, Piece] = {}
        self.extra: dict[str, Any] = {}
        self.finish: FinishReason | None = None
        self.usage: Usage | None = None
        self.cost_nano: int | None = None
        self.model_served: str | None = None
        self.provider: str | None = None
        self.generation_id: str | None = None

    def text(self, key: Hashable, text: str) -> list[StreamEvent]:
        """More of the answer."""
        if not text:
            return []
        text = self.piece(key, "text").take(text)
        return [TextDelta(text)] if text else []

    def reasoning(self, key: Hashable, text: str) -> list[StreamEvent]:
        """More of what the model thinks aloud."""
        if not text:
            return []
        text = self.piece(key, "reasoning").take(text)
        return [ReasoningDelta(text)] if text else []

    def call(
        self, key: Hashable, arguments: str, *, id: str | None = None, name: str | None = None
    ) -> list[StreamEvent]:
        """More of a tool call. The name counts when it first comes; some servers repeat it."""
        fresh = key not in self._pieces
        piece = self.piece(key, "call")
        piece.id = piece.id or id
        named = name if name and piece.name is None else None
        piece.name = piece.name or name
        if arguments:
            arguments = piece.take(arguments)
        return [ToolCallDelta(piece.index, named, arguments)] if fresh or named or arguments else []

    def piece(self, key: Hashable, kind: Literal["text", "reasoning", "call"]) -> Piece:
        """The part with this key, begun if it is new."""
        if key not in self._pieces:
            index = sum(piece.kind == "call" for piece in self._pieces.values()) if kind == "call" else 0
            self._pieces[key] = Piece(kind, index=index)
        return self._pieces[key]

    def find(self, key: Hashable) -> Piece | None:
        """The part with this key, if it has begun."""
        return self._pieces.get(key)

    def partial(self) -> Message | None:
        """What has arrived, marked incomplete; None where nothing has."""
        message = self._message(incomplete=True)
        return message if message.parts else None

    def break_off(self, error: ModelError) -> ModelError:
        """The error that ends this call: it keeps what had arrived; once an answer has begun, any fault is a StreamBroken."""
        partial = self.partial()
        if partial and not isinstance(error, StreamBroken):
            error = StreamBroken(
                f"the answer broke off: {error.message}",
                status=error.status,
                remedy=error.remedy,
                retry_after=error.retry_after,
            )
        error.partial = partial
        error.usage = self.usage
        return error

    def reply(self) -> Reply:
        """The whole answer. Raises StreamBroken where no finish reason came, EmptyAnswer where nothing was said."""
        if self.finish is None:
            raise self.break_off(StreamBroken("the stream ended without a finish reason"))
        message = self._message(incomplete=self.finish == "length")
        if not message.text.strip() and not message.tool_calls and self.finish != "refusal":
            raise self._empty(message)
        finish = self.finish
        if finish in ("stop", "tool_calls"):
            finish = "tool_calls" if message.tool_calls else "stop"
        return Reply(
            message=message,
            finish=finish,
            usage=self.usage,
            cost_nano=self.cost_nano,
            cost_source="unknown" if self.cost_nano is None else "reply",
            model_served=self.model_served,
            provider=self.provider,
            generation_id=self.generation_id,
        )

    def _empty(self, message: Message) -> EmptyAnswer:
        if self.finish == "length":
            text, remedy = (
                "the length limit was used up before the answer began",
                "raise max_tokens, or lower the reasoning effort",
            )
        else:
            text, remedy = "the model ended its turn without saying anything", "try again, or another model"
        partial = message if message.parts else None
        return EmptyAnswer(text, remedy=remedy, partial=partial, usage=self.usage)

    def _message(self, *, incomplete: bool) -> Message:
        taken = {call.id for earlier in self._request.messages for call in earlier.tool_calls}
        parts: list[Part] = []
        for piece in self._pieces.values():
            part = _part(piece, taken, len(self._request.messages))
            if part:
                parts.append(part)
        return Message(
            role="assistant",
            parts=tuple(parts),
            origin=str(self._request.model),
            extra=whole_value(self.extra) or None,
            incomplete=incomplete,
        )


def _part(piece: Piece, taken: set[str], round: int) -> Part | None:
    """The finished part; None where there is nothing in it. A call whose id is missing or already in use gets one of ours."""
    text = piece.text
    if piece.kind == "text":
        return TextPart(text=text) if text else None
    if piece.kind == "reasoning":
        return ReasoningPart(text=text, extra=whole_value(piece.extra)) if text or piece.extra else None
    if not piece.name:
        return None
    id = piece.id
    if not id or id in taken:
        id = f"call_{round}_{piece.index}"
    taken.add(id)
    return ToolCallPart(id=id, name=piece.name, arguments=text or "{}", extra=whole_value(piece.extra))
