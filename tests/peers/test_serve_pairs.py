"""Agents from npm in front of `moa serve`: each reads a file with a tool of its own and answers, with counsel at each step.

They are set up with what their pages in docs/serve say to paste. Over its own wire each runs in the slow set, for which npm fetches it; over the other wires where `MOA_TEST_NPM` names a folder with all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.npm import installed
from tests.peers.pages import page
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PRESET, UPSTREAM_KEY, Serving
from tests.support.signing import SigningEndpoint

pytestmark = [pytest.mark.slow, pytest.mark.alone]
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
        "read": {"path": "notes.txt", "filePath": str(folder / "notes.txt")},
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


@dataclass(frozen=True, slots=True)
class Agent:
    """How one is called. `prepare` writes its settings, and gives its arguments and variables; `wire` is the one that it speaks."""

    program: str
    wire: str
    prepare: Callable[[Serving, Path], tuple[list[str], dict[str, str]]]


def claude(server: Serving, home: Path) -> tuple[list[str], dict[str, str]]:
    here = page("claude-code", server.url, server.key or "")
    own = {"CLAUDE_CONFIG_DIR": str(home), "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    named = {name: here.exports[name] for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN")}
    return [*here.command("claude"), "-p", QUESTION, "--allowedTools", "Read"], {**named, **own}


def codex(server: Serving, home: Path) -> tuple[list[str], dict[str, str]]:
    """By its settings for good."""
    here = page("codex", server.url, server.key or "")
    (home / "config.toml").write_text(here.block("toml"))
    return [*CODEX, QUESTION], {"CODEX_HOME": str(home), **here.exports}


def codex_once(server: Serving, home: Path) -> tuple[list[str], dict[str, str]]:
    """By its one command line."""
    here = page("codex", server.url, server.key or "")
    return [*here.command("codex"), *CODEX, QUESTION], {"CODEX_HOME": str(home), **here.exports}


CODEX = ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]


def pi(api: str = "", base: str = "/v1") -> Callable[[Serving, Path], tuple[list[str], dict[str, str]]]:
    """`api` and `base` where not those of the page's example."""

    def prepare(server: Serving, home: Path) -> tuple[list[str], dict[str, str]]:
        other = {"openai-completions": api, f"{server.url}/v1": f"{server.url}{base}"} if api else None
        here = page("pi", server.url, server.key or "", more=other)
        (home / "models.json").write_text(here.block("json"))
        return [*here.command("pi"), "-p", QUESTION], {"PI_CODING_AGENT_DIR": str(home)}

    return prepare


def opencode(server: Serving, home: Path) -> tuple[list[str], dict[str, str]]:
    here = page("opencode", server.url, server.key or "")
    (home.parent / "project" / "opencode.json").write_text(here.block("json"))
    quiet = ("MODELS_FETCH", "AUTOUPDATE", "LSP_DOWNLOAD")
    return ["run", *here.command("opencode"), QUESTION], {f"OPENCODE_DISABLE_{name}": "1" for name in quiet}


AGENTS = {
    "claude": Agent("claude", "messages", claude),
    "codex": Agent("codex", "responses", codex),
    "pi": Agent("pi", "chat", pi()),
    "opencode": Agent("opencode", "chat", opencode),
}
WAYS = {
    "codex by one line": Agent("codex", "responses", codex_once),
    "pi on Messages": Agent("pi", "messages", pi("anthropic-messages", "")),
    "pi on Responses": Agent("pi", "responses", pi("openai-responses")),
}
"""Other ways that the pages name: over their own wire alone."""
FETCHED = ("claude", "codex", "pi")
"""Over its own wire each of these runs without `MOA_TEST_NPM`, too."""
PAIRS = [(name, upstream) for name in AGENTS for upstream in ("messages", "responses", "chat")]
PAIRS += [(name, way.wire) for name, way in WAYS.items()]


@pytest.mark.parametrize(("name", "upstream"), PAIRS)
def test_an_agent_reads_a_file_and_answers(tmp_path: Path, fetched: Path, name: str, upstream: str) -> None:
    agent = {**AGENTS, **WAYS}[name]
    program = str(installed(agent.program, fetched if name in FETCHED and agent.wire == upstream else None))
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
        arguments, own = agent.prepare(server, home)
        keep = {key: os.environ[key] for key in ("PATH", "LANG", "TERM") if key in os.environ}
        env = {**keep, "HOME": str(tmp_path), "PWD": str(folder), "NO_PROXY": "127.0.0.1", **own}
        done = subprocess.run(
            [program, *arguments],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=240,
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
        assert agent.wire == upstream or up.losses(model="m") == []
