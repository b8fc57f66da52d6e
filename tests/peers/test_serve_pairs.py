"""Agents from npm in front of `moa serve`: each reads a file with a tool of its own and answers, with counsel at each step.

Over its own wire each runs in the slow set, for which npm fetches it; over the other wires where `MOA_TEST_NPM` names a folder with all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.peers.npm import installed
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PRESET, UPSTREAM_KEY, Serving
from tests.support.signing import SigningEndpoint

pytestmark = pytest.mark.slow
QUESTION = "Read notes.txt and say the secret word."
SECRET = "marmalade"


def has_result(body: Mapping[str, Any]) -> bool:
    """Whether a tool has answered since the user spoke last."""
    items = body.get("messages") or body["input"]
    text = json.dumps(items[-2:])
    return any(kind in text for kind in ('"tool_result"', '"role": "tool"', '"function_call_output"'))


def work(folder: Path) -> Callable[[Mapping[str, Any], int], Say]:
    """A model that reads the file with whichever tool the agent has for it."""
    tools: dict[str, dict[str, Any]] = {
        "Read": {"file_path": str(folder / "notes.txt")},
        "exec_command": {"cmd": "cat notes.txt"},
        "shell": {"command": ["cat", "notes.txt"]},
        "read": {"path": "notes.txt"},
    }

    def decide(body: Mapping[str, Any], _earlier: int) -> Say:
        offered = [str((each.get("function") or each).get("name")) for each in body.get("tools", ())]
        if not offered:
            return Say(text="A title")
        if has_result(body):
            return Say(text=f"The secret word is {SECRET}." if SECRET in json.dumps(body) else "I saw nothing.")
        name = next(name for name in tools if name in offered)
        return Say(text="Let me look.", tools=((name, tools[name]),))

    return decide


def advice(_body: Mapping[str, Any], earlier: int) -> Say:
    return Say(text=f"NOTE\nLook at place {earlier} again: " + " ".join(f"w{earlier}x{at}" for at in range(6)))


def claude(server: Serving, home: Path, program: str) -> tuple[list[str], dict[str, str]]:
    own = {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_AUTH_TOKEN": server.key or "", "CLAUDE_CONFIG_DIR": str(home)}
    own |= {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "ANTHROPIC_MODEL": "moa/p"}
    return [program, "-p", QUESTION, "--allowedTools", "Read"], own


def codex(server: Serving, home: Path, program: str) -> tuple[list[str], dict[str, str]]:
    (home / "config.toml").write_text(
        'model = "moa/p"\nmodel_provider = "moa"\nweb_search = "disabled"\n[model_providers.moa]\nname = "moa"\n'
        f'base_url = "{server.url}/v1"\nwire_api = "responses"\nenv_key = "MOA_KEY"\n'
    )
    command = [program, "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    return [*command, QUESTION], {"CODEX_HOME": str(home), "MOA_KEY": server.key or ""}


def pi(server: Serving, home: Path, program: str) -> tuple[list[str], dict[str, str]]:
    model = {
        "id": "moa/p",
        "name": "p",
        "reasoning": True,
        "input": ["text"],
        "contextWindow": 100000,
        "maxTokens": 4000,
    }
    provider = {"baseUrl": f"{server.url}/v1", "api": "openai-completions", "apiKey": server.key, "models": [model]}
    (home / "models.json").write_text(json.dumps({"providers": {"moa": provider}}))
    return [program, "--provider", "moa", "--model", "moa/p", "-p", QUESTION], {"PI_CODING_AGENT_DIR": str(home)}


AGENTS = {"claude": (claude, "messages"), "codex": (codex, "responses"), "pi": (pi, "chat")}
PAIRS = [(name, upstream) for name in AGENTS for upstream in ("messages", "responses", "chat")]


@pytest.mark.parametrize(("name", "upstream"), PAIRS)
def test_an_agent_reads_a_file_and_answers(tmp_path: Path, fetched: Path, name: str, upstream: str) -> None:
    program = str(installed(name, fetched if AGENTS[name][1] == upstream else None))
    folder, home = tmp_path / "project", tmp_path / "agent"
    folder.mkdir()
    home.mkdir()
    (folder / "notes.txt").write_text(f"the secret word is {SECRET}\n")
    members = {
        "alpha": advice,
        "beta": Behaviour(steps=(Say(text="NOTHING"),)),
        "gamma": Behaviour(steps=(Say(text="NOTHING"),)),
    }
    up = SigningEndpoint(Script(models={"m": work(folder), **members}, api_key=UPSTREAM_KEY))
    presets = {"p": PRESET.format(main=f"{upstream}:m", aggregate="raw")}
    with up, Serving(tmp_path / "serve", up, presets=presets) as server:
        command, own = AGENTS[name][0](server, home, program)
        keep = {key: os.environ[key] for key in ("PATH", "LANG", "TERM") if key in os.environ}
        env = {**keep, "HOME": str(tmp_path), "PWD": str(folder), "NO_PROXY": "127.0.0.1", **own}
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240
        )
        told = [exchange.path for exchange in up.exchanges]
        assert SECRET in done.stdout, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}\n{told}"
        asked = [
            exchange for exchange in up.exchanges if exchange.body.get("model") == "m" and exchange.body.get("tools")
        ]
        advised = [exchange for exchange in up.exchanges if exchange.body.get("model") == "alpha"]
        assert len(asked) == len(advised) == 2
        assert "Look at place 0" in json.dumps(asked[0].body) and "Look at place 1" in json.dumps(asked[1].body)
        assert up.refusals == []
        # Over its own wire an agent may drop what it likes: these drop thoughts without text.
        assert AGENTS[name][1] == upstream or up.losses(model="m") == []
