"""Every client's wire in front of every endpoint's, through the server: a tool loop with counsel at each step against an endpoint that
refuses thoughts which do not belong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.moa.serve.wires.test_features import tool
from tests.support.crossing import events
from tests.support.script import Behaviour, Say, Script
from tests.support.served import items_of_answer, items_of_stream
from tests.support.serving import PRESET, UPSTREAM_KEY, WIRES, Serving, body
from tests.support.signing import SigningEndpoint

PAIRS = [(wire, upstream) for wire in WIRES for upstream in WIRES]
STEPS = 3


def work(_body: Mapping[str, Any], earlier: int) -> Say:
    """Two calls at once, then one, and so on; the last is an answer."""
    if earlier % (STEPS + 1) == STEPS:
        return Say(text="All of it is done, and this is the whole of the answer.")
    tools = tuple(("read", {"path": f"{earlier}.{n}"}) for n in range(1 + earlier % 2))
    return Say(text=f"Step {earlier}.", tools=tools)


def advice(_body: Mapping[str, Any], earlier: int) -> Say:
    """Something new each time: what was said before is withheld."""
    return Say(text=f"NOTE\nLook at place {earlier} again: " + " ".join(f"w{earlier}x{at}" for at in range(6)))


def script() -> Script:
    members = {
        "alpha": advice,
        "beta": Behaviour(steps=(Say(text="NOTHING"),)),
        "gamma": Behaviour(steps=(Say(text="NOTHING"),)),
    }
    return Script(models={"m": work, **members}, api_key=UPSTREAM_KEY)


class Client:
    """One conversation over one wire."""

    server: Serving

    def __init__(self, wire: str, *, stream: bool) -> None:
        self.wire, self.stream = wire, stream
        self.key = "input" if wire == "responses" else "messages"
        self.items: list[Any] = body(wire, "m")[self.key]
        self.counsel: list[str] = []

    def ask(self) -> list[Any]:
        more: dict[str, Any] = {"tools": [tool(self.wire)], "stream": self.stream, self.key: self.items}
        answer = self.server.post(self.wire, body(self.wire, "moa/p", **more))
        assert answer.status_code == 200, answer.text
        self.counsel.append(answer.headers["x-moa-counsel"])
        if self.stream:
            told = [event for event in events(answer.content) if isinstance(event, dict)]
            assert "error" not in told[-1], told[-1]
            items = items_of_stream(self.wire, told)
        else:
            items = items_of_answer(self.wire, answer.json())
        self.items += items
        return items

    def work(self, items: list[Any]) -> bool:
        """The client's own tools answer."""
        text = json.dumps(items)
        ids = (
            [part.split('"')[0] for part in text.split(f'"{CALL_ID[self.wire]}": "')[1:]]
            if CALLS[self.wire](items)
            else []
        )
        for id in ids:
            if self.wire == "responses":
                self.items.append({"type": "function_call_output", "call_id": id, "output": f"found {id}"})
            elif self.wire == "chat":
                self.items.append({"role": "tool", "tool_call_id": id, "content": f"found {id}"})
        if self.wire == "messages" and ids:
            results = [{"type": "tool_result", "tool_use_id": id, "content": f"found {id}"} for id in ids]
            self.items.append({"role": "user", "content": results})
        return bool(ids)


CALL_ID = {"messages": "id", "responses": "call_id", "chat": "id"}
CALLS: dict[str, Callable[[list[Any]], bool]] = {
    "messages": lambda items: any(block["type"] == "tool_use" for block in items[-1]["content"]),
    "responses": lambda items: any(item["type"] == "function_call" for item in items),
    "chat": lambda items: bool(items[-1].get("tool_calls")),
}


def served(tmp_path: Path, up: SigningEndpoint, upstream: str) -> Serving:
    return Serving(tmp_path, up, presets={"p": PRESET.format(main=f"{upstream}:m", aggregate="raw")})


@pytest.mark.slow
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(("wire", "upstream"), PAIRS)
def test_a_tool_loop_with_counsel_at_each_step(tmp_path: Path, wire: str, upstream: str, stream: bool) -> None:
    with SigningEndpoint(script()) as up:
        client = Client(wire, stream=stream)
        for _turn in range(2):  # a server each: what is kept outlives it
            with served(tmp_path, up, upstream) as client.server:
                while client.work(client.ask()):
                    pass
            client.items += body(wire, "m", text="And once more, please.")[client.key]
        assert client.counsel == ["taken"] * 2 * (STEPS + 1)
        assert up.refusals == [] and up.losses(model="m") == []
        calls = [exchange for exchange in up.exchanges if exchange.body.get("model") == "m"]
        assert len(calls) == 2 * (STEPS + 1)


@pytest.mark.slow
def test_what_is_left_out_and_what_is_refused_is_told_by_name(tmp_path: Path) -> None:
    with SigningEndpoint(script()) as up, served(tmp_path, up, "messages") as server:
        answer = server.post("chat", body("chat", "messages:m", verbosity="low"))
        assert (answer.status_code, answer.headers["x-moa-left-out"]) == (200, "verbosity")
        for stream in (False, True):
            answer = server.post("chat", body("chat", "messages:m", seed=7, stream=stream))
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "seed")
            assert answer.headers["x-should-retry"] == "false"
        assert len(up.exchanges) == 1
