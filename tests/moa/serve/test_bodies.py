"""What breaks in proxies, as far as it lies in the body of a request: each failure has a test named after it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.moa.serve.test_anchors import points, worked
from tests.moa.serve.test_taking import busy
from tests.support import prompt
from tests.support.script import Say
from tests.support.served import WIRES, Client, Desk

TYPES = (
    "text",
    "tool_use",
    "tool_result",
    "thinking",
    "image",
    "message",
    "function_call",
    "function_call_output",
    "reasoning",
    "new",
)
ROLES = ("user", "assistant", "tool", "system", "developer", "new")
KEYS = ("content", "text", "id", "call_id", "tool_use_id", "tool_call_id", "output", "tool_calls", "function", "input", "arguments",
        "is_error", "reasoning_details", "signature", "source", "summary", "encrypted_content", "function_call", "x_new_field")  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "c1", "\ud83d", "<system-reminder>x"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.builds(
            lambda role, kind, rest: {**role, **kind, **rest},
            st.fixed_dictionaries({}, optional={"role": st.sampled_from(ROLES)}),
            st.fixed_dictionaries({}, optional={"type": st.sampled_from(TYPES)}),
            st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
        ),
    ),
    max_leaves=14,
)


SOME = [pytest.param(wire, marks=() if wire == "messages" else pytest.mark.slow) for wire in WIRES]


@pytest.mark.parametrize("wire", WIRES)
def test_a_signature_refused_after_any_rewrite(tmp_path: Path, wire: str) -> None:
    """Nothing of the client's is written anew: not the order of keys, not a number, not a thought."""
    with Desk(tmp_path, wire) as desk:
        client = worked(desk, 4)
        sent, own = client.sent, client.items
        kept = [item for item in prompt.items_of(sent) if item in own]
        thoughts = [place.thought for place in prompt.thoughts_of(sent, wire)]
        assert (
            thoughts
            == [place.thought for place in prompt.thoughts_of({**sent, **_with(sent, own)}, wire)][: len(thoughts)]
        )
        assert [json.dumps(item) for item in kept] == [json.dumps(item) for item in own if item in kept]
        desk.holds()


def _with(body: dict[str, Any], items: list[Any]) -> dict[str, Any]:
    return {"input" if "input" in body else "messages": items}


@pytest.mark.parametrize("wire", SOME)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(fields=st.dictionaries(st.from_regex(r"[a-z_]{3,12}", fullmatch=True), JSON, max_size=4), inside=JSON)
def test_unknown_fields_stripped_at_each_client_release(wire: str, fields: dict[str, Any], inside: Any) -> None:
    """Whatever is new in a body, at its top or in its items, goes out as it came; guidance is all that is added."""
    with TemporaryDirectory() as folder, Desk(Path(folder), wire) as desk:
        client = worked(desk, 2)
        body = client.body()
        key = "input" if wire == "responses" else "messages"
        body = {**{name: value for name, value in fields.items() if name not in body}, **body}
        for item in body[key]:
            item["x_unknown"] = inside
        kept = copy.deepcopy(body)
        out = client.read(body).body()
        assert body == kept, "the client's body is never changed"
        assert list(out) == list(body) and {**out, key: 0} == {**body, key: 0}
        assert points(out) == [1, 2]
        assert [_without_guidance(item) for item in out[key] if item.get("x_unknown", "none") == inside] == [
            _without_guidance(item) for item in body[key]
        ]


def _without_guidance(item: Any) -> str:
    """An item's JSON up to what was inserted, with a content of one text as that text."""
    text = json.dumps(item).partition("<private-guidance>")[0]
    return text.partition('"content"')[0].partition('"output"')[0]


@pytest.mark.parametrize("wire", WIRES)
def test_parallel_tool_calls_mangled(tmp_path: Path, wire: str) -> None:
    def parallel(_body: dict[str, Any], earlier: int) -> Say:
        return Say(text="", tools=tuple(("read", {"path": f"{earlier}.{n}"}) for n in range(4)))

    with Desk(tmp_path, wire, script=parallel) as desk:
        client = desk.client().say("go")
        client.loop(3)
        sent = prompt.items_of(client.read().body())
        calls = [call for item in sent for call in sorted(prompt.call_ids(item))]
        results = [piece.id for piece in client.read().wire.pieces(sent) if piece.kind == "result"]
        assert len(calls) == 12 and results == calls
        assert [prompt.texts(item).count("POINT-") for item in sent].count(1) == 3, (
            "each stands in the last result alone"
        )
        desk.holds()


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("wire", WIRES)
def test_roles_that_have_to_take_turns(tmp_path: Path, wire: str, parts: bool) -> None:
    """Guidance stands behind the user's words, in the same message, however that is written."""
    with Desk(tmp_path, wire, script=busy) as desk:
        client = desk.client().say("go")
        kind = "input_text" if wire == "responses" else "text"
        client.items[-1]["content"] = [{"type": kind, "text": "go"}] if parts else "go"
        client.asked["alternate"] = True
        client.ask(keep=False)
        item = client.sent["input" if wire == "responses" else "messages"][-1]
        assert item["role"] == "user"
        said = (
            item["content"] if isinstance(item["content"], str) else "".join(each["text"] for each in item["content"])
        )
        assert said.startswith("go") and "private-guidance" in said


@pytest.mark.parametrize("wire", WIRES)
def test_tools_that_are_an_empty_list(tmp_path: Path, wire: str) -> None:
    """It goes out as it came, and is no tool: the request may be a side call."""
    with Desk(tmp_path, wire, script=busy) as desk:
        client = desk.client().say("go")
        body = {**client.body(), "tools": [], "max_tokens": 20}
        client.ask(body=body, keep=False)
        assert client.sent["tools"] == [] and client.said.startswith("skipped; a side call")


@pytest.mark.parametrize("wire", SOME)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(items=st.one_of(JSON, st.lists(JSON, max_size=5)), more=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3))
def test_bodies_that_nobody_would_send(wire: str, items: Any, more: dict[str, Any]) -> None:
    """What is wrong with them is the upstream's to say: here they pass."""
    with TemporaryDirectory() as folder, Desk(Path(folder), wire) as desk:
        client = Client(desk)
        body = {**more, "input" if wire == "responses" else "messages": items}
        for _ in range(2):
            served = client.read(body)
            desk.loop.run(_taken(served))
            assert isinstance(served.body(), dict)
            served.answer.whole({"content": items, "output": items, "choices": [{"message": items}], "id": 5})
            for event in (
                more,
                {"type": "content_block_start", "content_block": items},
                {"choices": [{"delta": items}]},
            ):
                served.answer.event(event)
            desk.loop.run(served.ended("done"))


async def _taken(served: Any) -> None:
    from agent.llm.accounting import CallContext
    from moa.serve.counsel.taking import take

    await take(served, CallContext("main"), lambda _event: None)
