"""`@file` completion: what is listed, what comes first, and what never appears."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from agent.files.deny_paths import DenyPaths
from agent.tools.base import ToolContext
from agent.tools.lib import listing
from agent.ui import file_index
from agent.ui.file_index import FileIndex
from agent.ui.fuzzy import Match, match


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def index(root: Path, deny: tuple[str, ...] = ()) -> FileIndex:
    made = FileIndex(root, DenyPaths(deny, root))
    asyncio.run(made.refresh())
    return made


def paths(made: FileIndex, query: str, limit: int = 20) -> list[str]:
    return [found.path for found in made.complete(query, limit)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make(
        tmp_path,
        "README.md",
        "agent/session.py",
        "agent/ui/session_view.py",
        "docs/a b.md",
        "node_modules/x/index.js",
    )
    return tmp_path


def test_files_and_folders_the_shallow_ones_first(project: Path) -> None:
    assert paths(index(project), "") == [
        *("README.md", "agent/", "docs/"),
        *("agent/session.py", "agent/ui/", "docs/a b.md", "agent/ui/session_view.py"),
    ]


def test_a_files_own_name_beats_its_folders(tmp_path: Path) -> None:
    make(tmp_path, "loop/other.py", "agent/deep/down/loop.py")
    assert paths(index(tmp_path), "loop") == ["loop/", "agent/deep/down/loop.py", "loop/other.py"]


def test_a_slash_means_the_path(project: Path) -> None:
    assert paths(index(project), "ui/ses", 1) == ["agent/ui/session_view.py"]
    assert paths(index(project), "./READ", 1) == ["README.md"]


def test_a_folder_that_is_typed_out_offers_what_is_in_it(project: Path) -> None:
    assert paths(index(project), "agent/") == ["agent/ui/", "agent/session.py", "agent/ui/session_view.py"]


def test_positions_are_in_the_whole_path(project: Path) -> None:
    found = index(project).complete("sess")[0]
    assert "".join(found.path[at] for at in found.positions) == "sess"
    assert found.positions[0] == len("agent/")


def test_git_decides_what_is_ignored(tmp_path: Path) -> None:
    make(tmp_path, "kept.py", "build/out.o", "new.txt")
    (tmp_path / ".gitignore").write_text("build/\n")
    for command in (["init", "-q"], ["add", "kept.py", ".gitignore"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    assert paths(index(tmp_path), "") == [".gitignore", "kept.py", "new.txt"]


def test_denied_files_are_never_listed_inside_or_outside(tmp_path: Path) -> None:
    make(tmp_path / "in", ".env", "secrets/key.pem", "plain.txt")
    make(tmp_path / "out", "key.pem", "plain.txt")
    made = index(tmp_path / "in", ("*.pem", ".env", "**/secrets/**"))
    assert paths(made, "") == ["plain.txt"]
    assert paths(made, "env") == []
    assert paths(made, "../out/") == ["../out/plain.txt"]
    assert paths(made, "../in/.e") == []


def test_other_folders_are_looked_into_where_the_query_says_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project))
    made = index(project / "docs")
    assert paths(made, "~") == ["~/"]
    assert paths(made, "~/REA") == ["~/README.md"]
    assert paths(made, "../ag") == ["../agent/"]
    assert paths(made, f"{project}/agent/se") == [f"{project}/agent/session.py"]
    assert paths(made, "/no/such/folder/x") == []
    found = made.complete("~/REA")[0]
    assert "".join(found.path[at] for at in found.positions) == "REA"


def test_names_that_can_not_be_shown_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, "good.txt")
    for name in (b"bad\x1b[31m.txt", b"line\nbreak.txt", b"latin\xe9.txt"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text("x")
    assert paths(index(tmp_path), "") == ["good.txt"]


def test_a_refresh_sees_what_is_new_and_what_is_gone(tmp_path: Path) -> None:
    make(tmp_path, "one.txt")
    made = index(tmp_path)
    assert not made.stale
    make(tmp_path, "two.txt")
    (tmp_path / "one.txt").unlink()
    assert paths(made, "t") == ["one.txt"]
    asyncio.run(made.refresh())
    assert paths(made, "t") == ["two.txt"]


def test_two_refreshes_at_once_list_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "one.txt")
    calls = 0
    list_files = listing.list_files

    async def counted(context: ToolContext, folder: Path) -> listing.Listing:
        nonlocal calls
        calls += 1
        return await list_files(context, folder)

    monkeypatch.setattr(listing, "list_files", counted)
    made = FileIndex(tmp_path)

    async def twice() -> None:
        first = asyncio.create_task(made.refresh())
        await asyncio.sleep(0)
        await made.refresh()
        assert made.entries == ("one.txt",)  # the second waited for the first
        await first

    assert made.stale
    asyncio.run(twice())
    assert calls == 1
    assert made.entries == ("one.txt",)


def test_the_index_is_bounded_and_keeps_the_shallow_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(file_index, "MAX_ENTRIES", 3)
    make(tmp_path, "a/b/c/deep.txt", "top.txt")
    made = index(tmp_path)
    assert made.entries == ("a/", "top.txt", "a/b/")
    assert not made.complete_listing


def test_of_fifty_thousand_files_few_are_compared_while_a_key_is_pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def many(_context: ToolContext, _folder: Path) -> listing.Listing:
        return listing.Listing([f"src/part{n % 7}/module_{n % 331}/component_{n}.py" for n in range(49_000)], True)

    def counted(query: str, text: str) -> Match | None:
        compared.append(text)
        return match(query, text)

    compared: list[str] = []
    monkeypatch.setattr(listing, "list_files", many)
    monkeypatch.setattr(file_index, "match", counted)
    made = index(Path("/nowhere"))
    for query in ("c", "comp", "m12c4", "nothing-like-it"):
        compared.clear()
        made.complete(query)
        assert len(compared) <= 2 * file_index.MAX_SCORED, "the whole path of each, and its name"
    assert paths(made, "component_4242.", 1) == ["src/part0/module_270/component_4242.py"]
