"""Files that people write: read by their byte order mark, or told of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.config import toml
from agent.config.edit import set_value
from agent.context.prompt import instructions
from agent.errors import UsageError
from agent.events import Notice
from agent.files.text_file import decode
from agent.host import Options
from agent.session.session import Session
from tests.support.chatbench import ChatBench

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]
MARKED_BE = [b"\xfe\xff" + "wörd = 1\n".encode("utf-16-be"), b"\0\0\xfe\xff" + "wörd = 1\n".encode("utf-32-be")]


@pytest.mark.parametrize("data", [*("wörd = 1\n".encode(name) for name in ENCODINGS), *MARKED_BE])
def test_a_mark_says_what_a_text_is(data: bytes) -> None:
    assert decode(data) == "wörd = 1\n"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_settings_are_read_and_written_back(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes('# mine\r\nmodel = "a:ü"\r\n'.encode(encoding))
    assert toml.load(file) == {"model": "a:ü"}
    set_value(file, ("ui", "theme"), "dark")
    assert file.read_text("utf-8").startswith('# mine\nmodel = "a:ü"\n')


@pytest.mark.parametrize("data", [b"model = \xfc", b"\xff\xfea", b"m\0o\0d\0"])
def test_what_is_no_text_is_told_by_name(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(data)
    with pytest.raises(UsageError, match=r"config\.toml"):
        toml.load(file)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_instructions_in_any_of_them_speak(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "AGENTS.md").write_bytes("Sprich über Reiher.\r\n".encode(encoding))
    (source,) = instructions(tmp_path)
    assert (source.text, source.problem) == ("Sprich über Reiher.", "")


def folder(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    path.symlink_to(path)


def nowhere(path: Path) -> None:
    path.symlink_to("not there")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def binary(path: Path) -> None:
    path.write_bytes(b"M\0a\0k\0e\0")


def latin(path: Path) -> None:
    path.write_bytes("Grüße".encode("latin-1"))


@pytest.mark.parametrize("make", [folder, loop, nowhere, pipe, binary, latin])
def test_instructions_that_cannot_be_read_are_told(tmp_path: Path, make: object) -> None:
    make(tmp_path / "AGENTS.md")  # type: ignore[operator]
    (source,) = instructions(tmp_path)
    assert source.problem


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\0" * 4096])
def test_an_empty_session_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "20260101-000000-abcd.jsonl").write_bytes(data)
    session = Session.open(tmp_path, "20260101-000000-abcd")
    assert any("empty" in notice for notice in session.notices)


def test_a_chat_tells_of_it_as_it_opens(tmp_path: Path) -> None:
    sessions = tmp_path / "state" / "sessions"
    sessions.mkdir(parents=True)
    (sessions / "20260101-000000-abcd.jsonl").touch()
    bench = ChatBench(tmp_path, options=Options(session="20260101-000000-abcd", cwd=tmp_path / "work"))
    bench.run("/cost")
    assert any(
        event.code == "session_damaged" and "empty" in event.text for event in bench.seen if isinstance(event, Notice)
    )
