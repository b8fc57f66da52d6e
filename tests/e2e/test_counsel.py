"""Counsel in the loop, seen from outside: what the models were sent, what the result says, what the ledger holds."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support.contract import checked
from tests.support.endpoint import ScriptedEndpoint
from tests.support.prefix_cache import items
from tests.support.program import Program, preset_text
from tests.support.script import ANALYSIS, Behaviour, Say, Script, analysis_of

MEMBERS = ("alpha", "beta", "gamma")
POINT = ANALYSIS["consensus"][0]


def judge(body: object, earlier: int) -> Say:
    """A comparison that has something new each time: what was said is not sent again."""
    return Say(analysis=analysis_of(earlier))


@pytest.fixture
def panel(program: Program, endpoint: ScriptedEndpoint) -> Program:
    endpoint.script = Script(models={"judge": judge})
    program.preset("panel", preset_text([f"fake:{name}" for name in MEMBERS]))
    return program


def test_guidance_of_each_call_stays_in_every_later_one(panel: Program, endpoint: ScriptedEndpoint) -> None:
    result = checked(panel.run("Look around.", "--preset", "panel"), "done")
    main = endpoint.calls("worker")
    assert len(main) == 4
    for number, call in enumerate(main, 1):
        assert POINT in call.last_text
        assert "".join(items(call.body)).count(POINT) == number
    for before, after in pairwise(main):
        assert items(after.body)[: len(items(before.body))] == items(before.body), "what was sent stays sent"
    assert [len(endpoint.calls(name)) for name in (*MEMBERS, "judge")] == [4] * 4
    assert [counsel["iteration"] for counsel in result["counsel"]] == [1, 2, 3, 4]
    assert all(counsel["guidance"] in call.last_text for counsel, call in zip(result["counsel"], main, strict=True))
    assert result["counsel"][0]["analysis"]["consensus"][0].startswith(POINT)
    assert POINT not in result["text"]


def test_what_members_look_at_is_shown_and_bounded(program: Program, endpoint: ScriptedEndpoint) -> None:
    (program.home / ".ssh").mkdir()
    (program.home / ".ssh/id_rsa").write_text("the private key")
    (program.home / "diary.txt").write_text("the diary")
    wanted = ("notes.txt", "~/.ssh/id_rsa", "~/diary.txt", ".env")
    (program.work_dir / ".env").write_text("TOKEN=the token")
    steps = (*(Say(tools=(("read", {"path": path}),)) for path in wanted), Say(text="I have looked."))
    endpoint.script = Script(models={"alpha": Behaviour(steps=steps)})
    program.preset(
        "panel",
        preset_text(["fake:alpha"], aggregate="raw", tools_at="always").replace(
            '"fake:alpha"', '"fake:alpha"\ntools = ["read"]'
        ),
    )
    shown = program("run", "--preset", "panel", "--model", "fake:say", "--output-format", "stream-json", "hi").lines
    side = next(line["id"] for line in shown if line["type"] == "side_started")
    ends = {
        line["call"]["arguments"]: line
        for line in shown
        if line.get("type") == "tool_finished" and line["source"] == side
    }
    assert [end["outcome"] for end in ends.values()] == ["ok", "denied", "ok", "denied"]
    assert any(line.get("code") == "read_outside" and "diary.txt" in line["text"] for line in shown)
    sent = str([call.body for call in endpoint.calls("alpha")])
    assert "the diary" in sent and "the private key" not in sent and "the token" not in sent
    told = program("run", "--preset", "panel", "--model", "fake:say", "hi").err
    assert "read notes.txt" in told and "lies outside of the project" in told


def test_every_request_has_its_row_and_the_rows_add_up(panel: Program, endpoint: ScriptedEndpoint) -> None:
    result = checked(panel.run("Look around.", "--preset", "panel"), "done")
    rows = panel.activity()
    assert sorted(row["model_requested"] for row in rows) == sorted(call.model for call in endpoint.calls())
    assert sorted(row["id"] for row in rows) == sorted(call["id"] for call in result["calls"])
    assert {row["generation_id"] for row in rows} == {f"gen-{call.number}" for call in endpoint.calls()}
    assert {row["outcome"] for row in rows} == {"done"}
    assert sum(row["cached_tokens"] for row in rows) == sum(call.cached_tokens for call in endpoint.calls())
    assert result["cost"] == {"usd": None, "lower_bound": True}


def test_members_are_asked_side_by_side(panel: Program, endpoint: ScriptedEndpoint) -> None:
    panel.preset("slow", preset_text(["fake:slow-0.3", "fake:slow-0.3", "fake:slow-0.3"]))
    checked(panel.run("hello", "--preset", "slow", "--model", "fake:say"), "done")
    members = endpoint.calls("slow-0.3")
    assert len(members) == 3
    assert max(call.arrived for call in members) - min(call.arrived for call in members) < 0.15


def test_a_member_that_fails_is_named_and_the_rest_go_on(panel: Program, endpoint: ScriptedEndpoint) -> None:
    panel.preset("mixed", preset_text(["fake:alpha", "fake:beta", "fake:shape-billed_empty", "fake:fail-402"]))
    result = checked(panel.run("hello", "--preset", "mixed", "--model", "fake:say"), "done")
    (counsel,) = result["counsel"]
    assert len(counsel["failed"]) == 2
    assert {failure["kind"] for failure in counsel["failed"]} == {"empty_answer", "payment_required"}
    assert POINT in endpoint.calls("say")[0].last_text


def test_when_all_fail_the_main_model_goes_alone_and_says_so(panel: Program, endpoint: ScriptedEndpoint) -> None:
    panel.preset("broken", preset_text(["fake:fail-402", "fake:fail-404"]))
    done = panel("run", "--output-format", "stream-json", "--preset", "broken", "--model", "fake:say", "hello")
    *events, result = done.lines
    assert (done.code, result["text"]) == (0, "Answer of say.")
    assert len(result["counsel"][0]["failed"]) == 2
    assert any(event["type"] == "notice" and event["level"] in ("warning", "error") for event in events)
    assert endpoint.calls("judge") == []


def test_an_aggregator_that_fails_costs_the_analysis_not_the_advice(panel: Program, endpoint: ScriptedEndpoint) -> None:
    panel.preset("headless", preset_text(["fake:alpha", "fake:beta"], aggregator="fake:fail-402"))
    result = checked(panel.run("hello", "--preset", "headless", "--model", "fake:say"), "done")
    assert result["counsel"][0]["rung"] == "raw"
    assert "Answer of alpha." in endpoint.calls("say")[0].last_text


def test_an_endpoint_without_schemas_is_learned_once(panel: Program, endpoint: ScriptedEndpoint) -> None:
    judge = Behaviour(steps=(Say(analysis=ANALYSIS),), refuses=frozenset({"no_json_schema"}))
    endpoint.script = Script(models={"judge": judge})
    for _ in range(2):
        result = checked(panel.run("hello", "--preset", "panel", "--model", "fake:say"), "done")
        assert result["counsel"][0]["rung"] == "json_object"
    assert [call.status for call in endpoint.calls("judge")] == [400, 200, 200]


def test_strict_alternation_is_learned_once(panel: Program, endpoint: ScriptedEndpoint) -> None:
    strict = Behaviour(
        steps=(Say(tools=(("glob", {"pattern": "*"}),)), Say(text="end")), refuses=frozenset({"strict_alternation"})
    )
    endpoint.script = Script(models={**endpoint.script.models, "strict": strict})
    checked(panel.run("hello", "--preset", "panel", "--model", "fake:strict"), "done")
    calls = endpoint.calls("strict")
    assert [call.status for call in calls] == [400, 200, 200]
    assert all(POINT in call.last_text for call in calls)


def test_nothing_fans_out_below_another_panel(panel: Program, endpoint: ScriptedEndpoint) -> None:
    checked(panel.run("hello", "--preset", "panel", "--model", "fake:say", env={"MOA_DEPTH": "1"}), "done")
    assert [call.model for call in endpoint.calls()] == ["say"]


def test_a_preset_budget_never_spends_the_answer(panel: Program, endpoint: ScriptedEndpoint) -> None:
    panel.preset("poor", preset_text([f"fake:{name}" for name in MEMBERS]) + "\n[budget]\nturn_tokens = 10\n")
    result = checked(panel.run("hello", "--preset", "poor", "--model", "fake:say"), "done")
    assert [call.model for call in endpoint.calls()] == ["say"]
    assert {failure["kind"] for failure in result["counsel"][0]["failed"]} == {"budget"}


def test_the_session_goes_on_with_its_cache(panel: Program, endpoint: ScriptedEndpoint) -> None:
    first = checked(panel.run("Look around.", "--preset", "panel"), "done")
    second = checked(panel.run("And again.", "--session", first["session"], "--no-moa"), "done")
    assert second["session"] == first["session"]
    before, after = endpoint.calls("worker")[3], endpoint.calls("worker")[4]
    # Armed or not, tools and conversation are the same to the byte.
    assert items(after.body)[: len(items(before.body))] == items(before.body)
