"""Counsel in the real loop, over scripted models: what goes out with which call, what is recorded, what the verbs do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from agent.commands import RunTurn, Said
from agent.errors import UsageError
from agent.events import (
    AgentEvent,
    DraftSuperseded,
    ModelStarted,
    Notice,
    Record,
    SideFinished,
    SideStarted,
    ToolStarted,
    TurnFinished,
)
from agent.llm.errors import Overloaded
from agent.llm.models.endpoint import ModelFacts
from agent.llm.request import ModelRef
from agent.llm.stream import Reply
from agent.loop.turn import Turn
from agent.views import MarkdownView, TableView, TabsView
from tests.support.chatbench import calls
from tests.support.counsel import ANALYSIS, JUDGED, LOOK, CounselWorld
from tests.support.scripted import After, Held, Line


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(main())


def test_counsel_before_each_call_and_its_record(tmp_path: Path) -> None:
    second = ANALYSIS.replace("run the tests", "run the linter")
    bench = CounselWorld(tmp_path, [LOOK, "done"], JUDGED, script={"fake:judge": [ANALYSIS, second]})

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
    assert not any("run the tests" in message.text for message in bench.session.history())
    assert all("run the tests" not in str(request.messages) for request in bench.to("one"))
    assert bench.session.records("counsel") == bench.records
    assert {context.share for context in bench.client.contexts} == {None, "counsel"}


def test_between_counsels_nothing_is_repeated(tmp_path: Path) -> None:
    bench = CounselWorld(tmp_path, [LOOK, LOOK, LOOK, LOOK, "done"], 'aggregate = "raw"\ncadence = "turn"')
    run(lambda: _turn(bench))
    assert len(bench.to("one")) == 1
    assert [data["trigger"] for data in bench.records] == ["turn_start"]
    assert [text is None for text in bench.guidance] == [False, True, True, True, True]
    assert all(str(request.messages).count("advice one") == 1 for request in bench.to("main"))
    assert [data["saved_usd"] for data in bench.session.records("receipt")] == [2e-6] * 4


async def _turn(bench: CounselWorld) -> None:
    assert (await bench.turn()).status == "done"


NOT_THERE = calls(("read", {"path": "nothing.txt"}))
EXITS = calls(("shell", {"command": "echo no; exit 3"}))
CANNOT = calls(("shell", {"command": "echo no", "timeout_s": -1}))


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
    bench = CounselWorld(tmp_path, [*replies, "done", "done"], 'aggregate = "raw"\ncadence = "signal"')
    run(lambda: bench.turn())
    assert [data["trigger"] for data in bench.records][1:] == triggers


def test_signal_holds_a_draft_back_once_where_the_turn_wrote_something(tmp_path: Path) -> None:
    writing = calls(("write", {"path": "a.txt", "content": "x"}))
    bench = CounselWorld(
        tmp_path,
        [writing, "my draft", writing, "the end"],
        'aggregate = "raw"\ncadence = "signal"',
        script={"fake:one": ["look first", "advice one"]},
    )
    run(lambda: _turn(bench))
    (draft,) = bench.all(DraftSuperseded)
    assert draft.message.text == "my draft"
    assert [data["trigger"] for data in bench.records] == ["turn_start", "before_stop"]
    reviewed = bench.to("one")[-1]
    assert "my draft" in (reviewed.tail or "") and "my draft" not in str(reviewed.messages)
    assert "my draft" not in (bench.guidance[2] or "") and "advice one" in (bench.guidance[2] or "")
    assert bench.guidance[3] is None
    assert [message.text for message in bench.to("main")[2].messages if message.role == "assistant"][-1] == "my draft"
    assert [message.text for message in bench.session.history() if message.draft] == ["my draft"]
    last = bench.events[-1]
    assert isinstance(last, TurnFinished) and last.text == "the end"


def test_signal_does_not_hold_back_what_only_kept_a_list(tmp_path: Path) -> None:
    listing = calls(("todo", {"items": [{"text": "look", "status": "done"}]}))
    bench = CounselWorld(tmp_path, [listing, "my draft"], 'aggregate = "raw"\ncadence = "signal"')
    run(lambda: _turn(bench))
    assert bench.all(DraftSuperseded) == [] and [data["trigger"] for data in bench.records] == ["turn_start"]


def test_the_aggregator_is_shown_the_draft_that_the_answers_are_about(tmp_path: Path) -> None:
    writing = calls(("write", {"path": "x.txt", "content": "x"}))
    bench = CounselWorld(tmp_path, [writing, "my draft", "the end"], f'cadence = "signal"\n{JUDGED}')
    run(lambda: _turn(bench))
    judged = [request.tail or "" for request in bench.requests if request.model.model == "judge"]
    assert ["my draft" in tail for tail in judged] == [False, True]


def test_where_all_fail_the_main_model_goes_on_alone_and_says_so(tmp_path: Path) -> None:
    bench = CounselWorld(tmp_path, ["done"], script={"fake:one": Overloaded("down", status=503), "fake:two": " "})
    run(lambda: _turn(bench))
    (data,) = bench.records
    assert (data["answered"], data["guidance"], data["rung"]) == (0, None, None)
    assert [failed["kind"] for failed in data["failed"]] == ["overloaded", "empty_answer"]
    (notice,) = bench.all(Notice)
    assert notice.code == "counsel_failed" and "overloaded" in notice.text and "alone" in notice.text
    assert bench.guidance == [None]


def test_k_of_n_is_said_once_a_turn(tmp_path: Path) -> None:
    bench = CounselWorld(tmp_path, [LOOK, LOOK, "done"], script={"fake:two": Overloaded("secret detail", status=503)})
    run(lambda: _turn(bench))
    assert [notice.text for notice in bench.all(Notice)] == ["counsel from 1 of 2 (2 two: overloaded)"]
    assert all("secret detail" not in (text or "") for text in bench.guidance)


def test_a_fault_of_ours_costs_the_advice_and_not_the_turn(tmp_path: Path) -> None:
    bench = CounselWorld(tmp_path, ["done"])

    def broken(model: ModelRef) -> Any:
        if model.model == "main":
            return ModelFacts()
        raise ZeroDivisionError("a bug")

    bench.client.facts = broken  # type: ignore[method-assign]
    run(lambda: _turn(bench))
    assert "ZeroDivisionError" in bench.records[0]["warnings"][0]


def test_lookahead_waits_for_the_first_counsel_alone(tmp_path: Path) -> None:
    slow: list[Line] = ["first advice", Held("second advice"), After(60, "never")]
    wait = calls(("shell", {"command": "until [ -e ready ]; do sleep 0.02; done"}))
    bench = CounselWorld(
        tmp_path,
        [LOOK, LOOK, wait, LOOK, "done"],
        'aggregate = "raw"\nlookahead = true',
        script={"fake:one": slow},
    )

    def look(event: AgentEvent) -> None:
        if isinstance(event, ToolStarted) and event.call.name == "shell":
            bench.client.go()
        if isinstance(event, SideFinished) and event.text == "second advice":
            (bench.work / "ready").touch()

    run(lambda: bench.take(Turn(bench.host.agent, "go"), look))
    # Begun on the state of call 2, not ready for 3, delivered with 4 and stamped with the step that it looked at.
    assert [(data["trigger"], data["step"], data["iteration"]) for data in bench.records[:2]] == [
        ("turn_start", 1, 1),
        ("iteration", 2, 4),
    ]
    assert "second advice" in (bench.guidance[3] or "") and "before step 2;" in (bench.guidance[3] or "")
    assert bench.client.cancelled >= 1, "what was still under way at the end was cancelled"


def test_cancelling_the_turn_ends_every_member(tmp_path: Path) -> None:
    bench = CounselWorld(tmp_path, ["never"], script={"fake:one": Held("x"), "fake:two": Held("x")})

    async def main() -> None:
        turn = Turn(bench.host.agent, "go")

        def look(event: AgentEvent) -> None:
            assert not isinstance(event, ModelStarted | Notice)
            if event.type == "side_progress" and len(bench.requests) == 2:
                turn.cancel()

        assert (await bench.take(turn, look)).status == "interrupted"
        assert bench.client.cancelled == 2
        assert [event.outcome for event in bench.all(SideFinished)] == ["cancelled", "cancelled"]

    run(main)


def test_inside_of_a_panel_nothing_fans_out(tmp_path: Path) -> None:
    bench = CounselWorld(tmp_path, ["done"], env={"MOA_DEPTH": "1"})
    run(lambda: _turn(bench))
    assert not bench.records and not bench.to("one")
    assert [notice.code for notice in bench.all(Notice)] == ["recursion"]


def test_arming_goes_from_the_command_line_over_the_session_to_the_config(tmp_path: Path) -> None:
    async def main() -> None:
        bench = CounselWorld(tmp_path, ["done"], options={})
        assert bench.moa.armed is None and bench.moa.status() is None
        assert "on: `q`" in _text(await bench.say("/moa q"))
        again = CounselWorld(tmp_path, ["done"], options={}, session=_closed(bench))
        assert again.moa.armed == "q" and again.moa.status() == "moa q"
        off = CounselWorld(tmp_path, ["done"], options={"off": True}, session=_closed(again))
        assert off.moa.armed is None
        with pytest.raises(UsageError, match="nope"):
            CounselWorld(tmp_path, ["done"], options={"preset": "nope"})

    run(main)


def _closed(bench: CounselWorld) -> str:
    bench.live.close()
    return bench.live.id


def _text(result: Any) -> str:
    assert isinstance(result, Said) and isinstance(result.view, MarkdownView)
    return result.view.text


def test_the_verbs(tmp_path: Path) -> None:
    async def main() -> None:
        bench = CounselWorld(tmp_path, ["one", "two", "three"], options={})
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
        before = len(bench.requests)
        again = await bench.say("/moa again")
        assert isinstance(again, Said) and len(bench.requests) == before, "raw: no model is asked"
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
    bench = CounselWorld(tmp_path, ["done"], JUDGED)

    async def main() -> None:
        await bench.turn()
        await bench.say("/moa again")
        assert [len(bench.to(model)) for model in ("one", "two", "judge")] == [1, 1, 2]
        assert bench.to("judge")[1].messages == bench.to("judge")[0].messages
        assert bench.records[-1]["cost"] == {"usd": 1e-6, "lower_bound": False}

    run(main)


def test_wrong_verbs_name_the_nearest(tmp_path: Path) -> None:
    async def main() -> None:
        bench = CounselWorld(tmp_path, ["done"], options={})
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
    command, presets, *_ = CounselWorld(tmp_path, ["done"], options={}).moa.commands()
    assert list(command.complete("qu")) == ["quote", "quality"]
    assert list(command.complete("ask @q")) == ["ask @q", "ask @quality"]
    assert list(command.complete("tool f")) == ["tool force"]
    assert list(command.complete("cancel ")) == []
    assert list(presets.complete("qua")) == ["quality"]


def test_go_and_cancel_while_a_panel_works(tmp_path: Path) -> None:
    bench = CounselWorld(tmp_path, ["done"], script={"fake:one": Held("x"), "fake:two": Held("x")})

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
    bench = CounselWorld(tmp_path, ["done"], script={"fake:two": Held("late")})

    async def main() -> None:
        turn = Turn(bench.host.agent, "go")
        ends = lambda event: isinstance(event, SideFinished) and event.outcome == "answered"  # noqa: E731
        await bench.take(turn, lambda event: turn.cancel() if ends(event) else None)

    run(main)
    (data,) = bench.records
    assert data["warnings"] == ["stopped before its end"] and data["cost"]["lower_bound"]
    # What had come is kept, and nobody says that the panel was silent, or that the main model continues.
    assert [member["slot"] for member in data["members"]] == ["1"] and [each["slot"] for each in data["failed"]] == [
        "2"
    ]
    (line,) = [event.line for event in bench.events if isinstance(event, Record) and event.kind == "counsel"]
    assert "stopped when 1 of 2 had answered" in line and "continues alone" not in line


def test_the_last_answers_are_analysed_anew_in_another_process(tmp_path: Path) -> None:
    bench = CounselWorld(tmp_path, ["done"], JUDGED)
    run(lambda: _turn(bench))
    later = CounselWorld(tmp_path, ["done"], JUDGED, session=_closed(bench))
    run(lambda: later.say("/moa again"))
    assert [request.model.model for request in later.requests] == ["judge"]
    (tail,) = [request.tail or "" for request in later.requests]
    assert "advice one" in tail and "advice two" in tail
    status = run(lambda: later.say("/moa status"))
    assert isinstance(status, Said) and isinstance(status.view, TableView)
    assert "2 of 2 answered · 1 agreed" in dict(status.view.rows)["last counsel"]  # type: ignore[arg-type]
    assert sum(row[0].startswith("step ") for row in status.view.rows) == 2


def test_an_aggregator_that_hangs_costs_the_analysis_and_not_the_turn(tmp_path: Path) -> None:
    bench = CounselWorld(
        tmp_path,
        ["done"],
        f"soft_s = 0.05\ngrace_s = 0.05\ntimeout_s = 0.1\n{JUDGED}",
        script={"fake:judge": Held("late")},
    )
    run(lambda: _turn(bench))
    (data,) = bench.records
    assert (data["answered"], data["rung"], data["cost"]["lower_bound"]) == (2, "raw", True)
    assert "advice one" in (bench.guidance[0] or "")
    codes = [notice.code for notice in bench.all(Notice)]
    assert codes[:2] == ["soft_deadline", "aggregator_failed"]


def test_go_ends_the_wait_for_the_aggregator(tmp_path: Path) -> None:
    bench = CounselWorld(tmp_path, ["done"], JUDGED, script={"fake:judge": Held("late")})

    async def main() -> None:
        async for event in Turn(bench.host.agent, "go").events():
            bench.events.append(event)
            if isinstance(event, SideStarted) and event.kind == "aggregator":
                await asyncio.sleep(0)  # the call is begun
                await bench.say("/moa go", busy=True)

    run(main)
    assert bench.records[0]["rung"] == "raw"


def test_the_consult_tool(tmp_path: Path) -> None:
    async def main() -> None:
        first = CounselWorld(tmp_path, ["x"], options={})
        assert "from the next turn" in _text(await first.say("/moa tool force"))
        ask = calls(("consult", {"question": "is it safe?"}))
        bench = CounselWorld(tmp_path, ["hasty answer", ask, "considered answer"], options={}, session=_closed(first))
        await bench.turn()
        (draft,) = bench.all(DraftSuperseded)
        assert draft.message.text == "hasty answer"
        (data,) = bench.records
        assert (data["trigger"], data["question"], data["answered"]) == ("consult", "is it safe?", 2)
        assert "is it safe?" in (bench.to("one")[0].tail or "")
        assert any("advice one" in message.text for message in bench.history if message.role == "tool")
        last = bench.events[-1]
        assert isinstance(last, TurnFinished) and last.text == "considered answer"

    run(main)


def test_layers_show_the_last_rounds_answers_under_neutral_names(tmp_path: Path) -> None:
    bench = CounselWorld(
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
    bench = CounselWorld(tmp_path, [LOOK, LOOK, LOOK, LOOK, "done"], 'aggregate = "raw"\ncadence = "signal"')
    run(lambda: _turn(bench))
    assert [data["trigger"] for data in bench.records][1:] == ["same_result"] * 2
    told = [event.text for event in bench.all(Notice) if event.code == "stuck"]
    assert len(told) == 1 and "4 times" in told[0]


def test_a_preset_is_a_panel_of_judges(tmp_path: Path) -> None:
    bench = CounselWorld(tmp_path, ["done"])
    found = bench.plugin_host.registry.judges.find("p")
    assert found is not None and [str(seat.model) for seat in found] == ["fake:one", "fake:two"]
    assert all(seat.max_tokens >= 2_000 for seat in found)
    assert bench.plugin_host.registry.judges.find("nobody") is None
    assert {"p", "q"} <= set(bench.plugin_host.registry.judges.names())
