"""Verdicts and what follows from them, without a model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from agent.goal.budget import Budget, Spent
from agent.goal.engine import MOST_CIRCLES, MOST_GATES, MOST_UNREACHABLE, MOST_UNREADABLE, Decision, Finding, decide
from agent.goal.evidence import MOST_CALLS, MOST_CHARS, Claimed, Evidence, claimed, end_of
from agent.goal.gates import GateFailure
from agent.goal.judge import MAX_WAIT_S, WAIT_S, Ruling, Vote, count, read
from agent.goal.state import RESTARTED, GoalState, load
from agent.llm.messages import ToolCallPart
from agent.tools.base import ToolResult

GOAL = GoalState("ship it", criteria=("the tests pass",))
ON = Ruling("continue", "half of it is missing", ("the tests",))


def after(state: GoalState, **finding: Any) -> tuple[GoalState, Decision]:
    return decide(state, Finding(**{"spent": Spent(1), "ruling": ON, **finding}))


def test_each_verdict() -> None:
    state, decision = after(GOAL, ruling=Ruling("done", "it is all there"))
    assert (state.status, decision.kind, decision.goes_on) == ("done", "done", False)
    state, decision = after(GOAL, ruling=Ruling("blocked", "no key"))
    assert (state.status, state.reason, decision.kind) == ("paused", "no key", "blocked")
    state, decision = after(GOAL, ruling=Ruling("wait", "the build runs", wait_s=90))
    assert (state.status, decision.kind, decision.wait_s) == ("active", "wait", 90)
    state, decision = after(GOAL)
    assert (state.status, decision.kind) == ("active", "continue")


def test_the_next_turn_hears_the_goal_its_criteria_and_what_is_missing() -> None:
    ruling = replace(ON, dissent=("done: looks fine to me",))
    _, decision = after(GOAL, ruling=ruling, cut_off=True)
    for words in (
        "ship it",
        "1. the tests pass",
        "half of it",
        "still open: the tests",
        "looks fine to me",
        "too many calls",
    ):
        assert words in decision.message


def test_a_failing_gate_is_the_next_message_and_outvotes_the_judge() -> None:
    gate = GateFailure("pytest", "1 failed")
    _, decision = after(GOAL, ruling=Ruling("done", "fine"), gate=gate)
    assert decision.kind == "continue"
    assert "$ pytest" in decision.message and "1 failed" in decision.message


def test_a_gate_that_keeps_failing_in_the_same_way_pauses() -> None:
    state, gate, decisions = GOAL, GateFailure("pytest", "1 failed"), []
    for turn in range(MOST_GATES):
        state, decision = after(state, gate=gate, same_gate=turn > 0)
        decisions.append(decision.kind)
    assert decisions == ["continue"] * (MOST_GATES - 1) + ["paused"]
    assert "pytest" in state.reason
    fresh, _ = after(replace(GOAL, strikes=replace(GOAL.strikes, gates=4)), gate=gate, same_gate=False)
    assert fresh.strikes.gates == 1


@pytest.mark.parametrize(
    ("kind", "most"),
    [("unreadable", MOST_UNREADABLE), ("overloaded", MOST_UNREACHABLE), ("timed_out", MOST_UNREACHABLE)],
)
def test_a_judge_that_fails_lets_the_work_go_on_and_not_for_ever(kind: str, most: int) -> None:
    state, seen = GOAL, []
    for _ in range(most):
        state, decision = after(state, ruling=Ruling("continue", "", error=(kind, "no luck")))
        seen.append(decision.kind)
    assert seen == ["continue"] * (most - 1) + ["paused"]
    assert "no luck" in state.reason
    assert state.resumed().strikes == GOAL.strikes
    assert after(state.resumed(), ruling=Ruling("continue", "", error=(kind, "no luck")))[1].kind == "continue"


def test_a_good_verdict_clears_the_strikes() -> None:
    state, _ = after(GOAL, ruling=Ruling("continue", "", error=("unreadable", "x")))
    assert state.strikes.unreadable == 1
    assert after(state)[0].strikes.unreadable == 0


@pytest.mark.parametrize(
    "kind", ["auth", "model_not_found", "payment_required", "missing_key", "unknown_judge", "budget", "bad_request"]
)
def test_what_will_not_pass_pauses_at_once_and_says_why(kind: str) -> None:
    state, decision = after(GOAL, ruling=Ruling("continue", "", error=(kind, "the key is wrong")))
    assert (decision.kind, state.status) == ("paused", "paused")
    assert kind in state.reason and "the key is wrong" in state.reason


def test_circles_are_told_to_the_agent_and_then_pause() -> None:
    state, kinds = GOAL, []
    for _ in range(MOST_CIRCLES):
        state, decision = after(state, circles="the same edit again")
        kinds.append(decision.kind)
    assert kinds == ["continue"] * (MOST_CIRCLES - 1) + ["paused"]
    assert "the same edit again" in after(GOAL, circles="the same edit again")[1].message
    assert after(after(GOAL, circles="x")[0])[0].strikes.circles == 0
    assert after(GOAL, circles="x", ruling=Ruling("done", "ok"))[1].kind == "done"


def test_budgets_stop_and_a_resume_grants_them_anew() -> None:
    short = replace(GOAL, budget=Budget(turns=2))
    assert after(short, spent=Spent(1))[1].kind == "continue"
    state, decision = after(short, spent=Spent(2))
    assert (decision.kind, state.status) == ("budget", "paused")
    assert "2 of 2 turns" in state.reason and "half of it" in state.reason
    again = replace(state, spent=Spent(2)).resumed()
    assert after(again, spent=Spent(3))[1].kind == "continue"
    assert after(short, spent=Spent(2), ruling=Ruling("done", "just in time"))[1].kind == "done"


def test_a_wait_beyond_the_budget_is_not_begun() -> None:
    state = replace(GOAL, budget=Budget(seconds=600))
    assert after(state, ruling=Ruling("wait", "", wait_s=500), spent=Spent(1, 50))[1].kind == "wait"
    _, decision = after(state, ruling=Ruling("wait", "", wait_s=500), spent=Spent(1, 200))
    assert decision.kind == "budget" and "500 s" not in decision.reason and "8 min" in decision.reason


def test_the_state_survives_the_disk_and_other_versions() -> None:
    state = replace(
        GOAL,
        gates=("true",),
        judge="fast",
        spent=Spent(3, 1.5, 10, 20, 1),
        budget=Budget(None, 60.0, None, 5),
        turn="s:1",
    )
    back = load(json.loads(json.dumps(state.as_json())))
    assert back == state.paused(RESTARTED)
    done = replace(state, status="done")
    assert load(json.loads(json.dumps(done.as_json()))) == done
    assert load({"text": "x"}) == GoalState("x", status="paused")
    odd = {
        "text": "x",
        "status": "flying",
        "criteria": "no list",
        "spent": {"turns": "many", "new": 1},
        "budget": 7,
        "strikes": [],
    }
    assert load(odd) == GoalState("x", status="paused")
    assert load({}) is None and load(None) is None and load({"text": " "}) is None


# Reading what a judge says


def vote(kind: Any, who: str = "a", **more: Any) -> Vote:
    return Vote(who, kind, f"{who} says {kind}", **more)


def test_reading_a_vote() -> None:
    assert read("a", {"verdict": "DONE", "reason": "x\n y"}) == Vote("a", "done", "x y")
    assert read("a", {"done": True}).kind == "done"
    assert read("a", {"done": False}).kind == "continue"
    assert read("a", {"verdict": "perhaps"}).kind == "continue"
    assert read("a", {"verdict": "done", "unmet": ["the tests"]}).kind == "continue"
    assert read("a", {"verdict": "done", "unmet": ["none", " ", "N/A", "-"]}).kind == "done"
    assert read("a", {"verdict": "continue", "unmet": "a thing"}).unmet == ("a thing",)
    assert read("a", {"verdict": "wait"}).wait_s == WAIT_S
    assert read("a", {"verdict": "wait", "wait_s": "120"}).wait_s == 120
    assert read("a", {"verdict": "wait", "wait_s": 1e9}).wait_s == MAX_WAIT_S
    assert read("a", {"verdict": "wait", "wait_s": float("nan")}).wait_s == WAIT_S
    assert read("a", {"verdict": "done", "wait_s": 9}).wait_s == 0


def test_a_panel_decides_by_majority_and_dissent_is_kept() -> None:
    ruling = count([vote("done", "a"), vote("done", "b"), vote("continue", "c", unmet=("tests",))])
    assert ruling.kind == "done" and ruling.dissent == ("continue: c says continue",)
    assert "2 done" in ruling.reason
    assert count([vote("done", "a"), vote("continue", "b")]).kind == "continue"
    split = count([vote("done", "a"), vote("blocked", "b"), vote("wait", "c")])
    assert split.kind == "continue" and len(split.dissent) == 3
    assert count([vote("blocked", "a"), vote("blocked", "b"), vote("done", "c")]).kind == "blocked"
    assert count([vote("wait", "a", wait_s=90), vote("wait", "b", wait_s=30)]).wait_s == 30


def test_silent_judges_can_not_make_a_goal_done() -> None:
    silent = Vote("b", error=("overloaded", "busy"))
    assert count([vote("done"), silent, silent]).kind == "continue"
    assert count([vote("done"), vote("done", "c"), silent]).kind == "done"
    assert count([vote("blocked"), silent, silent]).kind == "blocked"


def test_no_votes_at_all() -> None:
    busy, wrong = Vote("a", error=("overloaded", "busy")), Vote("b", error=("auth", "wrong key"))
    assert count([busy, wrong]).error == ("overloaded", "busy")
    assert not count([busy, wrong]).lasting
    assert count([wrong, wrong]).lasting
    assert not count([Vote("a", error=("unreadable", "no JSON"))]).lasting


# What the judge is shown


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("It works.\nGOAL DONE: 12 tests passed", Claimed("done", "12 tests passed")),
        ("**GOAL DONE:** yes\n\n", Claimed("done", "yes")),
        ("`goal blocked` - no key", Claimed("blocked", "no key")),
        ("GOAL WAIT: the build\n`", Claimed("wait", "the build")),
        ("GOAL DONE", Claimed("done", "")),
        ("GOAL DONE: not yet, I think.\nMore to do.", None),
        ("I will say GOAL DONE: when it is", None),
        ("GOAL DONENESS: high", None),
        ("", None),
    ],
)
def test_the_agents_own_word_is_read_from_the_last_line_alone(reply: str, found: Claimed | None) -> None:
    assert claimed(reply) == found


def test_the_record_has_calls_outcomes_changed_files_and_the_ends_of_results() -> None:
    evidence = Evidence()
    diff = "--- a/x.py\n+++ b/x.py\n@@ -1 +1,2 @@\n-a\n+b\n+c\n"
    evidence.add(ToolCallPart(id="1", name="edit", arguments='{"path": "x.py"}'), ToolResult("changed", diff=diff))
    long = "start " + "x" * 2_000 + " 3 failed"
    evidence.add(ToolCallPart(id="2", name="shell", arguments='{"command": "pytest"}'), ToolResult(long, is_error=True))
    text = str(evidence)
    for words in ("1. edit", "-> ok", "x.py (+2 -1 line)", "2. shell", "-> ERROR", "3 failed"):
        assert words in text
    assert "start" not in text


def test_the_record_is_bounded_and_says_so() -> None:
    evidence = Evidence()
    for n in range(200):
        evidence.add(ToolCallPart(id=str(n), name="read", arguments=f'{{"path": "{n}"}}'), ToolResult("y" * 5_000))
    text = str(evidence)
    assert len(text) <= MOST_CHARS + 200
    assert "earlier calls are left out" in text and "200. read" in text
    assert text.count(". read") <= MOST_CALLS
    evidence.clear()
    assert str(evidence) == ""


def test_the_end_of_a_reply_is_what_counts() -> None:
    assert end_of(" short ") == "short"
    cut = end_of("first " + "x" * 10_000 + " the evidence")
    assert cut.endswith("the evidence") and "first" not in cut and "characters before this" in cut
