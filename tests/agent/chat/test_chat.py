"""A conversation that stays open: nothing typed is lost, nothing runs twice, and everything that happens is an event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.approval.approval import UserAnswer
from agent.chat.events import Action, Answered, Asked, ChatEvent, Inquired, Opened, Queued, Refused, Shown
from agent.commands import Command, CommandContext, Result, RunTurn
from agent.errors import UsageError
from agent.events import (
    Emit,
    ModelFinished,
    ModelStarted,
    Notice,
    Record,
    Steered,
    TextDeltaEvent,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from agent.forms import Choice, Choices
from agent.host import Options
from agent.llm.accounting import CallContext
from agent.llm.errors import RateLimited
from agent.llm.messages import ImagePart
from agent.llm.models.endpoint import ModelFacts
from agent.llm.request import Request
from agent.llm.stream import Started, StreamEvent, TextDelta
from agent.plugin import Contribution, Ending, ModelCall, Plugin, PluginHost, TurnState
from agent.ui.text import render
from tests.support.chatbench import ChatBench, calls
from tests.support.scripted import Held, ScriptedClient
from tests.support.waiting import forever

PICTURE = ImagePart(media_type="image/png", data="aGk=")


def test_a_message_is_a_turn(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, ["hello"])
    bench.run("hi")
    assert bench.types == ["opened", "turn_started", "model_started", "text_delta", "model_finished", "turn_finished"]
    assert bench.texts == ["hi", "hello"]
    assert not bench.chat.busy


def test_nothing_is_done_with_nothing(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)
    bench.run("  ", "\n")
    assert bench.types == ["opened"]


def test_what_is_typed_while_busy_waits_and_goes_out_one_by_one(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, [Held("one"), "two", "three"])

    async def type_ahead() -> None:
        for text in ("first", "second", "/copy", "third"):
            await bench.chat.submit(text)
        assert bench.chat.queue == ("first", "second", "third")
        await bench.client.asked()
        assert bench.chat.queue == ("second", "third")
        bench.client.go()

    bench.run(type_ahead)
    assert bench.texts == ["first", "one", "second", "two", "third", "three"]
    assert [event.texts for event in bench.all(Queued)][-2:] == [("third",), ()]
    # Looking is possible at any time: there was no answer to copy yet.
    assert [event.text for event in bench.all(Refused)] == ["/copy"]


def test_a_command_that_can_not_run_now_waits_for_its_turn(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, [Held("one"), "two"])

    async def type_ahead() -> None:
        await bench.chat.submit("first")
        await bench.client.asked()
        await bench.chat.submit("/clear")
        await bench.chat.submit("second")
        bench.client.go()

    bench.run(type_ahead)
    assert [event.history[1:] for event in bench.all(Opened)] == [(), ()]
    assert bench.texts == ["second", "two"]


def test_a_command_that_can_run_now_does_not_wait(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, [Held("one")])

    async def ask_meanwhile() -> None:
        await bench.chat.submit("first")
        await bench.client.asked()
        await bench.chat.submit("/help cost")
        await bench.chat.submit("/nonsense")
        bench.client.go()

    bench.run(ask_meanwhile)
    assert bench.types.index("shown") < bench.types.index("turn_finished")
    assert [(event.text, event.message) for event in bench.all(Refused)] == [
        ("/nonsense", "there is no command /nonsense")
    ]


def test_a_path_is_a_message(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, ["I see"])
    bench.run("/etc/hosts looks odd")
    assert bench.texts[0] == "/etc/hosts looks odd"


# Steering


def test_steering_joins_before_the_next_call(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, [calls(("glob", {"pattern": "*"})), "done"])
    bench.on = lambda event: bench.chat.steer("in French") if isinstance(event, ToolStarted) else None
    bench.run("go")
    assert [message.text for message in bench.client.requests[1].messages][-1] == "in French"
    assert [event.message.text for event in bench.all(Steered)] == ["in French"]
    assert [event.texts for event in bench.all(Queued)] == [("in French",), ()]
    assert bench.texts[-2:] == ["in French", "done"]


def test_steering_that_comes_too_late_is_the_next_message(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, ["one", "two"])

    def late(event: ChatEvent) -> None:
        if isinstance(event, ModelFinished) and not bench.all(TurnFinished):
            bench.chat.steer("/and another thing")

    bench.on = late
    bench.run("go")
    assert bench.texts == ["go", "one", "/and another thing", "two"]
    assert bench.all(Queued)[-1].texts == ()


def test_steering_an_idle_chat_is_a_message(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, ["one"])

    async def steer() -> None:
        bench.chat.steer("go")

    bench.run(steer)
    assert bench.texts == ["go", "one"]


class Adviser(Plugin):
    """Takes its time before each call, and keeps a record of it."""

    name = "adviser"
    records = ("advice",)

    def __init__(self, host: PluginHost) -> None:
        self.asked, self.goes = asyncio.Event(), asyncio.Event()
        self.goes.set()
        self.refuses = False

    async def before_turn(self, turn: TurnState, emit: Emit) -> None:
        if self.refuses:
            raise UsageError("the preset is gone")

    async def before_model(self, call: ModelCall, emit: Emit) -> Contribution | None:
        self.asked.set()
        await self.goes.wait()
        return Contribution("advice", Record(kind="advice", data={"n": call.iteration}, source=self.name))

    def commands(self) -> tuple[Command, ...]:
        async def ask(context: CommandContext, args: str) -> Result:
            return RunTurn(args, {"adviser": {"once": True}})

        async def break_(context: CommandContext, args: str) -> Result:
            raise ValueError("a bug [of ours]")

        return (Command("ask", "ask", ask), Command("break", "breaks", break_, busy_ok=True))


def test_steering_while_counsel_is_taken_reaches_the_call_it_was_taken_for(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, ["done"], plugins={"adviser": Adviser})

    async def go() -> None:
        (adviser,) = bench.chat.host.plugins
        assert isinstance(adviser, Adviser)
        adviser.goes.clear()
        await bench.chat.submit("go")
        await adviser.asked.wait()
        bench.chat.steer("and quickly")
        adviser.goes.set()

    bench.run(go)
    (request,) = bench.client.requests
    assert [message.text for message in request.messages][1:3] == ["go", "and quickly"]
    assert "advice" in request.messages[3].text and request.messages[3].synthetic == "guidance"


# Stopping


class Halfway(ScriptedClient):
    """Says a few words, then nothing more."""

    async def stream(self, request: Request, context: Any, *, hold: Any = None) -> AsyncIterator[StreamEvent]:
        self.requests.append(request)
        yield Started()
        yield TextDelta("half an ans")
        await forever()


def test_stopping_keeps_the_partial_reply_and_hands_the_queue_back(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, client=Halfway({}))
    given_back: list[list[str]] = []

    def stop(event: ChatEvent) -> None:
        if isinstance(event, TextDeltaEvent):
            bench.chat.steer("sooner")
            given_back.append(bench.chat.stop())
            bench.chat.stop()  # Esc is pressed twice by many

    async def go() -> None:
        await bench.chat.submit("go")
        await bench.chat.submit("later")

    bench.on = stop
    bench.run(go)
    assert given_back == [["sooner", "later"]]
    (end,) = bench.all(TurnFinished)
    assert (end.status, end.text) == ("interrupted", "half an ans")
    assert [(message.text, message.incomplete, message.synthetic) for message in bench.history[2:]] == [
        ("half an ans", True, None),
        ("(I stopped you here.)", False, "interrupted"),
    ]
    assert bench.all(Queued)[-1].texts == ()


def test_stopping_before_anything_began_gives_the_text_back(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)

    async def at_once() -> None:
        await bench.chat.submit("go")
        assert bench.chat.stop() == ["go"]

    async def a_moment_later() -> None:
        await bench.chat.submit("go", [PICTURE])
        await asyncio.sleep(0)
        assert bench.chat.stop() == []

    bench.run(at_once, a_moment_later)
    assert [(event.text, event.images) for event in bench.all(Refused)] == [("go", (PICTURE,))]
    assert bench.chat.host.agent.session.head is None


def test_a_turn_stopped_at_its_first_event_gives_the_text_back(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, plugins={"adviser": Adviser})
    bench.on = lambda event: bench.chat.stop() and None if isinstance(event, TurnStarted) else None
    bench.run("go")
    assert bench.all(TurnFinished)[0].status == "interrupted"
    kept = bench.texts if bench.chat.host.agent.session.head else []
    assert kept[:1] == ["go"] or [event.text for event in bench.all(Refused)] == ["go"]


def test_the_last_that_waits_can_be_taken_back(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, [Held("one"), "two"])

    async def go() -> None:
        for text in ("go", "two", "three"):
            await bench.chat.submit(text)
        await bench.client.asked()
        assert bench.chat.take_back() == "three"
        assert bench.chat.queue == ("two",)
        bench.client.go()

    bench.run(go)
    assert bench.texts == ["go", "one", "two", "two"]
    assert bench.chat.take_back() is None


# What goes wrong


def test_after_a_failure_what_waits_stays(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, [Held(RateLimited("slow down")), "one", "two", "three"])  # type: ignore[arg-type]

    async def go() -> None:
        for text in ("go", "second", "third"):
            await bench.chat.submit(text)
        bench.client.go()

    async def look() -> None:
        assert bench.chat.queue == ("second", "third")
        assert not bench.chat.busy

    bench.run(go, look, "fourth")
    assert [event.status for event in bench.all(TurnFinished)] == ["retryable", "done", "done", "done"]
    assert [event.code for event in bench.all(Notice)] == ["queue_waits"]
    assert [text for text in bench.texts if text in ("go", "second", "third", "fourth")] == [
        "go",
        "second",
        "third",
        "fourth",
    ]


def test_what_waits_after_a_failure_can_be_taken_back(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, [Held(RateLimited("slow down"))])  # type: ignore[arg-type]

    async def go() -> None:
        await bench.chat.submit("go")
        await bench.chat.submit("second")
        bench.client.go()
        await bench.chat.idle()
        assert bench.chat.stop() == ["second"]

    bench.run(go)
    assert bench.all(Queued)[-1].texts == ()


def test_without_a_model_the_text_comes_back_with_what_to_do(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, config="", scripted=False)
    bench.run("hello")
    (refused,) = bench.all(Refused)
    assert (refused.text, refused.message) == ("hello", "no model is configured")
    assert "a key" in (refused.remedy or "")


def test_a_turn_that_a_plugin_refuses_gives_the_text_back(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, plugins={"adviser": Adviser})

    async def go() -> None:
        bench.chat.host.plugins[0].refuses = True  # type: ignore[attr-defined]
        await bench.chat.submit("hello")

    bench.run(go)
    assert bench.all(TurnFinished)[0].status == "usage"
    assert [event.text for event in bench.all(Refused)] == ["hello"]


def test_a_mistake_of_ours_is_told_and_kept(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, plugins={"adviser": Adviser})
    bench.run("/break", "hello")
    (refused,) = bench.all(Refused)
    assert refused.message == "an error of the program itself: ValueError: a bug [of ours]"
    assert "a bug" in (tmp_path / "state" / "crash.log").read_text()
    assert bench.texts == ["hello", "ok"]


def test_images_go_to_a_model_that_takes_them_and_come_back_from_one_that_does_not(tmp_path: Path) -> None:
    for number, (takes, parts) in enumerate(((True, 2), (None, 2), (False, 0))):
        folder = tmp_path / str(number)
        folder.mkdir()
        bench = ChatBench(folder, facts=ModelFacts(images=takes))

        async def go(bench: ChatBench = bench) -> None:
            await bench.chat.submit("look", [PICTURE])

        bench.run(go)
        sent = bench.client.requests[0].messages[-1].parts if bench.client.requests else ()
        assert len(sent) == parts
        if not parts:
            assert [(event.text, event.images) for event in bench.all(Refused)] == [("look", (PICTURE,))]


def test_a_command_can_be_a_turn_with_options_of_its_own(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Watcher(Adviser):
        async def before_turn(self, turn: TurnState, emit: Emit) -> None:
            seen.append(dict(turn.options))

    bench = ChatBench(tmp_path, ["one", "two"], plugins={"adviser": Watcher})
    bench.run("/ask /why not", "and then")
    assert bench.texts == ["/why not", "one", "and then", "two"]
    assert seen == [{"adviser": {"once": True}}, {}]


# Approval


def test_approval_is_asked_for_and_answered(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, [calls(("write", {"path": "a.txt", "content": "x\n"})), "done"])
    bench.on = lambda event: bench.chat.answer(event.id, UserAnswer("once")) if isinstance(event, Asked) else None
    bench.run("go")
    (asked,) = bench.all(Asked)
    assert asked.request.call.name == "write" and "+x" in (asked.request.diff or "")
    assert [(event.id, event.answer) for event in bench.all(Answered)] == [(asked.id, UserAnswer("once"))]
    assert (bench.work / "a.txt").read_text() == "x\n"
    bench.chat.answer(asked.id, UserAnswer("no"))  # too late, and no matter


def test_a_no_reaches_the_model_with_its_reason(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, [calls(("shell", {"command": "rm -r ."})), "sorry"])
    no = UserAnswer("no", "never that")
    bench.on = lambda event: bench.chat.answer(event.id, no) if isinstance(event, Asked) else None
    bench.run("go")
    assert "never that" in bench.history[3].text
    assert bench.all(ToolFinished)[0].outcome == "denied"


def test_stopping_settles_an_open_question(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, [calls(("shell", {"command": "true"}))])
    bench.on = lambda event: bench.chat.stop() and None if isinstance(event, Asked) else None
    bench.run("go")
    assert [event.answer for event in bench.all(Answered)] == [None]
    assert bench.all(TurnFinished)[0].status == "interrupted"


# The user's own shell


def test_a_command_of_the_users_own_runs_unasked_and_the_model_knows(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, ["I see"], options=Options(approve="deny", cwd=tmp_path / "work"))
    bench.run("!echo one; echo two >&2; exit 3", "what was that?")
    (end,) = bench.all(ToolFinished)
    assert (end.source, end.outcome) == ("user", "error")
    assert "one\ntwo\n[exit code 3]" in end.text
    assert [event.source for event in (*bench.all(ToolStarted), *bench.all(ToolProgress))][:2] == ["user", "user"]
    message = bench.client.requests[0].messages[1]
    assert (message.role, message.synthetic) == ("user", "shell")
    assert message.text.startswith("I ran this command myself:\n$ echo one; echo two >&2; exit 3\none")
    assert bench.client.requests[0].messages[0].role == "system"


def test_with_two_marks_the_model_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".env").write_text("TOKEN=1")
    denied = '\n[approve]\ndeny_paths = [".env"]\n'
    from tests.support.chatbench import CONFIG

    bench = ChatBench(tmp_path, config=CONFIG + denied)
    bench.run("!!cat .env", "!cat .env", "!")
    assert [event.outcome for event in bench.all(ToolFinished)] == ["ok", "error"]
    assert bench.all(ToolFinished)[0].text == "TOKEN=1"
    assert "TOKEN" not in "".join(bench.texts) and "deny" in bench.texts[0]
    assert [event.message for event in bench.all(Refused)] == ["there is no command after the !"]


def test_stopping_ends_a_command_of_the_users_own(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)
    bench.on = lambda event: bench.chat.stop() and None if isinstance(event, ToolProgress) else None
    bench.run("!echo begun; sleep 60", "hello")
    assert bench.all(ToolFinished)[0].outcome == "cancelled"
    assert "stopped by the user" in bench.texts[0]
    assert bench.texts[1:] == ["hello", "ok"]


# Sessions


def test_going_on_shows_what_was_said_and_where_records_belong(tmp_path: Path) -> None:
    first = ChatBench(tmp_path, ["one"], plugins={"adviser": Adviser})
    first.run("hi")
    again = ChatBench(
        tmp_path, plugins={"adviser": Adviser}, options=Options(resume_latest=True, cwd=tmp_path / "work")
    )
    again.run()
    (opened,) = again.all(Opened)
    assert opened.session == first.chat.host.agent.session.id
    assert [message.text for message in opened.history[1:]] == ["hi", "one"]
    assert [(placed.record.kind, placed.record.data, placed.after) for placed in opened.records] == [
        ("advice", {"n": 1}, 2)
    ]


def test_no_session_to_go_on_with_is_an_error_of_the_start(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, options=Options(resume_latest=True, cwd=tmp_path / "work"))
    (tmp_path / "work").mkdir(exist_ok=True)
    with pytest.raises(UsageError, match="no session"):
        bench.chat.open()


def test_clear_begins_anew_and_keeps_the_model_and_the_mode(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, ["one", "two"])
    bench.run("hi", "/approve edits", "/model fake:other", "/clear", "again")
    first, second = bench.all(Opened)
    assert first.session != second.session and second.history == ()
    assert str(bench.chat.host.agent.model) == "fake:other"
    assert bench.chat.host.agent.tools.approvals.mode == "edits"
    assert bench.texts == ["again", "two"]
    assert bench.session.get_state("model") == {"model": "fake:other"}
    assert f"/resume {first.session}" in render(bench.view())


def test_resume_opens_another_session_and_offers_them_all(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, ["one", "two"])
    bench.run("the first thing", "/clear", "the second thing", "/resume")
    first = bench.all(Opened)[0].session
    view = render(bench.view())
    assert first in view and "the first thing" in view and "the second thing" not in view
    assert [event.name for event in bench.all(Action)] == ["resume"]
    other = ChatBench(tmp_path, ["three"])
    other.run("third", f"/resume {first}", "go on", "/resume nothing-like-it")
    assert other.texts == ["the first thing", "one", "go on", "three"]
    assert [event.text for event in other.all(Refused)] == ["/resume nothing-like-it"]


def test_fork_goes_on_in_a_copy(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, ["one", "two"])
    bench.run("/fork", "hi", "/fork", "more")
    assert [event.message for event in bench.all(Refused)] == ["there is nothing to fork yet"]
    original, copy = (event.session for event in bench.all(Opened))
    assert original != copy
    assert bench.texts == ["hi", "one", "more", "two"]
    other = ChatBench(tmp_path, options=Options(session=original, cwd=tmp_path / "work"))
    other.run()
    assert [message.text for message in other.all(Opened)[0].history[1:]] == ["hi", "one"]


def test_settings_that_changed_take_effect_in_the_same_session(tmp_path: Path) -> None:
    from tests.support.chatbench import CONFIG

    bench = ChatBench(tmp_path, config="")

    async def set_up() -> None:
        (tmp_path / "config" / "config.toml").write_text(CONFIG)
        await bench.chat.reopen()

    async def again() -> None:
        await bench.chat.reopen()

    bench.run("hi", set_up, "hi", again, "more")
    assert [event.text for event in bench.all(Refused)] == ["hi"]
    assert bench.texts == ["hi", "ok", "more", "ok"]
    assert len({event.session for event in bench.all(Opened)[1:]}) == 1


def test_opening_the_session_that_is_open_changes_nothing(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)

    async def resume() -> None:
        host = bench.chat.host
        await bench.chat.submit(f"/resume {host.agent.session.id}")
        await bench.chat.idle()
        assert bench.chat.host is host

    bench.run("hi", resume)
    assert [len(event.history) for event in bench.all(Opened)] == [0, 3]


def test_a_session_that_another_process_has_open_is_told(tmp_path: Path) -> None:
    first = ChatBench(tmp_path)

    async def meanwhile() -> None:
        await first.chat.submit("hi")
        await first.chat.idle()
        second = ChatBench(tmp_path, options=Options(session=first.chat.host.agent.session.id, cwd=first.work))
        with pytest.raises(UsageError, match="open in another process"):
            second.chat.open()

    first.run(meanwhile)
    assert first.texts == ["hi", "ok"]


def test_the_end_stops_what_runs(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, client=Halfway({}))
    speaking = asyncio.Event()
    bench.on = lambda event: speaking.set() if isinstance(event, TextDeltaEvent) else None

    async def main() -> None:
        bench.chat.open()
        await bench.chat.submit("go")
        await speaking.wait()
        await bench.chat.aclose()

    asyncio.run(asyncio.wait_for(main(), 5))
    assert bench.all(TurnFinished)[0].status == "interrupted"
    assert bench.all(ModelStarted) and not bench.all(Shown)


def test_a_session_that_could_not_be_opened_is_not_held(tmp_path: Path) -> None:
    broken: list[UsageError] = []

    def adviser(host: PluginHost) -> Adviser:
        if broken:
            raise broken.pop()
        return Adviser(host)

    bench = ChatBench(tmp_path, plugins={"adviser": adviser})

    async def elsewhere() -> None:
        first = bench.chat.host.agent.session.id
        await bench.chat.submit("/clear")
        await bench.chat.idle()
        broken.append(UsageError("the preset is gone"))
        for _ in range(2):
            await bench.chat.submit(f"/resume {first}")
            await bench.chat.idle()

    bench.run("hi", elsewhere)
    assert [event.message for event in bench.all(Refused)] == ["the preset is gone"]
    opened = [event.session for event in bench.all(Opened)]
    assert opened[-1] == opened[0] != opened[1]


def test_the_time_of_a_turn_is_without_that_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Asking(Plugin):
        name = "asking"

        async def next_turn(self, turn: TurnState, ending: Ending, context: CallContext, emit: Emit) -> None:
            assert turn.ask is not None
            await turn.ask(Choices(title="Well?", choices=(Choice(id="a", label="a"),)))

    late, monotonic = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + late[0])

    def on(event: ChatEvent) -> None:
        if isinstance(event, Asked | Inquired):
            late[0] += 3_600  # the user is at lunch
        if isinstance(event, Asked):
            bench.chat.answer(event.id, UserAnswer("once"))
        if isinstance(event, Inquired):
            bench.chat.reply(event.id, ("a",))

    lines = [calls(("write", {"path": "a.txt", "content": "x"})), "done"]
    bench = ChatBench(tmp_path, lines, plugins={"asking": lambda _host: Asking()}, on=on)
    bench.run("go")
    assert late[0] == 7_200 and bench.all(TurnFinished)[0].duration_s < 3_600
