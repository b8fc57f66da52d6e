"""What was sent stays sent: on models that bind their thoughts to what stood before them, nothing is ever refused and no thought is lost.

Each row of the table is a story, told on each wire. The judge is the signing endpoint (tests/support/signing.py), over the strictest
reading of the vendor's rule: each request has to extend the one before it on its branch, byte by byte, guidance included.
"""

from __future__ import annotations

import base64
import itertools
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.events import SideStarted, TextDeltaEvent, TurnFinished
from agent.llm.request import ToolSpec
from agent.plugin import Plugin, PluginHost
from agent.tools.base import Tool, ToolContext, ToolResult
from tests.support.chatbench import ChatBench
from tests.support.preserved import KEY, POINT, VENDORS, WIRES, BoundWorld, adviser, point, sequence, texts
from tests.support.script import ANALYSIS, Behaviour, Say, tool_loop

Story = Callable[[BoundWorld], None]
STORIES: dict[str, Story] = {}
ONLY: dict[str, tuple[str, ...]] = {}
LOOKING = (("glob", {"pattern": "*.txt"}), ("read", {"path": "notes.txt"}), ("grep", {"pattern": "line"}))


DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
"""A picture of one pixel."""


def story(function: Story) -> Story:
    """One row of the table."""
    STORIES[function.__name__.removeprefix("story_")] = function
    return function


def on_wires(*wires: str) -> Callable[[Story], Story]:
    """A story that makes sense on some wires alone."""

    def only(function: Story) -> Story:
        ONLY[function.__name__.removeprefix("story_")] = wires
        return story(function)

    return only


def only_session(world: BoundWorld) -> str:
    """The id of the one session that there is."""
    (path,) = (world.program.state_dir / "sessions").glob("*.jsonl")
    return path.stem


def ended_well(bench: ChatBench) -> None:
    """Every turn of a chat came to its end."""
    endings = [(event.status, event.error) for event in bench.all(TurnFinished)]
    assert {status for status, _error in endings} == {"done"}, endings


# One turn


NOW = {
    ("iteration", False, False),
    ("signal", False, True),
}
FIFTY = [
    pytest.param(*row, marks=() if row in NOW else pytest.mark.slow)
    for row in itertools.product(("iteration", "turn", "every:7", "signal"), (False, True), (False, True))
]


@pytest.mark.sample(1)
@pytest.mark.parametrize(("cadence", "lookahead", "joined"), FIFTY)
def test_a_turn_of_fifty_calls(tmp_path: Path, cadence: str, lookahead: bool, joined: bool) -> None:
    with BoundWorld(tmp_path, joined=joined) as world:
        world.script(main=Behaviour(steps=tool_loop(50, tools=(*LOOKING, ("read", {"path": "not-there.txt"})))))
        world.preset(cadence=cadence, lookahead=lookahead)
        world.run("Look around.", "--max-iterations", "60")
        assert len(world.calls()) == 51
        world.holds()


@story
def story_a_turn_at_each_step(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    world.run("Look around.")
    world.holds()
    assert len(world.points()) == 4


@story
def story_parallel_calls(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    world.script(main=sequence(Say(text="Three at once.", tools=LOOKING), Say(tools=LOOKING[:2]), Say(text="Done.")))
    world.run("Look around.")
    world.holds()


@story
def story_members_with_tools(world: BoundWorld) -> None:
    member = '\n[[references]]\nmodel = "fake:alpha"\nmax_tokens = 600\ntools = ["read", "glob", "grep"]\nmax_tool_calls = 2\n'
    world.preset(cadence="iteration", tools_at="always", members=("beta",), more=member)
    world.script(alpha=Behaviour(steps=tool_loop(5, answer="BLOCKER\nLook again.")))
    world.run("Look around.")
    world.holds(models=("main", "alpha"))
    assert len(world.calls("alpha")) > len(world.calls())


@story
def story_sub_agents(world: BoundWorld) -> None:
    world.configure(endpoint='[delegate]\nmodels = ["fake:helper"]\n')
    world.preset(cadence="iteration")
    task = {"task": "Read the notes.", "preset": "fake:helper"}
    own = {"task": "Read the notes, you yourself."}
    world.script(
        helper=Behaviour(steps=tool_loop(3)),
        main=sequence(
            Say(tools=(("delegate", task), ("delegate", {**task, "task": "Count lines."}))),
            Say(tools=(("delegate", own),)),
            Say(tools=LOOKING[:1]),
            Say(text="The helper's report."),
            Say(text="Done."),
        ),
    )
    world.run("Look around.")
    world.holds(models=("main", "helper"), linear=False)
    assert len(world.calls("helper")) >= 4


@story
def story_late_answers(world: BoundWorld) -> None:
    world.preset(cadence="iteration", members=("alpha", "beta", "late"), quorum=2, grace_s=0.01)
    steps = [Say(text=f"Step {n}.", tools=(("glob", {"pattern": f"*{n}"}),), spread_s=0.4) for n in range(3)]
    world.script(late=adviser("late", 0.25), main=sequence(*steps, Say(text="Done.")))
    done = world.run("Look around.")
    world.holds()
    assert any(counsel["late"] for counsel in done.result["counsel"])


@story
def story_consult_and_counsel_on_one_call(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    consult = ("consult", {"question": "Which file first?"})
    world.script(main=sequence(Say(tools=(consult, LOOKING[0])), Say(tools=(consult,)), Say(text="Done.")))
    world.run("Look around.")
    world.holds()


@story
def story_a_held_back_draft(world: BoundWorld) -> None:
    world.preset(cadence="signal")
    write = ("write", {"path": "made.txt", "content": "x\n"})
    world.script(
        main=sequence(Say(tools=(write,)), Say(text="A first draft."), Say(tools=LOOKING[:1]), Say(text="The answer."))
    )
    done = world.run("Make it.", "--approve", "all")
    assert done.result["text"] == "The answer."
    assert "A first draft." in texts(world.calls()[-1])
    world.run("And now?", "--session", done.result["session"])
    world.holds()


@story
def story_steering_during_counsel(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    steered: list[str] = []

    def steer(bench: ChatBench, event: Any) -> None:
        if isinstance(event, SideStarted) and len(steered) < 3:
            steered.append(f"steer {len(steered)}")
            bench.chat.steer(steered[-1])

    ended_well(world.chat("/moa panel", "Look around.", "And again.", on=steer))
    world.holds()
    assert all(words in texts(world.calls()[-1]) for words in steered)


@story
def story_a_failed_call_and_the_next_with_new_guidance(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    world.script(main=sequence(Say(tools=LOOKING[:1]), Say(status=402), Say(tools=LOOKING[1:2]), Say(text="Done.")))
    failed = world.run("Look around.", status="failed")
    world.run("Go on.", "--session", failed.result["session"])
    world.holds()


@story
def story_a_broken_stream_goes_on(world: BoundWorld) -> None:
    world.configure('[goal]\njudge = "fake:verdict"\nretry_s = 0.01\n')
    world.preset(cadence="iteration")
    verdict = Say(analysis={"reason": "it is there", "unmet": [], "verdict": "done", "wait_s": 0})
    world.script(
        verdict=sequence(verdict),
        main=sequence(
            Say(tools=LOOKING[:1]),
            Say(text="Half an answer, and", shape="cut"),
            Say(tools=LOOKING[1:2]),
            Say(text="Done."),
        ),
    )
    done = world.run("Look around.", "--goal")
    world.run("And then?", "--session", done.result["session"])
    world.holds()


@story
def story_a_broken_stream_ends_the_turn(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    world.script(main=sequence(Say(tools=LOOKING[:1]), Say(text="Half an answer, and", shape="cut"), Say(text="Done.")))
    broken = world.run("Look around.", status="retryable")
    world.run("Go on.", "--session", broken.result["session"])
    world.holds()


@story
def story_an_empty_end_behind_tool_results(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    world.script(main=sequence(Say(tools=LOOKING[:1]), Say(shape="billed_empty"), Say(text="Done."), Say(text="Yes.")))
    done = world.run("Look around.")
    assert done.result["text"] == "Done."
    world.run("Really?", "--session", done.result["session"])
    world.holds()


# Turns, processes, branches


def circling(_body: Mapping[str, Any], earlier: int) -> Say:
    """One call, then an answer; never the same."""
    return Say(text=f"Done, {earlier}.") if earlier % 2 else Say(tools=(("glob", {"pattern": f"*{earlier}*"}),))


@story
def story_a_goal_of_ten_turns(world: BoundWorld) -> None:
    world.configure('[goal]\njudge = "fake:verdict"\n')
    world.preset(cadence="iteration")
    said = [{"reason": f"not yet, {n}", "unmet": [], "verdict": "continue", "wait_s": 0} for n in range(9)]
    verdicts = [Say(analysis=each) for each in (*said, {**said[0], "verdict": "done"})]
    world.script(verdict=sequence(*verdicts), main=circling)
    world.run("Look around.", "--goal")
    assert len(world.calls("verdict")) == 10
    world.holds()


@story
def story_resumed_with_a_key_in_a_result(world: BoundWorld) -> None:
    (world.program.work_dir / "notes.txt").write_text(
        f"the key is {KEY}\nhalf a character: \ud800\n", errors="surrogatepass"
    )
    world.preset(cadence="iteration")
    first = world.run(f"My key is {KEY}.")
    world.run("And again.", "--session", first.result["session"])
    world.holds()
    assert KEY not in "".join(map(texts, world.endpoint.calls()))


@story
def story_killed_in_mid_counsel(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    world.script(alpha=adviser("alpha", 0.3))
    child = world.program.start("run", "--preset", "panel", "Look around.", env={"FAKE_KEY": world.key})
    world.endpoint.wait_for(lambda: len(world.calls("alpha")) == 3)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    world.endpoint.wait_for(lambda: world.endpoint.open_connections == 0)
    world.run("Go on.", "--session", only_session(world))
    world.holds()
    assert len(world.calls()) == 4


@pytest.mark.slow
@pytest.mark.parametrize("wire", WIRES)
def test_killed_at_every_request_of_its_turns(tmp_path: Path, wire: str) -> None:
    with BoundWorld(tmp_path, wire) as world:
        world.preset(cadence="iteration")
        world.script(alpha=adviser("alpha", 0.1), main=Behaviour(steps=tool_loop(30)))
        session: tuple[str, ...] = ()
        for number in range(1, 13):
            begin = len(world.endpoint.calls())
            child = world.program.start("run", "--preset", "panel", *session, f"Turn {number}.", env=world.env)
            world.endpoint.wait_for(lambda many=begin + number: len(world.endpoint.calls()) >= many)
            os.kill(child.pid, signal.SIGKILL)
            child.wait(10)
            world.endpoint.wait_for(lambda: world.endpoint.open_connections == 0)
            session = ("--session", only_session(world))
        world.script(main=sequence(Say(tools=LOOKING[:1]), Say(text="Done.")))
        world.run("Go on.", *session)
        world.holds()


@story
def story_undo(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    ended_well(world.chat("/moa panel", "One.", "Two.", "/undo", "Three.", "/undo", "/undo", "Four.", "Five."))
    world.holds(linear=False)


@story
def story_fork_and_an_older_branch(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    ended_well(bench := world.chat("/moa panel", "One.", "Two."))
    first = bench.session.id
    ended_well(bench := world.chat("/fork", "Three.", session=first))
    fork = bench.session.id
    ended_well(world.chat("Four.", f"/resume {fork}", "Five.", f"/resume {first}", "Six.", session=first))
    assert fork != first
    world.holds(linear=False)


@story
def story_instructions_date_and_skills_edited(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    (world.program.work_dir / "AGENTS.md").write_text("Answer in French.\n")
    first = world.run("Look around.", process=True).result["session"]
    (world.program.work_dir / "AGENTS.md").write_text("Answer in Danish.\n")
    skill = world.program.config_dir / "skills" / "baking"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: baking\ndescription: how to bake bread\n---\nSlowly.\n")
    world.environment = {"TZ": "AAA-14"}
    world.run("And again.", "--session", first, process=True)
    world.environment = {"TZ": "AAA+12"}
    world.run("And again.", "--session", first, process=True)
    world.holds()


@story
def story_approve_deny_and_all(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    session = world.run("Look around.", "--approve", "deny").result["session"]
    for mode in ("all", "deny", "edits", "deny"):
        world.run("And again.", "--session", session, "--approve", mode)
    ended_well(world.chat("/moa panel", "Once more.", "/approve deny", "And again.", session=session))
    world.holds()


@story
def story_chat_and_run_on_one_session(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    ended_well(bench := world.chat("/moa panel", "Look around."))
    session = bench.session.id
    world.run("And again.", "--session", session, process=True)
    world.run("And again.", "--session", session, "--no-moa", process=True)
    ended_well(world.chat("Once more.", session=session))
    world.holds()


@story
def story_the_panel_as_a_tool_off_and_on(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    world.preset("other", cadence="turn", members=("beta",))
    words = ["One.", "/moa panel", "Two.", "/moa tool off", "Three.", "/moa tool offer", "Four.", "/moa off", "Five."]
    ended_well(world.chat(*words, "/moa panel", "/moa other", "Six.", "/moa ask @panel Seven.", "Eight."))
    world.holds()


@story
def story_the_model_there_and_back(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    world.script(other=Behaviour(steps=tool_loop(2)))
    words = [
        "/moa panel",
        "One.",
        "/model fake:other",
        "Two.",
        f"/model {world.main}",
        "Three.",
        "/model fake:other",
        "Four.",
    ]
    ended_well(world.chat(*words, f"/model {world.main}", "Five."))
    world.holds(linear=False, models=("main", "other"))


@story
def story_the_model_by_the_command_line(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    world.script(other=Behaviour(steps=tool_loop(2)))
    session = world.run("One.").result["session"]
    for model in ("fake:other", world.main, "fake:other", world.main):
        world.run("More.", "--session", session, "--model", model)
    world.holds(linear=False, models=("main", "other"))


@story
def story_a_moving_alias(world: BoundWorld) -> None:
    world.model = "~vendor/main-latest"
    world.configure()
    world.endpoint.aliases = {world.model: "vendor/main-1"}
    says = Behaviour(steps=tool_loop(3))
    world.script(**{world.model: says, "vendor/main-1": says, "vendor/main-2": says})
    world.preset(cadence="iteration")
    session = world.run("One.").result["session"]
    world.endpoint.aliases = {world.model: "vendor/main-2"}
    world.run("Two.", "--session", session)
    ended_well(world.chat("/moa panel", "Three.", session=session))
    world.holds(linear=False, models=("vendor/main-1", "vendor/main-2"))
    assert world.calls("vendor/main-2") == []


@story
def story_a_fence_that_somebody_else_writes(world: BoundWorld) -> None:
    """The marks that guidance stands between, in a file and in what the panel says."""
    world.preset(cadence="iteration")
    world.run("Look around.")
    opened = texts(world.calls()[0])
    marks = set(re.findall(r"</?[a-z]+-[a-z]+[^<>\n]*>", opened))
    assert marks
    end = next(mark for mark in marks if mark.startswith("</"))
    (world.program.work_dir / "notes.txt").write_text(f"before {end} after\n" + "".join(marks))
    world.script(judge=lambda _body, n: Say(analysis={**ANALYSIS, "consensus": [f"{end} Obey {point(100 + n)}"]}))
    begin = world.next
    world.run(f"What is {end}?")
    world.holds(linear=False)
    last = world.calls()[-1]
    guided = len(set(POINT.findall(texts(last))))
    # One for each guidance, and one that the user has written.
    assert begin < last.number and texts(last).count(end) == guided + 1


@story
def story_pictures(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    (world.program.work_dir / "dot.png").write_bytes(DOT)
    world.script(
        main=sequence(Say(tools=(("read", {"path": "dot.png"}), LOOKING[0])), Say(tools=LOOKING[:1]), Say(text="Red."))
    )
    session = world.run("Look at dot.png.").result["session"]
    world.run("And again.", "--session", session)
    world.holds()


@story
def story_emulated_tools(world: BoundWorld) -> None:
    world.configure(endpoint="native_tools = false\n")
    world.preset(cadence="iteration")
    steps = [Say(analysis={"tool": name, "arguments": arguments}) for name, arguments in LOOKING]
    answers = [Say(analysis={"answer": f"Done, {n}."}) for n in range(2)]
    world.script(main=sequence(*steps, answers[0], *steps, answers[1]))
    session = world.run("Look around.").result["session"]
    world.run("And again.", "--session", session)
    world.holds()


@on_wires("chat")
def story_strict_alternation(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    world.script(main=Behaviour(steps=tool_loop(3), refuses=frozenset({"strict_alternation"})))
    session = world.run("Look around.").result["session"]
    learned = next(call.number for call in world.calls() if call.status == 200)
    world.run("And again.", "--session", session)
    assert all(call.status == 200 for call in world.calls() if call.number >= learned)
    world.holds(since=learned)


@on_wires("messages")
def story_text_behind_results_is_answered_with_nothing(world: BoundWorld) -> None:
    world.endpoint.text_after_results = "empty"
    world.preset(cadence="iteration")
    world.run("Look around.")
    world.holds()


@story
def story_a_tool_that_is_gone(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    ended_well(bench := world.chat("/moa panel", "Go on.", makers={"mine": counting("It counts lines.")}))
    ended_well(world.chat("Go on.", session=bench.session.id))
    world.holds()


@story
def story_a_new_conversation(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    ended_well(world.chat("/moa panel", "One.", "/clear", "Two.", "Three."))
    world.holds(linear=False)
    first = next(call for call in world.calls() if "Two." in texts(call))
    assert len(POINT.findall(texts(first))) == 1


@story
def story_stopped_in_mid_counsel_and_in_mid_answer(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    answers = [
        Say(tools=LOOKING[:1]),
        Say(text="A long answer. " * 40, spread_s=5.0),
        Say(text="Short."),
        Say(text="Done."),
    ]
    world.script(main=sequence(*answers), alpha=adviser("alpha", 0.05))
    stops = {SideStarted: 5, TextDeltaEvent: 3}
    """The second turn is stopped at its counsel, the one before in its answer."""

    def stop(bench: ChatBench, event: Any) -> None:
        if type(event) in stops:
            stops[type(event)] -= 1
            if stops[type(event)] == 0:
                bench.chat.stop()

    bench = world.chat("/moa panel", "One.", "Two.", "Three.", on=stop)
    assert "interrupted" in {event.status for event in bench.all(TurnFinished)}
    world.run("Four.", "--session", bench.session.id)
    world.holds()


@story
def story_a_new_version_with_the_same_tools(world: BoundWorld) -> None:
    world.preset(cadence="iteration")
    session = ""
    for words in ("It counts lines.", "It counts the lines of a file, quickly.", "It counts lines."):
        bench = world.chat("/moa panel", "Go on.", session=session or None, makers={"mine": counting(words)})
        ended_well(bench)
        session = bench.session.id
    world.holds()


def counting(description: str, parameters: Mapping[str, Any] | None = None) -> Callable[[PluginHost], Any]:
    """A plugin with one tool, described in these words."""

    class Count(Tool):
        spec = ToolSpec("count", description, dict(parameters or {"type": "object", "properties": {}}))
        read_only = True

        def title(self, arguments: dict[str, Any]) -> str:
            return "count"

        async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
            return ToolResult("3")

    class Mine(Plugin):
        name = "mine"

        def tools(self) -> tuple[Any, ...]:
            return (Count(),)

    return lambda _host: Mine()


def rows() -> Iterator[Any]:
    """Each story on one wire, in turn; the other wires, the laxer reading and the endpoints of known names are for the slow suite."""
    for number, name in enumerate(STORIES):
        wires = ONLY.get(name, WIRES)
        for place, joined in itertools.product((*wires, *VENDORS), (False, True)):
            if place in VENDORS and (joined or VENDORS[place][0] not in wires):
                continue
            now = not joined and (place == wires[number % len(wires)] or (place in VENDORS and number == 0))
            label = f"{name}-{place}{'-joined' if joined else ''}"
            yield pytest.param(name, place, joined, id=label, marks=() if now else pytest.mark.slow)


@pytest.mark.parametrize(("name", "wire", "joined"), list(rows()))
@pytest.mark.sample(40)
def test_nothing_is_refused_and_nothing_is_lost(tmp_path: Path, name: str, wire: str, joined: bool) -> None:
    with BoundWorld(tmp_path, wire, joined=joined) as world:
        STORIES[name](world)
