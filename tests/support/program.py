"""The installed `moa` as a user has it: a child process with configuration, state and cache folders of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import warm

NO_ENDPOINT = "http://127.0.0.1:9/v1"  # discard: nothing listens there


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run of the program ended. `started` is in seconds of time.monotonic(), just before the process was made."""

    code: int
    out: str
    err: str
    started: float
    seconds: float

    @property
    def result(self) -> dict[str, Any]:
        """Standard output as the one JSON object that it has to be. Raises ValueError for anything else."""
        value = json.loads(self.out)
        if not isinstance(value, dict):
            raise ValueError(f"standard output is a JSON {type(value).__name__}, not an object")
        return value

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines() if line]


class Program:
    """`moa` with its folders under `root`: config/, state/, cache/, home/ and here/ (the working directory)."""

    def __init__(self, root: Path, base_url: str = NO_ENDPOINT, *, executable: Path | None = None) -> None:
        self.executable = executable or warm.MOA
        self.config_dir, self.state_dir, self.cache_dir = root / "config", root / "state", root / "cache"
        self.work_dir, self.home = root / "here", root / "home"
        for folder in (self.config_dir / "presets", self.state_dir, self.cache_dir, self.work_dir, self.home):
            folder.mkdir(parents=True, exist_ok=True)
        (self.work_dir / "notes.txt").write_text("".join(f"line {n}: nothing to see\n" for n in range(1, 41)))
        self.config(endpoint_config(base_url))
        self._children: list[subprocess.Popen[str]] = []

    def close(self) -> None:
        """End whatever was started and still runs: a test that fails half-way leaves nothing behind."""
        for child in self._children:
            end(child)
            for pipe in (child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()

    @property
    def environment(self) -> dict[str, str]:
        """What the child gets: no keys, no settings of the caller's, no terminal."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "LANG": warm.LANG,
            "MOA_CONFIG_DIR": str(self.config_dir),
            "MOA_STATE_DIR": str(self.state_dir),
            "MOA_CACHE_DIR": str(self.cache_dir),
        }

    def config(self, text: str) -> None:
        """Write config.toml."""
        (self.config_dir / "config.toml").write_text(text, encoding="utf-8")

    def preset(self, name: str, text: str) -> None:
        """Write a preset of the user's."""
        (self.config_dir / "presets" / f"{name}.toml").write_text(text, encoding="utf-8")

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start it, in a process group of its own."""
        child: subprocess.Popen[str] = warm.popen(
            [str(self.executable), *arguments],
            cwd=self.work_dir,
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._children.append(child)
        return child

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = 30.0) -> Finished:
        """Run it to its end. Raises subprocess.TimeoutExpired, after ending it."""
        started = time.monotonic()
        child = self.start(*arguments, env=env)
        try:
            out, err = child.communicate(timeout=timeout_s)
        finally:
            end(child)
        return Finished(child.returncode, out, err, started, time.monotonic() - started)

    def run(
        self, prompt: str, *options: str, env: Mapping[str, str] | None = None, timeout_s: float = 30.0
    ) -> Finished:
        """`moa run --output-format json … PROMPT`."""
        return self("run", "--output-format", "json", *options, prompt, env=env, timeout_s=timeout_s)

    def activity(self) -> list[dict[str, Any]]:
        """The rows of `moa activity --json`, whatever object they are wrapped in."""
        value = json.loads(self("activity", "--json").out)
        rows = value["calls"] if isinstance(value, dict) else value
        return list(rows)


def end(child: subprocess.Popen[str]) -> None:
    """Make sure that a child, where it still runs, and what it started are gone."""
    if child.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait(10)


def endpoint_config(base_url: str, *, model: str = "fake:worker", more: str = "") -> str:
    """A config.toml with the scripted endpoint as `fake`."""
    return f'model = "{model}"\n{more}\n[endpoints.fake]\nbase_url = "{base_url}"\n'


def preset_text(references: Sequence[str], *, aggregator: str = "fake:judge", **settings: Any) -> str:
    """A preset of these references; `settings` are its top-level keys, and of type str, bool, int or float."""
    lines = ['description = "A scripted panel"']
    lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    for model in references:
        lines += ["", "[[references]]", f'model = "{model}"', "max_tokens = 600"]
    lines += ["", "[aggregator]", f'model = "{aggregator}"']
    return "\n".join(lines) + "\n"
