"""`kill -9` in the middle of a panel: every call is accounted for, and the conversation goes on with the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.ledger.book import Ledger
from tests.moa.serve.test_anchors import points
from tests.support import prompt
from tests.support.preserved import BoundWorld
from tests.support.script import Say
from tests.support.served import WIRES, Client, Desk

ROOT = Path(__file__).parents[3]


def start(world: BoundWorld, client: Client) -> subprocess.Popen[str]:
    """The request on its way, in a process of its own."""
    client.stream = False
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.served_child"],
        env={**world.env, "PYTHONPATH": str(ROOT)},
        cwd=world.program.work_dir,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    child.stdin.write(json.dumps({"wire": client.desk.wire, "body": client.body()}))
    child.stdin.close()
    child.stdin = None
    return child


def ask(world: BoundWorld, client: Client) -> dict[str, Any]:
    """The request, to its end; the client goes on with the answer."""
    child = start(world, client)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    answer: dict[str, Any] = json.loads(out)
    client.items += answer["items"]
    client.work()
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("wire", WIRES)
def test_killed_in_the_middle_of_a_panel(tmp_path: Path, wire: str) -> None:
    number = iter(range(1, 99))

    def adviser(_body: Any, _earlier: int) -> Say:
        return Say(text=f"CONCERN\nPOINT-{next(number)}. Something new of its own, {os.urandom(8).hex()}.")

    with BoundWorld(tmp_path / "world", wire) as world, Desk(tmp_path, wire) as desk:
        world.preset(aggregate="raw")
        world.script(
            alpha=adviser, beta=adviser, main=lambda _b, n: Say(text=f"Step {n}.", tools=(("read", {"path": f"{n}"}),))
        )
        client = desk.client().say("go")
        before = [ask(world, client) for _ in range(2)]
        world.script(beta=lambda _body, _earlier: Say(shape="hang"))
        child = start(world, client)
        world.endpoint.wait_for(lambda: len(world.calls("beta")) == 3 and world.calls("alpha")[-1].finished)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        assert len(world.calls("main")) == 2
        ledger = Ledger(world.program.state_dir / "ledger.db")
        try:
            assert ledger.sweep() >= 1
            outcomes = [call.outcome for call in ledger.calls()]
            seen = len(world.calls("alpha")) + len(world.calls("beta"))
            assert len(outcomes) == seen and outcomes.count("unknown") >= 1 and "reserved" not in outcomes
            assert {call.turn for call in ledger.calls()} == {ledger.calls()[0].turn}, "one conversation, one turn"
        finally:
            ledger.close()
        world.script(beta=adviser)
        after = [ask(world, client) for _ in range(2)]
        assert [answer["said"] for answer in (*before, *after)] == ["taken"] * 4
        items = [list(map(prompt.canonical, prompt.items_of(answer["sent"]))) for answer in (*before, *after)]
        assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(items))
        assert len(points(after[-1]["sent"])) == 8
        assert world.endpoint.refusals == [] and world.endpoint.losses(model="main") == []
