"""From an answer to the events of a stream on OpenAI's Responses API. No sockets and no clocks in here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.wire import ERROR, Frame, Said, event, pieces

BROKEN = frozenset({"error_chunk", "error_chunk_string", "error_chunk_no_choices", "body_error"})


def usage(said: Said) -> dict[str, Any]:
    """The `usage` object."""
    return {
        "input_tokens": said.prompt_tokens,
        "input_tokens_details": {"cached_tokens": said.cached_tokens},
        "output_tokens": said.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": said.reasoning_tokens},
        "total_tokens": said.prompt_tokens + said.completion_tokens,
    }


def output(said: Said) -> list[dict[str, Any]]:
    """The items of an answer: thoughts, words, calls."""
    items = [dict(block) for block in said.blocks]
    if said.text:
        words = {"type": "output_text", "text": said.text, "annotations": []}
        items.append(
            {"id": f"msg_{said.id}", "type": "message", "role": "assistant", "status": "completed", "content": [words]}
        )
    for call_id, name, arguments in said.calls:
        call = {"id": f"fc_{call_id}", "type": "function_call", "status": "completed", "call_id": call_id}
        items.append({**call, "name": name, "arguments": arguments})
    return items


def response(said: Said, status: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """The response object, at its beginning or its end."""
    whole = {"id": said.id, "object": "response", "created_at": 1_790_000_000, "model": said.served, "status": status}
    reason = {"reason": "max_output_tokens"} if said.say.finish == "length" else None
    return {
        **whole,
        "error": None,
        "incomplete_details": reason,
        "output": items,
        "usage": usage(said) if items else None,
    }


def body(said: Said) -> dict[str, Any]:
    """The answer in one piece."""
    return response(said, ending(said).removeprefix("response."), output(said))


def ending(said: Said) -> str:
    """The name of the last event."""
    return "response.incomplete" if said.say.finish == "length" else "response.completed"


def frames(said: Said) -> Iterator[Frame]:
    """A streamed answer, whole or broken in the way that the script asks for."""
    yield Frame(event("response.created", {"response": response(said, "in_progress", [])}))
    if said.say.shape == "billed_empty":
        yield Frame(
            event("response.completed", {"response": {**response(said, "completed", []), "usage": usage(said)}})
        )
        return
    for index, item in enumerate(output(said)):
        yield from _item(index, item)
    if said.say.shape is None:
        yield Frame(event(ending(said), {"response": response(said, ending(said).partition(".")[2], output(said))}))
    elif said.say.shape in BROKEN:
        error = {"code": "server_error", "message": ERROR["message"]}
        yield Frame(event("response.failed", {"response": {**response(said, "failed", []), "error": error}}))
    elif said.say.shape == "junk":
        yield Frame(b'event: response.output_text.delta\ndata: {"type": "response.outp\n\n')


def _item(index: int, item: Mapping[str, Any]) -> Iterator[Frame]:
    at = {"output_index": index, "item_id": item["id"]}
    empty = {"message": {"content": []}, "function_call": {"arguments": ""}, "reasoning": {"summary": []}}
    opening = {**item, **empty[item["type"]]}
    opening |= {"status": "in_progress"} if "status" in item else {}
    yield Frame(event("response.output_item.added", {"output_index": index, "item": opening}))
    if item["type"] == "message":
        part = {"type": "output_text", "text": "", "annotations": []}
        yield Frame(event("response.content_part.added", {**at, "content_index": 0, "part": part}))
        yield from _deltas("response.output_text", {**at, "content_index": 0}, item["content"][0]["text"], "text")
        yield Frame(event("response.content_part.done", {**at, "content_index": 0, "part": item["content"][0]}))
    elif item["type"] == "function_call":
        yield from _deltas("response.function_call_arguments", at, item["arguments"], "arguments")
    else:
        for number, part in enumerate(item["summary"]):
            where = {**at, "summary_index": number}
            yield from _deltas("response.reasoning_summary_text", where, part["text"], "text")
    yield Frame(event("response.output_item.done", {"output_index": index, "item": dict(item)}))


def _deltas(name: str, at: Mapping[str, Any], text: str, field: str) -> Iterator[Frame]:
    for piece in pieces(text):
        yield Frame(event(f"{name}.delta", {**at, "delta": piece}), token=True)
    yield Frame(event(f"{name}.done", {**at, field: text}))
