"""Counsel that knows when to be silent: grades, what is in force, what goes out, and how often it is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.events import DraftSuperseded, Notice
from agent.llm.errors import Overloaded
from agent.llm.messages import user
from agent.llm.models.endpoint import ModelFacts
from agent.llm.request import ModelRef, Request
from agent.llm.stream import Reply
from agent.llm.tokens import estimate_tokens
from agent.session.sent import CLOSE, OPEN
from agent.session.session import Session
from agent.views import TableView
from moa.counsel.points import followed
from moa.panel.briefing import IN_FORCE_TOKENS
from tests.support.chatbench import calls
from tests.support.counsel import JUDGED, CounselWorld
from tests.support.script import ANALYSIS
from tests.support.scripted import Line

SIGNS = {"nothing": "NOTHING", "note": "NOTE\n", "concern": "**Concern:** ", "blocker": "BLOCKER – "}


def says(grade: str, text: str = "mind the lock file") -> str:
    return SIGNS[grade] if grade == "nothing" else f"{SIGNS[grade]}{text}"


def judged(severity: str | None, *steps: str, number: int = 0) -> str:
    found: dict[str, Any] = {"consensus": [], "next_steps": list(steps or [f"point number {number} of the judge"])}
    return json.dumps(found if severity is None else {**found, "severity": severity})


def looks(count: int, *, begin: int = 0) -> list[Reply]:
    """Calls of which no two are the same, so that nothing but the cadence asks for counsel."""
    return [calls(("glob", {"pattern": f"*.nothing{begin + n}"})) for n in range(count)]


def turn(bench: CounselWorld) -> None:
    assert asyncio.run(bench.turn()).status == "done"


FAILED = Overloaded("down", status=503)
RAW, VOTE = 'aggregate = "raw"\n', 'aggregate = "vote"\n'


@pytest.mark.parametrize(
    ("head", "one", "two", "judge", "severity", "withheld", "judge_calls"),
    [
        # All silent: nobody compares, nothing is sent.
        ("", "nothing", "nothing", judged("blocker"), None, "silent", 0),
        (RAW, "nothing", "nothing", "", None, "silent", 0),
        (VOTE, "nothing", "nothing", "", None, "silent", 0),
        # One speaker: its own grade, and nothing to compare it with.
        ("", "nothing", "blocker", judged("note"), "blocker", None, 0),
        ("", "note", FAILED, judged("blocker"), "note", None, 0),
        ('severity = "concern"\n', "note", "nothing", judged("blocker"), "note", "severity", 0),
        ('severity = "concern"\n', "concern", "nothing", judged("note"), "concern", None, 0),
        # Several: the aggregator's grade replaces theirs.
        ("", "note", "concern", judged("blocker"), "blocker", None, 1),
        ("", "blocker", "blocker", judged("note"), "note", None, 1),
        ('severity = "concern"\n', "blocker", "blocker", judged("note"), "note", "severity", 1),
        ('severity = "blocker"\n', "note", "note", judged("blocker"), "blocker", None, 1),
        ("", "blocker", "note", judged("nothing"), None, "silent", 1),
        # It does not say, or fails: the highest holds.
        ("", "concern", "note", judged(None), "concern", None, 1),
        ("", "concern", "note", "no JSON at all", "concern", None, 2),
        ('severity = "concern"\n', "note", "note", FAILED, "note", "severity", 1),
        ('severity = "blocker"\n', "note", "blocker", FAILED, "blocker", None, 1),
        # Raw and vote: the highest holds.
        (RAW, "note", "blocker", "", "blocker", None, 0),
        (RAW + 'severity = "blocker"\n', "concern", "note", "", "concern", "severity", 0),
        (VOTE, "concern", "note", "", "concern", None, 0),
        (VOTE, "nothing", "concern", "", "concern", None, 0),
        (VOTE + 'severity = "concern"\n', "note", "note", "", "note", "severity", 0),
        # Layers: the last round's.
        (RAW + "layers = 2\n", ["blocker", "note"], ["note", "concern"], "", "concern", None, 0),
        (RAW + "layers = 2\n", ["nothing", "blocker"], ["nothing", "blocker"], "", None, "silent", 0),
        ("layers = 2\n", ["blocker", "nothing"], ["note", "note"], judged("blocker"), "note", None, 0),
        # Nobody answered at all.
        ("", FAILED, FAILED, "", None, "failed", 0),
    ],
)  # fmt: skip
def test_grades_and_severity(
    tmp_path: Path,
    head: str,
    one: Any,
    two: Any,
    judge: Any,
    severity: str | None,
    withheld: str | None,
    judge_calls: int,
) -> None:
    def lines(of: Any, name: str) -> Any:
        if isinstance(of, Exception):
            return of
        return [says(grade, f"{name} on round {n}") for n, grade in enumerate([of] if isinstance(of, str) else of)]

    script = {"fake:one": lines(one, "advice one"), "fake:two": lines(two, "advice two"), "fake:judge": judge}
    bench = CounselWorld(tmp_path, ["done"], f"{head}{JUDGED}", script=script)
    turn(bench)
    (data,) = bench.records
    assert (data["severity"], data["withheld"]) == (severity, withheld)
    assert len(bench.to("judge")) == judge_calls
    assert (bench.guidance[0] is None) is (withheld is not None) and data["guidance"] == bench.guidance[0]
    quiet = [
        slot for slot, grades in (("1", one), ("2", two)) if (grades if isinstance(grades, str) else "") == "nothing"
    ]
    if quiet and "layers" not in head:
        assert data["silent"] == quiet
    if withheld == "silent":
        assert bench.all(Notice) == [] or judge_calls, "silence is not announced"
    if quiet and withheld is None:
        assert "advice" in (bench.guidance[0] or "") and data["rung"] == "raw", "one speaker goes out as it is"
    if (text := bench.guidance[0]) is not None:
        assert not any(sign.strip() in text for sign in SIGNS.values()), "the first word is for the program"
        assert ("Severity: " in text) is (severity != "note")


def test_a_silent_panel_costs_the_main_model_nothing_and_is_asked_less_and_less(tmp_path: Path) -> None:
    script = {"fake:one": "NOTHING", "fake:two": "I have nothing to add."}
    bench = CounselWorld(tmp_path, [*looks(20), "done"], JUDGED, script=script)
    turn(bench)
    assert [data["iteration"] for data in bench.records] == [1, 2, 3, 4, 5, 7, 11, 19]
    assert bench.to("judge") == [] and bench.guidance == [None] * 21
    assert {(data["withheld"], tuple(data["silent"])) for data in bench.records} == {("silent", ("1", "2"))}
    assert bench.live.guidance() == []
    assert "nothing to add" in str(bench.moa.receipts.all[0]) and "silent 5 times in a row" in str(
        bench.moa.receipts.all[5]
    )
    assert "silent in the last 21 steps" in status(bench)["panel"]


def test_a_word_or_a_signal_sets_the_interval_back(tmp_path: Path) -> None:
    spoken: list[Line] = ["NOTHING"] * 6 + ["NOTE\nmind the lock file"] + ["NOTHING"]
    bench = CounselWorld(tmp_path, [*looks(12), "done"], RAW, script={"fake:one": spoken, "fake:two": "NOTHING"})
    turn(bench)
    assert [data["iteration"] for data in bench.records] == [1, 2, 3, 4, 5, 7, 11, 12, 13]
    failing = calls(("read", {"path": "nothing.txt"}))
    bench = CounselWorld(
        tmp_path / "2",
        [*looks(7), failing, *looks(3, begin=7), "done"],
        RAW,
        script=dict.fromkeys(("fake:one", "fake:two"), "NOTHING"),
    )
    turn(bench)
    assert [data["iteration"] for data in bench.records] == [1, 2, 3, 4, 5, 7, 9, 10, 11, 12]
    assert bench.records[6]["trigger"] == "iteration"


def status(bench: CounselWorld) -> dict[str, str]:
    said = asyncio.run(bench.say("/moa status"))
    assert isinstance(said.view, TableView)
    return {row[0]: row[1] for row in said.view.rows}


@pytest.mark.parametrize(
    ("head", "script", "lines_at"),
    [
        (JUDGED, {"fake:judge": judged("note")}, []),
        (JUDGED, {"fake:judge": json.dumps({**ANALYSIS, "severity": "note"})}, []),
        (JUDGED, {"fake:judge": judged("blocker", "stop and think")}, [6, 11, 16, 21]),
        (JUDGED, {"fake:judge": judged("blocker", "Read `a.py`", "stop and think")}, [6, 11, 16, 21]),
        (RAW, {"fake:one": says("note"), "fake:two": "NOTHING"}, []),
        (RAW, {"fake:one": says("blocker"), "fake:two": says("note", "something else")}, [6, 11, 16, 21]),
        (VOTE, {"fake:one": says("blocker", "Decision: stop"), "fake:two": says("note", "Decision: stop")}, [6, 11, 16, 21]),
    ],
)  # fmt: skip
def test_what_was_said_is_not_said_again_but_a_blocker_in_one_line_every_fifth_call(
    tmp_path: Path, head: str, script: Mapping[str, str], lines_at: list[int]
) -> None:
    bench = CounselWorld(tmp_path, [*looks(20), "done"], head, script=script)
    turn(bench)
    sent = {at: text for at, text in enumerate(bench.guidance, 1) if text is not None}
    assert list(sent) == [1, *lines_at]
    assert all("\n" not in sent[at] and "Still open" in sent[at] and estimate_tokens(sent[at]) < 100 for at in lines_at)
    kinds = {data["withheld"] for data in bench.records if data["iteration"] not in sent}
    assert kinds == {"repeat"}
    # As many bytes as that, in the last request, too.
    last = str(bench.to("main")[-1].messages)
    assert last.count("Written in turn 1 before step 1;") == 1 and last.count("Still open") == len(lines_at)


def test_a_blocker_that_was_followed_is_not_said_again(tmp_path: Path) -> None:
    followed = calls(("read", {"path": "a.py"}))
    bench = CounselWorld(
        tmp_path,
        [*looks(1), followed, *looks(9, begin=1), "done"],
        JUDGED,
        script={"fake:judge": judged("blocker", "Read `a.py` first")},
    )
    turn(bench)
    assert [text is not None for text in bench.guidance] == [True] + [False] * 11
    rows = status(bench)
    assert "followed 1, not followed 0, not to be told 0" in rows["panel"] and "said before" in rows["panel"]


def test_only_what_is_new_of_a_counsel_goes_out(tmp_path: Path) -> None:
    both = [judged("note", "mind the lock file"), judged("note", "Mind the lock file!", "run the linter")]
    bench = CounselWorld(tmp_path, [*looks(1), "done"], JUDGED, script={"fake:judge": both})
    turn(bench)
    assert "lock file" not in (bench.guidance[1] or "") and "run the linter" in (bench.guidance[1] or "")
    assert bench.records[1]["points"] == ["run the linter"]


@pytest.mark.parametrize("how", ["undo", "compact", "fork", "reopened"])
def test_what_is_no_longer_in_force_is_given_again(tmp_path: Path, how: str) -> None:
    bench = CounselWorld(tmp_path, ["first", "second"], JUDGED, script={"fake:judge": judged("note")})
    turn(bench)
    session = bench.live
    assert len(session.guidance()) == 1
    if how == "undo":
        session.rewind(session.turns()[-1].before, reason="undone")
    elif how == "compact":
        session.compact(user("the summary", synthetic="summary"), words=(), keep_from=None)
    else:
        name = session.copy() if how == "fork" else session.id
        session.close()
        session = Session.open(tmp_path / "state" / "sessions", name)
        if how == "fork":
            session.rewind(session.turns()[-1].before, reason="forked")
    session.close()
    again = CounselWorld(tmp_path, ["second"], JUDGED, script={"fake:judge": judged("note")}, session=session.id)
    turn(again)
    given = [text for text in again.guidance if text is not None]
    assert len(given) == (0 if how == "reopened" else 1), "in force is what the session says"


def test_members_and_aggregator_are_told_what_is_in_force(tmp_path: Path) -> None:
    steps = [judged("note", f"point {n}: " + " ".join(f"w{n}x{k}" for k in range(30))) for n in range(12)]
    bench = CounselWorld(tmp_path, [*looks(11), "done"], JUDGED, script={"fake:judge": steps})
    turn(bench)
    first, *_, last = (request.tail or "" for request in bench.to("one"))
    assert "has been told already" not in first and "NOTHING" in first
    told = last.split("```")[1]
    assert "point 10" in told and "point 0:" not in told, "the newest, in so much room as there is"
    assert estimate_tokens(told) <= IN_FORCE_TOKENS + 2
    assert "point 10" in (bench.to("judge")[-1].tail or "") and "point 0:" in (bench.to("judge")[-1].tail or "")
    assert all("point 0" not in str(request.messages) for request in (*bench.to("one"), *bench.to("judge")))


@pytest.mark.parametrize(("bound", "window"), [(1_000, None), (8_000, 10_000), (0, 10_000)])
def test_the_bound_of_what_is_in_force(tmp_path: Path, bound: int, window: int | None) -> None:
    """It holds, the user is told once, and beyond it members are asked for blockers: nobody pays for what is then withheld."""
    long = [judged("note", *(" ".join(f"s{n}p{p}w{k}" for k in range(24)) for p in range(6))) for n in range(12)]

    def member(request: Request) -> Line:
        return "NOTHING" if "answer NOTHING" in (request.tail or "") else "NOTE\nlook here"

    bench = CounselWorld(
        tmp_path,
        [*looks(11), "done"],
        f"guidance_tokens = {bound}\n{JUDGED}",
        script={"fake:judge": long, "fake:one": member, "fake:two": member},
    )
    bench.client.known = ModelFacts(context_window=window)
    turn(bench)
    notes = [text for text in bench.guidance if text is not None]
    tokens = sum(estimate_tokens(OPEN + text + CLOSE) for text in notes)
    told = [notice for notice in bench.all(Notice) if notice.code == "guidance_full"]
    if bound:
        assert 700 < tokens <= 1_000 and len(told) == 1
        assert {data["withheld"] for data in bench.records if not data["guidance"]} == {"silent"}
        assert len(bench.to("judge")) == len(notes), "what is not delivered is not compared either"
    else:
        assert len(notes) == 12 and not told
    assert all(estimate_tokens(OPEN + text + CLOSE) <= 300 for text in notes)


def test_beyond_the_bound_a_blocker_still_goes_out(tmp_path: Path) -> None:
    spoken = ["NOTE\n" + " ".join(f"n{n}w{k}" for k in range(120)) for n in range(3)]
    bench = CounselWorld(
        tmp_path,
        [*looks(3), "done"],
        f"guidance_tokens = 400\n{RAW}",
        script={"fake:one": [*spoken, "BLOCKER\nThis drops the table."], "fake:two": "NOTHING"},
    )
    turn(bench)
    assert [data["withheld"] for data in bench.records] == [None, "severity", "severity", None]
    assert "drops the table" in (bench.guidance[3] or "")
    bench = CounselWorld(
        tmp_path / "2",
        [*looks(12), "done"],
        f"guidance_tokens = 400\n{JUDGED}",
        script={
            "fake:one": says("note"),
            "fake:two": says("concern"),
            "fake:judge": judged("note", *(" ".join(f"p{p}w{k}" for k in range(30)) for p in range(6))),
        },
    )
    turn(bench)
    assert len(bench.to("judge")) == 1, "who can't keep silent is not compared, and asked less and less"
    assert [data["iteration"] for data in bench.records] == [1, 2, 3, 4, 5, 6, 8, 12]


@pytest.mark.parametrize(
    ("head", "one", "stands"),
    [
        ("", "NOTHING", True),
        ("", "NOTE\na new point", False),
        ('severity = "concern"\n', "NOTE\na new point", True),
        ("", "NOTE\nthe first word", True),
        ("", FAILED, True),
    ],
)
def test_a_held_back_draft_stands_where_no_guidance_is_sent(tmp_path: Path, head: str, one: Any, stands: bool) -> None:
    writing = calls(("write", {"path": "a.txt", "content": "x"}))
    first = "CONCERN\nthe first word" if "severity" in head else "NOTE\nthe first word"
    bench = CounselWorld(
        tmp_path,
        [writing, "my draft", "the end"],
        f'{head}{RAW}cadence = "signal"\n',
        script={
            "fake:one": [first, one],
            "fake:two": "NOTHING" if not isinstance(one, Exception) else ["NOTHING", one],
        },
    )
    turn(bench)
    assert bool(bench.all(DraftSuperseded)) is not stands
    assert bench.events[-1].text == ("my draft" if stands else "the end")  # type: ignore[union-attr]
    assert bench.records[-1]["trigger"] == "before_stop"
    assert (bench.records[-1]["withheld"] is not None) is stands


def test_consult_reports_silence_as_its_result(tmp_path: Path) -> None:
    ask = calls(("consult", {"question": "Is that right?"}))

    def heard(script: Mapping[str, Any], folder: Path) -> tuple[Sequence[Any], CounselWorld]:
        bench = CounselWorld(folder, [ask, "done"], f'{RAW}severity = "blocker"\n', script=script, options={})
        bench.moa.tool_mode = "offer"
        turn(bench)
        return [m.text for m in bench.history if m.role == "tool"], bench

    results, bench = heard({"fake:one": "NOTHING", "fake:two": "No objections."}, tmp_path / "a")
    assert results == ["The panel has nothing to add."]
    assert (bench.records[0]["withheld"], bench.records[0]["guidance"]) == ("silent", None)
    results, bench = heard({"fake:one": "NOTE\nmind the lock file", "fake:two": "NOTHING"}, tmp_path / "b")
    assert "mind the lock file" in results[0] and bench.records[0]["withheld"] is None, (
        "asked for, so no severity holds"
    )


def test_status_counts_who_spoke_and_who_was_alone(tmp_path: Path) -> None:
    found = json.dumps(
        {
            "unique_insights": [{"model": "Answer A", "insight": "line seven is odd"}],
            "severity": "note",
            "next_steps": ["Edit b.py"],
        }
    )
    bench = CounselWorld(
        tmp_path,
        [*looks(7), "done"],
        JUDGED,
        script={
            "fake:one": [says("note"), says("note"), "NOTHING"],
            "fake:two": ["NOTE\nx y z", FAILED, "NOTHING"],
            "fake:judge": found,
        },
    )
    turn(bench)
    rows = status(bench)
    assert "spoke 2, silent 5" in rows["member 1"] and "silent in the last 6 steps" in rows["member 1"]
    assert "spoke 1, silent 5, failed 1" in rows["member 2"]
    assert ("alone with a point 1" in rows["member 1"]) != ("alone with a point 1" in rows["member 2"])
    assert (
        "7 counsels, 2 sent" in rows["panel"]
        and "not followed 1" in rows["panel"]
        and "nothing to add 5" in rows["panel"]
    )


def test_members_of_the_main_models_family_are_not_asked_even_where_it_became_so(tmp_path: Path) -> None:
    """At arming it is an error (test_quote); the main model may change afterwards."""
    bench = CounselWorld(tmp_path, ["done", "done"], f'family = "other"\n{RAW}')
    turn(bench)
    (told,) = [notice.text for notice in bench.all(Notice) if notice.code == "family_unknown"]
    assert "fake:main" in told and "fake:one" in told
    bench.host.agent.model = ModelRef("fake", "one")
    bench.client.script["fake:one"] = ["done"]
    turn(bench)
    assert len(bench.to("two")) == 2 and "1 one" in bench.all(Notice)[-1].text
    assert bench.records[-1]["asked"] == 1


@pytest.mark.parametrize(
    ("step", "calls", "outcome"),
    [
        ("`clock` first, then answer", [("clock", "{}")], True),
        ("Clock the run before you change it", [("read", "{}")], None),
        ("Run `grep` for the old name", [("read", "{}")], False),
        ("Read src/a.py again", [("read", '{"path": "src/a.py"}')], True),
    ],
)
def test_a_step_may_name_a_tool_that_nobody_here_has_heard_of(
    step: str, calls: list[tuple[str, str]], outcome: bool | None
) -> None:
    assert followed([step], calls, frozenset({"read", "grep"})) is outcome
