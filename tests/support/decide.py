"""From a request to what is said: which step of the script, which refusals, which ids and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from tests.support.instances import minimal
from tests.support.script import Behaviour, Decide, Say, Script, by_convention
from tests.support.wire import Said


def as_chat(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A Responses request with its input as messages, so that one set of rules reads all wires; others as they are."""
    if "input" not in body:
        return body
    given = body["input"]
    messages: list[dict[str, Any]] = []
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        kind = item.get("type", "message")
        if kind == "function_call_output":
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
        elif kind == "function_call" or (kind == "message" and item["role"] == "assistant"):
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": None, "tool_calls": []})
            messages[-1]["tool_calls"] += [item] if kind == "function_call" else []
        elif kind == "message":
            messages.append({"role": item["role"], "content": item["content"]})
    form = (body.get("text") or {}).get("format") or {}
    more: dict[str, Any] = {}
    if form.get("type") in ("json_schema", "json_object"):
        more["response_format"] = {"type": form["type"], "json_schema": form}
    rest = {key: value for key, value in body.items() if key not in ("input", "text")}
    return {**rest, "messages": messages, **more}


def step_of(body: Mapping[str, Any]) -> int:
    """How many tool-calling replies stand since the last reply without one: which step of a tool loop this request is."""
    steps = 0
    for message in reversed(body.get("messages", ())):
        if message.get("role") != "assistant":
            continue
        if not calls_tools(message):
            break
        steps += 1
    return steps


def calls_tools(message: Mapping[str, Any]) -> bool:
    """True for an assistant message with tool calls, in either dialect."""
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    return bool(message.get("tool_calls")) or any(block.get("type") == "tool_use" for block in blocks)


def choose(script: Script, body: Mapping[str, Any], earlier: int) -> tuple[Say, str | None]:
    """What is said to this request, and a refusal's text where the model refuses it. `earlier`: requests it has had before."""
    model = str(body.get("model", ""))
    behaviour: Behaviour | Decide | None = script.models.get(model)
    if behaviour is None:
        if script.only:
            return Say(status=404), None
        behaviour = by_convention(model)
    if not isinstance(behaviour, Behaviour):
        return behaviour(body, earlier), None
    if refusal := refused(behaviour, body):
        return Say(status=400), refusal
    if earlier < len(behaviour.first):
        return behaviour.first[earlier], None
    step = behaviour.steps[min(step_of(body), len(behaviour.steps) - 1)]
    if step.tools and not body.get("tools"):
        return behaviour.steps[-1], None  # a member or an aggregator of the same model: nothing was offered to call
    return step, None


def refused(behaviour: Behaviour, body: Mapping[str, Any]) -> str | None:
    """Why the model cannot take this request, in the words that providers use; None where it can."""
    kind = body.get("response_format", {}).get("type")
    roles = [message["role"] for message in body.get("messages", ()) if message["role"] != "system"]
    odd = any(a == b == "user" or (a == "tool" and b == "user") for a, b in pairwise(roles))
    reasons = {
        "strict_alternation": (odd, "Conversation roles must alternate user/assistant/user/assistant/..."),
        "no_json_schema": (kind == "json_schema", "This response_format type is unavailable now: json_schema"),
        "no_json_object": (kind == "json_object", "'response_format.type' must be 'json_schema' or 'text'"),
        "no_logprobs": (bool(body.get("logprobs")), "This model does not support the 'logprobs' parameter."),
        "no_tools": (bool(body.get("tools")), f"{body.get('model')} does not support tools"),
        "no_stream_options": ("stream_options" in body, "Unknown parameter: 'stream_options'"),
        "no_temperature": (
            "temperature" in body,
            "Unsupported parameter: 'temperature' is not supported with this model.",
        ),
    }
    return next((text for name, (hit, text) in reasons.items() if hit and name in behaviour.refuses), None)


def wanted_schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON schema that the answer has to hold to, wherever the dialect puts it; an empty one for "any JSON object"."""
    response_format = body.get("response_format") or {}
    if response_format.get("type") == "json_schema":
        return dict(response_format["json_schema"]["schema"])
    if response_format.get("type") == "json_object":
        return {"type": "object"}
    output = body.get("output_format") or (body.get("output_config") or {}).get("format") or {}
    return output.get("schema")


def forced_tool(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The one tool that an Anthropic request forces (its way to structured output)."""
    choice = body.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "tool":
        return None
    return next(tool for tool in body["tools"] if tool["name"] == choice["name"])


def said(say: Say, body: Mapping[str, Any], number: int, prompt_tokens: int, cached_tokens: int) -> Said:
    """The answer with everything decided. Call ids depend on the conversation alone, so that a repeated run repeats them."""
    model = str(body.get("model", ""))
    text = say.text if say.text is not None else f"Answer of {model}."
    turn = sum(message.get("role") == "assistant" for message in body.get("messages", ()))
    calls = tuple(
        (f"call_{turn}_{index}", name, json.dumps(arguments)) for index, (name, arguments) in enumerate(say.tools)
    )
    if tool := forced_tool(body):
        instance = minimal(tool["input_schema"]) if say.analysis is None else say.analysis
        text, calls = "", ((f"call_{turn}_0", tool["name"], json.dumps(instance)),)
    elif (schema := wanted_schema(body)) is not None:
        text, calls = json.dumps(minimal(schema) if say.analysis is None else say.analysis, ensure_ascii=False), ()
    elif say.tools and say.text is None:
        text = ""
    if say.tokens:
        text = "".join(token for token, _listed in say.tokens)
    options = body.get("stream_options") or {}
    return Said(
        id=f"gen-{number}",
        model=model,
        served=say.served or model,
        text=text,
        say=say,
        prompt_tokens=prompt_tokens,
        cached_tokens=cached_tokens,
        wants_usage=bool(options.get("include_usage") or (body.get("usage") or {}).get("include")),
        calls=calls,
        weighed=say.tokens if body.get("logprobs") else (),
    )


def error_body(status: int, message: str, *, anthropic: bool, code: str | None = None) -> dict[str, Any]:
    """A refusal's JSON in the dialect's envelope."""
    if anthropic:
        kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}
        return {"type": "error", "error": {"type": kinds.get(status, "invalid_request_error"), "message": message}}
    return {"error": {"code": code or status, "message": message, "type": "invalid_request_error"}}
