"""The door: what it retries, what it adapts, what it tells the books."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import httpx
import pytest

from agent.errors import UsageError
from agent.ledger.book import Ledger
from agent.ledger.patient import PatientLedger
from agent.llm.accounting import Bound, CallContext, Cap, Purpose
from agent.llm.client import Clocks
from agent.llm.errors import (
    BudgetReached,
    ConnectionFailed,
    EmptyAnswer,
    ModelError,
    Overloaded,
    RateLimited,
    StreamBroken,
    TimedOut,
    Unsupported,
)
from agent.llm.messages import ToolCallPart, assistant, system, tool_result, user
from agent.llm.models.endpoint import Endpoint
from agent.llm.models.learned_quirks import QuirkMemory
from agent.llm.net.retry import RetryPolicy
from agent.llm.relay import Heard, Outgoing
from agent.llm.request import ModelRef, Request, ToolSpec
from agent.llm.stream import Finished, Retrying, Started, StreamEvent, TextDelta, Usage
from tests.agent.llm.doors import ASK, ENDPOINT, GOOD, KEY, MAIN, Cut, TinyDialect, Words, answer, cut, door, sse
from tests.support import clock

DOWN = httpx.Response(503, text="down")
READ = ToolCallPart(id="c1", name="read", arguments="{}")


def test_a_call_streams_and_is_settled_once() -> None:
    async def main() -> None:
        it = door(answer(GOOD, x_generation_id="gen-1"))
        reply = await it.ask()
        assert [type(event) for event in it.events] == [Started, TextDelta, TextDelta, Finished]
        assert reply.message.text == "hi there"
        assert reply.usage == Usage(prompt=50, completion=10)
        # 50 tokens at $1 and 10 at $2 for a million.
        assert (reply.cost_nano, reply.cost_source) == (70_000, "prices")
        assert reply.call_id == "c1" and reply.generation_id == "gen-1" and reply.ttft_s is not None
        assert [line for line, _ in it.books.lines] == ["reserve", "sent", "settle"]
        (settled,) = it.books.settled
        assert (settled.outcome, settled.cost_nano, settled.generation_id) == ("done", 70_000, "gen-1")
        assert it.requests[0].url == "http://127.0.0.1:9/v1/chat"

    clock.run(main())


def test_the_id_of_a_call_is_written_down_while_it_runs_where_its_cost_can_be_asked_by_it() -> None:
    async def main() -> None:
        it = door(
            answer(GOOD, x_generation_id="gen-1"), endpoint=replace(ENDPOINT, base_url="https://openrouter.ai/api/v1")
        )
        await it.ask()
        assert [line for line, _ in it.books.lines] == ["reserve", "sent", "sent", "settle"]
        assert it.books.generation == "gen-1"

    clock.run(main())


@pytest.mark.parametrize("dialect", ["chat", "anthropic"])
def test_each_header_goes_out_once_and_says_who_asks(dialect: Literal["chat", "anthropic"]) -> None:
    from moa import __version__

    async def main() -> None:
        mine = {"content-type": "application/json; charset=utf-8", "X-Mine": "1"}
        it = door(answer(b"", 400), endpoint=ENDPOINT.with_(dialect=dialect, headers=mine), dialects={})
        with pytest.raises(ModelError):
            await it.ask()
        sent = it.requests[0].headers
        names = [name for name, _ in sent.multi_items()]
        assert sorted(set(names)) == sorted(names)
        assert sent["user-agent"] == f"moa/{__version__}"
        assert (sent["content-type"], sent["x-mine"]) == ("application/json; charset=utf-8", "1")

    clock.run(main())


@pytest.mark.parametrize("purpose", get_args(Purpose))
def test_no_side_call_tells_a_model_a_configured_key(purpose: Purpose) -> None:
    async def main() -> None:
        it = door(answer(b"", 400), dialects={}, redact=ENDPOINT.redact)
        asked = (
            system(f"the rules {KEY}"),
            user(f"the work {KEY}"),
            assistant("", READ),
            tool_result(READ, f"a file {KEY}"),
        )
        request = Request(ASK.model, asked, tail=f"the question {KEY}")
        with pytest.raises(ModelError):
            await it.ask(request, CallContext(purpose))
        sent = it.requests[0].content.decode()
        assert all(words in sent for words in ("the rules", "the work", "a file", "the question"))
        # The main model's conversation is clean in its session; what is served is the client's own, byte for byte.
        assert (KEY in sent) is (purpose in ("main", "serve"))

    clock.run(main())


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_a_refusal_is_final_and_costs_nothing(status: int) -> None:
    async def main() -> None:
        it = door(answer(f"refused, and your key is {KEY}".encode(), status))
        with pytest.raises(ModelError) as caught:
            await it.ask()
        assert len(it.requests) == 1
        assert caught.value.status == status and caught.value.call_id == "c1"
        assert KEY not in str(caught.value)
        (settled,) = it.books.settled
        assert (settled.outcome, settled.cost_nano, settled.usage) == ("failed", 0, Usage())
        assert settled.error_kind == caught.value.kind and KEY not in (settled.error or "")

    clock.run(main())


@pytest.mark.parametrize(
    "fault",
    [
        *(httpx.Response(status, text="later") for status in (408, 429, 500, 502, 503, 504, 529)),
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadError("reset"),
        cut(b""),
        answer(sse({"fail": "server_error"}, done=False)),
        answer(sse({"stop": True})),
    ],
    ids=lambda fault: str(getattr(fault, "status_code", type(fault).__name__)),
)
def test_a_fault_before_the_first_token_is_retried(fault: Any) -> None:
    async def main() -> None:
        it = door(fault, fault, answer())
        reply = await it.ask()
        assert reply.message.text == "hi there" and reply.retries == 2
        assert [event.adapted for event in it.events if isinstance(event, Retrying)] == [False, False]
        assert sum(isinstance(event, Started) for event in it.events) == 1
        # What was refused costs nothing. What the endpoint may have begun to answer stays, each attempt with its own bound.
        status = getattr(fault, "status_code", 0)
        free = status >= 400 or isinstance(fault, httpx.ConnectError | httpx.ConnectTimeout)
        assert [settled.outcome for settled in it.books.settled] == ["failed"] * (0 if free else 2) + ["done"]
        assert [settled.cost_nano for settled in it.books.settled[:-1]] == [None] * (0 if free else 2)
        assert [line for line, _ in it.books.lines].count("reserve") == len(it.books.settled)
        assert reply.call_id == it.books.lines[-1][1]

    clock.run(main())


def test_an_attempt_that_may_be_billed_leaves_the_next_only_what_a_cap_leaves(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = Ledger(tmp_path / "ledger.db")
        it = door(cut(b""), answer())
        it.client.accounts = PatientLedger(ledger)
        bound = it.client.bound(ASK)
        assert bound.nano is not None
        capped = replace(MAIN, caps=(Cap("turn", "[budget] turn_usd", nano=2 * bound.nano - 1),))
        with pytest.raises(BudgetReached):
            await it.ask(context=capped)
        assert len(it.requests) == 1
        (row,) = ledger.calls()
        assert (row.outcome, row.error_kind, row.cost_nano) == ("failed", "stream_broken", None)
        assert ledger.total().lower_bound
        ledger.close()

    clock.run(main())


def test_a_retry_that_never_goes_out_leaves_no_row(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = Ledger(tmp_path / "ledger.db")
        it = door(cut(b""), answer(), retry=RetryPolicy(base_s=60.0, cap_s=60.0, seed=1))
        it.client.accounts = PatientLedger(ledger)
        waits = asyncio.Event()

        def told(event: StreamEvent) -> None:
            if isinstance(event, Retrying):
                waits.set()

        asking = asyncio.create_task(it.client.complete(ASK, MAIN, on_event=told))
        await waits.wait()
        asking.cancel()
        await asyncio.wait([asking])
        assert [row.outcome for row in ledger.calls()] == ["failed"]
        ledger.close()

    clock.run(main())


def test_what_an_endpoint_calls_by_our_key_is_called_otherwise(tmp_path: Path) -> None:
    class Echoes(TinyDialect):
        def decoder(self, request: Request, endpoint: Endpoint) -> Words:
            words = Words(request)
            finish = words.finish
            words.finish = lambda: finish().with_(model_served=f"m-{KEY}", provider=KEY)  # type: ignore[method-assign]
            return words

    async def main() -> None:
        ledger = Ledger(tmp_path / "ledger.db", redact=ENDPOINT.redact)
        it = door(answer(sse({"say": "hi", "id": f"gen-{KEY}"}, {"stop": True})), dialects={"fake": Echoes()})
        it.client.accounts = PatientLedger(ledger)
        reply = await it.ask()
        assert (reply.model_served, reply.provider, reply.generation_id) == ("m-[key]", "[key]", "gen-[key]")
        (row,) = ledger.calls()
        assert (row.model_served, row.provider, row.generation_id) == ("m-[key]", "[key]", "gen-[key]")
        ledger.close()

    clock.run(main())
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_three_attempts_are_all() -> None:
    async def main() -> None:
        it = door(DOWN)
        with pytest.raises(Overloaded):
            await it.ask()
        assert len(it.requests) == 3
        assert it.books.settled[0].retries == 2 and it.books.settled[0].cost_nano == 0

    clock.run(main())


@pytest.mark.parametrize("broken", [cut(sse({"say": "half"}, done=False)), answer(sse({"say": "half"}, {"fail": "x"}))])
def test_a_stream_that_breaks_after_its_first_token_is_kept_and_not_retried(broken: Any) -> None:
    async def main() -> None:
        it = door(broken, answer())
        with pytest.raises(StreamBroken) as caught:
            await it.ask()
        assert len(it.requests) == 1
        assert caught.value.partial is not None and caught.value.partial.text == "half"
        (settled,) = it.books.settled
        assert (settled.outcome, settled.cost_nano, settled.usage) == ("incomplete", None, None)

    clock.run(main())


@pytest.mark.parametrize("relayed", [False, True])
def test_a_call_that_is_stopped_while_its_socket_closes_is_settled(relayed: bool) -> None:
    """It had failed, its socket took a while to close, and then whoever waited for it had gone."""

    async def main() -> None:
        closing = asyncio.Event()

        class Slow(Cut):
            async def aclose(self) -> None:
                closing.set()
                await clock.sleep(0.5)

        it = door(
            httpx.Response(
                200, stream=Slow(sse({"say": "half"}, done=False)), headers={"content-type": "text/event-stream"}
            )
        )

        async def relay() -> None:
            relay = await it.client.relay(ASK.model, MAIN, await it.client.reserve(ASK.model, MAIN, Bound(1, 1, 1)))
            await relay.send(Outgoing("/chat", {}, b"{}"))
            try:
                while await relay.read() is not None:
                    pass
            except ModelError as error:
                await relay.fail(error, Heard())

        asking = asyncio.create_task(relay() if relayed else it.client.complete(replace(ASK), MAIN))
        closes = asyncio.create_task(closing.wait())
        await asyncio.wait({asking, closes}, return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled() and len(it.books.settled) == 1 and it.books.lines[-1][0] == "settle"

    clock.run(main())


def test_what_was_billed_is_not_bought_again() -> None:
    async def main() -> None:
        it = door(answer(sse({"usage": [50, 100]}, {"stop": True})))
        with pytest.raises(EmptyAnswer):
            await it.ask()
        assert len(it.requests) == 1
        assert it.books.settled[0].cost_nano == 250_000

    clock.run(main())


def test_retry_after_is_honoured_up_to_a_limit() -> None:
    async def main() -> None:
        it = door(httpx.Response(429, text="slow down", headers={"retry-after": "0.2"}), answer())
        before = asyncio.get_running_loop().time()
        await it.ask()
        assert asyncio.get_running_loop().time() - before >= 0.2
        (retrying,) = [event for event in it.events if isinstance(event, Retrying)]
        assert retrying.delay_s >= 0.2

        it = door(httpx.Response(429, text="slow down", headers={"retry-after": "61"}), answer())
        with pytest.raises(RateLimited) as caught:
            await it.ask()
        assert caught.value.retry_after == 61 and len(it.requests) == 1

    clock.run(main())


def test_who_waits_for_a_retry_gives_the_place_back() -> None:
    async def main() -> None:
        it = door(
            httpx.Response(503, headers={"retry-after": "0.15"}),
            answer(),
            endpoint=ENDPOINT.with_(max_concurrency=1),
        )
        first = asyncio.create_task(it.ask())
        await clock.sleep(0.02)
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert (await it.client.complete(ASK, MAIN)).message.text == "hi there"
        assert loop.time() - before < 0.1
        assert (await first).retries == 1

    clock.run(main())


def test_what_a_listener_raises_stops_the_call_and_is_no_failure_of_it() -> None:
    async def main() -> None:
        def deaf(event: StreamEvent) -> None:
            if isinstance(event, TextDelta):
                raise LookupError

        async with door(answer()) as it:
            with pytest.raises(LookupError):
                await it.client.complete(ASK, MAIN, on_event=deaf)
            assert [settled.outcome for settled in it.books.settled] == ["cancelled"]

    asyncio.run(main())


def test_a_refused_feature_is_left_out_once_and_remembered() -> None:
    async def main() -> None:
        memory = QuirkMemory()
        it = door(answer(b"no sugar please", 400), answer(b"no salt", 400), answer(), memory=memory)
        await it.ask()
        assert [body["without"] for body in it.bodies()] == [[], ["sugar"], ["salt", "sugar"]]
        assert [event.adapted for event in it.events if isinstance(event, Retrying)] == [True, True]
        assert len(it.notices) == 2 and "sugar" in it.notices[0]
        assert memory.quirks("fake", "m") == {"sugar", "salt"}
        assert it.books.settled[0].outcome == "done" and it.books.settled[0].retries == 0
        await it.ask()
        assert len(it.requests) == 4

        stubborn = door(answer(b"no sugar", 400))
        with pytest.raises(Unsupported):
            await stubborn.ask()
        assert len(stubborn.requests) == 2

    clock.run(main())


def test_silence_is_not_broken_by_keep_alives() -> None:
    class Nothing(httpx.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            yield sse({"say": "one"}, done=False)
            while True:
                await clock.sleep(0.01)
                yield b": keep-alive\n\ndata: {}\n\n"

    def hanging() -> httpx.Response:
        return httpx.Response(200, stream=Nothing(), headers={"content-type": "text/event-stream"})

    async def main() -> None:
        for clocks, named in ((Clocks(silence=0.1), "silence"), (Clocks(silence=9, ceiling=0.1), "ceiling")):
            it = door(hanging(), clocks=clocks)
            with pytest.raises(TimedOut) as caught:
                await it.ask()
            assert caught.value.clock == named
            assert caught.value.partial is not None and caught.value.partial.text == "one"
            assert it.books.settled[0].outcome == "incomplete" and it.books.settled[0].cost_nano is None

    clock.run(main())


def test_a_wait_that_the_ceiling_forbids_is_not_begun() -> None:
    async def main() -> None:
        it = door(httpx.Response(503, headers={"retry-after": "5"}), clocks=Clocks(ceiling=1.0))
        with pytest.raises(Overloaded):
            await it.ask()
        assert len(it.requests) == 1

    clock.run(main())


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/html; charset=utf-8"])
def test_a_whole_body_is_read_as_one(kind: str) -> None:
    async def main() -> None:
        body = httpx.Response(200, content=b'\n {"say": "whole", "stop": true}', headers={"content-type": kind})
        assert (await door(body).ask()).message.text == "whole"
        stream = httpx.Response(200, content=GOOD, headers={"content-type": "text/plain"})
        assert (await door(stream).ask()).message.text == "hi there"

    clock.run(main())


def test_separators_of_other_alphabets_do_not_cut_json() -> None:
    async def main() -> None:
        text = "a\u2028b\u2029c\x85d"
        body = f'data: {{"say": "{text}"}}\n\ndata: {{"stop": true}}\n\n'.encode()
        assert (await door(answer(body)).ask()).message.text == text

    clock.run(main())


def test_free_endpoints_cost_nothing_and_unpriced_ones_an_unknown_amount() -> None:
    async def main() -> None:
        free = await door(answer(), endpoint=ENDPOINT.with_(free=True)).ask()
        assert (free.cost_nano, free.cost_source) == (0, "local")
        it = door(answer(), endpoint=ENDPOINT.with_(models={}))
        unpriced = await it.ask()
        assert (unpriced.cost_nano, unpriced.cost_source) == (None, "unknown")
        assert it.books.bounds[0].nano is None

    clock.run(main())


def test_a_hold_is_used_up() -> None:
    async def main() -> None:
        it = door(answer())
        hold = await it.client.hold(ASK, MAIN, headroom_tokens=500)
        async with aclosing(it.client.stream(ASK, MAIN, hold=hold)) as stream:
            events = [event async for event in stream]
        assert isinstance(events[-1], Finished)
        assert [line for line, _ in it.books.lines] == ["reserve", "adjust", "sent", "settle"]
        assert it.books.bounds[0].prompt_tokens == it.books.bounds[1].prompt_tokens + 500

        it.books.refusal = BudgetReached("full", cap="turn", remedy="more")
        with pytest.raises(BudgetReached):
            await anext(it.client.stream(ASK, MAIN, hold=hold))
        assert it.books.lines[-1] == ("release", hold.call_id)
        assert len(it.requests) == 1

    clock.run(main())


def test_nothing_is_reserved_without_an_endpoint_or_a_key() -> None:
    async def main() -> None:
        it = door(answer(), endpoint=Endpoint("openrouter", "https://example.test/v1", api_key_env="SOME_KEY"))
        with pytest.raises(UsageError) as caught:
            it.client.endpoint("openruoter")
        assert "'openrouter'" in caught.value.message and "[endpoints.openruoter]" in (caught.value.remedy or "")
        with pytest.raises(UsageError) as caught:
            await it.ask(_at("openrouter"))
        assert caught.value.kind == "missing_key" and "SOME_KEY" in caught.value.message
        assert it.books.lines == [] and it.requests == []

    clock.run(main())


def test_a_launcher_starts_its_server_before_the_clocks_do() -> None:
    async def main() -> None:
        started = []

        async def launch(model: str) -> Endpoint:
            started.append(model)
            await clock.sleep(0.1)
            return ENDPOINT.with_(base_url="http://127.0.0.1:8/v1", free=True)

        closed = []

        async def stop() -> None:
            closed.append(True)

        it = door(answer(), launchers={"fake": launch}, on_close=stop)
        reply = await it.ask()
        assert started == ["m"] and it.requests[0].url.port == 8
        assert reply.duration_s < 0.1 and reply.cost_source == "local"
        await it.client.aclose()
        assert closed == [True]

    clock.run(main())


def test_failed_connections_say_what_to_do() -> None:
    async def main() -> None:
        it = door(httpx.ConnectError("refused"), retry=RetryPolicy(attempts=1))
        with pytest.raises(ConnectionFailed) as caught:
            await it.ask()
        assert "[endpoints.fake]" in (caught.value.remedy or "")
        assert it.books.settled[0].cost_nano == 0
        # Here the request may have arrived, so that its cost is not known to be nothing.
        it = door(httpx.ReadError("reset"), retry=RetryPolicy(attempts=1))
        with pytest.raises(ConnectionFailed):
            await it.ask()
        assert it.books.settled[0].cost_nano is None
        # It is asked where a call has ended already: what nobody knows is no error then.
        assert it.client.lost_cost(ModelRef("nowhere", "m")) is None

    clock.run(main())


def test_a_lone_surrogate_can_be_sent() -> None:
    async def main() -> None:
        it = door(answer())
        await it.ask(replace(ASK, messages=(user("cut \ud83d off"),)))
        assert it.bodies()[0]["text"] == "cut \ud83d off"

    clock.run(main())


def test_listing_models_fills_the_catalogue() -> None:
    async def main() -> None:
        listing = {
            "data": [{"id": "m2", "context_length": 5, "pricing": {"prompt": "0.000001", "completion": "0.000002"}}]
        }
        it = door(httpx.Response(200, json=listing))
        (model,) = await it.client.models("fake")
        assert model.id == "m2" and it.client.facts(_at("fake", "m2").model).context_window == 5
        llama = door(
            httpx.Response(200, json={"data": [{"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx_train": 99}}]}),
            httpx.Response(200, json={"default_generation_settings": {"n_ctx": 4096}}),
        )
        assert [model.facts.context_window for model in await llama.client.models("fake")] == [4096]
        assert llama.requests[1].url.path == "/props"
        for wrong in (httpx.Response(200, text="<html>"), httpx.Response(401, text="no key")):
            with pytest.raises(ModelError):
                await door(wrong).client.models("fake")

    clock.run(main())


def _at(endpoint: str, model: str = "m") -> Request:
    return replace(ASK, model=ModelRef(endpoint, model))


def test_a_model_without_tools_is_asked_through_a_schema_and_remembered() -> None:
    async def main() -> None:
        refusal = {"error": {"message": "registry.ollama.ai/library/m does not support tools", "code": 400}}
        pieces = ['{"tool": "read",', ' "arguments": {"path"', ': "a.txt"}}']
        chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        it = door(
            httpx.Response(400, json=refusal),
            lambda request: httpx.Response(
                200, stream=Slowly(*map(sse_of, [*chunks, end])), headers={"content-type": "text/event-stream"}
            ),
            dialects={},
            # Nothing is shown of the call until it is whole, which takes longer than the silence clock allows.
            clocks=Clocks(silence=0.2),
        )
        path = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
        request = replace(ASK, tools=(ToolSpec("read", "Read a file.", path),))
        reply = await it.ask(request)
        (call,) = reply.message.tool_calls
        assert (call.name, call.arguments) == ("read", '{"path": "a.txt"}')
        assert reply.finish == "tool_calls" and reply.duration_s > 0.2
        first, second = it.bodies()
        assert "tools" in first and "tools" not in second
        await it.ask(request)
        assert "tools" not in it.bodies()[2]

    clock.run(main())


class Slowly(httpx.AsyncByteStream):
    """A body whose pieces take their time."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await clock.sleep(0.1)
            yield piece


def sse_of(value: object) -> bytes:
    return sse(value, done=False)
