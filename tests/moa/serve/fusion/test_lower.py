"""Server tools out of a body, earlier calls back into it, and how long a model may go on."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from agent.errors import UsageError
from agent.llm.messages import ToolCallPart
from moa.serve.fusion.limits import Limits, Spent, read_limits
from moa.serve.fusion.lower import lower

FUSION = {"type": "openrouter:fusion", "parameters": {"max_tool_calls": 2}}
READ = {
    "chat": {"type": "function", "function": {"name": "read", "parameters": {}}},
    "responses": {"type": "function", "name": "read", "parameters": {}},
    "messages": {"name": "read", "input_schema": {}},
}
WIRES = tuple(READ)


def body(wire: str, *items: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "input" if wire == "responses" else "messages": list(items), **more}


@pytest.mark.parametrize("wire", WIRES)
def test_a_body_without_any_is_the_very_same(wire: str) -> None:
    asked = body(
        wire, {"role": "user", "content": "hi"}, tools=[READ[wire]], plugins=[{"id": "web"}], max_tool_calls=99
    )
    found = lower(wire, asked)
    assert found.body is asked and not found.is_served


@pytest.mark.parametrize("wire", WIRES)
def test_tools_become_functions_and_nothing_else_changes(wire: str) -> None:
    asked = body(
        wire,
        {"role": "user", "content": "hi"},
        tools=[FUSION, READ[wire]],
        plugins=[{"id": "fusion"}, {"id": "web"}],
        top_p=0.5,
    )
    before = copy.deepcopy(asked)
    found = lower(wire, asked, presets=lambda: ("mine",))
    assert asked == before
    assert (
        found.body["tools"][0] == READ[wire] and found.body["plugins"] == [{"id": "web"}] and found.body["top_p"] == 0.5
    )
    made = found.body["tools"][1]
    assert (made.get("function") or made)["name"] == "openrouter_fusion"
    assert [(tool.type, tool.fusion.max_tool_calls) for tool in found.tools] == [("openrouter:fusion", 2)]


@pytest.mark.parametrize(
    ("asked", "fused", "types"),
    [
        ({}, True, ["openrouter:fusion"]),
        ({"plugins": [{"id": "fusion"}]}, False, ["openrouter:fusion"]),
        ({"plugins": [{"id": "fusion", "enabled": False}]}, True, []),
        ({"plugins": [{"id": "fusion", "enabled": False}], "tools": [FUSION]}, False, []),
        (
            {"tools": [{"type": "moa:consult"}, {"type": "openrouter:advisor"}]},
            False,
            ["moa:consult", "openrouter:advisor"],
        ),
        ({"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "x"}]}, False, ["advisor_20260301"]),
    ],
)
def test_which_are_offered(asked: dict[str, Any], fused: bool, types: list[str]) -> None:
    found = lower("chat", body("chat", **asked), fused=fused)
    assert [tool.type for tool in found.tools] == types
    assert "plugins" not in found.body
    inside = lower("chat", body("chat", **asked), fused=fused, inside=True)
    assert not inside.tools and "tools" not in inside.body


@pytest.mark.parametrize(
    ("choice", "wire", "becomes"),
    [
        ("required", "chat", "required"),
        ("auto", "responses", "auto"),
        ({"type": "openrouter:fusion"}, "chat", "required"),
        ({"type": "openrouter:fusion"}, "responses", "required"),
        ({"type": "tool", "name": "advisor"}, "messages", {"type": "any"}),
        ({"type": "tool", "name": "read"}, "messages", {"type": "tool", "name": "read"}),
    ],
)
def test_a_choice_of_a_tool(choice: Any, wire: str, becomes: Any) -> None:
    assert lower(wire, body(wire, tools=[FUSION, READ[wire]], tool_choice=choice)).body["tool_choice"] == becomes
    off = [{"id": "fusion", "enabled": False}]
    assert "tool_choice" not in lower(wire, body(wire, tools=[FUSION], tool_choice=choice, plugins=off)).body


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ([FUSION, FUSION], "tools[1] is openrouter:fusion for the second time"),
        ([{"type": "openrouter:fusion", "model": "x"}], "tools[0].model is not known"),
        ([{"type": "moa:consult", "parameters": {"preset": "nobody"}}], "tools[0].parameters.preset is 'nobody'"),
        ([{"type": "openrouter:advisor"}] * 2, "tools[1].parameters.name is missing"),
        (
            [{"type": "openrouter:advisor", "parameters": {"max_tool_calls": 17}}],
            "tools[0].parameters.max_tool_calls is 17",
        ),
        ([{"type": "openrouter:advisor", "parameters": {"temperature": 3}}], "tools[0].parameters.temperature is 3"),
        ([{"type": "openrouter:advisor", "parameters": {"name": "a/b"}}], "tools[0].parameters.name is 'a/b'"),
        ([{"type": "advisor_20260301", "name": "other", "model": "x"}], "tools[0].name is not advisor"),
        ([{"type": "advisor_20260301", "name": "advisor"}], "tools[0].model is missing"),
        ([{"type": "advisor_20260301", "name": "advisor", "model": "x", "max_uses": 0}], "tools[0].max_uses is 0"),
    ],
)
def test_what_is_wrong_with_a_tool_is_named(tools: list[Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        lower("messages", body("messages", tools=tools), presets=lambda: ("mine",))
    assert words in caught.value.message


def test_several_advisors_have_names_of_their_own() -> None:
    named = [
        {"type": "openrouter:advisor", "parameters": {"name": name, "instructions": f"Be {name}."}}
        for name in ("a", "b")
    ]
    found = lower("chat", body("chat", tools=[*named, {"type": "openrouter:advisor"}]))
    assert [tool.function for tool in found.tools] == [
        "openrouter_advisor__0",
        "openrouter_advisor__1",
        "openrouter_advisor",
    ]
    assert "Be b." in found.tools[1].description and found.tools[1].advisor.forward is False


RESULT = {"status": "ok", "responses": [{"model": "a", "content": "x"}]}


def test_calls_of_earlier_turns_come_back_on_chat() -> None:
    call = {
        "type": "reasoning.server_tool_call", "tool_name": "openrouter:fusion", "arguments": '{"prompt":"why"}',
        "result": json.dumps(RESULT), "tool_call_id": "c1",
    }  # fmt: skip
    thought = {"type": "reasoning.text", "text": "hm"}
    other = {
        "type": "reasoning.server_tool_call",
        "tool_name": "openrouter:datetime",
        "arguments": "{}",
        "result": "now",
    }
    said = {"role": "assistant", "content": "So.", "reasoning_details": [call, thought, other], "name": "kept"}
    found = lower("chat", body("chat", {"role": "user", "content": "q"}, said)).body["messages"]
    function = {"name": "openrouter_fusion", "arguments": '{"prompt":"why"}'}
    assert found[1:] == [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": json.dumps(RESULT)},
        {"role": "assistant", "content": "So.", "name": "kept", "reasoning_details": [thought, other]},
    ]


def test_calls_of_earlier_turns_come_back_on_responses() -> None:
    fused = {
        "type": "openrouter:fusion",
        "id": "f1",
        "status": "completed",
        "responses": RESULT["responses"],
        "sources": [],
    }
    failed = {
        "type": "openrouter:fusion",
        "id": "f2",
        "status": "incomplete",
        "error": "no",
        "failure_reason": "rate_limited",
    }
    advised = {
        "type": "openrouter:advisor",
        "id": "a1",
        "status": "completed",
        "prompt": "p",
        "advice": "Do it.",
        "instance_name": "openrouter_advisor__1",
    }
    found = lower("responses", body("responses", fused, failed, advised)).body["input"]
    assert [(item["type"], item["call_id"]) for item in found] == [
        (kind, id) for id in ("f1", "f2", "a1") for kind in ("function_call", "function_call_output")
    ]
    assert json.loads(found[1]["output"]) == RESULT
    assert json.loads(found[3]["output"]) == {"status": "error", "error": "no", "failure_reason": "rate_limited"}
    assert (found[4]["name"], found[4]["arguments"], found[5]["output"]) == (
        "openrouter_advisor__1",
        '{"prompt": "p"}',
        "Do it.",
    )


def test_calls_of_earlier_turns_come_back_on_messages() -> None:
    def use(id: str) -> dict[str, Any]:
        return {"type": "server_tool_use", "id": id, "name": "advisor", "input": {}}

    def result(id: str, content: Any) -> dict[str, Any]:
        return {"type": "advisor_tool_result", "tool_use_id": id, "content": content}

    blocks = [
        {"type": "text", "text": "Let me ask."}, use("s1"), result("s1", {"type": "advisor_result", "text": "Stop."}),
        {"type": "text", "text": "I see."}, use("s2"), result("s2", {"type": "advisor_tool_result_error", "error_code": "overloaded"}),
        use("s3"), {"type": "tool_use", "id": "t1", "name": "read", "input": {}},
    ]  # fmt: skip
    answer = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}]}
    web = {"role": "assistant", "content": [{"type": "server_tool_use", "id": "w", "name": "web_search", "input": {}}]}
    found = lower("messages", body("messages", {"role": "assistant", "content": blocks}, answer, web)).body["messages"]
    assert [[block["type"] for block in message["content"]] for message in found] == [
        ["text", "tool_use"], ["tool_result"], ["text", "tool_use"], ["tool_result"], ["tool_use"], ["tool_result"], ["server_tool_use"],
    ]  # fmt: skip
    assert found[1]["content"][0]["content"] == "Stop." and "overloaded" in found[3]["content"][0]["content"]
    assert found[4]["content"][0]["name"] == "read" and found[6] is web


# How long


@pytest.mark.parametrize(
    ("wire", "asked", "steps"),
    [
        ("responses", {}, 30),
        ("responses", {"max_tool_calls": 3}, 3),
        ("responses", {"max_tool_calls": 99}, 30),
        ("chat", {"max_tool_calls": 3}, 30),
    ],
)
def test_the_number_of_steps(wire: str, asked: dict[str, Any], steps: int) -> None:
    found = lower(wire, body(wire, tools=[FUSION], **asked))
    assert found.limits == Limits(steps)
    assert ("max_tool_calls" in found.body) == (wire == "chat")
    assert found.limits.reached(Spent(steps=steps), ()) and not found.limits.reached(Spent(steps=steps - 1), ())


CALLS = [(ToolCallPart(id="1", name="openrouter_fusion", arguments="{}"), "openrouter:fusion")]


@pytest.mark.parametrize(
    ("condition", "spent"),
    [
        ({"type": "step_count_is", "step_count": 2}, Spent(steps=2)),
        ({"type": "has_tool_call", "tool_name": "openrouter:fusion"}, Spent()),
        ({"type": "has_tool_call", "name": "openrouter_fusion"}, Spent()),
        ({"type": "max_tokens_used", "max_tokens": 100}, Spent(tokens=100)),
        ({"type": "max_cost", "max_cost_in_dollars": 0.5}, Spent(usd=0.5)),
        ({"type": "finish_reason_is", "finish_reason": "length"}, Spent(finish="length")),
    ],
)
def test_conditions_of_which_any_one_ends_it(condition: dict[str, Any], spent: Spent) -> None:
    never = {"type": "step_count_is", "step_count": 29}
    limits = read_limits({"stop_server_tools_when": [never, condition], "max_tool_calls": 1}, responses=True)
    assert limits.reached(spent, CALLS)
    assert not limits.reached(Spent(steps=1), []), "it stands in place of max_tool_calls"
    assert limits.reached(Spent(steps=30), [])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "stop_server_tools_when is not a list of conditions"),
        ([{"type": "never"}], "stop_server_tools_when[0].type is 'never'"),
        ([{"type": "max_cost"}], "stop_server_tools_when[0].max_cost_in_dollars is missing"),
        ([{"type": "step_count_is", "step_count": 0}], "stop_server_tools_when[0].step_count is 0"),
        ([{"type": "step_count_is", "step_count": 1, "x": 1}], "stop_server_tools_when[0].x is not known"),
    ],
)
def test_a_wrong_condition_is_named(value: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_limits({"stop_server_tools_when": value}, responses=False)
    assert words in caught.value.message
