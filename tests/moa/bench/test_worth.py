"""`moa worth` and `moa bench advise`: turns in which counsel was withheld by chance, and what is said of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moa.bench.own_work.advice import Seat, of_members, of_report
from moa.bench.own_work.worth import Outcome, judge, pairs
from moa.cli.main import main
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import endpoint_config, preset_text
from tests.support.script import Behaviour, Say, Script

Moa = Callable[..., dict[str, Any]]
ADVICE = "Look at notes.txt before you answer."


@pytest.fixture
def moa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Moa]:
    for kind in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"MOA_{kind}_DIR", str(tmp_path / kind.lower()))
    monkeypatch.chdir(tmp_path)

    def run(*words: str, worth: float = 0.5) -> dict[str, Any]:
        (tmp_path / "config" / "config.toml").write_text(
            endpoint_config(endpoint.base_url, model="fake:main") + f"[moa]\nworth = {worth}\n"
        )
        capsys.readouterr()
        code = main([*words, "--output-format", "json"])
        found = json.loads(capsys.readouterr().out)
        return {**found, "code": code}

    models = {"main": Behaviour(steps=(Say(text="So."),)), "m": Behaviour(steps=(Say(text=f"CONCERN\n{ADVICE}"),))}
    with ScriptedEndpoint(Script(models=models)) as endpoint:
        (tmp_path / "config" / "presets").mkdir(parents=True)
        (tmp_path / "config" / "presets" / "one.toml").write_text(preset_text(["fake:m"], aggregate="raw"))
        run.endpoint = endpoint  # type: ignore[attr-defined]
        yield run


@pytest.mark.slow
def test_a_turn_is_withheld_by_chance_and_what_came_of_it_is_kept(moa: Moa, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint: ScriptedEndpoint = moa.endpoint  # type: ignore[attr-defined]
    assert moa("worth")["worth"] == []
    for chance, withheld in ((0.9, None), (0.1, "worth")):
        monkeypatch.setattr(random.SystemRandom, "random", lambda _self, chance=chance: chance)
        (counsel,) = moa("run", "--preset", "one", "Hello.")["counsel"]
        assert counsel["withheld"] == withheld and counsel["answered"] == 1, "the panel was asked and paid either way"
        told = json.dumps(endpoint.calls("main")[-1].body)
        assert (ADVICE in told) == (withheld is None)
    (found,) = moa("worth")["worth"]
    assert found["turns"] == {"sent": 1, "withheld": 1} and found["work"] == "answers"
    assert found["sent"]["done"] == found["withheld"]["done"] == 1.0 and found["word"] == "not known yet"
    assert moa("bench", "advise")["advice"][0]["about"] == "one"
    assert moa("run", "Hello.", worth=0.9)["code"] == 2


def turn(withheld: bool, **more: Any) -> Outcome:
    return Outcome(
        "p", "changes", withheld, more.pop("status", "done"), more.pop("errors", 0), more.pop("calls", 3), **more
    )


@pytest.mark.parametrize(
    ("sent", "withheld", "better"),
    [
        ({"calls": 3}, {"calls": 3}, 0),
        ({"calls": 2}, {"calls": 3}, 1),
        ({"calls": 2, "errors": 1}, {"calls": 9}, -1),
        ({"status": "done"}, {"status": "failed", "calls": 1}, 1),
        ({"undone": True}, {"calls": 80, "errors": 9}, -1),
    ],
)
def test_which_turn_came_out_better(sent: dict[str, Any], withheld: dict[str, Any], better: int) -> None:
    assert pairs([turn(True, **withheld), turn(False, **sent)] * 2)[0] == better


def lives(count: int, effect: float, drift: float = 0.0, turns: int = 250, share: float = 0.2) -> dict[str, float]:
    """The share of each word that is said at any look, over many seeded lives; `effect` lowers the errors of turns with counsel, `drift`
    those of later turns."""
    chance = random.Random(f"{effect} {drift}")
    said = {"helps": 0, "harms": 0, "not known yet": 0}
    for _life in range(count):
        done = []
        for number in range(turns):
            withheld = chance.random() < share
            mean = 3.0 - drift * number / turns - (0 if withheld else effect)
            done.append(turn(withheld, errors=round(max(0.0, chance.gauss(mean, 1.5))), calls=chance.randrange(3, 9)))
        decided = pairs(done)
        helped = harmed = 0
        word = "not known yet"
        from moa.bench.pilot import SHOWN
        from moa.bench.stats.sequential import one_sided_e_value

        for each in decided:  # looked at after each pair
            helped, harmed = helped + (each > 0), harmed + (each < 0)
            if word == "not known yet" and one_sided_e_value(helped, harmed) >= SHOWN:
                word = "helps"
            elif word == "not known yet" and one_sided_e_value(harmed, helped) >= SHOWN:
                word = "harms"
        said[word] += 1
    return {word: number / count for word, number in said.items()}


@pytest.mark.parametrize("drift", [0.0, 2.0])
@pytest.mark.parametrize(("count", "most"), [(60, 0.1), pytest.param(2_000, 0.05, marks=pytest.mark.slow)])
def test_nothing_is_said_of_counsel_that_changes_nothing(count: int, most: float, drift: float) -> None:
    said = lives(count, 0.0, drift)
    assert said["helps"] <= most and said["harms"] <= most


@pytest.mark.parametrize(("count", "least"), [(40, 0.85), pytest.param(500, 0.93, marks=pytest.mark.slow)])
def test_an_effect_is_found(count: int, least: float) -> None:
    assert lives(count, 1.8)["helps"] >= least and lives(count, -1.8)["harms"] >= least


def test_what_is_said_of_each_kind_of_work() -> None:
    good = [turn(n % 3 == 0, errors=0 if n % 3 else 4) for n in range(90)]
    other = [Outcome("p", "answers", n % 2 == 0, "done", 0, 1) for n in range(20)]
    found = {each.work: each for each in judge([*good, *other])}
    assert found["changes"].word == "helps" and found["changes"].interval.lo > 0
    assert found["answers"].word == "not known yet" and found["answers"].same > 0


def test_advice_on_members_and_from_benches() -> None:
    seats = {
        ("p", "x:good"): Seat(asked=40, spoke=30, alone=3, usd=0.1),
        ("p", "x:mute"): Seat(asked=40, spoke=0),
        ("p", "x:lame"): Seat(asked=40, spoke=5, failed=20),
        ("p", "x:new"): Seat(asked=3),
    }
    assert {each.about: each.word for each in of_members(seats)} == {
        "x:good in p": "keep", "x:mute in p": "drop", "x:lame in p": "swap",
    }  # fmt: skip
    pair = {"arm": "fuse", "delta": 0.1, "ci95": [0.02, 0.2]}
    found = {"id": "1", "suite": "s", "preset": "p", "pairs": [pair]}
    assert [each.word for each in of_report(found)] == ["keep"]
    placebo = {"arm": "placebo:other", "delta": 0.12, "ci95": [0.02, 0.2]}
    assert [each.word for each in of_report({**found, "pairs": [pair, placebo]})] == ["not known yet"]
    assert [each.word for each in of_report({**found, "pairs": [{**pair, "ci95": [-0.3, -0.1]}]})] == ["leave it off"]
