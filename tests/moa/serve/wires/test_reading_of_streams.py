"""An answer that is passed on is cut into pieces anywhere: what is read of it, and what goes on, depends on none of that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.llm.errors import StreamBroken
from moa.serve.events import Cutter, Meter
from tests.support.crossing import WIRES


def event(payload: Any, name: str = "", end: str = "\n") -> bytes:
    head = f"event: {name}{end}" if name else ""
    return f"{head}data: {json.dumps(payload)}{end}{end}".encode()


def chat(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": "gen-1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def typed(kind: str, **fields: Any) -> tuple[dict[str, Any], str]:
    return {"type": kind, **fields}, kind


USED = {"prompt_tokens": 40, "completion_tokens": 30}
TAKEN = {"input_tokens": 40, "output_tokens": 30}
STREAMS: dict[str, list[tuple[Any, str]]] = {
    "chat": [
        (chat({"role": "assistant", "content": ""}), ""),
        *((chat({"content": word}, usage=None), "") for word in ('a "usage" of', "words\n\n", "[", "]", "so")),
        (chat({}, "length"), ""),
        ({**chat({}), "choices": [], "usage": USED}, ""),
    ],
    "messages": [
        typed("message_start", message={"id": "gen-1", "model": "m", "usage": {"input_tokens": 40, "output_tokens": 1}}),
        typed("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(typed("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in ("a", "}\n\n")),
        typed("content_block_stop", index=0),
        typed("message_delta", delta={"stop_reason": "max_tokens"}, usage={"output_tokens": 30}),
        typed("message_stop"),
    ],
    "responses": [
        typed("response.created", sequence_number=0, response={"id": "gen-1", "model": "m"}),
        *(typed("response.output_text.delta", sequence_number=at, delta=word) for at, word in enumerate(("a", "b", "c", "response"), 1)),
        typed("response.incomplete", sequence_number=5, response={"id": "gen-1", "model": "m", "usage": TAKEN}),
    ],
}  # fmt: skip
ALIVE = (b": keep-alive\n\n", event(*typed("ping")), b"\n")


@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_read_of_a_stream_is_in_each_cut_the_same(wire: str, data: st.DataObject) -> None:
    end = data.draw(st.sampled_from(["\n", "\n", "\r\n"]))
    whole = [event(payload, name, end) for payload, name in STREAMS[wire]] + ([b"data: [DONE]\n\n"] * (wire == "chat"))
    for at in sorted(data.draw(st.sets(st.integers(0, len(whole) - 1), max_size=2)), reverse=True):
        whole.insert(at, data.draw(st.sampled_from(ALIVE)))
    sent = b"".join(whole)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=6)))
    pieces = [sent[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True)]

    cutter, meter, passed = Cutter(), Meter(wire), b""
    for piece in pieces:
        for raw, unread in meter.parts(cutter.block(piece)):
            passed += raw if unread else meter.read(raw).raw
            assert not (unread and any(telling in raw for telling in (b'"usage": {', b"message_", b'"response":')))
    assert passed == sent and meter.over
    heard = meter.heard
    assert heard.usage is not None and (heard.usage.prompt, heard.usage.completion) == (40, 30)
    assert (heard.generation_id, heard.model_served, heard.incomplete) == ("gen-1", "m", True)


@pytest.mark.parametrize("wire", WIRES)
def test_the_words_of_an_answer_are_passed_on_in_one(wire: str) -> None:
    meter, read = Meter(wire), 0
    whole = [event(payload, name) for payload, name in STREAMS[wire]]
    for raw, unread in meter.parts(b"".join((*whole, b"data: [DONE]\n\n"))):
        read += not unread
        assert unread == (raw.count(b"\n\n") > 1)
        if not unread:
            meter.read(raw)
    assert read < len(whole) - 1


@pytest.mark.parametrize("wire", WIRES)
def test_an_event_that_no_client_could_read_is_found_wherever_it_stands(wire: str) -> None:
    good = [event(payload, name) for payload, name in STREAMS[wire][:4]]
    for at in range(len(good) + 1):
        meter = Meter(wire)
        block = b"".join((*good[:at], b'data: {"half\n\n', *good[at:]))
        with pytest.raises(StreamBroken):
            for raw, unread in meter.parts(Cutter().block(block)):
                if not unread:
                    meter.read(raw)
