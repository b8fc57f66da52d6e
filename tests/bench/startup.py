"""From the start of the process to the first byte sent to a model, against importing httpx and pydantic.

All commands run in turn, round after round, so that a busy machine is busy for each of them. The ratios are of the quickest rounds: what
else runs on the machine can only add to a start. A 5 % margin is for the scatter of those on two noisy cores.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure, median
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, end, endpoint_config, preset_text

ROUNDS = 15
FIRST_BYTE_TARGET = 2.0
VERSION_TARGET = 0.6
MARGIN = 0.05
FIRST_BYTE_MARGIN = 0.2
"""Machines differ by this much in what a class costs against what a library costs: 1.6 × on one, 2.0 (alone) and 2.15 × (with counsel) on another."""
HEAVY_MS = 3.0
NOT_ON_THE_WAY = ("textual", "prompt_toolkit", "genai_prices")
BASELINE = "import httpx, pydantic"


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """Times in milliseconds, then the parts they are made of."""
    with ScriptedEndpoint() as endpoint:
        program = Program(folder, endpoint.base_url, executable=python.parent / "moa")
        program.preset("panel", preset_text(["fake:one", "fake:two", "fake:three"]))
        ways = {
            "bare python": lambda: seconds(program, python, "-c", "pass"),
            BASELINE: lambda: seconds(program, python, "-c", BASELINE),
            "moa --version": lambda: seconds(program, program.executable, "--version"),
            "moa run, first byte": lambda: first_byte(program, endpoint, "--no-moa"),
            "moa run with counsel, first byte": lambda: first_byte(program, endpoint, "--preset", "panel"),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(1 + (rounds or ROUNDS)):
            for name, way in ways.items():
                taken = way()
                if number:  # the first round fills the disk cache and makes the ledger
                    times[name].append(taken)
        yield "start-up", figures(times)
        for title, options in (("without", ("--no-moa",)), ("with", ("--preset", "hung"))):
            program.config(endpoint_config(endpoint.base_url, model="fake:shape-hang"))
            program.preset("hung", preset_text(["fake:shape-hang"] * 3))
            yield (
                f"imports on the way to the first byte, {title} counsel (under -X importtime)",
                imports(program, endpoint, python, options),
            )


def figures(times: dict[str, list[float]]) -> list[Figure]:
    """Milliseconds (medians), and the ratios that have a target (of the quickest rounds)."""
    medians = {name: median(values) for name, values in times.items()}
    quickest = {name: min(values) for name, values in times.items()}
    base = quickest[BASELINE]
    spread = {name: f"{min(values) * 1e3:.0f}–{max(values) * 1e3:.0f}" for name, values in times.items()}
    rows = [Figure(name, value * 1e3, "ms", note=spread[name]) for name, value in medians.items()]
    for name in ("moa run, first byte", "moa run with counsel, first byte"):
        rows.append(Figure(f"{name} ÷ {BASELINE}", quickest[name] / base, "×", FIRST_BYTE_TARGET, FIRST_BYTE_MARGIN))
    rows.append(
        Figure(
            f"moa --version ÷ {BASELINE}",
            quickest["moa --version"] / base,
            "×",
            VERSION_TARGET,
            VERSION_TARGET * MARGIN,
        )
    )
    return rows


def seconds(program: Program, *command: str | Path) -> float:
    """How long a command takes, from before its start to after its end."""
    started = time.monotonic()
    done = subprocess.run(
        [str(part) for part in command],
        env=program.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    taken = time.monotonic() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {done.stderr}")
    return taken


def first_byte(program: Program, endpoint: ScriptedEndpoint, *options: str) -> float:
    """Seconds from before the start of `moa run` to the first byte of the first model call."""
    endpoint.clear()
    done = program.run("hello", "--model", "fake:say", *options)
    calls = endpoint.calls()
    if done.code or not calls:
        raise RuntimeError(f"moa run ended with {done.code} after {len(calls)} calls: {done.err or done.out}")
    return calls[0].first_byte - done.started


def imports(program: Program, endpoint: ScriptedEndpoint, python: Path, options: tuple[str, ...]) -> list[Figure]:
    """What is imported before the first byte: the process is killed when the endpoint has it. The model never answers."""
    endpoint.clear()
    command = [str(python), "-X", "importtime", str(program.executable), "run", *options, "hello"]
    with subprocess.Popen(
        command,
        env=program.environment,
        cwd=program.work_dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            endpoint.wait_for(lambda: endpoint.calls() or child.poll() is not None)
        finally:
            end(child)
        assert child.stderr is not None
        own = dict(import_times(child.stderr.read()))
    if not own or not endpoint.calls():
        raise RuntimeError("the program ended before it called a model")
    shared = baseline_modules(program, python)
    more = {name: ms for name, ms in own.items() if name not in shared}
    packages: dict[str, float] = {}
    for name, ms in more.items():
        packages[name.partition(".")[0]] = packages.get(name.partition(".")[0], 0.0) + ms
    banned = sorted(name for name in own if name.partition(".")[0] in NOT_ON_THE_WAY)
    rows = [
        Figure("all imports", sum(own.values()), "ms", note=f"{len(own)} modules"),
        Figure(f"beyond those of {BASELINE}", sum(more.values()), "ms", note=f"{len(more)} modules"),
    ]
    for package, ms in sorted(packages.items(), key=lambda entry: -entry[1]):
        if ms > HEAVY_MS / 3:
            rows.append(Figure(f"  {package}", ms, "ms"))
    for name, ms in sorted(own.items(), key=lambda entry: -entry[1]):
        if ms > HEAVY_MS:
            note = "in the baseline too" if name in shared else ""
            rows.append(Figure(f"  {name}, itself more than {HEAVY_MS:g} ms", ms, "ms", note=note))
    rows.append(Figure(f"modules of {', '.join(NOT_ON_THE_WAY)}", len(banned), "", 0, note=", ".join(banned[:3])))
    return rows


def baseline_modules(program: Program, python: Path) -> set[str]:
    """What importing httpx and pydantic imports."""
    done = subprocess.run(
        [str(python), "-X", "importtime", "-c", BASELINE],
        env=program.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name for name, _ in import_times(done.stderr)}


def import_times(text: str) -> Iterator[tuple[str, float]]:
    """(module, its own milliseconds) for each line of -X importtime."""
    for entry in text.splitlines():
        if not entry.startswith("import time:") or "[us]" in entry:
            continue
        own, _, name = entry.removeprefix("import time:").split("|")
        yield name.strip(), int(own) / 1e3
