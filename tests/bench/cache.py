"""How much of a perfect prompt cache the program can use over a tool loop of twenty iterations with counsel before each call.

Achievable is what the request before had: all of it for the main model, whose guidance stays where it was given; all but its tail for a
member, whose brief is meant for one request. No margins: the run is deterministic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.figures import Figure
from tests.support.endpoint import ScriptedEndpoint
from tests.support.exchange import Exchange
from tests.support.program import Program, preset_text
from tests.support.script import Behaviour, Say, Script, analysis_of, tool_loop

ITERATIONS = 20
MAIN_TARGET = 100.0
REFERENCE_TARGET = 95.0
MEMBERS = ("member-a", "member-b", "member-c")


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """Percent of the achievable cached tokens: the main model without and with counsel, and each reference."""
    del rounds  # once is enough, nothing here depends on time
    with ScriptedEndpoint(script()) as endpoint:
        program = Program(folder, endpoint.base_url, executable=python.parent / "moa")
        (program.work_dir / "notes.txt").write_text("".join(f"line {n}: {'word ' * 12}\n" for n in range(2000)))
        program.preset("panel", preset_text([f"fake:{name}" for name in MEMBERS], cadence="iteration"))
        loop(program, endpoint, "--no-moa")
        plain = used(endpoint.calls("worker"), tail=False)
        loop(program, endpoint, "--preset", "panel")
        main = endpoint.calls("worker")
        rows = [
            Figure("main model, no counsel", plain, "%", note=f"{ITERATIONS + 1} calls"),
            Figure("main model", used(main, tail=False), "%", MAIN_TARGET, at_least=True, note=sizes(main)),
        ]
        for name in MEMBERS:
            calls = endpoint.calls(name)
            if len(calls) != len(main):
                raise RuntimeError(f"{name} was asked {len(calls)} times for {len(main)} main calls")
            rows.append(Figure(name, used(calls, tail=True), "%", REFERENCE_TARGET, at_least=True, note=sizes(calls)))
        rows.append(
            Figure("aggregator", used(endpoint.calls("judge"), tail=True), "%", note=sizes(endpoint.calls("judge")))
        )
        yield f"cached tokens of those achievable, {ITERATIONS} iterations", rows


def script() -> Script:
    """A main model that reads its way through a file, and advisers that say something different each time."""
    reads = tuple(("read", {"path": "notes.txt", "offset": 1 + 40 * n, "limit": 40}) for n in range(ITERATIONS))
    advice = {
        name: (lambda body, earlier, name=name: Say(text=f"{name}, advice {earlier}: " + "look again. " * 20))
        for name in MEMBERS
    }

    def judge(body: object, earlier: int) -> Say:
        return Say(analysis=analysis_of(earlier))

    return Script(models={"worker": Behaviour(steps=tool_loop(ITERATIONS, tools=reads)), "judge": judge, **advice})


def loop(program: Program, endpoint: ScriptedEndpoint, *options: str) -> None:
    """One turn. Raises RuntimeError where it did not do all its calls."""
    endpoint.clear()
    done = program.run("Read the notes, all of them.", *options, timeout_s=120)
    calls = len(endpoint.calls("worker"))
    if done.code or calls != ITERATIONS + 1:
        raise RuntimeError(f"moa run ended with {done.code} after {calls} main calls: {done.err or done.out}")


def used(calls: Sequence[Exchange], *, tail: bool) -> float:
    """Percent. `tail`: the last message of each request was for that request alone."""
    before = calls[:-1]
    achievable = sum(call.prompt_tokens - (call.tail_tokens if tail else 0) for call in before)
    return 100 * sum(call.cached_tokens for call in calls[1:]) / achievable if achievable else 0.0


def sizes(calls: Sequence[Exchange]) -> str:
    """How long the prompts were."""
    return f"{calls[0].prompt_tokens} → {calls[-1].prompt_tokens} tokens" if calls else "no calls"
