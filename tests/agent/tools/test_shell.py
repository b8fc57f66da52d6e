"""shell, with real processes: what the model is told, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.process.output import harmless
from agent.tools.base import ToolError
from agent.tools.shell import Shell
from tests.agent.tools.support import acall, call, make_context, refused
from tests.support.processes import needs_proc, running
from tests.support.waiting import until, wait_until


def test_output_exit_code_and_no_input(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert call(context, "shell", command="echo out; echo err >&2; pwd").text == f"out\nerr\n{tmp_path}"
    failed = call(context, "shell", command="cat; exit 3")
    assert (failed.text, failed.is_error) == ("(no output)\n[exit code 3]", True)
    assert call(context, "shell", command="kill -9 $$").text.endswith("[ended by SIGKILL]")


def test_long_output_keeps_both_ends_and_the_whole_in_a_file(tmp_path: Path) -> None:
    result = call(make_context(tmp_path), "shell", command="seq 1 50000")
    assert result.text.startswith("1\n2\n") and result.text.endswith("\n49999\n50000")
    assert len(result.text) < 16_200
    assert result.full_output is not None and f"the whole in {result.full_output}" in result.text
    assert result.full_output.read_text() == "".join(f"{n}\n" for n in range(1, 50001))


def test_no_keys_in_the_environment_and_one_level_deeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "sk-secret")
    monkeypatch.setenv("A_COPY", "sk-secret")
    monkeypatch.setenv("MOA_DEPTH", "1")
    shell = Shell(strip_env={"THE_KEY", "NOT_SET"})
    assert "sk-secret" not in call(make_context(tmp_path), shell, command="env").text
    assert call(make_context(tmp_path), shell, command="echo $MOA_DEPTH").text == "2"


@needs_proc
def test_a_time_out_ends_the_whole_group_even_one_that_ignores_it(tmp_path: Path) -> None:
    command = "trap '' TERM; (sleep 1061.25; true) | cat & echo begun; sleep 1061.25"
    result = call(make_context(tmp_path), "shell", command=command, timeout_s=0.3)
    assert result.text.startswith("begun\n[timed out after 0.3 s") and result.is_error
    assert not running("1061.25")


@needs_proc
def test_cancelling_ends_it_and_all_that_it_started(tmp_path: Path) -> None:
    async def main() -> None:
        task = asyncio.create_task(acall(make_context(tmp_path), "shell", command="sh -c 'sleep 1062.25 & wait' | cat"))
        await until(lambda: running("1062.25"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not running("1062.25")


@needs_proc
def test_a_process_that_left_the_group_is_ended_with_a_command_that_is(tmp_path: Path) -> None:
    command = "setsid sleep 64.25 & setsid sh -c 'trap \"\" TERM; sleep 65.25' & sleep 66.25"
    assert "timed out" in call(make_context(tmp_path), "shell", command=command, timeout_s=0.5).text
    # They are no children of ours: nobody waits for what was killed to be gone, which takes the kernel a moment.
    wait_until(lambda: not any(running(mark) for mark in ("64.25", "65.25", "66.25")))


def test_a_process_that_left_the_group_does_not_hold_the_call(tmp_path: Path) -> None:
    command = "setsid sleep 1067.25 & echo gone"
    assert call(make_context(tmp_path), "shell", command=command, timeout_s=60).text == "gone"
    for pid in running("1067.25"):
        os.kill(pid, signal.SIGKILL)


@needs_proc
def test_jobs_in_the_background(tmp_path: Path) -> None:
    async def main() -> None:
        context, shell = make_context(tmp_path), Shell()

        async def run(command: str, **more: float) -> str:
            return (await acall(context, shell, command=command, **more)).text

        assert await run(":jobs") == "no background jobs"
        assert "[background job 1 is running; log: " in await run("echo ready; sleep 63.25", timeout_s=0)
        assert "ready\n[what it left running is background job 2" in await run("sleep 63.25 & echo ready")
        assert (await run("exit 4", timeout_s=0)).endswith("[job 3 ended with exit code 4 at once]")
        await run("sleep 0.3; echo late", timeout_s=0)
        assert (await run(":wait 4", timeout_s=5)).endswith("its output:\nlate")
        assert "its output:\nready" in await run(":tail 1")
        assert (await run(":stop 1")).startswith("job 1 stopped")
        states = [line.split("  ")[1] for line in (await run(":jobs")).splitlines()]
        assert states.pop(1).startswith("running for ")
        assert states == ["stopped", "ended with exit code 4", "ended with exit code 0"]
        with pytest.raises(ToolError, match="there is no background job '9'; there are: 1, 2, 3, 4"):
            await run(":stop 9")
        assert running("63.25")
        await shell.aclose()
        assert not running("63.25")
        assert shell.reads_only({"command": ":jobs"}) and not shell.reads_only({"command": "ls"})

    asyncio.run(main())


def test_progress_is_shown_while_it_runs(tmp_path: Path) -> None:
    seen: list[str] = []
    context = make_context(tmp_path)
    context.progress = seen.append
    call(context, "shell", command="printf '\\033[31mone\\033[0m\\n'; sleep 0.3; echo two")
    assert seen == ["one\n", "two\n"]


def test_a_command_that_names_a_denied_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY=1")
    (tmp_path / "link").symlink_to(".env")
    context = make_context(tmp_path, ".env", "**/secrets/**")
    for command in (
        "cat .env",
        "cat <.env",
        'cat ".env"',
        "cat .e'n'v",
        "git show HEAD:.env",
        "cat link",
        "ls a/secrets/b",
        "x --f=./.ENV",
    ):
        assert "deny" in refused(context, "shell", command=command), command
    assert call(context, "shell", command="echo .environment").text == ".environment"


def test_binary_and_empty_commands(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert call(context, "shell", command="printf 'a\\0b'").text == "(binary output, 3 bytes)"
    assert "empty" in refused(context, "shell", command="  ")
    assert "cannot" not in refused(make_context(tmp_path / "gone"), "shell", command="true")


def test_terminal_output_becomes_plain_text() -> None:
    assert harmless("\x1b]0;title\x07\x1b[1;31mred\x1b[0m\r\n") == "red\n"
    assert harmless("10%\r 50%\r100%\ndone") == "100%\ndone"
    assert harmless("abc\b\bX") == "aX"
    assert harmless("a\x1bPq#0\n~-\x1b\\b") == "ab"


def test_a_sequence_without_an_end_hides_no_further_line() -> None:
    """`ls` in a folder with a file of such a name."""
    assert harmless("a\n\x1b]0;name\nb\n\x1bPname\nc\x07") == "a\n\nb\n\nc\ufffd"


@given(st.text(st.characters(codec="utf-8")))
def test_nothing_harmful_is_left(text: str) -> None:
    left = harmless(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in left)
    assert harmless(left) == left


def test_the_log_is_kept_out_of_the_way(tmp_path: Path) -> None:
    call(make_context(tmp_path), "shell", command="echo small")
    assert not list(tmp_path.iterdir())
