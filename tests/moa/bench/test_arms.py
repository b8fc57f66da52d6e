"""Arms with a panel before the main model, and their placebos, over a scripted client."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from agent.errors import UsageError
from agent.llm.errors import BudgetReached, Overloaded
from agent.llm.request import ModelRef, Request
from moa.bench import arms, engine, runs
from moa.bench.counselled import shuffled
from moa.bench.items import Item, Suite
from moa.bench.report import report
from moa.preset.preset import Preset
from moa.store.reading import read
from tests.support.scripted import Line, ScriptedClient

MAIN = ModelRef("x", "main")
ITEMS = tuple(Item(f"i{n}", f"Which number is hidden in box {n}?", str(70 + n), "auto") for n in range(6))
SUITE = Suite("boxes", ITEMS)
NAMES = ["solo", "fuse", "placebo:other", "placebo:shuffled", "counsel:turn"]


def preset() -> Preset:
    members = "".join(f'[[references]]\nmodel = "x:m{n}"\n' for n in (1, 2))
    return read(f'aggregate = "raw"\n{members}', name="p", path=Path("p.toml"))


def words(request: Request) -> str:
    return "\n".join([*(message.text for message in request.messages), request.tail or ""])


def knows(request: Request) -> str:
    """A member that looks into the box that it is asked of."""
    item = next(item for item in ITEMS if item.prompt in words(request))
    return f"I have looked inside. It holds {item.expected}, and nothing else is there."


def follows(request: Request) -> str:
    """A main model that knows nothing, and believes whoever names a number of its own box."""
    asked, *given = [message.text for message in request.messages]
    item = next(item for item in ITEMS if item.prompt in asked)
    return f"Answer: {item.expected if f'It holds {item.expected}, and' in ''.join(given) else '0'}"


def client(**script: Line) -> ScriptedClient:
    return ScriptedClient({"x:main": follows, "x:m1": knows, "x:m2": knows, **{f"x:{k}": v for k, v in script.items()}})


def test_counsel_helps_and_a_placebo_does_not(tmp_path: Path) -> None:
    chosen = arms.parse(NAMES, main=MAIN, preset=preset())
    asked = {
        "arms": NAMES,
        "items": [i.id for i in ITEMS],
        "seed": 1,
        "suite": "s",
        "digest": "d",
        "date": "2026-11-26",
    }
    run = runs.begin(tmp_path, asked)
    it = client()
    assert asyncio.run(engine.run(it, SUITE, chosen, run)) is None
    found = report(run)
    assert [(a["name"], a["score"]) for a in found["arms"]] == [
        ("solo", 0.0), ("fuse", 1.0), ("placebo:other", 0.0), ("placebo:shuffled", 0.0), ("counsel:turn", 1.0),
    ]  # fmt: skip
    helped = {pair["arm"]: (pair["wrong_right"], pair["right_wrong"]) for pair in found["pairs"]}
    assert helped == {"fuse": (6, 0), "placebo:other": (0, 0), "placebo:shuffled": (0, 0), "counsel:turn": (6, 0)}
    cost = {arm["name"]: arm["cost"]["usd"] for arm in found["arms"]}
    assert cost["fuse"] == cost["placebo:other"] == 3 * cost["solo"]
    assert {context.purpose for context in it.contexts} == {"main", "reference"}
    assert sum(arm["calls"] for arm in found["arms"]) == len(it.requests)


class TwoCalls:
    """Members that look something up: a call that finds, and one that answers."""

    def __init__(self, client: ScriptedClient) -> None:
        self.client = client

    def begin(self, *_about: Any) -> TwoCalls:
        return self

    async def run(self, request: Request, context: Any, tools: Any, _most: int, on_event: Any = None) -> Any:
        if "web_search" in tools:
            await self.client.complete(request, context, on_event=on_event)
        return await self.client.complete(request, context, on_event=on_event)


def test_members_look_things_up_as_their_preset_says_and_no_web_takes_it_from_them() -> None:
    with pytest.raises(UsageError, match="looks things up"):
        arms.parse(["no-web"], main=MAIN, preset=preset())
    text = '[[references]]\nmodel = "x:m1"\ntools = ["web_search"]\n[[references]]\nmodel = "x:m2"\n'
    looking = read(f'aggregate = "raw"\ntools_at = "first"\n{text}', name="p", path=Path("p.toml"))
    for arm, calls in zip(arms.parse(["fuse", "no-web"], main=MAIN, preset=looking), (4, 3), strict=True):
        it = client()
        context, lookups = engine.context_of(arm, ITEMS[0], "r", None), cast("Any", TwoCalls(it))
        found = asyncio.run(arms.answer(it, arm, ITEMS[0], context, other=ITEMS[1], lookups=lookups))
        assert found.score == 1.0 and len(found.calls) == len(it.requests) == calls
        assert found.cost_nano == 1_000 * calls


def test_who_fails_is_counted_and_the_main_model_answers_alone() -> None:
    (arm,) = arms.parse(["fuse"], main=MAIN, preset=preset())
    it = client(m1=Overloaded("busy"), m2=Overloaded("busy"))
    context = engine.context_of(arm, ITEMS[0], "r", None)
    found = asyncio.run(arms.answer(it, arm, ITEMS[0], context, other=ITEMS[1]))
    assert found.status == "done" and found.score == 0.0 and "overloaded" in found.error


@pytest.mark.parametrize("name", ["fuse", "vote"])
def test_a_panel_out_of_budget_ends_the_run_and_spoils_no_item(name: str) -> None:
    (arm,) = arms.parse([name], main=MAIN, preset=preset())
    it = client(m1=BudgetReached("spent", cap="--budget", remedy="more"))
    with pytest.raises(BudgetReached):
        asyncio.run(arms.answer(it, arm, ITEMS[0], engine.context_of(arm, ITEMS[0], "r", None), other=ITEMS[1]))


def test_self_consistency_is_a_majority_of_one_model() -> None:
    (arm,) = arms.parse(["self:3"], main=MAIN, preset=None)
    it = ScriptedClient({"x:main": ["Answer: 70", "Answer: 3", "The answer is $70.00."]})
    found = asyncio.run(arms.answer(it, arm, ITEMS[0], engine.context_of(arm, ITEMS[0], "r", None), other=ITEMS[1]))
    assert (found.score, found.votes, len(found.calls), found.cost_nano) == (1.0, ["70", "3", "70"], 3, 3_000)
    assert {request.temperature for request in it.requests} == {0.7}


def test_a_pilot_ends_when_it_knows(tmp_path: Path) -> None:
    from moa.cli.bench_run import pairs

    items = tuple(Item(f"i{n}", f"Which number is hidden in box {n % 6}?", str(70 + n % 6), "auto") for n in range(30))
    names = ["solo", "counsel:turn"]
    asked = {
        "arms": names,
        "items": [i.id for i in items],
        "seed": 1,
        "suite": "s",
        "digest": "d",
        "date": "",
        "pilot": True,
    }
    run = runs.begin(tmp_path, asked)
    chosen = arms.parse(names, main=MAIN, preset=preset())
    assert asyncio.run(pairs(client(), Suite("boxes", items), chosen, run, None)) is None
    found = report(run)
    assert found["pilot"]["word"] == "iteration" and found["pilot"]["wrong"] < 0.01
    assert {arm["n"] for arm in found["arms"]} == {7}, "it does not go on once it knows"


def test_shuffled_words_are_the_same_words() -> None:
    text = "one two three four five\n```\nsix seven eight nine ten\n```"
    mixed = shuffled(text, "x")
    assert mixed != text and sorted(mixed.split()) == sorted(text.split()) and mixed == shuffled(text, "x")
    assert mixed.splitlines()[1] == "```"
