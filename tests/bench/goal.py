"""A goal of fifty turns, left alone: broken streams, waits, compactions, and a kill after the fifth. Is the state right at the end, is the
bill right, and does memory stay flat?

Memory is read each time the judge is asked, so always at the same point of a turn, from the process that was started after the kill.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.session.session import Session
from tests.bench.figures import Figure
from tests.support.decide import step_of
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program
from tests.support.script import Say, Script

TURNS = 50
KILL_AT = 5
FROM_TURN = 10
GROWTH_TARGET_MB = 20.0
WORDS = "what stands in this file matters to nobody, but it has to be read all the same. "
CONFIG = """
model = "fake:worker"
max_tokens = 1000
[goal]
judge = "fake:judge"
turns = 200
retry_s = 0.02
[endpoints.fake]
base_url = "{base_url}"
[endpoints.fake.models.worker]
context_window = 14_000
price = {{ prompt = 1.0, completion = 4.0, cached = 0.1 }}
[endpoints.fake.models.judge]
price = {{ prompt = 0.5, completion = 2.0 }}
"""


@dataclass(slots=True)
class Found:
    """How the goal ended. Tokens and nano-dollars as the goal has them and as the ledger has them; memory in MB, by turn."""

    status: str = ""
    turns: int = 0
    spent_tokens: int = 0
    spent_nano: int = 0
    ledger_tokens: int = 0
    ledger_nano: int = 0
    calls: int = 0
    outages: int = 0
    waits: int = 0
    compactions: int = 0
    seconds: float = 0.0
    rss_mb: list[float] = field(default_factory=list)


class Scene:
    """What the models say, decided by how many verdicts there have been, and what is seen of the process `pid` on the way.

    The worker looks, writes and reports in each turn, and breaks off once in every seventh; the judge has it wait now and then.
    """

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.judged = self.working_on = self.pid = 0
        self.rss_mb: dict[int, float] = {}
        self._broke: set[int] = set()
        self.script = Script(models={"worker": self.worker, "judge": self.judge})

    def worker(self, body: Mapping[str, Any], _earlier: int) -> Say:
        turn = self.working_on = self.judged + 1
        if not body.get("tools"):
            return Say(text=f"Summary at turn {turn}: files were read and reports written.")
        step = step_of(body)
        if turn % 7 == 0 and step == 1 and turn not in self._broke:
            self._broke.add(turn)
            return Say(text="I was about to", shape="cut")
        if step == 0 and turn not in self._broke:
            return Say(text=f"Turn {turn}: I look.", tools=(("read", {"path": "notes.txt", "offset": 1 + turn % 40}),))
        if step == 1 or (step == 0 and not self._written(body, turn)):
            content = f"report {turn}\n" + WORDS * 20
            return Say(text="I write.", tools=(("write", {"path": f"report-{turn}.txt", "content": content}),))
        return Say(text=f"Report {turn} is written. {WORDS * 10}")

    def judge(self, _body: Mapping[str, Any], _earlier: int) -> Say:
        self.judged += 1
        self.rss_mb[self.judged] = memory_mb(self.pid)
        if self.judged >= self.turns:
            return Say(analysis={"reason": "all reports are written", "unmet": [], "verdict": "done", "wait_s": 0})
        if self.judged % 12 == 4:
            return Say(analysis={"reason": "the printer is busy", "unmet": [], "verdict": "wait", "wait_s": 1})
        missing = [f"report {self.judged + 1}"]
        return Say(analysis={"reason": "reports are missing", "unmet": missing, "verdict": "continue", "wait_s": 0})

    def _written(self, body: Mapping[str, Any], turn: int) -> bool:
        return f"report-{turn}.txt" in str(body["messages"][-2:])


def memory_mb(pid: int) -> float:
    """The resident memory of a process; 0 where that can't be known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("VmRSS:")), "VmRSS: 0 kB")
    return int(line.split()[1]) / 1024


def growth(folder: Path, *, turns: int, kill_at: int, executable: Path | None = None) -> Found:
    """Run the goal, killed once the turn after `kill_at` has begun, then resumed to its end."""
    scene = Scene(turns)
    with ScriptedEndpoint(scene.script) as endpoint:
        program = Program(folder, endpoint.base_url, executable=executable)
        program.config(CONFIG.format(base_url=endpoint.base_url))
        words = ("--goal", "--approve", "all", "--no-moa", "--output-format", "json")
        try:
            first = program.start("run", *words, "Write the reports.")
            scene.pid = first.pid
            endpoint.wait_for(lambda: scene.working_on > kill_at or first.poll() is not None, 60)
            os.killpg(first.pid, signal.SIGKILL)
            first.wait(10)
            (session,) = [path.stem for path in (program.state_dir / "sessions").glob("*.jsonl")]
            second = program.start("run", *words[1:], "--session", session, "/goal resume")
            scene.pid = second.pid
            out, err = second.communicate(timeout=60 + 4 * turns)
            if second.returncode:
                raise RuntimeError(f"the goal ended with {second.returncode}: {out[-2000:]} {err[-2000:]}")
            return _found(program, session, scene, kill_at)
        finally:
            program.close()


def _found(program: Program, session: str, scene: Scene, kill_at: int) -> Found:
    opened = Session.open(program.state_dir / "sessions", session)
    state = opened.get_state("goal") or {}
    rows = program.activity()
    last = opened.records("goal")[-1]["spent"]
    decisions = [record["decision"] for record in opened.records("goal")]
    return Found(
        status=state.get("status", ""),
        turns=state["spent"]["turns"],
        spent_tokens=last["tokens"],
        spent_nano=round(last["usd"] * 1e9),
        ledger_tokens=sum((row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0) for row in rows),
        ledger_nano=round(sum(row["cost_usd"] or 0 for row in rows) * 1e9),
        calls=len(rows),
        outages=sum(row["outcome"] not in ("done", "cancelled") and row["purpose"] == "main" for row in rows),
        waits=decisions.count("wait"),
        compactions=sum(row["purpose"] == "compaction" for row in rows),
        seconds=state["spent"]["seconds"],
        rss_mb=[mb for turn, mb in sorted(scene.rss_mb.items()) if turn > kill_at],
    )


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """The goal of fifty turns."""
    found = growth(folder, turns=TURNS, kill_at=KILL_AT, executable=python.parent / "moa")
    from_turn, to_turn = found.rss_mb[FROM_TURN - KILL_AT - 1], found.rss_mb[-1]
    yield (
        f"a goal of {TURNS} turns, killed after turn {KILL_AT} and resumed",
        [
            Figure("ends as done", float(found.status == "done"), "", 1.0, at_least=True),
            Figure("turns", float(found.turns), "", float(TURNS), at_least=True),
            Figure(
                "calls",
                float(found.calls),
                "",
                note=f"{found.outages} broken, {found.waits} waits, {found.compactions} compactions",
            ),
            Figure("tokens beside the ledger's", float(abs(found.spent_tokens - found.ledger_tokens)), "", 0.0),
            Figure("nano-dollars beside the ledger's", float(abs(found.spent_nano - found.ledger_nano)), "", 1.0),
            Figure("time at work", found.seconds, "s"),
            Figure(f"memory at turn {FROM_TURN}", from_turn, "MB"),
            Figure(f"memory at turn {TURNS}", to_turn, "MB"),
            Figure("growth", to_turn - from_turn, "MB", GROWTH_TARGET_MB),
        ],
    )
