"""What plugins may do about the end of a turn: try a call again, wait, change the ending, ask for another turn."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from agent.events import AgentEvent, Emit, ErrorInfo, Notice, Steered
from agent.llm.accounting import CallContext
from agent.llm.errors import BadRequest, BudgetReached, ModelError, RateLimited
from agent.llm.messages import user
from agent.loop.turn import Turn
from agent.plugin import Continue, Contribution, Ending, JudgeSeat, ModelCall, Offers, Plugin, TurnState
from tests.agent.loop.test_loop import Bench, finished


class Asking(Plugin):
    """Answers each hook with what it was given, and notes what it saw."""

    name = "asking"

    def __init__(self, next_turn: Continue | Ending | None = None, failed: list[Continue | None] | None = None) -> None:
        self.answer = next_turn
        self.failed = failed or []
        self.endings: list[str] = []
        self.after: list[str] = []
        self.state: TurnState | None = None

    async def before_turn(self, turn: TurnState, emit: Emit) -> None:
        self.state = turn

    async def model_failed(self, turn: TurnState, problem: ModelError, emit: Emit) -> Continue | None:
        return self.failed.pop(0) if self.failed else None

    async def next_turn(
        self, turn: TurnState, ending: Ending, context: CallContext, emit: Emit
    ) -> Continue | Ending | None:
        self.endings.append(ending.status)
        return self.answer

    async def after_turn(self, turn: TurnState) -> None:
        assert turn.ending is not None
        self.after.append(turn.ending.status)


def test_a_further_turn_is_offered_to_the_driver(tmp_path: Path) -> None:
    plugin = Asking(Continue(user("go on", synthetic="continuation")))
    bench = Bench(tmp_path, ["hello"], plugins=[plugin])
    turn = drive(bench)
    assert turn.further is plugin.answer and plugin.endings == plugin.after == ["done"]


def drive(bench: Bench, *, at: float = 0.0, do: str = "") -> Turn:
    """Run one turn; `at` seconds after its start, `do` something to it."""

    async def run() -> Turn:
        turn = Turn(bench.agent, "hi")
        if do == "message":
            waits: list[str] = []
            turn.others_wait = lambda: waits
            act = lambda: (waits.append("x"), turn.wake())  # noqa: E731
        elif do == "withdraw":
            act = lambda: turn.state.withdraw()  # noqa: E731
        elif do == "steer":
            act = lambda: turn.steer(user("look here"))  # noqa: E731
        else:
            act = turn.cancel if do == "cancel" else lambda: turn.wake()
        if at:
            asyncio.get_running_loop().call_later(at, act)
        bench.seen = [event async for event in turn.events()]  # type: ignore[attr-defined]
        return turn

    return asyncio.run(asyncio.wait_for(run(), 5))


def seen(bench: Bench) -> list[AgentEvent]:
    return list(bench.seen)  # type: ignore[attr-defined]


def test_a_plugin_may_change_how_a_turn_ends(tmp_path: Path) -> None:
    unmet = Ending("unmet", ErrorInfo(kind="goal_blocked", message="no key"))
    plugin = Asking(unmet)
    bench = Bench(tmp_path, ["hello"], plugins=[plugin])
    end = finished(bench.run())
    assert (end.status, end.error and end.error.message, end.text) == ("unmet", "no key", "hello")
    assert plugin.after == ["unmet"]


def test_it_is_asked_after_a_failure_and_not_after_a_stop(tmp_path: Path) -> None:
    plugin = Asking()
    Bench(tmp_path / "a", [BadRequest("no")], plugins=[plugin]).run()
    assert plugin.endings == plugin.after == ["failed"]
    plugin = Asking()
    from agent.events import ModelStarted

    Bench(tmp_path / "b", ["hello"], plugins=[plugin]).run(cancel_at=ModelStarted)
    assert plugin.endings == [] and plugin.after == ["interrupted"]


def test_a_wait_is_kept(tmp_path: Path) -> None:
    plugin = Asking(Continue(user("go on"), wait_until=time.time() + 0.3))
    began = time.monotonic()
    turn = drive(
        Bench(tmp_path, ["hello"], plugins=[plugin]), at=0.1, do="wake"
    )  # woken for nothing: it goes on waiting
    assert time.monotonic() - began >= 0.3 and turn.further is not None


def test_the_users_words_end_a_wait_and_keep_what_follows(tmp_path: Path) -> None:
    for number, do in enumerate(("message", "steer")):
        plugin = Asking(Continue(user("go on"), wait_until=time.time() + 60))
        bench = Bench(tmp_path / str(number), ["hello"], plugins=[plugin])
        turn = drive(bench, at=0.1, do=do)
        assert turn.further is not None and finished(seen(bench)).status == "done"
    assert turn.steered  # nothing of it is lost: the driver takes it from here


def test_a_wait_can_be_stopped_and_withdrawn(tmp_path: Path) -> None:
    plugin = Asking(Continue(user("go on"), wait_until=time.time() + 60))
    bench = Bench(tmp_path / "a", ["hello"], plugins=[plugin])
    assert drive(bench, at=0.1, do="cancel").further is None
    assert finished(seen(bench)).status == "interrupted" and plugin.after == ["interrupted"]
    bench = Bench(tmp_path / "b", ["hello"], plugins=[plugin])
    assert drive(bench, at=0.1, do="withdraw").further is None
    assert finished(seen(bench)).status == "done"


def test_a_failed_call_is_made_again(tmp_path: Path) -> None:
    again = Continue(wait_until=time.time() + 0.05)
    bench = Bench(tmp_path, [RateLimited("slow"), "hello"], plugins=[Asking(failed=[again])])
    assert finished(bench.run()).status == "done"
    bench = Bench(tmp_path / "b", [RateLimited("slow")], plugins=[Asking(failed=[again, again])])
    end = finished(bench.run())
    assert (end.status, end.iterations) == ("retryable", 3)


def test_a_wait_in_a_turn_ends_with_the_users_words(tmp_path: Path) -> None:
    again = Continue(wait_until=time.time() + 60)
    bench = Bench(tmp_path, [RateLimited("slow"), "hello"], plugins=[Asking(failed=[again])])
    drive(bench, at=0.1, do="steer")
    assert [event.message.text for event in seen(bench) if isinstance(event, Steered)] == ["look here"]
    assert finished(seen(bench)).status == "done"


def test_a_plugin_that_fails_is_named_and_passed_over(tmp_path: Path) -> None:
    class Broken(Asking):
        async def next_turn(
            self, turn: TurnState, ending: Ending, context: CallContext, emit: Emit
        ) -> Continue | Ending | None:
            raise KeyError("x")

    good = Asking(Ending("unmet", ErrorInfo(kind="x", message="x")))
    bench = Bench(tmp_path, ["hello"], plugins=[Broken(), good])
    events = bench.run()
    assert finished(events).status == "unmet"
    assert "asking failed in next_turn (KeyError" in next(event.text for event in events if isinstance(event, Notice))


def test_a_limit_that_a_plugin_keeps_ends_the_turn_as_a_budget(tmp_path: Path) -> None:
    class Limit(Plugin):
        name = "limit"

        async def before_model(self, call: ModelCall, emit: Emit) -> Contribution | None:
            raise BudgetReached("enough", cap="mine", remedy="more")

    bench = Bench(tmp_path, ["hello"], plugins=[Limit()])
    end = finished(bench.run())
    assert (end.status, end.error and end.error.message) == ("budget", "enough")
    assert not bench.requests


def test_what_plugins_offer_by_name() -> None:
    offers: Offers[list[JudgeSeat]] = Offers()
    assert offers.find("a") is None and offers.names() == []
    offers.add({"a": []}.get, lambda: ["a"])
    offers.add({"b": [], "a": []}.get, lambda: ["b", "a"])
    assert offers.names() == ["a", "b"] and offers.find("b") == []
