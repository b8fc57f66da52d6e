"""Files that were damaged, joined, edited elsewhere or written by another version: read as far as they go, refused clearly, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.admin.sessions import session as shown
from agent.context.opening import Opening
from agent.errors import StateError, UsageError
from agent.llm.messages import Message, TextPart, ToolCallPart, assistant, system, tool_result, user
from agent.serialize import to_plain
from agent.session.index import latest, messages, search, summaries
from agent.session.session import Session


def written(folder: Path, *texts: str) -> tuple[Session, list[bytes]]:
    """A closed session of these texts, and its lines."""
    session = Session.create(folder)
    for number, text in enumerate(texts):
        session.add(user(text) if number % 2 == 0 else assistant(text))
    session.close()
    return session, session.path.read_bytes().splitlines(keepends=True)


def texts(folder: Path, session: Session) -> list[str]:
    """What is read of it; a list from outside has to agree."""
    opened = Session.open(folder, session.id)
    found = [message.text for message in opened.transcript()]
    assert [each["parts"][0]["text"] for each in messages(session.path)] == found
    return found


def line(number: int, parent: str | None, entry: dict[str, Any], **more: Any) -> bytes:
    envelope = {"v": 1, "id": f"e{number}", "parent": parent, "ts": 0.0, "entry": entry, **more}
    return json.dumps(envelope).encode() + b"\n"


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "message": to_plain(user(text))}


def test_line_ends_marks_and_zeros_of_other_systems(tmp_path: Path) -> None:
    session, lines = written(tmp_path, "one", "two", "three")
    session.path.write_bytes(
        b"\xef\xbb\xbf" + lines[0].replace(b"\n", b"\r\n") + b"\r\n" + lines[1] + b"\0\0\0" + lines[2]
    )
    assert texts(tmp_path, session) == ["one", "two", "three"]
    assert Session.open(tmp_path, session.id).notices == []


def test_zeros_where_the_power_failed_are_told_and_written_after(tmp_path: Path) -> None:
    session, lines = written(tmp_path, "one", "two")
    session.path.write_bytes(lines[0] + b"\0" * 500)
    opened = Session.open(tmp_path, session.id, claim=True)
    assert ["line 2" in notice for notice in opened.notices] == [True]
    opened.add(assistant("after"))
    opened.close()
    assert texts(tmp_path, session) == ["one", "after"]


def test_lines_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    session, lines = written(tmp_path, "one", "two", "three", "four")
    session.path.write_bytes(lines[2] + lines[0] + lines[3] + lines[1])
    assert texts(tmp_path, session) == ["one", "two", "three", "four"]
    assert "out of order" in Session.open(tmp_path, session.id).notices[0]


def test_lines_that_are_there_twice_count_once(tmp_path: Path) -> None:
    session, lines = written(tmp_path, "one", "two", "three")
    session.path.write_bytes(b"".join([*lines, *lines]))
    assert texts(tmp_path, session) == ["one", "two", "three"]


def test_two_machines_that_went_on_separately_are_both_kept(tmp_path: Path) -> None:
    session, lines = written(tmp_path, "one", "two")
    here = [line(3, "e2", said("here")), line(4, "e3", said("here, too"))]
    there = [line(3, "e2", said("there")), line(4, "e3", said("there, too"))]
    session.path.write_bytes(b"".join([*lines, *here, *there]))
    assert texts(tmp_path, session) == ["one", "two", "there", "there, too"]
    opened = Session.open(tmp_path, session.id, claim=True)
    opened.add(assistant("on"))
    opened.rewind(opened.parent_of_head(), reason="undo")
    opened.add(assistant("on, again"))
    opened.close()
    assert texts(tmp_path, session) == ["one", "two", "there", "there, too", "on, again"]
    assert "here, too" in session.path.read_text()


def test_a_ring_of_parents_ends(tmp_path: Path) -> None:
    path = tmp_path / "ring.jsonl"
    path.write_bytes(line(1, "e2", said("one")) + line(2, "e1", said("two")) + line(3, "e3", said("three")))
    assert [message.text for message in Session.open(tmp_path, "ring").history()] == ["one", "two", "three"]


def test_entries_of_another_version_are_passed_over_and_stay(tmp_path: Path) -> None:
    session, lines = written(tmp_path, "one", "two")
    session.path.write_bytes(lines[0] + line(7, "e1", {"type": "hologram", "data": [1]}) + lines[1])
    opened = Session.open(tmp_path, session.id, claim=True)
    opened.add(user("three"))
    opened.close()
    assert texts(tmp_path, session) == ["one", "two", "three"]
    assert "hologram" in session.path.read_text()
    assert b'"id": "e8"' in session.path.read_bytes()


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    session, lines = written(tmp_path, "one")
    session.path.write_bytes(newer := lines[0] + line(2, "e1", said("two"), v=2))
    for claim in (False, True):
        with pytest.raises(UsageError, match="newer version") as refused:
            Session.open(tmp_path, session.id, claim=claim)
        assert refused.value.kind == "session_version"
    assert session.path.read_bytes() == newer
    assert [each.id for each in summaries(tmp_path)] == [session.id]
    assert search(tmp_path, "one") == []


def test_a_hundred_damaged_lines_are_told_in_a_few(tmp_path: Path) -> None:
    session, lines = written(tmp_path, "one", "two")
    session.path.write_bytes(lines[0] + b"{broken\n" * 100 + lines[1])
    notices = Session.open(tmp_path, session.id).notices
    assert len(notices) == 4
    assert "97 more" in notices[-1]
    assert texts(tmp_path, session) == ["one", "two"]


ENTRIES: list[dict[str, Any]] = [
    {"type": 5},
    {"type": "message"},
    {"type": "message", "message": {"role": "king", "parts": []}},
    {**said("x"), "turn": [1], "tokens": "many"},
    {"type": "head"},
    {"type": "head", "to": ["e1"]},
    {"type": "head", "to": "e77"},
    {"type": "record", "kind": "counsel", "data": 7},
    {"type": "state", "name": "moa", "data": [1]},
    {"type": "side"},
    {"type": "origin"},
    {"type": "turn_finished"},
    {"type": "compaction", "message": 7, "words": 7},
]
NAMES = (b'"x9"', b'""', b'["e9"]', b'"e\xc2\xb2"', b'"e' + b"9" * 5000 + b'"')
ODD = [
    *(b"[]", b"7", b"null", b'"x"', b"{}", b"[" * 100_000, b'{"v": "1"}', b"\xff\xfe\x00{"),
    *(line(9, "e1", entry).strip() for entry in ENTRIES),
    *(line(9, "e1", said("x")).strip().replace(b'"e9"', name) for name in NAMES),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda data: repr(data[:60]))
def test_no_line_breaks_a_session(tmp_path: Path, odd: bytes) -> None:
    session, lines = written(tmp_path, "one", "two")
    session.path.write_bytes(lines[0] + odd + b"\n" + lines[1])
    opened = Session.open(tmp_path, session.id, claim=True)
    assert [message.text for message in opened.transcript()][0::2] == ["one"]
    assert opened.transcript()[-1].text in ("two", "x")
    opened.add(user("three"))
    opened.close()
    assert Session.open(tmp_path, session.id).transcript()[-1].text == "three"
    summaries(tmp_path)
    search(tmp_path, "two")


TOOL = {"name": "read", "description": "", "parameters": {}}
KEPT: list[tuple[str, Any]] = [
    *(("tools", {"list": value}) for value in ("abc", 5, None, [1], [{"name": "x"}], [{**TOOL, "parameters": "x"}])),
    *(("tools", value) for value in ([1], {}, "x")),
    *(("quirks", {"fake:m": value}) for value in ("abc", 5, [[1]], [{}])),
    ("aliases", {"fake:m": ["other"]}),
]


@pytest.mark.parametrize(("name", "data"), KEPT, ids=repr)
def test_what_was_kept_and_edited_is_left_out_and_told(tmp_path: Path, name: str, data: Any) -> None:
    session, lines = written(tmp_path, "one")
    good = {"tools": {"list": [TOOL]}, "quirks": {"fake:m": ["no_tools"]}, "aliases": {"fake:m": "m-1"}}[name]
    kept = [line(7 + at, "e1", {"type": "kept", "name": name, "data": each}) for at, each in enumerate((good, data))]
    session.path.write_bytes(b"".join([*lines, *kept]))
    opened = Session.open(tmp_path, session.id)
    assert opened.kept(name) == good and len(opened.notices) == 1 and "e8" in opened.notices[0]


@pytest.mark.parametrize(
    "told",
    [
        5,
        [1],
        {"refused": 5},
        {"refused": [{"a": 1}]},
        {"instructions": ["x"]},
        {"instructions": {"a": []}},
        {"date": 5},
    ],
    ids=repr,
)
def test_what_was_told_and_edited_is_told_anew(tmp_path: Path, told: Any) -> None:
    session, lines = written(tmp_path, "one")
    session.path.write_bytes(lines[0] + line(9, "e1", {**said("two"), "told": told}))
    opened = Session.open(tmp_path, session.id)
    assert opened.told() == {} and opened.transcript()[-1].text == "two"
    assert Opening(tmp_path).changes(opened.told() or {"date": ""}) is not None


@settings(max_examples=80, deadline=None)
@given(junk=st.binary(max_size=60), at=st.integers(0, 600))
def test_no_bytes_anywhere_break_a_session(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int) -> None:
    folder = tmp_path_factory.mktemp("s")
    session, lines = written(folder, "one", "two", "three")
    raw = b"".join(lines)
    session.path.write_bytes(raw[:at] + junk + raw[at:])
    opened = Session.open(folder, session.id, claim=True)
    before = [message.text for message in opened.transcript()]
    opened.add(user("more"))
    opened.close()
    assert [message.text for message in Session.open(folder, session.id).transcript()] == [*before, "more"]
    summaries(folder)


def test_a_folder_and_a_dead_link_among_the_sessions(tmp_path: Path) -> None:
    session, _ = written(tmp_path, "one")
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    assert {each.id for each in summaries(tmp_path)} == {session.id, "folder"}
    assert latest(tmp_path) in (session.id, "folder")
    with pytest.raises(StateError):
        Session.open(tmp_path, "folder")


def test_nobody_goes_on_in_a_file_that_a_link_leads_to(tmp_path: Path) -> None:
    session, lines = written(tmp_path / "elsewhere", "one")
    session.path.write_bytes(lines[0] + b"torn")
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions" / "linked.jsonl").symlink_to(session.path)
    assert [each.text for each in Session.open(tmp_path / "sessions", "linked").transcript()] == ["one"]
    with pytest.raises(StateError, match="it is a link"):
        Session.open(tmp_path / "sessions", "linked", claim=True)
    assert session.path.read_bytes() == lines[0] + b"torn"


@pytest.mark.slow
def test_a_result_of_a_hundred_megabytes(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    call = ToolCallPart(id="t", name="read", arguments="{}")
    session.add(assistant("", call))
    session.add(tool_result(call, "x" * 100_000_000))
    session.close()
    opened = Session.open(tmp_path, session.id)
    assert len(opened.history()[1].text) == 100_000_000
    assert len(search(tmp_path, "xxx")[0].excerpt) < 200


def test_results_stand_in_the_order_of_their_calls(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    calls = [ToolCallPart(id=f"t{n}", name="read", arguments="{}") for n in range(3)]
    session.add(system("s"))
    session.add(Message(role="assistant", parts=(TextPart(text="look"), *calls)))
    for number in (2, 0, 1):
        session.add(tool_result(calls[number], f"result {number}"))
    session.add(assistant("done"))
    session.close()
    for history in (session.history(), Session.open(tmp_path, session.id).history()):
        assert [message.text for message in history] == ["s", "look", "result 0", "result 1", "result 2", "done"]


def test_show_tells_of_damage(tmp_path: Path) -> None:
    from agent.config.config import load_config

    config = load_config({"MOA_CONFIG_DIR": str(tmp_path), "MOA_STATE_DIR": str(tmp_path), "HOME": str(tmp_path)})
    session, lines = written(tmp_path / "sessions", "one", "two")
    session.path.write_bytes(lines[0] + b"{\n" + lines[1])
    assert "line 2" in shown(config, session.id).data["notices"][0]
