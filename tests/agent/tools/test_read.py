from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agent.tools.support import call, make_context, refused
from tests.support.effort import at_most


def test_lines_are_numbered_and_the_content_is_remembered(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"one\r\ntwo\nthree")
    context = make_context(tmp_path)
    assert call(context, "read", path="a.txt").text == "1\tone\n2\ttwo\n3\tthree"
    assert context.seen == {file: hashlib.sha256(file.read_bytes()).hexdigest()}


def test_a_window_says_where_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("".join(f"line {n}\n" for n in range(1, 5001)))
    context = make_context(tmp_path)
    assert call(context, "read", path="long.txt", offset=11, limit=2).text == (
        "11\tline 11\n12\tline 12\n(lines 11–12 of 5,000; next: offset=13)"
    )
    whole = call(context, "read", path="long.txt").text.splitlines()
    assert whole[-2:] == ["2000\tline 2000", "(lines 1–2000 of 5,000; next: offset=2001)"]
    assert refused(context, "read", path="long.txt", offset=6000) == "long.txt has 5,000 lines; there is no line 6000"


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(
        st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=9), max_size=30
    ),
    offset=st.integers(1, 40),
    limit=st.integers(1, 40),
)
def test_any_window_is_that_slice_of_the_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], offset: int, limit: int
) -> None:
    folder = tmp_path_factory.mktemp("read")
    lines = [f"-{line}" for line in lines]  # neither a BOM nor a magic number at the start
    (folder / "f").write_text("\n".join(lines) + "\n" * bool(lines), "utf-8", newline="")
    context = make_context(folder)
    if not lines:
        assert call(context, "read", path="f", offset=offset).text == "f is empty"
    elif offset > len(lines):
        assert "there is no line" in refused(context, "read", path="f", offset=offset, limit=limit)
    else:
        text = call(context, "read", path="f", offset=offset, limit=limit).text
        shown = [line.split("\t", 1)[1] for line in text.split("\n") if line[0] != "("]
        assert shown == lines[offset - 1 : offset - 1 + limit]


def test_long_lines_and_much_text_are_cut_and_said(tmp_path: Path) -> None:
    (tmp_path / "min.js").write_text("x" * 1_000_000 + "\nend\n")
    context = make_context(tmp_path)
    first, last = call(context, "read", path="min.js").text.split("\n")
    assert first == "1\t" + "x" * 2000 + " … (cut; 998,000 more bytes in this line)"
    assert last == "2\tend"
    (tmp_path / "wide").write_text(("y" * 1000 + "\n") * 100)
    assert call(context, "read", path="wide").text.endswith("(lines 1–49 of 100; next: offset=50)")


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "huge.log"
    with file.open("wb") as out:
        out.write(b"first\n" + b"more text\n" * 1000)
        out.truncate(8 * 1024**3)  # sparse: eight gigabytes that take no space
    with at_most(2):
        text = call(make_context(tmp_path), "read", path="huge.log", limit=1).text
        assert text.startswith("1\tfirst\n(the file goes on (8,589,934,592 bytes in all)")


def test_what_is_no_text_is_named_not_shown(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (640).to_bytes(4) + (480).to_bytes(4))
    assert call(context, "read", path="a.png").text.startswith("a.png is a PNG image, 640 × 480 pixels, 24 bytes")
    (tmp_path / "a.bin").write_bytes(b"text\0more")
    assert refused(context, "read", path="a.bin").startswith("a.bin is binary data, 9 bytes")
    assert tmp_path / "a.bin" not in context.seen


def test_bytes_that_are_no_utf8_are_replaced_and_told(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    assert call(make_context(tmp_path), "read", path="latin").text == (
        "1\tcaf\ufffd\n(1 characters are no valid UTF-8 and are shown as \ufffd)"
    )
    (tmp_path / "wide").write_bytes("\ufeffné\n".encode("utf-16-le"))
    assert call(make_context(tmp_path), "read", path="wide").text == "1\tné"


def test_a_fifo_or_a_device_never_hangs_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    context = make_context(tmp_path)
    assert refused(context, "read", path="pipe") == "pipe is a FIFO; only regular files can be read"
    assert "/dev/zero is a device" in refused(context, "read", path="/dev/zero")


def test_a_folder_is_listed_and_a_wrong_name_gets_a_hint(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "README.md").write_text("x")
    (tmp_path / ".env").write_text("KEY=1")
    context = make_context(tmp_path, ".env")
    assert call(context, "read", path=".").text == ". is a folder with 2 entries:\nREADME.md\nsrc/"
    assert refused(context, "read", path="readme.txt") == "readme.txt does not exist. Did you mean README.md?"
    assert refused(context, "read", path="srcs/a.py").endswith("(nor does its folder; . does). Did you mean src?")
    assert "Did you mean" not in refused(context, "read", path=".enw")
    assert "denied by the user's settings" in refused(context, "read", path=".env")
    assert "not a usable path" in refused(context, "read", path="a\0b")
