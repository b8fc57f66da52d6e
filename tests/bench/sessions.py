"""A session of ten thousand entries: how long it takes to go on with it, to search it, and to list it, beside reading the raw file."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.llm.messages import Message, TextPart, ToolCallPart, assistant, system, tool_result, user
from agent.session.index import search, summaries
from agent.session.session import Session
from tests.bench.figures import Figure, median
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program

ROUNDS = 5
ENTRIES = 10_000
RESUME_S = 1.0
SEARCH_RATIO = 2.5
"""Of the time in which the standard library parses the file, in the same run: seconds alone say how fast a machine is."""


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """Medians. Resuming and searching are timed in new processes as well, imports included, as a user has them."""
    with ScriptedEndpoint() as endpoint:
        program = Program(folder, endpoint.base_url, executable=python.parent / "moa")
        sessions = program.state_dir / "sessions"
        name, write_s = make(sessions)
        path = sessions / f"{name}.jsonl"
        count = rounds or ROUNDS
        raw = seconds(path.read_bytes, count)
        parsed = min(times(lambda: [json.loads(line) for line in path.read_bytes().splitlines()], count))

        def searched(what: str, needle: str) -> Figure:
            took = min(times(lambda: search(sessions, needle), count))
            return Figure(f"search for {what} ÷ parsed", took / parsed, "×", SEARCH_RATIO, 0.5, note=f"{took:.3f} s")

        rows = [
            Figure("an entry is written", write_s / ENTRIES * 1e6, "µs", note=f"{path.stat().st_size / 1e6:.1f} MB"),
            Figure("the raw file is read", raw, "s"),
            Figure("its lines are parsed by the standard library", parsed, "s"),
            Figure("resume: open and lay out the history", seconds(lambda: opened(sessions, name), count), "s", RESUME_S),
            Figure("resume in a new process, imports included", in_new_process(python, sessions, name, count), "s", RESUME_S),
            searched("something rare", "zebra"),
            searched("something frequent", "blah"),
            searched("what is not there, ß and all", "Straße"),
            Figure("list", seconds(lambda: summaries(sessions), count), "s"),
        ]  # fmt: skip
        yield f"a session of {ENTRIES:,} entries", rows


def make(folder: Path) -> tuple[str, float]:
    """Write the session. Returns its id and the seconds that it took."""
    session = Session.create(folder)
    started = time.perf_counter()
    session.add(system("You are an agent. " * 100))
    for number in range((ENTRIES - 1) // 4 + 1):
        call = ToolCallPart(id=f"t{number}", name="read", arguments='{"path": "notes.txt"}')
        session.add(user(f"Question {number}: " + "what about that? " * 10), turn=f"turn-{number}")
        session.add(Message(role="assistant", parts=(TextPart(text="Let me see. " * 20), call), origin="fake:worker"))
        session.add(tool_result(call, "a line of text that a file has\n" * 30))
        session.add(assistant("zebra" if number == 2 else "The answer is " + "blah " * 100))
    taken = time.perf_counter() - started
    session.close()
    return session.id, taken


def opened(folder: Path, name: str) -> None:
    """What a resume reads."""
    session = Session.open(folder, name, claim=True)
    session.history()
    session.close()


def seconds(work: Callable[[], object], rounds: int) -> float:
    """The median time of a piece of work."""
    return median(times(work, rounds))


def times(work: Callable[[], object], rounds: int) -> list[float]:
    """How long a piece of work takes, each time. What else runs on the machine can only add: where two are compared, the least counts."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return taken


def in_new_process(python: Path, folder: Path, name: str, rounds: int) -> float:
    """The same in a process that has loaded nothing yet; the time is its own, without the interpreter's start."""
    code = (
        "import time; started = time.perf_counter()\n"
        "from pathlib import Path; from agent.session.session import Session; import sys\n"
        "Session.open(Path(sys.argv[1]), sys.argv[2], claim=True).history()\n"
        "print(time.perf_counter() - started)"
    )
    command = [str(python), "-c", code, str(folder), name]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(rounds)]
    return median([float(run.stdout) for run in runs])
