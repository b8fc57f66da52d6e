"""`moa web`: who is let in, and the chat in a real browser."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support import browser
from tests.support.browser import Browser
from tests.support.endpoint import ScriptedEndpoint
from tests.support.processes import alive, children
from tests.support.program import Program, end
from tests.support.script import Behaviour, Say, Script
from tests.support.waiting import wait_until

pytestmark = pytest.mark.alone


class Served:
    """A running `moa web` and the address that it printed."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        self.child = child
        found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", child.stdout.readline())
        assert found is not None
        self.url, self.port, self.token = found[0], int(found[1]), found[2]

    def get(self, path: str, **headers: str) -> tuple[int, Mapping[str, str], str]:
        """A request as anybody on this machine can make it: status, headers (small letters), body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest("GET", path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        status, fields = response.status, {name.lower(): value for name, value in response.getheaders()}
        cookies = [value for name, value in response.getheaders() if name.lower() == "set-cookie"]
        body = "" if status == 101 else response.read().decode("utf-8", "replace")
        connection.close()
        return status, {**fields, "set-cookie": "\n".join(cookies)}, body

    def enter(self) -> tuple[str, str]:
        """Come in by the printed address: the cookie, and the path of a new tab."""
        _status, headers, body = self.get(f"/?token={self.token}")
        cookie = headers["set-cookie"].partition(";")[0]
        place = re.search(r"url=(\S+)\"", body)
        assert place is not None
        status, headers, _body = self.get(place[1], Cookie=cookie)
        assert status == 303
        return cookie, headers["location"]


UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": base64.b64encode(b"0123456789abcdef").decode(),
}


@pytest.fixture
def served(program: Program) -> Iterator[Served]:
    """`moa web` without a browser, on a port of its own."""
    child = program.start("web", "--no-open", "--port", "0")
    yield Served(child)
    end(child)


def test_nobody_comes_in_without_the_address(served: Served) -> None:
    cookie, tab = served.enter()
    place = tab.partition("/tab/")[0]
    for path in ("/", "/?token=wrong", "/?token=", "/?token=%ff", f"{place}/", tab, f"{place}/static/js/textual.js"):
        status, _headers, body = served.get(path)
        assert (status, "printed" in body) == (403, True), path
    for cookie_of_others in ("moa=guess", "moa=\xff\xfe", "moa=" + "\xe4" * 5_000, "\xff=\xff; moa", "moa"):
        assert served.get(tab, Cookie=cookie_of_others)[0] == 403
    assert served.get(tab, Cookie=cookie)[0] == 200
    assert served.get(f"{place}/tab/unknown/", Cookie=cookie)[0] == 404
    assert served.get(f"{place}/static/", Cookie=cookie)[0] in (403, 404), "no listing of files"


def test_the_cookie_stays_where_it_belongs(served: Served) -> None:
    _status, headers, body = served.get(f"/?token={served.token}")
    for cookie in headers["set-cookie"].split("\n"):
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/;" not in cookie
    values = dict(cookie.partition(";")[0].split("=", 1) for cookie in headers["set-cookie"].split("\n"))
    _cookie, tab = served.enter()
    for value in values.values():  # another server on this machine may be given the one for downloads
        assert served.get(tab, Cookie=f"moa-download={value}")[0] == 403
    assert served.get(tab, Cookie=f"moa={values['moa-download']}")[0] == 403
    assert served.get("/download/none", Cookie=f"moa-download={values['moa-download']}")[0] == 404
    assert served.get("/download/none", Cookie=f"moa-download={values['moa']}")[0] == 403
    assert served.token not in body
    assert headers["referrer-policy"] == "no-referrer"


def test_another_page_can_not_ask(served: Served) -> None:
    cookie, tab = served.enter()
    port = served.port
    own, other = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    # DNS rebinding: the browser believes that it talks to somebody else's host.
    assert served.get(tab, Cookie=cookie, Host=f"rebound.test:{port}")[0] == 403
    assert served.get(f"/?token={served.token}", Host="rebound.test")[0] == 403
    # Cross-site WebSocket: cookies go along, and no same-origin policy stops it.
    socket = f"{tab}ws"
    assert served.get(socket, Cookie=cookie, **UPGRADE)[0] == 403, "a browser names its origin"
    for origin in ("http://e.vil", "null", other, f"https://127.0.0.1:{port}"):
        assert served.get(socket, Cookie=cookie, Origin=origin, **UPGRADE)[0] == 403, origin
        assert served.get(tab, Cookie=cookie, Origin=origin)[0] == 403, origin
    assert served.get(socket, Origin=own, **UPGRADE)[0] == 403, "and without the cookie its own page can't either"
    assert served.get(socket, Cookie=cookie, Origin=own, **UPGRADE)[0] == 101
    assert served.get(f"/?token={served.token}", Host=f"localhost:{port}")[0] == 200


def test_the_page_takes_nothing_from_elsewhere(served: Served) -> None:
    cookie, tab = served.enter()
    _status, headers, body = served.get(tab, Cookie=cookie)
    assert not re.search(r"https?://", body), "no fonts, scripts or images of others"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "access-control-allow-origin" not in headers


def test_it_listens_on_this_machine_alone_and_ends_in_order(program: Program, served: Served) -> None:
    listening = Path(f"/proc/{served.child.pid}/net/tcp")
    if listening.exists():
        rows = [line.split() for line in listening.read_text().splitlines()[1:]]
        local = struct.pack("<I", 0x7F000001).hex().upper()
        assert [row[1] for row in rows if row[1].endswith(f":{served.port:04X}") and row[3] == "0A"] == [
            f"{local}:{served.port:04X}"
        ]
    for odd in (b"GET /?\xff HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as page:
            page.sendall(odd)
            assert b" 400 " in page.recv(4096)
    os.kill(served.child.pid, signal.SIGINT)
    assert served.child.wait(10) == 0
    assert served.child.stderr is not None and "Traceback" not in served.child.stderr.read()


@pytest.mark.sample(1)
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_chat_outlives_the_server(served: Served, how: signal.Signals) -> None:
    cookie, tab = served.enter()
    page = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    headers = {name.replace("_", "-"): value for name, value in UPGRADE.items()}
    page.request("GET", f"{tab}ws", headers={**headers, "Cookie": cookie, "Origin": f"http://127.0.0.1:{served.port}"})
    assert page.sock.recv(12) == b"HTTP/1.1 101"
    while b"\x1b[?1049h" not in page.sock.recv(65536):
        pass  # until the chat draws
    (chat,) = children(served.child.pid)
    served.child.send_signal(how)
    assert served.child.wait(10) in (0, -how)
    wait_until(lambda: not alive(chat), lambda: "it goes on without a server")
    page.close()


def test_a_taken_port_is_said(program: Program, served: Served) -> None:
    done = program("web", "--no-open", "--port", str(served.port))
    assert done.code == 2
    assert str(served.port) in done.err


def test_without_the_extra_it_says_how_to_get_it(program: Program, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['aiohttp'] = None\n")
    done = program("web", "--no-open", env={"PYTHONPATH": str(tmp_path)})
    assert done.code == 2
    assert "pip install 'moa-agent[web]'" in done.err


def messages(program: Program) -> dict[str, list[str]]:
    """What was said, by session."""
    found: dict[str, list[str]] = {}
    for path in sorted((program.state_dir / "sessions").glob("*.jsonl")):
        entries = [json.loads(line)["entry"] for line in path.read_text().splitlines()]
        said = [entry["message"] for entry in entries if entry["type"] == "message"]
        texts = ["".join(part.get("text", "") for part in message["parts"]) for message in said]
        found[path.stem] = [text for text, message in zip(texts, said, strict=True) if message["role"] != "system"]
    return found


def drawn(page: Browser) -> bool:
    """The program has drawn its first frames into the page's terminal, and the session is open: nothing changes any more."""
    if not page.run("return document.body !== null && document.body.classList.contains('-first-byte')"):
        return False
    before = page.screenshot()
    time.sleep(0.5)
    return page.screenshot() == before


@pytest.mark.slow
@pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))
def test_a_conversation_in_a_real_browser(
    program: Program, endpoint: ScriptedEndpoint, served: Served, tmp_path: Path
) -> None:
    endpoint.script = Script(models={"worker": Behaviour(steps=(Say(text="- I hear you\n" * 30),))})
    with Browser(tmp_path / "profile") as page:
        page.go(served.url)
        page.wait(lambda: drawn(page), "the first frame")
        before = page.url
        assert served.token not in before and "/tab/" in before
        empty = page.screenshot()
        assert struct.unpack(">II", empty[16:24]) >= (800, 500)
        size = page.run("const c = document.querySelector('canvas'); return [c.width, c.height]")
        assert size[0] > 600 and size[1] > 300, "the terminal fills the window"

        page.type("hello from a browser\n")
        page.wait(
            lambda: any("I hear you" in text for texts in messages(program).values() for text in texts), "an answer"
        )
        (session,) = messages(program)
        assert messages(program)[session][0] == "hello from a browser"
        page.wait(lambda: len(page.screenshot()) > 1.3 * len(empty), "the answer on the screen")

        page.reload()
        page.wait(lambda: drawn(page), "the first frame after the reload")
        page.wait(lambda: len(page.screenshot()) > 1.3 * len(empty), "the old conversation on the screen")
        assert page.url == before
        page.type("and once more\n")
        page.wait(lambda: "and once more" in messages(program)[session], "the second message in the same session")
        assert list(messages(program)) == [session]

        hosts = {urlsplit(name).netloc for name in page.run("return performance.getEntries().map(e => e.name)")}
        assert hosts - {""} == {f"127.0.0.1:{served.port}"}, "nothing came from anywhere else"
        assert not [line for line in page.log() if "Content Security Policy" in line or "404" in line]

        page.wait(lambda: messages(program)[session][-1].startswith("- I hear"), "the second answer")
        page.type("/quit\n")
        page.wait(lambda: page.run("return document.body.classList.contains('-closed')"), "the end of the chat")
        page.run("document.getElementById('again').click()")
        page.wait(lambda: drawn(page), "the first frame after going on")
        assert page.url == before


@pytest.mark.slow
@pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))
def test_a_reload_in_mid_answer_keeps_what_came(program: Program, endpoint: ScriptedEndpoint, tmp_path: Path) -> None:
    child = program.start("web", "--no-open", "--port", "0", "--model", "fake:shape-stall")
    try:
        served = Served(child)
        with Browser(tmp_path / "profile") as page:
            page.go(served.url)
            page.wait(lambda: drawn(page), "the first frame")
            page.type("hello\n")
            endpoint.wait_for(lambda: endpoint.calls() and endpoint.calls()[0].first_token)
            page.reload()
            page.wait(lambda: drawn(page), "the first frame after the reload")
            endpoint.wait_for(lambda: endpoint.calls()[0].disconnected)
            kept = ["hello", "These words arrive and then it breaks."]
            page.wait(lambda: [texts[:2] for texts in messages(program).values()] == [kept], "what came to be kept")
    finally:
        end(child)
