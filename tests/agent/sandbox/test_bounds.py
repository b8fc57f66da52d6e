"""What the file tools may touch while a goal runs that nobody watches, and which of its commands are confined."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.approval.approval import Approvals
from agent.files.deny_paths import DenyPaths
from agent.llm.messages import ToolCallPart
from agent.sandbox.sandbox import Sandbox, Settings
from agent.tools.base import ToolContext
from tests.agent.tools.support import call, refused, tool


class Place:
    """A project in a home folder that has secrets, and a goal that runs by itself."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.home, self.cwd = folder / "home", folder / "home" / "project"
        self.state = folder / "home" / ".local" / "state" / "moa"
        for made in (
            self.cwd,
            self.state / "scratch" / "tmp",
            self.home / ".ssh",
            self.home / "reference",
            self.home / "out",
        ):
            made.mkdir(parents=True)
        (self.home / ".ssh" / "id_rsa").write_text("the key")
        (self.home / "reference" / "notes.txt").write_text("the notes")
        (self.state / "scratch" / "shell-1.log").write_text("the log")
        (self.state / "ledger.db").write_text("the books")
        (self.cwd / "a.py").write_text("the source")
        (self.cwd / "out").symlink_to(self.home / ".ssh")
        (self.cwd / "key.txt").symlink_to(self.home / ".ssh" / "id_rsa")
        deny = DenyPaths((), self.cwd)
        self.sandbox = Sandbox(settings, private=(self.state,), deny_paths=deny)
        self.sandbox.unattended = lambda: True
        self.context = ToolContext(cwd=self.cwd, scratch=self.state / "scratch", deny_paths=deny, sandbox=self.sandbox)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Place(tmp_path, Settings(read=("~/reference",), write=("~/out",)))


OUTSIDE = [
    "~/.ssh/id_rsa",
    "out/id_rsa",
    "key.txt",
    "../.ssh/id_rsa",
    "~/.bashrc",
    "~/.local/state/moa/ledger.db",
    "/proc/self/environ",
]


@pytest.mark.parametrize("mode", ["auto", "on", "off"])
@pytest.mark.parametrize("path", OUTSIDE)
def test_out_of_bounds_nothing_is_read_written_or_listed(place: Place, path: str, mode: str) -> None:
    place.sandbox.change(mode=mode)  # type: ignore[arg-type]
    folder = path.rpartition("/")[0] or "."
    assert "out of bounds" in refused(place.context, "read", path=path)
    assert "out of bounds" in refused(place.context, "grep", pattern=".", path=path)
    assert "out of bounds" in refused(place.context, "write", path=path, content="mine")
    assert "out of bounds" in refused(place.context, "edit", path=path, old="the", new="my")
    if folder != ".":
        assert "out of bounds" in refused(place.context, "glob", pattern="*", path=folder)
    if path.startswith(("~", "..")):
        assert "out of bounds" in refused(place.context, "glob", pattern=f"{folder}/*")
    assert (place.home / ".ssh" / "id_rsa").read_text() == "the key"


@pytest.mark.parametrize("above", ["/", "{home}/..", "//", "/tmp/.."])
def test_no_search_begins_above_what_is_out_of_bounds(place: Place, above: str) -> None:
    above = above.format(home=place.home)
    assert "out of bounds" in refused(place.context, "grep", pattern="the notes", path=above)
    assert "out of bounds" in refused(place.context, "glob", pattern="**/notes.txt", path=above)


def test_what_is_refused_is_not_told_as_read(place: Place) -> None:
    approvals = Approvals("all", deny_paths=place.context.deny_paths)
    (place.home / "diary.txt").write_text("the diary")
    for unattended in (True, False):
        place.sandbox.unattended = lambda answer=unattended: answer
        part = ToolCallPart(id="c", name="read", arguments="{}")
        found = asyncio.run(approvals.decide(tool("read"), part, {"path": "~/diary.txt"}, place.context))
        assert bool(found.told) is not unattended


def test_within_bounds_all_is_as_ever(place: Place) -> None:
    assert "the source" in call(place.context, "read", path="a.py").text
    assert "the notes" in call(place.context, "read", path="~/reference/notes.txt").text
    assert "the log" in call(place.context, "read", path=str(place.state / "scratch" / "shell-1.log")).text
    assert "root" in call(place.context, "read", path="/etc/passwd").text
    call(place.context, "write", path="src/b.py", content="new")
    call(place.context, "write", path="~/out/b.txt", content="new")
    for path in ("~/reference/mine.txt", "/etc/mine", str(place.state / "scratch" / "mine")):
        assert "out of bounds" in refused(place.context, "write", path=path, content="mine")


def test_where_somebody_watches_there_are_no_bounds_but_approval(place: Place) -> None:
    place.sandbox.unattended = lambda: False
    (place.home / "diary.txt").write_text("the diary")
    assert "the diary" in call(place.context, "read", path="~/diary.txt").text
    assert "never read by tools" in refused(place.context, "read", path="~/.ssh/id_rsa")


@pytest.mark.parametrize(
    ("mode", "unattended", "seen", "confined"),
    [
        ("auto", False, False, False),
        ("auto", True, False, True),
        ("auto", True, True, False),
        ("on", False, True, True),
        ("on", True, True, True),
        ("off", True, False, False),
    ],
)
def test_which_commands_are_confined(place: Place, mode: str, unattended: bool, seen: bool, confined: bool) -> None:
    place.sandbox.change(mode=mode)  # type: ignore[arg-type]
    place.sandbox.unattended = lambda: unattended
    assert place.sandbox.confines(seen=seen) is confined
