"""`kill -9` at random moments of a turn with counsel, tools and streaming: what was lost, counted twice, or could not go on."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure
from tests.support.endpoint import ScriptedEndpoint
from tests.support.killing import Killed, kill_once, measure_turn, prepare
from tests.support.program import Program

ROUNDS = 20
A_SESSION = 4
"""Rounds that go on in the same session: what a kill left behind is resumed, and killed again."""


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """One table: how often each phase was hit, and everything that must not happen."""
    with ScriptedEndpoint() as endpoint:
        program = Program(folder, endpoint.base_url, executable=python.parent / "moa")
        prepare(program, endpoint)
        seconds = measure_turn(program)
        killed: list[Killed] = []
        for seed in range(rounds or ROUNDS):
            sessions = sorted((program.state_dir / "sessions").glob("*.jsonl"))
            session = sessions[-1].stem if seed % A_SESSION and sessions else None
            killed.append(kill_once(program, endpoint, seed, seconds, session))
            for problem in killed[-1].problems:
                print(f"  seed {seed} ({killed[-1].phase}): {problem}", file=sys.stderr, flush=True)
        program.close()
    phases = Counter(each.phase for each in killed)
    rows = [Figure(f"killed in: {phase}", count, "rounds") for phase, count in phases.most_common()]
    rows += [
        Figure("did not resume", sum(not each.resumed for each in killed), "rounds", 0),
        Figure("resumed with a history that can't be sent", sum(bool(each.unsendable) for each in killed), "rounds", 0),
        Figure("shown as finished and lost", sum(len(each.lost) for each in killed), "things", 0),
        Figure("calls that the ledger counts twice", sum(len(each.twice) for each in killed), "", 0),
        Figure("calls that the ledger does not know", sum(len(each.unaccounted) for each in killed), "", 0),
    ]
    yield f"kill -9, {len(killed)} times within {seconds:.1f} s", rows
