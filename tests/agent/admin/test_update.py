"""`moa doctor --check-update` against an index on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agent.admin import update


class Index(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.split("/")[2]
        status = 404 if name == "nobody" else 500 if name == "broken" else 200
        file = [{"yanked": False}]
        releases: dict[str, object] = {
            "1.9.0": file,
            "1.10.0": file,
            "2.0.0rc1": file,
            "3.0.0": [{"yanked": True}],
            "4": [],
        }
        body = {"junk": b"<html>", "none": b'{"releases": {}}', "list": b"[1]"}.get(
            name, json.dumps({"releases": releases}).encode()
        )
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "current", "state", "fine"),
    [
        ("moa-agent", "1.9.0", "1.10.0 is there", True),
        ("moa-agent", "1.10.0", "the newest release", True),
        ("moa-agent", "1.11.0", "the newest release", True),
        ("nobody", "1.0", "knows no package nobody", False),
        ("broken", "1.0", "answered 500", False),
        ("junk", "1.0", "something else", False),
        ("list", "1.0", "something else", False),
        ("none", "1.0", "has no release", False),
    ],
)
def test_what_the_index_says_is_a_row(index: str, name: str, current: str, state: str, fine: bool) -> None:
    row = asyncio.run(update.check(name, current, index))
    assert row[:2] == ("update", f"{name} {current}") and state in row[2] and row[3] is fine


def test_an_index_that_is_not_there_is_a_row() -> None:
    assert "can't be reached" in asyncio.run(update.check("x", "1.0", "http://127.0.0.1:9"))[2]
