"""Tool calls through a JSON schema: what the model is shown, and how its two forms are read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm import errors
from agent.llm.dialects.chat import ChatDialect
from agent.llm.dialects.emulate import emulate
from agent.llm.dialects.emulate_decoder import EmulatedDecoder, Form
from agent.llm.messages import Message, ToolCallPart, assistant, system, tool_result, user
from agent.llm.models.endpoint import WELL_KNOWN
from agent.llm.request import ModelRef, Request, Schema, ToolSpec
from agent.llm.stream import Reply, TextDelta, ToolCallDelta

READ = ToolSpec(
    "read",
    "Read a file.",
    {
        "type": "object",
        "properties": {"path": {"type": "string", "description": "where"}, "offset": {"type": "integer"}},
        "required": ["path"],
    },
)
PLACE = ToolSpec(
    "place",
    "Go there.",
    {
        "type": "object",
        "properties": {"where": {"$ref": "#/$defs/Where"}},
        "required": ["where"],
        "$defs": {
            "Where": {"type": "object", "properties": {"x": {"type": "number"}, "up": {"$ref": "#/$defs/Where"}}}
        },
    },
)
CALL = ToolCallPart(id="c1", name="read", arguments='{ "path":"a" }')


def request(*messages: Message, **options: Any) -> Request:
    options = {"tools": (READ, PLACE), **options}
    return Request(ModelRef("local", "smollm2"), messages or (system("Be brief."), user("Read a.")), **options)


def decoder(asked: Request) -> EmulatedDecoder:
    local = WELL_KNOWN["local"]
    return EmulatedDecoder(ChatDialect().decoder(emulate(asked), local), asked)


def answer(
    text: str, finish: str | None = "stop", asked: Request | None = None, size: int = 3
) -> tuple[list[Any], Reply]:
    """The model's text in pieces of `size` characters."""
    decoding = decoder(asked or request())
    events: list[Any] = []
    for at in range(0, len(text), size):
        chunk = {"choices": [{"delta": {"content": text[at : at + size]}}]}
        events += decoding.feed("message", json.dumps(chunk))
    events += decoding.feed("message", json.dumps({"choices": [{"delta": {}, "finish_reason": finish}]}))
    return events, decoding.finish()


def shown(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def test_tools_are_described_and_the_answer_is_held_to_two_forms() -> None:
    sent = emulate(request())
    assert sent.tools == ()
    assert sent.messages[0].text.startswith("Be brief.")
    assert "- read(path: string, offset?: integer): Read a file." in sent.messages[0].text
    assert sent.schema is not None
    forms = sent.schema.schema["anyOf"]
    assert forms[0]["properties"] == {"answer": {"type": "string", "minLength": 1}}
    arguments = forms[1]["properties"]["arguments"]
    assert arguments["properties"] == {"path": {"type": "string"}, "offset": {"type": "integer"}}
    assert arguments["required"] == ["path"]
    # References are written out to a depth, since they would point nowhere from inside this schema.
    assert "$ref" not in json.dumps(forms)
    assert forms[2]["properties"]["arguments"]["properties"]["where"]["properties"]["x"] == {"type": "number"}


def test_a_small_limit_bounds_every_string_so_that_the_object_closes() -> None:
    sent = emulate(request(max_tokens=200))
    assert sent.schema is not None
    forms = sent.schema.schema["anyOf"]
    assert forms[0]["properties"]["answer"]["maxLength"] == 400
    assert forms[1]["properties"]["arguments"]["properties"]["path"]["maxLength"] == 200
    full = "x" * 400
    _, reply = answer(json.dumps({"answer": full}), asked=request(max_tokens=200))
    assert (reply.finish, reply.message.incomplete) == ("length", True)


def test_history_shows_the_model_its_own_form() -> None:
    history = (
        user("Read a."),
        assistant("", CALL),
        tool_result(CALL, "text of a"),
        assistant("It says a."),
        user("Thanks"),
    )
    sent = emulate(request(*history)).messages
    assert [message.role for message in sent] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert sent[2].text == '{"tool": "read", "arguments": { "path":"a" }}'
    assert sent[3].text == "[result of read]\ntext of a\n"
    assert sent[4].text == '{"answer": "It says a."}'


def test_where_no_tool_may_be_called_what_went_before_stays_as_it_was() -> None:
    history = (user("go"), assistant("", CALL), tool_result(CALL, "ok"))
    free, bound = emulate(request(*history)), emulate(request(*history, tool_choice="none"))
    assert bound.messages == free.messages
    assert bound.schema is not None
    assert list(bound.schema.schema["properties"]) == ["answer"]


@pytest.mark.parametrize("options", [{"schema": Schema("a", {"type": "object"})}, {"tools": ()}])
def test_otherwise_only_the_history_is_rewritten(options: dict[str, Any]) -> None:
    asked = request(user("go"), assistant("", CALL), tool_result(CALL, "ok"), assistant("done"), **options)
    sent = emulate(asked)
    assert sent.schema == asked.schema
    assert [message.role for message in sent.messages] == ["user", "assistant", "user", "assistant"]
    assert not any(message.tool_calls for message in sent.messages)
    assert sent.messages[-1].text == "done"
    events, reply = answer('{"answer": "raw"}', asked=asked)
    assert shown(events) == reply.message.text == '{"answer": "raw"}'


def test_a_required_tool_leaves_no_way_to_answer() -> None:
    sent = emulate(request(tool_choice="required", tools=(READ,)))
    assert sent.schema is not None
    assert sent.schema.schema["properties"]["tool"] == {"type": "string", "const": "read"}


@given(st.text(min_size=1), st.booleans(), st.integers(1, 7))
def test_an_answer_is_streamed_as_it_grows(text: str, ascii: bool, size: int) -> None:
    text = text.encode("utf-8", "replace").decode() + "."
    events, reply = answer(json.dumps({"answer": text}, ensure_ascii=ascii), size=size)
    assert shown(events) == reply.message.text == text
    assert (reply.finish, reply.message.incomplete) == ("stop", False)


@given(st.text(), st.booleans(), st.data())
def test_a_cut_anywhere_shows_a_beginning_of_the_answer(text: str, ascii: bool, data: st.DataObject) -> None:
    text = text.encode("utf-8", "replace").decode()
    written = json.dumps({"answer": text}, ensure_ascii=ascii)
    form = Form()
    pieces = form.feed(written[: data.draw(st.integers(0, len(written)))]) + form.end()
    assert text.startswith(pieces)
    assert pieces == form.answer


def test_a_tool_call_is_read_when_it_is_whole_and_keeps_its_bytes() -> None:
    events, reply = answer('```json\n{"tool": "read",\n "arguments": { "path" : "a}b" }}\n```')
    assert events == [ToolCallDelta(0, "read", '{ "path" : "a}b" }')]
    call = ToolCallPart(id="m00002000", name="read", arguments='{ "path" : "a}b" }')
    assert reply.message.tool_calls == (call,)
    assert reply.finish == "tool_calls"
    assert answer('{"arguments": {"path": "a"}, "tool": "read"}')[1].message.tool_calls[0].arguments == '{"path": "a"}'


def test_the_next_call_has_another_id() -> None:
    first = answer('{"tool": "read", "arguments": {}}')[1].message
    (call,) = first.tool_calls
    grown = request(system("S"), user("Read a."), first, tool_result(call, "ok"))
    second = answer('{"tool": "read", "arguments": {}}', asked=grown)[1].message
    assert second.tool_calls[0].id != call.id


def test_cut_off_json_gives_the_partial_answer() -> None:
    _, reply = answer('{"answer": "half an an', "length")
    assert (reply.message.text, reply.message.incomplete, reply.finish) == ("half an an", True, "length")
    _, reply = answer('{"tool": "read", "arguments": {"path": "a', "length")
    assert not reply.message.tool_calls
    assert reply.message.incomplete
    with pytest.raises(errors.StreamBroken) as broken:
        answer('{"answer": "half an an', None)
    assert broken.value.partial is not None
    assert broken.value.partial.text == "half an an"


@pytest.mark.parametrize("prose", ["Sure, it says a.", "`read` would help.", "[1, 2]", '"quoted"'])
def test_prose_in_spite_of_it_all_is_an_answer(prose: str) -> None:
    events, reply = answer(prose)
    assert shown(events) == reply.message.text == prose


def test_objects_in_neither_form_are_not_lost_and_an_empty_answer_is_a_failure() -> None:
    assert answer('{"say": "hi"}')[1].message.text == '{"say": "hi"}'
    assert answer('{"reason": "x", "answer": "late"}')[1].message.text == "late"
    for empty in ('{"answer": ""}', '{"ans'):
        with pytest.raises(errors.EmptyAnswer):
            answer(empty)


def test_an_error_in_the_stream_keeps_the_answer_so_far() -> None:
    decoding = decoder(request())
    decoding.feed("message", json.dumps({"choices": [{"delta": {"content": '{"answer": "so fa'}}]}))
    failing = {
        "error": {"code": 502, "message": "gone"},
        "choices": [{"delta": {"content": "r"}, "finish_reason": "error"}],
    }
    with pytest.raises(errors.StreamBroken) as broken:
        decoding.feed("message", json.dumps(failing))
    assert broken.value.partial is not None
    assert broken.value.partial.text == "so far"
