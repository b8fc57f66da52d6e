"""`moa serve --workers 2`: one budget over both, a worker that is killed, a database that is restarted, an end in order."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.ledger.book import Ledger
from moa.serve.keys import ring
from tests.moa.serve.test_process import TOOLS, Process, members
from tests.support import databases
from tests.support.endpoint import ScriptedEndpoint
from tests.support.processes import alive, children
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PRESET, UPSTREAM_KEY, body, config_toml
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
DOLLAR = 1_000_000_000
DONE = Behaviour(steps=(Say(text="Done."),))


@pytest.fixture
def up() -> Iterator[ScriptedEndpoint]:
    with ScriptedEndpoint(Script(models={"m": DONE, **members()}, api_key=UPSTREAM_KEY)) as endpoint:
        yield endpoint


@pytest.fixture
def process(tmp_path: Path, up: ScriptedEndpoint) -> Process:
    (tmp_path / "config" / "presets").mkdir(parents=True)
    (tmp_path / "config" / "config.toml").write_text(config_toml(up.base_url, more='[moa]\npreset = "p"\n'))
    (tmp_path / "config" / "presets" / "p.toml").write_text(PRESET.format(main="messages:m", aggregate="raw"))
    return Process(tmp_path, "--workers", "2")


def test_clients_of_one_key_never_pass_its_budget(process: Process, up: ScriptedEndpoint) -> None:
    budget = DOLLAR // 4
    long = Behaviour(steps=(Say(text="Done. " * 300),))
    up.script = Script(models={"m": long, **members()}, api_key=UPSTREAM_KEY)
    ledger = Ledger(process.books)
    account, key = ring.make(ledger, "team", day_nano=budget)
    costs: list[int] = []

    def spend(number: int) -> int:
        """Until there is no room."""
        for turn in range(200):
            asked = body("messages", "moa/p", text=f"Client {number}, turn {turn}.", **TOOLS) | {"max_tokens": 500}
            answer = process.post(asked, key)
            if answer.status_code == 402:
                assert "the budget of the key 'team'" in answer.text
                return turn
            assert answer.status_code == 200, answer.text
            costs.append(round(answer.json()["usage"]["cost"] * 1e9))
        raise AssertionError("no end to the budget")

    with process.running() as child:
        assert len(children(child.pid)) == 2
        with ThreadPoolExecutor(16) as pool:
            turns = list(pool.map(spend, range(16)))
        told = process.page("/v1/activity?limit=100000", key).json()
        page = wait_until(lambda: "moa_requests_running 0.0" in (text := process.page("/metrics").text) and text)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    rows = ledger.calls(account=account.id)
    spent = sum(row.cost_nano or 0 for row in rows)
    (owners,) = ledger.database.rows("SELECT count(DISTINCT owner) FROM calls")[0]
    ledger.close()
    assert owners == 2
    assert sum(turns) == len(costs) and budget / 2 < spent <= budget
    # Each request that was seen upstream is a call, and the other way round; replies, activity and ledger say the same.
    assert len(rows) == len(up.calls()) and {row.outcome for row in rows} == {"done"}
    assert spent == round(told["cost"]["usd"] * 1e9) and len(told["calls"]) == len(rows)
    seen = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    assert spent == round(sum(each.value for each in seen if each.name == "moa_cost_usd_total") * 1e9)
    counted = {each.labels["status"]: each.value for each in seen if each.name == "moa_requests_total"}
    assert counted == {"200": len(costs), "402": 16}, "the workers count together"
    answered = {row.run for row in rows if row.purpose == "serve"}
    assert sum(costs) == sum(row.cost_nano or 0 for row in rows if row.run in answered)


def test_a_killed_worker_and_a_restarted_database_lose_nothing(process: Process, up: ScriptedEndpoint) -> None:
    with process.running() as child:
        asked = body("messages", "moa/p", **TOOLS)
        first = process.post(asked)
        assert first.status_code == 200, first.text
        messages = [*asked["messages"], {"role": "assistant", "content": first.json()["content"]}]
        messages.append({"role": "user", "content": "Go on."})
        up.script = Script(models={"m": DONE, **members({"ttft_s": 60})}, api_key=UPSTREAM_KEY)
        thread = threading.Thread(target=lambda: _dies(process, {**asked, "messages": messages}))
        thread.start()
        up.wait_for(lambda: len(up.calls("gamma")) == 2 and len(up.calls("alpha")) == 2 and len(up.calls("beta")) == 2)
        before = children(child.pid)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        thread.join(30)
        wait_until(lambda: len(set(children(child.pid)) - set(before)) == 2)
        if databases.wanted():
            databases.server().stop()
            databases.server().start()
        up.script = Script(models={"m": DONE, **members()}, api_key=UPSTREAM_KEY)
        again = wait_until(lambda: _answered(process, {**asked, "messages": messages}))
        messages += [{"role": "assistant", "content": again.json()["content"]}, {"role": "user", "content": "And on."}]
        last = process.post({**asked, "messages": messages})
        assert last.status_code == 200, last.text
    sent = [call.body["messages"] for call in up.calls("m")]
    for earlier, later in pairwise(sent):
        assert later[: len(earlier)] == earlier, "what was inserted once stays where it was"
    ledger = Ledger(process.books)
    ledger.sweep()
    rows = ledger.calls()
    kept = ledger.sums()[0]
    ledger.close()
    assert len(rows) == len(up.calls())
    outcomes = [row.outcome for row in rows]
    assert outcomes.count("unknown") == 3 and set(outcomes) == {"done", "unknown"}
    assert (kept.calls, kept.total.nano) == (len(rows), sum(row.cost_nano or 0 for row in rows))


def test_a_server_that_is_told_to_end_finishes_what_it_has_begun(process: Process, up: ScriptedEndpoint) -> None:
    up.script = Script(models={"m": Behaviour(steps=(Say(text="Late.", ttft_s=1.5),))}, api_key=UPSTREAM_KEY)
    with process.running() as child, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(process.post, body("messages", "messages:m"))
        up.wait_for(lambda: up.calls("m"))
        child.send_signal(signal.SIGTERM)
        assert answer.result(30).status_code == 200
        assert child.wait(30) == 0
        with pytest.raises(httpx.ConnectError):
            process.post(body("messages", "messages:m"))


def test_workers_go_when_their_parent_was_killed(process: Process) -> None:
    with process.running() as child:
        orphans = children(child.pid)
        child.kill()
        child.wait()
        wait_until(lambda: not any(alive(pid) for pid in orphans))


def _answered(process: Process, asked: dict[str, Any]) -> httpx.Response | None:
    try:
        answer = process.post(asked)
    except httpx.HTTPError:
        return None
    return answer if answer.status_code == 200 else None


def _dies(process: Process, asked: dict[str, Any]) -> None:
    try:
        process.post(asked)
    except httpx.HTTPError:
        return
