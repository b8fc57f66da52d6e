"""`moa replay` and `moa diff`: a counsel of a real conversation, judged anew without its panel, over real sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import moa
from agent.errors import UsageError
from agent.ledger.book import Ledger
from agent.session.index import files
from moa.cli import replays
from moa.cli.options import parse
from moa.counsel import points
from moa.counsel.record import CounselRecord
from moa.replay import comparing, runs
from tests.moa.test_fuse import PRESET, bench
from tests.support.chatbench import ChatBench
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import ANALYSIS, Behaviour, Say, Script

OTHER = {
    **ANALYSIS,
    "contradictions": [],
    "consensus": [*ANALYSIS["consensus"], "Begin with the notes, not with the code."],
    "unique_insights": [],
    "blind_spots": ["line seven is odd, says nobody"],
}
MODELS: dict[str, Behaviour] = {
    "one": Behaviour(steps=(Say(text="CONCERN\nBegin with the notes.", cost=0.001),)),
    "two": Behaviour(steps=(Say(text="CONCERN\nBegin with the code.", cost=0.002),)),
    "main": Behaviour(steps=(Say(text="Done.", analysis=ANALYSIS, cost=0.004),)),
    "judge": Behaviour(steps=(Say(analysis=OTHER, cost=0.008),)),
    "three": Behaviour(steps=(Say(text="BLOCKER\nNeither: stop.", cost=0.016),)),
}


def counselled(folder: Path, endpoint: ScriptedEndpoint, patch: pytest.MonkeyPatch, *lines: str) -> ChatBench:
    """A conversation with counsel, in folders that the command finds."""
    preset = f'[aggregator]\nmodel = "fake:main"\n{PRESET}'
    chat = bench(folder, endpoint, model=None, preset=preset, plugin={"preset": "p"})
    for name, value in chat.env.items():
        patch.setenv(name, value)
    chat.run(*lines)
    return chat


def replay(*words: str) -> dict[str, Any]:
    return replays.replay(parse(["replay", *words])).data


def test_a_counsel_is_judged_anew_without_its_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        chat = counselled(tmp_path, endpoint, monkeypatch, "What first?", "And then?")
        before = len(endpoint.calls("one")), len(endpoint.calls("two"))
        name = chat.session.id
        found = replay(f"{name}/1", "--aggregator", "fake:judge")
        asked = json.dumps(endpoint.calls("judge")[0].body)
        assert (len(endpoint.calls("one")), len(endpoint.calls("two"))) == before
        # The judge sees what the panel saw then, not what was said since.
        assert "What first?" in asked and "And then?" not in asked and "Begin with the notes." in asked
        again = replay(name, "--member", "2=fake:three")
        member = endpoint.calls("three")[0].body
        assert "And then?" in json.dumps(member) and len(endpoint.calls("one")) == before[0]
    assert found["counsel"]["cost"]["usd"] == pytest.approx(0.008)
    assert found["counsel"]["analysis"]["consensus"] == OTHER["consensus"]
    diff = found["diff"]
    # What was disputed is agreed now, and what one alone saw is a blind spot.
    assert sorted((each["before"], each["after"]) for each in diff["turned"]) == [
        ("Disputed", "Agreed"),
        ("Minority report, each raised by one member", "Blind spots"),
    ]
    assert not diff["won"] and len(diff["kept"]) == 3
    assert [each["claim"] for each in diff["lost"]] == ["Nobody asked who reads the notes."]
    assert [each["model_requested"] for each in again["counsel"]["members"]] == ["fake:one", "fake:three"]
    assert again["counsel"]["members"][1]["grade"] == "blocker"
    # A replay is a run itself: it can be judged anew, and compared.
    twice = runs.find(chat.chat.host.config, found["run"])
    assert twice.history and twice.data["analysis"]["consensus"] == OTHER["consensus"]
    compared = replays.diff(parse(["diff", found["run"], again["run"]])).data
    assert compared["a"]["aggregator"] == "judge" and compared["b"]["cost"]["usd"] == pytest.approx(0.016 + 0.004)
    calls = Ledger(tmp_path / "state" / "ledger.db").calls(session=name)
    assert sum(call.purpose == "aggregator" for call in calls) == 4


def test_what_programs_asked_is_judged_anew_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once, and one that is stopped: the library and `moa mcp serve` keep them in one way (`moa.alone`)."""
    with ScriptedEndpoint(Script(models=MODELS | {"stuck": Behaviour(steps=(Say(shape="hang"),))})) as endpoint:
        chat = counselled(tmp_path, endpoint, monkeypatch)
        (tmp_path / "config" / "presets" / "slow.toml").write_text(PRESET.replace("fake:two", "fake:stuck"))

        async def ask() -> list[moa.PanelAnswer]:
            async with moa.Panel("p", env=chat.env) as panel:
                found = await asyncio.gather(*(panel.ask(f"What of {it}?", context="It rains.") for it in "ab"))
            async with moa.Panel("slow", env=chat.env) as panel, panel.ask("And this?"):
                await asyncio.to_thread(endpoint.wait_for, lambda: endpoint.calls("stuck"))
            return found

        answers = asyncio.run(ask())
        before = len(endpoint.calls("one"))
        for it, answer in zip("ab", answers, strict=True):
            assert answer.run is not None and not answer.warnings
            found = replay(answer.run, "--aggregator", "fake:judge")
            asked = json.dumps(endpoint.calls("judge")[-1].body)
            assert f"What of {it}?" in asked and "It rains." in asked and found["counsel"]["analysis"]
        assert len(endpoint.calls("one")) == before
    config = chat.chat.host.config
    assert not list(files(config.paths.sessions))  # `moa -c` goes on with none of them
    kept = [runs.find(config, name).record for name in runs.kept_alone(config)]
    assert sorted(each.warnings for each in kept)[1:] == [(), ("stopped before its end",)], kept
    with pytest.raises(UsageError, match="matches 2 sessions"):
        runs.find(config, str(answers[0].run).rpartition("-")[0])


WRONG = (
    (["SESSION/9"], "has 2 counsels"),
    (["SESSION/x"], "names no run"),
    (["SESSION:nope/c1"], "there is no counsel"),
    (["replay-20200101-000000-abcd"], "there is no run"),
    (["SESSION", "--member", "7=fake:one"], "has no such slot"),
    (["SESSION", "--member", "2"], "is not SLOT=REF"),
    (["SESSION", "--aggregator", "judge"], "--aggregator"),
    (["SESSION", "--member", "1=nowhere:x"], "nowhere"),
)


def test_what_can_not_be_judged_anew_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        chat = counselled(tmp_path, endpoint, monkeypatch, "What first?", "And then?")
        for words, said in WRONG:
            with pytest.raises(UsageError, match=said):
                replay(*(word.replace("SESSION", chat.session.id) for word in words))


def test_points_are_held_against_each_other_by_their_words() -> None:
    def run(**analysis: Any) -> runs.Run:
        keys = ("consensus", "contradictions", "partial_coverage", "unique_insights", "blind_spots")
        empty: dict[str, Any] = {key: [] for key in keys}
        return runs.Run("r", "s", CounselRecord(analysis={**empty, **analysis}).plain())

    found = comparing.compare(
        run(consensus=["Write the test first, then the code", "Close the file"]),
        run(consensus=["Close the file"], blind_spots=["First write the test, then the code", "Nobody reads the log"]),
    )
    assert [point.claim for point in found.kept] == ["Close the file"] and not found.lost
    assert [(each.before, each.after) for each in found.turned] == [("Agreed", "Blind spots")]
    assert [point.claim for point in found.won] == ["Nobody reads the log"]


def test_raw_answers_are_compared_member_by_member() -> None:
    record = CounselRecord.read(
        {"members": [{"slot": "1", "text": "a b c"}, {"slot": "2", "text": "d", "grade": "nothing"}]}
    )
    assert [point.slot for point in points.of_record(record)] == ["1"]
