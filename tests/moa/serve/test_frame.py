"""The frame of `moa serve`: who may come in, what goes through, and how things end that go wrong. A real server on loopback."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import KEY, PRESET, UPSTREAM_KEY, WIRES, Serving, body, events

KEYS = {"api_key": UPSTREAM_KEY}
QUIET = Script(models={"side-model": Behaviour(steps=(Say(text="A title"),))}, api_key=UPSTREAM_KEY)
ENDS = {"messages": "message_stop", "chat": "[DONE]", "responses": "response.completed"}


@pytest.fixture(scope="module")
def up() -> Iterator[ScriptedEndpoint]:
    with ScriptedEndpoint(QUIET) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def server(up: ScriptedEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    more = '[serve]\norigins = ["https://page.example"]\nhosts = ["moa.test"]\nbody_mb = 1\n'
    presets = {"p": PRESET.format(main="chat:m", aggregate="raw")}
    with Serving(tmp_path_factory.mktemp("serve"), up, config=more, presets=presets) as serving:
        yield serving


DOORS = [
    ("no key", {"authorization": ""}, 401),
    ("wrong key", {"authorization": "Bearer moa-wrong-key-0123456789"}, 401),
    ("half a key", {"authorization": f"Bearer {KEY[:-1]}"}, 401),
    ("bearer", {}, 200),
    ("x-api-key", {"authorization": "", "x-api-key": KEY}, 200),
    ("another name", {"host": "evil.example"}, 403),
    ("another port", {"host": "localhost:1"}, 403),
    ("a configured name", {"host": "moa.test"}, 200),
    ("a page", {"origin": "https://evil.example"}, 403),
    ("a sandboxed page", {"origin": "null"}, 403),
    ("a configured page", {"origin": "https://page.example"}, 200),
]


@pytest.mark.parametrize(("name", "headers", "status"), DOORS, ids=[row[0] for row in DOORS])
def test_who_may_come_in(
    server: Serving, up: ScriptedEndpoint, name: str, headers: dict[str, str], status: int
) -> None:
    before = len(up.exchanges)
    for wire in WIRES:
        answer = server.post(wire, body(wire, f"{wire}:m"), headers)
        assert answer.status_code == status, answer.text
        if status != 200:
            assert answer.json()["error"]["message"]
            assert ("type" in answer.json()) is (wire == "messages")
    assert server.get("/v1/activity", headers).status_code == status
    assert (len(up.exchanges) > before) is (status == 200)
    assert ("access-control-allow-origin" in answer.headers) is (name == "a configured page")


def test_pages(server: Serving) -> None:
    assert server.http.head("/").status_code == 200  # Claude Code begins so, without a key
    assert server.http.get("/health").json()["status"] == "ok"
    assert server.get("/nowhere").status_code == 404
    names = [model["id"] for model in server.get("/v1/models").json()["data"]]
    assert "moa/p" in names and "chat:m" in names
    assert server.get("/v1/models/moa/p").json()["owned_by"] == "moa"
    assert "/v1/messages" in server.get("/openapi.json").json()["paths"]
    server.post("chat", body("chat", "chat:m"))
    assert 'moa_requests_total{status="200",wire="chat"}' in server.get("/metrics").text
    assert server.get("/v1/activity?when=1").status_code == 400
    assert server.http.options("/v1/messages", headers={"origin": "https://evil.example"}).status_code == 403
    assert server.http.options("/v1/messages", headers={"origin": "https://page.example"}).status_code == 204


REFUSED = [
    ("no JSON", b"{", 400),
    ("no object", b"[]", 400),
    ("no model", b"{}", 400),
    ("no such model", b'{"model": "nix"}', 404),
    ("no such preset", b'{"model": "moa/nix"}', 400),
    ("no such endpoint", b'{"model": "moa/p/nix:m"}', 400),
    ("a path for a preset", b'{"model": "moa/../../etc/x"}', 400),
    ("too large", b" " * (2**20 + 1), 413),
]


@pytest.mark.parametrize(("data", "status"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
@pytest.mark.sample(3)
def test_what_is_no_request_is_refused_in_the_clients_shape(server: Serving, data: bytes, status: int) -> None:
    for path in ("/v1/messages", "/v1/chat/completions", "/v1/responses"):
        answer = server.http.post(path, content=data, headers=server.headers)
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert error["message"] and error["type"]


# Any JSON that a client may put into a request, in any order, under any name.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
OWN = {"model", "stream", "stream_options", "messages", "input", "tools", "previous_response_id", "store"}
BODIES = st.dictionaries(st.text(max_size=12).filter(lambda key: key not in OWN), VALUES, max_size=6)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(more=BODIES, wire=st.sampled_from(WIRES), ascii=st.booleans(), spaced=st.booleans())
def test_the_body_goes_through_as_it_came(
    server: Serving, up: ScriptedEndpoint, more: dict[str, Any], wire: str, ascii: bool, spaced: bool
) -> None:
    sent = {**body(wire, f"{wire}:m"), **more}
    data = json.dumps(sent, ensure_ascii=ascii, indent=1 if spaced else None).encode("utf-8", "surrogatepass")
    try:
        data.decode()
    except UnicodeDecodeError:
        return
    path = {"messages": "/v1/messages?beta=true", "chat": "/v1/chat/completions", "responses": "/v1/responses"}[wire]
    betas = {"anthropic-beta": "some-beta-2026-01-01,other", "anthropic-version": "2023-06-01"}
    answer = server.http.post(path, content=data, headers={**server.headers, **betas})
    came = up.exchanges[-1]
    if answer.status_code == 400 and "model" not in came.body:
        return
    assert answer.status_code == 200, answer.text
    assert came.body == {**sent, "model": "m"}
    assert list(came.body) == list(sent)
    assert came.headers["anthropic-beta"] == betas["anthropic-beta"]
    assert "moa-key" not in json.dumps(came.headers)


def test_asking_for_the_usage_of_a_stream_changes_no_other_byte(server: Serving, up: ScriptedEndpoint) -> None:
    sent = b' { "model" : "chat:m", "temperature":1.50, "x":"\\u00e9 \xc3\xa9", "messages":[{"content":"hi","role":"user"}],"stream":true}'
    for data, came in (
        (sent, sent.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)),
        (sent.replace(b"1.50", b'1.50,"stream_options":{"include_usage":true}'),) * 2,
    ):
        answer = server.http.post("/v1/chat/completions", content=data, headers=server.headers)
        assert answer.status_code == 200 and ENDS["chat"] in answer.text
        assert up.exchanges[-1].raw == came.replace(b"chat:m", b"m")


@pytest.mark.parametrize("wire", WIRES)
def test_events_are_relayed_as_they_come(server: Serving, up: ScriptedEndpoint, wire: str) -> None:
    up.script = Script(models={"m": Behaviour(steps=(Say(text="Wörter, 字 und\u2028mehr.", reasoning="Hm."),))}, **KEYS)
    asked = body(wire, f"{wire}:m", stream=True, stream_options={"include_usage": True})
    through = server.post(wire, asked)
    path = {"messages": "/messages", "chat": "/chat/completions", "responses": "/responses"}[wire]
    keys = {"authorization": f"Bearer {UPSTREAM_KEY}", "x-api-key": UPSTREAM_KEY}
    direct = httpx.post(up.base_url + path, json={**asked, "model": "m"}, headers=keys, trust_env=False)

    def plain(text: str) -> str:
        for number in range(len(up.exchanges) - 2, len(up.exchanges) + 2):
            text = text.replace(f"gen-{number}", "gen").replace(f"_{number}", "_")
        return text.partition('"usage"')[0]

    assert plain(through.text) == plain(direct.text)
    assert ENDS[wire] in through.text
    with closing(server.ledger()) as books:
        row = books.calls()[-1]
    assert (row.purpose, row.outcome, row.model_requested) == ("serve", "done", "m")
    assert row.prompt_tokens and row.completion_tokens and row.cost_nano
    up.script = QUIET


STATUSES = (400, 404, 413, 422, 429, 500, 503, 529)


@pytest.mark.parametrize("wire", WIRES)
def test_an_upstreams_refusal_keeps_its_status_and_its_wait(server: Serving, up: ScriptedEndpoint, wire: str) -> None:
    for status in STATUSES:
        say = Say(status=status, retry_after=7, error=f"told {UPSTREAM_KEY}")
        up.script = Script(models={"m": Behaviour(steps=(say,))}, **KEYS)
        for name in (f"{wire}:m", *(f"{other}:m" for other in WIRES if other != wire and status == 400)):
            answer = server.post(wire, body(wire, name, stream=True))
            assert answer.status_code == status, answer.text
            assert UPSTREAM_KEY not in answer.text
            assert answer.json()["error"]["message"]
            if name == f"{wire}:m":
                assert answer.headers["retry-after"] == "7"
    up.script = Script(models={"m": Behaviour(steps=(Say(status=401),))}, **KEYS)
    answer = server.post(wire, body(wire, f"{wire}:m"))
    assert answer.status_code == 401 and "UP_KEY" in answer.text  # it is the server's own key that is wrong there
    with closing(server.ledger()) as books:
        assert books.calls()[-1].cost_nano == 0
    up.script = QUIET


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("source", WIRES)
def test_a_stream_that_breaks_upstream_ends_with_the_wires_error(
    server: Serving, up: ScriptedEndpoint, wire: str, source: str
) -> None:
    up.script = Script(models={"m": Behaviour(steps=(Say(text="These words arrive.", shape="cut"),))}, **KEYS)
    answer = server.post(wire, body(wire, f"{source}:m", stream=True))
    up.script = QUIET
    found = events(answer)
    last = found[-1]
    assert answer.status_code == 200
    assert last.get("error") or last["response"]["error"], last
    assert last.get("type", "error") in ("error", "response.failed")
    assert ENDS[wire] not in answer.text
    kinds = [event.get("type") for event in found]
    if wire == "messages" != source:  # what was begun is not closed as if it were whole
        assert kinds.count("content_block_start") == kinds.count("content_block_stop") + 1
    with closing(server.ledger()) as books:
        assert books.calls()[-1].outcome in ("incomplete", "failed")


def test_a_client_that_leaves_closes_every_socket_upstream(server: Serving, up: ScriptedEndpoint) -> None:
    slow = Behaviour(steps=(Say(text="x", ttft_s=60),))
    up.script = Script(models=dict.fromkeys(("m", "alpha", "beta", "gamma"), slow), **KEYS)
    for name, calls in (("chat:m", 1), ("messages:m", 1), ("moa/p", 3)):
        before = len(up.exchanges)
        wire = "messages" if name != "chat:m" else "chat"
        data = json.dumps(body(wire, name, stream=True)).encode()
        path = {"messages": "/v1/messages", "chat": "/v1/chat/completions"}[wire]
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nx-api-key: {KEY}\r\ncontent-length: {len(data)}\r\n\r\n"
            client.sendall(head.encode() + data)
            up.wait_for(lambda before=before, calls=calls: len(up.exchanges) >= before + calls)
        up.wait_for(lambda before=before: all(seen.disconnected for seen in up.exchanges[before:]))
    up.script = QUIET


def test_a_name_of_a_clients_own_goes_to_the_main_models_endpoint(server: Serving, up: ScriptedEndpoint) -> None:
    answer = server.post("messages", body("messages", "side-model-20260101"))
    assert answer.status_code == 200, answer.text
    assert (up.exchanges[-1].model, up.exchanges[-1].path) == ("side-model", "/v1/chat/completions")
    up.script = QUIET


@pytest.mark.parametrize("wire", WIRES)
def test_counsel_is_inserted_and_its_cost_is_in_the_answer(server: Serving, up: ScriptedEndpoint, wire: str) -> None:
    words = {
        name: Behaviour(steps=(Say(text=f"CONCERN\nThe {name} is wrong."),)) for name in ("alpha", "beta", "gamma")
    }
    up.script = Script(models=words, **KEYS)
    tools = {
        "messages": {"tools": [{"name": "read", "input_schema": {"type": "object"}}]},
        "chat": {"tools": [{"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}]},
        "responses": {"tools": [{"type": "function", "name": "read", "parameters": {"type": "object"}}]},
    }[wire]
    asked = body(wire, f"moa/p/{wire}:m", f"Look at {wire}.", **tools)
    answer = server.post(wire, asked)
    assert answer.headers["x-moa-counsel"] == "taken", answer.headers
    sent = json.dumps(up.exchanges[-1].body)
    assert all(f"The {name} is wrong." in sent for name in words)
    usage = answer.json()["usage"]
    found = server.get(f"/v1/activity?run={answer.headers['x-moa-run']}").json()
    assert [call["purpose"] for call in found["calls"]] == ["serve", *["reference"] * 3]
    assert usage["cost"] == pytest.approx(found["cost"]["usd"], abs=1e-9) and not usage["cost_details"]["lower_bound"]
    streamed = server.post(
        wire, {**asked, "stream": True, "stream_options": {"include_usage": True}}, {"x-moa-counsel": "off"}
    )
    assert streamed.headers["x-moa-counsel"].startswith("skipped")
    assert '"cost":' in streamed.text
    up.script = QUIET


def test_the_head_of_a_stream_does_not_wait_for_ever(up: ScriptedEndpoint, tmp_path: Path) -> None:
    slow = Behaviour(steps=(Say(text="NOTHING", ttft_s=0.3),))
    presets = {"p": PRESET.format(main="chat:m", aggregate="raw")}
    with Serving(tmp_path, up, config='[serve]\nhead_s = 0.05\ncounsel_for = "all"\n', presets=presets) as serving:
        for wire in WIRES:
            up.script = Script(models={"alpha": slow, "m": Behaviour(steps=(Say(text="late"),))}, **KEYS)
            answer = serving.post(wire, body(wire, f"moa/p/{wire}:m", stream=True))
            first = answer.text.partition("\n\n")[0]
            assert {"messages": "ping", "chat": '"choices":[]', "responses": ": keep-alive"}[wire] in first
            assert ENDS[wire] in answer.text
            up.script = Script(models={"alpha": slow, "m": Behaviour(steps=(Say(status=429),))}, **KEYS)
            answer = serving.post(wire, body(wire, f"moa/p/{wire}:m", "Again.", stream=True))
            last = events(answer)[-1]
            assert answer.status_code == 200 and (last.get("error") or last["type"] == "error"), last
    up.script = QUIET


def test_a_socket_on_which_no_request_comes_is_closed(up: ScriptedEndpoint, tmp_path: Path) -> None:
    up.script = Script(models={"m": Behaviour(steps=(Say(text="late", ttft_s=0.3),))}, **KEYS)
    with Serving(tmp_path, up, idle_s=0.15, uvloop=True) as serving:
        for before in (b"", b"GET /health HTTP/1.1\r\nhost: localhost:%d\r\n\r\n" % serving.port):
            with socket.create_connection(("127.0.0.1", serving.port), 10) as client:
                if before:
                    client.sendall(before)
                    assert client.recv(4096).startswith(b"HTTP/1.1 200")
                client.sendall(b"POST /v1/messages HTTP/1.1\r\nhost:")
                with suppress(ConnectionResetError):
                    assert client.recv(4096) == b""
        assert serving.post("chat", body("chat", "chat:m")).status_code == 200  # an answer may take longer
    up.script = QUIET
