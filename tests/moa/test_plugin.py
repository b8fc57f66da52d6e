"""Counsel in the real loop, over scripted models: what goes out with which call, what is recorded, what the verbs do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.approval.approval import Approvals
from agent.commands import CommandContext, CommandTable, RunTurn, Said
from agent.errors import UsageError
from agent.events import (
    AgentEvent,
    DraftSuperseded,
    ModelStarted,
    Notice,
    Record,
    SideFinished,
    SideStarted,
    TurnFinished,
)
from agent.files.deny_paths import DenyPaths
from agent.ledger.book import Ledger
from agent.llm.errors import Overloaded
from agent.llm.models.endpoint import ModelFacts
from agent.llm.request import ModelRef, Request
from agent.llm.stream import Reply
from agent.loop.agent import Agent
from agent.loop.tool_runner import ToolRunner
from agent.loop.turn import Turn
from agent.plugin import PluginHost, Registry
from agent.session.session import Session
from agent.tools.base import ToolContext
from agent.tools.builtin import builtin_tools
from agent.tools.todo import Todo
from agent.views import MarkdownView, TableView, TabsView
from moa.plugin import Moa
from tests.support.chatbench import calls as tools
from tests.support.opening import Plain
from tests.support.scripted import After, Line, ScriptedClient

MAIN = ModelRef("fake", "main")
ANALYSIS = json.dumps(
    {
        "consensus": ["read the file first"],
        "contradictions": [],
        "partial_coverage": [],
        "unique_insights": [],
        "blind_spots": ["nobody ran the tests"],
        "next_steps": ["run the tests"],
        "evidence": [],
    }
)
MEMBERS = '[[references]]\nmodel = "fake:one"\nrole = "doubt"\n[[references]]\nmodel = "fake:two"\n'
JUDGED = '[aggregator]\nmodel = "fake:judge"\n'


LOOK = tools(("glob", {"pattern": "*.nothing"}))


@dataclass
class Bench:
    """An agent with counsel: the main model follows `main`, the preset `p` is `head` and two members."""

    folder: Path
    main: Sequence[Line]
    head: str = 'aggregate = "raw"'
    script: Mapping[str, Line | Sequence[Line]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=lambda: {"preset": "p"})
    env: Mapping[str, str] = field(default_factory=dict)
    session: Session | None = None
    seen: list[AgentEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        presets = self.folder / "config" / "presets"
        presets.mkdir(parents=True, exist_ok=True)
        (presets / "p.toml").write_text(f"{self.head}\n{MEMBERS}")
        (presets / "q.toml").write_text(f'aggregate = "raw"\ncadence = "turn"\n{MEMBERS}')
        script: dict[str, Any] = {"fake:one": "advice one", "fake:two": "advice two", "fake:judge": ANALYSIS}
        self.client = ScriptedClient({**script, **self.script, str(MAIN): list(self.main)})
        self.session = self.session or Session.create(self.folder / "state")
        ledger = Ledger(self.folder / "state" / "ledger.db")
        self.host = PluginHost(
            client=self.client,
            ledger=ledger,
            settings={"preset": "p"},
            config_file=self.folder / "config" / "config.toml",
            main_model=str(MAIN),
            config_dir=self.folder / "config",
            state_dir=self.folder / "state",
            project_dir=None,
            registry=Registry(),
            run_member=lambda request, context, _tools, _most, on_event: self.client.complete(
                request, context, on_event=on_event
            ),
            options=self.options,
            session=self.session,
        )
        self.moa = Moa(self.host, env=self.env)
        deny = DenyPaths((), self.folder)
        self.agent = Agent(
            client=self.client,
            ledger=ledger,
            session=self.session,
            model=MAIN,
            tools=ToolRunner(
                [*builtin_tools(), Todo(self.session), *self.moa.tools()],
                ToolContext(cwd=self.folder, scratch=self.folder / "scratch", deny_paths=deny),
                Approvals("all", deny_paths=deny),
            ),
            opening=Plain(),
            plugins=[self.moa],
        )
        self.commands = CommandTable(self.moa.commands())

    async def turn(self, prompt: str = "go", **options: Any) -> TurnFinished:
        async for event in Turn(self.agent, prompt, options=options).events():
            self.seen.append(event)
        last = self.seen[-1]
        assert isinstance(last, TurnFinished)
        return last

    async def say(self, text: str, *, busy: bool = False) -> Any:
        assert self.session is not None
        context = CommandContext(session=self.session, emit=self.seen.append, busy=busy)
        return await self.commands.run(text, context)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]

    @property
    def records(self) -> list[dict[str, Any]]:
        return [event.data for event in self.of(Record)]

    @property
    def guidance(self) -> list[str | None]:
        return [event.guidance for event in self.of(ModelStarted)]

    def to(self, model: str) -> list[Request]:
        return [request for request in self.client.requests if request.model.model == model]


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(main(), 10))


def test_counsel_before_each_call_and_its_record(tmp_path: Path) -> None:
    second = ANALYSIS.replace("run the tests", "run the linter")
    bench = Bench(tmp_path, [LOOK, "done"], JUDGED, script={"fake:judge": [ANALYSIS, second]})

    async def main() -> None:
        assert (await bench.turn("fix it")).status == "done"

    run(main)
    assert [data["iteration"] for data in bench.records] == [1, 2]
    first = bench.records[0]
    contract = {"iteration", "trigger", "preset", "answered", "failed", "late", "rung", "analysis", "guidance", "step"}
    contract |= {"silent", "severity", "withheld"}
    assert contract | {"duration_s", "cost"} <= set(first)
    assert (first["answered"], first["rung"], first["step"], first["trigger"]) == (2, "json_schema", 1, "turn_start")
    assert first["analysis"]["consensus"] == ["read the file first"]
    assert first["cost"] == {"usd": 3e-6, "lower_bound": False}
    assert [member["text"] for member in first["members"]] == ["advice one", "advice two"]
    assert first["guidance"] == bench.guidance[0] and "run the tests" in (bench.guidance[0] or "")
    assert json.loads(json.dumps(first)) == first
    # Guidance stands in requests, from its own on: neither in the history nor in what members see.
    first_sent, second_sent = (str(request.messages) for request in bench.to("main"))
    assert first_sent.count("run the tests") == 1 and second_sent.count("run the tests") == 1
    assert "run the linter" in second_sent and "read the file first" not in (bench.guidance[1] or ""), "that was said"
    assert all(request.tail is None for request in bench.to("main"))
    assert bench.session is not None
    assert not any("run the tests" in message.text for message in bench.session.history())
    assert all("run the tests" not in str(request.messages) for request in bench.to("one"))
    assert bench.session.records("counsel") == bench.records
    assert {context.share for context in bench.client.contexts} == {None, "counsel"}


def test_between_counsels_nothing_is_repeated(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [LOOK, LOOK, LOOK, LOOK, "done"], 'aggregate = "raw"\ncadence = "turn"')
    run(lambda: _turn(bench))
    assert len(bench.to("one")) == 1
    assert [data["trigger"] for data in bench.records] == ["turn_start"]
    assert [text is None for text in bench.guidance] == [False, True, True, True, True]
    assert all(str(request.messages).count("advice one") == 1 for request in bench.to("main"))
    assert bench.session is not None
    assert [data["saved_usd"] for data in bench.session.records("receipt")] == [2e-6] * 4


async def _turn(bench: Bench) -> None:
    assert (await bench.turn()).status == "done"


NOT_THERE = tools(("read", {"path": "nothing.txt"}))
EXITS = tools(("shell", {"command": "echo no; exit 3"}))
CANNOT = tools(("shell", {"command": "echo no", "timeout_s": -1}))


@pytest.mark.parametrize(
    ("replies", "triggers"),
    [
        ([NOT_THERE], ["tool_error"]),
        ([CANNOT], ["tool_error"]),
        ([EXITS], ["before_stop"]),
        ([EXITS, EXITS], ["before_stop"]),
        ([EXITS, EXITS, EXITS], ["same_result"]),
        ([LOOK, NOT_THERE, LOOK, LOOK], ["tool_error", "same_result"]),
    ],
)
def test_signal_after_what_could_not_run_and_after_three_times_the_same(
    tmp_path: Path, replies: list[Reply], triggers: list[str]
) -> None:
    bench = Bench(tmp_path, [*replies, "done", "done"], 'aggregate = "raw"\ncadence = "signal"')
    run(lambda: bench.turn())
    assert [data["trigger"] for data in bench.records][1:] == triggers


def test_signal_holds_a_draft_back_once_where_the_turn_wrote_something(tmp_path: Path) -> None:
    writing = tools(("write", {"path": "a.txt", "content": "x"}))
    bench = Bench(
        tmp_path,
        [writing, "my draft", writing, "the end"],
        'aggregate = "raw"\ncadence = "signal"',
        script={"fake:one": ["look first", "advice one"]},
    )
    run(lambda: _turn(bench))
    (draft,) = bench.of(DraftSuperseded)
    assert draft.message.text == "my draft"
    assert [data["trigger"] for data in bench.records] == ["turn_start", "before_stop"]
    reviewed = bench.to("one")[-1]
    assert "my draft" in (reviewed.tail or "") and "my draft" not in str(reviewed.messages)
    assert "my draft" not in (bench.guidance[2] or "") and "advice one" in (bench.guidance[2] or "")
    assert bench.guidance[3] is None
    assert [message.text for message in bench.to("main")[2].messages if message.role == "assistant"][-1] == "my draft"
    assert bench.session is not None
    assert [message.text for message in bench.session.history() if message.draft] == ["my draft"]
    last = bench.seen[-1]
    assert isinstance(last, TurnFinished) and last.text == "the end"


def test_signal_does_not_hold_back_what_only_kept_a_list(tmp_path: Path) -> None:
    listing = tools(("todo", {"items": [{"text": "look", "status": "done"}]}))
    bench = Bench(tmp_path, [listing, "my draft"], 'aggregate = "raw"\ncadence = "signal"')
    run(lambda: _turn(bench))
    assert bench.of(DraftSuperseded) == [] and [data["trigger"] for data in bench.records] == ["turn_start"]


def test_the_aggregator_is_shown_the_draft_that_the_answers_are_about(tmp_path: Path) -> None:
    writing = tools(("write", {"path": "x.txt", "content": "x"}))
    bench = Bench(tmp_path, [writing, "my draft", "the end"], f'cadence = "signal"\n{JUDGED}')
    run(lambda: _turn(bench))
    judged = [request.tail or "" for request in bench.client.requests if request.model.model == "judge"]
    assert ["my draft" in tail for tail in judged] == [False, True]


def test_where_all_fail_the_main_model_goes_on_alone_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["done"], script={"fake:one": Overloaded("down", status=503), "fake:two": " "})
    run(lambda: _turn(bench))
    (data,) = bench.records
    assert (data["answered"], data["guidance"], data["rung"]) == (0, None, None)
    assert [failed["kind"] for failed in data["failed"]] == ["overloaded", "empty_answer"]
    (notice,) = bench.of(Notice)
    assert notice.code == "counsel_failed" and "overloaded" in notice.text and "alone" in notice.text
    assert bench.guidance == [None]


def test_k_of_n_is_said_once_a_turn(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [LOOK, LOOK, "done"], script={"fake:two": Overloaded("secret detail", status=503)})
    run(lambda: _turn(bench))
    assert [notice.text for notice in bench.of(Notice)] == ["counsel from 1 of 2 (2 two: overloaded)"]
    assert all("secret detail" not in (text or "") for text in bench.guidance)


def test_a_fault_of_ours_costs_the_advice_and_not_the_turn(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["done"])

    def broken(model: ModelRef) -> Any:
        if model.model == "main":
            return ModelFacts()
        raise ZeroDivisionError("a bug")

    bench.client.facts = broken  # type: ignore[method-assign]
    run(lambda: _turn(bench))
    assert "ZeroDivisionError" in bench.records[0]["warnings"][0]


def test_lookahead_waits_for_the_first_counsel_alone(tmp_path: Path) -> None:
    slow: list[Line] = ["first advice", After(0.15, "second advice")]
    wait = tools(("shell", {"command": "sleep 0.2"}))
    bench = Bench(
        tmp_path,
        [LOOK, LOOK, wait, LOOK, "done"],
        'aggregate = "raw"\nlookahead = true',
        script={"fake:one": slow},
    )
    run(lambda: _turn(bench))
    # Begun on the state of call 2, not ready for 3, delivered with 4 and stamped with the step that it looked at.
    assert [(data["trigger"], data["step"], data["iteration"]) for data in bench.records[:2]] == [
        ("turn_start", 1, 1),
        ("iteration", 2, 4),
    ]
    assert "second advice" in (bench.guidance[3] or "") and "before step 2;" in (bench.guidance[3] or "")
    assert bench.client.cancelled >= 1, "what was still under way at the end was cancelled"


def test_cancelling_the_turn_ends_every_member(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["never"], script={"fake:one": After(5, "x"), "fake:two": After(5, "x")})

    async def main() -> None:
        turn = Turn(bench.agent, "go")
        async for event in turn.events():
            bench.seen.append(event)
            if isinstance(event, ModelStarted | Notice):
                raise AssertionError(event)
            if event.type == "side_progress" and len(bench.client.requests) == 2:
                turn.cancel()
        last = bench.seen[-1]
        assert isinstance(last, TurnFinished) and last.status == "interrupted"
        assert bench.client.cancelled == 2
        assert [event.outcome for event in bench.of(SideFinished)] == ["cancelled", "cancelled"]

    run(main)


def test_inside_of_a_panel_nothing_fans_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["done"], env={"MOA_DEPTH": "1"})
    run(lambda: _turn(bench))
    assert not bench.records and not bench.to("one")
    assert [notice.code for notice in bench.of(Notice)] == ["recursion"]


def test_arming_goes_from_the_command_line_over_the_session_to_the_config(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, ["done"], options={})
        assert bench.moa.armed is None and bench.moa.status() is None
        assert "on: `q`" in _text(await bench.say("/moa q"))
        assert bench.session is not None
        again = Bench(tmp_path, ["done"], options={}, session=Session.open(tmp_path / "state", _reopened(bench)))
        assert again.moa.armed == "q" and again.moa.status() == "moa q"
        off = Bench(tmp_path, ["done"], options={"off": True}, session=again.session)
        assert off.moa.armed is None
        with pytest.raises(UsageError, match="nope"):
            Bench(tmp_path, ["done"], options={"preset": "nope"})

    run(main)


def _reopened(bench: Bench) -> str:
    assert bench.session is not None
    bench.session.close()
    return bench.session.id


def _text(result: Any) -> str:
    assert isinstance(result, Said) and isinstance(result.view, MarkdownView)
    return result.view.text


def test_the_verbs(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, ["one", "two", "three"], options={})
        assert "Counsel is on: `p`" in _text(await bench.say("/moa"))
        assert "off" in _text(await bench.say("/moa"))
        await bench.turn()
        assert not bench.records, "disarmed"
        with pytest.raises(UsageError, match="no counsel was taken"):
            await bench.say("/moa show")
        asked = await bench.say("/moa ask @q what now?")
        assert isinstance(asked, RunTurn) and asked.prompt == "what now?"
        await bench.turn(asked.prompt, **asked.options)
        assert bench.records[0]["preset"] == "q" and bench.moa.armed is None
        await bench.turn()
        assert len(bench.records) == 1, "one turn with counsel, then as before"
        shown = await bench.say("/moa show 1", busy=True)
        assert isinstance(shown, Said) and isinstance(shown.view, TabsView)
        assert [name for name, _view in shown.view.tabs] == ["Members", "Guidance", "Calls & cost"]
        assert "advice one" in str(shown.view.tabs[0][1])
        before = len(bench.client.requests)
        again = await bench.say("/moa again")
        assert isinstance(again, Said) and len(bench.client.requests) == before, "raw: no model is asked"
        assert bench.records[-1]["trigger"] == "again"
        status = await bench.say("/moa status", busy=True)
        assert isinstance(status, Said) and isinstance(status.view, TableView)
        rows = dict(status.view.rows)
        assert rows["member 1"] == "fake:one: doubt" and rows["panel"] == "no counsel was taken yet"
        assert rows["sent to"] == "this machine"
        assert "2 of 2 answered" in rows["last counsel"] and rows["cadence"] == "iteration"
        quoted = await bench.say("/moa quote q", busy=True)
        assert isinstance(quoted, Said) and isinstance(quoted.view, TableView) and "wrong tool" in quoted.view.note

    run(main)


def test_again_judges_the_last_answers_anew_without_the_panel(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["done"], JUDGED)

    async def main() -> None:
        await bench.turn()
        await bench.say("/moa again")
        assert [len(bench.to(model)) for model in ("one", "two", "judge")] == [1, 1, 2]
        assert bench.to("judge")[1].messages == bench.to("judge")[0].messages
        assert bench.records[-1]["cost"] == {"usd": 1e-6, "lower_bound": False}

    run(main)


def test_wrong_verbs_name_the_nearest(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path, ["done"], options={})
        for text, said in (
            ("/moa stauts", "did you mean /moa status?"),
            ("/moa bugdet", "did you mean /moa budget?"),
            ("/moa zzzzzz", "presets: "),
            ("/moa on now", "/moa on"),
            ("/moa ask", "/moa ask [@PRESET] PROMPT"),
            ("/moa q what?", "/moa ask @q what?"),
            ("/moa tool maybe", "force | offer | off"),
            ("/moa cancel", "active: nobody"),
            ("/moa cancel 1", "active: nobody"),
            ("/moa go", "while a panel is active"),
            ("/moa ask @nope x", "quality"),
        ):
            with pytest.raises(UsageError) as caught:
                await bench.say(text)
            assert said in (caught.value.remedy or ""), text
        with pytest.raises(UsageError, match="working"):
            await bench.say("/moa on", busy=True)

    run(main)


def test_completion_knows_verbs_presets_and_who_is_at_work(tmp_path: Path) -> None:
    command, presets, *_ = Bench(tmp_path, ["done"], options={}).moa.commands()
    assert list(command.complete("qu")) == ["quote", "quality"]
    assert list(command.complete("ask @q")) == ["ask @q", "ask @quality"]
    assert list(command.complete("tool f")) == ["tool force"]
    assert list(command.complete("cancel ")) == []
    assert list(presets.complete("qua")) == ["quality"]


def test_go_and_cancel_while_a_panel_works(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["done"], script={"fake:one": After(3, "x"), "fake:two": After(3, "x")})

    async def main() -> None:
        turn = asyncio.create_task(bench.turn())
        await bench.client.asked(2)
        assert list(bench.moa.commands()[0].complete("cancel ")) == ["cancel 1", "cancel 2"]
        await bench.say("/moa cancel 1", busy=True)
        await bench.say("/moa go", busy=True)
        assert (await turn).status == "done"
        (data,) = bench.records
        assert [failed["kind"] for failed in data["failed"]] == ["cancelled"] and data["running"] == ["2"]
        assert data["cost"]["lower_bound"], "what still runs is not free"

    run(main)


def test_a_counsel_that_is_stopped_in_the_middle_is_recorded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["done"], script={"fake:two": After(60, "late")})

    async def main() -> None:
        turn = Turn(bench.agent, "go")
        async for event in turn.events():
            bench.seen.append(event)
            if isinstance(event, SideFinished) and event.outcome == "answered":
                turn.cancel()

    run(main)
    (data,) = bench.records
    assert data["warnings"] == ["stopped before its end"] and data["cost"]["lower_bound"]
    # What had come is kept, and nobody says that the panel was silent, or that the main model continues.
    assert [member["slot"] for member in data["members"]] == ["1"] and [each["slot"] for each in data["failed"]] == [
        "2"
    ]
    (line,) = [event.line for event in bench.seen if isinstance(event, Record) and event.kind == "counsel"]
    assert "stopped when 1 of 2 had answered" in line and "continues alone" not in line


def test_the_last_answers_are_analysed_anew_in_another_process(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["done"], JUDGED)
    run(lambda: _turn(bench))
    bench.agent.session.close()
    session = Session.open(tmp_path / "state", bench.agent.session.id)
    later = Bench(tmp_path, ["done"], JUDGED, session=session)
    context = CommandContext(session=session, emit=later.seen.append)
    run(lambda: later.commands.run("/moa again", context))
    assert [request.model.model for request in later.client.requests] == ["judge"]
    (tail,) = [request.tail or "" for request in later.client.requests]
    assert "advice one" in tail and "advice two" in tail
    status = run(lambda: later.commands.run("/moa status", context))
    assert isinstance(status, Said) and isinstance(status.view, TableView)
    assert "2 of 2 answered · 1 agreed" in dict(status.view.rows)["last counsel"]  # type: ignore[arg-type]
    assert sum(row[0].startswith("step ") for row in status.view.rows) == 2


def test_an_aggregator_that_hangs_costs_the_analysis_and_not_the_turn(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        ["done"],
        f"soft_s = 0.05\ngrace_s = 0.05\ntimeout_s = 0.1\n{JUDGED}",
        script={"fake:judge": After(60, "late")},
    )
    run(lambda: _turn(bench))
    (data,) = bench.records
    assert (data["answered"], data["rung"], data["cost"]["lower_bound"]) == (2, "raw", True)
    assert "advice one" in (bench.guidance[0] or "")
    codes = [notice.code for notice in bench.of(Notice)]
    assert codes[:2] == ["soft_deadline", "aggregator_failed"]


def test_go_ends_the_wait_for_the_aggregator(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["done"], JUDGED, script={"fake:judge": After(60, "late")})

    async def main() -> None:
        context = CommandContext(session=bench.agent.session, emit=bench.seen.append, busy=True)
        async for event in Turn(bench.agent, "go").events():
            bench.seen.append(event)
            if isinstance(event, SideStarted) and event.kind == "aggregator":
                await asyncio.sleep(0)  # the call is begun
                await bench.commands.run("/moa go", context)

    run(main)
    assert bench.records[0]["rung"] == "raw"


def test_the_consult_tool(tmp_path: Path) -> None:
    async def main() -> None:
        first = Bench(tmp_path, ["x"], options={})
        assert "from the next turn" in _text(await first.say("/moa tool force"))
        ask = tools(("consult", {"question": "is it safe?"}))
        session = Session.open(tmp_path / "state", _reopened(first))
        bench = Bench(tmp_path, ["hasty answer", ask, "considered answer"], options={}, session=session)
        await bench.turn()
        (draft,) = bench.of(DraftSuperseded)
        assert draft.message.text == "hasty answer"
        (data,) = bench.records
        assert (data["trigger"], data["question"], data["answered"]) == ("consult", "is it safe?", 2)
        assert "is it safe?" in (bench.to("one")[0].tail or "")
        assert any("advice one" in message.text for message in session.history() if message.role == "tool")
        last = bench.seen[-1]
        assert isinstance(last, TurnFinished) and last.text == "considered answer"

    run(main)


def test_layers_show_the_last_rounds_answers_under_neutral_names(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        ["done"],
        'aggregate = "raw"\nlayers = 2',
        script={"fake:one": ["first of one", "second of one"], "fake:two": ["first of two", "second of two"]},
    )
    run(lambda: _turn(bench))
    first, second = bench.to("one")
    assert "first of two" not in (first.tail or "")
    assert "first of two" in (second.tail or "") and "fake" not in (second.tail or "")
    assert [member["text"] for member in bench.records[0]["members"]] == ["second of one", "second of two"]
    assert bench.records[0]["cost"]["usd"] == 4e-6


def test_settings_are_checked(tmp_path: Path) -> None:
    from moa.settings import read

    with pytest.raises(UsageError, match=r"moa\.presett") as caught:
        read({"presett": "x"}, tmp_path / "config.toml")
    assert "did you mean preset?" in (caught.value.remedy or "")
    assert read({"armed": True}, tmp_path / "config.toml").armed


def test_circles_are_a_signal_and_told_where_counsel_did_not_help(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [LOOK, LOOK, LOOK, LOOK, "done"], 'aggregate = "raw"\ncadence = "signal"')
    run(lambda: _turn(bench))
    assert [data["trigger"] for data in bench.records][1:] == ["same_result"] * 2
    told = [event.text for event in bench.of(Notice) if event.code == "stuck"]
    assert len(told) == 1 and "4 times" in told[0]


def test_a_preset_is_a_panel_of_judges(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["done"])
    found = bench.host.registry.judges.find("p")
    assert found is not None and [str(seat.model) for seat in found] == ["fake:one", "fake:two"]
    assert all(seat.max_tokens >= 2_000 for seat in found)
    assert bench.host.registry.judges.find("nobody") is None
    assert {"p", "q"} <= set(bench.host.registry.judges.names())
