"""A client's tool loop of two hundred calls with counsel at each step, and everything that happens to such a loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.moa.serve.test_anchors import points
from tests.moa.serve.test_taking import busy
from tests.support.script import Say
from tests.support.served import WIRES, Client, Desk, Refused
from tests.support.served_socket import SocketDesk


def rounds(client: Client, count: int) -> None:
    for _ in range(count):
        client.ask()
        assert client.said == "taken"
        client.work()


@pytest.mark.slow
@pytest.mark.parametrize(("wire", "desk_of"), [*((wire, Desk) for wire in WIRES[1:]), (WIRES[0], SocketDesk)])
def test_two_hundred_calls(tmp_path: Path, wire: str, desk_of: type[Desk]) -> None:
    with desk_of(tmp_path, wire, script=busy) as desk:
        client = desk.client().say("a great task")
        rounds(client, 60)
        other = client.branch()
        rounds(client, 20)
        desk.restart()
        rounds(other, 20)
        rounds(client, 20)
        asked, models = desk.asked, desk.endpoint.script.models
        models["main"] = lambda _body, _earlier: Say(status=529)  # type: ignore[index]
        for _ in range(3):
            with pytest.raises(Refused):
                client.ask()
        models["main"] = busy  # type: ignore[index]
        client.ask()
        assert (client.said, desk.asked) == ("reused", asked + 1), "three failures and a success: one panel"
        client.work()
        rounds(client, 19)
        other.items.clear()
        other.say("a summary of all that was done")
        rounds(other, 60)
        assert (len(points(client.sent)), len(points(other.sent))) == (120, 60)
        desk.holds()
