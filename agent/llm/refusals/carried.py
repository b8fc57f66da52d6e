"""Which features a request's body carries, in any dialect: a refusal can only have refused what was there.

Words alone mislead. "Invalid `signature` in `thinking` block" is no word on reasoning, and a model that is "not supported with tools"
says nothing where no tools were sent. So a lesson is learned only where the refusal names a feature *and* the request had it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Body = Mapping[str, Any]

_COARSE = (None, "none", "low", "medium", "high")


def carries(feature: str, body: Body | None) -> bool:
    """True where the body has what doing without this feature would change. So it is where the body or the feature is not known."""
    test = FEATURES.get(feature)
    return body is None or test is None or test(body)


def _dict(value: object) -> Body:
    return value if isinstance(value, dict) else {}


def _messages(body: Body) -> list[Body]:
    found = body.get("messages", body.get("input"))
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _blocks(body: Body) -> Iterable[Body]:
    for message in _messages(body):
        content = message.get("content")
        yield message
        yield from (part for part in content if isinstance(part, dict)) if isinstance(content, list) else ()


def _format(body: Body) -> Body:
    """The structured output that is asked for: `response_format`, `text.format` or `output_config.format`."""
    return (
        _dict(body.get("response_format"))
        or _dict(_dict(body.get("text")).get("format"))
        or _dict(_dict(body.get("output_config")).get("format"))
    )


def _has_schema(body: Body) -> bool:
    return _format(body).get("type") == "json_schema"


def _has_any_object(body: Body) -> bool:
    return _format(body).get("type") == "json_object"


def _is_strict(body: Body) -> bool:
    asked = _format(body)
    return bool(_dict(asked.get("json_schema")).get("strict") or asked.get("strict"))


def _efforts(body: Body) -> list[object]:
    """The efforts, and whatever else asks for reasoning."""
    places = (
        body.get("reasoning_effort"),
        _dict(body.get("reasoning")).get("effort"),
        _dict(body.get("output_config")).get("effort"),
    )
    return [value for value in places if value is not None]


def _has_reasoning(body: Body) -> bool:
    return bool(_efforts(body) or body.get("reasoning") or body.get("thinking"))


def _thinking(body: Body) -> object:
    return _dict(body.get("thinking")).get("type")


def _forces(body: Body) -> bool:
    choice = body.get("tool_choice")
    return choice == "required" or _dict(choice).get("type") in ("any", "tool", "function")


def _has_images(body: Body) -> bool:
    return any(block.get("type") in ("image", "image_url", "input_image") for block in _blocks(body))


def _has_calls(body: Body) -> bool:
    kinds = ("tool_use", "tool_result", "function_call", "function_call_output")
    return any(
        block.get("tool_calls") or block.get("role") == "tool" or block.get("type") in kinds for block in _blocks(body)
    )


def _has_system(body: Body) -> bool:
    beside = body.get("system") or body.get("instructions")
    return bool(beside) or any(message.get("role") in ("system", "developer") for message in _messages(body))


def _breaks_turns(body: Body) -> bool:
    """Two of one side follow each other, or a system message stands behind the beginning."""
    side = ""
    for number, message in enumerate(_messages(body)):
        role = message.get("role")
        if role in ("system", "developer"):
            if number:
                return True
            continue
        now = "user" if role in ("user", "tool") else "assistant"
        if now == side and not (role == "tool" and side == "user"):
            return True
        side = now
    return False


def _lacks_reasoning_back(body: Body) -> bool:
    return any(
        message.get("role") == "assistant" and not message.get("reasoning_content") for message in _messages(body)
    )


FEATURES: dict[str, Callable[[Body], bool]] = {
    "no_tool_addition": lambda body: any(block.get("type") == "tool_addition" for block in _blocks(body)),
    "strict_alternation": _breaks_turns,
    "no_system_role": _has_system,
    "reasoning_content_back": _lacks_reasoning_back,
    "reasoning_off_with_tools": lambda body: bool(body.get("tools")) and _has_reasoning(body),
    "no_forced_tool_choice": _forces,
    "no_tools": lambda body: bool(body.get("tools")),
    "no_json_object": _has_any_object,
    "no_logprobs": lambda body: bool(body.get("logprobs")),
    "no_strict_schema": _is_strict,
    "no_json_schema": _has_schema,
    "no_stream_options": lambda body: "stream_options" in body,
    "max_completion_tokens": lambda body: "max_tokens" in body,
    "no_temperature": lambda body: "temperature" in body,
    "adaptive_thinking": lambda body: _thinking(body) == "enabled",
    "manual_thinking": lambda body: _thinking(body) == "adaptive",
    "coarse_effort": lambda body: any(effort not in _COARSE for effort in _efforts(body)),
    "no_reasoning": _has_reasoning,
    "no_images": _has_images,
    "history_needs_tools": lambda body: not body.get("tools") and _has_calls(body),
    "short_call_ids": _has_calls,
    "no_prefill": lambda body: bool(_messages(body)) and _messages(body)[-1].get("role") == "assistant",
    "no_thinking_display": lambda body: "display" in _dict(body.get("thinking")),
    "no_reasoning_summary": lambda body: "summary" in _dict(body.get("reasoning")),
    "no_encrypted_reasoning": lambda body: "include" in body,
    "no_cache_breakpoint": lambda body: (
        "prompt_cache_options" in body or any("prompt_cache_breakpoint" in block for block in _blocks(body))
    ),
    "no_prompt_cache_key": lambda body: "prompt_cache_key" in body,
}
