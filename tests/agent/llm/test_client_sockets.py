"""The door over real sockets: what is closed, what is kept, and how fast."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from agent.llm.client import Clocks
from agent.llm.errors import ConnectionFailed, StreamBroken, TimedOut
from agent.llm.models.endpoint import Endpoint
from agent.llm.net.http import Http
from agent.llm.net.retry import RetryPolicy
from agent.llm.stream import Retrying, TextDelta
from tests.agent.llm.doors import ASK, GOOD, HEAD, MAIN, chunk, door, server, sse, take_request
from tests.support.waiting import soon, until

ONCE = RetryPolicy(attempts=1)
LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.slow)]  # the server runs on uvloop where it is there
loop_name = "asyncio"


@pytest.fixture(autouse=True, params=LOOPS)
def _loop(request: pytest.FixtureRequest) -> None:
    global loop_name
    loop_name = request.param


def run(main: Coroutine[Any, Any, None]) -> None:
    """On the event loop of this row."""
    factory = pytest.importorskip("uvloop").new_event_loop if loop_name == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


class Server:
    """Answers with `pieces`, then waits for the client to hang up; notes connections, requests and when the client was gone."""

    def __init__(self, *pieces: bytes, hang: bool = False) -> None:
        self.pieces = pieces
        self.hang = hang
        self.connections = 0
        self.requests = 0
        self.gone: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                await take_request(reader)
                self.requests += 1
                for piece in self.pieces:
                    writer.write(piece)
                    await writer.drain()
                if self.hang:
                    await reader.read()
                    raise ConnectionError
        except (asyncio.IncompleteReadError, ConnectionError):
            if not self.gone.done():
                self.gone.set_result(asyncio.get_running_loop().time())
        finally:
            writer.close()


def test_cancelling_closes_the_socket_at_once() -> None:
    async def main() -> None:
        answering = Server(HEAD, chunk(sse({"say": "one"}, done=False)), hang=True)
        async with server(answering) as endpoint, door(endpoint=endpoint, network=True) as it:
            heard = asyncio.Event()

            async def listen() -> None:
                async with aclosing(it.client.stream(ASK, MAIN)) as stream:
                    async for event in stream:
                        if isinstance(event, TextDelta):
                            heard.set()

            task = asyncio.create_task(listen())
            await heard.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await soon(answering.gone)
            (settled,) = it.books.settled
            assert (settled.outcome, settled.cost_nano, settled.usage) == ("cancelled", None, None)

    run(main())


def test_closing_the_stream_is_cancelling_too() -> None:
    async def main() -> None:
        answering = Server(HEAD, chunk(sse({"say": "one"}, done=False)), hang=True)
        async with server(answering) as endpoint, door(endpoint=endpoint, network=True) as it:
            async with aclosing(it.client.stream(ASK, MAIN)) as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        break
            await soon(answering.gone)
            assert it.books.settled[0].outcome == "cancelled"

    run(main())


def test_a_call_that_still_waits_for_its_head_can_be_cancelled() -> None:
    async def main() -> None:
        answering = Server(hang=True)
        async with (
            server(answering) as endpoint,
            door(endpoint=endpoint.with_(max_concurrency=1), network=True) as it,
        ):
            task = asyncio.create_task(it.ask())
            waiting = asyncio.create_task(it.ask())
            await until(lambda: answering.connections)
            waiting.cancel()
            task.cancel()
            await asyncio.gather(task, waiting, return_exceptions=True)
            await soon(answering.gone)
            assert answering.connections == 1
            assert sorted((settled.outcome, settled.cost_nano) for settled in it.books.settled if settled.usage) == [
                ("cancelled", 0)
            ]
            assert len(it.books.settled) == 2

    run(main())


def test_a_connection_is_used_again_after_the_last_words_of_an_answer() -> None:
    async def main() -> None:
        # The end of the body comes with `[DONE]`, which is where the door stops reading.
        answering = Server(HEAD, chunk(GOOD) + chunk(b""))
        async with server(answering) as endpoint, door(endpoint=endpoint, network=True) as it:
            for _ in range(3):
                assert (await it.ask()).message.text == "hi there"
            assert (answering.connections, answering.requests) == (1, 3)
            await it.client.aclose()
            await soon(answering.gone)

    run(main())


def test_what_stands_in_the_head_of_a_request() -> None:
    """A name and a password in the address say who asks; a header may have what no ASCII has."""

    async def main() -> None:
        heads: list[bytes] = []

        async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(HEAD + chunk(GOOD) + chunk(b""))
            await writer.drain()
            writer.close()

        said = {"x-title": "Café", "X-Other": "日", "Authorization": "Bearer k"}
        async with server(answering) as endpoint:
            at = endpoint.base_url.removeprefix("http://")
            for url in (f"http://{at}/chat", f"http://me:p%40ss@{at}/chat"):
                http = Http()
                await http.send(endpoint, "POST", url, said, b"ask", 5)
                await http.aclose()
        host = b"host: " + at.partition("/")[0].encode()
        titles = [b"x-title: Caf\xe9", "x-other: 日".encode()]
        for head, who in zip(heads, (b"authorization: Bearer k", b"authorization: Basic bWU6cEBzcw=="), strict=True):
            first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
            assert first == b"POST /v1/chat HTTP/1.1"
            assert sorted(lines) == sorted([host, b"accept: */*", b"content-length: 3", *titles, who])

    run(main())


def test_a_server_that_never_ends_its_stream_does_not_keep_us_waiting() -> None:
    async def main() -> None:
        async with (
            server(Server(HEAD, chunk(GOOD), hang=True)) as endpoint,
            door(endpoint=endpoint, network=True) as it,
        ):
            assert (await soon(it.ask())).message.text == "hi there"

    run(main())


def test_an_idle_connection_that_the_server_closed_is_not_used() -> None:
    async def main() -> None:
        async def one_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await take_request(reader)
            writer.write(HEAD + chunk(GOOD) + chunk(b""))
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            closed.set()

        closed = asyncio.Event()
        async with server(one_each) as endpoint, door(endpoint=endpoint, network=True, retry=ONCE) as it:
            for _ in range(2):
                closed.clear()
                await it.ask()
                await closed.wait()
                for _ in range(3):  # our end hears of it
                    await asyncio.sleep(0)

    run(main())


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["nothing", "half a head"])
def test_a_request_that_was_read_is_not_sent_again_in_silence(said: bytes) -> None:
    """On a connection that has been used before, too: what the provider has read it may bill."""

    async def main() -> None:
        read: list[bytes] = []

        async def second_breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                read.append(await take_request(reader))
                if len(read) == 2:
                    writer.write(said)
                    await writer.drain()
                    writer.close()
                    return
                writer.write(HEAD + chunk(GOOD) + chunk(b""))
                await writer.drain()

        async with server(second_breaks_off) as endpoint, door(endpoint=endpoint, network=True) as it:
            await it.ask()
            assert (await it.ask()).retries == 1
            assert len(read) == 3
            assert [settled.outcome for settled in it.books.settled] == ["done", "failed", "done"]
            assert it.books.settled[1].cost_nano is None
            assert [event.adapted for event in it.events if isinstance(event, Retrying)] == [False]

    run(main())


@pytest.mark.parametrize("tail", [b"", b"5\r\ndata:"], ids=["between chunks", "in a chunk"])
def test_a_cut_stream_is_a_broken_one(tail: bytes) -> None:
    async def main() -> None:
        async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await take_request(reader)
            writer.write(HEAD + chunk(sse({"say": "half"}, done=False)) + tail)
            await writer.drain()
            writer.close()

        async with server(cut) as endpoint, door(endpoint=endpoint, network=True) as it:
            with pytest.raises(StreamBroken) as caught:
                await it.ask()
            assert caught.value.partial is not None and caught.value.partial.text == "half"

    run(main())


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_a_server_that_speaks_no_http_is_a_failed_connection(said: bytes) -> None:
    async def main() -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await take_request(reader)
            writer.write(said)
            await writer.drain()
            writer.close()

        async with server(talk) as endpoint:
            with pytest.raises(ConnectionFailed):
                async with door(endpoint=endpoint, network=True, retry=ONCE) as it:
                    await it.ask()

    run(main())


def test_nobody_listens() -> None:
    async def main() -> None:
        async with server(Server()) as endpoint:
            pass
        with pytest.raises(ConnectionFailed, match="nothing listens there"):
            async with door(endpoint=endpoint, network=True, retry=ONCE) as it:
                await it.ask()

    run(main())


def test_a_connection_that_does_not_stand_in_time() -> None:
    async def main() -> None:
        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        # A TLS greeting that is never answered is as slow as any connection.
        async with server(mute) as endpoint:
            secure = endpoint.with_(base_url=endpoint.base_url.replace("http:", "https:"))
            async with door(endpoint=secure, network=True, retry=ONCE, clocks=Clocks(connect=0.1)) as it:
                with pytest.raises(TimedOut) as caught:
                    await it.ask()
                assert caught.value.clock == "connect" and it.books.settled[0].cost_nano == 0

    run(main())


def test_tls_is_verified_and_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    places = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    made = subprocess.run([*command.split(), *places], capture_output=True, check=False)
    assert made.returncode == 0, made.stderr

    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        answering = Server(HEAD, chunk(GOOD) + chunk(b""))
        async with server(answering, ssl=context) as endpoint:
            with pytest.raises(ConnectionFailed, match="certificate"):
                async with door(endpoint=endpoint, network=True, retry=ONCE) as it:
                    await it.ask()
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            async with door(endpoint=endpoint, network=True, retry=ONCE) as it:
                assert (await it.ask()).message.text == "hi there"

    run(main())


def test_the_first_byte_leaves_early() -> None:
    """Importing the door loads no HTTP library; a first call over http:// loads neither httpcore nor anyio nor a TLS context."""
    program = """
        import asyncio, sys
        import agent.llm.client
        assert not {"httpx", "httpcore", "h11", "anyio", "genai_prices", "difflib"} & set(sys.modules)

        async def main():
            # The support module imports httpx by itself, as nothing on the way of a real call does.
            from agent.llm.net.http import load_httpx
            load_httpx()
            from tests.agent.llm.doors import door, server, GOOD, HEAD, chunk, take_request

            async def talk(reader, writer):
                await take_request(reader)
                loaded = {"httpcore", "anyio", "click", "genai_prices", "json_repair", "certifi"} & set(sys.modules)
                assert not loaded, loaded
                writer.write(HEAD + chunk(GOOD) + chunk(b""))
                await writer.drain()
                writer.close()

            async with server(talk) as endpoint:
                async with door(endpoint=endpoint, network=True) as it:
                    await it.ask()

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr


def test_loopback_is_reached_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        proxy = Server(HEAD, chunk(GOOD) + chunk(b""))
        async with server(proxy) as there, server(Server(HEAD, chunk(GOOD) + chunk(b""))) as endpoint:
            monkeypatch.setenv("HTTP_PROXY", there.base_url.removesuffix("/v1"))
            monkeypatch.setenv("http_proxy", there.base_url.removesuffix("/v1"))
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            async with door(endpoint=endpoint, network=True) as it:
                await it.ask()
            assert proxy.requests == 0
            far = Endpoint("fake", "http://models.example.test/v1", api_key="k")
            async with door(endpoint=far, network=True) as it:
                assert (await it.ask()).message.text == "hi there"
                assert proxy.requests == 1

    run(main())


def test_closing_the_door_closes_what_is_still_open() -> None:
    async def main() -> None:
        answering = Server(HEAD, chunk(sse({"say": "one"}, done=False)), hang=True)
        async with server(answering) as endpoint, door(endpoint=endpoint, network=True, retry=ONCE) as it:
            stream = it.client.stream(ASK, MAIN)
            while not isinstance(await anext(stream), TextDelta):
                pass
            await it.client.aclose()
            await soon(answering.gone)
            with pytest.raises(StreamBroken):
                await anext(stream)

    run(main())
