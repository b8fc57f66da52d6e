"""What counsel adds to a turn's time, beyond the time of the models themselves.

All times are the endpoint's own notes of one clock: what a model took is from the arrival of its request to its last byte. A gap is
from the last byte of one main reply to the first byte of the next main request; the same turn without counsel says how much of
a gap the tools and the loop need. What remains of a gap with counsel, less that and less the models, is what counsel costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from tests.bench.figures import Figure, median
from tests.support.endpoint import ScriptedEndpoint
from tests.support.exchange import Exchange
from tests.support.program import Program, preset_text
from tests.support.script import Behaviour, Say, Script, analysis_of, tool_loop

ROUNDS = 3
STEPS = 6
OVERHEAD_TARGET_MS = 20.0
OVERHEAD_MARGIN_MS = 5.0  # two cores: program, endpoint and bench share them
LOOKAHEAD_TARGET = 1.05
LOOKAHEAD_MARGIN = 0.02
GRACE_S = 0.2
MEMBERS = ("slow-0.2", "slow-0.3", "slow-0.4")
STRAGGLER = "slow-1.0"
JUDGE = "judge"


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """Three tables: a plain panel, one with a straggler, and lookahead."""
    with ScriptedEndpoint(script()) as endpoint:
        program = Program(folder, endpoint.base_url, executable=python.parent / "moa")
        program.preset("panel", preset_text([f"fake:{name}" for name in MEMBERS]))
        quick = ["fake:slow-0.1"] * 3
        program.preset("straggler", preset_text([*quick, f"fake:{STRAGGLER}"], quorum=3, grace_s=GRACE_S))
        program.preset("ahead", preset_text([f"fake:{name}" for name in MEMBERS], lookahead=True))
        turns = Turns(program, endpoint, rounds or ROUNDS)
        alone = turns.gap_without_counsel()
        yield "counsel, members at 0.2, 0.3, 0.4 s", plain(turns, alone)
        yield f"a member ten times slower, quorum n-1, grace {GRACE_S} s", straggling(turns, alone)
        yield "lookahead", ahead(turns)


def script() -> Script:
    """A main model with a tool loop, once quick and once with a reply time of its own; an aggregator that takes 0.1 s."""
    loop = tool_loop(STEPS, tools=(("read", {"path": "notes.txt", "limit": 3}),))
    unhurried = tuple(Say(text=step.text, tools=step.tools, ttft_s=0.15, spread_s=0.15) for step in loop)

    def judge(body: object, earlier: int) -> Say:
        return Say(analysis=analysis_of(earlier), ttft_s=0.05, spread_s=0.05)

    models = {
        "worker": Behaviour(steps=loop),
        "thinker": Behaviour(steps=unhurried),
        JUDGE: judge,
    }
    return Script(models=models)


class Turns:
    """Runs turns and reads them off the endpoint."""

    def __init__(self, program: Program, endpoint: ScriptedEndpoint, rounds: int) -> None:
        self.program = program
        self.endpoint = endpoint
        self.rounds = rounds

    def run(self, main: str, *options: str) -> list[Exchange]:
        """One turn; all its calls. Raises RuntimeError where it did not do all its main calls."""
        self.endpoint.clear()
        done = self.program.run("Read the notes.", "--model", f"fake:{main}", *options, timeout_s=60)
        calls = self.endpoint.calls()
        if done.code or len(self.endpoint.calls(main)) != STEPS + 1:
            raise RuntimeError(f"moa run ended with {done.code} after {len(calls)} calls: {done.err or done.out}")
        return calls

    def gap_without_counsel(self) -> float:
        """Seconds from one main reply to the next main request where no counsel is taken."""
        gaps: list[float] = []
        for _ in range(self.rounds):
            gaps += [
                next_.first_byte - before.arrived - before.service_s
                for before, next_ in pairs(self.run("worker", "--no-moa"), "worker")
            ]
        return median(gaps)


def pairs(calls: Sequence[Exchange], main: str) -> list[tuple[Exchange, Exchange]]:
    """Each main call with the one after it."""
    mine = [call for call in calls if call.model == main]
    return list(pairwise(mine))


def between(calls: Sequence[Exchange], before: Exchange, after: Exchange) -> tuple[list[Exchange], list[Exchange]]:
    """(members, aggregations) that came in between two main calls."""
    inside = [call for call in calls if before.arrived < call.arrived < after.arrived]
    members = [call for call in inside if call.model not in (JUDGE, before.model)]
    return members, [call for call in inside if call.model == JUDGE]


def plain(turns: Turns, alone: float) -> list[Figure]:
    """Everyone is waited for: the slowest member and the aggregator are the counsel's time, and what is on top is ours."""
    whole, inner, models = [], [], []
    for _ in range(turns.rounds):
        calls = turns.run("worker", "--preset", "panel")
        for before, after in pairs(calls, "worker"):
            members, judges = between(calls, before, after)
            if len(members) != len(MEMBERS) or len(judges) != 1:
                raise RuntimeError(
                    f"a counsel of {len(members)} members and {len(judges)} aggregations; was it the same text twice?"
                )
            needed = max(call.service_s for call in members) + judges[0].service_s
            models.append(needed)
            whole.append(after.first_byte - (before.arrived + before.service_s) - alone - needed)
            inner.append(after.first_byte - min(call.first_byte for call in members) - needed)
    return [
        Figure("a main reply to the next main request, no counsel", alone * 1e3, "ms"),
        Figure("slowest member + aggregator", median(models) * 1e3, "ms", note=f"{len(models)} counsels"),
        Figure(
            "on top, from the start of counsel to the main request",
            median(whole) * 1e3,
            "ms",
            OVERHEAD_TARGET_MS,
            OVERHEAD_MARGIN_MS,
            note=f"worst {max(whole) * 1e3:.1f}",
        ),
        Figure(
            "on top, from the first member's request on",
            median(inner) * 1e3,
            "ms",
            note=f"worst {max(inner) * 1e3:.1f}",
        ),
    ]


def straggling(turns: Turns, alone: float) -> list[Figure]:
    """Once three of four are in, grace is the longest wait; at the end of the turn the straggler is cut off."""
    over, closing = [], []
    for _ in range(turns.rounds):
        calls = turns.run("worker", "--preset", "straggler")
        for before, after in pairs(calls, "worker"):
            members, judges = between(calls, before, after)
            if not any(call.model == STRAGGLER for call in members):
                continue  # its seat is still busy with an earlier question
            quick = max(call.service_s for call in members if call.model != STRAGGLER)
            needed = quick + GRACE_S + sum(call.service_s for call in judges)
            over.append(after.first_byte - (before.arrived + before.service_s) - alone - needed)
        last = max(call.arrived + call.service_s for call in calls if call.model == "worker")
        closing += [call.disconnected - last for call in calls if call.disconnected is not None]
    rows = [
        Figure(
            "beyond quorum + grace + aggregator",
            median(over) * 1e3,
            "ms",
            OVERHEAD_TARGET_MS,
            OVERHEAD_MARGIN_MS,
            note=f"worst {max(over) * 1e3:.1f}",
        )
    ]
    if closing:
        rows.append(Figure("end of the turn to the straggler's socket closed", max(closing), "s", 1.0, note="worst"))
    return rows


def ahead(turns: Turns) -> list[Figure]:
    """The same turn without counsel and with lookahead, in turns; first main request to the last main reply."""
    without, with_, counsels = [], [], []
    for _ in range(turns.rounds):
        without.append(span(turns.run("thinker", "--no-moa")))
        calls = turns.run("thinker", "--preset", "ahead")
        with_.append(span(calls))
        counsels.append(sum(call.model == JUDGE for call in calls))
    ratio = median(with_) / median(without)
    return [
        Figure("first main call to last, no counsel", median(without), "s"),
        Figure("first main call to last, lookahead", median(with_), "s", note=f"{median(counsels):g} counsels a turn"),
        Figure("ratio", ratio, "×", LOOKAHEAD_TARGET, LOOKAHEAD_MARGIN),
    ]


def span(calls: Sequence[Exchange]) -> float:
    """Seconds from the first main request to the end of the last main reply."""
    mine = [call for call in calls if call.model == "thinker"]
    return mine[-1].arrived + mine[-1].service_s - mine[0].first_byte
