"""Names, copies, locks, and what is kept of side work that a kill cut short."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from agent.errors import StateError, UsageError
from agent.events import Record, SideFinished
from agent.llm.messages import assistant, user
from agent.session.file import SessionFile
from agent.session.index import find, summaries
from agent.session.session import Session

ANSWER = SideFinished(id="m1", outcome="answered", text="look twice")


def test_a_name_finds_its_session(tmp_path: Path) -> None:
    session, other = Session.create(tmp_path), Session.create(tmp_path)
    session.rename("Blue Heron")  # before anything was said: no file yet
    assert not session.path.exists()
    for each in (session, other):
        each.add(user("hi"))
    other.rename("Blue Whale")
    for name in ("blue heron", "BLUE H", session.id):
        assert find(tmp_path, name) == session.path
    with pytest.raises(UsageError, match="2 sessions"):
        find(tmp_path, "blue")
    other.rename("Orca")
    assert find(tmp_path, "blue") == session.path
    assert {each.id: each.name for each in summaries(tmp_path)} == {session.id: "Blue Heron", other.id: "Orca"}
    session.close()
    assert Session.open(tmp_path, "blue").name == "Blue Heron"


def test_a_copy_knows_where_it_comes_from(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    session.add(user("hi"))
    session.rename("plan")
    copy = Session.open(tmp_path, session.copy(), claim=True)
    assert (copy.origin, copy.name) == (session.id, "plan (fork)")
    copy.add(assistant("there"))
    again = Session.open(tmp_path, copy.copy())
    assert (again.origin, again.name) == (copy.id, "plan (fork) (fork)")
    assert [message.text for message in again.history()] == ["hi", "there"]
    assert [message.text for message in session.history()] == ["hi"]
    assert {each.id: each.origin for each in summaries(tmp_path)}[again.id] == copy.id
    assert list(tmp_path.glob("*.part")) == []


def test_a_second_one_is_told_at_once_and_may_read(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    session.add(user("hi"))
    with pytest.raises(UsageError, match="another process") as busy:
        Session.open(tmp_path, session.id, claim=True)
    assert busy.value.kind == "session_busy"
    assert [message.text for message in Session.open(tmp_path, session.id).history()] == ["hi"]
    session.close()
    Session.open(tmp_path, session.id, claim=True).close()


def test_one_that_is_just_being_closed_is_waited_for(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    session.add(user("hi"))
    closing = threading.Timer(0.05, session.close)
    closing.start()
    Session.open(tmp_path, session.id, claim=True).close()
    closing.join()


def test_what_was_written_is_synced_in_order_behind_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def slow(fd: int) -> None:
        fsync(fd)
        synced.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "fsync", slow)
    file = SessionFile(tmp_path / "s.jsonl")
    for number in range(50):
        file.append(b"%d\n" % number)
    file.sync()
    assert synced[-1] == file.path.stat().st_size
    file.append(b"last\n")
    file.close()
    assert synced[-1] == file.path.stat().st_size
    assert synced[1:] == sorted(synced[1:])  # the first is the folder's
    file.append(b"and on\n")
    file.close()


def test_a_disk_that_keeps_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session.create(tmp_path)
    session.add(user("hi"))
    session.sync()

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    session.add(assistant("there"))
    with pytest.raises(StateError, match="Input/output error"):
        session.sync()
    with pytest.raises(StateError):
        session.add(user("more"))
    session.close()


def test_an_answer_that_was_never_recorded_is_kept(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    session.add(user("hi"))
    session.add_side(ANSWER, turn="t1", iteration=1)
    session.close()
    killed = Session.open(tmp_path, session.id, claim=True)
    assert [side["text"] for side in killed.newly_unrecorded()] == ["look twice"]
    killed.add_side(ANSWER, turn="t2", iteration=1)
    killed.add_record(Record(kind="counsel", data={}), turn="t2", iteration=1)
    killed.note("turn_finished", turn="t2", status="done")
    for each in (killed, Session.open(tmp_path, session.id)):
        assert [side["text"] for side in each.unrecorded()] == ["look twice"]
        assert each.newly_unrecorded() == ()
    killed.close()
