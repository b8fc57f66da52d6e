"""glob and grep: what they find, what they must not, and that they come to an end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.files.globs import Glob, escape
from agent.tools.grep import Grep
from agent.tools.lib import search
from tests.agent.tools.support import call, make_context, refused
from tests.support.effort import at_most


def tree(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture(params=["git", "no git"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    tree(
        tmp_path,
        a_dot_py="import os\nneedle = 1\n",
        src__b_dot_py="x = 'needle'\n",
        src__deep__c_dot_ts="needle()\n",
        node_modules__d_dot_py="needle\n",
        secrets__key_dot_py="needle\n",
        _dot_env="needle=1\n",
    )
    if request.param == "git":
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
        (tmp_path / ".gitignore").write_text("node_modules\n")
    return tmp_path


def test_glob_finds_by_name_and_by_path(project: Path) -> None:
    context = make_context(project, ".env", "**/secrets/**")
    assert call(context, "glob", pattern="*.py").text == "a.py\nsrc/b.py"
    assert call(context, "glob", pattern="src/**/*.{py,ts}").text == "src/b.py\nsrc/deep/c.ts"
    assert call(context, "glob", pattern="./*.py").text == "a.py"
    assert call(context, "glob", pattern="*.ts", path="src").text == "src/deep/c.ts"
    assert call(context, "glob", pattern=f"{project}/src/*.py").text == "src/b.py"
    assert call(context, "glob", pattern="../**/b.py", path="src").text == "src/b.py"
    assert call(context, "glob", pattern="*.env").text == "no file matches *.env"
    assert call(context, "glob", pattern="d.py", path="node_modules").text == "node_modules/d.py"
    assert "denied" in refused(context, "glob", pattern="*", path="secrets")
    assert refused(context, "glob", pattern="*", path="scr") == "scr does not exist. Did you mean src?"


def test_grep_finds_lines_and_never_a_denied_file(project: Path) -> None:
    context = make_context(project, ".env", "**/secrets/**")
    assert call(context, "grep", pattern="needle").text == (
        "a.py:2:needle = 1\nsrc/b.py:1:x = 'needle'\nsrc/deep/c.ts:1:needle()"
    )
    assert call(context, "grep", pattern=r"(?i)NEEDLE\s*=", path="a.py").text == "a.py:2:needle = 1"
    assert call(context, "grep", pattern="nothing like it").text == "no line matches nothing like it"
    assert "denied" in refused(context, "grep", pattern="needle", path=".env")
    assert "not a regular expression" in refused(context, "grep", pattern="(unclosed")


def test_results_are_bounded_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("match\n" * 1_000)
    (tmp_path / "wide.txt").write_text("x" * 5_000 + "needle" + "y" * 5_000)
    (tmp_path / "data.bin").write_bytes(b"needle\0")
    for n in range(600):
        (tmp_path / f"f{n:03}.md").touch()
    context = make_context(tmp_path)
    lines = call(context, "grep", pattern="match").text.splitlines()
    assert lines[199:] == ["many.txt:200:match", "… and 800 more lines; narrow it down"]
    wide = call(context, Grep(ripgrep=""), pattern="needle").text  # ripgrep shows a long line's beginning
    assert wide.startswith("wide.txt:1:…xxx") and "needle" in wide and len(wide) < 350
    names = call(context, "glob", pattern="*.md").text.splitlines()
    assert names[499:] == ["f499.md", "… and 100 more; use a narrower pattern"]


def test_an_endless_expression_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SEARCH_S", 0.5)
    (tmp_path / "a.txt").write_text("found a\n")
    (tmp_path / "b.txt").write_text("a" * 60 + "!\n")
    text = call(make_context(tmp_path), Grep(ripgrep=""), pattern="(a+)+$|found a").text  # it would go on for years
    assert text.startswith("a.txt:1:found a\n(stopped after 0.5 s")


def test_a_link_is_no_way_round_deny_paths(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("needle=1\n")
    (tmp_path / "innocent.txt").symlink_to(".env")
    context = make_context(tmp_path, ".env")
    assert call(context, "grep", pattern="needle").text == "no line matches needle"
    assert "denied" in refused(context, "grep", pattern="needle", path="innocent.txt")
    assert "denied" in refused(context, "read", path="innocent.txt")


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are always text there")
def test_a_name_that_is_no_text_is_shown_as_text(tmp_path: Path) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.txt")).write_text("needle\n")
    context = make_context(tmp_path)
    assert call(context, "glob", pattern="*.txt").text == "caf\ufffd.txt"
    assert call(context, "grep", pattern="needle").text == "caf\ufffd.txt:1:needle"
    assert call(context, "read", path=".").text.endswith("\ncaf\ufffd.txt")


def test_a_repository_cannot_run_a_program_by_being_listed(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "config", "core.fsmonitor", f"touch {tmp_path}/ran; false"], check=True)
    (tmp_path / "a.py").touch()
    assert call(make_context(tmp_path), "glob", pattern="*").text == "a.py"
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(shutil.which("rg") is None, reason="ripgrep is not installed")
def test_ripgrep_and_our_own_search_agree(project: Path) -> None:
    context = make_context(project, ".env", "**/secrets/**")
    for pattern in ("needle", "^x", r"\bos$", "nothing"):
        own = call(context, Grep(ripgrep=""), pattern=pattern).text
        assert call(context, Grep(ripgrep=shutil.which("rg")), pattern=pattern).text == own


name = st.text("ab.", min_size=1, max_size=3).filter(lambda text: text.strip("."))
paths = st.lists(name, min_size=1, max_size=4)


@given(paths)
def test_a_path_as_its_own_pattern_matches_itself_alone(parts: list[str]) -> None:
    glob = Glob("./" + escape("/".join(parts)))
    assert glob.match(parts)
    assert not glob.match([*parts, "more"]) and not glob.match([parts[0] + "x", *parts[1:]])


@given(paths, paths)
def test_two_stars_span_any_folders(start: list[str], rest: list[str]) -> None:
    assert Glob(f"{'/'.join(start)}/**/*").match([*start, *rest])
    assert Glob(f"**/{'/'.join(rest)}").match([*start, *rest])
    assert Glob(rest[-1]).match([*start, *rest])


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    with at_most(1):
        assert not Glob("*a" * 40 + "b").match(["a" * 250])
        assert not Glob("**/a/" * 30 + "b").match(["a"] * 200)
    with pytest.raises(ValueError, match="alternatives"):
        Glob("{a,b}" * 20)


FAR = "x" * (3 << 20) + " needle " + "y" * 100


@pytest.mark.parametrize("ripgrep", ["", shutil.which("rg") or ""])
@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("first\nthe needle\n".encode("utf-16"), 2),
        ("first\r\nthe needle\r\n".encode("utf-16"), 2),
        (b"\xfe\xff" + "first\nthe needle\n".encode("utf-16-be"), 2),
        ("\ufeffneedle at the start\n".encode(), 1),
        (FAR.encode(), 1),
        (f"one\n{FAR}\n{FAR}".encode(), 2),
        ("ünïcödé needle\n".encode("latin-1"), 1),
    ],
)
def test_what_is_text_is_searched_whole(tmp_path: Path, data: bytes, line: int, ripgrep: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    text = call(make_context(tmp_path), Grep(ripgrep=ripgrep), pattern="needle").text
    assert text.startswith(f"a.txt:{line}:")


def test_a_mark_does_not_hide_a_lines_beginning(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffneedle\n".encode())
    assert call(make_context(tmp_path), Grep(ripgrep=""), pattern="^needle").text == "a.txt:1:needle"


@pytest.mark.skipif(shutil.which("rg") is None, reason="ripgrep is not installed")
def test_git_says_which_files_count_whatever_ripgrep_reads(tmp_path: Path) -> None:
    tree(
        tmp_path,
        tracked_dot_log="needle\n",
        new_dot_log="needle\n",
        _dot_gitignore="*.log\nbuild/\n",
        _dot_ignore="kept.txt\n",
        kept_dot_txt="needle\n",
        excluded_dot_txt="needle\n",
        _dot_hidden__a_dot_txt="needle\n",
        build__out_dot_txt="needle\n",
        deep__b_dot_txt="needle\n",
        _dot_env_dot_local="needle\n",
    )
    git = ["git", "-c", "init.defaultBranch=main", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-f", "tracked.log"], check=True)
    (tmp_path / ".git" / "info" / "exclude").write_text("excluded.txt\n")
    (tmp_path / "link.txt").symlink_to("kept.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    for place, hiding in ((".", None), ("deep", None), (".", "deep/.rgignore"), ("deep", ".rgignore")):
        if hiding:
            (tmp_path / hiding).write_text("*.txt\n")
        own = call(make_context(tmp_path), Grep(ripgrep=""), pattern="needle", path=place).text
        assert call(make_context(tmp_path), Grep(ripgrep=shutil.which("rg")), pattern="needle", path=place).text == own
    found = {
        line.partition(":")[0] for line in call(make_context(tmp_path), Grep(), pattern="needle").text.split("\n")[:-1]
    }
    assert found == {"tracked.log", "kept.txt", ".hidden/a.txt", "deep/b.txt"}
