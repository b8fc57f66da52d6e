"""The shapes in which real servers send calls, thinking and ends: one table for each, over all dialects."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from agent.llm import errors
from agent.llm.answers.calls import NINE, fit_ids
from agent.llm.answers.ends import finish_reason
from agent.llm.dialects.anthropic import AnthropicDialect
from agent.llm.dialects.chat import ChatDialect
from agent.llm.dialects.responses import ResponsesDialect
from agent.llm.messages import ToolCallPart, assistant, tool_result, user
from agent.llm.models.endpoint import WELL_KNOWN
from agent.llm.models.quirks import known
from agent.llm.net.counting_decoder import Overheard
from agent.llm.request import ModelRef, Request
from agent.llm.stream import ReasoningDelta, Reply, StreamEvent, TextDelta

ENDPOINT = WELL_KNOWN["openrouter"]
REQUEST = Request(ModelRef("openrouter", "m"), (user("hi"),))


def read(
    payloads: Iterable[dict[str, Any]], dialect: Any = None, request: Request = REQUEST
) -> tuple[list[StreamEvent], Reply]:
    decoder = Overheard((dialect or ChatDialect()).decoder(request, ENDPOINT))
    events = [event for payload in payloads for event in decoder.feed("message", json.dumps(payload))]
    return events, decoder.finish()


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "x", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def call(arguments: Any, name: str | None = "shell", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def calls(*pieces: dict[str, Any], finish: str = "tool_calls") -> list[dict[str, Any]]:
    return [*(delta(tool_calls=[piece]) for piece in pieces), delta(finish)]


A, B = '{"command": "a"}', '{"command": "b"}'
BOTH = [("shell", A), ("shell", B)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        # Gemini: each call whole, without an index or an id, or all with index 0.
        (calls(call(A, index=None, id=""), call(B, index=None, id="")), BOTH),
        (calls(call(A), call(B)), BOTH),
        (calls(call(A, index=0), call(B, index=0)), BOTH),
        (calls(call(A, index=0, id="x"), call(B, index=0, id="x")), BOTH),
        ([delta(tool_calls=[call(A, index=0), call(B, index=0)]), delta("stop")], BOTH),
        ([delta(tool_calls=[call(A), call(B)]), delta("tool_calls")], BOTH),
        # A name only once, then whole arguments twice.
        (calls(call("", index=0, id="t1"), call(A, "", index=0), call(B, "", index=0)), BOTH),
        # A new id begins a new call, whatever the index says.
        (calls(call("", index=0, id="1"), call(A, None, index=0), call("", index=0, id="2"), call(B, None, index=0)), BOTH),
        # In pieces, without an index.
        (calls(call('{"command"'), call(': "a"}', None), call('{"command":', "shell"), call(' "b"}', None)), [("shell", A), ("shell", '{"command": "b"}')]),
        (calls(call("", "ls"), call(A, "shell")), [("ls", "{}"), ("shell", A)]),
        # Several objects in one string.
        (calls(call(A + B, index=0, id="1")), BOTH),
        (calls(call(f"{A}\n{B}", index=0, id="1")), BOTH),
        (calls(call(f"{{}}{A}", index=0, id="1")), [("shell", A)]),
        # An empty object as a placeholder, and a call that is sent once more at the end.
        (calls(call("{}", index=0, id="1"), call(A, None, index=0)), [("shell", A)]),
        (calls(call(A, index=0, id="1"), call(A, index=0, id="1")), [("shell", A)]),
        (calls(call(A, index=0, id="1"), call("", index=0, id="1")), [("shell", A)]),
        # Names repeated with each piece, arguments as an object, the call without `function`, the older `function_call`.
        (calls(call('{"command"', index=0, id="1"), call(': "a"}', index=0)), [("shell", A)]),
        (calls(call({"command": "a"}, index=0)), [("shell", A)]),
        ([delta(tool_calls=[{"index": 0, "id": "1", "name": "shell", "arguments": A}]), delta("tool_calls")], [("shell", A)]),
        ([delta(function_call={"name": "shell", "arguments": '{"command"'}), delta(function_call={"arguments": ': "a"}'}), delta("function_call")], [("shell", A)]),
        ([delta(tool_calls=call(A)), delta("tool_calls")], [("shell", A)]),
        # What can't be told apart stays one text, which the tool refuses in words that the model sees.
        (calls(call(A, index=0, id="1"), call(" and more", None, index=0)), [("shell", f"{A} and more")]),
    ],
)  # fmt: skip
def test_calls_in_every_shape(stream: list[dict[str, Any]], expected: list[tuple[str, str]]) -> None:
    events, reply = read(stream)
    assert [(part.name, part.arguments) for part in reply.message.tool_calls] == expected
    ids = [part.id for part in reply.message.tool_calls]
    assert len(set(ids)) == len(ids)
    assert reply.finish == "tool_calls"
    assert events


def test_a_whole_body_has_its_calls_too() -> None:
    choice = {"message": {"tool_calls": [call(A, index=0), call(B, index=0)]}, "finish_reason": "tool_calls"}
    decoder = ChatDialect().decoder(REQUEST, ENDPOINT)
    decoder.feed_body(json.dumps({"choices": [choice]}).encode())
    assert [part.arguments for part in decoder.finish().message.tool_calls] == [A, B]


def start(index: int | None, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index: int | None, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def tool(index: int | None, arguments: str, id: str = "t") -> list[dict[str, Any]]:
    begun = start(index, type="tool_use", id=id, name="shell", input={})
    return [begun, piece(index, "input_json_delta", partial_json=arguments)]


END = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}


@pytest.mark.parametrize(
    ("blocks", "text", "arguments"),
    [
        # All blocks share one index, or have none.
        ([start(0, type="text", text=""), piece(0, "text_delta", text="go"), *tool(0, A)], "go", [A]),
        ([start(None, type="text", text=""), piece(None, "text_delta", text="go"), *tool(None, A)], "go", [A]),
        ([*tool(0, A, "1"), *tool(0, B, "2")], "", [A, B]),
        ([*tool(0, A, "1"), start(0, type="text", text=""), piece(0, "text_delta", text="go")], "go", [A]),
        # A delta of another kind than its block, or without a start.
        ([start(0, type="thinking", thinking=""), piece(0, "text_delta", text="go"), *tool(1, A)], "go", [A]),
        ([piece(0, "text_delta", text="go"), *tool(1, A)], "go", [A]),
        ([start(0, type="tool_use", id="1", name="shell", input={}), piece(5, "input_json_delta", partial_json=A)], "", [A]),
        # The arguments in the start, and once more in pieces.
        ([start(0, type="tool_use", id="1", name="shell", input={"command": "a"})], "", [A]),
        ([start(0, type="tool_use", id="1", name="shell", input={"command": "a"}), piece(0, "input_json_delta", partial_json=A)], "", [A]),
        # The vendor's own tools are not ours.
        ([start(0, type="server_tool_use", id="s", name="web_search", input={}), piece(0, "input_json_delta", partial_json='{"q": 1}'), *tool(1, A)], "", [A]),
    ],
)  # fmt: skip
def test_a_start_begins_a_block_and_so_does_another_kind(
    blocks: list[dict[str, Any]], text: str, arguments: list[str]
) -> None:
    _, reply = read([*blocks, END], AnthropicDialect())
    assert reply.message.text == text
    assert [part.arguments for part in reply.message.tool_calls] == arguments


def test_ids_pass_at_mistral_whoever_made_them() -> None:
    _, reply = read(calls(call(A), call(B)))
    ours = [part.id for part in reply.message.tool_calls]
    assert all(NINE.pattern.fullmatch(id) for id in ours)
    theirs = [
        ToolCallPart(id=id, name="shell", arguments=A)
        for id in ("call_abc123", "functions.shell:0", "x" * 60, "Ab3dE9xYz")
    ]
    history = [user("hi"), assistant("", *theirs), *(tool_result(part, "ok") for part in theirs)]
    request = Request(ModelRef("mistral", "m"), tuple(history))
    mistral = WELL_KNOWN["openrouter"].with_(name="mistral", base_url="https://api.mistral.ai/v1")
    body = ChatDialect().encode(request, mistral, known(mistral, "m"))
    sent = [found["id"] for found in body["messages"][1]["tool_calls"]]
    assert all(NINE.pattern.fullmatch(id) for id in sent)
    assert sent[-1] == "Ab3dE9xYz"
    assert len(set(sent)) == 4
    assert [message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"] == sent
    assert [NINE.fit(part.id) for part in theirs] == sent, "always the same from the same"
    elsewhere = ChatDialect().encode(request, ENDPOINT, frozenset())
    assert [found["id"] for found in elsewhere["messages"][1]["tool_calls"]] == [part.id for part in theirs]
    assert fit_ids(history[:1], NINE)[0] is history[0]


def test_anthropic_gets_ids_that_it_takes() -> None:
    part = ToolCallPart(id="functions.shell:0", name="shell", arguments=A)
    request = Request(ModelRef("anthropic", "m"), (user("hi"), assistant("", part), tool_result(part, "ok")))
    messages = AnthropicDialect().encode(request, WELL_KNOWN["anthropic"], frozenset())["messages"]
    used, result = messages[1]["content"][0]["id"], messages[2]["content"][0]["tool_use_id"]
    assert used == result
    assert used.isalnum()


@pytest.mark.parametrize(
    ("pieces", "thought", "text"),
    [
        ([[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}], [{"type": "text", "text": "yes"}]], "hm", "yes"),
        ([[{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]], "hm", "yes"),
        ([[{"type": "reasoning", "text": "hm"}], "yes"], "hm", "yes"),
        (["<think>", "secret plan", "\n</think>\n\nThe answer is 4."], "secret plan\n", "The answer is 4."),
        (["<th", "ink>a", "b</thi", "nk>", "\n\n", "yes"], "ab", "yes"),
        (["\n <think>a</think><think>b</think>yes"], "ab", "yes"),
        (["<THINK>a</THINK>yes"], "a", "yes"),
        (["[THINK]a[/THINK]yes"], "a", "yes"),
        (["◁think▷a◁/think▷yes"], "a", "yes"),
        # The opening tag was in the prompt: the end alone is marked.
        (["secret plan", "\n</think>\n\nHello."], "secret plan", "Hello."),
        # An answer may speak of tags.
        (["The tag <think> opens"], "", "The tag <think> opens"),
        (["<thinner> is no tag"], "", "<thinner> is no tag"),
        (["```\n</think>\n```\n"], "", "```\n</think>\n```\n"),
        (["It ends with </think> there."], "", "It ends with </think> there."),
        (["<"], "", "<"),
    ],
)  # fmt: skip
def test_thinking_within_the_answer(pieces: list[Any], thought: str, text: str) -> None:
    events, reply = read([*(delta(content=piece) for piece in pieces), delta("stop")])
    assert (reply.message.reasoning, reply.message.text) == (thought, text)
    shown = "".join(event.text for event in events if isinstance(event, TextDelta))
    if thought != "secret plan" and text != "<":
        assert shown == text
        assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == thought


def test_an_answer_of_thoughts_alone_is_none() -> None:
    for content in ("<think>secret plan</think>", "<think>secret plan", "secret plan\n</think>\n"):
        with pytest.raises(errors.EmptyAnswer) as empty:
            read([delta(content=content), delta("stop")])
        assert empty.value.partial is not None
        assert "secret plan" in empty.value.partial.reasoning


@pytest.mark.parametrize(
    ("dialect", "payload"),
    [
        (ChatDialect(), delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "x"}])),
        (ChatDialect(), delta(something_new="x")),
        (AnthropicDialect(), piece(0, "signature_delta", signature="x")),
        (AnthropicDialect(), start(0, type="redacted_thinking", data="x")),
        (AnthropicDialect(), piece(0, "something_new", data="x")),
        (ResponsesDialect(), {"type": "response.something.delta", "delta": "x"}),
    ],
)
def test_whatever_is_said_is_life(dialect: Any, payload: dict[str, Any]) -> None:
    heard = Overheard(dialect.decoder(REQUEST, ENDPOINT))
    assert heard.feed("message", json.dumps(payload)) == [], "and is not shown"
    assert heard.events == 1
    for nothing in (delta(content=""), delta(role="assistant"), {"type": "ping"}):
        heard.feed("message", json.dumps(nothing))
    assert heard.events == 1


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *((word, "stop") for word in ("stop", "STOP", "end_turn", "stop_sequence", "eos", "completed")),
        *((word, "tool_calls") for word in ("tool_calls", "tool_use", "function_call")),
        *((word, "length") for word in ("length", "max_tokens", "MAX_TOKENS", "model_length", "FINISH_REASON_MAX_TOKENS", "model_context_window_exceeded")),
        *((word, "refusal") for word in ("content_filter", "refusal", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "sensitive", "BLOCKLIST", "SPII", "guardrail_intervened")),
        *((word, None) for word in ("error", "network_error", "insufficient_system_resource", "aborted", "cancelled", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "engine_overloaded", "timeout")),
        *((word, "unknown") for word in ("LANGUAGE", "OTHER", "banana", "repetition", "future_reason")),
    ],
)  # fmt: skip
def test_how_an_answer_ends(word: str, expected: str | None) -> None:
    assert finish_reason(word) == expected
    stream = [delta(content="half"), delta(word)]
    # Nobody knows the word, or the call that it ended with did not come.
    if expected in (None, "unknown", "tool_calls"):
        with pytest.raises(errors.StreamBroken, match=word) as broken:
            read(stream)
        assert broken.value.partial is not None
        assert broken.value.partial.text == "half"
    elif expected == "refusal":
        with pytest.raises(errors.Refused, match=word) as cut:
            read(stream)
        assert cut.value.cut
        assert cut.value.partial is not None
        assert cut.value.partial.text == "half"
        with pytest.raises(errors.Refused, match=word) as silent:
            read([delta(word)])
        assert not silent.value.cut
        assert silent.value.remedy
    else:
        _, reply = read(stream)
        assert (reply.finish, reply.message.incomplete) == (expected, expected == "length")


def test_an_end_that_nobody_knows_is_one_where_the_calls_are_whole() -> None:
    _, reply = read(calls(call(A), call(B), finish="banana"))
    assert (reply.finish, len(reply.message.tool_calls)) == ("tool_calls", 2)
    with pytest.raises(errors.StreamBroken, match="banana"):
        read(calls(call(A), call('{"comm'), finish="banana"))


def test_a_gateways_stop_is_what_the_provider_called_it() -> None:
    def ended(native: str) -> Reply:
        last = delta("stop")
        last["choices"][0]["native_finish_reason"] = native
        return read([delta(content="half"), last])[1]

    assert ended("STOP").finish == "stop"
    assert ended("anything").finish == "stop"
    assert ended("MAX_TOKENS").finish == "length"
    with pytest.raises(errors.StreamBroken, match="insufficient_system_resource"):
        ended("insufficient_system_resource")
    with pytest.raises(errors.Refused, match="SAFETY"):
        ended("SAFETY")


def test_a_refusal_in_words_has_them() -> None:
    with pytest.raises(errors.Refused, match=r"I can't help with that\.") as refused:
        read([delta(refusal="I can't "), delta(refusal="help with that."), delta("stop")])
    assert not refused.value.cut
    choice = {
        "message": {"content": None},
        "finish_reason": "content_filter",
        "content_filter_results": {"hate": {"filtered": True}},
    }
    decoder = ChatDialect().decoder(REQUEST, ENDPOINT)
    decoder.feed_body(json.dumps({"choices": [choice]}).encode())
    with pytest.raises(errors.Refused, match="hate"):
        decoder.finish()
    details = {"type": "refusal", "category": "bio", "explanation": "This is about pathogens."}
    end = {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": details}}
    with pytest.raises(errors.Refused, match="about pathogens"):
        read([end], AnthropicDialect())
