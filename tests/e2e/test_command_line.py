"""What can be typed at the shell: a prompt, a pipe, a session."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.contract import checked
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program


@pytest.mark.parametrize("words", [("-p", "hello"), ("--model", "fake:say", "-p", "hello"), ("run", "hello")])
def test_p_is_run(program: Program, endpoint: ScriptedEndpoint, words: tuple[str, ...]) -> None:
    more = () if "--model" in words else ("--model", "fake:say")
    done = program(*words, *more)
    assert done.code == 0 and endpoint.calls("say")[-1].last_text == "hello"


def piped(program: Program, text: str, *words: str) -> int:
    return subprocess.run(
        [str(program.executable), *words],
        input=text,
        capture_output=True,
        text=True,
        env=program.environment,
        cwd=program.work_dir,
        timeout=60,
    ).returncode


def test_what_is_piped_in_is_added_to_the_prompt(program: Program, endpoint: ScriptedEndpoint) -> None:
    assert piped(program, "line one\n", "run", "explain this", "--model", "fake:say") == 0
    assert endpoint.calls("say")[-1].last_text == "explain this\n\nline one\n"
    assert piped(program, "only this", "run", "--model", "fake:say") == 0
    assert endpoint.calls("say")[-1].last_text == "only this"


@pytest.mark.slow
def test_a_pipe_that_says_nothing_holds_nobody_up(program: Program, endpoint: ScriptedEndpoint) -> None:
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            [str(program.executable), "run", "hello", "--model", "fake:say"],
            stdin=reader,
            capture_output=True,
            text=True,
            env=program.environment,
            cwd=program.work_dir,
            timeout=60,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 0 and "nothing came on standard input" in done.stderr
    assert endpoint.calls("say")[-1].last_text == "hello"


def test_a_session_goes_on_by_either_name(program: Program, endpoint: ScriptedEndpoint) -> None:
    first = checked(program.run("hello", "--model", "fake:say"), "done")["session"]
    assert checked(program.run("again", "--model", "fake:say", "--resume", first), "done")["session"] == first
    assert len(endpoint.calls("say")[-1].body["messages"]) > len(endpoint.calls("say")[0].body["messages"])


def test_a_word_that_is_nearly_a_command_is_not_sent(program: Program) -> None:
    done = program("docter")
    assert done.code == 2 and "did you mean moa doctor?" in done.err
