"""What a crowd of unlike requests costs is the same wherever it is said, to the nano-dollar: in replies, activity, figures and ledger. Two
workers, two keys; counsel, calls that are passed on and translated, those that fail, members that are cancelled, clients that leave."""

from __future__ import annotations

import json
import random
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.ledger.book import Ledger
from agent.ledger.rows import CallRow
from moa.serve.keys import ring
from tests.moa.serve.test_process import TOOLS, Process
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PATHS, PRESET, UPSTREAM_KEY, body, config_toml
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

PRESETS = {
    "raw": PRESET.format(main="messages:m", aggregate="raw"),
    "deep": PRESET.format(main="chat:m", aggregate="analysis"),
    "quick": "quorum = 1\ngrace_s = 0.01\n" + PRESET.format(main="responses:m", aggregate="raw"),
}
MODELS = [
    *(f"moa/{name}" for name in PRESETS), "fuse/raw", "messages:m", "chat:m", "responses:m", "chat:own",
    "chat:fail-400", "chat:fail-429", "messages:shape-cut", "chat:shape-error_chunk", "moa/raw/chat:shape-no_finish",
]  # fmt: skip
ROUNDS, CLIENTS = 60, 8
OPEN = "SELECT endpoint, model_requested, run FROM calls WHERE outcome = 'reserved'"


def says(chance: random.Random) -> Any:
    """An answer of any length, now or later; one in eight is none."""

    def say(_body: Any, _earlier: int) -> Say:
        if chance.random() < 0.125:
            return Say(**chance.choice([{"status": 500}, {"status": 400}, {"shape": "cut", "text": "CONCERN\nHalf."}]))
        text = f"CONCERN\nNumber {chance.random()} is wrong. " * chance.choice([1, 5, 20])
        return Say(text=text, ttft_s=chance.choice([0.0, 0.0, 0.3]))

    return say


@pytest.fixture
def up() -> Iterator[ScriptedEndpoint]:
    chance = random.Random(5)
    models: dict[str, Any] = {name: says(chance) for name in ("alpha", "beta", "gamma", "m")}
    models["own"] = Behaviour(steps=(Say(text="Its own figure.", cost=0.000123),))
    with ScriptedEndpoint(Script(models=models, api_key=UPSTREAM_KEY)) as endpoint:
        yield endpoint


@pytest.fixture
def process(tmp_path: Path, up: ScriptedEndpoint) -> Process:
    presets = tmp_path / "config" / "presets"
    presets.mkdir(parents=True)
    (tmp_path / "config" / "config.toml").write_text(config_toml(up.base_url))
    for name, text in PRESETS.items():
        (presets / f"{name}.toml").write_text(text)
    return Process(tmp_path, "--workers", "2")


def ask(process: Process, key: str, chance: random.Random) -> tuple[str, dict[str, Any]] | None:
    """One request: the run, and what its answer says of its cost, where it does."""
    wire, model, stream = chance.choice(list(PATHS)), chance.choice(MODELS), chance.random() < 0.5
    more = TOOLS if wire == "messages" else {}
    if wire == "chat" and stream:
        more = {"stream_options": {"include_usage": True}}
    asked = body(wire, model, f"Question {chance.random()}.", stream=stream, **more)
    headers = {"x-api-key": key, "x-moa-counsel": "on"} if "/" in model else {"x-api-key": key}
    if stream and chance.random() < 0.3:
        return _leave(process, PATHS[wire], asked, headers, chance)
    answer = httpx.post(f"{process.url}{PATHS[wire]}", json=asked, headers=headers, timeout=60, trust_env=False)
    found = [usage for usage in _usages(answer.text) if "cost_details" in usage]
    return (answer.headers["x-moa-run"], found[-1]) if found else None


def _leave(process: Process, path: str, asked: Any, headers: dict[str, str], chance: random.Random) -> None:
    where = urlsplit(process.url)
    data = json.dumps(asked).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((where.hostname or "", where.port or 0)) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nhost: {where.netloc}\r\n{lines}content-length: {len(data)}\r\n\r\n".encode()
            + data
        )
        client.settimeout(chance.choice([0.01, 0.1, 0.3]))
        with suppress(TimeoutError):
            client.recv(10)


def _usages(text: str) -> list[dict[str, Any]]:
    """All that a body, or the events of a stream, call usage."""
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: {")] or [text]
    found: list[dict[str, Any]] = []
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        for place in (said, said.get("response"), said.get("message")):
            if isinstance(place, dict) and isinstance(usage := place.get("usage"), dict):
                found.append(usage)
    return found


def nano(rows: list[CallRow]) -> int:
    return sum(row.cost_nano or 0 for row in rows)


def test_money_is_the_same_wherever_it_is_said(process: Process, up: ScriptedEndpoint) -> None:
    ledger = Ledger(process.books)
    accounts = [ring.make(ledger, name, day_nano=10**12, day_tokens=10**9) for name in ("alice", "bob")]

    def client(number: int) -> list[tuple[str, dict[str, Any]]]:
        chance = random.Random(number)
        told = [ask(process, accounts[number % 2][1], chance) for _ in range(ROUNDS)]
        return [each for each in told if each is not None]

    with process.running():
        with ThreadPoolExecutor(CLIENTS) as pool:
            told = [each for some in pool.map(client, range(CLIENTS)) for each in some]
        wait_until(lambda: "moa_requests_running 0.0" in process.page("/metrics").text)
        wait_until(lambda: ledger.database.rows(OPEN) == [], lambda: str(ledger.database.rows(OPEN)))
        activities = [process.page("/v1/activity?limit=100000", key).json() for _account, key in accounts]
        page = process.page("/metrics").text
    rows = ledger.calls()
    own = [ledger.calls(account=account.id) for account, _key in accounts]
    spent = [ring.spent_today(ledger, account.id)[0] for account, _key in accounts]
    owners = ledger.database.rows("SELECT count(DISTINCT owner) FROM calls")[0][0]
    kept = ledger.sums()[0]
    ledger.close()

    # Everything that was meant to happen has.
    outcomes = Counter(row.outcome for row in rows)
    assert owners == 2 and set(outcomes) >= {"done", "failed", "incomplete", "cancelled"}, outcomes
    assert len(told) > 50 and any(details["cost_details"]["lower_bound"] for _run, details in told)
    assert {row.cost_source for row in rows} >= {"prices", "reply"} and any(row.cost_nano is None for row in rows)
    # Requests that were seen upstream are calls. (A refusal may be asked again within a call; one that could not connect would be none.)
    assert len(rows) <= len(up.calls()) and sum(len(each) for each in own) == len(rows)

    # The ledger's sums, activity, and what counts against each budget.
    assert kept.total.nano == nano(rows) and kept.total.unknown == sum(row.cost_nano is None for row in rows)
    for activity, calls, counted in zip(activities, own, spent, strict=True):
        assert round(activity["cost"]["usd"] * 1e9) == nano(calls) > 0
        assert activity["cost"]["lower_bound"] is any(row.cost_nano is None for row in calls)
        assert [call["id"] for call in activity["calls"]] == [row.id for row in calls]
        assert counted == sum(row.reserved_nano or 0 if row.cost_nano is None else row.cost_nano for row in calls)

    # The figures, by label.
    seen: dict[str, Counter[tuple[str, ...]]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            place = seen.setdefault(sample.name, Counter())
            place[tuple(value for _name, value in sorted(sample.labels.items()))] += round(sample.value * 1e9)
    answered = {str(row.model_requested) for row in rows if row.outcome == "done"}
    by_label: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        model = f"{row.endpoint}:{row.model_requested}" if row.model_requested in answered else "other"
        by_label[model, row.preset, row.purpose] += row.cost_nano or 0
    assert seen["moa_cost_usd_total"] == by_label
    assert sum(seen["moa_calls_total"].values()) == len(rows) * 10**9

    # Each answer that says what it cost.
    for run, usage in told:
        calls = [row for row in rows if row.run == run]
        said = round((usage["cost"] or 0) * 1e9)
        if usage["cost_details"]["lower_bound"]:
            assert said <= nano(calls)
        else:
            assert (said, usage["cost_details"]["calls"]) == (nano(calls), len(calls)), (run, calls)
