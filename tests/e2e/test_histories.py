"""Over random histories: each request is a strict prefix of the next on its branch, guidance included, across processes, on each wire."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.events import ToolStarted
from tests.support.chatbench import ChatBench
from tests.support.preserved import WIRES, BoundWorld, point
from tests.support.script import ANALYSIS, Say

OPEN_AGAIN = "(a new process)"


class Step(NamedTuple):
    """What is done next: a line that is entered, what the main model says to it, and what the user says meanwhile."""

    line: str
    says: tuple[Say, ...] = ()
    steer: str = ""


WORDS = st.text(
    st.sampled_from('abc é`~*#<>[]{}"\\\n\r\t\u2028\U0001f40d') | st.characters(exclude_categories=("Cs", "Cc")),
    max_size=40,
)
CALLS = st.lists(st.sampled_from(["glob", "read", "grep", "nothing"]), min_size=1, max_size=3)


def call(name: str, number: int) -> tuple[str, dict[str, Any]]:
    """A call that is never the same twice, some of which fail."""
    arguments = {"read": {"path": "notes.txt", "offset": 1 + number}, "nothing": {"what": number}}
    return name, dict(arguments.get(name, {"pattern": f"line {number}"}))


@st.composite
def turns(draw: st.DrawFn) -> Step:
    """A turn: rounds of calls, then an answer, a refusal, a stream that breaks, or an end with nothing said."""
    numbers = iter(range(draw(st.integers(0, 900)), 10_000))
    rounds = [
        Say(
            text=draw(st.sampled_from(["", "I look."])) or None,
            tools=tuple(call(name, next(numbers)) for name in draw(CALLS)),
        )
        for _ in range(draw(st.integers(0, 4)))
    ]
    ends = {
        "answer": Say(text=f"Done {draw(WORDS)}."),
        "refused": Say(status=402),
        "broken": Say(text="Half an answer, and", shape="cut"),
        "nothing": Say(shape="billed_empty"),
    }
    end = draw(st.sampled_from(["answer", "answer", "answer", *ends]))
    says = (*rounds, ends[end], Say(text="After all."))[: len(rounds) + (2 if end == "nothing" else 1)]
    line = draw(WORDS).replace("\r", "").strip().lstrip("/!") or "Go on."
    return Step(f"Do: {line}", says, draw(st.sampled_from(["", "", "Be quick.", "In French."])))


COMMANDS = ("/undo", "/moa off", "/moa panel", "/moa turn", "/approve deny", "/approve all", "!echo hello", "!!true")
MODELS = ("/model fake:other", "/model fake:main")
HISTORIES = st.lists(
    turns() | st.sampled_from([*COMMANDS, *MODELS, OPEN_AGAIN, OPEN_AGAIN]).map(Step), min_size=2, max_size=9
)
POINTS = st.lists(WORDS, min_size=1, max_size=4)


def play(world: BoundWorld, history: Sequence[Step], points: Sequence[str]) -> None:
    """Do it all, in as many processes' worth of chats as the history says."""
    plan: deque[Say] = deque()
    said = count(1)

    def main(_body: Mapping[str, Any], _earlier: int) -> Say:
        say = plan.popleft() if plan else Say(text="Nothing more.")
        # No words are said twice: after an undo, or for another model, nothing else tells which answer stands in a request.
        return replace(say, text=f"{say.text} ({next(said)})") if say.text and not say.tools else say

    def judge(_body: Mapping[str, Any], earlier: int) -> Say:
        words = f"{points[earlier % len(points)]} {point(earlier)}"
        return Say(analysis={**ANALYSIS, "consensus": [words], "severity": "blocker"})

    world.script(main=main, other=main, judge=judge)
    world.preset(cadence="iteration")
    world.preset("turn", cadence="turn")
    session: str | None = None
    for closes, steps in groupby([Step("/moa panel"), *history], lambda step: step.line == OPEN_AGAIN):
        if closes:
            continue
        steering: list[str] = []

        def on(bench: ChatBench, event: Any, waiting: list[str] = steering) -> None:
            if isinstance(event, ToolStarted) and waiting and event.source == "main":
                bench.chat.steer(waiting.pop())

        lines: list[Any] = []
        for step in steps:

            async def prepare(step: Step = step, waiting: list[str] = steering) -> None:
                plan.clear()
                plan.extend(step.says)
                waiting[:] = [step.steer] if step.steer else []

            lines += [prepare, step.line]
        session = world.chat(*lines, session=session, on=on).chat.host.agent.session.id
        if not (world.program.state_dir / "sessions" / f"{session}.jsonl").exists():
            session = None  # nothing was said yet


def hold(wire: str, history: Sequence[Step], points: Sequence[str], *, joined: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, BoundWorld(Path(folder), wire, joined=joined) as world:
        play(world, history, points)
        assert world.problems(linear=False, models=("main", "other")) == []
        for model in ("main", "other"):
            assert [call.number for call in world.calls(model) if call.status not in (200, 402)] == []


@pytest.mark.sample(1)
@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=HISTORIES, points=POINTS, joined=st.booleans())
def test_each_request_begins_with_the_one_before_it(
    wire: str, history: list[Step], points: list[str], joined: bool
) -> None:
    hold(wire, history, points, joined=joined)


@pytest.mark.slow
@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=HISTORIES, points=POINTS, joined=st.booleans())
def test_each_request_begins_with_the_one_before_it_at_length(
    wire: str, history: list[Step], points: list[str], joined: bool
) -> None:
    hold(wire, history, points, joined=joined)
