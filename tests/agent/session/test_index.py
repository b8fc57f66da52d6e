"""Conversations from outside: the list and the search agree with what a session reads of itself."""

from __future__ import annotations

import os
from pathlib import Path

from agent.llm.messages import ToolCallPart, assistant, system, user
from agent.session.index import messages, search, summaries
from agent.session.session import Session


def make(folder: Path, *texts: str, changed: float) -> Session:
    session = Session.create(folder)
    session.add(system("the system prompt"))
    for number, text in enumerate(texts):
        session.add(user(text) if number % 2 == 0 else assistant(text))
    session.close()
    os.utime(session.path, (changed, changed))
    return session


def test_the_last_changed_comes_first(tmp_path: Path) -> None:
    old = make(tmp_path, "an old\n  question", "an answer", changed=1000)
    new = make(tmp_path, "a new question " * 40, changed=2000)
    found = summaries(tmp_path)
    assert [each.id for each in found] == [new.id, old.id]
    assert (found[1].first, found[1].messages, found[1].changed) == ("an old question", 3, 1000)
    assert len(found[0].first) == 200
    assert summaries(tmp_path, 1) == found[:1]
    assert summaries(tmp_path / "nowhere") == []


def test_only_the_path_counts_and_damage_is_passed_over(tmp_path: Path) -> None:
    session = make(tmp_path, "one", "two", changed=1)
    session = Session.open(tmp_path, session.id)
    session.rewind(session.parent_of_head(), reason="undo")
    session.add(assistant("better"))
    session.close()
    with session.path.open("ab") as file:
        file.write(b'{"v": 1, "id": "e9"')
    texts = [message["parts"][0]["text"] for message in messages(session.path)]
    assert texts == [message.text for message in Session.open(tmp_path, session.id).history()]
    assert texts[1:] == ["one", "better"]


def test_search_finds_what_was_said_and_called(tmp_path: Path) -> None:
    call = ToolCallPart(id="t", name="shell", arguments='{"command": "make Straße"}')
    session = make(tmp_path, "where is the " + "x" * 100 + " NEEDLE " + "y" * 100, "here", changed=1)
    session = Session.open(tmp_path, session.id)
    session.add(assistant("", call))
    session.close()
    (hit,) = search(tmp_path, "needle")
    assert (hit.session, hit.number, hit.role) == (session.id, 2, "user")
    assert hit.excerpt.startswith("…x") and "NEEDLE" in hit.excerpt and hit.excerpt.endswith("y…")
    assert [each.role for each in search(tmp_path, "MAKE stra")] == ["assistant"]
    assert search(tmp_path, "system prompt") == []
    assert len(search(tmp_path, "e", at_most=1)) == 1
