"""`fuse/PRESET` as a model: the panel answers, the answers are compared, the main model writes. Over real sockets, through the chat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.chat.events import Refused
from agent.events import ModelStarted, Notice, Record, TurnFinished
from agent.host import Options
from agent.ledger.book import Ledger
from agent.views import TableView
from moa.plugin import make
from tests.support.chatbench import ChatBench
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import ANALYSIS, Behaviour, Say, Script

MODELS: dict[str, Behaviour] = {
    "one": Behaviour(steps=(Say(text="NOTHING\nForty-two, says one.", cost=0.001),)),
    "two": Behaviour(steps=(Say(text="Forty-three, says two.", cost=0.002),)),
    "main": Behaviour(steps=(Say(text="It is forty-two.", analysis=ANALYSIS, cost=0.004),)),
}
PRESET = '[[references]]\nmodel = "fake:one"\nmax_tokens = 300\n[[references]]\nmodel = "fake:two"\n'


def bench(
    folder: Path,
    endpoint: ScriptedEndpoint,
    *,
    model: str | None = "fuse/p",
    preset: str = PRESET,
    config: str = 'model = "fake:main"\n',
    plugin: Mapping[str, Any] | None = None,
    **options: Any,
) -> ChatBench:
    text = f'{config}[endpoints.fake]\nbase_url = "{endpoint.base_url}"\ndialect = "chat"\n'
    (folder / "config" / "presets").mkdir(parents=True, exist_ok=True)
    (folder / "config" / "presets" / "p.toml").write_text(preset)
    (folder / "work").mkdir(exist_ok=True)
    given = Options(model=model, cwd=folder / "work", plugins={"moa": plugin or {}}, **options)
    return ChatBench(folder, config=text, plugins={"moa": make}, scripted=False, options=given)


def sent(endpoint: ScriptedEndpoint, model: str) -> list[dict[str, Any]]:
    return [call.body for call in endpoint.calls(model)]


def test_the_panel_answers_and_the_main_model_writes(tmp_path: Path) -> None:
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        chat = bench(tmp_path, endpoint)
        chat.run("How many?")
        member, (compared, written) = sent(endpoint, "one")[0], sent(endpoint, "main")
    assert chat.all(TurnFinished)[0].text == "It is forty-two."
    # A member answers the question: nobody asks it for advice, for a grade, or to be short, and its own limit is for advice.
    asked = json.dumps(member)
    assert "You are one of several models that answer the same question" in asked and "How many?" in asked
    assert "Answer the user's last message now." in asked and "NOTHING" not in asked and "at most about" not in asked
    assert member.get("max_tokens", member.get("max_completion_tokens")) == 16_000
    # The main model compares them (nobody else is named), and what it writes is the answer: it gets no tools to use.
    assert "compare the answers that others gave" in json.dumps(compared)
    assert "says one" in json.dumps(compared) and "fake:one" not in json.dumps(compared)
    assert written["tools"] and written["tool_choice"] == "none"
    end = json.dumps(written["messages"][-1])
    assert "NOTHING" in end and "Forty-two, says one." in end
    assert "Forty-three, says two." in end and "where to begin" in end and "line seven is odd" in end
    (record,) = [event.data for event in chat.all(Record)]
    assert (record["trigger"], record["task"], record["answered"], record["rung"]) == (
        "fuse",
        "answer",
        2,
        "json_schema",
    )
    assert [each["text"] for each in record["members"]] == ["NOTHING\nForty-two, says one.", "Forty-three, says two."]
    assert record["guidance"] == chat.all(ModelStarted)[0].guidance and record["messages"] and record["seed"]
    assert record["cost"] == {"usd": pytest.approx(0.007), "lower_bound": False}
    assert chat.session.records("counsel") == [record]
    assert "fuse p: 2 of 2 answered" in chat.all(Record)[0].line
    with_calls = Ledger(tmp_path / "state" / "ledger.db")
    assert sorted(call.purpose for call in with_calls.calls()) == ["aggregator", "main", "reference", "reference"]
    assert chat.all(TurnFinished)[0].cost.usd == pytest.approx(0.011)


def test_each_turn_asks_anew_and_each_request_begins_with_the_one_before(tmp_path: Path) -> None:
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        chat = bench(tmp_path, endpoint)
        chat.run("How many?", "Are you sure?", "/moa again", "/moa show 1")
        first, second = (body for body in sent(endpoint, "main") if body.get("tools"))
        assert second["messages"][: len(first["messages"])] == first["messages"] and second["tools"] == first["tools"]
        assert len(sent(endpoint, "one")) == 2
        assert "Are you sure?" in json.dumps(sent(endpoint, "one")[1])
        again = sent(endpoint, "main")[-1]
    assert "compare the answers that others gave" in json.dumps(again)
    records = chat.session.records("counsel")
    assert [data["trigger"] for data in records] == ["fuse", "fuse", "again"]
    assert records[2]["task"] == "answer" and "Forty-three" in records[2]["guidance"]


DOWN = {**MODELS, "one": Behaviour(steps=(Say(status=500),)), "two": Behaviour(steps=(Say(status=402),))}


def test_nobody_on_the_panel_answers(tmp_path: Path) -> None:
    with ScriptedEndpoint(Script(models={**DOWN, "one": Behaviour(steps=(Say(status=401),))})) as endpoint:
        chat = bench(tmp_path, endpoint)
        chat.run("How many?")
    assert chat.all(TurnFinished)[0].text == "It is forty-two."
    assert [notice.code for notice in chat.all(Notice) if notice.level == "warning"] == ["counsel_failed"]
    (record,) = chat.session.records("counsel")
    assert (record["answered"], record["withheld"], record["guidance"]) == (0, "failed", None)


@pytest.mark.parametrize(
    ("model", "preset", "config", "plugin", "words"),
    [
        ("fuse/nobody", PRESET, 'model = "fake:main"\n', {}, "nobody"),
        ("fuse/p", PRESET, "", {}, "nobody is named who writes the answer of fuse/p"),
        ("fuse/p", PRESET, 'model = "fake:main"\n', {"preset": "p"}, "leave one of them out"),
        ("fuse/p", 'main = "nowhere:x"\n' + PRESET, 'model = "fake:main"\n', {}, "there is no endpoint 'nowhere'"),
    ],
)
def test_what_can_not_be(
    tmp_path: Path, model: str | None, preset: str, config: str, plugin: dict[str, Any], words: str
) -> None:
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        chat = bench(tmp_path, endpoint, model=model, preset=preset, config=config, plugin=plugin)
        chat.run("How many?")
        assert not endpoint.calls()
    assert words in str(chat.seen)


def test_the_chat_changes_to_it_and_a_later_process_knows(tmp_path: Path) -> None:
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        chat = bench(tmp_path, endpoint, model=None, preset=f'main = "fake:other"\neffort = "low"\n{PRESET}')
        chat.run("Hello", "/model fuse/p", "/model", "How many?")
        assert [call.model for call in endpoint.calls()] == ["main", "one", "two", "other", "other"]
        view = chat.view()
        assert isinstance(view, TableView) and view.rows[:2] == (
            ("model", "fuse/p"),
            ("writes the answer", "fake:other"),
        )
        later = bench(tmp_path, endpoint, model=None, session=chat.chat.host.agent.session.id)
        later.run()
    host = later.chat.host
    assert (host.agent.composed, str(host.agent.model)) == ("fuse/p", "fake:main")
    # Before its first message a face says who will receive the conversation; there is no way to send it without the panel.
    told = host.plugins[0].disclosure("How many?")
    assert told is not None and (told.key, told.command, told.off) == ("moa p: this machine", "/moa quote p", "")


def test_config_names_a_panel_as_the_model(tmp_path: Path) -> None:
    """The preset's own main writes then; with none, and no key with a default model, the error names the file."""
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        chat = bench(
            tmp_path, endpoint, model=None, config='model = "fuse/p"\n', preset=f'main = "fake:main"\n{PRESET}'
        )
        chat.run("How many?", "/moa status")
        assert chat.all(TurnFinished)[0].text == "It is forty-two." and len(sent(endpoint, "one")) == 1
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        other = bench(tmp_path, endpoint, model=None, config='model = "fuse/p"\n')
        other.run("How many?")
    (refused,) = other.all(Refused)
    assert "config.toml: model is 'fuse/p': nobody is named who writes the answer" in refused.message


@pytest.mark.parametrize(
    ("plugin", "asked"), [({"off": True}, ["main"]), ({"preset": "q"}, ["two", "main"])], ids=["--no-moa", "--preset"]
)
def test_the_command_line_beats_a_panel_that_config_names_as_the_model(
    tmp_path: Path, plugin: dict[str, Any], asked: list[str]
) -> None:
    """Then that preset's own main model answers, in this session as in one in which `/model` chose the panel."""
    presets = tmp_path / "config" / "presets"
    presets.mkdir(parents=True)
    (presets / "q.toml").write_text('aggregate = "raw"\n[[references]]\nmodel = "fake:two"\n')
    options = {"model": None, "config": 'model = "fuse/p"\n', "preset": f'main = "fake:main"\n{PRESET}'}
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        chat = bench(tmp_path, endpoint, plugin=plugin, **options)
        chat.run("How many?")
        assert [call.model for call in endpoint.calls()] == asked
        assert not chat.chat.host.agent.composed
        chat.run("/model fuse/p")
        session = chat.chat.host.agent.session.id
        later = bench(tmp_path, endpoint, plugin=plugin, session=session, **{**options, "config": 'model = "fake:x"\n'})
        later.run("How many?")
        assert [call.model for call in endpoint.calls()] == 2 * asked
