"""Programs as models: what they are started with, what is read of their answers, how they fail, and that none is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from agent.config.config import load_config
from agent.errors import UsageError
from agent.llm.accounting import CallContext
from agent.llm.client import Clocks
from agent.llm.errors import ModelError, TimedOut
from agent.llm.messages import assistant, system, user
from agent.llm.models.endpoint import WELL_KNOWN, Endpoint
from agent.llm.programs.known import arguments
from agent.llm.request import ModelRef, Request
from agent.llm.stream import Alive, TextDelta, Usage
from tests.agent.llm.doors import Door, door
from tests.support import agent_program

SCRIPT = agent_program.__file__
MEMBER = CallContext("reference", session="s", run="r", turn="t", slot="1")


def program(mode: str, *more: str, kind: str = "text", **options: Any) -> Endpoint:
    command = (sys.executable, SCRIPT, mode, *more)
    return Endpoint(
        "prog", "command:python", dialect="command", native_tools=False, command=command, program=kind, **options
    )


def at(endpoint: Endpoint, **options: Any) -> Door:
    return door(endpoint=endpoint, dialects={}, network=True, **options)


def in_a_loop(test: Callable[..., Any]) -> Callable[..., None]:
    """The test as a plain function."""

    @wraps(test)
    def plain(*args: Any, **named: Any) -> None:
        asyncio.run(test(*args, **named))

    return plain


ASK = Request(
    ModelRef("prog", "m"), (system("Be short."), user("What now?")), tail="Your role: critic.", max_tokens=100
)


@pytest.mark.parametrize(
    ("mode", "kind", "text", "usage", "usd", "model", "id"),
    [
        ("text", "text", "first\n\nsecond", None, None, None, None),
        ("claude", "claude", "from claude", Usage(125, 100, 20, 7, 0), 0.0123, "claude-opus-5-5", "ses-1"),
        ("codex", "codex", "from codex", Usage(90, 40, 0, 12, 4), None, None, "thr-1"),
        ("gemini", "gemini", "from gemini", Usage(60, 10, 0, 12, 3), None, "gemini-3-pro", "g-1"),
    ],
)
@in_a_loop
async def test_answers(
    mode: str, kind: str, text: str, usage: Usage | None, usd: float | None, model: str | None, id: str | None
) -> None:
    async with at(program(mode, kind=kind, own_tools=True)) as bench:
        reply = await bench.ask(ASK, MEMBER)
    assert reply.message.text == text
    assert "".join(event.text for event in bench.events if isinstance(event, TextDelta)) == text
    assert not any(isinstance(event, Alive) for event in bench.events)
    assert (reply.usage, reply.model_served, reply.generation_id) == (usage, model, id)
    assert reply.cost_nano == (None if usd is None else round(usd * 1e9))
    assert reply.cost_source == ("unknown" if usd is None else "reply")
    assert [settled.outcome for settled in bench.books.settled] == ["done"]


@pytest.mark.parametrize(
    ("mode", "kind", "error", "words"),
    [
        ("claude-error", "claude", "rate_limited", "usage limit reached"),
        ("claude-login", "claude", "auth", "Not logged in"),
        ("codex-failed", "codex", "program_failed", "no model"),
        ("crash", "text", "program_failed", "ended with exit code 1: the disk is full"),
        ("killed", "claude", "program_failed", "was ended by signal 9"),
        ("silent", "text", "empty_answer", "without saying anything"),
        ("silent", "codex", "empty_answer", "printed nothing"),
        ("garbage", "claude", "bad_answer", "not its JSON form"),
        ("garbage", "codex", "bad_answer", "not its JSON form"),
        ("endless", "text", "answer_too_long", "more than"),
        ("endless", "claude", "answer_too_long", "more than"),
    ],
)
@in_a_loop
async def test_failures_are_named_and_not_tried_again(mode: str, kind: str, error: str, words: str) -> None:
    async with at(program(mode, kind=kind, own_tools=True)) as bench:
        with pytest.raises(ModelError) as raised:
            await bench.ask(replace(ASK, max_tokens=1), MEMBER)
    assert (raised.value.kind, words in raised.value.message) == (error, True), raised.value.message
    assert len(raised.value.message) < 1000
    assert sorted({line for line, _id in bench.books.lines}) == ["reserve", "sent", "settle"]
    assert len(bench.books.settled) == len(bench.books.bounds) == 1
    if mode == "crash":
        assert raised.value.partial is not None and raised.value.partial.text == "half an answer"


@in_a_loop
async def test_a_program_that_is_not_there_is_named_and_costs_nothing() -> None:
    endpoint = replace(program("text"), command=("no-such-agent-anywhere", "-p"))
    async with at(endpoint) as bench:
        with pytest.raises(ModelError, match="no program 'no-such-agent-anywhere'") as raised:
            await bench.ask(ASK, MEMBER)
    assert raised.value.remedy is not None and "[endpoints.prog]" in raised.value.remedy
    assert bench.books.settled[0].cost_nano == 0


@in_a_loop
async def test_what_a_program_is_started_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-not-for-children")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://elsewhere.invalid")
    monkeypatch.setenv("CODEX_HOME", str(tmp_path))
    monkeypatch.setenv("MOA_DEPTH", "0")
    endpoint = program(
        "told", "--model", "{model}", environment={"MODE": "x"}, api_key="sk-named", api_key_env="AGENT_KEY"
    )
    talk = (*ASK.messages, assistant("Wait."), user("And now?"))
    async with at(endpoint) as bench:
        told = json.loads((await bench.ask(replace(ASK, messages=talk), MEMBER)).message.text)
        plain = json.loads((await bench.ask(replace(ASK, model=ModelRef("prog", "default")), MEMBER)).message.text)
    assert told["prompt"] == (
        "# Instructions\n\nBe short.\n\n# User\n\nWhat now?\n\n# Assistant\n\nWait.\n\n# User\n\nAnd now?\n\n# User\n\nYour role: critic."
    )
    assert (told["argv"], plain["argv"]) == (["--model", "m"], [])
    assert told["files"] == [] and Path(told["cwd"]) != Path.cwd() and not Path(told["cwd"]).exists()
    env = told["env"]
    # The one key that the user named for this program, what the user set for it, and how deep it is.
    assert (env["AGENT_KEY"], env["MODE"], env["MOA_DEPTH"], env["CODEX_HOME"]) == ("sk-named", "x", "1", str(tmp_path))
    assert not {"OPENROUTER_API_KEY", "ANTHROPIC_BASE_URL"} & env.keys()


@in_a_loop
async def test_a_prompt_as_an_argument() -> None:
    async with at(program("told", "ask: {prompt}")) as bench:
        told = json.loads((await bench.ask(replace(ASK, tail="{folder} stays"), MEMBER)).message.text)
        assert told["argv"] == ["ask: # Instructions\n\nBe short.\n\n# User\n\nWhat now?\n\n# User\n\n{folder} stays"]
        assert told["prompt"] == ""
        with pytest.raises(ModelError, match="longer than an argument may be"):
            await bench.ask(replace(ASK, tail="x" * 200_000), MEMBER)


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("claude-cli", ["--model", "m", "--effort", "low", "--tools", ""]),
        ("codex-cli", ["--model", "m", "-c", 'model_reasoning_effort="low"', "--sandbox", "read-only", "-"]),
        ("gemini-cli", ["--model", "m", "--policy", "{beside}/no-tools.toml"]),
    ],
)
def test_the_known_programs_come_with_their_tools_off(name: str, has: list[str]) -> None:
    request = replace(ASK, model=ModelRef(name, "m"), reasoning="low")
    argv = arguments(WELL_KNOWN[name], request)
    assert set(has) <= set(argv)
    own = arguments(replace(WELL_KNOWN[name], own_tools=True), request)
    assert not set(own) & {"--tools", "--sandbox", "--policy"}
    with pytest.raises(UsageError, match="not a name of a model"):
        arguments(WELL_KNOWN[name], replace(ASK, model=ModelRef(name, "--dangerously-skip-permissions")))


def gone(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", ["cancelled", pytest.param("timed out", marks=pytest.mark.slow)])
@in_a_loop
async def test_nothing_is_left_of_a_program_that_was_stopped(how: str, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    clocks = Clocks(ceiling=1.0) if how == "timed out" else Clocks(silence=0.001)
    async with at(program("hang", str(file)), clocks=clocks) as bench:
        stream: AsyncIterator[Any] = bench.client.stream(ASK, MEMBER)
        if how == "timed out":
            with pytest.raises(TimedOut):
                await _through(stream)
        else:
            # Silence says nothing of a program that prints at its end: a clock of a millisecond for it does not count.
            working = asyncio.Event()
            task = asyncio.create_task(_through(stream, working))
            await working.wait()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        pids = [int(pid) for pid in file.read_text().split()]
        assert len(pids) == 3 and all(gone(pid) for pid in pids)
    assert [settled.outcome for settled in bench.books.settled] == ["cancelled" if how == "cancelled" else "incomplete"]


async def _through(stream: AsyncIterator[Any], working: asyncio.Event | None = None) -> None:
    async for event in stream:
        if working is not None and isinstance(event, TextDelta):
            working.set()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('dialect = "command"', "endpoints.prog.command is missing"),
        ('dialect = "command"\ncommand = ["x"]\nbase_url = "http://a"', "base_url is not a known key"),
        ('dialect = "command"\ncommand = ["x"]\nprogram = "cloud"', "program is 'cloud'"),
        ('dialect = "command"\ncommand = ["x"]\n[endpoints.prog.env]\nA = 1', "env.A"),
    ],
)
def test_mistakes_in_the_settings(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "config.toml").write_text(f"[endpoints.prog]\n{text}\n")
    env = {f"MOA_{kind}_DIR": str(tmp_path) for kind in ("CONFIG", "STATE", "CACHE")}
    with pytest.raises(UsageError) as raised:
        load_config(env)
    assert problem in raised.value.message and raised.value.remedy


def test_the_contracts_own_example(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[endpoints.claude-cli]\ndialect = "command"\ncommand = ["claude", "-p", "--output-format", "json", "--model", "{model}"]\n'
        '[endpoints.claude-cli.env]\nCLAUDE_CODE_OAUTH_TOKEN = "a-long-secret-token"\n'
    )
    env = dict(os.environ) | {f"MOA_{kind}_DIR": str(tmp_path) for kind in ("CONFIG", "STATE", "CACHE")}
    config = load_config(env)
    endpoint = config.endpoints["claude-cli"]
    assert replace(endpoint, environment={}) == WELL_KNOWN["claude-cli"]
    assert "a-long-secret-token" in config.secrets() and "a-long" not in repr(endpoint)
