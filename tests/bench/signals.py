"""Signals at random moments of a run, a goal and both chats: objects, commands left running, the terminal."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program
from tests.support.signalling import ENDING, Round, random_round, script

ROUNDS = 200


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """One table: how often each face was hit, how long the end took, and what did not hold."""
    with ScriptedEndpoint(script()) as endpoint:
        program = Program(folder, endpoint.base_url, executable=python.parent / "moa")
        done: list[Round] = []
        for seed in range(rounds or ROUNDS):
            done.append(random_round(program, endpoint, seed))
            if done[-1].problems:
                print(f"  seed {seed}: {done[-1]}", file=sys.stderr, flush=True)
        program.close()
    faces = Counter(f"{each.face}, {each.how}" for each in done)
    rows = [Figure(face, count, "rounds") for face, count in sorted(faces.items())]
    rows += [
        Figure("longest way to the end", max(each.seconds for each in done), "s", 8.0),
        Figure(
            "longest way to closed sockets",
            max([each.closed_s for each in done if each.how in ENDING], default=0.0),
            "s",
            1.0,
        ),
        Figure("rounds in which something did not hold", sum(bool(each.problems) for each in done), "rounds", 0),
    ]
    yield f"{len(done)} signals", rows
