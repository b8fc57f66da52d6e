"""What has arrived of an answer, piece by piece, and the rules by which it counts as one. Shared by the decoders of all dialects."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import field
from typing import Any, Literal

from agent.llm.answers.calls import is_whole, objects_in, own_call_id
from agent.llm.answers.ends import End, finish_reason, more_particular
from agent.llm.answers.reading import as_dict, as_list, as_str
from agent.llm.answers.thinking import Kind, ThinkTags, split_lone_close
from agent.llm.answers.usage import UsageReport
from agent.llm.errors import AnswerTooLong, BadAnswer, EmptyAnswer, ModelError, OutputRefused, Refused, StreamBroken
from agent.llm.messages import Message, Part, ReasoningPart, TextPart, ToolCallPart
from agent.llm.net.limits import CHARACTERS_PER_TOKEN, answer_characters
from agent.llm.request import Request
from agent.llm.stream import Citation, ReasoningDelta, Reply, StreamEvent, TextDelta, Token, ToolCallDelta, Usage
from agent.text.encodable import whole, whole_value
from agent.values import dataclass

MOST_FOUND = 100
MOST_LIKELIEST = 20
"""Alternatives of a token; nobody may ask for more."""


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

    @property
    def may_be_whole(self) -> bool:
        """False where the last piece of it can't be the end of an object. Asked for each piece, so it looks at no more than that."""
        last = self.chunks[-1].rstrip() if self.chunks else ""
        return not last or last[-1] == "}"

    @property
    def in_few_pieces(self) -> bool:
        """False where it has come in more pieces than an empty object does. Asked for each piece, as above."""
        return len(self.chunks) < 16

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
        self._tags = ThinkTags()
        self._most = answer_characters(request.max_tokens)
        self._size = 0
        self._thoughts = 0
        self._word = ""
        self._refusal = ""
        self.tokens: list[Token] = []
        self.extra: dict[str, Any] = {}
        self.finish: End | None = None
        self.report = UsageReport()
        self.model_served: str | None = None
        self.provider: str | None = None
        self.generation_id: str | None = None
        self._left: list[str] = []
        self._citations: list[Citation] = []
        self._found: dict[str, Citation] = {}
        self._ids: frozenset[str] | None = None

    @property
    def usage(self) -> Usage | None:
        """Tokens by kind, as far as what was reported can be believed."""
        return self.report.usage

    def text(self, key: Hashable, text: str) -> list[StreamEvent]:
        """More of the answer."""
        if not text:
            return []
        if self._tags.is_answer:
            return self._shown(key, text)
        return self._sorted(key, self._tags.feed(text))

    def reasoning(self, key: Hashable, text: str) -> list[StreamEvent]:
        """More of what the model thinks aloud."""
        if not text:
            return []
        text = self._take(self.piece(key, "reasoning"), text)
        return [ReasoningDelta(text)] if text else []

    def refusal(self, key: Hashable, text: str) -> list[StreamEvent]:
        """The model declines, and says so: more of its words."""
        if not text:
            return []
        self._refusal += text
        self.finish = "refusal"
        return self.text(key, text)

    def call(
        self, key: Hashable, arguments: str, *, id: str | None = None, name: str | None = None
    ) -> list[StreamEvent]:
        """More of a tool call. The name counts when it first comes; some servers repeat it."""
        fresh = key not in self._pieces
        piece = self.piece(key, "call")
        piece.id = piece.id or id
        named = name if name and piece.name is None else None
        piece.name = piece.name or name
        if fresh or arguments:
            arguments = self._take(piece, arguments)
        if not (fresh or named or arguments):
            return []
        known = None if piece.id is None or piece.id in self._taken() else piece.id
        return [ToolCallDelta(piece.index, named, arguments, known)]

    def piece(self, key: Hashable, kind: Literal["text", "reasoning", "call"]) -> Piece:
        """The part with this key, begun if it is new."""
        if key not in self._pieces:
            index = sum(piece.kind == "call" for piece in self._pieces.values()) if kind == "call" else 0
            self._pieces[key] = Piece(kind, index=index)
        return self._pieces[key]

    def transformed(self, transformations: object) -> None:
        """The provider's own word on thoughts of ours that it did not show the model (Anthropic's and OpenAI's `input_transformations`)."""
        for entry in transformations if isinstance(transformations, list) else ():
            if isinstance(entry, dict) and (
                entry.get("type") == "thinking_dropped" or entry.get("action") == "removed"
            ):
                reason = str(entry.get("reason") or "it does not say why").replace("_", " ")
                self._left.append(f"the provider dropped them: {whole(reason)}")

    def cite(self, annotations: object) -> None:
        """Sources, as any of the three wires writes them; what is not a page with an address is passed over."""
        for entry in annotations if isinstance(annotations, list) else ():
            if not isinstance(entry, dict):
                continue
            inner = entry.get("url_citation")
            held: dict[str, Any] = inner if isinstance(inner, dict) else entry
            if (cited := _citation(held)) is not None and cited not in self._citations:
                self._citations.append(cited)

    def weighed(self, tokens: Sequence[Any]) -> None:
        """Tokens with their log-probabilities, as Chat Completions writes them (`logprobs.content`); none are kept that nobody asked for."""
        if not self._request.logprobs:
            return
        for entry in tokens[: self._request.max_tokens - len(self.tokens)]:
            if (own := _weighed(entry)) is not None:
                likeliest = (_weighed(each) for each in as_list(entry.get("top_logprobs"))[:MOST_LIKELIEST])
                self.tokens.append(Token(*own, tuple(each for each in likeliest if each is not None)))

    def found(self, url: object, title: object = "") -> None:
        """A page that the provider's own search brought, whether or not the answer names it."""
        if isinstance(url, str) and url and len(self._found) < MOST_FOUND:
            self._found.setdefault(url, Citation(url, whole(title)[:300] if isinstance(title, str) else ""))

    def pieces(self) -> Iterable[tuple[Hashable, Piece]]:
        """The parts with their keys, in the order in which they began."""
        return self._pieces.items()

    def find(self, key: Hashable) -> Piece | None:
        """The part with this key, if it has begun."""
        return self._pieces.get(key)

    def end(self, word: str, native: str = "", *, words: str = "") -> None:
        """The provider's finish reason, and where a gateway passes it on, that of the provider behind it; `words` say more of a refusal.

        Raises StreamBroken where it names a fault.
        """
        if not word:
            return
        self._word, self._refusal = word, self._refusal or words
        finish = finish_reason(word)
        particular = more_particular(finish, finish_reason(native) if native else finish)
        if particular is None:
            fault = native if finish else word
            raise self.break_off(StreamBroken(f"the provider ended the answer with {fault!r}", remedy="try again"))
        if particular != finish:
            self._word = native
        if self.finish != "refusal":
            self.finish = particular

    def partial(self) -> Message | None:
        """What has arrived, marked incomplete; None where nothing has."""
        message = self._message(incomplete=True)
        return message if message.parts else None

    def break_off(self, error: ModelError) -> ModelError:
        """The error that ends this call: it keeps what had arrived; once an answer has begun, nearly any fault is a StreamBroken."""
        partial = self.partial()
        if partial and not isinstance(error, StreamBroken | BadAnswer | Refused | OutputRefused):
            error = StreamBroken(
                f"the answer broke off: {error.message}",
                status=error.status,
                remedy=error.remedy,
                retry_after=error.retry_after,
            )
        error.partial = partial
        error.usage, error.cost_nano = self.usage, self.report.cost_nano
        return error

    def reply(self) -> Reply:
        """The whole answer.

        Raises StreamBroken where no finish reason came, Refused where the model or a filter declined, EmptyAnswer where nothing was said.
        """
        finish = self.finish
        if finish is None:
            raise self.break_off(StreamBroken("the stream ended without a finish reason"))
        if finish == "refusal":
            raise self._refused()
        message = self._message(incomplete=finish == "length")
        if not message.text.strip() and not message.tool_calls:
            raise self._empty(message)
        if finish != "length":
            self._check_end(message)
            finish = "tool_calls" if message.tool_calls else "stop"
        cost = self.report.cost_nano
        return Reply(
            message=message,
            finish=finish,
            usage=self.usage,
            cost_nano=cost,
            cost_source="unknown" if cost is None else "reply",
            model_served=self.model_served,
            provider=self.provider,
            generation_id=self.generation_id,
            left=tuple(self._left),
            citations=tuple(self._citations),
            found=tuple(self._found.values()),
            tokens=tuple(self.tokens),
        )

    def _check_end(self, message: Message) -> None:
        """Raises StreamBroken for an end that is no known one, unless it is a call that came whole, and for a call that did not come."""
        if message.tool_calls:
            if self.finish != "unknown" or all(is_whole(call.arguments) for call in message.tool_calls):
                return
        elif self.finish == "stop" or not self._word:
            return
        why = "which is not a known end" if self.finish == "unknown" else "and no call came"
        text = f"the provider ended the answer with {self._word!r}, {why}: it may not be whole"
        raise self.break_off(StreamBroken(text, remedy='what came is kept: say "continue", or try again'))

    def _refused(self) -> ModelError:
        """In the model's own words, or by name where it has none."""
        words, partial = self._refusal.strip(), self.partial()
        cut = partial is not None and bool(partial.text.strip()) and partial.text.strip() != words
        by = f" ({self._word})" if finish_reason(self._word) == "refusal" else ""
        if cut:
            text = f"the answer was cut off by the provider's filter{by}"
        else:
            text = f"the model or the provider's filter declined to answer{by}"
        error = Refused(f"{text}: {words}" if words else text, remedy="rephrase it, or take another model or provider")
        error.cut = cut
        return self.break_off(error)

    def _empty(self, message: Message) -> EmptyAnswer:
        if self.finish == "length":
            text, remedy = (
                "the length limit was used up before the answer began",
                "raise max_tokens, or lower the reasoning effort",
            )
        else:
            text, remedy = "the model ended its turn without saying anything", "try again, or another model"
        if self.finish == "unknown":
            text = f"{text} ({self._word})"
        partial = message if message.parts else None
        empty = EmptyAnswer(text, remedy=remedy, partial=partial, usage=self.usage, cost_nano=self.report.cost_nano)
        empty.cut_off = self.finish == "length"
        return empty

    def _sorted(self, key: Hashable, found: list[tuple[Kind, str]]) -> list[StreamEvent]:
        """Pieces of an answer's text, some of which are thinking."""
        events: list[StreamEvent] = []
        for kind, text in found:
            if kind == "reasoning":
                events += self.reasoning(("think", self._thoughts), text)
            else:
                events += self._shown(key, text)
        return events

    def _shown(self, key: Hashable, text: str) -> list[StreamEvent]:
        """Words of the answer itself."""
        shown = self._take(self.piece(key, "text"), text)
        if not shown:
            return []
        self._thoughts += 1
        return [TextDelta(shown)]

    def _take(self, piece: Piece, text: str) -> str:
        """More of a part, as far as there is room. Returns what can be shown of it; raises AnswerTooLong, which keeps what came."""
        self.report.said()
        # Each piece takes room of its own, so that an endless row of empty ones ends, too.
        room = self._most - self._size
        self._size += len(text) + 1
        if len(text) < room:
            return piece.take(text) if text else ""
        piece.take(text[: max(room, 1)])
        told = (
            f"it went on beyond {self._most} characters, more than {CHARACTERS_PER_TOKEN} for each token of max_tokens"
        )
        remedy = "the endpoint does not hold to max_tokens: choose another model or endpoint"
        raise self.break_off(AnswerTooLong(f"the answer was cut off: {told}", remedy=remedy))

    def _taken(self) -> frozenset[str]:
        """The ids of the conversation's earlier calls."""
        if self._ids is None:
            self._ids = frozenset(call.id for earlier in self._request.messages for call in earlier.tool_calls)
        return self._ids

    def _message(self, *, incomplete: bool) -> Message:
        for kind, text in self._tags.flush():
            key: Hashable = "text" if kind == "text" else ("think", self._thoughts)
            self.piece(key, kind).take(text)
        taken = set(self._taken())
        parts: list[Part] = []
        for piece in self._pieces.values():
            if piece.kind == "call":
                parts += _calls(piece, taken, len(self._request.messages))
            else:
                parts += _words(piece)
        return Message(
            role="assistant",
            parts=_without_lone_close(parts),
            origin=str(self._request.model),
            extra=whole_value(self.extra) or None,
            incomplete=incomplete,
        )


def _citation(held: dict[str, Any]) -> Citation | None:
    url = held.get("url")
    if not isinstance(url, str) or not url:
        return None
    title, quote = held.get("title"), held.get("cited_text") or held.get("content")
    start, end = held.get("start_index"), held.get("end_index")
    return Citation(
        whole(url),
        whole(title) if isinstance(title, str) else "",
        whole(quote) if isinstance(quote, str) else "",
        start if isinstance(start, int) else None,
        end if isinstance(end, int) else None,
    )


def _weighed(entry: object) -> tuple[bytes, float] | None:
    """A token's bytes (what stands for half a character says nothing as text) and its log-probability."""
    held = as_dict(entry)
    logprob, spelled = held.get("logprob"), held.get("bytes")
    if isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    if isinstance(spelled, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in spelled):
        return bytes(spelled), min(float(logprob), 0.0)
    return whole(as_str(held.get("token"))).encode(), min(float(logprob), 0.0)


def _words(piece: Piece) -> list[Part]:
    text = piece.text
    if piece.kind == "text":
        return [TextPart(text=text)] if text else []
    return [ReasoningPart(text=text, extra=whole_value(piece.extra))] if text or piece.extra else []


def _without_lone_close(parts: list[Part]) -> tuple[Part, ...]:
    """The parts, with the thinking taken out of a text in which only its end was marked."""
    if any(isinstance(part, ReasoningPart) for part in parts):
        return tuple(parts)
    sorted_parts: list[Part] = []
    for part in parts:
        split = split_lone_close(part.text) if isinstance(part, TextPart) else None
        if split is None:
            sorted_parts.append(part)
            continue
        thought, answer = split
        sorted_parts += [ReasoningPart(text=thought)] if thought.strip() else []
        sorted_parts += [TextPart(text=answer)] if answer else []
    return tuple(sorted_parts)


def _calls(piece: Piece, taken: set[str], round: int) -> list[Part]:
    """The finished call, or several where several sets of arguments came as one. An id that is missing or in use is one of ours."""
    if not piece.name:
        return []
    calls: list[Part] = []
    for arguments in objects_in(piece.text) or [piece.text or "{}"]:
        id = piece.id
        if not id or id in taken:
            id = own_call_id(round, piece.index, taken)
        taken.add(id)
        calls.append(ToolCallPart(id=id, name=piece.name, arguments=arguments, extra=whole_value(piece.extra)))
    return calls
