"""What is believed of a reported usage: for each shape the row, the total, and how many calls a cap of one dollar lets through."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.ledger.book import Ledger
from agent.ledger.patient import PatientLedger
from agent.llm.accounting import CallContext, Cap
from agent.llm.client import ModelClient
from agent.llm.errors import BudgetReached
from agent.llm.messages import user
from agent.llm.models.catalogue import Catalogue
from agent.llm.models.endpoint import Endpoint, ModelFacts, Price
from agent.llm.models.learned_quirks import QuirkMemory
from agent.llm.request import ModelRef, Request
from agent.llm.stream import Usage

# Nano-dollars a token: 100,000 in the prompt, 10,000 from a cache, 125,000 into it, 1,000,000 in the answer.
PRICE = Price(prompt=100.0, completion=1_000.0, cached=10.0, cache_write=125.0)
ONE_DOLLAR = 1_000_000_000
CAPPED = CallContext("main", session="s", run="r", turn="t", caps=(Cap("run", "--budget", nano=ONE_DOLLAR),))
ASK = Request(ModelRef("e", "m"), (user("hello"),), max_tokens=50)
MOST = 20
WORDS = "a real answer " * 20


@dataclass
class Shape:
    """What an endpoint says of an answer with text, as each dialect would; what it comes to (None: unknown), and its cost in nano-dollars."""

    name: str
    chat: dict[str, Any]
    anthropic: dict[str, Any]
    usage: Usage | None = None
    nano: int | None = None
    source: str = "prices"


def both(
    name: str, prompt: Any, completion: Any, usage: Usage | None = None, nano: int | None = None, **more: Any
) -> Shape:
    return Shape(
        name,
        {"prompt_tokens": prompt, "completion_tokens": completion, **more},
        {"input_tokens": prompt, "output_tokens": completion, **more},
        usage,
        nano,
        "reply" if any("cost" in key for key in more) and nano != 70_000_000 else "prices",
    )


XAI = {"prompt_tokens": 200, "completion_tokens": 40, "total_tokens": 310}
SHAPES = [
    both("plain", 200, 50, Usage(200, 0, 0, 50), 70_000_000),
    both("reasoning beside completion, in the total", 200, 20, Usage(200, 0, 0, 220), 240_000_000, total_tokens=420),
    Shape(
        "reasoning beside completion, told apart",
        {**XAI, "prompt_tokens_details": {"cached_tokens": 100}, "completion_tokens_details": {"reasoning_tokens": 70}},
        {
            "input_tokens": 100,
            "cache_read_input_tokens": 100,
            "output_tokens": 40,
            "total_tokens": 310,
            "output_tokens_details": {"thinking_tokens": 70},
        },
        Usage(200, 100, 0, 110, 70),
        121_000_000,
    ),
    Shape(
        "reasoning beside completion, without a total",
        {"prompt_tokens": 200, "completion_tokens": 8, "completion_tokens_details": {"reasoning_tokens": 92}},
        {"input_tokens": 200, "output_tokens": 8, "output_tokens_details": {"reasoning_tokens": 92}},
        Usage(200, 0, 0, 100, 92),
        120_000_000,
    ),
    both("a total that is less than its parts", 200, 50, Usage(200, 0, 0, 50), 70_000_000, total_tokens=200),
    both("an answer that is counted in the total alone", 200, None, Usage(200, 0, 0, 50), 70_000_000, total_tokens=250),
    both("zeros", 0, 0, total_tokens=0),
    both("zeros that cost nothing", 0, 0, total_tokens=0, cost=0),
    both("no completion", 200, 0),
    both("no completion at all", 200, None),
    both("no prompt", 0, 50),
    both("strings", "200", "50"),
    both("one string", 200, "50", total_tokens=250),
    both("truth values", True, True),
    both("less than nothing", -200, 50),
    both("more than can be", 10**16, 10**16),
    both("more in the total than can be", 200, 50, total_tokens=10**16),
    both("no number", float("nan"), 50),
    both("half a token", 200.5, 50),
    both("whole numbers with a point", 200.0, 50.0, Usage(200, 0, 0, 50), 70_000_000),
    Shape("the total alone", {"total_tokens": 250}, {"total_tokens": 250}),
    Shape("nothing", {}, {}),
    Shape(
        "the other dialect's names",
        {"input_tokens": 200, "output_tokens": 50, "total_tokens": 250},
        {"prompt_tokens": 200, "completion_tokens": 50, "total_tokens": 250},
        Usage(200, 0, 0, 50),
        70_000_000,
    ),
    Shape(
        "LiteLLM's names of cache reads and writes, within the prompt",
        {**XAI, "total_tokens": 240, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 60},
        {"prompt_tokens": 200, "completion_tokens": 40, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 60},
        Usage(200, 100, 60, 40),
        40 * 100_000 + 100 * 10_000 + 60 * 125_000 + 40_000_000,
    ),
    Shape(
        "Anthropic's names, beside the input",
        {"input_tokens": 40, "output_tokens": 40, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 60},
        {"input_tokens": 40, "output_tokens": 40, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 60},
        Usage(200, 100, 60, 40),
        40 * 100_000 + 100 * 10_000 + 60 * 125_000 + 40_000_000,
    ),
    Shape(
        "cache writes in the details",
        {**XAI, "total_tokens": 240, "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 150}},
        {"input_tokens": 200, "output_tokens": 40, "input_tokens_details": {"cache_write_tokens": 150}},
        Usage(200, 0, 150, 40),
        50 * 100_000 + 150 * 125_000 + 40_000_000,
    ),
    Shape(
        "a prompt that is smaller than what it would contain",
        {"prompt_tokens": 40, "completion_tokens": 40, "prompt_tokens_details": {"cached_tokens": 100}},
        {"input_tokens": 40, "output_tokens": 40, "input_tokens_details": {"cached_tokens": 100}},
        Usage(140, 100, 0, 40),
        40 * 100_000 + 100 * 10_000 + 40_000_000,
    ),
    both("xAI's cost", 200, 50, Usage(200, 0, 0, 50), 3_775_601, cost_in_usd_ticks=37_756_001),
    both("a cost without tokens", 0, 0, None, 20_000_000, cost=0.02),
    both("a free answer", 200, 50, Usage(200, 0, 0, 50), 0, cost=0),
    both("a cost that can't be", 200, 50, Usage(200, 0, 0, 50), 70_000_000, cost=1e9),
]  # fmt: skip


def response(usage: dict[str, Any]) -> dict[str, Any]:
    said = {"type": "message", "id": "i", "role": "assistant", "content": [{"type": "output_text", "text": WORDS}]}
    return {"id": "g", "object": "response", "status": "completed", "output": [said], "usage": usage}


def streamed(dialect: str, usage: dict[str, Any]) -> httpx.Response:
    if dialect == "chat":
        events: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"content": WORDS}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": usage},
        ]
    elif dialect == "responses":
        events = [
            {"type": "response.output_text.delta", "output_index": 0, "item_id": "i", "delta": WORDS},
            {"type": "response.completed", "response": response(usage)},
        ]
    else:
        begun = {name: 1 if "output" in name else count for name, count in usage.items() if not isinstance(count, dict)}
        events = [
            {"type": "message_start", "message": {"id": "g", "usage": begun}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORDS}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
            {"type": "message_stop"},
        ]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    return httpx.Response(200, content=body, headers={"content-type": "text/event-stream"})


def whole(dialect: str, usage: dict[str, Any]) -> httpx.Response:
    body: dict[str, Any] = {"id": "g", "usage": usage}
    if dialect == "chat":
        body["choices"] = [{"message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}]
    elif dialect == "responses":
        body = response(usage)
    else:
        body |= {"type": "message", "content": [{"type": "text", "text": WORDS}], "stop_reason": "end_turn"}
    return httpx.Response(200, content=json.dumps(body), headers={"content-type": "application/json"})


def client(dialect: str, ledger: Ledger, answer: httpx.Response) -> ModelClient:
    endpoint = Endpoint("e", "http://127.0.0.1:9/v1", dialect=dialect, models={"m": ModelFacts(price=PRICE)})
    transport = httpx.MockTransport(
        lambda _request: httpx.Response(200, content=answer.content, headers=answer.headers)
    )
    return ModelClient(
        {"e": endpoint}, PatientLedger(ledger), catalogue=Catalogue(), memory=QuirkMemory(), transport=transport
    )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("dialect", ["chat", "anthropic", "responses"])
@pytest.mark.parametrize("answer", [streamed, pytest.param(whole, marks=pytest.mark.slow)])
@pytest.mark.sample(80)
def test_what_is_believed(shape: Shape, dialect: str, answer: Any, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")

    async def spend() -> int:
        door = client(dialect, ledger, answer(dialect, shape.chat if dialect == "chat" else shape.anthropic))
        try:
            for number in range(MOST):
                try:
                    reply = await door.complete(ASK, CAPPED)
                except BudgetReached:
                    return number
                assert reply.message.text == WORDS
            return MOST
        finally:
            await door.aclose()

    passed = asyncio.run(spend())
    row, total = ledger.calls()[0], ledger.total()
    assert (row.usage, row.cost_nano, row.outcome) == (shape.usage, shape.nano, "done")
    assert row.cost_source == ("unknown" if shape.nano is None else shape.source)
    assert (total.lower_bound, total.known * (shape.nano or 0)) == (shape.nano is None, total.nano)
    # Each call takes what it cost, or its bound where nobody knows; the next one's bound must still fit.
    assert row.reserved_nano is not None and 50_000_000 < row.reserved_nano < 100_000_000
    takes = row.reserved_nano if shape.nano is None else shape.nano
    assert passed == (MOST if takes == 0 else min(MOST, 1 + (ONE_DOLLAR - row.reserved_nano) // takes))
    ledger.close()


def test_a_count_from_before_the_last_words_is_none(tmp_path: Path) -> None:
    """A server that counts as it goes, and stops counting before it stops talking."""
    events = [
        {"choices": [{"delta": {"content": "a"}}], "usage": {"prompt_tokens": 9, "completion_tokens": 1}},
        {"choices": [{"delta": {"content": WORDS}, "finish_reason": "stop"}]},
    ]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    answer = httpx.Response(200, content=body, headers={"content-type": "text/event-stream"})
    ledger = Ledger(tmp_path / "ledger.db")

    async def ask() -> None:
        door = client("chat", ledger, answer)
        assert (await door.complete(ASK, CAPPED)).usage is None
        await door.aclose()

    asyncio.run(ask())
    assert ledger.total().lower_bound
    ledger.close()
