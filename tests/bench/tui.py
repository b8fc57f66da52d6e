"""What the chat costs: streaming against plain text, keys meanwhile, members at work, doing nothing, starting and coming back.

The chat is the installed `moa` in a pseudo-terminal, its model the scripted endpoint. Two figures are ratios to a control that only
exists inside a process of its own (`tests.bench.tui_child`): plain text in one widget, and the chat without members.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from agent.llm.messages import assistant, system, user
from agent.session.session import Session
from tests.bench.figures import Figure, median
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, endpoint_config
from tests.support.script import Behaviour, Say, Script
from tests.support.timed_terminal import Terminal

ROUNDS = 5
TOKENS = 2_000
RATE = 100
BASELINE = "import textual.app, httpx, pydantic"
KEYS = "αβγδεζηθικλμνξοπρστυφχψωΓΔΘΛΞΠΣΦΨΩ"
"""Letters that no answer here has: what appears is the echo of the key."""
FIRST_FRAME = "@ files"
"""The empty composer says this: one can type."""
IDLE_S = 10.0
MESSAGES = 400
ROOT = Path(__file__).parents[2]


def measure(folder: Path, python: Path, rounds: int | None) -> Iterator[tuple[str, list[Figure]]]:
    """Tables: streaming, members, the program at a terminal."""
    times = rounds or ROUNDS
    yield "streaming 2,000 tokens at 100 a second (processor time, same process, headless)", streaming(python)
    yield "eight members at work, eight signs of life a second each", members(python)
    script = Script(models={"list": Behaviour(steps=(Say(text=listing(TOKENS), spread_s=TOKENS / RATE),))})
    with ScriptedEndpoint(script) as endpoint:
        program = Program(folder, endpoint.base_url, executable=python.parent / "moa")
        program.config(endpoint_config(endpoint.base_url, model="fake:list"))
        yield "at a terminal", [*start(program, python, times), *live(program), *again(program, times)]


def listing(tokens: int) -> str:
    """A Markdown list of about so many tokens."""
    lines, size = [], 0
    while size < tokens * 4:
        number = len(lines)
        indent = "  " if number % 4 == 3 else ""
        lines.append(
            f"{indent}- **item {number}** says `code` and a few more *words* about [it](http://host/{number})\n"
        )
        size += len(lines[-1])
    return "".join(lines)


def child(python: Path, *arguments: object) -> dict[str, float]:
    """What a process of its own measured."""
    done = subprocess.run(
        [str(python), "-m", "tests.bench.tui_child", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    value: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return value


def streaming(python: Path) -> list[Figure]:
    """Processor seconds of each kind of text, the control first."""
    costs = {kind: child(python, "stream", kind, TOKENS, RATE) for kind in ("plain", "list", "code", "mixed")}
    rows = [
        Figure(
            f"{kind}",
            cost["cpu_s"],
            "s",
            note=f"longest block {cost['lag_ms']:.0f} ms, key p95 {cost['key_ms']:.0f} ms",
        )
        for kind, cost in costs.items()
    ]
    rows.append(Figure("list ÷ plain", costs["list"]["cpu_s"] / costs["plain"]["cpu_s"], "×", 1.6, 0.1))
    rows.append(Figure("code ÷ plain", costs["code"]["cpu_s"] / costs["plain"]["cpu_s"], "×"))
    rows.append(Figure("mixed ÷ plain", costs["mixed"]["cpu_s"] / costs["plain"]["cpu_s"], "×"))
    return rows


def members(python: Path) -> list[Figure]:
    """Points of one processor that they add."""
    without, with_them = (child(python, "members", number, IDLE_S) for number in (0, 8))
    more = (with_them["cpu_s"] - without["cpu_s"]) / IDLE_S * 100
    return [
        Figure("the chat with none", without["cpu_s"] / IDLE_S * 100, "%"),
        Figure("the chat with eight", with_them["cpu_s"] / IDLE_S * 100, "%"),
        Figure("what they add", more, "points", 5.0, 0.5),
    ]


def start(program: Program, python: Path, rounds: int) -> list[Figure]:
    """From before the process to its first frame, against the imports alone, one after the other."""
    base: list[float] = []
    taken: list[float] = []
    ready: list[float] = []
    for number in range(rounds + 1):
        began = time.monotonic()
        subprocess.run([str(python), "-c", BASELINE], env=program.environment, check=True, stdin=subprocess.DEVNULL)
        ended = time.monotonic()
        with open_chat(program) as chat:
            framed = chat.wait_for(FIRST_FRAME)
            opened = chat.wait_for("fake:list")
            if number:  # the first fills the disk cache
                base.append(ended - began)
                taken.append(framed - chat.started)
                ready.append(opened - chat.started)
    return [
        Figure(BASELINE, median(base) * 1e3, "ms"),
        Figure("moa, first frame", median(taken) * 1e3, "ms"),
        Figure("moa, session open, model named", median(ready) * 1e3, "ms"),
        Figure("moa, first frame ÷ " + BASELINE, median(taken) / median(base), "×", 1.6, 0.1),
    ]


def open_chat(program: Program, *arguments: str) -> Terminal:
    """The chat in a terminal."""
    return Terminal([program.executable, *arguments], env=program.environment, cwd=program.work_dir)


def live(program: Program) -> list[Figure]:
    """Doing nothing; then keys while an answer is streamed."""
    with open_chat(program) as chat:
        chat.wait_for("fake:list")
        chat.idle(2)
        before = chat.cpu_s()
        chat.idle(IDLE_S)
        quiet = (chat.cpu_s() - before) / IDLE_S * 100
        chat.write("go\r")
        chat.wait_for("item 3")
        before, began = chat.cpu_s(), time.monotonic()
        echoes = []
        for key in KEYS:
            chat.idle(0.3)
            start, pressed = len(chat.output), time.monotonic()
            chat.write(key)
            echoes.append(chat.wait_for(key, start=start) - pressed)
        busy = (chat.cpu_s() - before) / (time.monotonic() - began) * 100
    echoes.sort()
    return [
        Figure("idle", quiet, "%", 0.5, 0.1),
        Figure("streaming a list", busy, "%"),
        Figure(
            "key to its echo meanwhile, p95",
            echoes[int(len(echoes) * 0.95) - 1] * 1e3,
            "ms",
            100,
            note="at the terminal",
        ),
        Figure("key to its echo meanwhile, median", median(echoes) * 1e3, "ms"),
    ]


def again(program: Program, rounds: int) -> list[Figure]:
    """A long session, from the process's start to its last answer on the screen."""
    session = Session.create(program.state_dir / "sessions")
    session.add(system("You are a careful assistant."))
    for number in range(MESSAGES // 2):
        session.add(user(f"question {number}"))
        words = "the last word" if number == MESSAGES // 2 - 1 else f"answer {number}"
        session.add(assistant(f"{listing(300)}\n\n```python\nx = {number}\n```\n\n{words}"))
    session.close()
    taken, held = [], []
    for number in range(rounds + 1):
        with open_chat(program, "--resume", session.id) as chat:
            seen = chat.wait_for("the last word")
            chat.idle(1)
            if number:
                taken.append(seen - chat.started)
                held.append(chat.rss_mb())
    return [
        Figure(f"reopening {MESSAGES} messages, to the last of them", median(taken), "s", 1.0, 0.3),
        Figure("memory then", max(held), "MB", 120),
    ]
