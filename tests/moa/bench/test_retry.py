"""`moa bench run --resume ID --retry-failed`: what failed is asked again, what was refused is not, and no cost is forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, endpoint_config
from tests.support.script import Behaviour, Say, Script

ITEMS = 4
FAILS = {1: 1, 2: 3}
"""How often an item fails before it is answered."""


class World:
    """A suite of one's own, and a model that fails some of its items for a while and declines another."""

    def __init__(self, root: Path) -> None:
        self.failed = dict.fromkeys(range(ITEMS), 0)
        self.endpoint = ScriptedEndpoint(
            Script(models={"m": self.answer, "one": Behaviour(steps=(Say(text="Answer: 1"),))}, only=True)
        )
        self.root = root

    def answer(self, body: Mapping[str, Any], _before: int) -> Say:
        number = int(str(body["messages"][-1]).split("item ")[1][0])
        if self.failed[number] < FAILS.get(number, 0):
            self.failed[number] += 1
            return Say(text="It is", shape="cut", cost=0.01)
        if number == 3:
            return Say(text="I will not.", finish="content_filter", cost=0.01)
        return Say(text=f"Answer: {number}", cost=0.01)

    def moa(self, *words: str) -> tuple[int, dict[str, Any]]:
        found = self.program("bench", *words, "--output-format", "json")
        return found.code, found.result if found.code == 0 else {"error": found.err + found.out}

    def start(self) -> None:
        self.program = Program(self.root, self.endpoint.base_url)
        self.program.config(endpoint_config(self.endpoint.base_url, model="fake:m"))
        rows = [{"id": str(n), "prompt": f"This is item {n}.", "expected": n} for n in range(ITEMS)]
        (self.program.work_dir / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.endpoint:
        made.start()
        yield made
        made.program.close()


def test_what_failed_is_asked_again_and_what_was_refused_is_not(world: World) -> None:
    code, first = world.moa("run", "own.jsonl", "--yes")
    (arm,) = first["arms"]
    assert code == 0 and (arm["n"], arm["failed"], arm["refused"], arm["retried"], arm["score"]) == (4, 2, 1, 0, 0.25)
    again = ("run", "--resume", first["id"], "--retry-failed")
    code, problem = world.moa(*again)
    assert code == 2 and "2 failed answers asked again: at most 2 calls" in problem["error"]
    world.endpoint.clear()
    code, second = world.moa(*again, "--yes")
    (arm,) = second["arms"]
    assert (arm["n"], arm["failed"], arm["refused"], arm["retried"], arm["score"]) == (4, 1, 1, 2, 0.5)
    assert len(world.endpoint.calls()) == 2 and arm["calls"] == 6

    # Nothing is asked again by a plain --resume, and the third time the one that is left.
    assert world.moa("run", "--resume", first["id"])[1] == second and len(world.endpoint.calls()) == 2
    assert world.moa(*again, "--yes")[1]["arms"][0]["failed"] == 1
    code, last = world.moa(*again, "--yes")
    (arm,) = last["arms"]
    assert (arm["failed"], arm["refused"], arm["retried"], arm["score"], arm["calls"]) == (0, 1, 2, 0.75, 8)
    world.endpoint.clear()
    assert world.moa(*again)[1] == last and not world.endpoint.calls(), "nothing has failed: nothing to agree to"

    # Every call is in one line of those that count, and in the ledger.
    folder = world.program.state_dir / "bench" / first["id"]
    lines = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    assert len(lines) == 4 + 2 + 1 + 1
    calls = [call for line in {line["item"]: line for line in lines}.values() for call in line["calls"]]
    rows = json.loads(world.program("activity", "--session", f"bench-{first['id']}", "--json").out)["calls"]
    assert sorted(calls) == sorted(row["id"] for row in rows) and len(calls) == 8
    assert arm["cost"]["usd"] == pytest.approx(sum(row["cost_usd"] or 0 for row in rows))
    shown = world.program("bench", "show", first["id"]).out
    assert "Asked again after a failure: solo 2" in shown


def test_an_attempt_that_was_made_again_by_itself_is_in_the_figures(world: World) -> None:
    """The connection broke before a word came: the call may have been billed, and went out once more."""
    lost = Behaviour(first=(Say(shape="refuse"),), steps=(Say(text="Answer: 1", cost=0.01),))
    world.endpoint.script = Script(models={"m": lost}, only=True)
    code, found = world.moa("run", "own.jsonl", "--limit", "1", "--yes")
    (arm,) = found["arms"]
    assert code == 0 and (arm["n"], arm["failed"], arm["calls"]) == (1, 0, 2)
    assert arm["cost"] == {"usd": 0.01, "lower_bound": True}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "own.jsonl", "--retry-failed", "--yes"), "--resume ID"),
        (("run", "--resume", "PILOT", "--retry-failed", "--yes"), "looks at each pair once"),
    ],
)
def test_where_nothing_is_asked_again(world: World, words: tuple[str, ...], said: str) -> None:
    world.program.preset("p", 'aggregate = "raw"\n[[references]]\nmodel = "fake:one"\n')
    pilot = ""
    if "PILOT" in words:
        pilot = world.moa("pilot", "own.jsonl", "--preset", "p", "--model", "fake:one", "--yes")[1]["id"]
    code, problem = world.moa(*(word.replace("PILOT", pilot) for word in words))
    assert code == 2 and said in problem["error"]


def test_a_budget_that_cannot_be_kept_is_refused_before_anything_is_spent(world: World) -> None:
    code, problem = world.moa("run", "own.jsonl", "--yes", "--budget", "1")
    assert code == 2 and "--budget can't be kept: the price of 4 of at most 4 calls is not known" in problem["error"]
    assert not world.endpoint.calls()
