"""`moa serve` in front of the bundled local model: the official Python clients, and an agent from npm, get an answer with counsel."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.moa.serve.test_process import Process
from tests.peers.npm import installed

pytestmark = [pytest.mark.slow, pytest.mark.alone]
SHIPPED = Path(__file__).parents[2] / "presets" / "local.toml"
ON = {"x-moa-counsel": "on"}
"""A request with so little room for its answer looks like a side call."""
QUESTION = "Name one thing to check before a release."


class Local(Process):
    """The server with a panel of the local model."""

    def purposes(self, which: str) -> list[str]:
        """What calls were for, from the ledger."""
        asked = {"authorization": f"Bearer {self.key}"}
        calls = httpx.get(f"{self.url}/v1/activity?{which}", headers=asked, trust_env=False).json()["calls"]
        # llama.cpp's server closes its socket behind each stream: a request that is on its way by then is made again, as a call of its own.
        calls = [call for call in calls if (call["error"] or {}).get("kind") != "connection_failed"]
        assert [call["error"] for call in calls if call["outcome"] not in ("done", "incomplete")] == []
        return [call["purpose"] for call in calls]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    model = f"local:{os.environ.get('MOA_TEST_MODEL', 'smollm2')}"
    folder = tmp_path_factory.mktemp("local")
    presets = folder / "config" / "presets"
    presets.mkdir(parents=True)
    text = SHIPPED.read_text().replace("local:smollm2", model).replace("max_tokens = 64", "max_tokens = 32")
    (presets / "panel.toml").write_text(f'aggregate = "raw"\n{text}')
    (folder / "config" / "config.toml").write_text(f'model = "{model}"\n')
    process = Local(folder)
    process.env.pop("MOA_CACHE_DIR")  # a model that was fetched before is used
    with process.running():
        yield process


def openai_chat(server: Local) -> Any:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0)
    words: Any = [{"role": "user", "content": QUESTION}]
    return client.chat.completions.with_raw_response.create(
        model="moa/panel", messages=words, max_tokens=40, extra_headers=ON
    )


def openai_responses(server: Local) -> Any:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0)
    return client.responses.with_raw_response.create(
        model="moa/panel", input=QUESTION, store=False, max_output_tokens=40, extra_headers=ON
    )


def anthropic_messages(server: Local) -> Any:
    anthropic = pytest.importorskip("anthropic")
    client = anthropic.Anthropic(base_url=server.url, api_key=server.key, max_retries=0)
    words: Any = [{"role": "user", "content": QUESTION}]
    return client.messages.with_raw_response.create(model="moa/panel", messages=words, max_tokens=40, extra_headers=ON)


@pytest.mark.parametrize("ask", [openai_chat, openai_responses, anthropic_messages])
def test_an_official_client_gets_an_answer_with_counsel(server: Local, ask: Any) -> None:
    answer = ask(server)
    said = answer.parse().model_dump()
    text = json.dumps(said.get("choices") or said.get("output") or said["content"])
    assert '"text"' in text or '"content"' in text, text
    # A model this small says what it likes: silence is counsel, too.
    assert answer.headers["x-moa-counsel"].split(";")[0] in ("taken", "silent", "withheld"), answer.headers
    purposes = server.purposes(f"run={answer.headers['x-moa-run']}")
    assert purposes.count("reference") == 3 and purposes.count("serve") == 1


def test_pi_gets_an_answer_with_counsel(server: Local, fetched: Path, tmp_path: Path) -> None:
    program, home = installed("pi", fetched), tmp_path / "agent"
    home.mkdir()
    model = {
        "id": "moa/panel",
        "name": "panel",
        "reasoning": False,
        "input": ["text"],
        "contextWindow": 8000,
        "maxTokens": 200,
    }
    provider = {"baseUrl": f"{server.url}/v1", "api": "openai-completions", "apiKey": server.key, "models": [model]}
    (home / "models.json").write_text(json.dumps({"providers": {"moa": provider}}))
    keep = {key: os.environ[key] for key in ("PATH", "LANG", "TERM") if key in os.environ}
    env = {**keep, "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1", "PI_CODING_AGENT_DIR": str(home)}
    before = server.purposes("since=today").count("reference")
    command = [str(program), "--provider", "moa", "--model", "moa/panel", "-p", QUESTION]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240
    )
    assert done.returncode == 0 and done.stdout.strip(), f"{done.stdout[-500:]}\n{done.stderr[-2000:]}"
    # The last call may be one of its side calls: a window this small makes it write a summary.
    assert server.purposes("since=today").count("reference") >= before + 3
