"""What an upstream or a client may send to do harm: the server's own key comes back to nobody, and nobody holds up the others."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest

from moa.serve.seen import log
from moa.serve.seen.metrics import Metrics
from tests.support.serving import PATHS, PRESET, UPSTREAM_KEY, Serving, body

USAGE = {"prompt_tokens": 1, "completion_tokens": 1}
TOLD = f"Incorrect API key: {UPSTREAM_KEY}"


class Upstream(BaseHTTPRequestHandler):
    """Says what its server holds, in two pieces that part within the key."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_words: object) -> None: ...

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        kind, data = self.server.answer  # type: ignore[attr-defined]
        self.send_response(200)
        for name, value in (
            ("content-type", kind),
            ("x-request-id", f"req {UPSTREAM_KEY}"),
            ("content-length", str(len(data))),
        ):
            self.send_header(name, value)
        self.end_headers()
        half = data.find(UPSTREAM_KEY.encode()) + 5
        for piece in (data[:half], data[half:]):
            self.wfile.write(piece)
            self.wfile.flush()


@pytest.fixture(scope="module")
def up() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def server(up: ThreadingHTTPServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    where: Any = SimpleNamespace(base_url=f"http://127.0.0.1:{up.server_address[1]}/v1")
    presets = {"p": PRESET.format(main="chat:m", aggregate="raw")}
    with Serving(tmp_path_factory.mktemp("serve"), where, presets=presets) as serving:
        yield serving


def sse(*payloads: dict[str, Any]) -> bytes:
    return b"".join(f"event: {each.get('type', 'x')}\ndata: {json.dumps(each)}\n\n".encode() for each in payloads)


CHUNK = {"id": "g", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]}
LEAKS = [
    ("chat", True, sse(CHUNK, {"error": {"message": TOLD}})),
    ("chat", True, sse(CHUNK, {**CHUNK, "note": TOLD}, {"error": {"message": "no"}})),
    ("chat", False, json.dumps({"error": {"message": TOLD}}).encode()),
    ("messages", True, sse({"type": "error", "error": {"type": "authentication_error", "message": TOLD}})),
    ("responses", True, sse({"type": "error", "code": "x", "message": TOLD, "sequence_number": 0})),
    ("/v1/messages/count_tokens", False, json.dumps({"input_tokens": 7, "note": TOLD}).encode()),
]


@pytest.mark.parametrize(("wire", "stream", "data"), LEAKS)
def test_no_answer_under_200_tells_the_key(
    server: Serving, up: ThreadingHTTPServer, wire: str, stream: bool, data: bytes
) -> None:
    name = "messages" if wire.startswith("/") else wire
    up.answer = ("text/event-stream" if stream else "application/json", data)  # type: ignore[attr-defined]
    answer = server.post(wire, body(name, f"{name}:m", stream=stream))
    assert answer.status_code == 200
    assert UPSTREAM_KEY not in answer.text and answer.text.count("[key]") == 1
    assert answer.headers["x-request-id"] == "req [key]"
    assert answer.text.replace("[key]", UPSTREAM_KEY).encode() == data  # nothing else has changed


HEADS = [
    (b"GET /" + b"a" * 1_000_000, b" 414 "),
    (b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 1_000_000, b" 431 "),
    (b"GET /health HTTP/1.1\r\nhost: localhost\r\n" + b"x: a\r\n" * 20_000, b" 431 "),
    (
        b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"a" * 1_000_000,
        b"HTTP/1.1 4",
    ),
]


@pytest.mark.parametrize(("data", "status"), HEADS)
def test_a_head_without_end_is_not_read(server: Serving, data: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as client, suppress(ConnectionError):
        client.sendall(data)
        told = client.recv(4096)
        assert status in told or told == b""
        for _more in range(200):  # nobody listens any more
            client.sendall(b"a" * 65536)
        raise AssertionError("it reads on")


def test_a_long_head_is_a_request(server: Serving) -> None:
    assert server.get("/health?" + "a" * 20_000, {"x-more": "a" * 40_000}).status_code == 200


def sized(*, spare: int = 0, **more: Any) -> bytes:
    return json.dumps({**body("chat", "chat:m"), **more}, separators=(",", ":")).encode() + b" " * spare


MANY = [
    ("objects", sized(x=[{}] * 100_000), 413),
    ("numbers", sized(x=[1] * 100_000), 413),
    ("members", sized(x={str(n): 1 for n in range(100_000)}), 413),
    ("texts", sized(x=['\\",', "\\"] * 50_000), 413),
    ("too many messages", sized(messages=[1] * 15_001), 413),
    ("fewer", sized(x=[[]] * 49_000), 200),
    ("a text", sized(x=',"{[\\' * 100_000), 200),
    ("messages", sized(messages=[{"role": "user", "content": "hi"}] * 6_000), 200),
    ("bytes", sized(spare=2**21), 200),
]


@pytest.mark.parametrize(("data", "status"), [row[1:] for row in MANY], ids=[row[0] for row in MANY])
def test_a_request_has_no_more_values_than_a_conversation(
    server: Serving, up: ThreadingHTTPServer, data: bytes, status: int
) -> None:
    whole = {**CHUNK, "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}], "usage": USAGE}
    up.answer = ("application/json", json.dumps(whole).encode())  # type: ignore[attr-defined]
    answer = server.http.post("/v1/chat/completions", content=data, headers=server.headers)
    assert answer.status_code == status, answer.text
    assert status == 200 or "the request has more than 1" in answer.json()["error"]["message"]


NAMES = [
    ("chat", {"model": "chat:\ud800"}),
    ("messages", {"model": "chat:\x1b]0;x\x07"}),
    ("responses", {"model": "chat:a\u202eb"}),
    ("chat", {"model": "chat:" + "z" * 300}),
    ("chat", {"plugins": [{"id": "fusion", "preset": "p", "analysis_models": ["chat:\x9b"]}]}),
]


@pytest.mark.parametrize(("wire", "more"), NAMES)
def test_a_name_that_no_model_has_is_refused(server: Serving, wire: str, more: dict[str, Any]) -> None:
    data = json.dumps({**body(wire, f"{wire}:m"), **more})
    answer = server.http.post(PATHS[wire], content=data, headers=server.headers)
    assert answer.status_code == 400 and "characters" in answer.text, answer.text


@pytest.mark.parametrize("limit", ["9" * 5_000, "0", "-1", "100001", "\u00b2"])
def test_a_limit_is_a_number(server: Serving, limit: str) -> None:
    answer = server.get(f"/v1/activity?limit={limit}")
    assert answer.status_code == 400 and "limit is" in answer.text


def test_what_stands_in_figures_and_log_steers_no_terminal() -> None:
    metrics, out = Metrics(), StringIO()
    metrics.counsel.labels("a\x1b]0;x\x07", "taken").inc()
    log.line({"model": "chat:\x9b31m\u202e"}, out)
    row = ("serve", "chat:\x9bz", "", 0, 1, 0, 0, 0, 1.0, 1, 0, 0, 1, 0)
    for text in (metrics.text([row]), out.getvalue()):
        assert all(line.isprintable() for line in text.splitlines()) and "\x9b" not in text
        assert json.loads(out.getvalue())["model"] == "chat:\x9b31m\u202e"
