"""Reads Chat Completions answers: chunks, or one body where the server does not stream, with every known way they go wrong."""

from __future__ import annotations

import json
from typing import Any

from agent.llm.answers.calls import Calls, begins_another, repeats, replaces
from agent.llm.answers.decoding import DecoderBase, alive
from agent.llm.answers.reading import as_dict, as_list, as_name, as_str
from agent.llm.models.endpoint import Endpoint
from agent.llm.request import Request
from agent.llm.stream import StreamEvent

# Where a content is a list of parts: the kinds that are thinking, and the fields in which a part has its text.
_THOUGHTS = frozenset({"thinking", "reasoning", "reasoning_text", "thought", "summary_text", "reasoning_content"})
_TEXTS = ("text", "thinking", "reasoning", "content", "summary", "reasoning_content")
_DEEPEST_PART = 8
# What a chunk may have beside its words without saying anything that has to be read again.
_NEUTRAL = frozenset(
    {"id", "object", "created", "model", "provider", "choices", "system_fingerprint", "service_tier", "obfuscation"}
)


class ChatDecoder(DecoderBase):
    """One answer of Chat Completions."""

    def __init__(self, request: Request, endpoint: Endpoint) -> None:
        super().__init__(request, endpoint)
        self._done = False
        self._calls = Calls()
        self._named: tuple[Any, Any, Any] | None = None

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """One server-sent event; nothing that comes after `[DONE]` counts."""
        self._done = self._done or data.strip() == "[DONE]"
        return [] if self._done else super().feed(event, data)

    def event(self, name: str, payload: dict[str, Any]) -> list[StreamEvent]:
        """One chunk. Empty and debug chunks yield nothing."""
        if name == "error" and "error" not in payload:
            payload = {"error": payload}
        if words := _bare_words(payload):
            self._identity(payload)
            return alive(self.answer.text("text", words), words)
        return self._chunk(payload, "delta")

    def whole(self, payload: dict[str, Any]) -> list[StreamEvent]:
        """A body that was not streamed."""
        return self._chunk(payload, "message")

    def is_answer(self, payload: dict[str, Any]) -> bool:
        """An answer has choices."""
        return bool(payload.get("choices"))

    def _chunk(self, chunk: dict[str, Any], piece: str) -> list[StreamEvent]:
        self._identity(chunk)
        choice = next(
            (as_dict(choice) for choice in as_list(chunk.get("choices")) if not as_dict(choice).get("index")), {}
        )
        # The text of a failing chunk comes before its error, so that nothing that arrived is lost.
        events = self._delta(as_dict(choice.get(piece)) or as_dict(choice.get("message")))
        if not choice.get("delta") and isinstance(choice.get("text"), str):
            events += self.answer.text("text", choice["text"])
        self.answer.weighed(as_list(as_dict(choice.get("logprobs")).get("content")))
        # Moonshot and Groq put the usage of a stream into places of their own.
        elsewhere = as_dict(choice.get("usage")) or as_dict(as_dict(chunk.get("x_groq")).get("usage"))
        self.answer.report.add(as_dict(chunk.get("usage")) or elsewhere, as_dict(chunk.get("timings")))
        fault = choice.get("error") or as_dict(chunk.get("x_groq")).get("error")
        error = self.error_in({**chunk, "error": fault} if fault and not chunk.get("error") else chunk)
        if error:
            raise self.answer.break_off(error)
        self.answer.end(
            as_name(choice.get("finish_reason")),
            as_name(choice.get("native_finish_reason")),
            words=_filtered(choice),
        )
        return events

    def _identity(self, chunk: dict[str, Any]) -> None:
        named = (chunk.get("model"), chunk.get("provider"), chunk.get("id"))
        if named == self._named:
            return
        self._named = named
        answer = self.answer
        answer.model_served = as_name(chunk.get("model")) or answer.model_served
        answer.provider = as_name(chunk.get("provider")) or answer.provider
        answer.generation_id = answer.generation_id or as_name(chunk.get("id")) or None

    def _delta(self, delta: dict[str, Any]) -> list[StreamEvent]:
        answer = self.answer
        # `reasoning_content` is an alias of `reasoning` where both are sent.
        thought = _told(delta.get("reasoning")) or _told(delta.get("reasoning_content")) or _told(delta.get("thinking"))
        details = as_list(delta.get("reasoning_details"))
        if details:
            _merge_details(answer.extra.setdefault("reasoning_details", []), details)
            thought = thought or "".join(as_str(as_dict(item).get("text")) for item in details)
        events = answer.reasoning("reasoning", thought)
        for is_thought, text in _parts(delta.get("content")):
            events += answer.reasoning("reasoning", text) if is_thought else answer.text("text", text)
        events += answer.refusal("text", as_str(delta.get("refusal")))
        answer.cite(delta.get("annotations"))
        calls = delta.get("tool_calls")
        for position, call in enumerate([calls] if isinstance(calls, dict) else as_list(calls)):
            events += self._tool_call(as_dict(call), position)
        if legacy := as_dict(delta.get("function_call")):
            events += self._tool_call({"function": legacy}, 0)
        return alive(events, any(value for name, value in delta.items() if name != "role"))

    def _tool_call(self, call: dict[str, Any], position: int) -> list[StreamEvent]:
        function = as_dict(call.get("function")) or call
        id, name = as_name(call.get("id")) or None, as_name(function.get("name")) or None
        arguments = function.get("arguments")
        if isinstance(arguments, dict | list):
            arguments = json.dumps(arguments, ensure_ascii=False)
        arguments, answer = as_str(arguments), self.answer
        index = call.get("index")
        slot = index if isinstance(index, int | str) and index != "" else ("position", position)
        key = self._calls.key(slot)
        known = None if key is None else answer.find(key)
        if key is not None and known is not None:
            if repeats(known, id, arguments):
                return []
            if begins_another(known, id=id, name=name, arguments=arguments, indexed=slot is index):
                key, name = None, name or known.name
            elif replaces(known, arguments):
                known.chunks.clear()
        if key is None:
            key = self._calls.begin(slot)
        events = answer.call(key, arguments, id=id, name=name)
        # Gemini hides its thought signature here, and refuses the next step without it.
        if call.get("extra_content"):
            answer.piece(key, "call").extra = {"extra_content": call["extra_content"]}
        return events


def _bare_words(chunk: dict[str, Any]) -> str:
    """The words of a chunk that has words and nothing else, as most have; else nothing. To look in each for all that it may say costs several
    times as much as all the rest of reading it."""
    for name, value in chunk.items():
        if value and name not in _NEUTRAL:
            return ""
    choices = chunk.get("choices")
    if not isinstance(choices, list) or len(choices) != 1:
        return ""
    choice = choices[0]
    if not isinstance(choice, dict):
        return ""
    for name, value in choice.items():
        if value and name != "delta":
            return ""
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return ""
    for name, value in delta.items():
        if value and name != "content" and name != "role":
            return ""
    return as_str(delta.get("content"))


def _filtered(choice: dict[str, Any]) -> str:
    """What a filter found, where it says so (Azure's `content_filter_results`)."""
    results = as_dict(choice.get("content_filter_results"))
    found = [
        name for name, result in results.items() if as_dict(result).get("filtered") or as_dict(result).get("detected")
    ]
    return ", ".join(found)


def _told(value: object) -> str:
    """Thinking: a string, or parts."""
    return "".join(text for _is_thought, text in _parts(value))


def _parts(content: object, *, thought: bool = False, depth: int = 0) -> list[tuple[bool, str]]:
    """The texts of a `content`, each with whether it is thinking: a string, or a list of parts (Mistral), which may hold parts again."""
    if isinstance(content, str):
        return [(thought, content)] if content else []
    if depth > _DEEPEST_PART:
        return []
    found: list[tuple[bool, str]] = []
    if isinstance(content, list):
        for part in content:
            found += _parts(part, thought=thought, depth=depth + 1)
    elif isinstance(content, dict):
        thought = thought or content.get("type") in _THOUGHTS
        held = next((content[name] for name in _TEXTS if content.get(name)), None)
        found = _parts(held, thought=thought, depth=depth + 1)
    return found


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
