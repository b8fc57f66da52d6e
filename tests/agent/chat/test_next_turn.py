"""What plugins may do about the end of a turn: try a call again, wait, change the ending, ask for another turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from agent.events import Emit, ErrorInfo, Notice, Steered, TurnFinished
from agent.llm.accounting import CallContext
from agent.llm.errors import BadRequest, BudgetReached, ModelError, RateLimited
from agent.llm.messages import user
from agent.loop.turn import Turn
from agent.plugin import Continue, Contribution, Ending, JudgeSeat, ModelCall, Offers, Plugin, TurnState
from tests.agent.loop.test_loop import world
from tests.support.agent import TurnWorld
from tests.support.waiting import until


class Asking(Plugin):
    """Answers each hook with what it was given, and notes what it saw."""

    name = "asking"

    def __init__(
        self,
        next_turn: Continue | Ending | Callable[[], Continue] | None = None,
        failed: list[Continue | None] | None = None,
    ) -> None:
        self.answer = next_turn
        self.failed = failed or []
        self.asked = False
        self.endings: list[str] = []
        self.after: list[str] = []
        self.state: TurnState | None = None

    async def before_turn(self, turn: TurnState, emit: Emit) -> None:
        self.state = turn

    async def model_failed(self, turn: TurnState, problem: ModelError, emit: Emit) -> Continue | None:
        self.asked = True
        return self.failed.pop(0) if self.failed else None

    async def next_turn(
        self, turn: TurnState, ending: Ending, context: CallContext, emit: Emit
    ) -> Continue | Ending | None:
        self.endings.append(ending.status)
        self.asked = True
        return self.answer() if callable(self.answer) else self.answer

    async def after_turn(self, turn: TurnState) -> None:
        assert turn.ending is not None
        self.after.append(turn.ending.status)


def test_a_further_turn_is_offered_to_the_driver(tmp_path: Path) -> None:
    plugin = Asking(Continue(user("go on", synthetic="continuation")))
    bench = world(tmp_path, ["hello"], plugin)
    turn = drive(bench)
    assert turn.further is plugin.answer and plugin.endings == plugin.after == ["done"]


def drive(bench: TurnWorld, do: str = "") -> Turn:
    """Run one turn; when it waits, `do` something to it."""
    (plugin,) = bench.host.plugins
    plugin.asked = False  # type: ignore[attr-defined]

    async def run() -> Turn:
        turn = Turn(bench.host.agent, "hi")
        running = asyncio.create_task(bench.take(turn))
        if do:
            await until(lambda: plugin.asked)  # type: ignore[attr-defined]
            for _ in range(20):  # what it was told by the plugin leads it to its wait
                await asyncio.sleep(0)
        if do == "message":
            turn.others_wait = lambda: ["x"]
        elif do == "withdraw":
            turn.state.withdraw()
        elif do == "steer":
            turn.steer(user("look here"))
        elif do == "cancel":
            turn.cancel()
        if do in ("message", "wake"):
            turn.wake()
        await running
        await bench.host.aclose()
        return turn

    return asyncio.run(run())


def test_a_plugin_may_change_how_a_turn_ends(tmp_path: Path) -> None:
    unmet = Ending("unmet", ErrorInfo(kind="goal_blocked", message="no key"))
    plugin = Asking(unmet)
    bench = world(tmp_path, ["hello"], plugin)
    end = bench.run()
    assert (end.status, end.error and end.error.message, end.text) == ("unmet", "no key", "hello")
    assert plugin.after == ["unmet"]


def test_it_is_asked_after_a_failure_and_not_after_a_stop(tmp_path: Path) -> None:
    plugin = Asking()
    world(tmp_path / "a", [BadRequest("no")], plugin).run()
    assert plugin.endings == plugin.after == ["failed"]
    plugin = Asking()
    from agent.events import ModelStarted

    world(tmp_path / "b", ["hello"], plugin).run(stop_at=ModelStarted)
    assert plugin.endings == [] and plugin.after == ["interrupted"]


def test_a_wait_is_kept(tmp_path: Path) -> None:
    plugin = Asking(lambda: Continue(user("go on"), wait_until=time.time() + 0.2))
    turn = drive(world(tmp_path, ["hello"], plugin), "wake")  # woken for nothing: it goes on waiting
    assert turn.further is not None and turn.further.wait_until is not None
    assert time.time() >= turn.further.wait_until


def test_the_users_words_end_a_wait_and_keep_what_follows(tmp_path: Path) -> None:
    for number, do in enumerate(("message", "steer")):
        plugin = Asking(Continue(user("go on"), wait_until=time.time() + 60))
        bench = world(tmp_path / str(number), ["hello"], plugin)
        turn = drive(bench, do)
        assert turn.further is not None and bench.all(TurnFinished)[0].status == "done"
    assert turn.steered  # nothing of it is lost: the driver takes it from here


def test_a_wait_can_be_stopped_and_withdrawn(tmp_path: Path) -> None:
    plugin = Asking(Continue(user("go on"), wait_until=time.time() + 60))
    bench = world(tmp_path / "a", ["hello"], plugin)
    assert drive(bench, "cancel").further is None
    assert bench.all(TurnFinished)[0].status == "interrupted" and plugin.after == ["interrupted"]
    bench = world(tmp_path / "b", ["hello"], plugin)
    assert drive(bench, "withdraw").further is None
    assert bench.all(TurnFinished)[0].status == "done"


def test_a_failed_call_is_made_again(tmp_path: Path) -> None:
    again = Continue(wait_until=time.time() + 0.05)
    bench = world(tmp_path, [RateLimited("slow"), "hello"], Asking(failed=[again]))
    assert bench.run().status == "done"
    bench = world(tmp_path / "b", [RateLimited("slow")], Asking(failed=[again, again]))
    end = bench.run()
    assert (end.status, end.iterations) == ("retryable", 3)


def test_a_wait_in_a_turn_ends_with_the_users_words(tmp_path: Path) -> None:
    again = Continue(wait_until=time.time() + 60)
    bench = world(tmp_path, [RateLimited("slow"), "hello"], Asking(failed=[again]))
    drive(bench, "steer")
    assert [event.message.text for event in bench.events if isinstance(event, Steered)] == ["look here"]
    assert bench.all(TurnFinished)[0].status == "done"


def test_a_plugin_that_fails_is_named_and_passed_over(tmp_path: Path) -> None:
    class Broken(Asking):
        name = "broken"

        async def next_turn(
            self, turn: TurnState, ending: Ending, context: CallContext, emit: Emit
        ) -> Continue | Ending | None:
            raise KeyError("x")

    good = Asking(Ending("unmet", ErrorInfo(kind="x", message="x")))
    bench = world(tmp_path, ["hello"], Broken(), good)
    assert bench.run().status == "unmet"
    assert "broken failed in next_turn (KeyError" in bench.all(Notice)[0].text


def test_a_limit_that_a_plugin_keeps_ends_the_turn_as_a_budget(tmp_path: Path) -> None:
    class Limit(Plugin):
        name = "limit"

        async def before_model(self, call: ModelCall, emit: Emit) -> Contribution | None:
            raise BudgetReached("enough", cap="mine", remedy="more")

    bench = world(tmp_path, ["hello"], Limit())
    end = bench.run()
    assert (end.status, end.error and end.error.message) == ("budget", "enough")
    assert not bench.requests


def test_what_plugins_offer_by_name() -> None:
    offers: Offers[list[JudgeSeat]] = Offers()
    assert offers.find("a") is None and offers.names() == []
    offers.add({"a": []}.get, lambda: ["a"])
    offers.add({"b": [], "a": []}.get, lambda: ["b", "a"])
    assert offers.names() == ["a", "b"] and offers.find("b") == []
