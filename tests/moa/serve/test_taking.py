"""Whether a served request gets counsel, what its panel is told, and what the response says of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moa.preset.cadence import Cadence
from tests.moa.serve.test_anchors import points
from tests.support.databases import kept
from tests.support.script import Say
from tests.support.served import PRESET, WIRES, Client, Desk
from tests.support.waiting import until


def steps(desk: Desk, client: Client, count: int) -> list[str]:
    """What became of counsel in each of so many steps of a tool loop."""
    said = []
    for _ in range(count):
        client.ask()
        said.append(client.said)
        client.work()
        if desk.waits is None:
            desk.loop.run(ahead())
    return said


async def ahead() -> None:
    """What was taken ahead has come, where nothing holds it up."""
    if tasks := [task for task in asyncio.all_tasks() if task.get_name() == "counsel ahead"]:
        await asyncio.wait(tasks)


def busy(body: dict[str, Any], earlier: int) -> Say:
    """Goes on calling tools."""
    return Say(text=f"Step {earlier}.", tools=(("read", {"path": f"{earlier}"}),))


def a_desk(folder: Path, wire: str = "messages", **preset: Any) -> Desk:
    return Desk(folder, wire, preset=replace(PRESET, **preset), script=busy)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("cadence", "taken"),
    [("iteration", [1, 2, 3, 4, 5, 6, 7]), ("turn", [1, 5]), ("every:3", [1, 4, 5]), ("signal", [1, 5])],
)
def test_the_cadence_holds_over_turns_and_restarts(tmp_path: Path, wire: str, cadence: str, taken: list[int]) -> None:
    with a_desk(tmp_path, wire, cadence=Cadence.parse(cadence)) as desk:
        client = desk.client().say("go")
        said = steps(desk, client, 3)
        desk.restart()
        said += steps(desk, client, 1)
        client.say("and now that")
        said += steps(desk, client, 3)
        assert [number for number, what in enumerate(said, 1) if what == "taken"] == taken
        assert all(what.startswith("skipped; ") for what in said if what != "taken")
        desk.holds()


def test_a_tool_that_fails_and_work_in_circles_are_signals(tmp_path: Path) -> None:
    with a_desk(tmp_path, cadence=Cadence.parse("signal")) as desk:
        client = desk.client().say("go")
        assert steps(desk, client, 2) == ["taken", "skipped; nothing happened that calls for counsel"]
        client.items[-1]["content"][0]["is_error"] = True
        assert steps(desk, client, 2) == ["taken", "skipped; nothing happened that calls for counsel"]
        desk.endpoint.script.models["main"] = lambda _body, _n: Say(text="Again.", tools=(("read", {"path": "same"}),))  # type: ignore[index]
        for _ in range(3):
            client.ask()
            client.work()
            client.items[-1]["content"][0]["content"] = "the same"
        assert steps(desk, client, 1) == ["taken"]


def test_a_silent_panel_is_asked_less_often_even_after_a_restart(tmp_path: Path) -> None:
    with a_desk(tmp_path) as desk:
        desk.grade = lambda _number: "nothing"
        client = desk.client().say("go")
        assert steps(desk, client, 5) == ["silent"] * 5
        desk.restart()
        later = steps(desk, client, 8)
        assert [what == "silent" for what in later] == [False, True, False, False, False, True, False, False]
        assert points(client.sent) == []
        client.items[-1]["content"][0]["is_error"] = True
        desk.grade = lambda _number: "note"
        assert steps(desk, client, 2) == ["taken", "taken"]


def test_what_is_in_force_is_read_from_the_rows_and_told_to_the_panel(tmp_path: Path) -> None:
    with a_desk(tmp_path) as desk:
        client = desk.client().say("go")
        steps(desk, client, 2)
        desk.restart()
        other = client.branch()
        steps(desk, client, 1)
        assert [text.split(".")[0] for text in desk.seen[-1][1]["in_force"]] == ["POINT-1", "POINT-2"]
        steps(desk, other, 1)
        assert [text.split(".")[0] for text in desk.seen[-1][1]["in_force"]] == ["POINT-1", "POINT-2"]
        desk.endpoint.script.models["main"] = busy  # type: ignore[index]
        roles = [message.role for message in desk.seen[-1][0]]
        assert roles == ["user", "assistant", "tool", "assistant", "tool"], (
            "members see the conversation, without guidance"
        )
        assert "POINT" not in "".join(message.text for message in desk.seen[-1][0])


def test_members_see_no_configured_key_but_the_upstream_gets_the_body_as_it_came(tmp_path: Path) -> None:
    with a_desk(tmp_path) as desk:
        desk.server.redact = lambda text: text.replace("sk-secret", "[key]")
        client = desk.client().say("my key is sk-secret")
        steps(desk, client, 1)
        assert desk.seen[0][0][0].text == "«my key is [key]»" and "sk-secret" in str(client.sent)


def test_what_a_panel_says_goes_out_and_is_kept_without_configured_keys(tmp_path: Path) -> None:
    with a_desk(tmp_path) as desk:
        desk.server.redact = lambda text: text.replace("POINT-1", "[key]")
        steps(desk, desk.client().say("go"), 1)
        sent = str(desk.endpoint.calls("main")[-1].body)
        assert "[key]" in sent and "POINT-1" not in sent
        stored = kept(desk.folder / "ledger.db")
        assert b"[key]" in stored and b"POINT-1" not in stored


def test_where_there_is_no_more_room_members_are_asked_for_blockers_only(tmp_path: Path) -> None:
    with a_desk(tmp_path, guidance_tokens=300) as desk:
        client = desk.client().say("go")
        assert steps(desk, client, 3)[0] == "taken"
        assert steps(desk, client, 1) == ["withheld; below the preset's severity"]
        assert desk.seen[-1][1]["blockers_only"] is True


def test_what_is_below_the_presets_severity_is_withheld_and_what_was_said_is_not_said_again(tmp_path: Path) -> None:
    with a_desk(tmp_path, severity="concern") as desk:
        client = desk.client().say("go")
        assert steps(desk, client, 1) == ["withheld; below the preset's severity"]
        desk.grade = lambda _number: "blocker"
        assert steps(desk, client, 1) == ["taken"]
        desk.asked -= 1
        assert steps(desk, client, 1) == ["withheld; said before"]


def test_a_blocker_that_was_not_followed_is_said_again_after_five_calls(tmp_path: Path) -> None:
    with a_desk(tmp_path) as desk:
        desk.grade = lambda _number: "blocker"
        client = desk.client().say("go")
        said = []
        for _ in range(7):
            said += steps(desk, client, 1)
            desk.asked = 0  # it says the same each time
            desk.restart()
        assert said == ["taken", *["withheld; said before"] * 4, "taken", "withheld; said before"]
        assert str(client.sent).count("Still open, a blocker from turn 1 before step 1") == 1
        desk.holds()


def test_members_that_are_late_belong_to_the_next_request_of_their_branch_and_end_with_the_turn(tmp_path: Path) -> None:
    with a_desk(tmp_path) as desk:
        desk.late = ("2",)
        client = desk.client().say("go")
        steps(desk, client, 2)
        other = client.branch()
        steps(desk, client, 1)
        steps(desk, other, 1)
        panels = [told["panel"] for _history, told in desk.seen]
        assert panels[0] is panels[1] is panels[2] is not panels[3]
        assert not panels[0].closed
        desk.endpoint.script.models["main"] = lambda _body, _n: Say(text="Done.")  # type: ignore[index]
        steps(desk, client, 1)
        assert panels[0].closed and not panels[3].closed


def test_turns_of_two_branches_are_two_on_the_account(tmp_path: Path) -> None:
    with a_desk(tmp_path) as desk:
        client = desk.client().say("go")
        steps(desk, client, 2)
        other = client.branch()
        for each, words in ((client, "this"), (other, "that")):
            each.say(words)
            steps(desk, each, 2)
        turns = [told["context"].turn for _history, told in desk.seen]
        assert turns[0] == turns[1] and turns[2] == turns[3] and turns[4] == turns[5] and len(set(turns)) == 3
        assert len({told["context"].session for _history, told in desk.seen}) == 1


@pytest.mark.parametrize("wire", WIRES)
def test_lookahead_delivers_with_the_next_request_of_the_same_branch(tmp_path: Path, wire: str) -> None:
    with a_desk(tmp_path, wire, lookahead=True) as desk:
        client = desk.client().say("go")
        said = steps(desk, client, 2)
        assert said == ["taken", "pending"] and points(client.sent) == [1]
        other = client.branch()
        desk.restart()  # what came ahead is in the database
        said = steps(desk, client, 2) + steps(desk, other, 1)
        assert said == ["taken", "taken", "taken"]
        assert (points(client.sent), points(other.sent)) == ([1, 2, 3], [1, 2])
        desk.holds()


def test_a_lookahead_that_is_not_ready_is_waited_for_by_nobody_and_ends_with_the_turn(tmp_path: Path) -> None:
    with a_desk(tmp_path, lookahead=True) as desk:
        client = desk.client().say("go")
        steps(desk, client, 1)
        desk.waits = asyncio.Event()
        assert steps(desk, client, 3) == ["pending"] * 3 and desk.asked == 2
        desk.waits.set()
        desk.loop.run(until(lambda: len(asyncio.all_tasks()) == 1))  # what looked ahead is ready
        assert steps(desk, client, 1) == ["taken"] and points(client.sent) == [1, 2]
        desk.waits = asyncio.Event()
        steps(desk, client, 1)
        desk.endpoint.script.models["main"] = lambda _body, _n: Say(text="Done.")  # type: ignore[index]
        steps(desk, client, 1)

        async def left() -> int:
            return len(asyncio.all_tasks()) - 1

        assert desk.loop.run(left()) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"wanted": "off"}, "skipped; the request asks for none"),
        ({"wanted": "off", "counsel_for": "all"}, "skipped; the request asks for none"),
        ({"counsel_for": "none"}, "skipped; counsel_for is none"),
        ({"counsel_for": "none", "wanted": "on"}, "taken"),
        ({"depth": 1, "wanted": "on"}, "skipped; the request comes from inside of a panel"),
        ({"preset": None, "wanted": "on"}, "skipped; the model is no panel's (moa/PRESET)"),
    ],
)
def test_who_may_say_that_there_is_counsel(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with a_desk(tmp_path) as desk:
        assert steps(desk, desk.client(**more).say("go"), 1) == [said]


def test_a_request_that_ends_with_the_models_own_words_gets_none(tmp_path: Path) -> None:
    with a_desk(tmp_path) as desk:
        client = desk.client().say("go")
        client.items.append({"role": "assistant", "content": "I"})
        assert steps(desk, client, 1) == ["skipped; it does not end with words or results for the model"]


def test_counsel_on_request_is_taken_whatever_the_cadence(tmp_path: Path) -> None:
    with a_desk(tmp_path, cadence=Cadence.parse("turn")) as desk:
        client = desk.client(wanted="on").say("go")
        assert steps(desk, client, 3) == ["taken"] * 3


JSON = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}


@pytest.mark.parametrize(
    ("wire", "change", "why"),
    [
        ("messages", {"max_tokens": 512}, "no tools, and an answer of at most 512 tokens"),
        ("chat", {"max_completion_tokens": 100}, "no tools, and an answer of at most 100 tokens"),
        ("responses", {"max_output_tokens": 20}, "no tools, and an answer of at most 20 tokens"),
        ("chat", {"response_format": JSON}, "no tools, and an answer in JSON"),
        ("responses", {"text": {"format": {"type": "json_object"}}}, "no tools, and an answer in JSON"),
        ("messages", {"output_config": {"format": {"type": "json_schema"}}}, "no tools, and an answer in JSON"),
        ("messages", {}, None),
        ("chat", {"response_format": {"type": "text"}, "max_tokens": 513}, None),
    ],
)
def test_side_calls_get_none(tmp_path: Path, wire: str, change: dict[str, Any], why: str | None) -> None:
    with a_desk(tmp_path, wire) as desk:
        client = desk.client().say("go")
        plain = {key: value for key, value in client.body().items() if key != "tools"} | change
        client.ask(keep=False, body=plain)
        assert client.said == ("taken" if why is None else f"skipped; a side call: {why}")
        client.ask(keep=False, body={**client.body(), **change})
        assert client.said == "taken", "with tools it is none"
        forced = desk.client(wanted="on").say("go")
        forced.ask(keep=False, body=plain)
        assert forced.said == "taken"


def test_no_tools_after_requests_that_had_some_is_a_side_call_of_the_same_program(tmp_path: Path) -> None:
    with a_desk(tmp_path) as desk:
        steps(desk, desk.client(client="claude-cli/2.1 (external)").say("go"), 1)
        for client, minutes, said in (
            ("claude-cli/2.2", 0, "skipped; a side call: no tools, although the last requests had some"),
            ("openai-python/3", 0, "taken"),
            ("claude-cli/2.1", 61, "taken"),
        ):
            desk.now += minutes * 60
            other = desk.client(client=client).say("a title, please")
            other.ask(body={key: value for key, value in other.body().items() if key != "tools"})
            assert other.said == said, client


@pytest.mark.parametrize("wire", WIRES)
def test_fuse_asks_its_panel_once_a_turn_for_answers_that_stay_in_their_place(tmp_path: Path, wire: str) -> None:
    with a_desk(tmp_path, wire, lookahead=True) as desk:
        client = desk.client(fuse=True).say("How many?")
        said = steps(desk, client, 3)
        desk.restart()
        client.say("Are you sure?")
        said += steps(desk, client, 2)
        assert [what.partition(";")[0] for what in said] == ["taken", "skipped", "skipped", "taken", "skipped"]
        sent = str(client.sent)
        assert [sent.count(words) for words in ("Other models have answered this", "POINT-1.", "POINT-2.")] == [2, 1, 1]
        history, asked = desk.seen[1]
        assert (asked["task"].name, asked["tools"]) == ("answer", False)
        assert asked["brief"] == "S" and not any("POINT-1." in message.text for message in history)
        desk.holds()


def test_fuse_is_there_for_requests_without_tools(tmp_path: Path) -> None:
    with a_desk(tmp_path) as desk:
        client = desk.client(fuse=True).say("How many?")
        body = client.body()
        del body["tools"]
        client.ask(body={**body, "max_tokens": 100})
        assert client.said == "taken"
        client.say("And?").ask(
            body={**client.body(), "tools": [], "output_config": {"format": {"type": "json_schema"}}}
        )
        assert client.said == "taken" and desk.asked == 2
