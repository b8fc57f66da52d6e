"""`moa serve` in front of an upstream that answers at once: processor time a passed-on request, books kept, beside a bare starlette relay
and LiteLLM's proxy (where `MOA_BENCH_LITELLM` names its program), and what happens at 500 clients. And counsel: a panel of three with an
aggregator, whose calls answer at once, and after three seconds each."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, median
from tests.bench.serve_child import SLOW_S

ALONE, CROWD = 200, 500
OWN_MS, MARGIN_MS = 2.0, 0.5
"""LiteLLM 1.108.7 needs 22 to 25 ms."""
OF_A_RELAY, OF_A_RELAY_MARGIN = 0.8, 0.15
"""Of the processor time of a bare relay, which keeps no books. A busy machine makes both slower, so this tells more than milliseconds do."""
OF_LITELLM, OF_ITS_P50 = 0.1, 0.2
TURN_MS, OVER_MS, TURN_MARGIN_MS = 20.0, 20.0, 4.0
"""Of processor time a turn of a panel, and over the time of the scripted answers (which is none)."""
TURNS, SLOW_CLIENTS, SLOWER = 60, 64, 1.15
CALLS_IN_A_ROW = 3
"""A panel's turn: members, aggregator, answer."""
KEY = "moa-key-of-the-bench-0123456789"
TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

CONFIG = """
model = "up:m"
[endpoints.up]
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "UP_KEY"
max_concurrency = 1000
[endpoints.up.models.m]
price = {{ prompt = 1.0, completion = 2.0 }}
context_window = 100000
max_output = 4000
"""
PANEL = """
main = "up:{speed}m"
[[references]]
model = "up:{speed}a"
[[references]]
model = "up:{speed}b"
[[references]]
model = "up:{speed}c"
[aggregator]
model = "up:{speed}judge"
"""


@contextmanager
def started(command: list[str], env: dict[str, str] | None = None, *, ready: str = "") -> Iterator[tuple[int, str]]:
    """A process, and the line with which it says that it is ready."""
    child = subprocess.Popen(
        command, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert child.stdout is not None
        line = next((line for line in child.stdout if ready in line), None)
        if line is None:
            raise RuntimeError(f"{command[:4]} ended before it was ready")
        yield child.pid, line.strip()
    finally:
        _end(child)


def processor_s(pid: int) -> float:
    """The processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


async def ask(
    port: int, model: str, name: str, each: int, times: list[float], failed: list[str], key: str = KEY
) -> None:
    """One client: so many requests, one after the other, on one connection; no two are the same."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\n"
    for number in range(each):
        messages = [{"role": "user", "content": f"{name} {number} " + "word " * 200}]
        body = json.dumps({"model": model, "messages": messages, "stream": True}).encode()
        request = f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        began = time.monotonic()
        writer.write(request)
        try:
            answer = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 120)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            failed.append(type(error).__name__)
            break
        times.append(time.monotonic() - began)
        if b" 200 " not in answer[:20] or b"[DONE]" not in answer:
            failed.append(answer[:60].decode("latin-1"))
    writer.close()


async def load(
    port: int, clients: int, each: int, model: str = "up:m", key: str = KEY
) -> tuple[list[float], list[str]]:
    """So many clients at once: how long each request took, and what failed."""
    times: list[float] = []
    failed: list[str] = []
    run = time.monotonic_ns()
    await asyncio.gather(*(ask(port, model, f"{run} {at}", each, times, failed, key) for at in range(clients)))
    return times, failed


def measured(pid: int, port: int, rounds: int) -> tuple[float, float, list[str]]:
    """Milliseconds of processor a request at one client; seconds (median) a request at 500; failures of both."""
    asyncio.run(load(port, 1, 20))
    costs, failed = [], []
    for _ in range(rounds):
        before = processor_s(pid)
        _times, bad = asyncio.run(load(port, 1, ALONE))
        costs.append(1000 * (processor_s(pid) - before) / ALONE)
        failed += bad
    times, bad = asyncio.run(load(port, CROWD, 3))
    return median(costs), median(times), failed + bad


def counselled(pid: int, port: int, rounds: int) -> Iterator[Figure]:
    """The figures of turns with a panel."""
    asyncio.run(load(port, 1, 5, "moa/fast"))
    costs, took, failed = [], [], []
    for _ in range(rounds):
        before = processor_s(pid)
        times, bad = asyncio.run(load(port, 1, TURNS, "moa/fast"))
        costs.append(1000 * (processor_s(pid) - before) / TURNS)
        took.append(1000 * median(times))
        failed += bad
    yield Figure("a turn of a panel: processor time", median(costs), "ms", TURN_MS, TURN_MARGIN_MS)
    yield Figure("a turn of a panel: beyond the scripted answers", median(took), "ms", OVER_MS, TURN_MARGIN_MS)
    times, bad = asyncio.run(load(port, SLOW_CLIENTS, 1, "moa/slow"))
    scripted = CALLS_IN_A_ROW * SLOW_S
    name = f"a turn at {SLOW_CLIENTS} clients, of its scripted {scripted:g} s"
    yield Figure(name, median(times) / scripted, "×", SLOWER, note=f"slowest {max(times) / scripted:.2f}")
    failed += bad
    yield Figure("turns that failed", len(failed), "", 0, note="; ".join(sorted(set(failed)))[:80])


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """The figures, all of one run."""
    rounds = rounds or 3
    here = [sys.executable, "-m", "tests.bench.serve_child"]
    with ExitStack() as stack:
        _pid, line = stack.enter_context(started([*here, "upstream"]))
        up = int(line)
        found: dict[str, tuple[float, float, list[str]]] = {}
        turns: dict[str, list[Figure]] = {}
        with started([*here, "relay", str(up)]) as (pid, line):
            found["a bare relay"] = measured(pid, int(line), rounds)
        for loop in ("uvloop", "asyncio"):
            env = _env(folder / loop, up) | ({"MOA_SERVE_LOOP": "asyncio"} if loop == "asyncio" else {})
            command = [str(python.parent / "moa"), "serve", "--port", "0"]
            with started(command, env, ready="listening") as (pid, line):
                port = int(line.rpartition(":")[2])
                found[f"moa serve, {loop}"] = measured(pid, port, rounds)
                turns[loop] = list(counselled(pid, port, rounds))
        if program := os.environ.get("MOA_BENCH_LITELLM"):
            found["LiteLLM"] = _litellm(Path(program), folder, up, rounds)
        else:
            print("  MOA_BENCH_LITELLM names no litellm program: LiteLLM is left out")
    yield "serve: requests passed on, streamed, books kept", list(_figures(found))
    for loop, figures in turns.items():
        yield f"serve: counsel of three and an aggregator, {loop}", figures


def _env(folder: Path, up: int) -> dict[str, str]:
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "config.toml").write_text(CONFIG.format(port=up))
    presets = folder / "config" / "presets"
    presets.mkdir()
    for name, speed in (("fast", ""), ("slow", "slow-")):
        (presets / f"{name}.toml").write_text(PANEL.format(speed=speed))
    places = {f"MOA_{name.upper()}_DIR": str(folder / name) for name in ("config", "state", "cache")}
    return {**places, "UP_KEY": "upstream-key-0123456789", "MOA_SERVE_KEY": KEY}


def _litellm(program: Path, folder: Path, up: int, rounds: int) -> tuple[float, float, list[str]]:
    config = {
        "model_list": [
            {"model_name": "up:m", "litellm_params": {"model": "openai/m", "api_base": f"http://127.0.0.1:{up}/v1", "api_key": "k"}}
        ]
    }  # fmt: skip
    file = folder / "litellm.yaml"
    file.write_text(json.dumps(config))
    from tests.bench.serve_child import bound

    with bound() as free:
        port = free.getsockname()[1]
    child = subprocess.Popen(
        [str(program), "--config", str(file), "--port", str(port), "--num_workers", "1", "--host", "127.0.0.1"],
        env={**os.environ, "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"},  # on loopback, for a minute
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until_open(port)
        return measured(child.pid, port, rounds)
    finally:
        _end(child)


def _end(child: subprocess.Popen[Any]) -> None:
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _until_open(port: int) -> None:
    import socket

    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("litellm did not start")


def _figures(found: dict[str, tuple[float, float, list[str]]]) -> Iterator[Figure]:
    other: Any = found.get("LiteLLM")
    for name, (cost, p50, failed) in found.items():
        own = name.startswith("moa")
        yield Figure(f"{name}: processor time a request", cost, "ms", OWN_MS if own else None, MARGIN_MS)
        yield Figure(f"{name}: median at {CROWD} clients", p50, "s", OF_ITS_P50 * other[1] if own and other else None)
        yield Figure(f"{name}: failures", len(failed), "", 0 if own else None, note="; ".join(sorted(set(failed)))[:80])
        if own:
            ratio = cost / found["a bare relay"][0]
            yield Figure(f"{name}: of a bare relay's processor time", ratio, "×", OF_A_RELAY, OF_A_RELAY_MARGIN)
        if own and other:
            yield Figure(f"{name}: of LiteLLM's processor time", cost / other[0], "×", OF_LITELLM)
