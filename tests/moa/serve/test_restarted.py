"""The database goes away in the middle of a request: no call is unaccounted, none is counted twice, and the conversation goes on with the same
bytes. These are about PostgreSQL, so they run with `MOA_TEST_DATABASE=postgres` alone."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.ledger.book import Ledger
from moa.serve.guidance.rows import ROW_BYTES
from moa.serve.keys import ring
from tests.moa.serve.test_process import Process
from tests.support import databases
from tests.support.cut_database import Cut, When
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Decide, Say, Script
from tests.support.serving import PRESET, UPSTREAM_KEY, Serving, body, config_toml
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not databases.wanted(), reason="MOA_TEST_DATABASE is not postgres"),
]
TOOLS = {"tools": [{"name": "read", "input_schema": {"type": "object"}}]}
SAID = "Done, in as many words as it takes to know a reply again by what it says. " * 3
DONE = Behaviour(steps=(Say(text=SAID),))
DAY_NANO = 1000 * 10**9


def adviser(_body: Any, earlier: int) -> Say:
    return Say(text=f"CONCERN\nPoint {earlier}: {os.urandom(8).hex()} is wrong, {os.urandom(8).hex()} was meant.")


MODELS = {"m": DONE, **dict.fromkeys(("alpha", "beta", "gamma"), adviser)}


@pytest.fixture
def up() -> Iterator[ScriptedEndpoint]:
    with ScriptedEndpoint(Script(models=MODELS, api_key=UPSTREAM_KEY)) as endpoint:
        yield endpoint


class World:
    """A server whose database can be cut off, and one conversation with it under a key with a budget. `main` is the endpoint of the model
    that answers: `messages` is the client's own wire."""

    def __init__(self, folder: Path, up: ScriptedEndpoint, main: str, *, stream: bool) -> None:
        self.up, self.stream = up, stream
        self.ledger = Ledger(databases.address(folder / "state" / "ledger.db"))
        self.account, self._key = ring.make(self.ledger, "alice", day_nano=DAY_NANO)
        self.cut = Cut(str(self.ledger.path))
        preset = PRESET.format(main=f"{main}:m", aggregate="raw")
        self.server = Serving(folder, up, presets={"p": preset}, database=self.cut.address)
        self.messages: list[Any] = [{"role": "user", "content": "Begin."}]
        self.costs: list[int] = []

    def __enter__(self) -> World:
        self.cut.__enter__()
        self.server.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.server.__exit__(*error)
        self.cut.__exit__(*error)
        self.ledger.close()

    @property
    def _body(self) -> dict[str, Any]:
        return body("messages", "moa/p", messages=self.messages, stream=self.stream, **TOOLS)

    def begun(self) -> socket.socket:
        """The next request on its way; closing what is returned leaves it."""
        data = json.dumps(self._body).encode()
        place = ("127.0.0.1", self.server.port)
        head = f"POST /v1/messages HTTP/1.1\r\nhost: {place[0]}:{place[1]}\r\nx-api-key: {self._key}\r\n"
        client = socket.create_connection(place)
        client.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        return client

    @staticmethod
    def reads(client: socket.socket, stop: Callable[[], bool]) -> None:
        """Read the answer, to its end or until `stop`."""
        client.settimeout(0.02)
        answer = b""
        while b"message_stop" not in answer and not stop():
            with suppress(TimeoutError):
                answer += client.recv(65536)

    def idle(self) -> bool:
        """Whether no request is under way."""
        return "moa_requests_running 0.0" in self.server.get("/metrics").text

    def outcomes(self) -> list[str]:
        """Of all calls, and of those that are still held."""
        return [outcome for (outcome,) in self.ledger.database.rows("SELECT outcome FROM calls")]

    def ask(self) -> None:
        """The next request of the conversation, which is answered."""
        answer = self.server.post("messages", self._body, headers={"x-api-key": self._key, "authorization": ""})
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-moa-counsel"] == "taken"
        usage, content = _streamed(answer.text) if self.stream else _whole(answer.json())
        assert len(self.up.calls("m")) == len(self.costs) + 1
        self.costs.append(round(usage["cost"] * 1e9))
        assert usage["cost_details"]["calls"] == 4 and not usage["cost_details"]["lower_bound"]
        self.messages += [{"role": "assistant", "content": content}, {"role": "user", "content": "Go on."}]

    def check(self) -> None:
        """What is in the books is what went out, once."""
        rows = self.ledger.calls()
        assert self.outcomes() == ["done"] * len(self.up.calls())
        spent = sum(row.cost_nano or 0 for row in rows)
        assert sum(self.costs) == spent == self.ledger.sums()[0].total.nano
        assert ring.spent_today(self.ledger, self.account.id)[0] == spent
        sent = [call.body["messages"] for call in self.up.calls("m")]
        assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(sent)), "the same bytes, always"
        kept = self.ledger.database.rows("SELECT guidance, counsel FROM served_replies")
        assert len(kept) == len(self.costs)
        sizes = sum(ROW_BYTES + len(guidance or "") + len(counsel or "") for guidance, counsel in kept)
        assert self.ledger.database.rows("SELECT bytes FROM served_conversations") == [(sizes,)]


def _whole(answer: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    return answer["usage"], answer["content"]


def _streamed(text: str) -> tuple[dict[str, Any], Any]:
    seen = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert seen[-1]["type"] == "message_stop", text
    usage = next(each["usage"] for each in seen if each["type"] == "message_delta")
    return usage, [{"type": "text", "text": SAID}]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("main", "stream"), [("messages", True), ("chat", False)])
def test_a_connection_that_breaks_at_any_statement_loses_nothing(
    tmp_path: Path, up: ScriptedEndpoint, main: str, stream: bool, when: When
) -> None:
    """At each of a request's statements once, before the database has it or after it has done it."""
    with World(tmp_path, up, main, stream=stream) as world:
        world.ask()
        at = 1
        while True:
            world.cut.at(at, when)
            world.ask()
            if world.cut.never() < at:
                break
            at += 1
        assert world.cut.cuts == at - 1 > 30
        world.check()


LONG_S = 9.0
"""Longer than a request waits for the database before anything is paid for."""


@pytest.mark.parametrize("moment", ["panel", "answer"])
@pytest.mark.parametrize(("main", "stream"), [("messages", True), ("messages", False), ("chat", True)])
def test_what_was_paid_for_outlasts_a_database_that_is_away(
    tmp_path: Path, up: ScriptedEndpoint, main: str, stream: bool, moment: str
) -> None:
    with World(tmp_path, up, main, stream=stream) as world, ThreadPoolExecutor(1) as pool:
        world.ask()
        slow = {"panel": "alpha", "answer": "m"}[moment]
        up.script = Script(models={**MODELS, slow: _slowly(MODELS[slow])}, api_key=UPSTREAM_KEY)
        asking = pool.submit(world.ask)
        up.wait_for(
            lambda: all(len(up.calls(name)) == 2 for name in ("alpha", "beta", "gamma")) and len(up.calls(slow)) == 2
        )
        with world.cut.away():
            concurrent.futures.wait([asking], LONG_S)
            assert not asking.done()
        asking.result(60)
        up.script = Script(models=MODELS, api_key=UPSTREAM_KEY)
        world.ask()
        world.check()


def _slowly(says: Any) -> Decide:
    """The same, two seconds later."""

    def decide(asked: Any, earlier: int) -> Say:
        return replace(says(asked, earlier) if callable(says) else says.steps[0], ttft_s=1, spread_s=1)

    return decide


def test_who_leaves_while_the_database_is_away_leaves_nothing_open(tmp_path: Path, up: ScriptedEndpoint) -> None:
    """A member, and a reply that is passed on: their sockets are closed at once, and the books are told when they can be."""
    with World(tmp_path, up, "messages", stream=True) as world:
        for slow in ("gamma", "m"):
            never = Behaviour(steps=(Say(text="So it begins, and goes on. " * 9, spread_s=600),))
            up.script = Script(models={**MODELS, slow: never}, api_key=UPSTREAM_KEY)
            with world.begun():
                up.wait_for(lambda slow=slow: up.calls(slow) and up.calls(slow)[-1].first_token)
                world.cut.leave()
            up.wait_for(lambda slow=slow: up.calls(slow)[-1].disconnected)
            assert world.outcomes().count("reserved") >= 1
            world.cut.back()
            wait_until(lambda: "reserved" not in world.outcomes())
        rows = world.ledger.calls()
        assert len(rows) == len(up.calls()) and world.outcomes().count("cancelled") == 2


LEFT_S = 0.1
"""Long enough for the server to know that a client has left, which nobody can ask it while the database is away. If not, the client has left
later: that has to come out the same."""


@pytest.mark.parametrize("main", ["messages", "chat"])
def test_who_leaves_at_any_statement_leaves_nothing_reserved(tmp_path: Path, up: ScriptedEndpoint, main: str) -> None:
    """While the database is away, and the request waits for it: at each of its statements once."""
    with World(tmp_path, up, main, stream=True) as world:
        world.ask()
        at = 0
        while world.cut.cuts == at:  # until a request has no more
            at += 1
            world.messages[-1] = {"role": "user", "content": f"Go on, {at}."}
            world.cut.at(at, "before", stays=True)
            with world.begun() as client:
                world.reads(client, lambda at=at: world.cut.cuts == at)
            world.cut.never()
            time.sleep(LEFT_S)
            world.cut.back()
            wait_until(world.idle)
            wait_until(lambda: "reserved" not in world.outcomes(), lambda at=at: f"statement {at}")
        assert at > 30
        rows = world.ledger.calls()
        assert len(rows) >= len(up.calls()) > at
        # A call that never went out costs nothing; where it did, the bound counts until somebody knows better.
        counted = sum(row.reserved_nano or 0 if row.cost_nano is None else row.cost_nano for row in rows)
        assert ring.spent_today(world.ledger, world.account.id)[0] == counted


TURNS, CLIENTS = 5, 8


def test_a_database_that_restarts_under_load_loses_nothing(tmp_path: Path, up: ScriptedEndpoint) -> None:
    """Two workers, conversations side by side, and PostgreSQL itself: stopped in order twice, and crashed once."""
    config = tmp_path / "config"
    (config / "presets").mkdir(parents=True)
    (config / "config.toml").write_text(config_toml(up.base_url))
    (config / "presets" / "p.toml").write_text(PRESET.format(main="messages:m", aggregate="raw"))
    process = Process(tmp_path, "--workers", "2")
    ledger = Ledger(process.books)
    account, key = ring.make(ledger, "team", day_nano=DAY_NANO)
    costs: dict[str, int] = {}

    def talk(number: int) -> None:
        messages = [{"role": "user", "content": f"Client {number} begins."}]
        for _turn in range(TURNS):
            asked = body("messages", "moa/p", messages=messages, **TOOLS)
            while (answer := process.post(asked, key)).status_code == 503:  # as clients do
                assert answer.headers["x-should-retry"] == "true"
            assert answer.status_code == 200, answer.text
            costs[answer.headers["x-moa-run"]] = round(answer.json()["usage"]["cost"] * 1e9)
            messages += [
                {"role": "assistant", "content": answer.json()["content"]},
                {"role": "user", "content": "Go on."},
            ]

    with process.running() as child, ThreadPoolExecutor(CLIENTS) as pool:
        talking = [pool.submit(talk, number) for number in range(CLIENTS)]
        for so_many, how in ((10, signal.SIGINT), (50, signal.SIGQUIT), (90, signal.SIGINT)):
            up.wait_for(lambda so_many=so_many: len(up.calls()) >= so_many, 120)
            databases.server().stop(how)
            databases.server().start()
        for each in talking:
            each.result(120)
        told = process.page("/v1/activity?limit=100000", key).json()
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    rows = ledger.calls()
    held = ledger.database.rows("SELECT count(*) FROM calls WHERE outcome = 'reserved'")[0][0]
    totals = [ledger.sums()[0].total.nano, ring.spent_today(ledger, account.id)[0], round(told["cost"]["usd"] * 1e9)]
    ledger.close()
    assert (len(rows), held) == (len(up.calls()), 0) and {row.outcome for row in rows} == {"done"}
    assert totals == [sum(row.cost_nano or 0 for row in rows)] * 3
    assert costs == {run: sum(row.cost_nano or 0 for row in rows if row.run == run) for run in costs}
    assert len(costs) == CLIENTS * TURNS
    sent: dict[str, list[Any]] = {}
    for call in up.calls("m"):
        first = json.dumps(call.body["messages"][0])
        sent.setdefault(re.findall(r"Client \d", first)[0], []).append(call.body["messages"])
    assert len(sent) == CLIENTS
    for each in sent.values():
        assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(each)), "the same bytes, always"
