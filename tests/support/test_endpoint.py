"""The scripted endpoint is an instrument: what it measures and breaks must be right before anything is judged with it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.endpoint import ScriptedEndpoint
from tests.support.instances import minimal
from tests.support.prefix_cache import PrefixCache, common_prefix, tokens
from tests.support.script import SHAPES, Behaviour, Say, Script, read_script

TOOLS = [{"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}]


def ask(endpoint: ScriptedEndpoint, model: str, path: str = "/chat/completions", **more: Any) -> httpx.Response:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "hello"}], **more}
    with httpx.Client(trust_env=False, timeout=5) as client:
        return client.post(endpoint.base_url + path, json=body)


def data_lines(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def text_of(response: httpx.Response) -> str:
    chunks = [chunk["choices"][0]["delta"] for chunk in data_lines(response) if chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in chunks)


def test_a_stream_carries_text_tool_calls_and_at_last_usage(endpoint: ScriptedEndpoint) -> None:
    said = Say(text="a\u2028b", reasoning="hm", tools=(("read", {"path": "x"}),), cost=0.25)
    endpoint.script = Script(models={"m": Behaviour(steps=(said, Say(text="end")))})
    response = ask(endpoint, "m", tools=TOOLS, stream_options={"include_usage": True})
    assert text_of(response) == "a\u2028b"
    assert data_lines(response)[-1]["usage"]["cost"] == 0.25
    pieces = [
        c["choices"][0]["delta"]["tool_calls"][0]
        for c in data_lines(response)
        if c["choices"] and "tool_calls" in c["choices"][0]["delta"]
    ]
    assert pieces[0]["function"]["name"] == "read"
    assert json.loads("".join(piece["function"]["arguments"] for piece in pieces)) == {"path": "x"}
    (seen,) = endpoint.calls("m")
    assert seen.finished is not None
    assert seen.first_byte <= seen.arrived <= seen.finished


def test_a_tool_loop_ends_with_an_answer(endpoint: ScriptedEndpoint) -> None:
    history: list[dict[str, Any]] = [{"role": "user", "content": "work"}]
    guidance = {"role": "user", "content": "advice"}  # at the tail of a request, and never in the history
    called = []
    for _ in range(3):
        answer = ask(endpoint, "worker-2", tools=TOOLS, messages=[*history, guidance], stream=False).json()
        message = answer["choices"][0]["message"]
        calls = message.get("tool_calls", [])
        called.append([call["function"]["name"] for call in calls])
        history += [message, *({"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in calls)]
    assert called == [["glob"], ["read"], []]


def test_anthropic_streams_blocks_and_counts_the_cache_apart(endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(
        models={
            "m": Behaviour(steps=(Say(text="hi", reasoning="hm", tools=(("read", {"path": "x"}),)), Say(text="end")))
        }
    )
    for _ in range(2):
        response = ask(endpoint, "m", "/messages", tools=[{"name": "read", "input_schema": {}}])
    events = data_lines(response)
    assert [e["content_block"]["type"] for e in events if e["type"] == "content_block_start"] == [
        "thinking",
        "text",
        "tool_use",
    ]
    usage = events[0]["message"]["usage"]
    assert usage["input_tokens"] == 0
    assert usage["cache_read_input_tokens"] == endpoint.calls()[0].prompt_tokens
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_delays_are_kept_to_the_millisecond(endpoint: ScriptedEndpoint) -> None:
    ask(endpoint, "slow-0.15")
    assert endpoint.calls()[0].service_s == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize("shape", sorted(SHAPES - {"hang", "stall", "mute", "cut", "refuse"}))
def test_failure_shapes_keep_the_connection(endpoint: ScriptedEndpoint, shape: str) -> None:
    response = ask(endpoint, f"shape-{shape}")
    assert response.status_code == 200
    choices = [] if shape in ("body_error", "junk") else [c for chunk in data_lines(response) for c in chunk["choices"]]
    finishes = {choice["finish_reason"] for choice in choices} - {None}
    expected = {"error_chunk": {"error"}, "error_chunk_string": {"error"}, "finish_network_error": {"network_error"}}
    expected |= {"native_network_error": {"stop"}, "billed_empty": {"stop"}}
    assert finishes == expected.get(shape, set())


@pytest.mark.parametrize("shape", ["cut", "refuse"])
def test_broken_connections_break(endpoint: ScriptedEndpoint, shape: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        ask(endpoint, f"shape-{shape}")


@pytest.mark.parametrize("shape", ["hang", "stall", "mute"])
def test_a_client_that_leaves_is_noticed(endpoint: ScriptedEndpoint, shape: str) -> None:
    async def leave() -> float:
        async with httpx.AsyncClient(trust_env=False) as client:
            body = {"model": f"shape-{shape}", "stream": True, "messages": []}
            async with client.stream("POST", f"{endpoint.base_url}/chat/completions", json=body) as response:
                assert response.status_code == 200
            return time.monotonic()

    left = asyncio.run(leave())
    endpoint.wait_for(lambda: endpoint.calls()[0].disconnected is not None)
    assert endpoint.calls()[0].disconnected == pytest.approx(left, abs=0.2)
    assert endpoint.open_connections == 0


def test_refusals_have_their_status_and_retry_after(endpoint: ScriptedEndpoint) -> None:
    behaviour = Behaviour(first=(Say(status=429, retry_after=0.5),), refuses=frozenset({"no_tools"}), window=100)
    endpoint.script = Script(models={"m": behaviour}, api_key="right")
    assert ask(endpoint, "m").status_code == 401
    endpoint.script = Script(models={"m": behaviour})
    endpoint.clear()
    refused = ask(endpoint, "m")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "0.5")
    assert ask(endpoint, "m").status_code == 200
    assert "does not support tools" in ask(endpoint, "m", tools=TOOLS).json()["error"]["message"]
    long = [{"role": "user", "content": "x" * 500}]
    assert ask(endpoint, "m", messages=long).json()["error"]["code"] == "context_length_exceeded"
    assert ask(endpoint, "missing-model").status_code == 404


def test_a_padded_body_is_no_plain_json(endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(models={"m": Behaviour(steps=(Say(text="hi", body=True, padding=True),))})
    text = ask(endpoint, "m").text
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(text)
    assert text.rstrip().endswith("[DONE]")


def test_a_schema_is_answered_with_an_instance(endpoint: ScriptedEndpoint) -> None:
    schema = {
        "type": "object",
        "required": ["a", "b"],
        "properties": {"a": {"type": "array"}, "b": {"enum": ["x", "y"]}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert json.loads(text_of(ask(endpoint, "judge", response_format=form))) == {"a": [], "b": "x"}


def test_references_inside_a_schema_are_followed() -> None:
    schema = {
        "type": "object",
        "required": ["item", "kind", "count"],
        "properties": {
            "item": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/Item"}},
            "kind": {"anyOf": [{"const": "answer"}, {"type": "null"}]},
            "count": {"type": "integer", "minimum": 3},
        },
        "$defs": {
            "Item": {"type": "object", "required": ["t"], "properties": {"t": {"type": "string", "minLength": 4}}}
        },
    }
    assert minimal(schema) == {"item": [{"t": "----"}, {"t": "----"}], "kind": "answer", "count": 3}


def test_a_script_file_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "script.json"
    file.write_text(
        json.dumps({"models": {"m": [{"text": "hi", "tools": [["glob", {"pattern": "*"}]]}]}, "only": True})
    )
    script = read_script(file)
    assert script.models == {"m": Behaviour(steps=(Say(text="hi", tools=(("glob", {"pattern": "*"}),)),))}
    file.write_text(json.dumps({"models": {"m": [{"txt": "hi"}]}}))
    with pytest.raises(ValueError, match="txt"):
        read_script(file)


@given(st.text("ab", max_size=30), st.text("ab", max_size=30))
def test_common_prefix_is_the_longest(a: str, b: str) -> None:
    length = common_prefix(a, b)
    assert a[:length] == b[:length]
    assert a[: length + 1] != b[: length + 1] or length == min(len(a), len(b))


@given(st.lists(st.text(max_size=20), min_size=1, max_size=6), st.text(max_size=20))
def test_an_append_only_conversation_is_cached_up_to_its_tail(texts: list[str], tail: str) -> None:
    cache = PrefixCache()
    for length in range(len(texts) + 1):
        stable = [{"role": "user", "content": text} for text in texts[:length]]
        body = {
            "messages": [
                *stable,
                {"role": "user", "content": f"{tail}{length}", "cache_control": {"type": "ephemeral"}},
            ]
        }
        prompt, cached = cache.take("m", body)
        assert prompt == tokens(body)
        assert cached >= (tokens({"messages": stable[:-1]}) if length else 0)
        assert cached <= prompt
