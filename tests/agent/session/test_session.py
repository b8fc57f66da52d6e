"""The conversation on disk: nothing that was written is lost, whatever happens to the last line."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import UsageError
from agent.events import Record
from agent.llm.messages import Message, ReasoningPart, TextPart, ToolCallPart, assistant, system, tool_result, user
from agent.session.index import find, latest
from agent.session.session import Session

CALL = ToolCallPart(id="t1", name="read", arguments='{"path": "a\u2028b"}')


def reopened(session: Session) -> Session:
    session.close()
    return Session.open(session.path.parent, session.id)


def test_a_session_comes_back_as_it_was(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    thought = ReasoningPart(text="hm", extra={"signature": None, "data": "x"})
    messages = [
        system("s"),
        user("hi"),
        Message(role="assistant", parts=(thought, TextPart(text="ok"), CALL), origin="e:m", extra={"k": None}),
        tool_result(CALL, "text"),
        assistant("done"),
    ]
    for message in messages:
        session.add(message)
    session.add_record(Record(kind="counsel", data={"rung": "raw"}), turn="t", iteration=1)
    session.set_state("moa", {"armed": True})
    again = reopened(session)
    assert list(again.history()) == messages
    assert again.records("counsel") == [{"rung": "raw"}]
    assert again.get_state("moa") == {"armed": True}
    assert again.notices == []


def test_a_superseded_draft_leaves_the_path_and_stays_in_the_file(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    session.add(user("do it"))
    session.add(assistant("a draft"))
    session.rewind(session.parent_of_head(), reason="superseded")
    session.add(assistant("the answer"))
    again = reopened(session)
    assert [message.text for message in again.history()] == ["do it", "the answer"]
    assert "a draft" in again.path.read_text()


def test_records_and_state_are_off_the_message_path(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    session.add(user("one"))
    session.add_record(Record(kind="counsel", data={"guidance": "secret advice"}), turn="t", iteration=1)
    session.add(assistant("two"))
    assert [message.text for message in reopened(session).history()] == ["one", "two"]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=1, max_value=400), texts=st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_a_torn_last_line_costs_only_itself(
    tmp_path_factory: pytest.TempPathFactory, cut: int, texts: list[str]
) -> None:
    session = Session.create(tmp_path_factory.mktemp("s"))
    for text in texts:
        session.add(user(text))
    session.close()
    raw = session.path.read_bytes()
    kept = raw[: max(0, len(raw) - cut)]
    session.path.write_bytes(kept)
    whole = sum(1 for line in raw.splitlines(keepends=True) if raw.index(line) + len(line) - 1 <= len(kept))
    again = Session.open(session.path.parent, session.id)
    history = [message.text for message in again.history()]
    assert history == texts[: len(history)]
    assert len(history) >= whole - 1
    again.add(user("after"))
    assert [message.text for message in reopened(again).history()] == [*history, "after"]


def test_a_damaged_line_is_told_and_the_rest_is_kept(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    for text in ("one", "two", "three"):
        session.add(user(text))
    session.close()
    lines = session.path.read_bytes().splitlines(keepends=True)
    session.path.write_bytes(lines[0] + b'{"v": 1, "id"\n' + lines[2])
    again = Session.open(tmp_path, session.id)
    assert [message.text for message in again.history()] == ["one", "three"]
    assert len(again.notices) == 1
    assert "line 2" in again.notices[0]


def test_a_second_process_is_told(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    session.add(user("one"))
    other = Session.open(tmp_path, session.id)
    with pytest.raises(UsageError, match="open in another process"):
        other.add(user("two"))


def test_keys_never_reach_the_file(tmp_path: Path) -> None:
    session = Session.create(tmp_path, redact=lambda text: text.replace("sk-secret", "[key]"))
    session.add(user("my key is sk-secret"))
    assert "sk-secret" not in session.path.read_text()


def test_a_key_that_is_a_word_of_the_format_harms_no_session(tmp_path: Path) -> None:
    for word in ("text", "role", "message", "assistant", "reasoning"):
        session = Session.create(tmp_path, redact=partial(re.sub, word, "[key]"))
        session.add(user(f"say {word}"))
        session.add(assistant("said"))
        session.close()
        again = Session.open(tmp_path, session.id)
        assert again.notices == []
        assert [message.text for message in again.history()] == ["say [key]", "said"]


def test_a_key_with_quotes_is_found_in_texts_and_in_json_within_them(tmp_path: Path) -> None:
    from agent.text.secrets import redact, spellings

    key = 'sk-"quoted"\\slashed'
    session = Session.create(tmp_path, redact=lambda text: redact(text, spellings([key])))
    call = ToolCallPart(id="t1", name="write", arguments=json.dumps({"content": key}))
    session.add(user(f"my key is {key}"))
    session.add(assistant("", call))
    written = [json.loads(line)["entry"]["message"]["parts"][0] for line in session.path.read_text().splitlines()]
    assert written[0]["text"] == "my key is [key]"
    assert json.loads(written[1]["arguments"]) == {"content": "[key]"}


def test_half_a_character_harms_no_session(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    session.add(user("cut \ud83d here, \ud83d\ude00 not here"))
    session.close()
    again = Session.open(tmp_path, session.id)
    assert again.notices == []
    assert [message.text for message in again.history()] == ["cut \ufffd here, \U0001f600 not here"]


def test_sessions_are_found_by_the_beginning_of_their_id(tmp_path: Path) -> None:
    for name in ("20260101-a", "20260101-b", "20260202-c"):
        (tmp_path / f"{name}.jsonl").write_text("")
    assert find(tmp_path, "202602").stem == "20260202-c"
    with pytest.raises(UsageError, match="2 sessions"):
        find(tmp_path, "202601")
    with pytest.raises(UsageError, match="no session"):
        find(tmp_path, "../x")
    assert latest(tmp_path) is not None
    assert latest(tmp_path / "none") is None


def test_a_line_is_the_documented_envelope(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    session.add(user("one"))
    session.add(assistant("two"), call_id="c1")
    session.close()
    first, second = (json.loads(line) for line in session.path.read_text().splitlines())
    assert set(first) == {"v", "id", "parent", "ts", "entry"}
    assert first["parent"] is None
    assert second["parent"] == first["id"]
    assert second["entry"]["call_id"] == "c1"
