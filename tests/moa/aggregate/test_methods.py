"""A way of aggregation is one function and one row: what it chooses is what is sent, shown, told, kept and judged anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.admin import sessions
from agent.chat.events import Shown
from agent.events import Record
from agent.ledger.book import Ledger
from agent.ui.text import render
from moa.aggregate.methods import METHODS, Method
from moa.aggregate.result import Aggregation, Result
from moa.cli import replays
from moa.cli.options import parse
from moa.panel.outcome import Answer
from tests.moa.test_fuse import bench, sent
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script

MODELS = {
    "one": Behaviour(steps=(Say(text="BLOCKER\nStop.", cost=0.001),)),
    "two": Behaviour(steps=(Say(text="CONCERN\nBegin with the notes, and read them twice.", cost=0.002),)),
    "three": Behaviour(
        steps=(Say(text="CONCERN\nNo: begin with the code, and then read the notes at last.", cost=0.004),)
    ),
    "main": Behaviour(steps=(Say(text="Done.", cost=0.008),)),
}
PANEL = '[[references]]\nmodel = "fake:one"\n[[references]]\nmodel = "fake:two"\n'


def longest(answers: Sequence[Answer]) -> Aggregation:
    return Aggregation("longest", chosen=(max(answers, key=lambda each: len(each.text)).slot,))


def counted(answers: Sequence[Answer]) -> Aggregation:
    return Aggregation("counted", results=(Result(f"{len(answers)} spoke", f"{len(answers)} spoke"),))


LONGEST = Method("longest", longest, mode="the longest answer", lead="The longest of their answers:")
COUNTED = Method("counted", counted, mode="speakers counted", lead="How many spoke:")


def test_the_answer_that_a_method_chooses_stands_for_the_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, LONGEST.name, LONGEST)
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        chat = bench(tmp_path, endpoint, model=None, preset=f'aggregate = "longest"\n{PANEL}', plugin={"preset": "p"})
        for name, value in chat.env.items():
            monkeypatch.setenv(name, value)
        chat.run("What first?", "/moa status", "/moa show")
        guidance = json.dumps(sent(endpoint, "main")[0]["messages"][-1])
        again = replays.replay(parse(["replay", chat.session.id, "--member", "1=fake:three"])).data
    # What the main model gets: that answer alone, named, with its own grade and not the blocker's of the one that was left.
    assert "The longest of their answers:" in guidance and "read them twice" in guidance and "Stop." not in guidance
    assert "Severity: concern. From one, two." in guidance
    (record,) = chat.all(Record)
    assert (record.data["rung"], record.data["chosen"], record.data["analysis"]) == ("longest", ["2"], None)
    assert record.data["severity"] == "concern" and record.data["points"] == [
        "Begin with the notes, and read them twice."
    ]
    assert "2 of 2 answered · the longest answer: two · concern" in (record.line or "")
    status, shown = (render(each.view) for each in chat.all(Shown))
    assert "none (longest)" in status
    for said in (
        "The answers were not compared (the longest answer).",
        "concern · chosen",
        "Stop.",
        "read them twice",
    ):
        assert said in shown, (said, shown)
    # Kept, and drawn anew from what was kept.
    assert "the longest answer: two" in render(sessions.session(chat.chat.host.config, chat.session.id).view)
    ledger = Ledger(tmp_path / "state" / "ledger.db").calls(session=chat.session.id)
    assert sorted(call.purpose for call in ledger) == ["main", "reference", "reference", "reference"], "no aggregator"
    # Judged anew with another member, the method chooses again.
    assert again["counsel"]["chosen"] == ["1"] and again["counsel"]["rung"] == "longest"
    assert [each["claim"] for each in again["diff"]["won"]] == [
        "No: begin with the code, and then read the notes at last."
    ]


@pytest.mark.parametrize("model", [None, "fuse/p"])
def test_what_a_method_makes_of_the_answers_stands_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str | None
) -> None:
    monkeypatch.setitem(METHODS, COUNTED.name, COUNTED)
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        plugin = {} if model else {"preset": "p"}
        chat = bench(tmp_path, endpoint, model=model, preset=f'aggregate = "counted"\n{PANEL}', plugin=plugin)
        chat.run("What first?", "/moa show")
        guidance = json.dumps(sent(endpoint, "main")[0]["messages"][-1])
    assert "How many spoke:" in guidance and "2 spoke" in guidance
    assert ("Stop." in guidance) == (model is not None), "a fused answer is written from the answers, too"
    (record,) = chat.all(Record)
    assert record.data["results"] == [{"text": "2 spoke", "claim": "2 spoke"}] and "chosen" not in record.data
    shown = render(chat.view())
    assert "Speakers counted" in shown and "2 spoke" in shown and "Stop." in shown
