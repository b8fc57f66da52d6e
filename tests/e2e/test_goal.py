"""`moa run --goal` from outside: exit codes, the JSON object, gates, a panel of judges, a kill in the middle, a long goal."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.session.session import Session
from tests.bench.goal import growth
from tests.support.contract import checked
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, endpoint_config, preset_text
from tests.support.script import Behaviour, Say, Script

SECTION = '[goal]\njudge = "fake:judge"\nretry_s = 0.05\n'


def says(kind: str, reason: str = "because", **more: Any) -> Say:
    return Say(analysis={"reason": reason, "unmet": [], "verdict": kind, "wait_s": 0, **more})


def judge(*verdicts: Say) -> Behaviour:
    """One verdict after the other; the last repeats."""
    return Behaviour(first=verdicts[:-1], steps=(verdicts[-1],))


def configured(
    program: Program, endpoint: ScriptedEndpoint, *verdicts: Say, model: str = "fake:worker-1", **models: Any
) -> None:
    program.config(endpoint_config(endpoint.base_url, model=model, more=SECTION))
    endpoint.script = Script(models={"judge": judge(*verdicts), **models})


def goal_of(program: Program, session: str) -> Mapping[str, Any]:
    found = Session.open(program.state_dir / "sessions", session).get_state("goal")
    assert found is not None
    return found


def test_met(program: Program, endpoint: ScriptedEndpoint) -> None:
    configured(program, endpoint, says("continue", "not yet"), says("done", "it is there"))
    result = checked(program.run("Look around.", "--goal"), "done")
    assert [entry["decision"] for entry in result["goal"]] == ["continue", "done"]
    assert [call["purpose"] for call in result["calls"]] == ["main", "main", "goal_judge"] * 2
    assert result["text"] == "All done."
    assert len({call["turn"] for call in result["calls"]}) == 2
    assert result["goal"][-1]["spent"]["tokens"] == sum(
        call["prompt_tokens"] + call["completion_tokens"] for call in result["calls"]
    )


def test_each_request_begins_with_the_one_before_it_over_all_turns(
    program: Program, endpoint: ScriptedEndpoint
) -> None:
    configured(program, endpoint, says("continue"), says("continue"), says("done"))
    checked(program.run("Look around.", "--goal", "--no-moa"), "done")
    bodies = [call.body["messages"] for call in endpoint.calls("worker-1")]
    for earlier, later in pairwise(bodies):
        assert later[: len(earlier)] == earlier


def test_unmet(program: Program, endpoint: ScriptedEndpoint) -> None:
    configured(program, endpoint, says("continue", "half of it is missing"))
    done = program.run("Look around.", "--goal", "--goal-budget", "2 turns", "--model", "fake:say")
    result = checked(done, "unmet", "goal_budget")
    assert done.code == 3
    assert "half of it is missing" in result["error"]["message"]
    assert goal_of(program, result["session"])["status"] == "paused"


def test_blocked(program: Program, endpoint: ScriptedEndpoint) -> None:
    configured(program, endpoint, says("blocked", "there is no key"))
    checked(program.run("Look around.", "--goal"), "unmet", "goal_blocked")


def test_a_gate_on_the_command_line(program: Program, endpoint: ScriptedEndpoint) -> None:
    make = Behaviour(
        steps=(Say(tools=(("write", {"path": "made.txt", "content": "x"}),)), Say(text="GOAL DONE: made.txt"))
    )
    configured(program, endpoint, says("done"), model="fake:maker", maker=make)
    result = checked(program.run("Make it.", "--goal", "--gate", "test -s made.txt", "--approve", "all"), "done")
    assert result["goal"][0]["gate"] is None
    missing = program.run("Make it.", "--goal", "--gate", "exit 7", "--goal-budget", "1 turn", "--approve", "all")
    assert "exit code 7" in checked(missing, "unmet")["goal"][0]["gate"]["tail"]


def test_a_failing_test_is_made_to_pass(program: Program, endpoint: ScriptedEndpoint) -> None:
    (program.work_dir / "add.py").write_text("def add(a, b):\n    return a - b\n")
    (program.work_dir / "test_add.py").write_text(
        "from add import add\n\nif add(2, 3) != 5:\n    raise SystemExit('wrong sum')\n"
    )
    # No interpreter: in the sandbox the one of this machine may lie in a home folder that is not the test's.
    gate = "grep -q 'a + b' add.py || { echo wrong sum; exit 1; }  # test_add.py"
    mend = (
        Say(text="I look.", tools=(("read", {"path": "add.py"}),)),
        Say(text="A minus.", tools=(("edit", {"path": "add.py", "old": "a - b", "new": "a + b"}),)),
        Say(text="It adds now.\nGOAL DONE: test_add.py"),
    )

    def worker(body: Mapping[str, Any], _earlier: int) -> Say:
        from tests.support.decide import step_of

        last = [message for message in body["messages"] if message["role"] == "user"][-1]["content"]
        if "wrong sum" not in str(last):  # it claims to be done, and has done nothing yet
            return Say(text="Looks fine to me.\nGOAL DONE: I am sure")
        return mend[min(step_of(body), 2)]

    configured(program, endpoint, says("done", "the test passes"), model="fake:mender", mender=worker)
    result = checked(program.run("Make the test pass.", "--goal", "--gate", gate, "--approve", "edits"), "done")
    assert [entry["decision"] for entry in result["goal"]] == ["continue", "done"]
    assert "wrong sum" in result["goal"][0]["gate"]["tail"]
    assert "a + b" in (program.work_dir / "add.py").read_text()
    case = endpoint.calls("judge")[-1].body["messages"][-1]["content"]
    assert "add.py (+1 -1 line)" in str(case) and "exited with 0" in str(case)


def test_a_preset_as_a_panel_of_judges(program: Program, endpoint: ScriptedEndpoint) -> None:
    models = {
        "a": judge(says("done")),
        "b": judge(says("continue", "line 7"), says("done")),
        "c": judge(says("continue")),
    }
    configured(program, endpoint, says("done"), **models)
    program.preset("three", preset_text(["fake:a", "fake:b", "fake:c"]))
    result = checked(program.run("Look.", "--goal", "--goal-judge", "three", "--no-moa"), "done")
    assert [entry["decision"] for entry in result["goal"]] == ["continue", "done"]
    assert [len(entry["votes"]) for entry in result["goal"]] == [3, 3]
    assert {call["slot"] for call in result["calls"] if call["purpose"] == "goal_judge"} == {"1", "2", "3"}


def test_counsel_inside_a_goal(program: Program, endpoint: ScriptedEndpoint) -> None:
    configured(program, endpoint, says("continue"), says("done"))
    program.preset("panel", preset_text(["fake:one", "fake:two"], aggregator="fake:compare", cadence="turn"))
    result = checked(program.run("Look.", "--goal", "--preset", "panel"), "done")
    # Once in each turn: a goal's turns are turns.
    assert [entry["trigger"] for entry in result["counsel"] if entry["trigger"] != "replayed"] == ["turn_start"] * 2


def test_max_iterations_holds_for_all_turns_together(program: Program, endpoint: ScriptedEndpoint) -> None:
    configured(program, endpoint, says("continue"), model="fake:say")
    done = program.run("Look.", "--goal", "--max-iterations", "3")
    result = checked(done, "limit", "max_iterations")
    assert sum(call["purpose"] == "main" for call in result["calls"]) == 3


def test_the_runs_budget_ends_it_as_a_budget(program: Program, endpoint: ScriptedEndpoint) -> None:
    configured(program, endpoint, says("continue"), model="fake:say")
    program.config(
        endpoint_config(endpoint.base_url, model="fake:say", more=SECTION)
        + "[endpoints.fake.models.say]\nprice = { prompt = 1.0, completion = 1.0 }\ncontext_window = 1000\n"
        + "[endpoints.fake.models.judge]\nprice = { prompt = 0.0, completion = 0.0 }\n"
    )
    checked(program.run("Look.", "--goal", "--budget", "0.004"), "budget")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("/goal gate keepers",), "is that a goal"),
        (("Look.", "--gate", "true"), "--gate belongs to a goal"),
        (("Look.", "--goal", "--goal-budget", "soon"), "soon"),
        (("Look.", "--goal", "--goal-judge", "nobody"), "nobody"),
        (("Look.", "--goal", "--gate", ":jobs"), ":jobs"),
    ],
)
def test_wrong_usage(program: Program, endpoint: ScriptedEndpoint, words: tuple[str, ...], expected: str) -> None:
    prompt, *options = words
    result = checked(program.run(prompt, *options), "usage")
    assert expected in result["error"]["message"]
    assert endpoint.calls() == []


@pytest.mark.parametrize("text", ["draft the report", "wait for the build"])
def test_texts_that_look_like_verbs_are_goals(program: Program, endpoint: ScriptedEndpoint, text: str) -> None:
    configured(program, endpoint, says("done"))
    result = checked(program.run(f"/goal {text}"), "done")
    assert goal_of(program, result["session"])["text"] == text


def test_stream_json_has_every_turn_and_one_object(program: Program, endpoint: ScriptedEndpoint) -> None:
    configured(program, endpoint, says("continue"), says("done"))
    done = program("run", "--goal", "--output-format", "stream-json", "Look.")
    *events, last = done.lines
    kinds = [event["type"] for event in events]
    assert kinds.count("turn_started") == kinds.count("turn_finished") == 2
    assert last["status"] == "done" and len(last["goal"]) == 2


def test_ctrl_c_while_it_waits(program: Program, endpoint: ScriptedEndpoint) -> None:
    configured(program, endpoint, says("wait", "the build runs", wait_s=3600))
    child = program.start("run", "--goal", "--output-format", "stream-json", "Look.")
    assert child.stdout is not None
    for line in child.stdout:
        event = json.loads(line)
        if event.get("code") == "goal_waits":
            break
    os.kill(child.pid, signal.SIGINT)
    rest = child.stdout.read().splitlines()
    assert child.wait(5) == 130
    result = json.loads(rest[-1])
    assert result["status"] == "interrupted"
    assert goal_of(program, result["session"])["status"] == "paused"


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed(program: Program, endpoint: ScriptedEndpoint) -> None:
    configured(program, endpoint, says("continue"), model="fake:slow-0.4")
    child = program.start("run", "--goal", "--quiet", "Look.")
    endpoint.wait_for(lambda: len(endpoint.calls("slow-0.4")) == 2 and endpoint.calls("slow-0.4")[1].first_token)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait(5)
    (session,) = [path.stem for path in (program.state_dir / "sessions").glob("*.jsonl")]
    configured(program, endpoint, says("done"), model="fake:say")
    result = checked(program.run("/goal resume", "--session", session), "done")
    assert result["goal"][-1]["turn"] == 2
    rows = program.activity()
    known = sum((row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0) for row in rows)
    assert result["goal"][-1]["spent"]["tokens"] == known
    assert sum(row["purpose"] == "main" for row in rows) == 3  # the killed one is in the books, once


@pytest.mark.slow
def test_a_long_goal_with_failures_waits_and_a_kill(tmp_path: Path) -> None:
    """What tests/bench/goal.py does with fifty turns, with fewer."""
    found = growth(tmp_path, turns=14, kill_at=8)
    assert found.status == "done" and found.turns == 14
    assert found.spent_tokens == found.ledger_tokens
    assert found.outages > 0 and found.waits > 0
    assert found.rss_mb[-1] - found.rss_mb[len(found.rss_mb) // 2] < 20
