"""A run's own files: what is written into them, for whom, and what of them is read."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.errors import StateError, UsageError
from moa.bench import runs
from moa.bench.arms import Result
from moa.bench.page import page
from moa.bench.report import report

KEY = "sk-test-0123456789abcdef"
ASKED: dict[str, Any] = {
    "source": "s.jsonl",
    "data": None,
    "limit": None,
    "wanted": ["solo"],
    "preset": None,
    "model": None,
    "arms": ["solo", "x"],
    "items": ["1", "2"],
    "seed": 1,
    "suite": "s",
    "digest": "d",
    "date": "2026-11-26",
}


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_result_is_written_for_its_owner_alone_and_without_a_key(tmp_path: Path, open_umask: None) -> None:
    run = runs.begin(tmp_path / "bench", ASKED, redact=lambda text: text.replace(KEY, "[key]"))
    said = Result(
        "1",
        "solo",
        text=f"It is {KEY}. \ud800",
        error=KEY,
        votes=[KEY],
        given=[{"iteration": 1, "text": KEY, "steps": [KEY]}],
        made=[[1, "shell", f'{{"command": "echo {KEY}"}}']],
    )
    run.add(Result("2", "solo", text="Nothing."), said)
    run.close()
    path = run.folder / "items.jsonl"
    assert KEY.encode() not in path.read_bytes() and b"echo [key]" in path.read_bytes()
    assert [each.item for each in run.results()] == ["2", "1"]
    places = (tmp_path / "bench", run.folder, *run.folder.iterdir())
    assert {stat.S_IMODE(place.stat().st_mode) & 0o077 for place in places} == {0}


@pytest.mark.parametrize("link", [True, False])
def test_results_are_added_to_no_link_and_no_pipe(tmp_path: Path, link: bool) -> None:
    other = tmp_path / "other"
    other.write_text("whole\ntorn")
    run = runs.begin(tmp_path / "bench", ASKED)
    path = run.folder / "items.jsonl"
    path.symlink_to(other) if link else os.mkfifo(path)
    with pytest.raises(StateError, match=r"items\.jsonl: it is (a link|not a regular file)"):
        run.add(Result("1", "solo"))
    assert other.read_text() == "whole\ntorn"


LINES: dict[str, tuple[dict[str, Any], str]] = {
    "a list for an item": ({"item": ["x"]}, "item is not a text"),
    "no arm": ({"item": "1", "arm": None}, "arm is not a text"),
    "an arm missing": ({"item": "1", "score": 1.0}, "arm is missing"),
    "a text for a score": ({"score": "NaN"}, "score is not a number from 0 to 1"),
    "a score that no sum holds": ({"score": 1e308}, "score is not a number from 0 to 1"),
    "a time that no sum holds": ({"seconds": 1e308}, "seconds is not a number of seconds"),
    "a status of its own": ({"status": "<b>"}, "status is not one of done"),
    "a cost below nothing": ({"cost_nano": -1}, "cost_nano is not a count"),
    "true for a count": ({"tokens": True}, "tokens is not a count"),
    "a number for a model": ({"served": [1]}, "served is not a list of texts"),
    "a text for what was given": ({"given": ["x"]}, "given is not a list of what was given"),
    "a call of two": ({"made": [[1, "read"]]}, "made is not a list of calls"),
}


@pytest.mark.parametrize("row", LINES)
def test_a_line_that_no_run_writes_is_named(tmp_path: Path, row: str) -> None:
    edited, said = LINES[row]
    run = runs.begin(tmp_path, ASKED)
    run.add(Result("2", "x"))
    run.close()
    whole = edited if "missing" in said else {"item": "1", "arm": "x", **edited}
    with (run.folder / "items.jsonl").open("a") as file:
        file.write("no JSON\n" + json.dumps(whole) + "\n")
    with pytest.raises(UsageError, match=rf"items\.jsonl, line 3: {said}"):
        report(run)


@pytest.mark.parametrize("name", ["items.jsonl", "run.json"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_read_and_not_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    path = runs.begin(tmp_path, ASKED).folder / name
    path.unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.mkdir()
    with pytest.raises(UsageError, match=r"items\.jsonl can't be read: (it is|Is a)|there is no bench run"):
        report(runs.resume(tmp_path, path.parent.name))


@pytest.mark.parametrize(
    ("edited", "said"),
    [
        ({"arms": None}, "arms is not a list of different arms"),
        ({"arms": []}, "arms is not"),
        ({"items": "12"}, "items is not a list"),
        ({"seed": "<b>"}, "seed is not a whole number"),
        ({"suite": 1}, "suite is not a text"),
        ({"groups": ["1"]}, "groups is not"),
        ({"preset": {"name": "p"}}, "preset is not"),
        ({"judges": "m"}, "judges is not"),
        ({"card": {"id": "1"}}, "card is not a card"),
        ({"pilot": True, "arms": ["solo"]}, "a pilot has two arms"),
    ],
)
def test_what_no_run_was_asked_for_is_named_and_hides_no_other(
    tmp_path: Path, edited: dict[str, Any], said: str
) -> None:
    good, bad = runs.begin(tmp_path, ASKED), runs.begin(tmp_path, {**ASKED, **edited})
    with pytest.raises(UsageError, match=r"run\.json: " + said):
        runs.resume(tmp_path, bad.id)
    assert [each.id for each in runs.all_runs(tmp_path)] == [good.id]


def test_nothing_of_a_run_steers_its_page(tmp_path: Path) -> None:
    """A page is made from a report, which another version or another person may have written: nothing in it is trusted."""
    hostile = "<img src=x>\x1b]0;x\x07\x9b31m\u202e\u200f"
    run = runs.begin(
        tmp_path, {**ASKED, "suite": hostile, "digest": hostile, "date": hostile, "arms": ["solo", hostile]}
    )
    run.add(Result("1", "solo", served=[hostile]), Result("1", hostile, cost_nano=1), Result("2", "solo", unknown=1))
    run.close()
    found = report(run)
    found |= {"seed": hostile, "id": hostile, "preset": hostile}
    found["groups"] = [{"group": hostile, "items": 1, "scores": {"solo": 1.0, hostile: 0.0}}]
    found["judging"] = {
        "judges": [hostile],
        "passes": 1,
        "warnings": [hostile],
        "calls": 1,
        "cost": {"usd": 0, "lower_bound": False},
        "unverified": 1,
        "swayed": 1,
        "verdicts": 1,
        "soft": 1,
    }
    found["card"] = {"id": hostile, "date": hostile, "arms": [{"name": hostile, "score": 1.0, "ci95": [0.0, 1.0]}]}
    text = page(found)
    assert text.count("&lt;img src=x&gt;") > 12 and "<img" not in text
    assert re.search(r"[^\n -~\u00b7]", text) is None
