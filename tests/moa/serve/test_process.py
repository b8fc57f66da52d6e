"""The installed command as a process of its own: what it prints, how it ends, `kill -9` in the middle, and money to the micro-dollar."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.ledger.book import Ledger
from tests.support.databases import kept, place
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PRESET, UPSTREAM_KEY, body, config_toml

pytestmark = pytest.mark.slow
TOOLS = {"tools": [{"name": "read", "input_schema": {"type": "object"}}]}


class Process:
    """`moa serve` on a folder."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.words = words
        places = {f"MOA_{name.upper()}_DIR": str(folder / name) for name in ("config", "state", "cache")}
        self.folder = folder
        self.env = {**os.environ, **places, "UP_KEY": UPSTREAM_KEY}
        self.env.pop("MOA_SERVE_KEY", None)
        if isinstance(self.books, str):
            self.env["MOA_SERVE_DATABASE"] = self.books
        self.printed: list[str] = []

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "moa", "serve", "--port", "0", *self.words],
            env=self.env, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert child.stdout is not None
            self.printed = []
            for line in child.stdout:
                self.printed.append(line)
                if line.startswith("listening on "):
                    self.url = line.split()[-1]
                    break
            else:
                raise AssertionError(child.stderr and child.stderr.read())
            yield child
        finally:
            child.kill()
            child.wait()

    @property
    def books(self) -> Path | str:
        """Where the ledger is."""
        return place(self.folder / "state" / "ledger.db")

    @property
    def key(self) -> str:
        return (self.folder / "config" / "serve.key").read_text().strip()

    def post(self, asked: dict[str, Any], key: str | None = None) -> httpx.Response:
        headers = {"x-api-key": key or self.key}
        return httpx.post(f"{self.url}/v1/messages", json=asked, headers=headers, timeout=60, trust_env=False)

    def page(self, path: str, key: str | None = None) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers={"x-api-key": key or self.key}, timeout=60, trust_env=False)


@pytest.fixture
def up() -> Iterator[ScriptedEndpoint]:
    with ScriptedEndpoint(Script(api_key=UPSTREAM_KEY)) as endpoint:
        yield endpoint


@pytest.fixture
def process(tmp_path: Path, up: ScriptedEndpoint) -> Process:
    (tmp_path / "config" / "presets").mkdir(parents=True)
    (tmp_path / "config" / "config.toml").write_text(config_toml(up.base_url, more='[moa]\npreset = "p"\n'))
    (tmp_path / "config" / "presets" / "p.toml").write_text(PRESET.format(main="messages:m", aggregate="analysis"))
    return Process(tmp_path)


def members(say: dict[str, Any] | None = None) -> dict[str, Behaviour]:
    return {
        name: Behaviour(
            steps=(Say(text=f"CONCERN\nThe {name} of the plan is wrong, and nobody looks.", **(say or {})),)
        )
        for name in ("alpha", "beta", "gamma")
    }


def test_the_first_start_prints_what_clients_need(process: Process) -> None:
    with process.running() as child:
        first = "".join(process.printed)
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0
    assert first.count(process.key) >= 5 and "moa/p" in first and "chat:alpha" in first
    assert all(name in first for name in ("Claude Code", "Codex", "pi:", "opencode", "aider", "Official clients"))
    assert (process.folder / "config" / "serve.key").stat().st_mode & 0o077 == 0
    with process.running() as child:
        assert process.key not in "".join(process.printed) and "chat:alpha" in "".join(process.printed)
        child.send_signal(signal.SIGTERM)
        child.wait(20)


def test_a_start_without_a_key_for_the_panel_says_so(process: Process) -> None:
    del process.env["UP_KEY"]
    with process.running():
        assert "It can't be used yet:" in "".join(process.printed) and "UP_KEY" in "".join(process.printed)


def test_a_preset_of_three_costs_the_sum_of_its_calls(process: Process, up: ScriptedEndpoint) -> None:
    up.script = Script(models={"m": Behaviour(steps=(Say(text="Done."),)), **members()}, api_key=UPSTREAM_KEY)
    with process.running():
        answer = process.post(body("messages", "moa", **TOOLS))
        assert answer.status_code == 200 and answer.headers["x-moa-counsel"] in ("taken", "silent"), answer.text
        usage = answer.json()["usage"]
    calls = up.calls()
    assert sorted(call.model for call in calls) == ["alpha", "beta", "gamma", "judge", "m"]
    # At $1.50 and $6.00 a million, what was cached at a tenth: in nano-dollars.
    nano = sum(
        1500 * (call.prompt_tokens - call.cached_tokens) + 150 * call.cached_tokens + 6000 * call.completion_tokens
        for call in calls
    )
    ledger = Ledger(process.books)
    rows = ledger.calls(run=answer.headers["x-moa-run"])
    ledger.close()
    assert round(usage["cost"] * 1e9) == nano == sum(row.cost_nano or 0 for row in rows)
    assert len(rows) == 5 and not usage["cost_details"]["lower_bound"]


def test_killed_in_the_middle_of_a_panel(process: Process, up: ScriptedEndpoint) -> None:
    slow = members({"ttft_s": 60})
    up.script = Script(models={"m": Behaviour(steps=(Say(text="Done."),)), **slow}, api_key=UPSTREAM_KEY)
    asked = body("messages", "moa/p", **TOOLS)
    with process.running() as child:
        thread = threading.Thread(target=lambda: _suppressed(process, asked))
        thread.start()
        up.wait_for(lambda: len(up.calls()) == 3)
        os.kill(child.pid, signal.SIGKILL)
        thread.join(20)
    up.script = Script(models={"m": Behaviour(steps=(Say(text="Done."),)), **members()}, api_key=UPSTREAM_KEY)
    with process.running():
        answer = process.post(asked)
        assert answer.status_code == 200, answer.text
        sent = json.dumps(up.calls("m")[-1].body)
        # The next request of the conversation has the same bytes at the same place.
        more = [{"role": "assistant", "content": answer.json()["content"]}, {"role": "user", "content": "Go on."}]
        process.post({**asked, "messages": [*asked["messages"], *more]})
        later = up.calls("m")[-1].body["messages"]
    ledger = Ledger(process.books)
    rows = ledger.calls()
    ledger.close()
    unknown = [row for row in rows if row.outcome == "unknown"]
    assert len(unknown) == 3 and all(row.reserved_nano for row in unknown)
    assert not [row for row in rows if row.outcome == "reserved"]
    first = json.loads(sent)["messages"]
    assert later[: len(first)] == first


def _suppressed(process: Process, asked: dict[str, Any]) -> None:
    with suppress(httpx.HTTPError):
        process.post(asked)


@pytest.mark.slow
def test_no_key_is_in_a_log_or_an_error(process: Process, up: ScriptedEndpoint) -> None:
    """An upstream that repeats its key in what it says: refusals, broken streams, members that fail; passed on and between wires."""
    told: list[str] = []
    words = f"Incorrect API key provided: {UPSTREAM_KEY}"
    says = (
        *(Say(status=status, error=words) for status in (400, 401, 403, 429, 500)),
        Say(text="Half of", shape="error_chunk", error=words),
    )
    with process.running() as child:
        key = process.key
        for say in says:
            up.script = Script(models=dict.fromkeys(("m", *members()), Behaviour(steps=(say,))), api_key=UPSTREAM_KEY)
            for model in ("messages:m", "chat:m", "responses:m", "moa/p", "fuse/p"):
                for stream in (False, True):
                    answer = process.post(body("messages", model, stream=stream))
                    told.append(f"{answer.status_code} {answer.headers} {answer.text}")
        activity = httpx.get(f"{process.url}/v1/activity", headers={"x-api-key": key}, timeout=60, trust_env=False)
        told += [activity.text, *process.printed[-1:]]
        wrong = process.post(body("messages", "moa/p"), key=key[:-1] + "x")
        told.append(wrong.text)
        child.send_signal(signal.SIGTERM)
        told += child.communicate(timeout=20)
    assert len([one for one in told if "Incorrect API key" in one]) > 10, "it is said, but for the key"
    assert all(UPSTREAM_KEY not in one and key not in one for one in told)
    stored = [path.read_bytes() for path in (process.folder / "state").rglob("*") if path.is_file()]
    stored.append(kept(process.folder / "state" / "ledger.db"))
    assert stored[-1] and all(UPSTREAM_KEY.encode() not in data and key.encode() not in data for data in stored)
