"""`moa bench`: suites, arms, runs that are stopped and gone on with, and their reports. No network: stored answers are the endpoint."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.errors import UsageError
from moa.bench import runs, scorers, stored, suites
from moa.bench.arms import Result
from moa.bench.page import page
from moa.bench.plot import drawn, front, of
from moa.bench.report import report
from moa.cli.main import main
from tests.support.waiting import wait_until

SAMPLE = Path(__file__).parents[2] / "data" / "votes"
PANEL = ("gemma-2-2b-it", "command-r", "Mixtral-8x7B-Instruct-v0.1", "Yi-1.5-9B-Chat", "gpt-3.5-turbo-0125")
ARMS = "solo,best,vote"
SOME = list(stored.rows(SAMPLE, "zeroeval/gsm_questions.jsonl"))[:8]

Moa = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def moa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Moa]:
    """The command with folders of its own, an endpoint of stored answers, and a panel that votes; gives exit code and JSON."""
    for kind in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"MOA_{kind}_DIR", str(tmp_path / kind.lower()))
    monkeypatch.setenv(stored.DATA_ENV, str(SAMPLE))
    (tmp_path / "config" / "presets").mkdir(parents=True)

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main(["bench", *words, "--output-format", "json"])
        out = capsys.readouterr().out
        return code, json.loads(out)

    answers = tmp_path / "answers.jsonl"
    assert run("replay", "gsm8k", "--out", str(answers))[1]["models"] == 5
    price = "".join(
        f'[endpoints.replay.models."{model}"]\nprice = {{ prompt = 1, completion = 2 }}\n' for model in PANEL
    )
    (tmp_path / "config" / "config.toml").write_text(
        f'[endpoints.replay]\ndialect = "replay"\nanswers = "{answers}"\n{price}'
    )
    members = "".join(f'[[references]]\nmodel = "replay:{model}"\n' for model in PANEL)
    (tmp_path / "config" / "presets" / "five.toml").write_text(
        f'aggregate = "vote"\nmain = "replay:{PANEL[4]}"\n{members}'
    )
    yield run


def test_a_run_says_what_the_stored_answers_say(moa: Moa, tmp_path: Path) -> None:
    code, found = moa("run", "gsm8k", "--preset", "five", "--arms", ARMS, "--yes")
    assert code == 0 and found["schema"] == 1 and found["simulated"]
    data = stored.load("gsm8k", SAMPLE)
    truths = dict(zip(data.asked(PANEL), data.truths(PANEL), strict=True))
    arms = {arm["name"]: arm for arm in found["arms"]}
    for model in PANEL:
        right = sum(data.vote(model, item) == truth for item, truth in truths.items())
        assert arms[f"solo:replay:{model}"]["score"] == pytest.approx(right / 30)
    assert found["best"] == max(arms[f"solo:replay:{model}"]["score"] for model in PANEL)
    assert found["oracle"] >= found["vote"] == arms["vote"]["score"]
    for pair in found["pairs"]:
        cells = pair["right_right"], pair["right_wrong"], pair["wrong_right"], pair["wrong_wrong"]
        assert sum(cells) == 30 and pair["delta"] == pytest.approx((cells[2] - cells[1]) / 30)
    assert arms["vote"]["calls"] == 150 and arms["vote"]["cost"]["usd"] > arms["solo"]["cost"]["usd"] > 0

    # Every figure can be traced to the ledger: an arm's lines name its calls, and what those cost is what the report says.
    from agent.admin.sessions import configuration, ledger

    books = ledger(configuration())
    rows = {row.id: row for row in books.calls(session=f"bench-{found['id']}")}
    books.close()
    path = tmp_path / "state" / "bench" / found["id"] / "items.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    named = {name: [rows.pop(id) for line in lines if line["arm"] == name for id in line["calls"]] for name in arms}
    assert not rows, "no call that no line names"
    for name, arm in arms.items():
        assert arm["calls"] == len(named[name])
        assert arm["cost"]["usd"] == pytest.approx(sum(row.cost_nano or 0 for row in named[name]) / 1e9)
        assert arm["tokens"] == sum((row.prompt_tokens or 0) + (row.completion_tokens or 0) for row in named[name])

    assert moa("show", found["id"])[1] == moa("show")[1] == found, "without a name it is the newest"
    (listed,) = moa("list")[1]["runs"]
    assert (listed["id"], listed["results"], listed["of"]) == (found["id"], len(lines), 30 * len(arms))
    target = tmp_path / "report.html"
    moa("report", found["id"], "--html", str(target))
    shown = target.read_text()
    assert "<svg" in shown and all(name in shown for name in (*arms, *PANEL)) and f"bench-{found['id']}" in shown
    assert all(
        f"<td>{100 * arm['score']:.1f} %</td>" in shown and f"<td>{arm['tokens']:,}</td>" in shown
        for arm in arms.values()
    )
    card = moa("card", found["id"])[1]
    assert card["report"]["digest"] == found["digest"] and "aggregate" in card["preset"]["text"]
    assert set(card["served"]) == set(PANEL)


def test_a_card_is_a_file_that_another_person_runs_again(
    moa: Moa, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [{"id": n, "prompt": question["question"], "expected": "1"} for n, question in enumerate(SOME)]
    path.write_text("\n".join(map(json.dumps, rows)))
    words = ("--preset", "five", "--arms", ARMS, "--limit", "5", "--seed", "3", "--yes")
    first = [moa("run", suite, *words)[1] for suite in ("gsm8k", str(path))]
    cards = []
    for found in first:
        capsys.readouterr()
        assert main(["bench", "card", found["id"]]) == 0
        cards.append(tmp_path / f"{found['id']}.json")
        cards[-1].write_text(capsys.readouterr().out)
        assert str(tmp_path) not in cards[-1].read_text(), "no path of this machine"
    (tmp_path / "config" / "presets" / "five.toml").unlink()
    again = [moa("run", "--card", str(cards[0]), "--yes"), moa("run", str(path), "--card", str(cards[1]), "--yes")]
    for before, (code, after) in zip(first, again, strict=True):
        assert code == 0 and {**after, "id": "", "card": None, "date": before["date"]} == {**before, "id": ""}
        assert [arm["score"] for arm in after["card"]["arms"]] == [arm["score"] for arm in before["arms"]]
        capsys.readouterr()
        main(["bench", "show", after["id"]])
        assert f"The same items as in run {before['id']}" in capsys.readouterr().out
    path.write_text(json.dumps(rows[0]))
    for words, said in (
        (("run", str(path), "--card", str(cards[1])), "not those of the card"),
        (("run", "--card", str(cards[0]), "--arms", "solo,vote"), "--arms is what a card says"),
        (("run", "--card", str(path)), "is not a card"),
    ):
        assert main(["bench", *words]) == 2
        assert said in capsys.readouterr().err


def test_a_run_that_was_killed_anywhere_ends_as_if_it_had_not(moa: Moa, tmp_path: Path) -> None:
    """Cut at any byte, as a kill leaves it: gone on with, it has each item once and the same report to the last digit."""
    _, whole = moa("run", "gsm8k", "--preset", "five", "--arms", ARMS, "--yes", "--limit", "5")
    folder = tmp_path / "state" / "bench" / whole["id"]
    kept = (folder / "items.jsonl").read_bytes()
    chance = random.Random(5)
    for cut in (0, 1, len(kept) - 1, *(chance.randrange(len(kept)) for _ in range(2))):
        (folder / "items.jsonl").write_bytes(kept[:cut])
        code, again = moa("run", "--resume", whole["id"])
        assert code == 0 and again == whole
        lines = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
        pairs = [(line["item"], line["arm"]) for line in lines]
        assert len(pairs) == len(set(pairs)) == 5 * 7
    (folder / "items.jsonl").write_bytes(kept[: len(kept) // 2])
    same = ("run", "gsm8k", "--preset", "five", "--arms", ARMS, "--yes", "--go-on", "--limit")
    assert moa(*same, "5")[1] == whole, "the same command goes on with it"
    assert moa(*same, "4")[1]["id"] != whole["id"]


@pytest.mark.slow
def test_answers_that_are_told_together_are_those_of_single_calls(moa: Moa) -> None:
    """Under a cap each is a call of its own."""
    _, together = moa("run", "gsm8k", "--preset", "five", "--arms", ARMS, "--yes")
    _, single = moa("run", "gsm8k", "--preset", "five", "--arms", ARMS, "--yes", "--budget", "1000")
    assert {**together, "id": ""} == {**single, "id": ""}


@pytest.mark.slow
def test_a_real_kill_is_gone_on_with(moa: Moa, tmp_path: Path) -> None:
    _, whole = moa("run", "gsm8k", "--preset", "five", "--arms", ARMS, "--yes")
    words = [sys.executable, "-m", "moa", "bench", "run", "gsm8k", "--preset", "five", "--arms", ARMS, "--yes"]
    child = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=dict(os.environ))
    assert child.stderr is not None
    name = next(line for line in child.stderr if "run " in line and "--resume" in line).split("run ")[1].split(":")[0]
    items = tmp_path / "state" / "bench" / name / "items.jsonl"
    wait_until(lambda: items.exists() or child.poll() is not None)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stderr.close()
    code, again = moa("run", "--resume", name)
    assert code == 0 and {**again, "id": ""} == {**whole, "id": ""}


def test_a_budget_ends_a_run_with_pairs_and_a_bigger_one_goes_on(moa: Moa) -> None:
    _, all_of_it = moa("run", "gsm8k", "--preset", "five", "--arms", "solo,best", "--yes")
    half = sum(arm["cost"]["usd"] for arm in all_of_it["arms"]) / 2
    code, part = moa("run", "gsm8k", "--preset", "five", "--arms", "solo,best", "--yes", "--budget", f"{half:.6f}")
    done = {arm["name"]: arm["n"] for arm in part["arms"]}
    assert code == 3 and 0 < done["solo"] < 30
    spent = sum(arm["cost"]["usd"] for arm in part["arms"])
    assert spent <= half
    code, whole = moa("run", "--resume", part["id"])
    assert code == 0 and {arm["n"] for arm in whole["arms"]} == {30}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "nonsense"), "no suite 'nonsense'"),
        (("run", "gsm8k", "--arms", "vote"), "--preset"),
        (("run", "gsm8k", "--preset", "five", "--arms", "self:1"), "no arm 'self:1'"),
        (("run", "gsm8k", "--arms", "solo:x"), "solo:ENDPOINT:MODEL"),
        (("run", "gsm8k", "--preset", "five"), "--yes"),
        (("run", "gsm8k", "--preset", "five", "--arms", "fuse", "--yes"), "stored answers"),
        (("pilot", "gsm8k", "--preset", "five", "--yes"), "stored answers"),
        (("run", "mmlu-pro"), "holds no mmlu_pro"),
        (("show", "../x"), "no bench run"),
        (("card",), "no bench run so far"),
    ],
)
def test_what_is_wrong_is_said(
    moa: Moa, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capsys.readouterr()
    assert main(["bench", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err + captured.out


def test_ones_own_items(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [
        {"id": 1, "prompt": "2 + 2?", "expected": 4},
        {"id": "b", "prompt": "Say hi.", "expected": "^hi", "scorer": "regex"},
        {"id": "c", "prompt": "Say x.", "expected": "x", "scorer": "exact"},
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    suite = suites.load(str(path))
    texts = ("So it is\nAnswer: 4.0", "hi there", " x\n")
    assert [scorers.score(t, i.expected, i.scorer) for t, i in zip(texts, suite.items, strict=True)] == [1.0, 1.0, 1.0]
    assert "Answer:" in suite.items[0].request and "Answer:" not in suite.items[1].request
    for bad in (
        {"id": 1, "prompt": "x"},
        {"id": 1, "prompt": "x", "expected": "(", "scorer": "regex"},
        {**rows[0], "scorer": "z"},
    ):
        path.write_text(json.dumps(bad))
        with pytest.raises(UsageError, match="item 1"):
            suites.load(str(path))


def test_failed_items_are_counted_apart_and_never_dropped(tmp_path: Path) -> None:
    asked = {"arms": ["solo", "x"], "items": ["1", "2"], "seed": 1, "suite": "s", "digest": "d", "date": "2026-11-26"}
    run = runs.begin(tmp_path, asked)
    for arm, item, status, score in (
        ("solo", "1", "done", 1.0),
        ("solo", "2", "refused", 0.0),
        ("x", "2", "failed", 0.0),
        ("x", "1", "done", 1.0),
    ):
        run.add(Result(item, arm, status, score=score, unknown=int(arm == "x")))  # type: ignore[arg-type]
    run.close()
    found = report(run)
    solo, other = found["arms"]
    assert (solo["n"], solo["refused"], other["failed"]) == (2, 1, 1) and solo["score"] == other["score"] == 0.5
    assert other["cost"]["lower_bound"] and "unknown: x" in page(found)
    # And apart from each other on the page: of the second arm one has failed, of the first one was refused.
    assert "<td>1</td><td>unknown</td>" in page(found) and "<td>0, 1 refused</td>" in page(found)


def test_the_front_is_what_nothing_beats() -> None:
    assert front([(1, 0.5), (2, 0.4), (3, 0.9), (1, 0.5), (0.5, 0.1)]) == [0, 2, 3, 4]


def test_the_plot_in_characters() -> None:
    def arm(
        name: str, score: float, usd: float, n: int = 10, *, lower: bool = False, tokens: int = 0
    ) -> dict[str, Any]:
        return {"name": name, "score": score, "n": n, "cost": {"usd": usd, "lower_bound": lower}, "tokens": tokens}

    found = of([arm("solo", 0.5, 1), arm("vote", 0.9, 4), arm("fuse", 0.7, 4), arm("odd", 0.9, 1, lower=True)])
    shown = drawn(found, width=20, height=5).splitlines()
    assert [(point.name, point.best) for point in found.points] == [("solo", True), ("vote", True), ("fuse", False)]
    assert found.hidden == ("odd",) and found.unit == "cost"
    assert shown[0] == "90.0 % │                   B" and shown[2].endswith("c") and shown[4] == "50.0 % │     A"
    assert shown[6].endswith("$0.400 an item") and shown[-1] == "c  fuse: 70.0 %, $0.400"
    assert of([arm("solo", 0.5, 0, tokens=100), arm("vote", 0.6, 0, tokens=500)]).unit == "tokens"
    assert not of([arm("solo", 0.5, 0, n=0)]).points


def test_the_formula_of_draco() -> None:
    weights = {"a": 20, "b": 10, "bad": -15}
    assert scorers.draco(["a"], weights) == pytest.approx(100 * 20 / 30)
    assert scorers.draco(["a", "bad", "unknown"], weights) == pytest.approx(100 * 5 / 30)
    assert scorers.draco(["bad"], weights) == 0 and scorers.draco(["a", "b"], weights) == 100
    with pytest.raises(ValueError, match="positive"):
        scorers.draco([], {"a": -1})


@pytest.mark.slow
@pytest.mark.skipif(stored.DATA_ENV not in os.environ, reason=f"{stored.DATA_ENV} names no folder of stored answers")
def test_the_formula_gives_every_stored_score() -> None:
    folder = stored.data_folder()
    assert folder is not None
    weights = {
        row["id"]: {criterion["id"]: criterion["weight"] for criterion in stored.criteria(row["rubric"])}
        for row in stored.rows(folder, "draco/tasks.jsonl")
    }
    rows = list(stored.rows(folder, "draco/verdicts.jsonl"))
    scored = [row for row in rows if row["score"] is not None]
    assert len(rows) - len(scored) == 2
    for row in scored:
        assert scorers.draco(row["met"], weights[row["task_id"]]) == pytest.approx(row["score"], abs=1e-9)
