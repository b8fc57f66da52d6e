"""The model that answers and the tools that run beside it, over scripted models: who is asked what, in which order, and what it comes to."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agent.llm.accounting import CallContext
from agent.llm.errors import Overloaded, PaymentRequired, RateLimited
from agent.llm.request import Request
from agent.llm.stream import Finished, TextDelta, ToolCallDelta
from moa.serve.fusion.called import (
    AnalysisStarted,
    CallFinished,
    CallStarted,
    MemberAdded,
    MemberCompleted,
    MemberDelta,
    MemberFailed,
)
from tests.support.chatbench import calls
from tests.support.fusion import ADVISED, ADVISOR, ASKS, FUSION, OUTER, FusionBench
from tests.support.scripted import After


def test_the_model_asks_the_panel_and_writes_from_what_it_says() -> None:
    bench = FusionBench([ASKS, "Yes."])
    reply = bench.run(bench.prepared(FUSION), required=True)
    assert (reply.message.text, reply.finish, reply.message.tool_calls) == ("Yes.", "stop", ())
    first, second = bench.to("outer")
    assert (first.tool_choice, second.tool_choice) == ("required", "auto"), "what was required has happened"
    assert second.messages[: len(first.messages)] == first.messages
    result = json.loads(second.messages[-1].text)
    assert result["status"] == "ok" and [each["content"] for each in result["responses"]] == ["One says.", "Two says."]
    assert second.messages[-2].tool_calls[0].name == "openrouter_fusion"
    # Members answer the prompt, in the light of the conversation and of the assistant's own instructions, as long as they like.
    asked = bench.to("one")[0]
    assert "Why?" in (asked.tail or "") and "Should we?" in str(asked.messages) and "Be kind." in str(asked.messages)
    assert (asked.max_tokens, asked.temperature, bench.to("judge")[0].temperature) == (16_000, None, 0.0)
    assert sorted({context.purpose for context in bench.client.contexts}) == ["aggregator", "main", "reference"]
    assert bench.served.usage() == {
        "server_tool_use_details": {"tool_calls_requested": 1, "tool_calls_executed": 1, "web_search_requests": 0},
        "server_tool_use": {"web_search_requests": 0},
    }
    assert reply.cost_nano == 1_000 and reply.usage is not None and reply.usage.completion == 20


def test_the_events_come_in_fusions_order() -> None:
    bench = FusionBench([ASKS, "Yes."], {"fake:two": [Overloaded("too busy", status=529)], "fake:three": "Three says."})
    more = {**FUSION["parameters"], "analysis_models": ["fake:one", "fake:two", "fake:three"]}
    bench.run(bench.prepared({**FUSION, "parameters": more}))
    kinds = [
        type(event)
        for event in bench.of(
            CallStarted, MemberAdded, MemberDelta, MemberCompleted, MemberFailed, AnalysisStarted, CallFinished
        )
    ]
    assert kinds[:4] == [CallStarted, MemberAdded, MemberAdded, MemberAdded]
    assert kinds[-2:] == [AnalysisStarted, CallFinished]
    assert sorted(kind.__name__ for kind in kinds[4:-2]) == ["MemberCompleted"] * 2 + ["MemberDelta"] * 2 + [
        "MemberFailed"
    ]
    (failed,) = bench.of(MemberFailed)
    assert (failed.model, failed.status) == ("fake:two", 529) and "too busy" in failed.error
    assert {(event.model, event.text) for event in bench.of(MemberCompleted)} == {
        ("fake:one", "One says."),
        ("fake:three", "Three says."),
    }


def test_a_second_call_within_one_turn_is_capped() -> None:
    bench = FusionBench([ASKS, ASKS, "Yes."])
    bench.run(bench.prepared(FUSION))
    assert len(bench.to("one")) == 1
    assert json.loads(bench.to("outer")[2].messages[-1].text)["failure_reason"] == "fusion_invocation_capped"


@pytest.mark.parametrize(("last", "capped"), [(None, True), ("And now?", False)])
def test_the_turn_goes_on_over_a_clients_own_tools(last: str | None, capped: bool) -> None:
    detail = {
        "type": "reasoning.server_tool_call",
        "tool_name": "openrouter:fusion",
        "arguments": "{}",
        "result": "{}",
        "tool_call_id": "c",
    }
    read = {"id": "t1", "type": "function", "function": {"name": "read", "arguments": "{}"}}
    said = [
        {"role": "user", "content": "Should we?"},
        {"role": "assistant", "content": "", "tool_calls": [read], "reasoning_details": [detail]},
        {"role": "tool", "tool_call_id": "t1", "content": "done"},
    ]  # fmt: skip
    if last is not None:
        said += [{"role": "assistant", "content": "Well."}, {"role": "user", "content": last}]
    bench = FusionBench([ASKS, "Yes."])
    bench.run(bench.prepared(FUSION, messages=said))
    assert len(bench.to("one")) == (0 if capped else 1)
    assert ("fusion_invocation_capped" in bench.to("outer")[1].messages[-1].text) is capped


def test_the_servers_tools_run_first_and_the_clients_are_handed_over() -> None:
    both = calls(
        ("read", {"path": "a"}), ("openrouter_fusion", {"prompt": "Why?"}), ("read", {"path": "b"}), text="Let me look."
    )
    deltas = [
        ToolCallDelta(0, "read", '{"path": '), ToolCallDelta(1, "openrouter_fusion", "{}"), ToolCallDelta(0, None, '"a"}'),
        ToolCallDelta(2, "read", '{"path": "b"}'),
    ]  # fmt: skip
    bench = FusionBench([both])
    stream_of = bench.client.stream

    async def with_deltas(request: Request, context: CallContext, *, hold: Any = None) -> Any:
        async for event in stream_of(request, context, hold=hold):
            if isinstance(event, Finished) and request.model == OUTER:
                for delta in deltas:
                    yield delta
            yield event

    bench.client.stream = with_deltas  # type: ignore[assignment, method-assign]
    reply = bench.run(bench.prepared(FUSION))
    assert len(bench.to("outer")) == 1 and reply.finish == "tool_calls"
    assert [(call.name, json.loads(call.arguments)) for call in reply.message.tool_calls] == [
        ("read", {"path": "a"}),
        ("read", {"path": "b"}),
    ]
    handed = bench.of(ToolCallDelta)
    assert handed == [
        ToolCallDelta(0, "read", '{"path": '),
        ToolCallDelta(0, None, '"a"}'),
        ToolCallDelta(1, "read", '{"path": "b"}'),
    ]
    order = [type(event) for event in bench.of(TextDelta, CallFinished, ToolCallDelta)]
    assert order == [TextDelta, CallFinished, *[ToolCallDelta] * 3]
    assert bench.served.calls[0].ok


def test_a_limit_ends_it_with_a_closing_call_without_tools() -> None:
    asks = calls(("moa_consult", {"question": "Why?"}))
    bench = FusionBench([asks])
    prepared = bench.prepared(
        {"type": "moa:consult"}, stop_server_tools_when=[{"type": "step_count_is", "step_count": 2}]
    )
    reply = bench.run(prepared)
    assert [request.tool_choice for request in bench.to("outer")] == ["auto", "auto", "none"]
    assert reply.message.tool_calls == () and len(bench.served.calls) == 2, "who calls a tool all the same gets none"


def test_an_advisor_is_the_users_panel() -> None:
    bench = FusionBench([ADVISED, ADVISED, "Done."])
    bench.run(bench.prepared(ADVISOR, wire="messages"))
    assert [request.model.model for request in bench.client.requests] == [
        "outer",
        "one",
        "two",
        "judge",
        "outer",
        "outer",
    ]
    first, second = bench.served.calls
    assert first.ok and "line seven is odd" in first.text
    assert first.blocks() == (
        {"type": "server_tool_use", "id": "t0", "name": "advisor", "input": {}},
        {
            "type": "advisor_tool_result",
            "tool_use_id": "t0",
            "content": {"type": "advisor_result", "text": first.text},
        },
    )
    assert second.blocks()[1]["content"] == {"type": "advisor_tool_result_error", "error_code": "max_uses_exceeded"}
    assert "Should we?" in str(bench.to("one")[0].messages)


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([RateLimited("x", status=429), RateLimited("x", status=429)], "too_many_requests"),
        ([Overloaded("x"), Overloaded("x")], "overloaded"),
        ([Overloaded("x"), PaymentRequired("x", status=402)], "unavailable"),
    ],
)
def test_an_advisor_that_nobody_is(errors: list[Exception], code: str) -> None:
    bench = FusionBench([ADVISED, "Alone."], {"fake:one": [errors[0]], "fake:two": [errors[1]]})
    bench.run(bench.prepared(ADVISOR, wire="messages"))
    assert bench.served.calls[0].blocks()[1]["content"] == {"type": "advisor_tool_result_error", "error_code": code}
    assert bench.to("outer")[1].messages[-1].is_error


@pytest.mark.parametrize(("forward", "sees"), [(None, False), (False, False), (True, True)])
def test_openrouters_advisor_sees_what_it_is_asked(forward: bool | None, sees: bool) -> None:
    bench = FusionBench([calls(("openrouter_advisor", {"prompt": "Why?"})), "Done."])
    parameters = {
        "model": "a/b",
        "instructions": "Be strict.",
        "forward_transcript": forward,
        "max_completion_tokens": 40,
    }
    bench.run(bench.prepared({"type": "openrouter:advisor", "parameters": parameters}))
    asked = bench.to("one")[0]
    assert "Why?" in (asked.tail or "") and "Be strict." in str(asked.messages)
    assert ("Should we?" in str(asked.messages)) is sees
    item = bench.served.calls[0].item()
    assert (item["type"], item["status"], item["prompt"], item["model"]) == (
        "openrouter:advisor",
        "completed",
        "Why?",
        "a/b",
    )
    assert len(item["advice"].split()) < 60


def test_a_silent_panel_says_so() -> None:
    bench = FusionBench(
        [calls(("moa_consult", {"question": "Why?"})), "Done."],
        {"fake:one": "NOTHING", "fake:two": "NOTHING"},
    )
    bench.run(bench.prepared({"type": "moa:consult", "parameters": {"preset": "p"}}))
    assert bench.served.calls[0].item() == {
        "type": "moa:consult", "id": "t0", "status": "completed", "question": "Why?", "advice": "The panel has nothing to add.",
    }  # fmt: skip


def test_the_reply_of_one_call_is_passed_on_as_it_came() -> None:
    bench = FusionBench(["No need."])
    reply = bench.run(bench.prepared(FUSION))
    assert reply.message.text == "No need." and bench.of(CallStarted) == [] and bench.served.calls == []


def test_leaving_stops_the_panel() -> None:
    at_work: list[Request] = []

    both = asyncio.Event()

    def slow(request: Request) -> After:
        at_work.append(request)
        if len(at_work) == 2:
            both.set()
        return After(60, "late")

    bench = FusionBench([ASKS, "Yes."], {"fake:one": slow, "fake:two": slow})

    async def leave() -> None:
        task = asyncio.create_task(bench.answer(bench.prepared(FUSION)))
        await both.wait()
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(asyncio.wait_for(leave(), 10))
    assert bench.client.cancelled == 2
