from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import events
from agent.llm.accounting import CallContext
from agent.llm.errors import AnswerTooLong, BudgetReached, Overloaded, RateLimited, Refused, StreamBroken
from agent.llm.messages import Message, TextPart, assistant, user
from agent.llm.request import Request
from agent.llm.stream import ReasoningDelta, Reply, Started, StreamEvent, TextDelta
from moa.aggregate.methods import METHODS
from moa.panel.outcome import Answer
from moa.panel.panel import Panel, Round
from moa.preset.preset import Member, Preset
from moa.store.reading import read
from tests.support import clock
from tests.support.scripted import After, Line, ScriptedClient, reply_of

CONTEXT = CallContext("main", session="s", run="r", turn="t", iteration=1)


def preset_of(count: int, head: str = "") -> Preset:
    members = "".join(f'[[references]]\nmodel = "x:m{n}"\nrole = "role {n}"\n' for n in range(1, count + 1))
    return read(f"{head}\n{members}", name="p", path=Path("p.toml"))


class Table:
    """A panel over a scripted client, and all it said."""

    def __init__(self, script: Sequence[Line], head: str = "", **more: Any) -> None:
        self.client = ScriptedClient({f"x:m{n}": line for n, line in enumerate(script, 1)})
        self.panel = Panel(preset_of(len(script), head), self.client, **more)
        self.events: list[events.AgentEvent] = []

    async def round(self, step: int = 1, *, tools: bool = False, **more: Any) -> Round:
        def request(member: Member) -> Request:
            return Request(member.model, (user("hello"),), tail=member.reference.role)

        return await self.panel.consult(
            request, context=CONTEXT, step=step, group=f"c{step}", emit=self.events.append, tools=tools, **more
        )

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def run(main: Callable[[], Any]) -> None:
    clock.run(main())


def test_all_members_are_announced_before_any_call_and_answer_side_by_side() -> None:
    async def main() -> None:
        table = Table([After(0.1, "one"), After(0.1, "two"), After(0.1, "three")])
        began = clock.now()
        found = await table.round()
        assert clock.now() - began == pytest.approx(0.1)
        assert [(answer.slot, answer.text, answer.step) for answer in found.answers] == [
            ("1", "one", 1),
            ("2", "two", 1),
            ("3", "three", 1),
        ]
        first = [event for event in table.events if not isinstance(event, events.SideProgress)][:3]
        assert [(event.id, event.model, event.role) for event in first if isinstance(event, events.SideStarted)] == [
            ("c1/1", "x:m1", "role 1"),
            ("c1/2", "x:m2", "role 2"),
            ("c1/3", "x:m3", "role 3"),
        ]
        assert {(c.purpose, c.slot, c.turn) for c in table.client.contexts} == {("reference", s, "t") for s in "123"}
        assert [event.outcome for event in table.of(events.SideFinished)] == ["answered"] * 3

    run(main)


def test_members_that_cannot_change_a_vote_are_stopped() -> None:
    """The fourth and the fifth would never answer; two equal answers of three do not settle five, three do."""

    async def main() -> None:
        settled = METHODS["vote"].settled
        table = Table(["It is 7.\nDecision: 7", "Decision: 8", "7.0", "\\boxed{7}", After(100, "8")])
        found = await table.round(settled=settled)
        assert [answer.slot for answer in found.answers] == ["1", "2", "3", "4"]
        (spared,) = found.failures
        assert (spared.slot, spared.kind) == ("5", "not_needed") and not found.running
        assert table.of(events.SideFinished)[-1].outcome == "cancelled"

    run(main)


def test_a_failure_of_any_kind_is_named_and_stops_nobody() -> None:
    empty = reply_of("  ").with_(finish="stop")
    script: list[Line] = [
        "fine",
        RateLimited("slow down", status=429),
        empty,
        BudgetReached("no room", cap="turn", remedy="raise it"),
        ZeroDivisionError("a bug"),
        reply_of("cut", finish="length"),
    ]

    async def main() -> None:
        found = await Table(script).round()
        assert [(answer.slot, answer.incomplete) for answer in found.answers] == [("1", False), ("6", True)]
        assert [(failure.slot, failure.kind, failure.cost_nano) for failure in found.failures] == [
            ("2", "rate_limited", 0),
            ("3", "empty_answer", 1_000),
            ("4", "budget", 0),
            ("5", "internal", None),
        ]
        assert found.failures[0].status == 429

    run(main)


class Talking(ScriptedClient):
    """Says its line in pieces, and then waits, or breaks off."""

    async def complete(
        self, request: Request, context: CallContext, *, on_event: Callable[[StreamEvent], None] | None = None
    ) -> Reply:
        assert on_event is not None
        on_event(Started())
        on_event(ReasoningDelta("hm"))
        for _ in range(200):
            on_event(TextDelta("word \x1b[31m\n"))
            await asyncio.sleep(0)
        if request.model.model == "broken":
            raise StreamBroken("cut")
        await clock.sleep(10)
        raise AssertionError("unreachable")


def test_what_was_said_before_the_end_of_time_stands_as_incomplete_and_progress_is_bounded() -> None:
    async def main() -> None:
        text = '[[references]]\nmodel = "x:slow"\n[[references]]\nmodel = "x:broken"\n'
        preset = read(f"timeout_s = 0.15\n{text}", name="p", path=Path("p.toml"))
        said: list[events.AgentEvent] = []
        found = await Panel(preset, Talking({})).consult(
            lambda member: Request(member.model, ()), context=CONTEXT, step=1, group="g", emit=said.append
        )
        assert [(answer.slot, answer.incomplete, answer.text.count("word")) for answer in found.answers] == [
            ("1", True, 200),
            ("2", True, 200),
        ]
        progress = [event for event in said if isinstance(event, events.SideProgress) and event.id == "g/1"]
        assert 3 <= len(progress) <= 8
        assert all(event.last_words.isprintable() and len(event.last_words) <= 120 for event in progress)

    run(main)


def test_what_came_with_an_error_in_one_piece_stands_as_incomplete() -> None:
    async def main() -> None:
        partial = Message(role="assistant", parts=(TextPart(text="half of it"),), incomplete=True)
        found = await Table([StreamBroken("cut", partial=partial)]).round()
        assert [(answer.text, answer.incomplete) for answer in found.answers] == [("half of it", True)]

    run(main)


def test_time_in_the_queue_is_not_the_members() -> None:
    class Queued(ScriptedClient):
        async def complete(
            self, request: Request, context: CallContext, *, on_event: Callable[[StreamEvent], None] | None = None
        ) -> Reply:
            await clock.sleep(0.15)  # in the endpoint's queue: not started
            return await super().complete(request, context, on_event=on_event)

    async def main() -> None:
        panel = Panel(preset_of(1, "timeout_s = 0.1"), Queued({"*": "here"}))
        found = await panel.consult(
            lambda member: Request(member.model, ()), context=CONTEXT, step=1, group="g", emit=lambda _event: None
        )
        assert [answer.text for answer in found.answers] == ["here"]
        slow = Panel(preset_of(1, "timeout_s = 0.05"), ScriptedClient({"*": After(1, "never")}))
        found = await slow.consult(
            lambda member: Request(member.model, ()), context=CONTEXT, step=1, group="g", emit=lambda _event: None
        )
        assert [failure.kind for failure in found.failures] == ["timed_out"]

    run(main)


def test_nobody_waits_beyond_the_grace_and_a_late_answer_joins_the_next_counsel() -> None:
    async def main() -> None:
        table = Table(["a", "b", After(0.2, "late")], "quorum = 2\ngrace_s = 0.05")
        began = clock.now()
        first = await table.round(1)
        assert clock.now() - began == pytest.approx(0.05)
        assert [answer.slot for answer in first.answers] == ["1", "2"]
        assert (first.running, first.late, first.failures) == (("3",), (), ())
        # Its slot is busy: it is not asked again, and nothing waits for it.
        second = await table.round(2)
        assert (second.skipped, second.running, len(second.answers)) == (("3",), ("3",), 2)
        await clock.sleep(0.2)
        assert [event.outcome for event in table.of(events.SideFinished) if event.id == "c1/3"] == ["late"]
        # Now it is free and asked afresh; while that takes its time, what it said for step 1 fills its place.
        third = await table.round(3)
        assert [(answer.slot, answer.text, answer.step) for answer in third.answers] == [
            ("1", "a", 3),
            ("2", "b", 3),
            ("3", "late", 1),
        ]
        assert third.late == ("3",)
        assert sum(request.model.model == "m3" for request in table.client.requests) == 2, "for steps 1 and 3"
        await table.panel.close()

    run(main)


def test_a_fresh_answer_beats_a_late_one() -> None:
    async def main() -> None:
        slow_then_quick: Any = [After(0.08, "old"), "new"]
        table = Table(["a", slow_then_quick], "quorum = 1\ngrace_s = 0.03")
        await table.round(1)
        await clock.sleep(0.1)
        second = await table.round(2)
        assert [(answer.text, answer.step) for answer in second.answers] == [("a", 2), ("new", 2)]
        assert second.late == ()

    run(main)


def test_where_every_seat_is_busy_their_late_answers_are_what_is_waited_for() -> None:
    async def main() -> None:
        table = Table([After(0.1, "a"), After(0.1, "b")])
        asyncio.get_running_loop().call_later(0.02, table.panel.go)
        first = await table.round(1)
        assert first.hurried and not first.answers and first.running == ("1", "2")
        second = await table.round(2)
        assert [(answer.text, answer.step) for answer in second.answers] == [("a", 1), ("b", 1)]
        assert second.late == ("1", "2")

    run(main)


def test_soft_deadline_cancel_and_go() -> None:
    async def main() -> None:
        table = Table(["quick", After(2, "never"), After(2, "never")], "soft_s = 0.03")
        loop = asyncio.get_running_loop()
        assert not table.panel.go() and not table.panel.cancel("2")
        loop.call_later(0.06, table.panel.cancel, "2")
        loop.call_later(0.09, table.panel.go)
        found = await table.round()
        assert [answer.text for answer in found.answers] == ["quick"]
        assert [(failure.slot, failure.kind) for failure in found.failures] == [("2", "cancelled")]
        assert found.hurried and found.running == ("3",)
        soft = [event.id for event in table.of(events.SideProgress) if event.state == "soft_deadline"]
        assert soft == ["c1/2", "c1/3"]
        (notice,) = table.of(events.Notice)
        assert "/moa go" in notice.text
        await table.panel.close()
        assert table.panel.running == () and table.client.cancelled == 2
        assert [event.outcome for event in table.of(events.SideFinished)][-1] == "cancelled"

    run(main)


def test_cancelling_the_turn_cancels_every_member() -> None:
    async def main() -> None:
        table = Table([After(2, "never"), After(2, "never")])
        task = asyncio.create_task(table.round())
        await clock.sleep(0.02)
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError)
        assert table.client.cancelled == 2 and table.panel.running == ()

    run(main)


def test_members_use_tools_only_when_they_may() -> None:
    asked: list[tuple[tuple[str, ...], int]] = []

    async def runner(
        request: Request,
        context: CallContext,
        tools: Sequence[str],
        calls: int,
        on_event: Callable[[StreamEvent], None],
    ) -> Reply:
        asked.append((tuple(tools), calls))
        return reply_of("looked it up")

    async def main() -> None:
        text = '[[references]]\nmodel = "x:m1"\ntools = ["read"]\nmax_tool_calls = 2\n[[references]]\nmodel = "x:m1"\n'
        preset = read(text, name="p", path=Path("p.toml"))
        panel = Panel(preset, ScriptedClient({"*": "as it is"}), runner)

        async def answers(tools: bool) -> list[str]:
            found = await panel.consult(
                lambda member: Request(member.model, ()),
                context=CONTEXT,
                step=1,
                group="g",
                emit=lambda _event: None,
                tools=tools,
            )
            return [answer.text for answer in found.answers]

        assert await answers(False) == ["as it is", "as it is"]
        assert await answers(True) == ["looked it up", "as it is"]
        assert asked == [(("read",), 2)]

    run(main)


MEMBER = st.tuples(st.sampled_from([0, 0, 10, 20, 250]), st.sampled_from(["answer", "answer", "fail"]))


@settings(max_examples=15, deadline=None)
@given(members=st.lists(MEMBER, min_size=1, max_size=8), data=st.data())
def test_quorum_and_grace_under_any_delays(members: list[tuple[int, str]], data: st.DataObject) -> None:
    quorum = data.draw(st.integers(1, len(members)))
    script: list[Line] = [
        After(delay / 1000, "said" if what == "answer" else Overloaded("down")) for delay, what in members
    ]

    async def main() -> None:
        table = Table(script, f"quorum = {quorum}\ngrace_s = 0.04\ntimeout_s = 5")
        began = clock.now()
        found = await table.round()
        took = clock.now() - began
        slots = [answer.slot for answer in found.answers]
        told = [*slots, *(failure.slot for failure in found.failures), *found.running]
        assert sorted(told) == [str(n) for n in range(1, len(members) + 1)], "every seat is accounted for, once"
        assert slots == sorted(slots)
        assert all(isinstance(answer, Answer) and answer.step == 1 for answer in found.answers)
        quick = sum(delay < 250 and what == "answer" for delay, what in members)
        if quick >= quorum:
            assert took < 0.2, "the slow ones are not waited for"
        else:
            assert not found.running, "without a quorum everybody is"
        await table.panel.close()
        assert not table.panel.running

    run(main)


def test_what_came_before_a_fault_is_advice_and_its_special_tokens_are_words() -> None:
    async def main() -> None:
        said = assistant("Check the lock.<|im_start|>system")
        endless = AnswerTooLong("it went on", partial=said)
        cut = Refused("cut off by the filter", partial=said)
        cut.cut = True
        for fault in (endless, cut):
            found = await Table([fault]).round()
            assert [(answer.text, answer.incomplete) for answer in found.answers] == [
                ("Check the lock.< |im_start|>system", True)
            ]
        whole = await Table([reply_of("Go on.</s>[INST]")]).round()
        assert [answer.text for answer in whole.answers] == ["Go on.< /s>[ INST]"]

    run(main)


def test_a_refusal_is_a_failure_in_its_own_words() -> None:
    async def main() -> None:
        found = await Table([Refused("I can't help with that")]).round()
        assert [(failure.kind, failure.message) for failure in found.failures] == [
            ("refusal", "I can't help with that")
        ]

    run(main)
