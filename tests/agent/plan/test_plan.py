"""`/plan`: nothing is changed until the user has approved a plan, and the panel's objections stand beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.chat.events import Inquired, Refused
from agent.events import Record, ToolFinished, TurnFinished
from agent.forms import Choices
from agent.host import Options
from agent.llm.stream import Reply
from agent.plan.plugin import is_plan, make
from agent.ui.text import render
from moa.plugin import make as make_moa
from tests.support.chatbench import ChatBench, calls
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import ANALYSIS, Behaviour, Say, Script

PLAN = "Plan:\n1. Write a.txt.\n2. Run the tests."
WRITES = ("write", {"path": "a.txt", "content": "a\n"})


def bench(folder: Path, lines: Sequence[str | Reply], answer: str = "edits", **options: Any) -> ChatBench:
    """A chat whose user gives this answer to every form."""

    def on(event: Any) -> None:
        if isinstance(event, Inquired):
            chat.chat.reply(event.id, (answer,) if answer else None)

    given = Options(approve=options.pop("approve", "ask"), cwd=folder / "work", **options)
    chat = ChatBench(folder, lines, plugins={"plan": make}, options=given, on=on)
    return chat


def mode(chat: ChatBench) -> str:
    return chat.chat.host.agent.tools.approvals.mode


def test_nothing_is_changed_before_the_plan_is_approved(tmp_path: Path) -> None:
    chat = bench(tmp_path, [calls(WRITES), PLAN, calls(WRITES), "Done."])
    chat.run("/plan make a.txt")
    refused, written = (event for event in chat.all(ToolFinished))
    assert refused.outcome == "refused" or "nothing is changed until" in refused.text
    assert "nothing is changed until" in refused.text and written.outcome == "ok"
    assert (tmp_path / "work" / "a.txt").read_text() == "a\n" and mode(chat) == "edits"
    (form,) = (event.form for event in chat.all(Inquired))
    assert (
        isinstance(form, Choices)
        and form.sudden
        and form.choices[0].id == "stay"
        and "Run the tests" in render(form.view)
    )  # type: ignore[arg-type]
    assert [choice.id for choice in form.choices] == [
        "stay",
        "ask",
        "edits",
        "off",
    ]  # nobody objects, nothing to revise
    assert chat.texts[-4].startswith("I approve the plan.") and chat.texts[-1] == "Done."
    asked = chat.client.requests[0]
    assert any("Plan mode is on, in turn 1" in message.text for message in asked.messages)


@pytest.mark.parametrize(
    ("answer", "then", "calls_made"),
    [("stay", "plan", 1), ("", "plan", 1), ("off", "all", 1), ("all", "all", 2), ("ask", "ask", 2)],
)
def test_what_comes_of_the_answer(tmp_path: Path, answer: str, then: str, calls_made: int) -> None:
    chat = bench(tmp_path, [PLAN, "Done."], answer, approve="all")
    chat.run("/plan it")
    assert (mode(chat), len(chat.client.requests)) == (then, calls_made)


def test_a_question_is_no_plan_and_the_verbs_do_without_a_form(tmp_path: Path) -> None:
    chat = bench(tmp_path, ["Which of the two?", "ok", "Done."])
    chat.run("/plan", "change it", "/plan off", "/plan go", "/plan", "/plan go deny", "/plan go edits")
    assert not chat.all(Inquired) and mode(chat) == "edits"
    assert [refused.text for refused in chat.all(Refused)] == ["/plan go", "/plan go deny"]
    assert "I approve the plan" in chat.texts[-2] or "I approve the plan" in chat.texts[-3]


@pytest.mark.parametrize(
    ("reply", "plan"),
    [
        (PLAN, True),
        ("I looked.\n\n## The plan\n- do this and that", True),
        ("**Plan:**\n\n1. a b c", True),
        ("Here is my revised plan\n1. do it now", True),
        ("Plan: mend the reader\n\n1. Read it whole.", True),
        ("## Plan — the reader\n- read it whole", True),
        ("Plan: which of the two is meant?\nI found both.", False),
        ("Plan mode is on, what do you want?", False),
        ("I plan to ask: which one?", False),
        ("Plan:", False),
        ("", False),
    ],
)
def test_what_counts_as_a_plan(reply: str, plan: bool) -> None:
    assert is_plan(reply) is plan


def panelled(folder: Path, endpoint: ScriptedEndpoint, answer: str, preset: str) -> ChatBench:
    def on(event: Any) -> None:
        if isinstance(event, Inquired):
            chat.chat.reply(event.id, (answer,) if len(chat.all(Inquired)) == 1 else ("stay",))

    text = f'model = "fake:main"\n[endpoints.fake]\nbase_url = "{endpoint.base_url}"\ndialect = "chat"\n[moa]\npreset = "p"\n'
    (folder / "config" / "presets").mkdir(parents=True, exist_ok=True)
    (folder / "config" / "presets" / "p.toml").write_text(preset)
    options = Options(cwd=folder / "work", approve="ask")
    chat = ChatBench(
        folder, config=text, plugins={"moa": make_moa, "plan": make}, scripted=False, options=options, on=on
    )
    return chat


PRESET = '[[references]]\nmodel = "fake:one"\n[[references]]\nmodel = "fake:two"\n'


def test_the_panel_s_objections_stand_beside_the_plan(tmp_path: Path) -> None:
    models = {
        "one": Behaviour(steps=(Say(text="Step 2 fails.", cost=0.01),)),
        "two": Behaviour(steps=(Say(text="Fine as it is.", cost=0.02),)),
        "main": Behaviour(
            steps=(Say(text=PLAN, analysis=ANALYSIS, cost=0.04), Say(text="Plan:\n1. Another way.", cost=0.04))
        ),
    }
    with ScriptedEndpoint(Script(models=models)) as endpoint:
        chat = panelled(tmp_path, endpoint, "revise", PRESET)
        events = chat.run("/plan make a.txt")
        member = json.dumps(endpoint.calls("one")[0].body)
        revised = json.dumps(endpoint.calls("main")[2].body)
    assert "The agent's last message is a plan" in member and "Write a.txt" in member and "NOTHING" not in member
    form = next(event.form for event in events if isinstance(event, Inquired))
    assert isinstance(form, Choices) and form.view is not None
    kinds = [event.type for event in events if isinstance(event, Inquired | Record)]
    assert kinds[:2] == ["record", "inquired"]  # what it is about comes first
    assert "line seven is odd" in render(form.view) and "where to begin" in render(form.view)
    assert "I don't approve the plan yet" in revised and "line seven is odd" in revised
    assert {record["task"] for record in chat.session.records("counsel")} == {"plan"} and mode(chat) == "plan"
    planned = chat.all(TurnFinished)[0].cost.usd
    assert planned == pytest.approx(0.04 + 0.01 + 0.02 + 0.04), "what the panel took is the turn's, aggregator included"


def test_where_no_panel_can_be_asked_the_approval_says_so(tmp_path: Path) -> None:
    models = {"main": Behaviour(steps=(Say(text=PLAN),))}
    with ScriptedEndpoint(Script(models=models)) as endpoint:
        chat = panelled(tmp_path, endpoint, "stay", '[[references]]\nmodel = "nowhere:one"\n')
        events = chat.run("/plan make a.txt")
    form = next(event.form for event in events if isinstance(event, Inquired))
    assert isinstance(form, Choices) and form.view is not None and "The panel was not asked" in render(form.view)
    assert chat.all(TurnFinished)[0].status == "done"
