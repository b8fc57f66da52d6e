"""A call that was lost sight of is priced later, where the endpoint can be asked; and what a call says of its depth."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.ledger.book import Ledger
from agent.ledger.patient import PatientLedger
from agent.llm.accounting import Bound, CallContext
from agent.llm.client import ModelClient
from agent.llm.errors import ModelError
from agent.llm.messages import user
from agent.llm.models.catalogue import Catalogue
from agent.llm.models.endpoint import WELL_KNOWN, Endpoint
from agent.llm.models.learned_quirks import QuirkMemory
from agent.llm.request import ModelRef, Request
from agent.llm.stream import Usage
from agent.process import depth

ROUTER = WELL_KNOWN["openrouter"].with_(api_key="sk-1")
DATA = {"native_tokens_prompt": 100, "native_tokens_completion": 20, "native_tokens_reasoning": 5, "total_cost": 0.0031}


def client(ledger: Ledger, answer: httpx.Response, seen: list[httpx.Request], **more: Any) -> ModelClient:
    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answer

    return ModelClient(
        {"openrouter": ROUTER, "plain": Endpoint("plain", "http://127.0.0.1:9/v1")},
        PatientLedger(ledger),
        catalogue=Catalogue(),
        memory=QuirkMemory(),
        transport=httpx.MockTransport(handle),
        **more,
    )


def lost(ledger: Ledger) -> None:
    """A call whose cost nobody has reported, which the provider knows by an id."""
    from agent.llm.accounting import Settlement

    call = ledger.reserve(ModelRef("openrouter", "m"), CallContext("main", turn="t"), Bound(1000, 1000, 9_000_000))
    ledger.sent(call, generation_id="gen-1")
    ledger.settle(call, Settlement("unknown", generation_id="gen-1"))


def test_a_lost_call_is_priced_by_its_generation_id(tmp_path: Path) -> None:
    ledger, seen = Ledger(tmp_path / "ledger.db"), []
    lost(ledger)
    door = client(ledger, httpx.Response(200, json={"data": DATA}), seen)
    assert asyncio.run(ledger.reconcile(door.generation)) == 1
    assert str(seen[0].url) == "https://openrouter.ai/api/v1/generation?id=gen-1"
    (row,) = ledger.calls(turn="t")
    assert (row.cost_nano, row.cost_source) == (3_100_000, "generation")
    assert row.usage == Usage(prompt=100, completion=20, reasoning=5)


@pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(200, json={"data": {}}), httpx.Response(500)])
def test_what_can_not_be_told_stays_a_bound(tmp_path: Path, answer: httpx.Response) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    lost(ledger)
    assert asyncio.run(ledger.reconcile(client(ledger, answer, []).generation)) == 0
    assert ledger.calls(turn="t")[0].cost_nano is None


def test_other_endpoints_are_not_asked(tmp_path: Path) -> None:
    seen: list[httpx.Request] = []
    door = client(Ledger(tmp_path / "ledger.db"), httpx.Response(200), seen)
    assert asyncio.run(door.generation("plain", "gen-1")) is None
    assert asyncio.run(door.generation("gone", "gen-1")) is None
    assert seen == []


@pytest.mark.parametrize(
    ("around", "purpose", "level"), [(0, "main", None), (0, "reference", "1"), (0, "aggregator", "1"), (1, "main", "1")]
)
def test_a_panels_calls_are_one_deeper_and_say_so(tmp_path: Path, around: int, purpose: Any, level: str | None) -> None:
    seen: list[httpx.Request] = []
    door = client(
        Ledger(tmp_path / "ledger.db"),
        httpx.Response(400),
        seen,
        depth_headers=lambda panel: depth.headers(around + panel),
    )
    ask = Request(ModelRef("plain", "m"), (user("hi"),), max_tokens=10)
    with pytest.raises(ModelError):
        asyncio.run(door.complete(ask, CallContext(purpose)))
    assert [seen[0].headers.get(name) for name in depth.HEADERS] == [level, level]
