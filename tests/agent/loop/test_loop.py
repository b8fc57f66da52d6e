"""One turn, through its events: what is sent, what is kept, how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.errors import StateError
from agent.events import (
    DraftSuperseded,
    Emit,
    ModelStarted,
    Notice,
    Record,
    TextDeltaEvent,
    ToolFinished,
    ToolStarted,
)
from agent.ledger.book import Ledger
from agent.llm.errors import BadRequest, EmptyAnswer, RateLimited, StreamBroken
from agent.llm.messages import Message, TextPart, ToolCallPart, user
from agent.llm.stream import Started, TextDelta
from agent.plugin import Continue, Contribution, ModelCall, Plugin, TurnState, Verdict
from tests.support.agent import MAIN, TurnWorld
from tests.support.chatbench import calls
from tests.support.opening import Plain
from tests.support.scripted import Held, Line, ScriptedClient
from tests.support.waiting import forever


def world(folder: Path, lines: Sequence[Line], *plugins: Plugin, **more: Any) -> TurnWorld:
    """A main model that says these lines, and plugins beside it."""
    makers = {plugin.name: lambda _host, plugin=plugin: plugin for plugin in plugins}
    return TurnWorld(folder, {MAIN: list(lines)}, plugins=makers, approve=more.pop("approve", "all"), **more)


def test_an_answer_ends_the_turn_and_is_on_disk(tmp_path: Path) -> None:
    bench = world(tmp_path, ["hello"])
    end = bench.run("hi")
    assert [event.type for event in bench.events] == [
        "turn_started",
        "model_started",
        "text_delta",
        "model_finished",
        "turn_finished",
    ]
    assert (end.status, end.text) == ("done", "hello")
    assert [(message.role, message.text) for message in bench.history[1:]] == [("user", "hi"), ("assistant", "hello")]


def test_read_only_tools_run_side_by_side_and_results_keep_their_order(tmp_path: Path) -> None:
    step = calls(
        ("read", {"path": "missing"}), ("read", {"path": "a.txt"}), ("write", {"path": "b.txt", "content": "beta"})
    )
    bench = world(tmp_path, [step, "done"])
    (bench.work / "a.txt").write_text("alpha")
    end = bench.run()
    results = [message for message in bench.history if message.role == "tool"]
    assert [result.tool_call_id for result in results] == ["t0", "t1", "t2"]
    assert [result.is_error for result in results] == [True, False, False]
    assert "alpha" in results[1].text
    assert (bench.work / "b.txt").read_text() == "beta"
    assert end.status == "done"


def test_each_request_begins_with_the_one_before_it(tmp_path: Path) -> None:
    bench = world(
        tmp_path, [calls(("glob", {"pattern": "*"})), calls(("nonsense", {})), calls(("read", {"path": 3})), "done"]
    )
    bench.run()
    for earlier, later in zip(bench.requests, bench.requests[1:], strict=False):
        assert later.messages[: len(earlier.messages)] == earlier.messages
        assert later.tools == earlier.tools


def test_what_a_model_gets_wrong_is_told_to_it_and_the_turn_goes_on(tmp_path: Path) -> None:
    bench = world(tmp_path, [calls(("fly", {})), calls(("read", {})), "sorry"])
    end = bench.run()
    texts = [event.text for event in bench.events if isinstance(event, ToolFinished)]
    assert "no tool 'fly'" in texts[0]
    assert "path" in texts[1]
    assert end.status == "done"


def test_what_is_not_allowed_is_denied_and_the_turn_goes_on(tmp_path: Path) -> None:
    step = calls(("write", {"path": "x", "content": "y"}), ("read", {"path": ".env"}))
    bench = world(tmp_path, [step, "ok"], approve="deny")
    (bench.work / ".env").write_text("KEY=1")
    end = bench.run()
    ends = [event for event in bench.events if isinstance(event, ToolFinished)]
    assert [end.outcome for end in ends] == ["denied", "denied"]
    assert not (bench.work / "x").exists()
    assert end.status == "done"


def test_the_limit_of_iterations_ends_the_turn_in_order(tmp_path: Path) -> None:
    bench = world(tmp_path, [calls(("glob", {"pattern": "*"}))], options={"max_iterations": 3})
    end = bench.run()
    assert (end.status, end.iterations) == ("limit", 3)
    assert end.error is not None
    assert "--max-iterations" in (end.error.remedy or "")
    assert bench.history[-1].role == "tool"


def test_a_model_that_fails_ends_the_turn_with_its_reason(tmp_path: Path) -> None:
    for number, (error, status) in enumerate(((RateLimited("slow down"), "retryable"), (BadRequest("no"), "failed"))):
        end = world(tmp_path / str(number), [error]).run()
        assert end.status == status
        assert end.error is not None
        assert end.error.kind == error.kind


class Slow(ScriptedClient):
    """Says a few words, then nothing more, or what `then` raises."""

    then: Exception | None = None

    async def stream(self, request, context, *, hold=None):  # type: ignore[no-untyped-def]
        self.requests.append(request)
        yield Started()
        yield TextDelta("half an ans")
        if self.then is not None:
            raise self.then
        await forever()


def test_stopping_keeps_what_was_said_and_marks_it(tmp_path: Path) -> None:
    bench = world(tmp_path, [], client=Slow({}))
    end = bench.run(stop_at=TextDeltaEvent)
    end = end
    assert (end.status, end.text) == ("interrupted", "half an ans")
    last = bench.history[-1]
    assert (last.text, last.incomplete) == ("half an ans", True)


def test_stopping_a_tool_leaves_a_history_that_can_be_sent(tmp_path: Path) -> None:
    step = calls(("shell", {"command": "sleep 60"}), ("shell", {"command": "echo never"}))
    bench = world(tmp_path, [step])
    end = bench.run(stop_at=ToolStarted)
    assert end.status == "interrupted"
    results = [message for message in bench.history if message.role == "tool"]
    assert [result.tool_call_id for result in results] == ["t0", "t1"]
    assert all(result.is_error for result in results)


class Adviser(Plugin):
    """Gives advice before each call."""

    name = "adviser"
    records = ("advice",)

    async def before_model(self, call: ModelCall, emit: Emit) -> Contribution:
        emit(Notice(level="info", code="thinking", text="hm"))
        await asyncio.sleep(0)
        return Contribution("look twice", Record(kind="advice", data={"iteration": call.iteration}, source=self.name))


def test_guidance_stands_in_every_later_request_and_in_no_history(tmp_path: Path) -> None:
    bench = world(tmp_path, [calls(("glob", {"pattern": "*"})), "done"], Adviser())
    bench.run()
    first, second = (request.messages for request in bench.requests)
    assert [message.synthetic for message in first] == [None, None, "guidance"]
    assert second[:3] == first, "what was sent stays sent"
    # Behind tool results that were not sent yet it is the end of the last one, so that no user message comes between.
    assert [message.role for message in second[3:]] == ["assistant", "tool"] and "look twice" in second[4].text
    assert all("look twice" not in message.text for message in bench.history)
    assert [event.guidance for event in bench.events if isinstance(event, ModelStarted)] == ["look twice", "look twice"]
    again = bench.session
    assert again.records("advice") == [{"iteration": 1}, {"iteration": 2}]
    assert again.sent()[: len(second)] == second and list(again.history()) == list(bench.history)


class Broken(Plugin):
    name = "broken"

    async def before_model(self, call: ModelCall, emit: Emit) -> Contribution | None:
        raise RuntimeError("oops")

    async def before_stop(self, turn: TurnState, context: Any, emit: Emit) -> Continue | None:
        raise RuntimeError("oops again")


def test_a_plugin_that_breaks_is_named_and_the_turn_goes_on(tmp_path: Path) -> None:
    bench = world(tmp_path, ["fine"], Broken(), Adviser())
    end = bench.run()
    problems = [event.text for event in bench.events if isinstance(event, Notice) and event.code == "plugin_failed"]
    assert len(problems) == 2
    assert "broken" in problems[0]
    assert end.text == "fine"


class Reviewer(Plugin):
    """Sends the first draft back."""

    name = "reviewer"

    def __init__(self, message: Message | None = None) -> None:
        self.message = message
        self.done = False

    async def before_stop(self, turn: TurnState, context: Any, emit: Emit) -> Continue | None:
        if self.done:
            return None
        self.done = True
        return Continue(supersede=self.message is None, message=self.message, reason="reviewed")


def test_a_reply_is_a_draft_only_where_guidance_follows_it(tmp_path: Path) -> None:
    bench = world(tmp_path, ["draft", "better"], Reviewer(), Adviser())
    end = bench.run()
    assert [event.message.text for event in bench.events if isinstance(event, DraftSuperseded)] == ["draft"]
    assert bench.requests[1].messages[:3] == bench.requests[0].messages
    assert [message.text for message in bench.requests[1].messages[3:4]] == ["draft"]
    assert bench.requests[1].messages[4].synthetic == "guidance"
    assert [(message.text, message.draft) for message in bench.history[2:]] == [("draft", True), ("better", False)]
    assert end.text == "better"

    alone = world(tmp_path / "alone", ["draft", "never asked"], Reviewer())
    end = alone.run()
    assert (end.status, end.text, end.iterations) == ("done", "draft", 1)
    assert not alone.history[-1].draft


def test_a_plugin_can_go_on_with_a_message_of_its_own(tmp_path: Path) -> None:
    bench = world(tmp_path, ["one", "two"], Reviewer(user("and then?", synthetic="continuation")))
    bench.run()
    assert [message.text for message in bench.history[1:]] == ["go", "one", "and then?", "two"]


class Guard(Plugin):
    name = "guard"

    async def before_tool(self, turn: TurnState, call: ToolCallPart) -> Verdict | None:
        return Verdict("not here") if call.name == "shell" else None


def test_a_plugin_can_refuse_a_tool_call(tmp_path: Path) -> None:
    bench = world(tmp_path, [calls(("shell", {"command": "touch x"})), "ok"], Guard())
    bench.run()
    assert [event.text for event in bench.events if isinstance(event, ToolFinished)] == ["not here"]
    assert not (bench.work / "x").exists()


def test_a_session_goes_on_with_its_own_opening(tmp_path: Path) -> None:
    first = world(tmp_path, ["one"])
    first.run("first")
    second = world(tmp_path, ["two"], options={"session": first.host.agent.session.id})
    second.host.agent.opening = Plain("another day")
    second.run("second")
    opening = first.requests[0].messages
    assert second.requests[0].messages[: len(opening)] == opening
    assert [message.text for message in second.history[1:]] == ["first", "one", "second", "two"]


def test_a_slow_answer_can_be_cancelled_before_it_begins(tmp_path: Path) -> None:
    bench = world(tmp_path, [Held("never")])
    end = bench.run(stop_at=ModelStarted)
    assert end.status == "interrupted"
    assert bench.history[-1].role == "user"


def test_a_mistake_of_ours_ends_the_turn_in_order(tmp_path: Path) -> None:
    client = Slow({})
    client.then = ZeroDivisionError("a bug, with sk-or-v1-0123456789abcdef0123456789 in it")
    bench = world(tmp_path, [], client=client)
    end = bench.run()
    assert (end.status, end.text) == ("failed", "half an ans")
    assert end.error is not None
    assert end.error.kind == "internal"
    assert "ZeroDivisionError" in end.error.message
    assert (bench.history[-1].text, bench.history[-1].incomplete) == ("half an ans", True)
    log = tmp_path / "state" / "crash.log"
    assert "ZeroDivisionError: a bug" in log.read_text()
    assert "sk-or" not in log.read_text() + end.error.message
    assert log.stat().st_mode & 0o777 == 0o600


HOOKS = (
    "before_turn",
    "before_model",
    "after_model",
    "before_tool",
    "after_tool",
    "before_stop",
    "next_turn",
    "after_turn",
)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_plugin_that_fails_in_any_hook_is_named_and_passed_over(tmp_path: Path, hook: str) -> None:
    async def fails(self: Plugin, *_args: Any) -> None:
        raise KeyError("clumsy")

    clumsy = type("Clumsy", (Plugin,), {"name": "clumsy", hook: fails})()
    bench = world(tmp_path, [calls(("glob", {"pattern": "*"})), "hello"], clumsy)
    end = bench.run()
    assert (end.status, end.text) == ("done", "hello")
    told = [event.text for event in bench.events if isinstance(event, Notice) and event.code == "plugin_failed"]
    assert told and all(f"the plugin clumsy failed in {hook}" in text for text in told)


def test_an_empty_reply_behind_tool_results_is_asked_on_once(tmp_path: Path) -> None:
    empty = EmptyAnswer("the model ended its turn without saying anything")
    look = calls(("glob", {"pattern": "*"}))
    bench = world(tmp_path, [look, empty, "done"])
    assert bench.run().status == "done"
    assert bench.requests[2].messages[:-1] == bench.requests[1].messages
    assert "empty" in bench.requests[2].messages[-1].text
    twice = world(tmp_path / "twice", [look, empty, empty, "never"]).run()
    assert twice.status == "retryable" and twice.error is not None and twice.error.kind == "empty_answer"


def test_books_that_cannot_be_read_any_more_leave_the_answer(tmp_path: Path) -> None:
    class Damaged(Ledger):
        def total(self, *scope: object, **scopes: object):  # type: ignore[no-untyped-def]
            raise StateError("can't use the ledger: it is damaged", remedy="move it away")

    bench = world(tmp_path, ["hello"])
    bench.host.agent.ledger = Damaged(tmp_path / "state" / "other.db")
    end = bench.run()
    assert (end.status, end.text, end.cost.usd, end.cost.lower_bound) == ("failed", "hello", None, True)
    assert end.error is not None
    assert end.error.kind == "state"


def test_what_came_with_an_error_in_one_piece_is_kept(tmp_path: Path) -> None:
    partial = Message(role="assistant", parts=(TextPart(text="half of it"),), incomplete=True)
    bench = world(tmp_path, [StreamBroken("cut", partial=partial)])
    end = bench.run()
    assert (end.status, end.text) == ("retryable", "half of it")
    assert (bench.history[-1].text, bench.history[-1].incomplete) == ("half of it", True)
