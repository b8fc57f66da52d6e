"""opencode from npm in front of `moa serve`, over its own wire: it reads a file and answers, with counsel at each step."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.peers.npm import installed
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PRESET, UPSTREAM_KEY, Serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("MOA_TEST_NPM" not in os.environ, reason="MOA_TEST_NPM names no folder with npm packages"),
]
QUESTION = "Read notes.txt and say the secret word."
SECRET = "marmalade"


def test_opencode_reads_a_file_and_answers(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "notes.txt").write_text(f"the secret word is {SECRET}\n")

    def work(body: Mapping[str, Any], _earlier: int) -> Say:
        if not body.get("tools"):
            return Say(text="A title")
        if SECRET in json.dumps(body):
            return Say(text=f"The secret word is {SECRET}.")
        return Say(text="Let me look.", tools=(("read", {"filePath": str(folder / "notes.txt")}),))

    def advice(_body: Mapping[str, Any], earlier: int) -> Say:
        return Say(text=f"NOTE\nLook at place {earlier} again: " + " ".join(f"w{earlier}x{at}" for at in range(6)))

    quiet = Behaviour(steps=(Say(text="NOTHING"),))
    script = Script(models={"m": work, "alpha": advice, "beta": quiet, "gamma": quiet}, api_key=UPSTREAM_KEY)
    presets = {"p": PRESET.format(main="chat:m", aggregate="raw")}
    with ScriptedEndpoint(script) as up, Serving(tmp_path / "serve", up, presets=presets) as server:
        options = {"baseURL": f"{server.url}/v1", "apiKey": server.key}
        provider = {"npm": "@ai-sdk/openai-compatible", "name": "moa", "options": options, "models": {"moa/p": {}}}
        (folder / "opencode.json").write_text(json.dumps({"provider": {"moa": provider}, "autoupdate": False}))
        keep = {key: os.environ[key] for key in ("PATH", "LANG", "TERM") if key in os.environ}
        env = {**keep, "HOME": str(tmp_path), "PWD": str(folder), "NO_PROXY": "127.0.0.1"}
        env |= {
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        }
        command = [str(installed("opencode")), "run", "--model", "moa/moa/p", QUESTION]
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240
        )
        seen = [(exchange.path, exchange.model, exchange.status) for exchange in up.exchanges]
        assert SECRET in done.stdout, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}\n{seen}"
        asked = [exchange for exchange in up.calls("m") if exchange.body.get("tools")]
        assert len(asked) == len(up.calls("alpha")) == 2
        assert all(f"Look at place {at}" in json.dumps(each.body) for at, each in enumerate(asked))
