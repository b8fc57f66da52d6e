"""What begins an epoch: thoughts from before it may stay behind, it is told, nothing is refused, and nothing is lost after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.events import Notice
from tests.e2e.test_preserved import counting, ended_well
from tests.support.chatbench import ChatBench
from tests.support.preserved import WIRES, BoundWorld, sequence, texts
from tests.support.prompt import thoughts_of
from tests.support.script import Behaviour, Say, tool_loop

OLD = Path(__file__).parent.parent / "data" / "session_before_fingerprints.jsonl"
"""A session as the program wrote it before replies had fingerprints: two turns, one with counsel, thoughts of `fake:main`."""
THOUGHT = "thought"
ALWAYS = ("responses",)
"""Sealed items of OpenAI's go back whatever has changed before them: there is nothing to leave behind, and nothing to tell."""


SOME = [pytest.param(wire, marks=() if wire == "messages" else pytest.mark.slow) for wire in WIRES]


def told(bench: ChatBench) -> str:
    """All notices of a chat."""
    return "\n".join(notice.text for notice in bench.all(Notice))


def carried(world: BoundWorld, call: int = -1) -> int:
    """How many signed thoughts a request had."""
    return len(list(thoughts_of(world.calls()[call].body, world.wire)))


def small(world: BoundWorld, *, main: Any, window: int = 10_000, compact: str = "fake:summary") -> None:
    """A main model with a small window, and notes that fill it."""
    (world.program.work_dir / "notes.txt").write_text(
        "".join(f"line {n}: nothing to see here at all\n" for n in range(150))
    )
    world.configure(
        f'[context]\nmodel = "{compact}"\n',
        endpoint=f"[endpoints.fake.models.main]\ncontext_window = {window}\nmax_output = 1_000\n",
    )
    world.script(main=main, summary=sequence(Say(text="They look at the notes, a line at a time.")))


def reading(calls: int) -> Behaviour:
    """A turn that reads the notes again and again, each time from another line."""
    reads = tuple(
        Say(text=f"Step {n}.", tools=(("read", {"path": "notes.txt", "offset": 1 + n}),)) for n in range(calls)
    )
    return Behaviour(steps=(*reads, Say(text="All read.")))


@pytest.mark.slow
@pytest.mark.parametrize("wire", WIRES)
def test_twenty_compactions_in_one_turn(tmp_path: Path, wire: str) -> None:
    with BoundWorld(tmp_path, wire, sealed_items_bind=False) as world:
        small(world, main=sequence(*reading(110).steps))
        world.preset(cadence="every:3")
        done = world.stream("Read it all.", "--max-iterations", "120")
        compactions = [event for event in done.lines if event.get("type") == "compacted"]
        assert len(compactions) >= 20
        epochs = [call.number for call in world.calls("summary")]
        assert len(epochs) == len(compactions)
        world.holds(linear=False, epochs=epochs)


@pytest.mark.parametrize("wire", SOME)
def test_a_compaction_by_command_and_going_back_behind_it(tmp_path: Path, wire: str) -> None:
    with BoundWorld(tmp_path, wire, sealed_items_bind=False) as world:
        world.preset(cadence="iteration")
        epochs: list[int] = []

        async def mark() -> None:
            epochs.append(world.next)

        words = ["/moa panel", "One.", "Two.", mark, "/compact", mark, "Three.", "Four.", "/undo", "/undo"]
        ended_well(world.chat(*words, mark, "Five.", "Six."))
        world.holds(linear=False, epochs=epochs)


@pytest.mark.parametrize("wire", SOME)
@pytest.mark.parametrize("where", ["run", pytest.param("chat", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_another_key(tmp_path: Path, wire: str, where: str) -> None:
    with BoundWorld(tmp_path, wire, sealed_items_bind=False) as world:
        world.preset(cadence="iteration")
        session = world.run("One.").result["session"]
        epochs = []
        for key in ("key-two-0123456789", "key-one-0123456789"):
            world.key = key
            epochs.append(world.next)
            if where == "run":
                events = world.stream("More.", "--session", session).lines
                said = "\n".join(event["text"] for event in events if event.get("type") == "notice")
            else:
                ended_well(bench := world.chat("/moa panel", "More.", session=session))
                said = told(bench)
            assert THOUGHT in said
            world.run("And more.", "--session", session)
        world.holds(linear=False, epochs=epochs)


SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
TOOLS: dict[str, Mapping[str, Callable[..., Any]]] = {
    "joins": {"mine": counting("It counts lines.")},
    "changes its parameters": {"mine": counting("It counts lines.", SCHEMA)},
}


@pytest.mark.parametrize("wire", SOME)
@pytest.mark.parametrize("what", TOOLS)
def test_a_tool_that(tmp_path: Path, wire: str, what: str) -> None:
    with BoundWorld(tmp_path, wire, sealed_items_bind=False) as world:
        world.preset(cadence="iteration")
        makers = {} if what == "joins" else TOOLS["joins"]
        ended_well(bench := world.chat("/moa panel", "One.", makers=makers))
        session, epoch = bench.session.id, world.next
        ended_well(bench := world.chat("Two.", "Three.", session=session, makers=TOOLS[what]))
        world.chat("Four.", session=session, makers=TOOLS[what])
        world.holds(linear=False, epochs=[epoch])
        old, new = world.calls()[0].body["tools"], world.calls()[-1].body["tools"]
        assert new[: len(old)] == old or what != "joins"
        if wire not in ALWAYS:
            assert THOUGHT in told(bench)


@pytest.mark.parametrize("joined", [False, True])
def test_a_quirk_that_is_learned_in_mid_session(tmp_path: Path, joined: bool) -> None:
    with BoundWorld(tmp_path, "chat", joined=joined) as world:
        world.preset(cadence="iteration")
        session = world.run("One.").result["session"]
        epoch = world.next
        world.script(main=Behaviour(steps=tool_loop(3), refuses=frozenset({"strict_alternation"})))
        world.run("Two.", "--session", session)
        learned = [call.number for call in world.calls() if call.status == 400]
        world.run("Three.", "--session", session)
        assert len(learned) == 1
        assert [call.number for call in world.calls() if call.status == 400] == learned
        world.holds(linear=False, epochs=[epoch, learned[0] + 1])


@pytest.mark.parametrize("wire", SOME)
def test_the_refusal_itself_is_answered_once_without_thoughts_and_nothing_false_is_remembered(
    tmp_path: Path, wire: str
) -> None:
    with BoundWorld(tmp_path, wire) as world:
        world.preset(cadence="iteration")
        session = world.run("One.").result["session"]
        world.endpoint.salt = "the vendor changed its mind"
        epoch = world.next
        ended_well(bench := world.chat("/moa panel", "Two.", "Three.", session=session))
        assert THOUGHT in told(bench)
        world.run("Four.", "--session", session)
        (refused,) = world.endpoint.found
        assert [call.number for call in world.calls() if call.status == 400] == [refused.request]
        assert refused.request >= epoch
        after = [call for call in world.calls() if call.number > refused.request]
        assert list(thoughts_of(after[0].body, wire)) == []
        assert carried(world) > 0
        assert [
            finding
            for finding in world.problems(linear=False, epochs=[epoch, refused.request + 1])
            if "refused" not in finding
        ] == []
        kept = "".join(path.read_text("utf-8") for path in world.program.cache_dir.rglob("*.json"))
        assert "no_reasoning" not in kept


@pytest.mark.parametrize("wire", ["messages", "chat"])
def test_an_endpoint_that_only_drops_them_is_never_given_reason_to(tmp_path: Path, wire: str) -> None:
    with BoundWorld(tmp_path, wire, mode="drop_block") as world:
        world.preset(cadence="iteration")
        session = world.run("One.").result["session"]
        world.run("Two.", "--session", session)
        world.holds()
        assert world.endpoint.dropped == set()
        assert carried(world) >= len(world.calls()) - 1


@pytest.mark.slow
@pytest.mark.parametrize("wire", WIRES)
def test_an_overflow_keeps_the_guidance_of_its_call(tmp_path: Path, wire: str) -> None:
    with BoundWorld(tmp_path, wire, sealed_items_bind=False) as world:
        steps = reading(30).steps
        small(world, main=Behaviour(first=steps, steps=steps[-1:], window=9_000), window=100_000)
        world.preset(cadence="iteration")
        world.run("Read it all.", "--max-iterations", "80")
        epochs = [call.number for call in world.calls("summary")]
        assert epochs
        world.holds(linear=False, epochs=epochs)
        for epoch in epochs:
            before = max(call.number for call in world.calls() if call.number < epoch)
            after = next(call for call in world.calls() if call.number > epoch)
            refused = next(call for call in world.calls() if call.number == before)
            newest = max(world.points(), key=lambda words: (words in texts(refused), world.points().index(words)))
            assert newest in texts(after)


def test_the_window_tells_how_many_thoughts_were_left_behind(tmp_path: Path) -> None:
    with BoundWorld(tmp_path) as world:
        world.preset(cadence="iteration")
        session = world.run("One.").result["session"]
        world.key = "key-two-0123456789"
        bench = world.chat("Two.", "/context", session=session)
        from agent.ui.text import render

        assert THOUGHT in render(bench.view()).lower()


@pytest.mark.parametrize("approve", ["deny", "all"])
def test_a_session_of_an_older_program_loses_its_thoughts_once(tmp_path: Path, approve: str) -> None:
    with BoundWorld(tmp_path) as world:
        world.preset(cadence="iteration")
        session = "20261126-010000-abcd"
        folder = world.program.state_dir / "sessions"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{session}.jsonl").write_bytes(OLD.read_bytes())
        ended_well(bench := world.chat("/moa panel", "Go on.", session=session, approve=approve))
        world.run("And on.", "--session", session)
        world.holds()
        assert THOUGHT in told(bench)
        assert carried(world, 0) == 0
        assert "Look around." in texts(world.calls()[0])
