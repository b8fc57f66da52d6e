"""The sandbox: when it is wanted, what it says, and (where bubblewrap works) what it really keeps out."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from agent.chat.events import Refused, Shown
from agent.errors import UsageError
from agent.events import AgentEvent, Notice
from agent.files.deny_paths import DenyPaths
from agent.plugin import Plugin
from agent.process import children
from agent.sandbox import bubblewrap
from agent.sandbox.bubblewrap import Unconfined
from agent.sandbox.sandbox import Sandbox, Settings, read_settings
from agent.session.session import Session
from agent.tools.base import ToolContext, ToolError, ToolResult
from agent.tools.builtin import builtin_tools
from agent.ui.text import render
from tests.agent.tools.test_hostile import git, repository
from tests.support.chatbench import ChatBench
from tests.support.processes import running
from tests.support.waiting import until

PROBLEM = asyncio.run(bubblewrap.probe())
real = pytest.mark.skipif(PROBLEM is not None, reason=f"no sandbox here: {PROBLEM}")


class Place:
    """A project with secrets in and around it, and a shell that is confined to it."""

    def __init__(self, folder: Path, settings: Settings = Settings("on")) -> None:  # noqa: B008 - immutable
        self.cwd, self.state = folder / "project", folder / "state"
        self.scratch = self.state / "scratch" / "s1"
        for made in (self.cwd / "deep", self.scratch, self.cwd / ".git" / "hooks"):
            made.mkdir(parents=True)
        (self.cwd / ".env").write_text("the project's key")
        (self.cwd / "deep" / ".env").write_text("the deep key")
        (self.cwd / ".git" / "config").write_text("[core]\n")
        (self.state / "ledger.db").write_text("the books")
        self.events: list[AgentEvent] = []
        deny = DenyPaths((".env",), self.cwd)
        self.sandbox = Sandbox(settings, private=(self.state,), deny_paths=deny)
        self.context = ToolContext(
            cwd=self.cwd,
            scratch=self.scratch,
            deny_paths=DenyPaths((), self.cwd),  # the words of a command are not what is tried here
            turn="t1",
            emit=self.events.append,
            sandbox=self.sandbox,
        )

    def shell(self, command: str, **arguments: object) -> ToolResult:
        async def run() -> ToolResult:
            shell = next(tool for tool in builtin_tools() if tool.spec.name == "shell")
            try:
                return await shell.run(self.context, {"command": command, **arguments})
            finally:
                await shell.aclose()  # type: ignore[attr-defined]

        return asyncio.run(run())

    def notices(self) -> list[str]:
        return [event.code for event in self.events if isinstance(event, Notice)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("data", [{"mode": [1], "network": 5}, {"mode": {}}, {"mode": "none"}], ids=repr)
def test_what_a_session_kept_of_it_and_somebody_edited_is_no_mode(tmp_path: Path, data: dict[str, object]) -> None:
    session = Session.create(tmp_path)
    session.inherit({"sandbox": data})
    found = Sandbox(Settings(), private=(), deny_paths=DenyPaths((), tmp_path), session=session)
    assert (found.mode, found.network) == ("auto", False)


# What it keeps out, for real


@real
def test_a_command_works_in_its_folder_and_nowhere_else(place: Place, tmp_path: Path) -> None:
    done = place.shell(f"pwd && echo new > made.txt && touch {tmp_path}/outside /usr/outside")
    assert (place.cwd / "made.txt").read_text() == "new\n"
    assert str(place.cwd.resolve()) in done.text
    assert done.is_error and "Read-only file system" in done.text
    assert not (tmp_path / "outside").exists()


@real
def test_denied_files_the_programs_own_folders_and_other_homes_are_not_there(place: Place) -> None:
    found = place.shell(f"cat .env deep/.env {place.state}/ledger.db; ls -A {place.state} ~ /run")
    assert "key" not in found.text and "books" not in found.text and "ledger.db" not in found.text.splitlines()
    assert found.text.count("Permission denied") == 2


@real
def test_a_pointer_that_somebody_made_shows_no_other_folder(place: Place, tmp_path: Path) -> None:
    """A project's `.git` may be a file that names where the repository is; only one that names this work tree in its turn is shown."""
    home = tmp_path / "home"
    (home / "letters").mkdir(parents=True)
    (home / "letters" / "a.txt").write_text("dear diary")
    for cwd, pointer in (("p1", f"{home}/letters/worktrees/x"), ("p2", f"{home}/worktrees/x")):
        place.context.cwd = tmp_path / cwd
        place.context.cwd.mkdir()
        (place.context.cwd / ".git").write_text(f"gitdir: {pointer}\n")
        assert "dear diary" not in place.shell(f"cat {home}/letters/a.txt").text
    main = repository(home / "main")
    git(main, "worktree", "add", "-q", str(tmp_path / "tree"))
    place.context.cwd = tmp_path / "tree"
    assert "first" in place.shell("git log --format=%s").text


@real
def test_keys_are_hidden_where_the_working_folder_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "project"))
    place = Place(tmp_path)
    names = (
        ".pgpass",
        ".config/hub",
        ".kaggle/kaggle.json",
        ".claude.json",
        ".psql_history",
        ".ssh/id_rsa",
        ".config/Signal/db",
    )
    for name in names:
        (place.cwd / name).parent.mkdir(parents=True, exist_ok=True)
        (place.cwd / name).write_text("the secret")
    found = place.shell("; ".join(f"cat ~/{name}" for name in names))
    assert "the secret" not in found.text


@real
def test_no_secret_of_the_environment_is_in_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PGPASSWORD"):
        monkeypatch.setenv(name, "hidden-from-it")
    monkeypatch.setenv("PLAIN_SETTING", "seen")
    found = place.shell("env; cat /proc/*/environ | tr '\\0' '\\n'")
    assert "PLAIN_SETTING=seen" in found.text and "hidden-from-it" not in found.text


@real
def test_a_denied_file_can_be_moved_neither_away_nor_aside(place: Place) -> None:
    moved = place.shell(
        "mv deep other && cat other/.env; mv .env plain; cp .env copy; ln .env link; cat plain copy link"
    )
    assert "key" not in moved.text


@real
def test_a_command_has_no_network_until_the_user_opens_it(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        call = f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached"
        assert "reached" not in place.shell(call).text
        place.sandbox.change(network=True)
        assert "reached" in place.shell(call).text


@real
def test_what_runs_later_outside_can_not_be_written(place: Place) -> None:
    tried = place.shell(
        "echo evil > .git/hooks/pre-commit; echo evil >> .git/config; echo fine > .git/index; cat .git/index"
    )
    assert tried.text.count("Read-only file system") == 2 and "fine" in tried.text
    assert not (place.cwd / ".git" / "hooks" / "pre-commit").exists()


@real
def test_the_repository_can_not_be_replaced_by_another(place: Place) -> None:
    (place.cwd / ".git" / "hooks").rmdir()
    tried = place.shell("mv .git old; rm -rf .git/hooks; mkdir -p .git/hooks; echo evil > .git/hooks/pre-commit")
    assert "busy" in tried.text and "Read-only" in tried.text
    assert (place.cwd / ".git" / "config").exists() and not list((place.cwd / ".git" / "hooks").iterdir())


@real
def test_one_command_finds_what_another_left_in_tmp_and_nobody_else_does(place: Place) -> None:
    place.shell("echo mine > /tmp/of-the-sandbox; mktemp -p $TMPDIR > name")
    assert "mine" in place.shell("cat /tmp/of-the-sandbox").text
    assert not Path("/tmp/of-the-sandbox").exists()
    assert Path((place.cwd / "name").read_text().strip()).exists(), (
        "a name from mktemp means the same for the other tools"
    )


@real
def test_processes_outside_are_out_of_sight(place: Place) -> None:
    seen = place.shell("ls /proc | grep -c '^[0-9]'; umount /tmp; echo $SSH_AUTH_SOCK")
    assert int(seen.text.split()[0]) < 10
    assert "umount" in seen.text  # refused


@real
def test_the_kernels_settings_can_not_be_written(place: Place) -> None:
    """Where root runs the program: else a core dump's program would run outside, as root."""
    found = place.shell(
        "find /proc/sys /proc/sysrq-trigger /proc/irq /proc/bus /sys -type f -writable 2> /dev/null | head -3"
    )
    assert found.text == "(no output)"


@real
def test_exit_codes_time_limits_and_background_jobs_are_as_ever(place: Place) -> None:
    assert "[exit code 3]" in place.shell("exit 3").text
    assert "timed out" in place.shell("sleep 30", timeout_s=0.3).text
    assert "background job 1" in place.shell("sleep 30 & echo begun").text


@real
def test_a_cancelled_command_is_gone_with_all_it_started(place: Place) -> None:
    async def run() -> None:
        shell = next(tool for tool in builtin_tools() if tool.spec.name == "shell")
        command = "(setsid sh -c 'exec sleep 1068.25' &) ; sleep 30"
        task = asyncio.create_task(shell.run(place.context, {"command": command}))
        await until(lambda: running("1068.25"))
        task.cancel()
        await asyncio.wait([task])
        await until(
            lambda: not running("1068.25"),
            lambda: "the end of what left its process group, with the sandbox",
        )

    asyncio.run(run())


@real
def test_it_is_told_once_and_a_command_that_missed_something_says_how_to_get_it(place: Place) -> None:
    assert "/sandbox network on" in place.shell("touch /usr/x").text
    assert "sandbox" not in place.shell("false").text
    assert place.notices() == ["sandbox"]


@real
def test_the_users_further_folders_are_there(tmp_path: Path) -> None:
    shared, looked_at = tmp_path / "shared", tmp_path / "looked-at"
    for folder in (shared, looked_at):
        folder.mkdir()
        (folder / ".env").write_text("another key")
    place = Place(tmp_path, Settings("on", read=(str(looked_at),), write=(str(shared), "/not/there")))
    done = place.shell(f"ls {looked_at}; touch {shared}/made {looked_at}/made; cat {shared}/.env {looked_at}/.env")
    assert (shared / "made").exists() and not (looked_at / "made").exists()
    assert "another key" not in done.text, "deny_paths hold there, too"


# Where it does not work


def without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    found = children.program
    monkeypatch.setattr(children, "program", lambda name, **more: None if name == "bwrap" else found(name, **more))


def test_on_and_not_there_nothing_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    without_bubblewrap(monkeypatch)
    with pytest.raises(ToolError, match=r"not run: .* not installed.*apt install bubblewrap"):
        place.shell("echo open > made")
    assert not (place.cwd / "made").exists()
    assert place.sandbox.status() == "sandbox missing"


def test_auto_and_not_there_it_runs_open_and_says_so_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    without_bubblewrap(monkeypatch)
    place.sandbox.change(mode="auto")
    place.sandbox.alone = lambda: True
    assert "open" in place.shell("echo open").text
    place.shell("true")
    assert place.notices() == ["sandbox_missing"]
    assert place.sandbox.status() == "NO sandbox"


def test_a_refusal_by_the_kernel_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin")
    monkeypatch.chdir("/usr")
    told = asyncio.run(bubblewrap.probe())
    assert told is not None and "No permissions to create new namespace" in told and "user namespaces" in told


def test_the_whole_disk_is_no_working_folder(place: Place) -> None:
    with pytest.raises(Unconfined, match="whole disk"):
        bubblewrap.wrap(
            cwd=Path("/"), scratch=place.scratch, network=False, read=(), write=(), private=(), env={},
            deny_paths=DenyPaths((), place.cwd),
        )  # fmt: skip


def test_more_files_than_can_be_looked_at_are_a_refusal_not_a_hole(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bubblewrap, "MOST_LOOKED_AT", 2)
    with pytest.raises(Unconfined, match="deny_paths"):
        bubblewrap.wrap(
            cwd=place.cwd, scratch=place.scratch, network=False, read=(), write=(), private=(), env={},
            deny_paths=place.sandbox.deny_paths,
        )  # fmt: skip


# When it is wanted


def test_auto_means_where_nobody_watches(tmp_path: Path) -> None:
    sandbox = Sandbox(Settings(), private=(), deny_paths=DenyPaths((), tmp_path))
    assert (sandbox.wanted, sandbox.status()) == (False, None)
    sandbox.alone = lambda: True
    assert (sandbox.wanted, sandbox.status()) == (True, "sandbox")
    sandbox.change(network=True)
    assert sandbox.status() == "sandbox, network on"
    sandbox.change(mode="off")
    assert (sandbox.wanted, sandbox.status()) == (False, None)


def test_what_the_user_changed_holds_when_the_session_is_resumed(tmp_path: Path) -> None:
    deny = DenyPaths((), tmp_path)
    session = Session.create(tmp_path / "sessions")
    Sandbox(Settings(), private=(), deny_paths=deny, session=session).change(mode="on", network=True)
    again = Sandbox(Settings(), private=(), deny_paths=deny, session=session)
    assert (again.mode, again.network) == ("on", True)


def test_the_section_is_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    assert read_settings({}, file) == Settings("auto", False, (), ())
    assert read_settings({"mode": "on", "write": ["~/.cache/uv"]}, file).write == ("~/.cache/uv",)
    with pytest.raises(UsageError, match=r"sandbox\.mode"):
        read_settings({"mode": "always"}, file)
    with pytest.raises(UsageError, match=r"sandbox\.net "):
        read_settings({"net": True}, file)
    with pytest.raises(UsageError, match=r"sandbox\.read"):
        read_settings({"read": ["relative"]}, file)


# In the chat


class Alone(Plugin):
    """A plugin that goes on by itself, as a goal does."""

    name = "alone"

    def unattended(self) -> bool:
        return True

    def status(self) -> str | None:
        return "goal 1/20"


def test_a_plugin_that_goes_on_by_itself_is_confined_where_everything_may_run(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, plugins={"alone": lambda _host: Alone()})
    bench.run("/approve ask")
    assert bench.chat.host.status() == ("goal 1/20",)
    bench = ChatBench(tmp_path, plugins={"alone": lambda _host: Alone()})
    bench.run("/approve all")
    assert bench.chat.host.status() == ("sandbox", "goal 1/20")


def test_the_command_shows_changes_and_refuses(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)
    bench.run(
        "/sandbox",
        "/sandbox on",
        "/sandbox network on",
        "/sandbox",
        "/sandbox offf",
        "/sandbox network of",
        "/sandbox off",
    )
    first, on, network, second, off = (render(event.view) for event in bench.all(Shown))
    assert "not confined" in first and "auto" in first and str(bench.work) in first
    assert "Every command is confined" in on and "may use the network" in network
    assert "the next command is" in second and "open" in second
    assert "No command is confined" in off
    assert ["did you mean" in str(event.remedy) for event in bench.all(Refused)] == [True, True]


def test_the_users_own_commands_are_not_confined(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)
    outside = tmp_path / "made-outside"
    bench.run("/sandbox on", f"!touch {outside}")
    assert outside.exists()
