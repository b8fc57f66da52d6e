"""`/review`: the panel reads what git says has changed, and each finding is looked up in the files. Over real sockets, through the chat."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.chat.events import Refused, Shown
from agent.errors import UsageError
from agent.host import Options
from agent.ui.text import render
from moa.plugin import make
from moa.review import changes
from tests.support.chatbench import ChatBench
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script

BEFORE = "def area(w, h):\n    return w * h\n\n\ndef name():\n    return 'box'\n"
AFTER = "def area(w, h):\n    return w + h\n\n\ndef name():\n    return 'box'\n"
ONE = "geo.py:2: [blocker] `return w + h` adds instead of multiplying.\ngeo.py:40: [note] nothing is there."
TWO = "1. geo.py:1: [concern] `return w + h` is wrong.\n\nelsewhere.py:3: [note] unrelated."
COMPARED: dict[str, Any] = {
    "consensus": ["geo.py:1: [blocker] `return w + h` adds instead of multiplying."],
    "contradictions": [
        {
            "topic": "new.txt:1: [concern] `hello there` is not needed",
            "stances": [{"model": "Answer A", "stance": "it is"}, {"model": "Answer B", "stance": "it is not"}],
        }
    ],
    "partial_coverage": [],
    "unique_insights": [{"model": "Answer A", "insight": "geo.py:900: [note] too long a file"}],
    "blind_spots": ["no test covers area"],
    "next_steps": [],
    "severity": "blocker",
    "evidence": [],
}
PRESET = '[[references]]\nmodel = "fake:one"\n[[references]]\nmodel = "fake:two"\n'


def git(folder: Path, *words: str) -> None:
    options = (
        "-c",
        "user.name=n",
        "-c",
        "user.email=e@x",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "commit.gpgsign=false",
    )
    subprocess.run(["git", *options, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A repository with a commit, a change that is not committed, a new file, and one that nobody may read."""
    folder = tmp_path / "work"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "geo.py").write_text(BEFORE)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    (folder / "geo.py").write_text(AFTER)
    (folder / "new.txt").write_text("hello there\n")
    (folder / ".env").write_text("KEY=abc\n")
    return folder


def bench(folder: Path, endpoint: ScriptedEndpoint, preset: str = PRESET) -> ChatBench:
    text = f'model = "fake:main"\n[endpoints.fake]\nbase_url = "{endpoint.base_url}"\ndialect = "chat"\n[moa]\npreset = "p"\n'
    (folder / "config" / "presets").mkdir(parents=True, exist_ok=True)
    (folder / "config" / "presets" / "p.toml").write_text(preset)
    return ChatBench(
        folder, config=text, plugins={"moa": make}, scripted=False, options=Options(cwd=folder / "work", approve="ask")
    )


MODELS: dict[str, Behaviour] = {
    "one": Behaviour(steps=(Say(text=ONE, cost=0.001),)),
    "two": Behaviour(steps=(Say(text=TWO, cost=0.001),)),
    "main": Behaviour(steps=(Say(text="I see.", analysis=COMPARED, cost=0.004),)),
}


def test_the_panel_reads_the_change_and_the_findings_are_looked_up(tmp_path: Path, work: Path) -> None:
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        chat = bench(tmp_path, endpoint)
        chat.run("/review", "Mend the first one.")
        asked = json.dumps(endpoint.calls("one")[0].body)
        compared, answered = (call.body for call in endpoint.calls("main"))
    # What members read has the numbers of the new version; what may hold keys is not in it.
    assert "     2 +    return w + h" in asked and "       -    return w * h" in asked and "new.txt (new)" in asked
    assert "KEY=abc" not in asked and "NOTHING" not in asked and "geo.py (" not in asked
    assert "     2 +    return w + h" in json.dumps(compared)
    (record,) = chat.session.records("counsel")
    assert (record["task"], record["trigger"], record["answered"], record["guidance"]) == ("review", "review", 2, None)
    found = [
        (each["path"], each["line"], each["grade"], each["held"], each["verified"], each["reason"])
        for each in record["findings"]
    ]
    assert found == [
        ("geo.py", 2, "blocker", "agreed", True, "the answer said line 1"),
        ("new.txt", 1, "concern", "disputed", True, ""),
        ("geo.py", 900, "note", "alone", False, "the file has 6 lines"),
        ("", 0, "", "unseen", False, "it names no file and line"),
    ]
    shown = render(chat.view())
    assert "geo.py:2" in shown and "all agree" in shown and ".env" in shown and "not borne out" in shown
    # The findings stand in the conversation, so that the user can have some of them mended.
    told = answered["messages"][1]["content"]
    assert told.startswith("I had other models review the working tree") and "geo.py:2" in json.dumps(told)
    assert answered["messages"][-1]["content"].endswith("Mend the first one.")


def test_without_a_comparison_the_findings_are_those_of_the_answers(tmp_path: Path, work: Path) -> None:
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        chat = bench(tmp_path, endpoint, 'aggregate = "raw"\n' + PRESET)
        chat.run("/review @p geo.py", "/moa again", "/moa show")
        assert "hello there" not in json.dumps(endpoint.calls("one")[0].body) and not endpoint.calls("main")
    first, again = (data["findings"] for data in chat.session.records("counsel"))
    for findings in (first, again):
        held = [(each["path"], each["line"], each["held"], len(each["holders"]), each["verified"]) for each in findings]
        assert held == [
            ("geo.py", 2, "some", 2, True),
            ("elsewhere.py", 3, "alone", 1, False),
            ("geo.py", 40, "alone", 1, False),
        ]
    assert "Findings" in render(chat.all(Shown)[2].view)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/review nowhere", "neither a revision"),
        ("/review HEAD", ""),
        ("/review @nobody", "nobody"),
        ("/review HEAD..HEAD", "nothing to review"),
    ],
)
def test_what_can_not_be_reviewed_is_refused_before_anybody_is_asked(
    tmp_path: Path, work: Path, line: str, words: str
) -> None:
    with ScriptedEndpoint(Script(models=MODELS)) as endpoint:
        chat = bench(tmp_path, endpoint)
        chat.run(line)
        assert bool(endpoint.calls("one")) is (not words)
    refused = chat.all(Refused)
    assert not words or words in refused[0].message


def test_what_a_review_can_be_about(work: Path) -> None:
    git(work, "add", "geo.py")
    (work / "geo.py").write_text(BEFORE)
    assert [each.path for each in changes.read("staged", work).files] == ["geo.py"]
    assert [each.path for each in changes.read("", work).files] == [".env", "new.txt"]
    git(work, "commit", "-qm", "second")
    git(work, "branch", "other", "HEAD~1")
    (work / "geo.py").write_text("wholly\nother\n")
    ranged = changes.read("other..HEAD geo.py", work)
    (change,) = ranged.files
    assert (
        change.lines == tuple(AFTER.splitlines()) and 2 in change.touched
    )  # the version of the range, not that on the disk
    assert ranged.title == "other..HEAD, in geo.py"
    assert [each.path for each in changes.read("other...HEAD", work).files] == ["geo.py"]
    linked = work.parent / "linked"
    git(work, "worktree", "add", "-q", str(linked), "other")
    (linked / "geo.py").write_text("x\n")
    assert [each.path for each in changes.read("", linked).files] == ["geo.py"]


def test_a_repository_s_own_settings_run_nothing(tmp_path: Path, work: Path) -> None:
    mark = tmp_path / "ran"
    for key in ("diff.external", "core.fsmonitor", "filter.evil.clean", "diff.evil.textconv"):
        git(work, "config", key, f"touch {mark}; cat")
    (work / ".gitattributes").write_text("*.py filter=evil diff=evil\n")
    assert [each.path for each in changes.read("", work).files] == [".env", ".gitattributes", "geo.py", "new.txt"]
    assert not mark.exists()


def test_outside_of_a_repository_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in no git repository"):
        changes.read("", tmp_path)


def test_new_files_take_no_room_from_what_has_changed(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "a_data.txt").write_text("word\n" * 2_000)
    monkeypatch.setattr(changes, "MOST_TOKENS", 400)
    monkeypatch.setattr(changes, "MOST_FILES", 2)
    found = changes.read("", work)
    assert [each.path for each in found.files] == [".env", "geo.py"]
    left = dict(found.left_out)
    assert "larger than 400 tokens" in left["a_data.txt"] and "1 further new files" in left
