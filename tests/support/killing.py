"""`kill -9` in the middle of a turn with counsel and tools, and what has to hold afterwards: used by a test and by a bench."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Any

from agent.ledger.book import Ledger
from agent.ledger.rows import CallRow
from agent.session.session import Session
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, end, preset_text
from tests.support.script import ANALYSIS, Behaviour, Say, Script

MEMBERS = ("member-a", "member-b", "member-c")
PHASES = {
    "side_started": "counsel",
    "side_progress": "counsel",
    "side_finished": "counsel",
    "record": "counsel",
    "model_started": "streaming",
    "text_delta": "streaming",
    "tool_started": "tools",
    "tool_progress": "tools",
    "tool_finished": "tools",
    "turn_finished": "after the end",
}
"""What was under way, by the last event that was shown; everything else is between two steps."""


@dataclass(slots=True)
class Killed:
    """One round: when it was killed, what was under way, and everything that did not hold, by kind."""

    seed: int
    phase: str
    resumed: bool = True
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unaccounted: list[str] = field(default_factory=list)
    unsendable: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """All of it in words; empty where everything held."""
        return [
            *([] if self.resumed else ["it did not resume"]),
            *(f"shown and lost: {each}" for each in self.lost),
            *(f"counted twice: {each}" for each in self.twice),
            *(f"unaccounted: {each}" for each in self.unaccounted),
            *(f"can't be sent: {each}" for each in self.unsendable),
        ]


def script() -> Script:
    """A turn of about two seconds: two reads side by side, a command, a file, an answer; counsel before each."""
    steps = (
        Say(text="First the notes.", tools=(read("notes.txt"), ("glob", {"pattern": "*"})), ttft_s=0.03, spread_s=0.1),
        Say(text="Now a command.", tools=(("shell", {"command": "echo begun; sleep 0.15; echo over"}),), spread_s=0.1),
        Say(text="And a file.", tools=(("write", {"path": "made.txt", "content": "x\n" * 50}), read("made.txt"))),
        Say(text="Everything is done, and this is the answer. " * 4, ttft_s=0.03, spread_s=0.2),
    )

    def adviser(name: str, seconds: float) -> Any:
        return lambda body, earlier: Say(text=f"{name}, advice {earlier}: look twice.", spread_s=seconds)

    members = {name: adviser(name, 0.04 * number) for number, name in enumerate(MEMBERS, 1)}
    judge = Behaviour(steps=(Say(analysis=ANALYSIS, spread_s=0.08),))
    return Script(models={"worker": Behaviour(steps=steps), "judge": judge, **members})


def read(path: str) -> tuple[str, dict[str, Any]]:
    """A call of the read tool."""
    return "read", {"path": path}


def prepare(program: Program, endpoint: ScriptedEndpoint) -> None:
    """The script and the panel that the rounds run with."""
    endpoint.script = script()
    program.preset("panel", preset_text([f"fake:{name}" for name in MEMBERS]))


def measure_turn(program: Program) -> float:
    """Seconds that a whole turn takes here."""
    done = program("run", "--output-format", "stream-json", "--preset", "panel", "--approve", "all", "Do the work.")
    if done.code:
        raise RuntimeError(f"the turn itself fails: {done.err or done.out}")
    return done.seconds


def kill_once(program: Program, endpoint: ScriptedEndpoint, seed: int, seconds: float, session: str | None) -> Killed:
    """A turn (in `session`, or a new one), killed at a moment that `seed` chooses; then everything is looked at, and it goes on."""
    endpoint.clear()
    before = {row.id for row in _books(program)}
    shown = _killed(program, random.Random(seed).uniform(0.1, seconds), session)
    endpoint.wait_for(lambda: endpoint.open_connections == 0)
    last = shown[-1]["type"] if shown else ""
    result = Killed(seed, PHASES.get(last, "between steps") if last else "start")
    _look_at_books(program, endpoint, before, result)
    started = next((event for event in shown if event["type"] == "turn_started"), None)
    if started is not None:
        opened = Session.open(program.state_dir / "sessions", started["session"])
        result.lost += _lost(opened, shown)
        _go_on(program, endpoint, opened, result)
        _look_at_books(program, endpoint, before, result)
    return result


def _killed(program: Program, after_s: float, session: str | None) -> list[dict[str, Any]]:
    """Run, kill, and give back the events that were written whole."""
    words = ["--output-format", "stream-json", "--preset", "panel", "--approve", "all"]
    words += ["--session", session] if session else []
    child = program.start("run", *words, "Do the work.")
    assert child.stdout is not None
    out: list[str] = []
    stream = child.stdout
    reader = threading.Thread(target=lambda: out.append(stream.read()))
    reader.start()
    time.sleep(after_s)
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    reader.join(10)
    end(child)
    return [json.loads(line) for line in "".join(out).split("\n")[:-1] if '"type"' in line]


def _lost(session: Session, shown: list[dict[str, Any]]) -> Iterator[str]:
    """What was shown as finished and is not in the session any more."""
    messages = session.transcript()
    said = {message.text for message in messages if message.role == "assistant" and not message.incomplete}
    results = {(message.tool_call_id, message.text) for message in messages if message.role == "tool"}
    records = session.records("counsel")
    advice = [side["text"] for side in session.unrecorded()] + [json.dumps(record) for record in records]
    for event in shown:
        match event["type"]:
            case "model_finished" if event["source"] == "main":
                text = "".join(part["text"] for part in event["message"]["parts"] if part["type"] == "text")
                if text not in said:
                    yield f"the reply {text!r}"
            case "tool_finished":
                if (event["call"]["id"], event["text"]) not in results:
                    yield f"the result of {event['call']['name']}"
            case "side_finished" if event["outcome"] == "answered":
                if not any(event["text"] in each or json.dumps(event["text"])[1:-1] in each for each in advice):
                    yield f"the answer of {event['id']}"
            case "record":
                if event["data"] not in records:
                    yield f"a record of {event['kind']}"


def _books(program: Program) -> list[CallRow]:
    """All calls, after what a dead process left open was closed, as every start of the program does."""
    books = Ledger(program.state_dir / "ledger.db")
    try:
        books.sweep()
        return books.calls()
    finally:
        books.close()


def _look_at_books(program: Program, endpoint: ScriptedEndpoint, before: Set[str], result: Killed) -> None:
    """Each call that the endpoint saw has one row; a row more is a call that was about to go out when the program died."""
    rows = [row for row in _books(program) if row.id not in before]
    seen = Counter(call.model for call in endpoint.calls())
    booked = Counter(row.model_requested for row in rows)
    surely = Counter(row.model_requested for row in rows if row.outcome != "unknown")
    result.unaccounted += [f"{count} calls of {model}" for model, count in (seen - booked).items()]
    result.unaccounted += [f"{row.model_requested} is still open" for row in rows if row.outcome == "reserved"]
    result.twice += [f"{count} calls of {model}" for model, count in (surely - seen).items()]


def _go_on(program: Program, endpoint: ScriptedEndpoint, opened: Session, result: Killed) -> None:
    before = [message.text for message in opened.history() if message.role == "assistant" and message.text]
    done = program.run("Go on.", "--session", opened.id, "--model", "fake:say", "--no-moa")
    result.resumed = done.code == 0
    for call in endpoint.calls("say"):
        result.unsendable += unsendable(call.body["messages"])
        sent = json.dumps(call.body["messages"], ensure_ascii=False)
        result.lost += [f"{text!r}, not sent" for text in before if json.dumps(text)[1:-1] not in sent]


def unsendable(messages: list[dict[str, Any]]) -> list[str]:
    """What an endpoint would refuse: a call without its result right behind it, a result without its call."""
    wrong: list[str] = []
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                wrong.append(f"a result without its call {message['tool_call_id']}")
            waiting.discard(message["tool_call_id"])
            continue
        wrong += [f"the call {call} has no result" for call in sorted(waiting)]
        waiting = {call["id"] for call in message.get("tool_calls") or ()}
    return [*wrong, *(f"the call {call} has no result" for call in sorted(waiting))]
