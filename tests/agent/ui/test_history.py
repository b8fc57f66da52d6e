"""Earlier prompts: on disk, shared by processes, and walked through with ↑ and ↓."""

from __future__ import annotations

import json
import multiprocessing
import stat
from pathlib import Path

import pytest

from agent.ui.history import MAX_LENGTH, History, Recall


def loaded(path: Path, **options: int) -> list[str]:
    history = History(path, **options)
    history.load()
    return history.entries


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history"


def test_what_was_entered_is_there_the_next_time(path: Path) -> None:
    history = History(path)
    for text in ("one", "two\nlines with \u2028 and 漢字", "  ", "three "):
        history.add(text)
    assert history.entries == loaded(path) == ["one", "two\nlines with \u2028 and 漢字", "three"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_entry_stands_once_at_its_newest_place(path: Path) -> None:
    history = History(path)
    for text in ("a", "b", "a", "a"):
        history.add(text)
    assert history.entries == loaded(path) == ["b", "a"]
    assert len(path.read_text().splitlines()) == 3  # the repetition was not written


def test_keys_reach_neither_memory_nor_disk(path: Path) -> None:
    history = History(path, redact=lambda text: text.replace("sk-secret", "[key]"))
    history.add("use sk-secret please")
    assert history.entries == ["use [key] please"]
    assert "sk-secret" not in path.read_text()


@pytest.mark.parametrize("text", [" private", "x" * (MAX_LENGTH + 1)])
def test_what_stays_in_this_process(path: Path, text: str) -> None:
    history = History(path)
    history.add(text)
    assert history.entries == [text.strip()]
    assert loaded(path) == []


def test_a_file_that_grew_too_long_is_cut_back(path: Path) -> None:
    history = History(path, keep=5)
    for number in range(11):
        history.add(str(number))
    assert loaded(path, keep=5) == history.entries == ["6", "7", "8", "9", "10"]
    assert len(path.read_text().splitlines()) == 5
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["history"]


def test_damaged_lines_are_passed_over_and_a_torn_one_takes_nothing_with_it(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"text": "good"}\n[1]\n{"text": 5}\n\xff\xfe\n{"text": "torn')
    History(path).add("after")
    assert loaded(path) == ["good", "after"]


def test_a_disk_that_fails_loses_no_prompt(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = History(tmp_path / "file" / "history")
    history.load()
    history.add("still here")
    assert history.entries == ["still here"]


def _write_many(path: Path, name: str) -> None:
    history = History(path, keep=200)
    for number in range(100):
        history.add(f"{name} {number}")


def test_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(path, name)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    # 400 entries do not exceed twice 200, so nothing was cut.
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    assert sorted(texts) == sorted(f"{name} {number}" for name in "abcd" for number in range(100))
    assert loaded(path, keep=200) == texts[-200:]


def test_cutting_back_while_others_write_keeps_every_line_whole(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_few, args=(path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    assert len(set(texts)) == len(texts) >= 10
    for name in "abc":
        own = [int(text.split()[1]) for text in texts if text.startswith(name)]
        assert own == sorted(own)


def _write_few(path: Path, name: str) -> None:
    history = History(path, keep=10)
    for number in range(60):
        history.add(f"{name} {number}")


def test_search_gives_the_best_and_of_equals_the_newest(path: Path) -> None:
    history = History(path)
    for text in ("fix the parser", "explain the ledger", "fix the lexer"):
        history.remember(text)
    assert [text for text, _ in history.search("")] == ["fix the lexer", "explain the ledger", "fix the parser"]
    assert [text for text, _ in history.search("fix the", 1)] == ["fix the lexer"]
    assert [text for text, _ in history.search("ledger expl")] == ["explain the ledger"]


def test_the_walk_comes_back_to_what_was_being_typed(path: Path) -> None:
    history = History(path)
    history.remember("one")
    history.remember("two")
    recall = Recall(history)
    assert recall.newer("draft") is None
    assert recall.older("draft") == "two"
    assert recall.older("two, changed") == "one"
    assert recall.older("one") is None
    assert recall.newer("one") == "two, changed"
    assert recall.newer("two, changed") == "draft"
    assert recall.newer("draft") is None


def test_a_shell_line_walks_through_shell_lines(path: Path) -> None:
    history = History(path)
    for text in ("!ls", "a question", "!git status"):
        history.remember(text)
    recall = Recall(history)
    assert recall.older("!") == "!git status"
    assert recall.older("!git status") == "!ls"
    assert recall.older("!ls") is None
