"""The door against llmock, a server of faults that nobody here wrote and that grades its clients.

It runs as a process of its own on loopback. It fails a client that does not retry a truncated stream; ours must not once the first token
has been read, so there the incomplete outcome is what is asserted, and that this is the only thing it finds.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from agent.llm.client import Clocks
from agent.llm.errors import (
    AuthError,
    BadRequest,
    ContextOverflow,
    ModelError,
    Overloaded,
    RateLimited,
    StreamBroken,
    TimedOut,
)
from agent.llm.models.endpoint import Endpoint
from agent.llm.net.retry import RetryPolicy
from agent.llm.stream import TextDelta
from tests.agent.llm.doors import ASK, Door, door

PROGRAM = """
import sys
from llmock.testing import LLMockServer
with LLMockServer() as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""

DIALECTS = {"chat": "/v1", "anthropic": "/anthropic/v1", "responses": "/v1"}
SOON = {"retry_after": 0.1}


class Mock:
    """The server, through its admin interface."""

    def __init__(self, url: str) -> None:
        self.url = url

    def admin(self, path: str, value: object = None) -> Any:
        data = None if value is None else json.dumps(value).encode()
        with urllib.request.urlopen(f"{self.url}/_llmock/{path}", data=data, timeout=10) as answer:
            return json.load(answer)

    def script(self, *behaviours: dict[str, Any]) -> None:
        self.admin("reset", {})
        self.admin("scenario", {"behaviors": list(behaviours)})

    def findings(self) -> list[str]:
        return [finding["code"] for finding in self.admin("verdict")["findings"] if finding["severity"] == "error"]

    def attempts(self) -> int:
        return int(self.admin("requests")["count"])


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=-1, stdout=-1, stderr=-3, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url, "llmock did not start"
            yield Mock(url)
        finally:
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(params=sorted(DIALECTS))
def endpoint(request: pytest.FixtureRequest, mock: Mock) -> Endpoint:
    base_url = mock.url + DIALECTS[request.param]
    return Endpoint("fake", base_url, dialect=request.param, api_key="sk-llmock-test", free=True)


def opened(endpoint: Endpoint, **options: Any) -> Door:
    # The real dialects, over real sockets.
    settings: dict[str, Any] = {"dialects": {}, "retry": RetryPolicy(base_s=0.1, seed=4)}
    return door(endpoint=endpoint, network=True, **(settings | options))


async def asked(it: Door) -> Any:
    try:
        return await it.ask(ASK)
    finally:
        await it.client.aclose()


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [{"type": "fail", "status": 429, "retry_after": 0.5}],
        [{"type": "fail", "status": 500, **SOON}, {"type": "fail", "status": 503, **SOON}],
        [{"type": "fail", "status": 529, "times": 2, **SOON}],
        [{"type": "slow_first_token", "seconds": 0.2}],
    ],
    ids=["none", "rate limit", "500 and 503", "overloaded", "slow"],
)
@pytest.mark.sample(3)
def test_faults_that_pass(mock: Mock, endpoint: Endpoint, faults: list[dict[str, Any]]) -> None:
    mock.script(*(faults or [{"type": "delay", "seconds": 0.0}]))
    it = opened(endpoint)
    reply = asyncio.run(asked(it))
    assert reply.message.text and not reply.message.incomplete and reply.usage is not None
    assert mock.findings() == []
    assert it.books.settled[0].outcome == "done"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, None, BadRequest),
        (400, "context_length_exceeded", ContextOverflow),
        (401, None, AuthError),
        (403, None, AuthError),
        (422, None, BadRequest),
    ],
)
def test_refusals_are_final(
    mock: Mock, endpoint: Endpoint, status: int, code: str | None, kind: type[ModelError]
) -> None:
    message = "prompt is too long: maximum context length exceeded" if code else "not like this"
    mock.script({"type": "fail", "status": status, "code": code, "message": message, "times": None})
    with pytest.raises(kind):
        asyncio.run(asked(opened(endpoint)))
    assert mock.attempts() == 1
    assert mock.findings() == []


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimited), (503, Overloaded)])
def test_an_outage_is_given_up_in_order(mock: Mock, endpoint: Endpoint, status: int, kind: type[ModelError]) -> None:
    mock.script({"type": "fail", "status": status, "times": None, **SOON})
    with pytest.raises(kind):
        asyncio.run(asked(opened(endpoint)))
    assert mock.attempts() == 3
    assert mock.findings() == []


@pytest.mark.parametrize("fault", ["truncate", "disconnect", "malformed"])
def test_a_stream_that_breaks_after_its_first_words_is_kept_as_incomplete(
    mock: Mock, endpoint: Endpoint, fault: str
) -> None:
    # The first two events of Anthropic and the first four of Responses carry no text.
    mock.script({"type": "stream_fault", "kind": fault, "after_chunks": 5})
    it = opened(endpoint)
    try:
        asyncio.run(asked(it))
    except StreamBroken as error:
        assert error.partial is not None and error.partial.text and error.partial.incomplete
        assert it.books.settled[0].outcome == "incomplete"
    else:
        # One unreadable chunk is skipped where the rest of the answer came and ended in order.
        assert fault == "malformed"
    assert any(isinstance(event, TextDelta) for event in it.events)
    assert mock.attempts() == 1
    assert mock.findings() == (["truncated_stream_accepted"] if fault == "truncate" else [])


@pytest.mark.parametrize("fault", ["truncate", "disconnect"])
def test_a_stream_that_breaks_before_its_first_word_is_sent_again(mock: Mock, endpoint: Endpoint, fault: str) -> None:
    mock.script({"type": "stream_fault", "kind": fault, "after_chunks": 0})
    reply = asyncio.run(asked(opened(endpoint)))
    assert reply.message.text and reply.retries == 1
    assert mock.findings() == []


def test_a_stall_ends_with_the_silence_clock(mock: Mock, endpoint: Endpoint) -> None:
    mock.script({"type": "stream_fault", "kind": "stall", "after_chunks": 6, "stall_seconds": 1.5})
    with pytest.raises(TimedOut) as caught:
        asyncio.run(asked(opened(endpoint, clocks=Clocks(silence=0.3))))
    assert caught.value.clock == "silence" and caught.value.partial is not None
    assert mock.findings() == []
