"""A run's own files: what is written into them, for whom, and what of them is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.errors import StateError
from moa.bench import runs
from moa.bench.arms import Result

KEY = "sk-test-0123456789abcdef"
ASKED: dict[str, Any] = {
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
