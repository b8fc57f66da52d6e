"""Whatever a key sends of another's conversation, it gets nothing of what was given there: no guidance, no shared panel, no receipt."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from moa.serve.guidance.rows import sweep
from moa.serve.keys import ring
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Say, Script
from tests.support.serving import PRESET, UPSTREAM_KEY, WIRES, Serving, body

MEMBERS = ("alpha", "beta", "gamma")
CALL = ("read", {"path": "notes.txt"})


class Two:
    """Two keys before one server. `said` are the words of the panel that were for each of them."""

    def __init__(self, folder: Path, wire: str) -> None:
        self.wire = wire
        self.now = "alice"
        self.marks: dict[str, list[str]] = {"alice": [], "bob": []}
        models = {"m": self.replies, **dict.fromkeys(MEMBERS, self.advises)}
        self.up = ScriptedEndpoint(Script(models=models, api_key=UPSTREAM_KEY))
        self.slow_s = 0.0
        self.folder = folder

    def __enter__(self) -> Two:
        self.up.__enter__()
        preset = PRESET.format(main=f"{self.wire}:m", aggregate="raw")
        self.server = Serving(self.folder, self.up, presets={"p": preset}).__enter__()
        ledger = self.server.ledger()
        self.keys = {name: ring.make(ledger, name)[1] for name in ("alice", "bob")}
        ledger.close()
        return self

    def __exit__(self, *error: Any) -> None:
        self.server.__exit__(*error)
        self.up.__exit__(*error)

    def advises(self, _body: Any, _earlier: int) -> Say:
        mark = os.urandom(8).hex()
        self.marks[self.now].append(mark)
        return Say(text=f"CONCERN\nWhat {mark} does is wrong, and nobody looks.", ttft_s=self.slow_s)

    def replies(self, _body: Any, earlier: int) -> Say:
        return Say(text=f"I look at this now, for the {earlier}th time, with care.", tools=(CALL,))

    def post(
        self, who: str, items: list[Any], model: str = "moa/p", path: str | None = None, **headers: str
    ) -> httpx.Response:
        key = {"messages": "messages", "chat": "messages", "responses": "input"}[self.wire]
        asked = {**body(self.wire, model), **tools(self.wire), key: items}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.server.post(
            path or self.wire, asked, headers={"x-api-key": self.keys[who], "authorization": "", **named}
        )

    def leaked(self, since: int) -> list[str]:
        """Words for alice in what went out, or came back, since then."""
        sent = json.dumps([seen.body for seen in self.up.exchanges[since:]])
        return [mark for mark in self.marks["alice"] if mark in sent]


def tools(wire: str) -> dict[str, Any]:
    schema = {"type": "object"}
    if wire == "messages":
        return {"tools": [{"name": "read", "input_schema": schema}]}
    function = {"name": "read", "parameters": schema}
    return {"tools": [{"type": "function", **(function if wire == "responses" else {"function": function})}]}


def opening(wire: str) -> list[Any]:
    return body(wire, "m")["input" if wire == "responses" else "messages"]  # type: ignore[no-any-return]


def answered(wire: str, answer: dict[str, Any]) -> list[Any]:
    """An answer and the result of its call, as the client's next request has them."""
    if wire == "responses":
        call = next(item for item in answer["output"] if item["type"] == "function_call")
        return [*answer["output"], {"type": "function_call_output", "call_id": call["call_id"], "output": "line 1"}]
    if wire == "chat":
        message = answer["choices"][0]["message"]
        return [message, {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "line 1"}]
    use = next(block for block in answer["content"] if block["type"] == "tool_use")
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "line 1"}
    return [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": [result]}]


@pytest.fixture(params=WIRES)
def two(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Two]:
    with Two(tmp_path, request.param) as two:
        yield two


def test_no_key_gets_what_was_given_under_another(two: Two) -> None:
    items, runs = opening(two.wire), []
    for _step in range(2):
        answer = two.post("alice", items)
        assert answer.headers["x-moa-counsel"] == "taken", answer.text
        runs.append(answer.headers["x-moa-run"])
        items = [*items, *answered(two.wire, answer.json())]
    before, asked = len(two.up.exchanges), len(two.up.calls("alpha"))
    two.now = "bob"
    # The very request that alice would send next: with counsel, without, on a name without a panel, and one that only counts.
    with_counsel = two.post("bob", items)
    assert with_counsel.headers["x-moa-counsel"] == "taken" and len(two.up.calls("alpha")) == asked + 1
    assert two.post("bob", [*items], x_moa_counsel="off").status_code == 200
    assert two.post("bob", [*items], f"{two.wire}:m").status_code == 200
    if two.wire == "messages":
        two.post("bob", items, "messages:m", "/v1/messages/count_tokens")
    assert len(two.up.exchanges) >= before + 6 and two.leaked(before) == []
    assert not any(mark in with_counsel.text + str(with_counsel.headers) for mark in two.marks["alice"])
    # Nor a receipt of it, by whatever name.
    mine = {"x-api-key": two.keys["alice"], "authorization": ""}
    sessions = {call["session"] for call in two.server.get("/v1/activity", headers=mine).json()["calls"]}
    theirs = {"x-api-key": two.keys["bob"], "authorization": ""}
    for query in (*(f"run={run}" for run in runs), *(f"session={name}" for name in sessions)):
        assert two.server.get(f"/v1/activity?{query}", headers=mine).json()["counsel"]
        told = two.server.get(f"/v1/activity?{query}", headers=theirs).json()
        assert (told["calls"], told["counsel"], told["cost"]["usd"]) == ([], [], 0)
    # And alice still has all of hers.
    before = len(two.up.exchanges)
    two.post("alice", items, x_moa_counsel="off")
    assert len(two.leaked(before)) == 6


def test_the_same_request_of_two_keys_at_once_asks_two_panels(two: Two) -> None:
    two.slow_s = 0.3
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(two.post, "alice", opening(two.wire))
        two.up.wait_for(lambda: len(two.marks["alice"]) == 3)
        two.now = "bob"
        others = [pool.submit(two.post, name, opening(two.wire)) for name in ("bob", "alice")]
        said = [each.result(60).headers["x-moa-counsel"] for each in (first, *others)]
    assert said == ["taken", "taken", "reused"] and len(two.marks["bob"]) == 3
    sent = [json.dumps(call.body) for call in two.up.calls("m")]
    of = [{name for name, marks in two.marks.items() if any(mark in text for mark in marks)} for text in sent]
    assert sorted(map(sorted, of)) == [["alice"], ["alice"], ["bob"]]


def test_who_keeps_much_takes_no_room_from_others(tmp_path: Path) -> None:
    """Beyond the bound the oldest of the key that holds the most go, and not the oldest of all."""
    with Two(tmp_path, "messages") as two:
        two.post("bob", opening("messages"))
        for number in range(5):
            two.post("alice", [{"role": "user", "content": f"Another beginning, {number}."}])
        ledger = two.server.ledger()
        held = "SELECT key, count(*), sum(bytes) FROM served_conversations GROUP BY key ORDER BY 2"
        (bob, one, small), (alice, five, large) = ledger.database.rows(held)
        assert (one, five) == (1, 5)
        gone = sweep(ledger.database, most_bytes=small + large // 2, now=ledger.clock())
        left = {key: count for key, count, _bytes in ledger.database.rows(held)}
        ledger.close()
    assert left == {bob: 1, alice: 5 - gone} and gone == 3
