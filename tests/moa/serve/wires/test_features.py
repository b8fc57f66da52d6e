"""What a client says on one wire, the upstream hears on another: a row a feature, in every pair of wires that differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from moa.serve.wires.wire import Unsayable
from tests.support.crossing import PAIRS, Crossing

PNG = "iVBORw0KGgo="
URL = "https://example.com/cat.png"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
FREE = {"type": "object", "properties": {"path": {"type": "string"}}}
REFUSED = object()

Heard = Callable[[dict[str, Any]], Any]


def body(wire: str, **fields: Any) -> dict[str, Any]:
    """A request of that wire that says little."""
    words = [{"role": "user", "content": "Hello."}]
    if wire == "responses":
        return {"model": "main", "input": words, **fields}
    return {"model": "main", "messages": words, "max_tokens": 900, **fields}


def tool(wire: str, name: str = "read") -> dict[str, Any]:
    if wire == "messages":
        return {"name": name, "description": "Reads.", "input_schema": FREE}
    function = {"name": name, "description": "Reads.", "parameters": FREE}
    return {"type": "function", **function} if wire == "responses" else {"type": "function", "function": function}


def user(wire: str, *parts: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "user", "content": list(parts)}
    return {"input": [message]} if wire == "responses" else {"messages": [message]}


def loop(wire: str, *results: Any, error: bool = False) -> dict[str, Any]:
    """Two parallel calls and what came of them."""
    calls = [("c1", '{"path":"a"}'), ("c2", '{"path":"b"}')][: len(results)]
    if wire == "messages":
        uses = [{"type": "tool_use", "id": id, "name": "read", "input": {"path": written[9]}} for id, written in calls]
        came = [
            {"type": "tool_result", "tool_use_id": id, "content": result, **({"is_error": True} if error else {})}
            for (id, _), result in zip(calls, results, strict=True)
        ]
        turns = [
            {"role": "assistant", "content": [{"type": "text", "text": "So."}, *uses]},
            {"role": "user", "content": came},
        ]
        return {"messages": [{"role": "user", "content": "Hello."}, *turns], "tools": [tool(wire)]}
    if wire == "responses":
        items: list[dict[str, Any]] = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "So."}]
        items += [{"type": "function_call", "call_id": id, "name": "read", "arguments": told} for id, told in calls]
        items += [
            {"type": "function_call_output", "call_id": id, "output": result}
            for (id, _), result in zip(calls, results, strict=True)
        ]
        return {"input": items, "tools": [tool(wire)]}
    uses = [{"id": id, "type": "function", "function": {"name": "read", "arguments": told}} for id, told in calls]
    turns = [{"role": "assistant", "content": "So.", "tool_calls": uses}]
    turns += [
        {"role": "tool", "tool_call_id": id, "content": result} for (id, _), result in zip(calls, results, strict=True)
    ]
    return {"messages": [{"role": "user", "content": "Hello."}, *turns], "tools": [tool(wire)]}


def words(dialect: str) -> Heard:
    """All the messages of an upstream's body, in short: (role, what)."""

    def short(sent: dict[str, Any]) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        if system := sent.get("system"):
            found.append(("system", "".join(block["text"] for block in system)))
        for item in sent.get("messages") or sent["input"]:
            found += [(item.get("role") or item["type"], what) for what in _said(item)]
        return found

    return short


def _said(item: dict[str, Any]) -> list[Any]:
    if item.get("type") == "function_call":
        return [("call", item["call_id"], item["name"], json.loads(item["arguments"]))]
    if item.get("type") == "function_call_output":
        return [("result", item["call_id"], _texts(item["output"]))]
    if item.get("role") == "tool":
        return [("result", item["tool_call_id"], _texts(item["content"]))]
    content = item.get("content")
    said: list[Any] = [content] if isinstance(content, str) else []
    for block in content if isinstance(content, list) else []:
        kind = block["type"]
        if "text" in kind:
            said.append(block["text"])
        elif kind == "tool_use":
            said.append(("call", block["id"], block["name"], block["input"]))
        elif kind == "tool_result":
            said.append(
                (
                    "result",
                    block["tool_use_id"],
                    _texts(block["content"]),
                    *(["error"] if block.get("is_error") else []),
                )
            )
        else:
            said.append(_image(block))
    for call in item.get("tool_calls") or []:
        said.append(("call", call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])))
    return said


def _texts(content: Any) -> Any:
    if isinstance(content, str):
        return content
    said = [block.get("text") or _image(block) for block in content]
    return said[0] if len(said) == 1 else said


def _image(block: dict[str, Any]) -> tuple[str, str]:
    held = block.get("source") or block.get("image_url")
    if isinstance(held, dict) and "data" in held:
        return ("image", f"data:{held['media_type']};base64,{held['data']}")
    return ("image", held["url"] if isinstance(held, dict) else held)


def key(name: str) -> Heard:
    return lambda sent: sent.get(name)


@dataclass(frozen=True)
class Feature:
    """`said` gives the fields of a client's body by its wire, `heard` reads them in an upstream's, `means` is what it has to find; each by
    its name, or one for all. A wire that is left out can't say it; REFUSED: the upstream can't be told."""

    name: str
    said: Mapping[str, Mapping[str, Any]]
    heard: Mapping[str, Heard] = field(default_factory=dict)
    means: Any = None
    refused: Mapping[str, str] = field(default_factory=dict)


def each(make: Callable[[str], Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {wire: make(wire) for wire in ("messages", "responses", "chat")}


ALL_WORDS = {dialect: words(dialect) for dialect in ("anthropic", "responses", "chat")}
IMAGE = {
    "messages": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
    "responses": {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
    "chat": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
}
IMAGE_URL = {
    "messages": {"type": "image", "source": {"type": "url", "url": URL}},
    "responses": {"type": "input_image", "image_url": URL},
    "chat": {"type": "image_url", "image_url": {"url": URL}},
}
TEXT = {wire: {"type": "input_text" if wire == "responses" else "text", "text": "Look."} for wire in IMAGE}
CHOICE = {"anthropic": key("tool_choice"), "responses": key("tool_choice"), "chat": key("tool_choice")}

FEATURES = [
    Feature(
        "system text",
        {
            "messages": {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
            "responses": {"instructions": "Be brief."},
            "chat": {
                "messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello."}]
            },
        },
        ALL_WORDS,
        [("system", "Be brief."), ("user", "Hello.")],
    ),
    Feature(
        "image in base64",
        each(lambda wire: user(wire, TEXT[wire], IMAGE[wire])),
        ALL_WORDS,
        [("user", "Look."), ("user", ("image", f"data:image/png;base64,{PNG}"))],
    ),
    Feature(
        "image by its address",
        each(lambda wire: user(wire, TEXT[wire], IMAGE_URL[wire])),
        ALL_WORDS,
        [("user", "Look."), ("user", ("image", URL))],
    ),
    Feature(
        "a document of the vendor's own store",
        {
            "messages": user("messages", {"type": "document", "source": {"type": "file", "file_id": "f"}}),
            "responses": user("responses", {"type": "input_file", "file_id": "f"}),
            "chat": user("chat", {"type": "file", "file": {"file_id": "f"}}),
        },
        refused={
            "messages": "messages.0.content.0.source",
            "responses": "input.0.content.0.type",
            "chat": "messages.0.content.0.type",
        },
    ),
    Feature(
        "citations of documents",
        {
            "messages": user(
                "messages",
                {
                    "type": "document",
                    "citations": {"enabled": True},
                    "source": {"type": "text", "media_type": "text/plain", "data": "x"},
                },
            )
        },
        refused={"messages": "messages.0.content.0.citations"},
    ),
    Feature(
        "a document of text",
        {
            "messages": user(
                "messages",
                {
                    "type": "document",
                    "title": "notes",
                    "source": {"type": "text", "media_type": "text/plain", "data": "x"},
                },
            )
        },
        ALL_WORDS,
        [("user", "[document: notes]\nx")],
    ),
    Feature(
        "sampling",
        {
            "messages": {"temperature": 0.5, "top_p": 0.9},
            "responses": {"temperature": 0.5, "top_p": 0.9},
            "chat": {"temperature": 0.5, "top_p": 0.9},
        },
        {name: lambda sent: (sent["temperature"], sent["top_p"]) for name in ("anthropic", "responses", "chat")},
        (0.5, 0.9),
    ),
    Feature(
        "stop sequences",
        {"messages": {"stop_sequences": ["END"]}, "chat": {"stop": "END"}},
        {"anthropic": key("stop_sequences"), "chat": key("stop"), "responses": lambda _sent: REFUSED},
        ["END"],
        refused={"messages>responses": "stop_sequences", "chat>responses": "stop"},
    ),
    Feature(
        "a seed",
        {"chat": {"seed": 7}},
        refused={"chat": "seed"},
    ),
    Feature("more than one choice", {"chat": {"n": 2}}, refused={"chat": "n"}),
    Feature(
        "log probabilities",
        {"chat": {"logprobs": True}, "responses": {"top_logprobs": 3}},
        refused={"chat": "logprobs", "responses": "top_logprobs"},
    ),
    Feature(
        "a field that nobody knows",
        each(lambda _wire: {"frobnicate": 1}),
        refused=dict.fromkeys(IMAGE, "frobnicate"),
    ),
    Feature(
        "a conversation that the vendor keeps",
        {"responses": {"previous_response_id": "resp_1"}},
        refused={"responses": "previous_response_id"},
    ),
    Feature("a background answer", {"responses": {"background": True}}, refused={"responses": "background"}),
    Feature(
        "a penalty of nothing", {"chat": {"presence_penalty": 0, "n": 1, "tools": []}}, ALL_WORDS, [("user", "Hello.")]
    ),
    Feature(
        "a forced tool",
        {
            "messages": {"tools": [tool("messages")], "tool_choice": {"type": "tool", "name": "read"}},
            "responses": {"tools": [tool("responses")], "tool_choice": {"type": "function", "name": "read"}},
            "chat": {"tools": [tool("chat")], "tool_choice": {"type": "function", "function": {"name": "read"}}},
        },
        {
            "anthropic": lambda sent: sent["tool_choice"]["name"],
            "responses": lambda sent: sent["tool_choice"]["name"],
            "chat": lambda sent: sent["tool_choice"]["function"]["name"],
        },
        "read",
    ),
    Feature(
        "any tool",
        {
            "messages": {"tools": [tool("messages")], "tool_choice": {"type": "any"}},
            "responses": {"tools": [tool("responses")], "tool_choice": "required"},
            "chat": {"tools": [tool("chat")], "tool_choice": "required"},
        },
        {**CHOICE, "anthropic": lambda sent: {"any": "required"}[sent["tool_choice"]["type"]]},
        "required",
    ),
    Feature(
        "one call at a time",
        {
            "messages": {
                "tools": [tool("messages")],
                "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            },
            "responses": {"tools": [tool("responses")], "parallel_tool_calls": False},
            "chat": {"tools": [tool("chat")], "parallel_tool_calls": False},
        },
        {
            "anthropic": lambda sent: not sent["tool_choice"]["disable_parallel_tool_use"],
            "responses": key("parallel_tool_calls"),
            "chat": key("parallel_tool_calls"),
        },
        False,
    ),
    Feature(
        "a vendor's own tool",
        {
            "messages": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            "responses": {"tools": [{"type": "web_search"}]},
            "chat": {"tools": [{"type": "openrouter:web_search"}]},
        },
        refused=dict.fromkeys(IMAGE, "tools.0.type"),
    ),
    Feature(
        "parallel calls and their results",
        each(lambda wire: loop(wire, "one", "two")),
        {
            name: (lambda sent, name=name: [what for _role, what in words(name)(sent)])
            for name in ("anthropic", "responses", "chat")
        },
        [
            *("Hello.", "So.", ("call", "c1", "read", {"path": "a"}), ("call", "c2", "read", {"path": "b"})),
            *(("result", "c1", "one"), ("result", "c2", "two")),
        ],
    ),
    Feature(
        "an image in a result",
        {wire: loop(wire, [TEXT[wire], IMAGE[wire]]) for wire in ("messages", "responses")},
        {
            "anthropic": lambda sent: ALL_WORDS["anthropic"](sent)[-1][1][2],
            "responses": lambda sent: ALL_WORDS["responses"](sent)[-1][1][2],
            # The wire has no place for it there: it stands behind the results, and the result says so.
            "chat": lambda sent: [ALL_WORDS["chat"](sent)[-3][1][2].split("[")[0], ALL_WORDS["chat"](sent)[-1][1]],
        },
        ["Look.", ("image", f"data:image/png;base64,{PNG}")],
    ),
    Feature(
        "a result that is an error",
        {"messages": loop("messages", "no such file", error=True)},
        {name: lambda sent, name=name: ALL_WORDS[name](sent)[-1][1][2] for name in ("responses", "chat")},
        "Error: no such file",
    ),
    Feature(
        "a schema for the answer",
        {
            "messages": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            "responses": {
                "text": {"format": {"type": "json_schema", "name": "answer", "strict": True, "schema": SCHEMA}}
            },
            "chat": {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
                }
            },
        },
        {
            "anthropic": lambda sent: sent["output_config"]["format"]["schema"],
            "responses": lambda sent: sent["text"]["format"]["schema"],
            "chat": lambda sent: sent["response_format"]["json_schema"]["schema"],
        },
        SCHEMA,
    ),
    Feature(
        "the older name of a schema",
        {"messages": {"output_format": {"type": "json_schema", "schema": SCHEMA}}},
        {
            "responses": lambda sent: sent["text"]["format"]["schema"],
            "chat": lambda sent: sent["response_format"]["json_schema"]["schema"],
        },
        SCHEMA,
    ),
    Feature(
        "how deep to think",
        {
            "messages": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
            "responses": {"reasoning": {"effort": "high", "summary": "auto"}},
            "chat": {"reasoning_effort": "high"},
        },
        {
            "anthropic": lambda sent: sent["output_config"]["effort"],
            "responses": lambda sent: sent["reasoning"]["effort"],
            "chat": key("reasoning_effort"),
        },
        "high",
    ),
    Feature(
        "a budget for thinking",
        {
            "messages": {"thinking": {"type": "enabled", "budget_tokens": 450}},
            "chat": {"reasoning": {"max_tokens": 450}},
        },
        {
            "anthropic": lambda sent: sent["output_config"]["effort"],
            "responses": lambda sent: sent["reasoning"]["effort"],
            "chat": key("reasoning_effort"),
        },
        "medium",
    ),
    Feature(
        "who asks",
        {"messages": {"metadata": {"user_id": "u1"}}, "responses": {"user": "u1"}, "chat": {"user": "u1"}},
        {"anthropic": lambda sent: sent["metadata"]["user_id"], "responses": key("user"), "chat": key("user")},
        "u1",
    ),
    Feature(
        "the plain tier",
        {
            "messages": {"service_tier": "standard_only"},
            "responses": {"service_tier": "default"},
            "chat": {"service_tier": "default"},
        },
        {
            "anthropic": lambda sent: {"standard_only": "default"}[sent["service_tier"]],
            "responses": key("service_tier"),
            "chat": key("service_tier"),
        },
        "default",
    ),
    Feature(
        "a tier that costs more",
        {"responses": {"service_tier": "priority"}, "chat": {"service_tier": "priority"}},
        {"responses": key("service_tier"), "chat": key("service_tier")},
        "priority",
        refused={"responses>anthropic": "service_tier", "chat>anthropic": "service_tier"},
    ),
    Feature("fast mode", {"messages": {"speed": "fast"}}, refused={"messages": "speed"}),
    Feature(
        "one key for the cache",
        {"responses": {"prompt_cache_key": "k"}, "chat": {"prompt_cache_key": "k"}},
        {"responses": key("prompt_cache_key"), "chat": lambda _sent: "k", "anthropic": lambda _sent: "k"},
        "k",
    ),
    Feature(
        "an answer to go on with",
        {
            wire: {name: [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "I"}]}
            for wire, name in (("messages", "messages"), ("responses", "input"), ("chat", "messages"))
        },
        refused=dict.fromkeys(IMAGE, "messages"),
    ),
    Feature(
        "no words at all",
        {"messages": {"messages": []}, "chat": {"messages": []}, "responses": {"input": []}},
        refused=dict.fromkeys(IMAGE, "messages"),
    ),
    Feature(
        "a tool in a namespace",
        {"responses": {"tools": [{"type": "namespace", "name": "web", "tools": [tool("responses")]}]}},
        {"anthropic": lambda sent: sent["tools"][0]["name"], "chat": lambda sent: sent["tools"][0]["function"]["name"]},
        "web__read",
    ),
    Feature(
        "a free-form tool",
        {"responses": {"tools": [{"type": "custom", "name": "patch", "description": "Patches."}]}},
        {
            "anthropic": lambda sent: list(sent["tools"][0]["input_schema"]["properties"]),
            "chat": lambda sent: list(sent["tools"][0]["function"]["parameters"]["properties"]),
        },
        ["input"],
    ),
]

ROWS = [
    pytest.param(feature, wire, dialect, id=f"{feature.name}: {wire} to {dialect}")
    for feature in FEATURES
    for wire, dialect in PAIRS
    if wire in feature.said
]


@pytest.mark.parametrize(("feature", "wire", "dialect"), ROWS)
def test_what_is_said_is_heard_or_refused_by_name(feature: Feature, wire: str, dialect: str) -> None:
    crossing = Crossing(
        wire, dialect, model="claude-opus-4-8" if dialect == "anthropic" and "think" in feature.name else "main"
    )
    asked = body(wire, **feature.said[wire])
    param = feature.refused.get(f"{wire}>{dialect}") or feature.refused.get(wire)
    if param is not None:
        with pytest.raises(Unsayable) as refusal:
            crossing.upstream(asked)
        assert refusal.value.param == param
        return
    assert feature.heard[dialect](crossing.upstream(asked)) == feature.means


@pytest.mark.parametrize(
    ("wire", "fields", "told"),
    [
        ("messages", {"cache_control": {"type": "ephemeral"}}, ("cache_control",)),
        ("messages", {"context_management": {"edits": [{"type": "clear_thinking"}]}}, ("context_management",)),
        (
            "messages",
            {"system": [{"type": "text", "text": "x-anthropic-billing-header: cch=1;"}]},
            ("system.0 (billing header)",),
        ),
        ("chat", {"verbosity": "low"}, ("verbosity",)),
        ("responses", {"text": {"verbosity": "low"}, "store": True}, ("store", "text.verbosity")),
    ],
)
def test_what_changes_no_answer_is_left_out_and_told(wire: str, fields: dict[str, Any], told: tuple[str, ...]) -> None:
    dialect = "chat" if wire == "messages" else "anthropic"
    assert Crossing(wire, dialect).read(body(wire, **fields)).left_out == told


@pytest.mark.parametrize("wire", ["messages", "responses", "chat"])
def test_a_program_as_a_model_takes_words_alone(wire: str) -> None:
    crossing = Crossing(wire, "command")
    found = crossing.read(body(wire, temperature=0.5))
    assert (found.request.temperature, found.left_out) == (None, ("temperature",))
    for fields in (user(wire, IMAGE[wire]), {"top_p": 0.5}):
        with pytest.raises(Unsayable):
            crossing.read(body(wire, **fields))


@pytest.mark.parametrize("wire", ["messages", "responses", "chat"])
def test_texts_that_follow_each_other_are_one(wire: str) -> None:
    asked = user(wire, TEXT[wire], TEXT[wire], IMAGE[wire], TEXT[wire])
    (message,) = Crossing(wire, "chat").read(body(wire, **asked)).request.messages
    assert [getattr(part, "text", "an image") for part in message.parts] == ["Look.\nLook.", "an image", "Look."]


QUIRKS: list[tuple[str, dict[str, Any], str]] = [
    ("no_images", user("messages", IMAGE["messages"]), "400 messages"),
    ("no_forced_tool_choice", {"tools": [tool("messages")], "tool_choice": {"type": "any"}}, "400 tool_choice"),
    ("no_temperature", {"temperature": 0.5}, "temperature"),
    ("no_reasoning", {"output_config": {"effort": "high"}}, "reasoning effort"),
]


@pytest.mark.parametrize(("quirk", "fields", "told"), QUIRKS)
def test_what_a_model_is_known_not_to_take_is_not_dropped_in_silence(
    quirk: str, fields: dict[str, Any], told: str
) -> None:
    crossing = Crossing("messages", "chat", quirks=frozenset({quirk}))
    try:
        assert crossing.read(body("messages", **fields)).left_out == (told,)
    except Unsayable as refusal:
        assert f"400 {refusal.param}" == told
