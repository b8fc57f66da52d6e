"""Reads Chat Completions answers: chunks, or one body where the server does not stream, with every known way they go wrong."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

from agent.llm.dialects.collect import Collector, finish_reason
from agent.llm.dialects.reading import (
    as_count,
    as_dict,
    as_list,
    as_name,
    as_nano,
    as_str,
    error_in_stream,
    events_of,
    first_object,
    is_event_stream,
)
from agent.llm.endpoint import Endpoint
from agent.llm.errors import StreamBroken
from agent.llm.messages import Message
from agent.llm.request import Request
from agent.llm.stream import Reply, StreamEvent, Usage


class ChatDecoder:
    """One answer. Raises as soon as the endpoint reports a fault; what had arrived is in the error."""

    def __init__(self, request: Request, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._answer = Collector(request)
        self._done = False
        self._calls = _CallKeys()

    def headers(self, headers: Mapping[str, str]) -> None:
        """OpenRouter sends the id under which it bills the call in a header of its own."""
        self._answer.generation_id = headers.get("x-generation-id") or headers.get("X-Generation-Id")

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """One server-sent event. Empty and debug chunks yield nothing; junk that is no JSON object is passed over."""
        data = data.strip()
        if data == "[DONE]":
            self._done = True
        if self._done or not data:
            return []
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            if data.startswith("{"):
                # A chunk cut in two would silently lose words.
                raise self._answer.break_off(StreamBroken("the endpoint sent a damaged chunk")) from None
            return []
        if not isinstance(chunk, dict):
            return []
        if event == "error" and "error" not in chunk:
            chunk = {"error": chunk}
        return self._chunk(chunk, "delta")

    def feed_body(self, body: bytes) -> list[StreamEvent]:
        """A whole body: one JSON object with whatever stands around it, or a stream that came under another content type."""
        text = body.decode("utf-8", "replace")
        if is_event_stream(text):
            return [event for name, data in events_of(text) for event in self.feed(name, data)]
        answer = first_object(text)
        if answer is None:
            raise self._answer.break_off(StreamBroken("the answer is not JSON", remedy="check the endpoint's base_url"))
        return self._chunk(answer, "message")

    def finish(self) -> Reply:
        """The whole answer. Raises StreamBroken where no finish reason came, EmptyAnswer where nothing was said."""
        return self._answer.reply()

    @property
    def partial(self) -> Message | None:
        """What has arrived so far, marked incomplete."""
        return self._answer.partial()

    @property
    def usage(self) -> Usage | None:
        """What the endpoint has reported so far."""
        return self._answer.usage

    @property
    def generation_id(self) -> str | None:
        """The provider's id of this call."""
        return self._answer.generation_id

    def _chunk(self, chunk: dict[str, Any], piece: str) -> list[StreamEvent]:
        self._identity(chunk)
        choice = next(
            (as_dict(choice) for choice in as_list(chunk.get("choices")) if not as_dict(choice).get("index")), {}
        )
        # Moonshot and Groq put the usage of a stream into places of their own.
        self._usage(chunk, as_dict(choice.get("usage")) or as_dict(as_dict(chunk.get("x_groq")).get("usage")))
        # The text of a failing chunk comes before its error, so that nothing that arrived is lost.
        events = self._delta(as_dict(choice.get(piece)) or as_dict(choice.get("message")))
        if not choice.get("delta") and isinstance(choice.get("text"), str):
            events += self._answer.text("text", choice["text"])
        error = chunk.get("error") or choice.get("error")
        if error:
            raise self._answer.break_off(error_in_stream({**chunk, "error": error}, self._endpoint))
        self._finish(choice)
        return events

    def _identity(self, chunk: dict[str, Any]) -> None:
        answer = self._answer
        answer.model_served = as_name(chunk.get("model")) or answer.model_served
        answer.provider = as_name(chunk.get("provider")) or answer.provider
        answer.generation_id = answer.generation_id or as_name(chunk.get("id")) or None

    def _delta(self, delta: dict[str, Any]) -> list[StreamEvent]:
        answer = self._answer
        # `reasoning_content` is an alias of `reasoning` where both are sent.
        thought = as_str(delta.get("reasoning")) or as_str(delta.get("reasoning_content"))
        details = as_list(delta.get("reasoning_details"))
        if details:
            _merge_details(answer.extra.setdefault("reasoning_details", []), details)
            thought = thought or "".join(as_str(as_dict(item).get("text")) for item in details)
        events = answer.reasoning("reasoning", thought)
        events += answer.text("text", _text_of(delta.get("content")))
        events += answer.text("text", as_str(delta.get("refusal")))
        if delta.get("refusal"):
            answer.finish = "refusal"
        for position, call in enumerate(as_list(delta.get("tool_calls"))):
            events += self._tool_call(as_dict(call), position)
        return events

    def _tool_call(self, call: dict[str, Any], position: int) -> list[StreamEvent]:
        function = as_dict(call.get("function"))
        id, name = as_name(call.get("id")) or None, as_name(function.get("name")) or None
        arguments = function.get("arguments")
        if isinstance(arguments, dict | list):
            arguments = json.dumps(arguments, ensure_ascii=False)
        key = self._calls.key(call.get("index"), position, id, name)
        events = self._answer.call(key, as_str(arguments), id=id, name=name)
        # Gemini hides its thought signature here, and refuses the next step without it.
        if call.get("extra_content"):
            self._answer.piece(key, "call").extra = {"extra_content": call["extra_content"]}
        return events

    def _finish(self, choice: dict[str, Any]) -> None:
        word = as_name(choice.get("finish_reason"))
        if not word:
            return
        native = as_name(choice.get("native_finish_reason"))
        finish = finish_reason(word)
        if finish is None or (native and finish == "stop" and finish_reason(native) is None):
            fault = native if finish else word
            raise self._answer.break_off(
                StreamBroken(f"the provider ended the answer with {fault!r}", remedy="try again")
            )
        if self._answer.finish != "refusal":
            self._answer.finish = finish

    def _usage(self, chunk: dict[str, Any], elsewhere: dict[str, Any]) -> None:
        usage = as_dict(chunk.get("usage")) or elsewhere
        timings = as_dict(chunk.get("timings"))
        if not usage and not timings:
            return
        answer = self._answer
        answer.usage = read_usage(usage, timings)
        cost = read_cost(usage)
        answer.cost_nano = answer.cost_nano if cost is None else cost


class _CallKeys:
    """Tells tool calls of one answer apart: by index, unless a server gives several calls the same one, or none at all."""

    def __init__(self) -> None:
        self._current: dict[Hashable, tuple[Hashable, str | None]] = {}
        self._count = 0

    def key(self, index: object, position: int, id: str | None, name: str | None) -> Hashable:
        """The key of the call that this piece belongs to. A new id together with a name begins a new call."""
        slot = index if isinstance(index, int) else ("position", position)
        key, known = self._current.get(slot, (None, None))
        if key is None or (id and name and known and id != known):
            self._count += 1
            key = ("call", self._count)
            known = None
        self._current[slot] = (key, known or id)
        return key


def read_usage(usage: dict[str, Any], timings: dict[str, Any]) -> Usage:
    """Tokens by kind. `timings` are llama.cpp's: `cache_n` prompt tokens came from the cache, `prompt_n` were computed."""
    prompt_details = as_dict(usage.get("prompt_tokens_details"))
    completion_details = as_dict(usage.get("completion_tokens_details"))
    cached = (
        as_count(prompt_details.get("cached_tokens"))
        or as_count(usage.get("prompt_cache_hit_tokens"))  # DeepSeek
        or as_count(usage.get("cached_tokens"))  # Moonshot
        or as_count(timings.get("cache_n"))
    )
    prompt = as_count(usage.get("prompt_tokens")) or as_count(timings.get("cache_n")) + as_count(
        timings.get("prompt_n")
    )
    return Usage(
        prompt=prompt,
        cached=min(cached, prompt),
        cache_write=as_count(prompt_details.get("cache_write_tokens")),
        completion=as_count(usage.get("completion_tokens")) or as_count(timings.get("predicted_n")),
        reasoning=as_count(completion_details.get("reasoning_tokens")) or as_count(usage.get("reasoning_tokens")),
    )


def read_cost(usage: dict[str, Any]) -> int | None:
    """The reply's own figure in nano-dollars (OpenRouter's credits are US dollars); None where it gives none.

    With a key of one's own (BYOK) `cost` is only the gateway's fee: what the provider charges is in `cost_details`.
    """
    cost = usage.get("cost")
    nano = as_nano(as_dict(cost).get("total_cost") if isinstance(cost, dict) else cost)
    if nano is None or not usage.get("is_byok"):
        return nano
    upstream = as_nano(as_dict(usage.get("cost_details")).get("upstream_inference_cost"))
    return None if upstream is None else nano + upstream


def _text_of(content: object) -> str:
    """The text of a `content`: a string, or a list of parts (Mistral)."""
    if isinstance(content, list):
        return "".join(as_str(as_dict(part).get("text")) for part in content)
    return as_str(content)


def _merge_details(merged: list[dict[str, Any]], details: list[Any]) -> None:
    """Put the streamed pieces of OpenRouter's reasoning details together again: they must go back whole and in order."""
    for item in details:
        if not isinstance(item, dict):
            continue
        last = merged[-1] if merged else {}
        same = (
            last.get("type") == item.get("type")
            and last.get("index") == item.get("index")
            and not last.get("signature")
        )
        if not same or item.get("type") not in ("reasoning.text", "reasoning.summary"):
            merged.append(dict(item))
            continue
        for key, value in item.items():
            if key in ("text", "summary") and isinstance(value, str):
                last[key] = as_str(last.get(key)) + value
            elif value is not None:
                last[key] = value
