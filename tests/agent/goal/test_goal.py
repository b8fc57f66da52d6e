"""/goal in an open conversation: the loop, a scripted model, a scripted judge, real tools, session and gates."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent.chat.events import Asked, Opened, Refused, Shown
from agent.errors import UsageError
from agent.events import AgentEvent, ModelStarted, Notice, Record, SideFinished, SideStarted, TurnFinished, TurnStarted
from agent.goal.budget import Spent
from agent.host import Options
from agent.llm.errors import AuthError, BadRequest, Overloaded, RateLimited, StreamBroken, Unsupported
from agent.llm.messages import user
from agent.llm.request import ModelRef, Request
from agent.plugin import JudgeSeat
from agent.session.session import Session
from agent.ui.text import render
from tests.agent.goal.bench import SETTINGS, GoalBench, verdict
from tests.support.agent import CONFIG
from tests.support.chatbench import calls
from tests.support.processes import needs_proc, running
from tests.support.scripted import Held, reply_of
from tests.support.waiting import until

GO_ON, DONE = verdict("continue", "not yet", "the tests"), verdict("done", "all there")


def endings(bench: GoalBench) -> list[str]:
    return [event.status for event in bench.all(TurnFinished)]


def notices(bench: GoalBench) -> str:
    return "\n".join(event.text for event in bench.all(Notice))


def test_turn_follows_turn_until_the_judge_says_done(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["one", "two", "three"], [GO_ON, GO_ON, DONE])
    bench.run("/goal write the report")
    assert endings(bench) == ["done"] * 3
    assert bench.state.status == "done" and bench.state.spent.turns == 3
    first, second, third = bench.asked()
    assert first.startswith("write the report")
    for again in (second, third):
        assert "Goal: write the report" in again and "still open: the tests" in again
    assert [record["decision"] for record in bench.records()] == ["continue", "continue", "done"]
    assert bench.goal.status() is None
    assert [message.synthetic for message in bench.history if message.role == "user"] == [None] + ["continuation"] * 2
    # Each turn is a turn: the user can undo them one by one, and each has its own cap and its own counsel.
    assert len({event.turn for event in bench.all(TurnStarted)}) == 3


def test_the_judge_is_side_work_with_a_purpose_of_its_own(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["one"], [DONE])
    bench.run("/goal x")
    started, finished = bench.all(SideStarted), bench.all(SideFinished)
    assert [(event.kind, event.model, event.source) for event in started] == [("judge", "fake:judge", "goal")]
    assert finished[0].outcome == "answered" and "all there" in finished[0].text
    assert [context.purpose for context in bench.client.contexts] == ["main", "goal_judge"]
    judged = bench.client.contexts[1]
    assert judged.turn == bench.all(TurnStarted)[0].turn and judged.slot is None
    schema = bench.client.requests[1].schema
    assert schema is not None and schema.mode == "json_schema"


def test_the_judge_sees_the_record_and_the_end_of_the_reply(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    step = calls(("write", {"path": "out.txt", "content": "hello\n"}), ("shell", {"command": "echo 7 passed; exit 3"}))
    bench = GoalBench(tmp_path, [step, "x" * 9_000 + "\nGOAL DONE: see out.txt"], [DONE])
    bench.run("/goal write out.txt")
    (case,) = bench.asked("fake:judge")
    for words in (
        "write out.txt",
        "out.txt (+1 -0 lines)",
        "7 passed",
        "-> ERROR",
        "done: see out.txt",
        "GOAL DONE: see",
    ):
        assert words in case
    assert len(case) < 12_000


def test_its_own_done_is_an_input_and_never_the_verdict(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["GOAL DONE: trust me", "now really\nGOAL DONE: here"], [GO_ON, DONE])
    bench.run("/goal x")
    assert bench.state.spent.turns == 2


def test_without_a_judge_of_its_own_the_main_model_judges(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["working", DONE], config=CONFIG)
    bench.run("/goal x")
    assert [str(request.model) for request in bench.client.requests] == ["fake:main"] * 2
    assert bench.state.status == "done"


# Gates


def test_a_gate_holds_done_back_and_its_tail_is_the_next_message(tmp_path: Path) -> None:
    make = calls(("write", {"path": "made.txt", "content": "x"}))
    bench = GoalBench(tmp_path, [Held("first"), make, "second"], [DONE])

    async def begin() -> None:
        await bench.chat.submit("/goal make it")
        await bench.client.asked()
        await bench.chat.submit("/goal gate add cat made.txt")
        bench.client.go()

    bench.run(begin)
    assert bench.state.status == "done" and bench.state.gates == ("cat made.txt",)
    assert "No such file" in bench.asked()[1] and "$ cat made.txt" in bench.asked()[1]
    assert [record["gate"] is None for record in bench.records()] == [False, True]


def test_gates_run_anew_every_time_and_before_the_judge_where_the_agent_claims_done(tmp_path: Path) -> None:
    options = Options(
        approve="all",
        cwd=tmp_path / "work",
        plugins={"goal": {"gates": ["echo x >> ran.txt; test $(wc -l < ran.txt) -ge 3"]}},
    )
    bench = GoalBench(tmp_path, ["GOAL DONE: 1", "GOAL DONE: 2", "GOAL DONE: 3"], [DONE], options=options)
    bench.run("/goal x")
    assert (tmp_path / "work" / "ran.txt").read_text() == "x\n" * 3
    # The first two failed without a judge; the third passed, was told to the judge, and was not run twice.
    assert len(bench.asked("fake:judge")) == 1
    assert "exited with 0" in bench.asked("fake:judge")[0]
    assert bench.state.status == "done"


def test_a_gate_needs_no_approval_and_denied_files_stay_denied(tmp_path: Path) -> None:
    config = CONFIG + SETTINGS + '\n[approve]\ndeny_paths = ["secret.txt"]\n'
    options = Options(approve="deny", cwd=tmp_path / "work", plugins={"goal": {"gates": ["true", "cat secret.txt"]}})
    bench = GoalBench(tmp_path, ["done"], [DONE], options=options, config=config)
    bench.run("/goal x")
    assert not bench.all(Asked)
    assert "deny_paths" in bench.records()[0]["gate"]["tail"]
    assert bench.state.status == "paused"  # the same failure, turn after turn


def test_a_gate_that_hangs_is_ended(tmp_path: Path) -> None:
    config = CONFIG + SETTINGS + "gate_timeout_s = 0.2\nturns = 1\n"
    options = Options(approve="all", cwd=tmp_path / "work", plugins={"goal": {"gates": ["sleep 1000"]}})
    bench = GoalBench(tmp_path, ["done"], [DONE], options=options, config=config)
    bench.run("/goal x")
    assert "timed out" in bench.records()[0]["gate"]["tail"]


@needs_proc
def test_stopping_ends_a_running_gate(tmp_path: Path) -> None:
    options = Options(approve="all", cwd=tmp_path / "work", plugins={"goal": {"gates": ["sleep 1070.25"]}})
    bench = GoalBench(tmp_path, ["done"], [DONE], options=options)

    async def begin() -> None:
        await bench.chat.submit("/goal x")
        await until(lambda: running("1070.25"))
        bench.chat.stop()

    bench.run(begin)
    assert endings(bench) == ["interrupted"] and bench.state.status == "paused"
    assert not running("1070.25")


# Stopping


def test_ctrl_c_pauses_and_resume_goes_on(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, [Held("never"), "second"], [DONE])

    async def begin() -> None:
        await bench.chat.submit("/goal x")
        await bench.client.asked()
        assert bench.goal.status() == "goal 0/20"
        bench.chat.stop()

    bench.run(begin, "/goal", "/goal resume")
    assert "you stopped it" in render(bench.all(Shown)[0].view)
    assert "/goal resume continues" in notices(bench)
    assert endings(bench) == ["interrupted", "done"]
    assert bench.state.status == "done" and bench.state.spent.turns == 1
    assert "Goal: x" in bench.asked()[-1]


def test_pause_while_it_runs_lets_the_turn_end(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, [Held("first"), "second"], [GO_ON, DONE])

    async def begin() -> None:
        await bench.chat.submit("/goal x")
        await bench.client.asked()
        await bench.chat.submit("/goal pause")
        bench.client.go()

    bench.run(begin, "and now something else")
    assert bench.state.status == "paused"
    assert endings(bench) == ["done", "done"]
    assert bench.asked("fake:judge") == []  # nobody asked for a verdict


def test_clear_drops_it_and_keeps_its_history(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["first"], [verdict("blocked", "no access")])
    bench.run("/goal x", "/goal clear", "/goal", "/goal history")
    assert bench.goal.state is None
    assert "There is no goal" in render(bench.all(Shown)[1].view)
    assert "no access" in render(bench.view())
    assert Session.open(tmp_path / "state" / "sessions", bench.session.id).get_state("goal") == {}


def test_blocked_is_not_done(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["I give up"], [verdict("blocked", "there is no key")])
    bench.run("/goal x")
    (finished,) = bench.all(TurnFinished)
    assert finished.status == "unmet"
    assert finished.error is not None and finished.error.kind == "goal_blocked" and "no key" in finished.error.message
    assert bench.state.status == "paused"


# The user


def test_a_message_of_the_users_goes_first_and_is_judged_too(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, [Held("first"), "answer", "third"], [GO_ON, GO_ON, DONE])

    async def begin() -> None:
        await bench.chat.submit("/goal x")
        await bench.client.asked()
        await bench.chat.submit("what is the time?")
        bench.client.go()

    bench.run(begin)
    assert bench.asked()[1] == "what is the time?"
    assert "Goal: x" in bench.asked()[2]
    assert bench.state.spent.turns == 3 and bench.state.status == "done"


def test_a_queued_command_does_not_stop_it(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, [Held("first"), "second"], [GO_ON, DONE])

    async def begin() -> None:
        await bench.chat.submit("/goal x")
        await bench.chat.submit("/model fake:main")
        bench.client.go()

    bench.run(begin)
    assert bench.state.status == "done" and bench.state.spent.turns == 2


def test_criteria_budget_and_judge_change_while_it_runs(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, [Held("first"), "second"], [GO_ON], more={"fake:other": [DONE]})

    async def begin() -> None:
        await bench.chat.submit("/goal x")
        await bench.client.asked()
        for line in (
            "criteria add the README says so",
            "budget 7 turns, $3",
            "judge fake:other",
            "gate add true",
            "gate remove 1",
        ):
            await bench.chat.submit(f"/goal {line}")
        assert bench.goal.status() == "goal 0/7"
        bench.client.go()

    bench.run(begin)
    assert not bench.all(Refused)
    assert "the README says so" in bench.asked("fake:other")[0]
    assert (str(bench.state.budget), bench.state.judge, bench.state.gates) == ("7 turns, $3.00", "fake:other", ())
    assert bench.state.status == "done"


@pytest.mark.parametrize(
    "line", ["gate keepers", "judge nobody", "judge :x", "gate add :jobs", "criteria remove 1", "budget twenty"]
)
def test_what_is_wrong_is_refused_and_changes_nothing(tmp_path: Path, line: str) -> None:
    bench = GoalBench(tmp_path, ["first"], [verdict("blocked")])
    bench.run("/goal x", lambda: note(bench), f"/goal {line}")
    assert len(bench.all(Refused)) == 1
    assert bench.state == bench.before  # type: ignore[attr-defined]
    assert endings(bench) == ["unmet"]


async def note(bench: Any) -> None:
    bench.before = bench.state


# Waiting


def test_a_wait_is_kept_and_then_goes_on_by_itself(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["GOAL WAIT: the build", "built"], [verdict("wait", "the build runs", wait_s=1), DONE])
    times: list[float] = []  # the wait itself is what is tried; that it is long enough holds on any machine
    bench.on = lambda event: times.append(time.monotonic()) if isinstance(event, ModelStarted) else None
    bench.run("/goal x")
    assert times[1] - times[0] >= 0.95
    assert "The time you were to wait is over" in bench.asked()[1]
    assert "waits 1 s" in notices(bench)
    assert bench.state.status == "done" and bench.state.spent.seconds >= 0.95


def waiting(tmp_path: Path, lines: list[str]) -> GoalBench:
    return GoalBench(tmp_path, lines, [verdict("wait", "the build runs", wait_s=3_000), DONE])


async def until_it_waits(bench: GoalBench) -> None:
    await until(lambda: bench.goal.waits_until is not None and "waits until" in str(bench.goal.status()))


def test_a_users_message_ends_a_wait_at_once(tmp_path: Path) -> None:
    bench = waiting(tmp_path, ["first", "answer"])

    async def begin() -> None:
        await bench.chat.submit("/goal x")
        await until_it_waits(bench)
        await bench.chat.submit("never mind the build")

    bench.run(begin)
    assert bench.asked()[1] == "never mind the build"
    assert bench.state.status == "done"


def test_ctrl_c_ends_a_wait_at_once_and_pauses(tmp_path: Path) -> None:
    bench = waiting(tmp_path, ["first"])

    async def begin() -> None:
        await bench.chat.submit("/goal x")
        await until_it_waits(bench)
        assert bench.chat.busy
        bench.chat.stop()

    bench.run(begin)
    assert endings(bench) == ["interrupted"] and bench.state.status == "paused"
    assert len(bench.asked()) == 1


@pytest.mark.parametrize("verb", ["pause", "clear"])
def test_pause_and_clear_end_a_wait_at_once(tmp_path: Path, verb: str) -> None:
    bench = waiting(tmp_path, ["first"])

    async def begin() -> None:
        await bench.chat.submit("/goal x")
        await until_it_waits(bench)
        await bench.chat.submit(f"/goal {verb}")

    bench.run(begin)
    assert len(bench.asked()) == 1 and endings(bench) == ["done"]


# What fails


def test_an_outage_of_the_main_model_is_waited_for_in_the_same_turn(tmp_path: Path) -> None:
    step = calls(("glob", {"pattern": "*"}))
    bench = GoalBench(tmp_path, [step, Overloaded("busy"), RateLimited("slow down"), "back"], [DONE])
    bench.run("/goal x")
    assert endings(bench) == ["done"]
    assert bench.state.status == "done" and bench.state.strikes.outages == 0
    assert notices(bench).count("the goal tries again") == 2
    assert [message.role for message in bench.history] == ["system", "user", "assistant", "tool", "assistant"]


def test_an_outage_that_lasts_pauses_and_resume_starts_afresh(tmp_path: Path) -> None:
    config = CONFIG + SETTINGS + "retries = 2\n"
    failing = [Overloaded("busy")] * 3
    bench = GoalBench(tmp_path, [*failing, *failing[:2], "back"], [DONE], config=config)
    bench.run("/goal x", "/goal resume")
    assert endings(bench) == ["retryable", "done"]
    assert bench.records()[0]["reason"] == "busy"
    assert bench.state.status == "done"


def test_without_a_goal_an_outage_is_what_it_was(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, [Overloaded("busy"), "back"])
    bench.run("hello")
    assert endings(bench) == ["retryable"]


def test_a_failure_for_good_pauses_with_its_cause(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, [AuthError("the key is wrong")])
    bench.run("/goal x")
    assert endings(bench) == ["failed"] and bench.state.reason == "the key is wrong"
    assert bench.asked("fake:judge") == []


def test_a_judge_with_a_wrong_key_pauses_at_once_and_says_so(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["one"], [AuthError("the judge's key is wrong"), DONE])
    bench.run("/goal x", "/goal resume")
    first = bench.all(TurnFinished)[0]
    assert first.status == "unmet" and first.error is not None and "the judge's key is wrong" in first.error.message
    assert bench.state.status == "done"


def test_a_judge_that_fails_for_a_while_does_not_stop_the_work(tmp_path: Path) -> None:
    junk = "I think it is fine"
    bench = GoalBench(tmp_path, ["one", "two", "three"], [Overloaded("busy"), junk, junk, StreamBroken("cut"), DONE])
    bench.run("/goal x")
    assert bench.state.status == "done" and bench.state.spent.turns == 4
    assert "Nobody could judge" in bench.asked()[1]


def test_a_judge_that_takes_no_schema_is_asked_for_less_and_remembered(tmp_path: Path) -> None:
    def refuses(request: Request) -> Any:
        assert request.schema is not None
        if request.schema.mode == "json_schema":
            return Unsupported("no json_schema here", feature="no_json_schema", status=400)
        return GO_ON if len(bench.asked()) < 2 else DONE

    bench = GoalBench(tmp_path, ["one", "two"], [refuses])
    bench.run("/goal x")
    modes = [request.schema.mode for request in bench.client.requests if request.schema]
    assert modes == ["json_schema", "json_object", "json_object"]
    assert bench.state.status == "done"


def test_an_answer_with_words_around_it_is_read_and_an_unreadable_one_asked_again(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["one"], ["hmm", f"<think>{{}}</think>Sure!\n```json\n{DONE}\n```"])
    bench.run("/goal x")
    assert bench.state.status == "done"
    again = [request for request in bench.client.requests if str(request.model) == "fake:judge"][1]
    assert "could not be used: there was no JSON object in it" in str(again.tail)


def test_going_in_circles_is_told_and_then_pauses(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["the same words"], [GO_ON])
    bench.run("/goal x")
    # The first repetition is in the second turn; the third in a row pauses.
    assert bench.state.status == "paused" and bench.state.spent.turns == 4
    assert "circles" in bench.asked()[2] and "circles" in bench.state.reason


# Budgets


def test_turns(tmp_path: Path) -> None:
    bench = GoalBench(
        tmp_path,
        ["one", "two", "three", "four", "five"],
        [GO_ON, GO_ON, GO_ON, GO_ON, DONE],
        config=CONFIG + SETTINGS + "turns = 2\n",
    )
    bench.run("/goal x", "/goal resume", "/goal")
    assert endings(bench) == ["done", "unmet", "done", "unmet"]
    assert "2 turns" in render(bench.view()) and "since /goal resume" in render(bench.view())
    assert bench.state.used.turns == 2 and bench.state.spent.turns == 4


def test_money_and_tokens_stop_in_the_middle_of_a_turn(tmp_path: Path) -> None:
    step = calls(("glob", {"pattern": "*"}))
    bench = GoalBench(tmp_path, [Held(step), step], [DONE])
    books(bench, tokens=60, nano=10**6)

    async def begin() -> None:
        await bench.chat.submit("/goal x")
        await bench.client.asked()
        await bench.chat.submit("/goal budget 250 tokens")
        bench.client.go()

    bench.run(begin)
    assert endings(bench) == ["unmet"]
    error = bench.all(TurnFinished)[0].error
    assert error is not None and error.kind == "goal_budget" and "300 of 250 tokens" in error.message
    assert len(bench.asked()) == 5
    assert bench.state.status == "paused"


def books(bench: GoalBench, *, tokens: int, nano: int) -> None:
    """Have the scripted client keep the real books."""
    from agent.llm.accounting import Bound, Settlement
    from agent.llm.stream import Usage

    stream = bench.client.stream

    def booked(request: Request, context: Any, *, hold: Any = None) -> Any:
        ledger = bench.goal.host.ledger
        call = ledger.reserve(request.model, context, Bound(1, 1, 1))
        ledger.sent(call)
        ledger.settle(call, Settlement("done", Usage(prompt=tokens, completion=0), nano, "prices"))
        return stream(request, context, hold=hold)

    bench.client.stream = booked  # type: ignore[method-assign]


def test_the_bill_is_the_ledgers_judge_included(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["one", "two"], [GO_ON, DONE])
    books(bench, tokens=100, nano=2_500_000)
    totals: list[Spent] = []

    async def look() -> None:
        totals.append(bench.goal.total())

    bench.run("/goal x", look, "/goal history", "/goal")
    (total,) = totals
    assert (total.tokens, total.nano, total.unknown) == (400, 10_000_000, 0)
    assert "400 tokens" in render(bench.view()) and "$0.010" in render(bench.view())
    assert bench.records()[-1]["spent"]["usd"] == pytest.approx(0.01)


# Panels


def seat(name: str, **more: Any) -> JudgeSeat:
    return JudgeSeat(name, ModelRef("fake", name), **more)


def test_a_panel_judges_independently_and_the_majority_decides(tmp_path: Path) -> None:
    said = {
        "fake:a": [GO_ON, DONE],
        "fake:b": [DONE, DONE],
        "fake:c": [verdict("continue", "line 7 is odd"), Overloaded("x")],
    }
    panels = {"three": [seat("a"), seat("b", role="Look for untested code."), seat("c")]}
    bench = GoalBench(tmp_path, ["one", "two"], more=said, panels=panels, config=CONFIG + '[goal]\njudge = "three"\n')
    bench.run("/goal x")
    first, second = bench.records()
    assert (first["decision"], second["decision"]) == ("continue", "done")
    assert [vote["judge"] for vote in first["votes"]] == ["a", "b", "c"]
    assert second["votes"][2]["error"]["kind"] == "overloaded"
    assert "another judge: done" in bench.asked()[1]
    judged = [context for context in bench.client.contexts if context.purpose == "goal_judge"]
    assert [context.slot for context in judged[:3]] == ["1", "2", "3"]
    briefs = [request.messages[0].text for request in bench.client.requests if str(request.model) == "fake:b"]
    assert "untested code" in briefs[0]


def test_an_unknown_panel_is_refused_before_the_first_turn(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["one"], config=CONFIG + '[goal]\njudge = "nobody"\n')
    bench.run("/goal x")
    assert "no judge 'nobody'" in bench.all(Refused)[0].message
    assert bench.goal.state is None and not bench.client.requests


# Sessions


def test_a_restart_finds_it_paused_and_resume_goes_on_with_the_bill(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["one", Held("never")], [GO_ON])

    async def begin() -> None:
        await bench.chat.submit("/goal x")
        await until(lambda: len(bench.asked()) == 2)
        # As a kill leaves it: what is on the disk, and nothing tidied up.
        files = tmp_path / "state" / "sessions"
        (path,) = files.glob("*.jsonl")
        (files / "killed.jsonl").write_bytes(path.read_bytes())
        bench.chat.stop()

    bench.run(begin)
    again = GoalBench(
        tmp_path, ["three"], [DONE], options=Options(approve="all", cwd=tmp_path / "work", session="killed")
    )
    again.run("/goal", "/goal resume")
    assert again.types[:2] == ["opened", "notice"]
    assert "/goal resume continues" in notices(again)
    assert "the program ended while it ran" in render(again.all(Shown)[0].view)
    assert again.state.status == "done" and again.state.spent.turns == 2
    assert again.all(TurnStarted)[0].prompt.text.count("Goal: x") == 1


def test_nothing_begins_by_itself_when_a_session_is_opened(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "state" / "sessions")
    session.add(user("hi"))
    session.set_state("goal", {"text": "x", "status": "active"})
    session.close()
    bench = GoalBench(tmp_path, ["one"], [GO_ON], options=Options(cwd=tmp_path / "work", session=session.id))
    bench.run("/status")  # the session is open, and what it had to say is said
    assert not bench.client.requests and bench.goal.status() is None


def test_a_new_conversation_has_no_goal_and_a_fork_has_its_own(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["one"], [verdict("blocked", "no key")])
    bench.run("/goal x", "/fork", "/goal clear", "/clear", "/goal")
    assert len(bench.all(Opened)) == 3
    assert "There is no goal" in render(bench.view())
    first = Session.open(tmp_path / "state" / "sessions", bench.all(Opened)[0].session)
    assert (first.get_state("goal") or {})["text"] == "x"


def test_a_summary_keeps_the_goal_word_for_word(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["one"], [verdict("blocked")])
    bench.run("/goal ship   it\nnow", "/goal criteria add no warnings")
    kept = bench.goal.keep_in_summary()
    assert kept is not None and "ship   it\nnow" in kept and "- no warnings" in kept


def test_a_wrong_section_is_told_at_the_start(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["one"], config=CONFIG + "[goal]\njugde = 'x'\n")
    with pytest.raises(UsageError, match="jugde"):
        bench.run("hello")


def test_records_are_events_and_the_cost_of_a_judge_is_the_turns(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, [reply_of("one")], [reply_of(DONE)])
    bench.run("/goal x")
    (record,) = bench.all(Record)
    assert (record.kind, record.source, record.data["decision"]) == ("goal", "goal", "done")
    kinds: list[type[AgentEvent]] = [type(event) for event in bench.seen if isinstance(event, Record | TurnFinished)]
    assert kinds == [Record, TurnFinished]


def test_a_run_without_a_goal_loads_nothing_of_it(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from agent.goal.plugin import make
from tests.support.chatbench import ChatBench

ChatBench(Path(sys.argv[1]), ["hello"], plugins={"goal": make}).run("hi")
print(sorted(name for name in sys.modules if name.startswith("agent.goal.")))
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stdout == "['agent.goal.plugin', 'agent.goal.pursuit']\n"


def test_a_bad_request_of_the_judges_is_for_good(tmp_path: Path) -> None:
    bench = GoalBench(tmp_path, ["one"], [BadRequest("max_tokens is too large")] * 3)
    bench.run("/goal x")
    assert bench.state.status == "paused" and "max_tokens" in bench.state.reason
