"""What counsel costs as a multiple of the main model alone, over a scripted coding loop, with prices of the day.

Everything is sent by the installed program to the scripted endpoint, whose perfect prefix cache says what was cached; the prices are those
of the table below. Beside it, in the same table, the program of an older commit, which dropped its guidance after each call. The models'
words are scripted, so no figure here says whether counsel helps.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import older
from tests.bench.figures import Figure
from tests.support.endpoint import ScriptedEndpoint
from tests.support.exchange import Exchange
from tests.support.program import Program
from tests.support.script import Say, Script

STEPS = (10, 30, 50, 100)
JUDGED = 50
"""The targets hold at so many steps."""


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars per million tokens: fresh, read from a cache, written to one, answered."""

    fresh: float
    cached: float
    write: float
    answer: float
    like: str


MAIN = "worker"
RATES: Mapping[str, Rate] = {
    MAIN: Rate(4.0, 0.2, 5.0, 20.0, "Claude Opus 5.5"),
    "lite": Rate(0.3, 0.03, 0.3, 2.5, "Gemini 3.5 Flash Lite"),
    "seek": Rate(0.21, 0.0042, 0.21, 0.84, "DeepSeek V4.1 Flash"),
    "luna": Rate(0.2, 0.02, 0.25, 1.2, "GPT-5.6 Luna"),
}
MEMBERS = ("lite", "seek", "luna")

ITERATION_TARGET, SIGNAL_TARGET, SILENT_TARGET = 1.6, 1.25, 1.3


@dataclass(frozen=True, slots=True)
class Run:
    """One turn: what went over the wire, and the counsels as the program's JSON has them."""

    calls: Sequence[Exchange]
    counsel: Sequence[Mapping[str, Any]]
    dropped: bool = False
    """The last message of each main request was for that request alone."""

    @property
    def usd(self) -> float:
        """What all calls cost."""
        return sum(self.by_role.values())

    @property
    def by_role(self) -> dict[str, float]:
        """US dollars: the main model, the members, the aggregator."""
        found = {"main": 0.0, "members": 0.0, "aggregator": 0.0}
        for call in self.calls:
            found[role(call)] += usd(call, dropped=self.dropped and role(call) == "main")
        return found

    def withheld(self, why: str) -> int:
        """Counsels of which nothing was sent, for this reason."""
        return sum(one.get("withheld") == why for one in self.counsel)


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """A table of prices, and one for each length of the loop."""
    del rounds  # nothing here depends on time
    yield (
        "prices of the day, $ per million tokens",
        [
            Figure(
                f"{name} ({rate.like})",
                rate.fresh,
                "$",
                note=f"cached {rate.cached:g}, written {rate.write:g}, answered {rate.answer:g}",
            )
            for name, rate in RATES.items()
        ],
    )
    before = older_program(folder / "older", python)
    for steps in STEPS:
        with ScriptedEndpoint() as endpoint:
            bench = Bench(folder / str(steps), python, endpoint, steps)
            yield f"a loop of {steps} steps, as a multiple of the main model alone", bench.table(before)


class Bench:
    """Runs a loop of some length, with several presets."""

    def __init__(self, folder: Path, python: Path, endpoint: ScriptedEndpoint, steps: int) -> None:
        self.folder, self.endpoint, self.steps = folder, endpoint, steps
        self.program = prepared(folder / "now", endpoint.base_url, python.parent / "moa")

    def table(self, starter: Path | None) -> list[Figure]:
        """The rows, with the targets that hold at this length."""
        solo = self.run("--no-moa")
        told = self.steps == JUDGED
        every = self.run("--preset", "every")
        rows = [
            Figure(
                "the main model alone",
                solo.usd,
                "$",
                note=f"{len(solo.calls)} calls, {solo.calls[-1].prompt_tokens} tokens at the end",
            ),
            self.row(
                "iteration, all guidance kept (guidance_tokens = 0)", every, solo, ITERATION_TARGET if told else None
            ),
            *parts(every, solo),
            self.row("iteration, as a preset is by default", self.run("--preset", "plain"), solo),
            self.row(
                "signal, all guidance kept", self.run("--preset", "signal"), solo, SIGNAL_TARGET if told else None
            ),
            self.row(
                "iteration, silent at two steps of three",
                self.run("--preset", "every", quiet=2 / 3),
                solo,
                SILENT_TARGET if told else None,
            ),
            self.row("iteration, always silent", self.run("--preset", "every", quiet=1.0), solo),
            self.row("iteration, always the same note", self.run("--preset", "every", same=True), solo),
        ]
        bounded = self.run("--preset", "plain", same=False)
        rows.append(Figure("paid and not delivered because of guidance_tokens", for_want_of_room(bounded), "", 0.0))
        if starter is not None:
            before = prepared(self.folder / "before", self.endpoint.base_url, starter)
            rows.append(
                self.row(
                    f"{older.COMMIT}: dropped tail, aggregator = main",
                    self.run("--preset", "older", program=before),
                    solo,
                )
            )
            rows.append(
                self.row(
                    f"{older.COMMIT}: dropped tail, cheap aggregator",
                    self.run("--preset", "older-cheap", program=before),
                    solo,
                )
            )
        return rows

    def run(self, *options: str, quiet: float = 0.0, same: bool = False, program: Program | None = None) -> Run:
        """One turn to its end. Raises RuntimeError where it did not do all its steps."""
        self.endpoint.clear()
        self.endpoint.script = script(self.steps, quiet, same)
        done = (program or self.program).run(
            "Mend the parser.", "--approve", "all", "--max-iterations", "200", *options, timeout_s=300
        )
        calls = list(self.endpoint.calls())
        mine = sum(role(call) == "main" for call in calls)
        if done.code or mine < self.steps:
            raise RuntimeError(
                f"moa run {options} ended with {done.code} after {mine} main calls: {done.err or done.out}"
            )
        return Run(calls, done.result["counsel"], dropped=program is not None)

    def row(self, name: str, run: Run, solo: Run, target: float | None = None) -> Figure:
        """A multiple of solo, with what became of the counsels."""
        taken = [one for one in run.counsel if one.get("trigger") != "replayed"]
        sent = sum(one.get("guidance") is not None for one in taken)
        kept = {why: run.withheld(why) for why in ("silent", "repeat", "severity")}
        note = f"{len(taken)} counsels, {sent} sent" + "".join(f", {n} {why}" for why, n in kept.items() if n)
        return Figure(name, run.usd / solo.usd, "×", target, note=note)


def parts(run: Run, solo: Run) -> list[Figure]:
    """Who adds how much."""
    alone = solo.by_role["main"]
    roles = run.by_role
    return [
        Figure("  of this: the guidance, read by the main model", (roles["main"] - alone) / alone, "×"),
        Figure("  of this: three members", roles["members"] / alone, "×"),
        Figure("  of this: the aggregator", roles["aggregator"] / alone, "×"),
    ]


def for_want_of_room(run: Run) -> int:
    """Counsels that would have been sent, had there been more room: withheld by severity although no severity was asked for."""
    return sum(one.get("withheld") == "severity" and one.get("severity") == "note" for one in run.counsel)


def role(call: Exchange) -> str:
    """Whose call it was: the old program's aggregator is the main model, told by the schema that it is held to."""
    if call.body.get("response_format"):
        return "aggregator"
    return "main" if call.model == MAIN else "members"


def usd(call: Exchange, *, dropped: bool = False) -> float:
    """What a call cost. What is new is written to the cache, where that has a price of its own, but for a last message that is `dropped`."""
    rate = RATES[call.model]
    fresh = call.prompt_tokens - call.cached_tokens
    tail = min(fresh, call.tail_tokens) if dropped else 0
    prompt = call.cached_tokens * rate.cached + (fresh - tail) * rate.write + tail * rate.fresh
    return (prompt + call.completion_tokens * rate.answer) / 1e6


# The program and its presets


def prepared(folder: Path, base_url: str, executable: Path) -> Program:
    """A program with the scripted models, their prices, a folder to work in, and the presets."""
    program = Program(folder, base_url, executable=executable)
    prices = "\n".join(
        f'[endpoints.fake.models."{name}"]\nprice = {{ prompt = {rate.fresh}, completion = {rate.answer}, cached = {rate.cached} }}'
        for name, rate in RATES.items()
    )
    program.config(f'model = "fake:{MAIN}"\n[endpoints.fake]\nbase_url = "{base_url}"\n{prices}\n')
    seats = "".join(f'[[references]]\nmodel = "fake:{name}"\nmax_tokens = 2000\n' for name in MEMBERS)
    program.preset("every", f"guidance_tokens = 0\n{seats}")
    program.preset("plain", seats)
    program.preset("signal", f'guidance_tokens = 0\ncadence = "signal"\n{seats}')
    program.preset("older", seats)
    program.preset("older-cheap", f'{seats}[aggregator]\nmodel = "fake:seek"\n')
    lines = "".join(f"{n:>4}  {words(n, 13)}\n" for n in range(1, 4001))
    (program.work_dir / "parser.py").write_text(lines)
    return program


def older_program(folder: Path, python: Path) -> Path | None:
    """The program of the older commit, unpacked beside; None where this checkout does not have that commit."""
    root = older.unpacked(folder)
    if root is None:
        return None
    starter = folder / "moa-older"
    starter.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{python}" -m moa "$@"\n')
    starter.chmod(0o755)
    return starter


# What the models say


def script(steps: int, quiet: float, same: bool) -> Script:
    """A main model that reads, edits and fails its way through a file, and advisers that are silent at a share of the steps."""
    silent = random.Random(11)
    quiet_at = [silent.random() < quiet for _ in range(steps + 8)]

    def main(body: Mapping[str, Any], earlier: int) -> Say:
        if body.get("response_format"):
            return Say(analysis=analysis(0 if same else earlier))
        return act(sum(bool(message.get("tool_calls")) for message in body["messages"]), steps)

    def member(name: str) -> Any:
        def says(body: Mapping[str, Any], earlier: int) -> Say:
            if body.get("response_format"):
                return Say(analysis=analysis(0 if same else earlier))
            step = step_of(body, steps)
            if quiet_at[step] or "answer NOTHING" in call_text(body):
                return Say(text="NOTHING")
            number = 0 if same else earlier
            return Say(text=f"NOTE\n{name} on {number}: " + " ".join(sentence(name, number, n) for n in range(14)))

        return says

    return Script(models={MAIN: main, **{name: member(name) for name in MEMBERS}})


def call_text(body: Mapping[str, Any]) -> str:
    """The last message of a request: what is asked of a member."""
    return json.dumps(body["messages"][-1])


def step_of(body: Mapping[str, Any], steps: int) -> int:
    """At which step a member is asked, from the calls in the text before it."""
    text = json.dumps(body["messages"][:-1])
    return min(steps, text.count("Call: "))


def act(done: int, steps: int) -> Say:
    """Step number `done`: mostly reads of about a thousand tokens, now and then a file that is not there (a tool error)."""
    if done >= steps:
        return Say(text="The parser is mended, and its tests pass.", reasoning=words(done, 60))
    path = "missing.py" if done % 12 == 11 else "parser.py"
    call = ("read", {"path": path, "offset": 1 + 40 * done, "limit": 40})
    return Say(text=f"Step {done}: {words(done, 20)}", reasoning=words(done + 7, 190), tools=(call,))


def sentence(name: str, number: int, n: int) -> str:
    """A sentence of about 20 tokens that no other has."""
    return f"{words(number * 31 + n * 7 + len(name), 11).capitalize()}."


def analysis(number: int) -> dict[str, Any]:
    """An aggregator's comparison of about 670 tokens, each with points of its own."""

    def point(n: int) -> str:
        return f"{words(number * 53 + n * 17, 22).capitalize()}."

    return {
        "consensus": [point(1), point(2), point(3)],
        "contradictions": [
            {
                "topic": words(number * 5 + 1, 6),
                "stances": [{"model": f"Answer {label}", "stance": point(4 + n)} for n, label in enumerate("AB")],
            }
        ],
        "partial_coverage": [{"models": ["Answer A", "Answer C"], "point": point(7)}],
        "unique_insights": [{"model": "Answer B", "insight": point(8)}, {"model": "Answer C", "insight": point(9)}],
        "blind_spots": [point(10)],
        "next_steps": [point(11), point(12)],
        "severity": "note",
        "evidence": [],
    }


def words(seed: int, count: int) -> str:
    """Plain words, the same for the same seed, and others for another."""
    chosen = random.Random(seed)
    return " ".join(
        "".join(chosen.choice("bdfgklmnprstv") + chosen.choice("aeiou") for _ in range(chosen.randint(1, 3)))
        for _ in range(count)
    )
