"""Answers without end, in foreign encodings, cut or under a wrong name: what came is kept, and nothing takes memory without bound."""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from agent.llm import errors
from agent.llm.dialects.anthropic import AnthropicDialect
from agent.llm.dialects.chat import ChatDialect
from agent.llm.dialects.responses import ResponsesDialect
from agent.llm.models.endpoint import Endpoint
from agent.llm.net import limits
from agent.llm.net.http import proxy_of
from agent.llm.request import Schema, ToolSpec
from agent.llm.stream import ReasoningDelta, Reply, Retrying, TextDelta
from tests.agent.llm.doors import ASK, ENDPOINT, Door, door, server, take_request

SMALL = replace(ASK, max_tokens=100)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("BYTES_MORE", 400_000),
        ("LINE_BYTES", 300_000),
        ("CHARACTERS_MORE", 4_000),
        ("EVENTS_MORE", 500),
    ):
        monkeypatch.setattr(limits, name, value)


class Pieces(httpx.AsyncByteStream):
    """A body in pieces, perhaps without end; it counts what was taken of it."""

    def __init__(self, pieces: Iterable[bytes], *, breaks: bool = False) -> None:
        self.pieces = iter(pieces)
        self.breaks = breaks
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.taken += len(piece)
            yield piece
        if self.breaks:
            raise httpx.ReadError("connection reset")


def answers(*bodies: bytes | Pieces, kind: str = "text/event-stream", dialect: Any = None, **headers: str) -> Door:
    responses: list[Callable[[httpx.Request], httpx.Response]] = []
    for body in bodies:
        stream = body if isinstance(body, Pieces) else Pieces([body])
        named = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        responses.append(lambda _request, stream=stream, named=named: httpx.Response(200, stream=stream, headers=named))
    return door(*responses, dialects={ENDPOINT.name: dialect or ChatDialect()})


def asked(bench: Door, request: Any = SMALL) -> Reply:
    async def main() -> Reply:
        async with bench:
            return await bench.ask(request)

    return asyncio.run(main())


def failure(bench: Door, request: Any = SMALL) -> errors.ModelError:
    with pytest.raises(errors.ModelError) as caught:
        asked(bench, request)
    return caught.value


def chunk(text: str | None = None, finish: str | None = None, **fields: Any) -> bytes:
    delta = {**({} if text is None else {"content": text}), **fields}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


def forever(piece: bytes) -> Iterable[bytes]:
    while True:
        yield piece


ANTHROPIC = b'data: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word "}}\n\n'
RESPONSES = b'data: {"type": "response.output_text.delta", "output_index": 0, "delta": "word "}\n\n'
CALL = chunk(tool_calls=[{"index": 0, "id": "1", "function": {"name": "read", "arguments": "word "}}])


@pytest.mark.parametrize(
    ("dialect", "piece", "text"),
    [
        (ChatDialect(), chunk("word ") * 50, "word word"),
        (ChatDialect(), chunk(reasoning="word ") * 50, ""),
        (ChatDialect(), CALL * 50, ""),
        (ChatDialect(), chunk("word " * 10_000), "word word"),
        (ChatDialect(), b": keep-alive\n\n" * 500, ""),
        (ChatDialect(), b"stray\n" * 1_000, ""),
        (ChatDialect(), b"data: {}\n\n" * 500, ""),
        (AnthropicDialect(), ANTHROPIC * 50, "word word"),
        (ResponsesDialect(), RESPONSES * 50, "word word"),
    ],
)
def test_a_stream_without_end_is_cut_off_and_what_came_is_kept(dialect: Any, piece: bytes, text: str) -> None:
    endless = Pieces(forever(piece))
    bench = answers(endless, dialect=dialect)
    error = failure(bench)
    assert type(error) is errors.AnswerTooLong
    assert error.remedy
    assert endless.taken <= limits.answer_bytes(SMALL.max_tokens) + 2 * len(piece)
    shown = "".join(event.text for event in bench.events if isinstance(event, TextDelta | ReasoningDelta))
    kept = error.partial.text if error.partial else ""
    assert kept.startswith(text)
    assert len(kept) + len(shown) <= 2 * limits.answer_characters(SMALL.max_tokens)
    assert len(bench.requests) == 1, "asking again would bring the same"


@pytest.mark.parametrize(
    ("kind", "first", "rest"),
    [
        ("text/event-stream", chunk("half") + b"data: ", b"x" * 10_000),
        ("text/event-stream", chunk("half"), b"data: xxxxxxxxx\n" * 6_000),
        ("application/json", b'{"choices": [{"message": {"content": "half', b" and more" * 10_000),
        ("application/json", b'{"choices": [{"message": {"content": "half"}}], "x": [', b"1," * 50_000),
        ("text/plain", b"", b" " * 10_000),
    ],
)
def test_a_line_and_a_body_without_end(kind: str, first: bytes, rest: bytes) -> None:
    def pieces() -> Iterable[bytes]:
        yield first
        yield from forever(rest)

    endless = Pieces(pieces())
    error = failure(answers(endless, kind=kind))
    assert type(error) is errors.AnswerTooLong
    assert endless.taken <= limits.answer_bytes(SMALL.max_tokens) + 2 * len(rest)
    if first:
        assert error.partial is not None
        assert error.partial.text.startswith("half")


def test_an_encoding_that_was_not_asked_for_is_refused() -> None:
    bomb = gzip.compress(chunk("hi", "stop"))
    for encoding in ("gzip", "br", "GZIP, identity"):
        error = failure(answers(bomb, content_encoding=encoding))
        assert type(error) is errors.BadAnswer
        assert encoding.lower() in error.message
    assert asked(answers(chunk("hi", "stop"), content_encoding="identity")).message.text == "hi"
    refused = door(httpx.Response(503, stream=Pieces([bomb]), headers={"content-encoding": "gzip"}))
    assert failure(refused).kind == "overloaded"


@pytest.mark.parametrize(
    "kind",
    ["text/event-stream; charset=ISO-8859-1", "text/event-stream; charset=rot13", "text/event-stream; charset=utf-16", "text/event-stream"],
)  # fmt: skip
def test_a_stream_is_utf_8_whatever_its_head_says(kind: str) -> None:
    body = b"\xef\xbb\xbf" + chunk("Grüße, ") + chunk("日本", "stop")
    assert asked(answers(body, kind=kind)).message.text == "Grüße, 日本"
    # One byte at a time, with each kind of line end.
    for end in (b"\r\n", b"\r", b"\n"):
        single = [bytes([byte]) for byte in body.replace(b"\n", end)]
        assert asked(answers(Pieces(single), kind=kind)).message.text == "Grüße, 日本"


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream"])
def test_a_stream_under_another_name_is_read_as_it_comes(kind: str) -> None:
    bench = answers(Pieces([b": hello\n\n", chunk("one "), chunk("two"), chunk(None, "stop")]), kind=kind)
    assert asked(bench).message.text == "one two"
    assert [event.text for event in bench.events if isinstance(event, TextDelta)] == ["one ", "two"]


WHOLE = json.dumps({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}, indent=1).encode()


def test_a_whole_answer_under_the_name_of_a_stream() -> None:
    assert asked(answers(WHOLE)).message.text == "hi"
    assert asked(answers(b"\xef\xbb\xbf" + WHOLE, kind="application/json")).message.text == "hi"


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (
            b'{"error":{"message":"Insufficient balance","code":"invalid_request_error"}}\n',
            errors.PaymentRequired,
            "balance",
        ),
        (b'{\n "error": {\n  "message": "No such key",\n  "code": 401\n }\n}', errors.AuthError, "No such key"),
        (chunk("half") + b'{"error": {"message": "gone", "code": 502}}\n\n', errors.StreamBroken, "gone"),
        (b'event: error\ndata: {"message": "Insufficient balance"}\n\n', errors.PaymentRequired, "balance"),
        (b'data: {"code": "Arrearage", "message": "good standing"}\n\n', errors.PaymentRequired, "standing"),
    ],
)
def test_an_error_in_a_stream_keeps_its_words(body: bytes, kind: type[errors.ModelError], words: str) -> None:
    bench = answers(body)
    error = failure(bench)
    assert type(error) is kind
    assert words in error.message
    assert len(bench.requests) == 1 or error.retryable


def test_a_body_that_breaks_off_keeps_its_text() -> None:
    cut = b'{"id": "x", "usage": {"prompt_tokens": 1}, "choices": [{"message": {"content": "half of'
    for stream in (Pieces([cut]), Pieces([cut], breaks=True)):
        error = failure(answers(stream, kind="application/json"))
        assert type(error) is errors.StreamBroken
        assert error.partial is not None
        assert error.partial.text == "half of"


@pytest.mark.parametrize(
    "last",
    [b'data: {"choices": [{"delta": {"content": "more wor', b'data: {"choices": [{"delta": {"content": "more wor\n\n'],
)
def test_an_event_that_breaks_off_keeps_its_text(last: bytes) -> None:
    for breaks in (True, False):
        error = failure(answers(Pieces([chunk("half and "), last], breaks=breaks)))
        assert type(error) is errors.StreamBroken
        assert error.partial is not None
        assert error.partial.text == "half and more wor"


def test_an_odd_field_is_no_reason_to_lose_the_answer() -> None:
    deep, long = "[" * 800 + "]" * 800, "9" * 5000
    for odd in (deep, f'{{"a": {deep}}}', long, "1e999", "NaN"):
        extra = f'{{"choices": [{{"delta": {{"content": "there", "reasoning_details": [{{"type": "x", "data": {odd}}}]}}}}]}}'
        reply = asked(answers(chunk("Hello ") + b"data: " + extra.encode() + b"\n\n" + chunk(None, "stop")))
        assert reply.message.text == "Hello there"
        assert json.dumps(copy.deepcopy(reply.message.extra), allow_nan=False)
        body = f'{{"x": {odd}, "choices": [{{"message": {{"content": "hi"}}, "finish_reason": "stop"}}]}}'.encode()
        assert asked(answers(body, kind="application/json")).message.text == "hi"


def test_a_whole_answer_in_one_event() -> None:
    message = {"type": "message", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
    response = {
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}],
    }
    for payload, dialect in ((message, AnthropicDialect()), (response, ResponsesDialect())):
        assert asked(answers(b"data: " + json.dumps(payload).encode() + b"\n\n", dialect=dialect)).message.text == "hi"


GROQ = {
    "message": "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
    "type": "invalid_request_error",
    "code": "tool_use_failed",
    "failed_generation": '<function=read={"path": "a.txt"}</function>',
}


def test_what_the_provider_could_not_read_is_asked_for_once_more_with_its_words() -> None:
    refused = httpx.Response(400, json={"error": GROQ})
    good = httpx.Response(200, content=chunk("ok", "stop"), headers={"content-type": "text/event-stream"})
    bench = door(refused, good, dialects={ENDPOINT.name: ChatDialect()})
    assert asked(bench).message.text == "ok"
    first, second = (body["messages"] for body in bench.bodies())
    assert second[: len(first)] == first, "what was sent stays sent"
    assert "<function=read=" in second[-1]["content"]
    assert [event.adapted for event in bench.events if isinstance(event, Retrying)] == [True]
    again = door(refused, dialects={ENDPOINT.name: ChatDialect()})
    assert failure(again).kind == "output_refused"
    assert len(again.requests) == 2
    # In the stream, behind the reasoning.
    late = answers(
        chunk(reasoning="hm") + b"data: " + json.dumps({"error": GROQ}).encode() + b"\n\n", chunk("ok", "stop")
    )
    assert asked(late).message.text == "ok"


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({"ALL_PROXY": "socks://127.0.0.1:1080/"}, "socks5://127.0.0.1:1080/"),
        ({"ALL_PROXY": "socks5h://u:p@127.0.0.1:1080"}, "socks5h://u:p@127.0.0.1:1080"),
        ({"ALL_PROXY": "socks://127.0.0.1:1080/", "HTTPS_PROXY": "http://127.0.0.1:3128"}, "http://127.0.0.1:3128"),
        ({"HTTPS_PROXY": "127.0.0.1:3128"}, "http://127.0.0.1:3128"),
        ({"ALL_PROXY": "socks://127.0.0.1:1080/", "NO_PROXY": "models.test"}, None),
        ({}, None),
    ],
)
def test_which_proxy_is_used(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], proxy: str | None) -> None:
    for name in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_of("https://models.test/v1") == proxy


def proxied(monkeypatch: pytest.MonkeyPatch, address: str) -> Endpoint:
    """An endpoint that is reached by this proxy."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("ALL_PROXY", address)
    monkeypatch.setenv("all_proxy", address)
    return ENDPOINT.with_(base_url="http://models.test/v1")


@pytest.mark.parametrize(
    "address", ["socks4://127.0.0.1:9", "ftp://127.0.0.1:9", "socks5://127.0.0.1:9", "http://[::1"]
)
def test_a_proxy_that_can_not_be_used_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    endpoint = proxied(monkeypatch, address)
    error = failure(door(httpx.Response(200), endpoint=endpoint, network=True))
    assert "proxy" in error.message or type(error) is errors.ConnectionFailed
    assert error.remedy


def test_a_socks_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("socksio")
    reached: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """RFC 1928: no authentication, one CONNECT by name, and then the endpoint itself."""
        _version, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        length = (await reader.readexactly(5))[4]
        reached.append(await reader.readexactly(length))
        await reader.readexactly(2)
        writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
        await take_request(reader)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        writer.write(head + chunk("through") + chunk(None, "stop"))
        await writer.drain()
        writer.close()

    async def main() -> Reply:
        async with server(proxy) as there:
            address = there.base_url.removesuffix("/v1").replace("http://", "socks://")
            endpoint = proxied(monkeypatch, address)
            async with door(
                httpx.Response(200), endpoint=endpoint, network=True, dialects={ENDPOINT.name: ChatDialect()}
            ) as bench:
                return await bench.ask(SMALL)

    assert asyncio.run(main()).message.text == "through"
    assert reached == [b"models.test"]


def test_an_emulated_answer_without_end_keeps_what_it_said() -> None:
    def pieces() -> Iterable[bytes]:
        yield chunk('{"answer": "half')
        yield from forever(chunk(" and more" * 50))

    request = replace(SMALL, tools=(ToolSpec("read", "Read.", {"type": "object", "properties": {}}),))
    endpoint = ENDPOINT.with_(native_tools=False)
    headers = {"content-type": "text/event-stream"}
    bench = door(
        lambda _request: httpx.Response(200, stream=Pieces(pieces()), headers=headers),
        endpoint=endpoint,
        dialects={ENDPOINT.name: ChatDialect()},
    )
    error = failure(bench, request)
    assert type(error) is errors.AnswerTooLong
    assert error.partial is not None
    assert error.partial.text.startswith("half and more")


@pytest.mark.parametrize("mode", ["json_schema", "json_object"])
def test_a_refused_json_mode_is_asked_for_once(mode: Any) -> None:
    words = {"error": {"message": "Unsupported parameter: 'response_format' is not supported with this model."}}
    good = httpx.Response(200, content=chunk("{}", "stop"), headers={"content-type": "text/event-stream"})
    bench = door(httpx.Response(400, json=words), good, dialects={ENDPOINT.name: ChatDialect()})
    schema = Schema("thing", {"type": "object", "properties": {"a": {"type": "string"}}}, mode=mode)
    assert asked(bench, replace(SMALL, schema=schema)).message.text == "{}"
    first, second = bench.bodies()
    assert first["response_format"]["type"] == mode
    assert "response_format" not in second
    assert "JSON schema" in str(second["messages"]), "it is asked for in words"
