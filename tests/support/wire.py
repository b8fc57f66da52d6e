"""From an answer to the frames of a stream, for Chat Completions and for Anthropic Messages. No sockets and no clocks in here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.script import CHARS_PER_TOKEN, Say

ERROR = {"code": 502, "message": "Upstream went away", "metadata": {"error_type": "provider_unavailable"}}


@dataclass(frozen=True, slots=True)
class Said:
    """An answer with everything decided: ids, usage, and whether the client asked to be told the usage."""

    id: str
    model: str
    served: str
    text: str
    say: Say
    prompt_tokens: int
    cached_tokens: int
    wants_usage: bool
    calls: tuple[tuple[str, str, str], ...] = ()
    """(call id, tool name, arguments as JSON text)"""
    blocks: tuple[dict[str, Any], ...] = ()
    """What a signing endpoint puts in: the whole content of a Message, the `reasoning_details`, or the reasoning items."""
    weighed: tuple[tuple[str, Mapping[str, float]], ...] = ()
    """The text's tokens with the log-probabilities that the client asked for."""

    @property
    def reasoning_tokens(self) -> int:
        """Tokens of the reasoning text."""
        return count(self.say.reasoning)

    @property
    def completion_tokens(self) -> int:
        """All tokens of the answer."""
        spoken = count(self.text) + sum(count(name) + count(arguments) for _, name, arguments in self.calls)
        return spoken + self.reasoning_tokens

    @property
    def finish(self) -> str:
        """Chat Completions' word for how it ended."""
        return self.say.finish or ("tool_calls" if self.calls else "stop")


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes that go out together. `token`: they carry a piece of the answer, and the script's delays hold for them."""

    data: bytes
    token: bool = False


def count(text: str) -> int:
    """Tokens of a text, rounded up."""
    return -(-len(text) // CHARS_PER_TOKEN)


def pieces(text: str) -> Iterator[str]:
    """The text, a token at a time."""
    return (text[at : at + CHARS_PER_TOKEN] for at in range(0, len(text), CHARS_PER_TOKEN))


def line(payload: Mapping[str, Any]) -> bytes:
    """One data line. Not escaped to ASCII: U+2028 goes out raw, which is valid JSON and breaks readers that split lines there."""
    try:
        data = json.dumps(payload, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a character can only be written as an escape
        data = json.dumps(payload).encode()
    return b"data: " + data + b"\n\n"


# --- Chat Completions -----------------------------------------------------------------------------------------------------------


def chat_usage(said: Said) -> dict[str, Any]:
    """The `usage` object."""
    usage: dict[str, Any] = {
        "prompt_tokens": said.prompt_tokens,
        "completion_tokens": said.completion_tokens,
        "total_tokens": said.prompt_tokens + said.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": said.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": said.reasoning_tokens},
    }
    if said.say.cost is not None:
        usage["cost"] = said.say.cost
    return usage


def chat_chunk(said: Said, delta: Mapping[str, Any], **choice: Any) -> dict[str, Any]:
    """One chunk with one choice."""
    return {
        "id": said.id,
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": said.served,
        "provider": "Scripted",
        "choices": [{"index": 0, "delta": delta, "finish_reason": None, **choice}],
    }


def chat_frames(said: Said) -> Iterator[Frame]:
    """A streamed Chat Completion, whole or broken in the way that the script asks for."""
    shape = said.say.shape
    if shape in ("billed_empty", "native_network_error"):
        native = "network_error" if shape == "native_network_error" else "stop"
        yield Frame(line(chat_chunk(said, {"role": "assistant", "content": ""})))
        yield Frame(line(chat_chunk(said, {}, finish_reason="stop", native_finish_reason=native)), token=True)
        if shape == "billed_empty":
            yield Frame(line({**chat_chunk(said, {}), "choices": [], "usage": chat_usage(said)}))
        yield Frame(b"data: [DONE]\n\n")
        return
    yield from chat_tokens(said)
    if shape is not None:
        yield from chat_breakdown(said, shape)
        return
    yield Frame(line(chat_chunk(said, {}, finish_reason=said.finish)))
    if said.wants_usage:
        yield Frame(line({**chat_chunk(said, {}), "choices": [], "usage": chat_usage(said)}))
    yield Frame(b"data: [DONE]\n\n")


def chat_tokens(said: Said) -> Iterator[Frame]:
    """Role, reasoning, text and tool calls, a token at a time."""
    yield Frame(line(chat_chunk(said, {"role": "assistant", "content": ""})))
    if not said.blocks:
        for piece in pieces(said.say.reasoning):
            yield Frame(line(chat_chunk(said, {"reasoning": piece})), token=True)
    for detail in said.blocks:
        yield from chat_detail(said, detail)
    for token, listed in said.weighed:
        own, *_others = rows = [weighed(each, logprob) for each, logprob in listed.items()]
        more = {"logprobs": {"content": [{**own, "top_logprobs": rows}]}}
        yield Frame(line(chat_chunk(said, {"content": token}, **more)), token=True)
    for piece in () if said.weighed else pieces(said.text):
        yield Frame(line(chat_chunk(said, {"content": piece})), token=True)
    for index, (call_id, name, arguments) in enumerate(said.calls):
        head = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        yield Frame(line(chat_chunk(said, {"tool_calls": [head]})), token=True)
        for piece in pieces(arguments):
            more = {"index": index, "function": {"arguments": piece}}
            yield Frame(line(chat_chunk(said, {"tool_calls": [more]})), token=True)


def weighed(token: str, logprob: float) -> dict[str, Any]:
    """A token as llama.cpp writes it."""
    return {"id": 1, "token": token, "bytes": list(token.encode()), "logprob": logprob}


def chat_detail(said: Said, detail: Mapping[str, Any]) -> Iterator[Frame]:
    """One entry of `reasoning_details`, a token at a time, its signature last, as OpenRouter streams them."""
    if "text" not in detail:
        yield Frame(line(chat_chunk(said, {"reasoning_details": [dict(detail)]})), token=True)
        return
    common = {key: value for key, value in detail.items() if key not in ("text", "signature")}
    for piece in pieces(detail["text"]):
        delta = {"reasoning": piece, "reasoning_details": [{**common, "text": piece}]}
        yield Frame(line(chat_chunk(said, delta)), token=True)
    last = {**common, **({} if detail["text"] else {"text": ""}), "signature": detail["signature"]}
    yield Frame(line(chat_chunk(said, {"reasoning_details": [last]})))


def chat_breakdown(said: Said, shape: str) -> Iterator[Frame]:
    """How a stream fails after its first words. What happens to the connection itself is the server's business."""
    if shape in ("error_chunk", "error_chunk_string"):
        error = ERROR if shape == "error_chunk" else {**ERROR, "code": "server_error"}
        yield Frame(line({**chat_chunk(said, {"content": ""}, finish_reason="error"), "error": error}))
        yield Frame(b"data: [DONE]\n\n")
    elif shape == "error_chunk_no_choices":
        yield Frame(line({**chat_chunk(said, {}), "choices": [], "error": ERROR}))
    elif shape == "finish_network_error":
        yield Frame(line(chat_chunk(said, {}, finish_reason="network_error")))
        yield Frame(b"data: [DONE]\n\n")
    elif shape == "junk":
        yield Frame(b'data: {"choices": [{"delta": {"conte\n\n')


def chat_body(said: Said) -> dict[str, Any]:
    """A Chat Completion in one piece."""
    message: dict[str, Any] = {"role": "assistant", "content": said.text}
    if said.say.reasoning:
        message["reasoning"] = said.say.reasoning
    if said.blocks:
        message["reasoning_details"] = [dict(block) for block in said.blocks]
    if said.calls:
        message["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in said.calls
        ]
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": said.finish}
    if said.say.shape == "body_error":
        choice |= {"finish_reason": "error", "error": ERROR}
    head = {**chat_chunk(said, {}), "object": "chat.completion"}
    return {**head, "choices": [choice], "usage": chat_usage(said)}


# --- Anthropic Messages ---------------------------------------------------------------------------------------------------------

STOP_REASONS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}


def anthropic_usage(said: Said) -> dict[str, Any]:
    """Anthropic counts cached tokens apart from `input_tokens`."""
    return {
        "input_tokens": said.prompt_tokens - said.cached_tokens,
        "cache_read_input_tokens": said.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": said.completion_tokens,
    }


def anthropic_content(said: Said) -> list[dict[str, Any]]:
    """The blocks of an answer. Thinking carries a signature, which a client has to send back as it is."""
    if said.blocks:
        return [dict(block) for block in said.blocks]
    blocks: list[dict[str, Any]] = []
    if said.say.reasoning:
        blocks.append({"type": "thinking", "thinking": said.say.reasoning, "signature": f"sig-{said.id}"})
    return [*blocks, *spoken(said)]


def spoken(said: Said) -> list[dict[str, Any]]:
    """The words and the calls of an answer, as blocks."""
    blocks: list[dict[str, Any]] = []
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    for call_id, name, arguments in said.calls:
        blocks.append({"type": "tool_use", "id": call_id, "name": name, "input": json.loads(arguments)})
    return blocks


def anthropic_body(said: Said) -> dict[str, Any]:
    """A Message in one piece."""
    return {
        "id": said.id,
        "type": "message",
        "role": "assistant",
        "model": said.served,
        "content": anthropic_content(said),
        "stop_reason": STOP_REASONS.get(said.finish, said.finish),
        "stop_sequence": None,
        "usage": anthropic_usage(said),
    }


def event(kind: str, payload: Mapping[str, Any]) -> bytes:
    """One named server-sent event."""
    return f"event: {kind}\n".encode() + line({"type": kind, **payload})


def anthropic_frames(said: Said) -> Iterator[Frame]:
    """A streamed Message, whole or broken."""
    start = {
        **anthropic_body(said),
        "content": [],
        "stop_reason": None,
        "usage": {**anthropic_usage(said), "output_tokens": 1},
    }
    yield Frame(event("message_start", {"message": start}))
    yield Frame(event("ping", {}))
    if said.say.shape == "billed_empty":
        yield from anthropic_end(said)
        return
    for index, block in enumerate(anthropic_content(said)):
        yield from anthropic_block(index, block)
    if said.say.shape is None:
        yield from anthropic_end(said)
    elif said.say.shape.startswith("error_chunk"):
        yield Frame(event("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}}))
    elif said.say.shape == "junk":
        yield Frame(b'event: content_block_delta\ndata: {"type": "content_blo\n\n')


def anthropic_block(index: int, block: Mapping[str, Any]) -> Iterator[Frame]:
    """One content block, a token at a time."""
    kind = block["type"]
    if kind == "tool_use":
        opening: dict[str, Any] = {**block, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(json.dumps(block["input"]))]
    elif kind == "thinking":
        opening = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif kind == "redacted_thinking":
        opening, deltas = dict(block), []
    else:
        opening = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    yield Frame(event("content_block_start", {"index": index, "content_block": opening}))
    for delta in deltas:
        yield Frame(event("content_block_delta", {"index": index, "delta": delta}), token=True)
    yield Frame(event("content_block_stop", {"index": index}))


def anthropic_end(said: Said) -> Iterator[Frame]:
    """Stop reason, usage, stop."""
    reason = {"stop_reason": STOP_REASONS.get(said.finish, said.finish), "stop_sequence": None}
    yield Frame(event("message_delta", {"delta": reason, "usage": anthropic_usage(said)}))
    yield Frame(event("message_stop", {}))
