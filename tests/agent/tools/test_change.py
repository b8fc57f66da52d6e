"""write and edit: what they change, what they refuse, and that nothing is ever half done."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.tools.base import ToolContext
from agent.tools.lib.diffs import unified_diff
from tests.agent.tools.support import call, make_context, refused
from tests.support.effort import at_most


def test_a_new_file_with_its_folders(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    result = call(context, "write", path="a/b/c.txt", content="one\ntwo\n")
    assert (tmp_path / "a/b/c.txt").read_text() == "one\ntwo\n"
    assert result.diff == "--- /dev/null\n+++ b/a/b/c.txt\n@@ -0,0 +1,2 @@\n+one\n+two\n"
    # the model knows what it wrote: it may write again
    assert call(context, "write", path="a/b/c.txt", content="three\n").text == "replaced a/b/c.txt (1 line)"


def test_a_file_that_the_model_has_not_seen_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("precious\n")
    context = make_context(tmp_path)
    assert "you have not read it" in refused(context, "write", path="a.txt", content="x")
    call(context, "read", path="a.txt")
    file.write_text("precious, and changed by somebody\n")
    assert "has changed since" in refused(context, "write", path="a.txt", content="x")
    assert "has changed since" in refused(context, "edit", path="a.txt", old="precious", new="x")
    assert file.read_text() == "precious, and changed by somebody\n"
    call(context, "read", path="a.txt")
    call(context, "write", path="a.txt", content="x")
    assert file.read_text() == "x"


def test_an_edit_without_a_read_gives_no_right_to_overwrite(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    context = make_context(tmp_path)
    call(context, "edit", path="a.txt", old="two", new="2")
    assert "you have not read it" in refused(context, "write", path="a.txt", content="x")


def test_the_snapshot_is_taken_before_the_change_and_the_mode_stays(tmp_path: Path) -> None:
    file = tmp_path / "run.sh"
    file.write_text("echo 1\n")
    file.chmod(0o755)
    kept: list[str] = []
    context = make_context(tmp_path)
    context.snapshot = lambda _turn, path, _data: kept.append(path.read_text())
    call(context, "edit", path="run.sh", old="1", new="2")
    assert kept == ["echo 1\n"]
    assert file.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["run.sh"]


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "no"
    folder.write_text("a file where a folder should be")
    context = make_context(tmp_path)
    assert "nothing was changed" in refused(context, "write", path="no/a.txt", content="x")
    name = "n" * 300
    assert "nothing was changed" in refused(context, "write", path=f"sub/{name}", content="x")
    assert folder.read_text() == "a file where a folder should be"


def test_preview_shows_the_diff_and_writes_nothing(tmp_path: Path) -> None:
    import asyncio

    from agent.tools.edit import Edit

    (tmp_path / "a.txt").write_text("one\n")
    diff = asyncio.run(Edit().preview(make_context(tmp_path), {"path": "a.txt", "old": "one", "new": "two"}))
    assert diff == "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"
    assert (tmp_path / "a.txt").read_text() == "one\n"


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("one\n")
    (tmp_path / "link.txt").symlink_to("real.txt")
    call(make_context(tmp_path), "edit", path="link.txt", old="one", new="two")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "two\n"


def test_a_file_that_can_not_be_read_is_an_error_in_words(tmp_path: Path) -> None:
    """The kernel refuses to be read in one large piece, as a bad disk does; with another system it is another error in words."""
    assert "/proc/sys/kernel/ostype" in refused(
        make_context(tmp_path), "edit", path="/proc/sys/kernel/ostype", old="never in it", new="x"
    )


def test_old_must_occur_exactly_once(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f():\n    return 1\n\ndef g():\n    return 1\n")
    context = make_context(tmp_path)
    assert refused(context, "edit", path="a.py", old="return 1", new="x") == (
        "old occurs 2 times in a.py (lines 2, 5): add lines around it to make it unique"
    )
    near = refused(context, "edit", path="a.py", old="def f():\n  return 1", new="x")
    assert near == "old does not occur in a.py exactly, but with other white space at line 1:\ndef f():\n    return 1"
    assert "2\t    return 1" in refused(context, "edit", path="a.py", old="return 7", new="x")
    assert "leave out the line numbers" in refused(context, "edit", path="a.py", old="1\tdef f():", new="x")
    assert "must not be empty" in refused(context, "edit", path="a.py", old="", new="x")
    assert "the same" in refused(context, "edit", path="a.py", old="def f", new="def f")
    (tmp_path / "aaa").write_text("aaa")
    assert "occurs 2 times" in refused(context, "edit", path="aaa", old="aa", new="b")


def test_line_ends_bom_and_foreign_bytes_stay(tmp_path: Path) -> None:
    file = tmp_path / "w.txt"
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo caf\xe9\r\nthree\r\n")
    context = make_context(tmp_path)
    call(context, "read", path="w.txt")
    call(context, "edit", path="w.txt", old="one\ntwo", new="1\n2\n2b")
    assert file.read_bytes() == b"\xef\xbb\xbf1\r\n2\r\n2b caf\xe9\r\nthree\r\n"
    for result in (
        refused(context, "edit", path="w.txt", old="2b cafe", new=""),
        call(context, "edit", path="w.txt", old="1", new="").diff,
    ):
        result.encode()  # what is shown of foreign bytes can go on a wire
    wide = tmp_path / "wide.txt"
    wide.write_bytes("\ufeffone\ntwo\n".encode("utf-16-le"))
    call(context, "edit", path="wide.txt", old="two", new="zwei")
    assert wide.read_bytes() == "\ufeffone\nzwei\n".encode("utf-16-le")


@settings(max_examples=80, deadline=None)
@given(
    before=st.binary(max_size=60),
    after=st.binary(max_size=60),
    new=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_an_edit_touches_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, before: bytes, after: bytes, new: str
) -> None:
    folder = tmp_path_factory.mktemp("edit")
    mark = "«unique mark»"
    data = b"#" + before.replace(b"\0", b"") + mark.encode() + after.replace(b"\0", b"")
    (folder / "f").write_bytes(data)
    context: ToolContext = make_context(folder)
    call(context, "edit", path="f", old=mark, new=new)
    newline = "\r\n" if data.count(b"\r\n") * 2 > data.count(b"\n") else "\n"
    put = new.replace("\r\n", "\n").replace("\n", newline)
    assert (folder / "f").read_bytes() == data.replace(mark.encode(), put.encode())


def test_a_miss_in_a_large_file_and_a_large_rewrite_take_no_time(tmp_path: Path) -> None:
    body = "".join(f"value_{n} = compute({n % 7}, {n % 11})\n" for n in range(120_000))
    (tmp_path / "big.py").write_text(body)
    context = make_context(tmp_path)
    with at_most(3):
        assert "does not occur" in refused(context, "edit", path="big.py", old="value_x = computes(3)\n" * 50, new="")
        call(context, "read", path="big.py")
        result = call(context, "write", path="big.py", content=body[::-1])
        assert result.diff is not None and result.diff.endswith("more lines\n")


@settings(max_examples=150, deadline=None)
@given(old=st.lists(st.sampled_from("abc"), max_size=14), new=st.lists(st.sampled_from("abc"), max_size=14))
def test_a_diff_applied_gives_the_new_text(old: list[str], new: list[str]) -> None:
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    assert apply(before, unified_diff(before, after, "f")) == after


def apply(text: str, diff: str) -> str:
    """A small `patch`, so that the diff is judged by what it does."""
    source, result, at = text.splitlines(keepends=True), [], 0
    for line in diff.splitlines(keepends=True)[2:]:
        if line.startswith("@@"):
            first, _, count = line.split()[1][1:].partition(",")
            start = int(first) - (count != "0")
            result += source[at:start]
            at = start
        elif line[0] == "+":
            result.append(line[1:])
        else:
            assert source[at] == line[1:]
            if line[0] == " ":
                result.append(line[1:])
            at += 1
    return "".join(result + source[at:])


def test_a_denied_file_is_not_written(tmp_path: Path) -> None:
    context = make_context(tmp_path, ".env", "**/secrets/**")
    for path in (".env", "x/../.env", "secrets/a", str(tmp_path / "deep/secrets/b")):
        assert "denied" in refused(context, "write", path=path, content="x")
    assert not list(tmp_path.iterdir())
