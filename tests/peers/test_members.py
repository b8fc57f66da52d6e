"""`claude` and `codex` from npm as members of a panel, against an endpoint on the loopback interface in the place of their vendors'."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.peers.npm import installed
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Finished, Program, endpoint_config
from tests.support.script import Behaviour, Say, Script

pytestmark = pytest.mark.alone

peers = pytest.mark.skipif("MOA_TEST_NPM" not in os.environ, reason="MOA_TEST_NPM names no folder with npm packages")
ADVICE = "The loop never ends when the list is empty."
OWN_VARIABLES = {"claude": "CLAUDE_CONFIG_DIR", "codex": "CODEX_HOME"}


def seat(program: Program, endpoint: ScriptedEndpoint, name: str, npm: Path | None = None, **more: object) -> None:
    """The agent as the only member of the preset `p`, with folders of its own and the scripted endpoint as its vendor."""
    command = [str(installed(name, npm))]
    own = program.home / f".{name}"
    own.mkdir(exist_ok=True)
    variables = {OWN_VARIABLES[name]: str(own)}
    if name == "claude":
        command += ["-p", "--output-format", "json", "--model", "{model}"]
        variables |= {"ANTHROPIC_BASE_URL": endpoint.url, "CLAUDE_CODE_MAX_RETRIES": "0"}
    else:
        provider = f'{{name="x",base_url="{endpoint.base_url}",wire_api="responses",env_key="AGENT_KEY",request_max_retries=0}}'
        command += [
            "exec",
            "--json",
            "--model",
            "{model}",
            "-c",
            'model_provider="x"',
            "-c",
            f"model_providers.x={provider}",
        ]
    config = [
        endpoint_config(endpoint.base_url),
        f"[endpoints.{name}-cli]",
        'dialect = "command"',
        f"command = {json.dumps(command)}",
        f'api_key_env = "{"ANTHROPIC_API_KEY" if name == "claude" else "AGENT_KEY"}"',
        f"[endpoints.{name}-cli.env]",
        *(f"{key} = {json.dumps(value)}" for key, value in variables.items()),
    ]
    program.config("\n".join(config) + "\n")
    settings = "".join(f"{key} = {json.dumps(value)}\n" for key, value in more.items())
    program.preset("p", f'cadence = "turn"\naggregate = "raw"\n{settings}[[references]]\nmodel = "{name}-cli:seat"\n')


def ask(program: Program) -> Finished:
    return program.run("Look at this.", "--preset", "p", env=KEYS, timeout_s=90)


KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-member-key",
    "AGENT_KEY": "sk-codex-member-key",
    "OPENROUTER_API_KEY": "sk-or-of-ours",
}


def member_calls(endpoint: ScriptedEndpoint) -> list[dict[str, object]]:
    return [dict(call.body) for call in endpoint.calls() if call.model != "worker"]


def answers(program: Program, endpoint: ScriptedEndpoint, name: str, npm: Path | None = None) -> None:
    seat(program, endpoint, name, npm)
    endpoint.script = Script(models={"seat": Behaviour(steps=(Say(text=f"CONCERN\n{ADVICE}"),)), "worker": Behaviour()})
    done = ask(program)
    assert done.code == 0, done.err
    (counsel,) = done.result["counsel"]
    assert (counsel["answered"], counsel["failed"]) == (1, []) and ADVICE in counsel["guidance"]
    (call,) = [call for call in done.result["calls"] if call["purpose"] == "reference"]
    assert call["outcome"] == "done" and call["prompt_tokens"] > 0 and call["completion_tokens"] > 0
    assert (call["cost_usd"] is not None) == (name == "claude")
    # What the vendor was sent: our prompt, and no tool that does anything.
    (sent,) = member_calls(endpoint)
    text = json.dumps(sent)
    tools = {tool.get("name") for tool in sent.get("tools") or []}  # type: ignore[attr-defined]
    assert "Look at this." in text and tools <= {"apply_patch", "request_user_input"}
    assert "sk-or-of-ours" not in text


@pytest.mark.slow
def test_claude_answers_as_a_member(program: Program, endpoint: ScriptedEndpoint, fetched: Path) -> None:
    answers(program, endpoint, "claude", fetched)


@peers
@pytest.mark.slow
def test_codex_answers_as_a_member(program: Program, endpoint: ScriptedEndpoint) -> None:
    answers(program, endpoint, "codex")


@peers
@pytest.mark.slow
@pytest.mark.parametrize("name", ["claude", "codex"])
@pytest.mark.parametrize(
    ("say", "settings", "kinds"),
    [
        (Say(shape="hang"), {"timeout_s": 8}, {"timed_out"}),
        (Say(status=400, error="no such thing"), {}, {"program_failed"}),
        (Say(status=401, error="invalid x-api-key"), {}, {"auth"}),
        (Say(text="", body=True), {"timeout_s": 30}, {"empty_answer", "program_failed", "timed_out"}),
    ],
)
def test_their_failures_are_named_and_the_turn_goes_on(
    program: Program, endpoint: ScriptedEndpoint, name: str, say: Say, settings: dict[str, object], kinds: set[str]
) -> None:
    seat(program, endpoint, name, **settings)
    endpoint.script = Script(models={"seat": Behaviour(steps=(say,)), "worker": Behaviour()})
    done = ask(program)
    assert done.code == 0 and done.result["text"], done.err
    (counsel,) = done.result["counsel"]
    (failure,) = counsel["failed"]
    assert failure["kind"] in kinds, failure
    assert left_of(program) == []


@peers
@pytest.mark.slow
@pytest.mark.parametrize("name", ["claude", "codex"])
def test_garbage_and_a_crash(program: Program, endpoint: ScriptedEndpoint, name: str, tmp_path: Path) -> None:
    """The real program behind a wrapper that spoils what it prints, or ends it in the middle."""
    seat(program, endpoint, name)
    endpoint.script = Script(models={"seat": Behaviour(steps=(Say(text=ADVICE),)), "worker": Behaviour()})
    config = (program.config_dir / "config.toml").read_text()
    real = str(installed(name))
    for script, kind in (('"$@" | tr "{}" "<>"', "bad_answer"), ('"$@" >/dev/null; kill -SEGV $$', "program_failed")):
        wrapped = config.replace(f'["{real}"', f'["/bin/sh", "-c", {json.dumps(script)}, "sh", "{real}"')
        program.config(wrapped.replace('dialect = "command"', f'dialect = "command"\nprogram = "{name}"'))
        done = ask(program)
        (counsel,) = done.result["counsel"]
        assert (done.code, [failure["kind"] for failure in counsel["failed"]]) == (0, [kind]), counsel


@peers
@pytest.mark.slow
@pytest.mark.parametrize("name", ["claude", "codex"])
def test_a_stopped_run_leaves_none_of_them(program: Program, endpoint: ScriptedEndpoint, name: str) -> None:
    seat(program, endpoint, name)
    endpoint.script = Script(models={"seat": Behaviour(steps=(Say(shape="hang"),)), "worker": Behaviour()})
    child = program.start("run", "--preset", "p", "Look at this.", env=KEYS)
    endpoint.wait_for(lambda: list(endpoint.calls("seat")), 60)
    assert left_of(program), "the member is at work"
    child.send_signal(signal.SIGINT)
    # The program ends members before itself; it has a second for that, and whoever waits longer has found a fault.
    child.communicate(timeout=10)
    assert child.returncode == 130 and left_of(program) == []


def left_of(program: Program) -> list[str]:
    """Command lines of processes that were started with the member's own folder in their environment."""
    found, needle = [], str(program.home / ".").removesuffix(".").encode()
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if not process.name.isdigit() or b"MOA_CHILD=" not in (environ := (process / "environ").read_bytes()):
                continue
            if needle in environ and (process / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
