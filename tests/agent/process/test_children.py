"""How children of ours start: with which environment, and which program."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent.process import children, handover
from agent.process.children import MORE, Needs
from agent.process.process import Child, marked, new_mark
from agent.sandbox import bubblewrap
from agent.tools.grep import Grep
from agent.ui import clipboard
from tests.agent.tools.support import call, make_context
from tests.support.waiting import until, wait_until

SECRETS = {
    "OPENROUTER_API_KEY": "sk-or-secret-1",
    "MY_KEY": "sk-secret-2",
    "GITHUB_TOKEN": "ghp-secret-3",
    "PIP_PASSWORD": "secret-4",
    "XDG_SECRET": "secret-5",
    "MOA_SERVE_KEY": "secret-6",
    "DATABASE_URL": "postgres://u:secret-7@h/d",
    "LC_LOOKS_HARMLESS": "sk-or-secret-1",
    "LD_PRELOAD": "/secret-8.so",
    "PYTHONSTARTUP_TOKEN": "secret-9",
    "GIT_SSH_COMMAND": "secret-10",
    "RIPGREP_CONFIG_PATH": "secret-11",
}


@pytest.mark.parametrize("needs", [(), *((need,) for need in MORE), tuple(MORE)])
def test_no_key_is_in_the_environment_of_a_child_of_ours(needs: tuple[Needs, ...]) -> None:
    env = children.environment(*needs, env={"PATH": "/bin", "HOME": "/h", "LANG": "C", **SECRETS})
    assert env == {"PATH": "/bin", "HOME": "/h", "LANG": "C"}


@pytest.mark.parametrize("needs", [(), *((need,) for need in MORE)])
def test_a_child_really_starts_with_it(needs: tuple[Needs, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    done = children.run(["env"], env=children.environment(*needs), timeout_s=10)
    assert done is not None and b"PATH=" in done.stdout and b"secret" not in done.stdout


def plant(folder: Path, name: str, ran: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
    (folder / name).chmod(0o755)


# What a folder that somebody else filled may have put on PATH, as PATH entries and where the program lies then.
ON_PATH = [
    (".", "."),
    ("", "."),
    ("node_modules/.bin", "node_modules/.bin"),
    ("{cwd}/.venv/bin", ".venv/bin"),
    ("{cwd}/../sibling", "../sibling"),
    ("{cwd}/bin", "bin"),
]


@pytest.mark.parametrize(("entry", "place"), ON_PATH)
def test_no_program_of_the_project_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, place: str
) -> None:
    root, ran = tmp_path / "project", tmp_path / "ran"
    cwd = root / "part"
    (cwd / "inner").mkdir(parents=True)
    (root / ".git").mkdir()
    for name in ("git", "rg", "bwrap", "xclip", "env"):
        plant(cwd / place, name, ran)
    (cwd / "a.txt").write_text("needle")
    monkeypatch.chdir(cwd)
    monkeypatch.setenv("PATH", f"{entry.format(cwd=cwd)}:{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":99")
    context = make_context(cwd)
    assert call(context, "glob", pattern="*.txt").text == "a.txt"
    (cwd / "inner" / ".git").mkdir()  # a repository in there makes no other project of it
    assert call(context, "glob", pattern="*", path="inner").text == "no file matches *"
    assert "no line" in call(context, Grep(), pattern="needle", path="inner").text
    assert "needle" in call(context, Grep(), pattern="needle").text
    asyncio.run(bubblewrap.probe())
    asyncio.run(clipboard.copy("text", None))
    children.run(["env"], env=children.environment(), timeout_s=10)
    script = tmp_path / "opener"  # as xdg-open is one
    script.write_text("#!/bin/sh\ngit --version; rg --version; env\n")
    script.chmod(0o755)
    assert children.run([str(script)], env=children.environment("desktop"), timeout_s=10) is not None
    assert not ran.exists()


def test_in_the_home_folder_what_the_user_installed_there_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path / ".local" / "bin", "mine", tmp_path / "ran")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/.local/bin")
    monkeypatch.chdir(tmp_path)
    assert children.program("mine") == str(tmp_path / ".local" / "bin" / "mine")


def test_what_is_handed_over_stands_in_no_environment_and_arrives_whole(tmp_path: Path) -> None:
    code = "import os; from agent.process import handover; handover.take(); print(os.environ['K'], len(os.environ['LONG']), os.environ['A'])"

    async def main() -> bytes:
        with handover.offered({"K": "sk-secret", "LONG": "x" * 300_000, "A": "theirs"}) as descriptor:
            env = {**children.environment("python"), "A": "own", handover.VARIABLE: str(descriptor)}
            assert "sk-secret" not in str(env)
            process = await children.start(
                [sys.executable, "-c", code], env=env, stdout=asyncio.subprocess.PIPE, pass_fds=[descriptor]
            )
        return (await process.communicate())[0]

    assert asyncio.run(main()).split() == [b"sk-secret", b"300000", b"own"]


def test_commands_find_the_projects_programs_all_the_same() -> None:
    with handover.offered({"PATH": "/project/.venv/bin:/usr/bin"}) as descriptor:
        env = {"PATH": "/usr/bin", handover.VARIABLE: str(os.dup(descriptor))}
        handover.take(env)
    assert env == {"PATH": "/project/.venv/bin:/usr/bin"}


@pytest.mark.parametrize("number", ["", "x", "2", "999", "-1"])
def test_a_handover_that_is_none_is_passed_over(number: str) -> None:
    env = {handover.VARIABLE: number}
    handover.take(env)
    assert env == {}


class Inline(ThreadPoolExecutor):
    """Does its work at once, so that the same step of the loop always has the same in it."""

    def submit(self, work: Callable[..., Any], /, *words: Any, **more: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*words, **more))
        return done


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("step", range(12))
def test_what_is_cancelled_while_it_begins_leaves_nothing_behind(tmp_path: Path, step: int) -> None:
    async def begin() -> None:
        asyncio.get_running_loop().set_default_executor(Inline())
        mark, told = new_mark(), tmp_path / "told"
        argv = ["/bin/sh", "-c", f"sleep 1000 & echo $! > {told}; wait"]
        starting = asyncio.create_task(
            Child.start(argv, cwd=tmp_path, feed=lambda _data: None, env=os.environ, mark=mark)
        )
        for _ in range(step):
            await asyncio.sleep(0)
        if marked(mark.encode()):
            wait_until(lambda: told.exists() and told.read_text().strip())
        starting.cancel()
        try:
            child = await starting
        except asyncio.CancelledError:
            await until(lambda: not marked(mark.encode()))
        else:
            await child.end()

    asyncio.run(begin())
