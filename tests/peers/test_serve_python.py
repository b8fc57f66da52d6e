"""aider and Open WebUI in front of `moa serve`, set up by their pages. `MOA_TEST_AIDER` and `MOA_TEST_OPEN_WEBUI` name the programs, in virtual
environments of their own (`pip install aider-chat`, `pip install open-webui`: 7 GB)."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.peers.pages import page
from tests.peers.test_serve_clients import PIXEL
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PRESET, UPSTREAM_KEY, WIRES, Serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
ADVICE = "The list is empty there, and nobody looks at it."
PANEL = {
    "alpha": Behaviour(steps=(Say(text=f"CONCERN\n{ADVICE}"),)),
    "beta": Behaviour(steps=(Say(text="NOTHING"),)),
    "gamma": Behaviour(steps=(Say(text="NOTHING"),)),
}


def program(name: str) -> str:
    """The program that a variable names; skips where none does."""
    found = os.environ.get(name)
    if not found:
        pytest.skip(f"{name} names no program")
    return found


@pytest.mark.parametrize("upstream", WIRES)
def test_aider_changes_a_file_and_commits(tmp_path: Path, upstream: str) -> None:
    aider, folder = program("MOA_TEST_AIDER"), tmp_path / "project"
    folder.mkdir()
    (folder / "notes.txt").write_text("old\n")
    for words in ("init -q", "config user.email a@example.org", "config user.name a", "add .", "commit -qm begin"):
        subprocess.run(["git", *words.split()], cwd=folder, check=True)

    def work(body: Mapping[str, Any], _earlier: int) -> Say:
        if "one-line Git commit" in json.dumps(body):
            return Say(text="fix: say hello")
        return Say(text="notes.txt\n```\nhello\n```\n")

    up = ScriptedEndpoint(Script(models={"m": work, **PANEL}, api_key=UPSTREAM_KEY))
    presets = {"p": PRESET.format(main=f"{upstream}:m", aggregate="raw")}
    with up, Serving(tmp_path / "serve", up, presets=presets) as server:
        here = page("aider", server.url, server.key or "")
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1", **here.exports}
        quiet = ["--no-show-model-warnings", "--no-check-update", "--analytics-disable", "--yes-always"]
        command = [aider, *here.command("aider"), *quiet, "--message", "Make it say hello.", "notes.txt"]
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240
        )
        assert (folder / "notes.txt").read_text() == "hello\n", done.stdout[-2000:] + done.stderr[-2000:]
        assert len(up.calls("m")) == 2 and len(up.calls("alpha")) == 1, "the commit message takes no counsel"
        assert ADVICE in json.dumps(up.calls("m")[0].body)


@contextmanager
def open_webui(folder: Path, server: Serving) -> Iterator[httpx.Client]:
    """Open WebUI in front of a server, and a client of it that has signed in."""
    here = page("open-webui", server.url, server.key or "")
    said = dict(re.findall(r"^    (URL|Key|Model)\s+(\S+)$", here.text, re.MULTILINE))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {
        **os.environ,
        "DATA_DIR": str(folder),
        "OFFLINE_MODE": "true",
        "WEBUI_AUTH": "False",
        "WEBUI_SECRET_KEY": "x" * 40,
    }
    env |= {"OPENAI_API_BASE_URL": said["URL"], "OPENAI_API_KEY": said["Key"], "ENABLE_OLLAMA_API": "False"}
    env |= {"RAG_EMBEDDING_ENGINE": "openai"}
    command = [program("MOA_TEST_OPEN_WEBUI"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
            told = lambda: (folder / "log").read_text()[-2000:]  # noqa: E731
            wait_until(lambda: child.poll() is not None or _healthy(client), told, 400)
            assert child.poll() is None, told()
            token = client.post("/api/v1/auths/signin", json={"email": "", "password": ""}).json()["token"]
            client.headers["authorization"] = f"Bearer {token}"
            yield client
    finally:
        child.terminate()
        child.wait(30)


def _healthy(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.HTTPError:
        return False


def test_open_webui_chats_with_counsel_and_its_own_requests_take_none(tmp_path: Path) -> None:
    program("MOA_TEST_OPEN_WEBUI")
    data = tmp_path / "data"
    data.mkdir()
    answers = Behaviour(steps=(Say(text="It is marmalade."),))
    up = ScriptedEndpoint(Script(models={"m": answers, **PANEL}, api_key=UPSTREAM_KEY))
    presets = {"p": PRESET.format(main="chat:m", aggregate="raw")}
    with up, Serving(tmp_path / "serve", up, presets=presets) as server, open_webui(data, server) as client:
        assert "moa/p" in [each["id"] for each in client.get("/api/models").json()["data"]]
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        for content in ("What is it?", [{"type": "text", "text": "What is on it?"}, image]):
            for stream in (False, True):
                up.clear()
                asked = {"model": "moa/p", "messages": [{"role": "user", "content": content}], "stream": stream}
                answer = client.post("/api/chat/completions", json=asked)
                assert answer.status_code == 200 and len(up.calls("alpha")) == 1, answer.text
                assert ADVICE in json.dumps(up.calls("m")[-1].body) and ("DONE" in answer.text) is stream
                assert (PIXEL in json.dumps(up.calls("m")[-1].body)) is isinstance(content, list)
        said = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "It is marmalade."}]
        for task in ("title", "tags", "follow_up", "queries", "image_prompt"):
            up.clear()
            own = {"model": "moa/p", "messages": said, "chat_id": "x", "type": "web_search"}
            assert client.post(f"/api/v1/tasks/{task}/completions", json=own).status_code == 200
            assert len(up.calls("m")) == 1 and up.calls("alpha") == [], task
