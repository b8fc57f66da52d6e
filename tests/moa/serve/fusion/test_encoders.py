"""The answer with server tools in it, on each wire, streamed and not: Fusion's events in their order, and what strict clients need."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.llm.errors import Overloaded, StreamBroken
from agent.llm.messages import ToolCallPart, assistant
from agent.llm.stream import Finished, Reply
from moa.serve.fusion.encoders import encoder_for, whole
from moa.serve.fusion.lower import lower
from moa.serve.wires.registry import wire_named
from tests.support.chatbench import calls
from tests.support.fusion import ADVISOR, ASKS, FUSION, FusionBench
from tests.support.script import ANALYSIS
from tests.support.scripted import Line

FIVE = {
    key: ANALYSIS[key] for key in ("consensus", "contradictions", "partial_coverage", "unique_insights", "blind_spots")
}


def streamed(bench: FusionBench, wire: str, *tools: dict[str, Any]) -> list[dict[str, Any]]:
    """The events that a client of this wire gets."""
    body = {"model": "x", "stream_options": {"include_usage": True}}
    encoder = encoder_for(wire, wire_named(wire).encoder("x", body), bench.served)
    data = encoder.start()
    error: Exception | None = None
    try:
        bench.run(bench.prepared(*tools))
    except StreamBroken as broken:
        error = broken
    for event in bench.events:
        data += encoder.end(event.reply, {"cost": 0.5}) if isinstance(event, Finished) else encoder.feed(event)
    if error is not None:
        data += encoder.fail(error)
    lines = [line[6:] for line in data.decode().splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def asked_in_words() -> Reply:
    """A call behind words."""
    return calls(("openrouter_fusion", {"prompt": "Why?"}), text="Let me ask. ")


def test_responses_has_fusions_events_in_their_order() -> None:
    bench = FusionBench([ASKS, "Yes."], {"fake:two": [Overloaded("busy", status=529)], "fake:three": "Three says."})
    members = {**FUSION["parameters"], "analysis_models": ["fake:one", "fake:two", "fake:three"]}
    events = streamed(bench, "responses", {**FUSION, "parameters": members})
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    fusion = [event for event in events if event["type"].startswith("response.fusion_call.")]
    names = [event["type"].removeprefix("response.fusion_call.") for event in fusion]
    assert names[:4] == ["in_progress", "panel.added", "panel.added", "panel.added"]
    assert sorted(names[4:-3]) == ["panel.completed"] * 2 + ["panel.delta"] * 2 + ["panel.failed"]
    assert names[-3:] == ["analysis.in_progress", "analysis.completed", "completed"]
    assert {(event["item_id"], event["output_index"]) for event in fusion} == {("t0", 0)}
    by_name = dict(zip(names, fusion, strict=True))
    failed = by_name["panel.failed"]
    assert (failed["model"], failed["status_code"]) == ("fake:two", 529) and "busy" in failed["error"]
    assert by_name["panel.delta"].keys() >= {"model", "delta"} and by_name["panel.completed"].keys() >= {
        "model",
        "content",
    }
    analysing = by_name["analysis.in_progress"]
    assert analysing["analyst_model"] == analysing["judge_model"] == "fake:judge"
    assert set(by_name["analysis.completed"]["analysis"]) == set(FIVE)
    # Around them an item like any other, first begun and then done, and whole in the response.
    kinds = [event["type"] for event in events]
    assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    item, message = events[-1]["response"]["output"]
    assert (item["type"], item["status"], message["type"]) == ("openrouter:fusion", "completed", "message")
    assert [each["content"] for each in item["responses"]] == ["One says.", "Three says."]
    assert item["failed_models"][0]["model"] == "fake:two"
    done = [event for event in events if event["type"] == "response.output_item.done"]
    assert [event["output_index"] for event in done] == [0, 1] and done[0]["item"] == item
    usage = events[-1]["response"]["usage"]
    assert usage["cost"] == 0.5 and usage["server_tool_use_details"]["tool_calls_executed"] == 1


def test_responses_without_analysis() -> None:
    bench = FusionBench([ASKS, "Yes."], {"fake:judge": [Overloaded("busy")]})
    events = streamed(bench, "responses", FUSION)
    names = [event["type"].removeprefix("response.fusion_call.") for event in events if "fusion_call" in event["type"]]
    assert names[-2:] == ["analysis.in_progress", "completed"]
    item = events[-1]["response"]["output"][0]
    assert item["failure_reason"] == "judge_upstream_error" and "analysis" not in item


def test_thoughts_are_told_apart() -> None:
    from agent.llm.stream import ReasoningDelta
    from moa.serve.fusion.called import CallStarted, MemberDelta

    bench = FusionBench([])
    encoder = encoder_for("responses", wire_named("responses").encoder("x", {}), bench.served)
    offered = bench.prepared(FUSION).lowered.tools[0]
    call = ToolCallPart(id="c1", name="openrouter_fusion", arguments="{}")
    encoder.feed(CallStarted(offered, call))
    said = encoder.feed(MemberDelta("c1", "a/b", "hm", thought=True)) + encoder.feed(ReasoningDelta("own"))
    assert b"event: response.fusion_call.panel.reasoning.delta" in said and b"reasoning_summary_text.delta" in said


def test_chat_brings_the_call_as_reasoning_details() -> None:
    bench = FusionBench([asked_in_words(), "Yes."])
    chunks = streamed(bench, "chat", FUSION)
    assert len({(chunk["id"], chunk["object"], chunk["model"]) for chunk in chunks}) == 1
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Let me ask. Yes."
    (detail,) = [each for delta in deltas for each in delta.get("reasoning_details", ())]
    assert (detail["type"], detail["tool_name"], detail["tool_call_id"]) == (
        "reasoning.server_tool_call",
        "openrouter:fusion",
        "t0",
    )
    assert json.loads(detail["arguments"]) == {"prompt": "Why?"} and json.loads(detail["result"])["status"] == "ok"
    finishes = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert finishes == ["stop"]
    assert chunks[-1]["usage"]["server_tool_use_details"]["tool_calls_requested"] == 1
    # What a client keeps comes back as the call that it was.
    kept = {"role": "assistant", "content": "Let me ask. Yes.", "reasoning_details": [detail]}
    lowered = lower("chat", {"messages": [kept]}).body["messages"]
    assert [message["role"] for message in lowered] == ["assistant", "tool", "assistant"]


@pytest.mark.parametrize("tool", [FUSION, ADVISOR])
def test_messages_has_blocks_one_after_the_other(tool: dict[str, Any]) -> None:
    name = "openrouter_fusion" if tool is FUSION else "advisor"
    outer: list[Line] = [calls((name, {}), text="Let me ask. "), "Yes."]
    bench = FusionBench(outer)
    events = streamed(bench, "messages", tool)
    open_block: int | None = None
    blocks: list[dict[str, Any]] = []
    for event in events:
        if event["type"] == "content_block_start":
            assert open_block is None and event["index"] == len(blocks)
            open_block = event["index"]
            blocks.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            assert event["index"] == open_block
            blocks[-1]["text"] += event["delta"].get("text", "")
        elif event["type"] == "content_block_stop":
            assert event["index"] == open_block
            open_block = None
    assert open_block is None and [event["type"] for event in events].count("message_start") == 1
    assert events[-1]["type"] == "message_stop"
    assert [block["type"] for block in blocks] == ["text", "server_tool_use", f"{name}_tool_result", "text"]
    assert [block["text"] for block in blocks if block["type"] == "text"] == ["Let me ask. ", "Yes."]
    assert blocks[1]["id"] == blocks[2]["tool_use_id"]
    expected = "ok" if tool is FUSION else "advisor_result"
    assert expected in (blocks[2]["content"].get("status"), blocks[2]["content"].get("type"))
    lowered = lower("messages", {"messages": [{"role": "assistant", "content": blocks}]}).body["messages"]
    assert [message["role"] for message in lowered] == ["assistant", "user", "assistant"]


@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
def test_an_answer_that_breaks_behind_a_tool_ends_with_the_wires_error(wire: str) -> None:
    tool = ADVISOR if wire == "messages" else FUSION
    name = "advisor" if wire == "messages" else "openrouter_fusion"
    bench = FusionBench([calls((name, {})), StreamBroken("cut off")])
    last = streamed(bench, wire, tool)[-1]
    assert (last["type"] if wire != "chat" else last["choices"][0]["finish_reason"]) == {
        "chat": "error", "responses": "response.failed", "messages": "error",
    }[wire]  # fmt: skip
    if wire == "responses":
        assert [item["type"] for item in last["response"]["output"]] == ["openrouter:fusion"]


@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
def test_an_answer_that_is_not_streamed(wire: str) -> None:
    bench = FusionBench([asked_in_words(), "Yes."])
    reply = bench.run(bench.prepared(FUSION))
    answer = whole(wire, wire_named(wire).whole(reply, "x", {}, usage=bench.served.usage()), bench.served)
    if wire == "chat":
        message = answer["choices"][0]["message"]
        assert (message["content"], message["reasoning_details"][0]["tool_name"]) == (
            "Let me ask. Yes.",
            "openrouter:fusion",
        )
        assert answer["usage"]["server_tool_use_details"]["tool_calls_executed"] == 1
    elif wire == "responses":
        assert [item["type"] for item in answer["output"]][:1] == ["openrouter:fusion"]
        assert answer["output"][0]["status"] == "completed"
    else:
        types = [block["type"] for block in answer["content"]]
        at = types.index("server_tool_use")
        assert types[at : at + 2] == ["server_tool_use", "openrouter_fusion_tool_result"]
        assert types[0] == "text" and types[-1] == "text"


def test_a_reply_that_calls_the_clients_tools_too() -> None:
    both = calls(("openrouter_fusion", {"prompt": "Why?"}), ("read", {"path": "a"}))
    bench = FusionBench([both])
    events = streamed(bench, "responses", FUSION)
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["openrouter:fusion", "function_call"]
    done = [event["item"]["type"] for event in events if event["type"] == "response.output_item.done"]
    assert done == ["openrouter:fusion", "function_call"], "the server's first"
    chat = FusionBench([Reply(message=assistant("", *both.message.tool_calls), finish="tool_calls", cost_nano=1)])
    chunks = streamed(chat, "chat", FUSION)
    (call,) = [
        call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls", ())
    ]
    assert call["function"] == {"name": "read", "arguments": '{"path": "a"}'}
