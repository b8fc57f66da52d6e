import dataclasses
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.selection import SELECT_ALL, Selection
from textual.widgets import Static

from agent.chat.events import ChatEvent, Opened, Refused, Shown
from agent.events import (
    Cost,
    DraftSuperseded,
    ErrorInfo,
    ModelFinished,
    ModelRetrying,
    Notice,
    ReasoningDeltaEvent,
    Record,
    SideStarted,
    Steered,
    TextDeltaEvent,
    TodoChanged,
    TodoItem,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from agent.llm.messages import Message, ReasoningPart, TextPart, ToolCallPart, assistant, system, tool_result, user
from agent.session.tree import PlacedRecord
from agent.ui.tui.dialogs.full_text import FullText
from agent.ui.tui.transcript.transcript import FIRST_SHOWN, MORE, MOST, Transcript
from agent.ui.tui.transcript.widgets import Entry
from agent.views import TableView
from tests.support.screen import dump, strips, widths
from tests.support.widgets import WidgetStage

DIFF = "--- a/x.py\n+++ b/x.py\n@@ -8,2 +8,2 @@\n def f():\n-    return 1\n+    return [/2]\n"
COUNSEL = Record(source="moa", kind="counsel", data={"id": "c1"}, line="counsel budget: 3 of 4 answered", group="c1")


class Face(WidgetStage):
    """A transcript with something below it, as in the chat; `heard` are the records that somebody wants to look into."""

    def __init__(self) -> None:
        hears = {Transcript.InspectRequested: lambda message: message.record}
        super().__init__(Transcript(), Static("below\nbelow", markup=False), hears=hears)


Check = Callable[[Face, Transcript, Pilot[None]], Awaitable[None]]


def drive(events: Iterable[ChatEvent], check: Check, *, size: tuple[int, int] = (100, 30)) -> None:
    """Feed events to a transcript, and look at it when they are drawn."""

    async def scene(app: Face, pilot: Pilot[None]) -> None:
        transcript = app.query_one(Transcript)
        for event in events:
            transcript.apply(event)
        transcript.flush()
        await pilot.pause()
        await check(app, transcript, pilot)

    Face().play(scene, size)


def shown(events: Iterable[ChatEvent], *, size: tuple[int, int] = (100, 30)) -> str:
    """The screen after some events, without what is below."""
    screens: list[str] = []

    async def check(app: Face, _transcript: Transcript, _pilot: Pilot[None]) -> None:
        assert widths(app) == {size[0]}
        screens.append(dump(app))

    drive(events, check, size=size)
    return "\n".join(line.strip(" ▁▂▃▄▅▆▇█") for line in screens[0].split("\n")[:-2]).strip("\n")


def call(id: str = "1", name: str = "read", arguments: str = '{"path": "a.py"}') -> ToolCallPart:
    return ToolCallPart(id=id, name=name, arguments=arguments)


def said(text: str, **more: Any) -> ModelFinished:
    return ModelFinished(iteration=1, call_id="c", message=assistant(text), finish=more.pop("finish", "stop"), **more)


def ended(status: Any = "done", error: ErrorInfo | None = None) -> TurnFinished:
    return TurnFinished(turn="t", status=status, text="", error=error, iterations=2, cost=Cost(usd=0.5), duration_s=3.0)


def test_a_turn() -> None:
    events = [
        TurnStarted(session="s", turn="t", prompt=user("what is\n[b]this[/b]?")),
        ReasoningDeltaEvent(text="hm, "),
        ReasoningDeltaEvent(text="let me look"),
        TextDeltaEvent(text="I *lo"),
        TextDeltaEvent(text="ok*:"),
        said("I *look*:"),
        ToolStarted(call=call(), title="read a.py"),
        ToolFinished(call=call(), outcome="ok", text="one\ntwo\n", duration_s=0.5),
        ToolStarted(call=call("2"), title="edit x.py"),
        ToolFinished(call=call("2"), outcome="ok", text="done", diff=DIFF),
        ToolStarted(call=call("3"), title="$ make"),
        ToolFinished(call=call("3"), outcome="error", text="no rule\nexit 2", duration_s=1.25),
        ToolStarted(call=call("4"), title="write y"),
        ToolFinished(call=call("4"), outcome="denied", text="the user said no"),
        said("- It is **this**."),
        ended(),
    ]
    assert shown(events, size=(60, 30)).split("\n") == [
        "› what is",
        "[b]this[/b]?",
        "",
        "▸ thought  hm, let me look",
        "",
        "I look:",
        "",
        "✓ read a.py  0.5 s · 2 lines",
        "✓ edit x.py  +1 −1",
        "8   def f():",
        "9 -     return 1",
        "9 +     return [/2]",
        "✗ $ make  failed · 1.2 s · no rule",
        "⊘ write y  not allowed · the user said no",
        "",
        "• It is this.",
        "",
        "· 2 steps, 0 + 0 tokens, $0.500, 3.0 s",
    ]


def test_a_long_title_hides_nothing_of_what_came_of_it() -> None:
    long = "shell pytest " + "--strict " * 20
    events = [
        TurnStarted(session="s", turn="t", prompt=user("go")),
        ToolStarted(call=call("1"), title=long),
        ToolFinished(call=call("1"), outcome="error", text="E  no option\n[exit code 4]", duration_s=1.2),
        ToolStarted(call=call("2"), title=long),
        ToolFinished(call=call("2"), outcome="ok", text="one\ntwo\n", duration_s=0.5),
    ]
    assert shown(events, size=(50, 12)).split("\n")[2:] == [
        "✗ shell pytest --strict --strict --strict --st…",
        "failed · 1.2 s · exit code 4: E no option",
        "✓ shell pytest --strict --str…  0.5 s · 2 lines",
    ]


def test_what_was_stopped_says_so() -> None:
    error = ErrorInfo(kind="interrupted", message="stopped by the user", remedy="what was done so far is kept")
    events = [
        TextDeltaEvent(text="Half an ans"),
        ToolStarted(call=call(), title="$ sleep 99"),
        ToolProgress(id="1", text="10 %\r20 %"),
        ended("interrupted", error),
    ]
    screen = shown(events)
    assert "Half an ans\n[stopped]" in screen
    assert "■ $ sleep 99  stopped" in screen
    assert "! stopped by the user\nwhat was done so far is kept" in screen


def test_what_is_cut_off_or_failed_says_so() -> None:
    assert "[cut off]" in shown([TextDeltaEvent(text="An ans"), said("An ans", finish="length")])
    error = ErrorInfo(kind="overloaded", message="the endpoint is overloaded", remedy="try again")
    screen = shown([TextDeltaEvent(text="An ans"), ended("retryable", error)])
    assert "[not complete]" in screen
    assert "✗ the endpoint is overloaded\ntry again" in screen


def test_a_running_tool_shows_the_last_line_of_its_output() -> None:
    events = [
        ToolStarted(call=call(), title="$ make"),
        ToolProgress(id="1", text="a\nb\n"),
        ToolProgress(id="1", text="c"),
    ]
    assert shown(events) == "◌ $ make  c"
    events = [
        ToolStarted(call=call(), title="$ fetch"),
        ToolProgress(id="1", text="1 %\r"),
        ToolProgress(id="1", text="2 %\r"),
    ]
    assert shown(events) == "◌ $ fetch  2 %"


def test_a_record_is_its_line_and_none_where_it_has_none() -> None:
    assert shown([COUNSEL]) == "◆ counsel budget: 3 of 4 answered"
    assert shown([replace(COUNSEL, line="[/x] is \x1b[2J\nnot markup")]) == "◆ [/x] is [2J not markup"
    assert shown([said("Hi."), replace(COUNSEL, line="")]) == "Hi."


def test_a_superseded_draft_is_marked_as_one() -> None:
    events = [
        said("All done."),
        DraftSuperseded(message=assistant("All done."), reason="the panel found a hole"),
        said("Now it is done."),
    ]
    assert shown(events).split("\n") == [
        "draft, superseded: the panel found a hole",
        "All done.",
        "",
        "Now it is done.",
    ]


def test_notices_retries_and_what_is_refused() -> None:
    events = [
        ModelRetrying(reason="the endpoint is busy", delay_s=1.5),
        Notice(level="warning", code="x", text="2 of 4 [answered]"),
        Refused(text="/nope", message="no command /nope", remedy="did you mean /note?"),
        Steered(message=user("and the tests")),
    ]
    assert shown(events).split("\n") == [
        "· the endpoint is busy; trying again in 1.5 s",
        "! 2 of 4 [answered]",
        "! no command /nope",
        "did you mean /note?",
        "",
        "› and the tests",
        "(to the running turn)",
    ]


def test_the_list_of_what_is_to_be_done() -> None:
    one = TodoChanged(
        items=(TodoItem(text="write"), TodoItem(text="test", status="in_progress"), TodoItem(text="ship"))
    )
    two = TodoChanged(
        items=(
            TodoItem(text="write", status="done"),
            TodoItem(text="test", status="in_progress"),
            TodoItem(text="ship"),
        )
    )
    assert shown([one, two]).split("\n") == [
        "to do: 0 of 3 done", "☐ write", "▸ test", "☐ ship", "", "to do: 1 of 3 done", "✓ write",
    ]  # fmt: skip


def test_a_command_of_the_users_own_is_unfolded() -> None:
    events = [
        ToolStarted(source="user", call=call(name="shell"), title="$ ls"),
        ToolFinished(source="user", call=call(name="shell"), outcome="ok", text="a.py\nb.py"),
    ]
    assert shown(events).split("\n") == ["✓ $ ls", "│ a.py", "│ b.py"]


def test_a_commands_answer_is_shown_by_the_widget_of_its_kind() -> None:
    view = TableView(columns=("who", "what"), rows=(("[/b]", "12"),))
    screen = shown([Shown(command="/cost", view=view)])
    assert screen.startswith("› /cost\n")
    assert "[/b]" in screen and "what" in screen


def test_side_work_is_none_of_its_business() -> None:
    events = [
        SideStarted(id="m1", group="g", kind="member", label="kimi", model="m"),
        TextDeltaEvent(source="m1", text="psst"),
        ToolStarted(source="m1", call=call(), title="read"),
    ]
    assert shown(events) == ""


def test_enter_folds_and_unfolds() -> None:
    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        assert transcript.focus_last()
        await pilot.press("enter")
        await pilot.pause()
        assert "│ two" in dump(app)
        await pilot.click(Entry)
        await pilot.pause()
        assert "│ two" not in dump(app)

    drive([ToolStarted(call=call(), title="read"), ToolFinished(call=call(), outcome="ok", text="one\ntwo")], check)


def test_enter_on_a_counsel_asks_for_the_inspector() -> None:
    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        transcript.focus_last()
        await pilot.press("enter")
        assert app.heard == [COUNSEL]

    drive([COUNSEL], check)


def test_text_can_be_selected_with_its_bullets_and_without_its_gutters() -> None:
    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        entry = transcript.query_one(Entry)
        text = entry.get_selection(SELECT_ALL)
        assert text == ("• one two three four five\n• six\n\nx = 1", "\n")
        widget, offset = app.screen.get_widget_and_offset_at(entry.region.x + 5, entry.region.y + 1)
        assert widget is entry and offset == Offset(18, 0)  # a wrapped line of the first item
        part = entry.get_selection(Selection(Offset(2, 0), Offset(3, 1)))
        assert part == ("one two three four five\n• s", "\n")
        app.screen.selections = {entry: Selection(Offset(2, 0), Offset(3, 1))}
        await pilot.pause()
        assert "six" in dump(app)

    drive([said("- one two three four five\n- six\n\n```\nx = 1\n```")], check, size=(22, 20))


@pytest.mark.sample(8)
@pytest.mark.parametrize("size", [(40, 12), (80, 24), (250, 60)])
@pytest.mark.parametrize(
    "text",
    [
        "漢字" * 90,
        "e\u0301" * 300,
        "👩‍👩‍👧 " * 60,
        "x" * 5_000,
        "a\x00\x1b[2Jb\x07" * 50,
        "|a|b|\n|-|-|\n|" + "c" * 300 + "|d|",
    ],
)
def test_no_text_breaks_the_frame(text: str, size: tuple[int, int]) -> None:
    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        assert widths(app) == {size[0]}
        assert "\x1b" not in dump(app) and "\x00" not in dump(app)
        assert dump(app).endswith("below\nbelow")

    events = [
        TurnStarted(session="s", turn="t", prompt=user(text)),
        TextDeltaEvent(text=text),
        ToolStarted(call=call(), title=text),
        ToolFinished(source="user", call=call(), outcome="ok", text=text, diff="@@ -1 +1 @@\n-" + text + "\n+b\n"),
        Notice(level="info", code="x", text=text),
    ]
    drive(events, check, size=size)


def test_resizing_in_mid_stream() -> None:
    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        for number, (width, height) in enumerate([(40, 12), (250, 60), (41, 13), (120, 12)]):
            for word in range(40):
                transcript.apply(TextDeltaEvent(text=f"- item **{number}.{word}** with words\n"))
            transcript.flush()
            await pilot.resize_terminal(width, height)
            transcript.apply(TextDeltaEvent(text="- and\n"))
            transcript.flush()
            await pilot.pause()
            assert widths(app) == {width}
            assert "• and" in dump(app)
            assert transcript.at_bottom

    drive([], check)


def test_it_stays_where_the_user_reads() -> None:
    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        assert "item 99" in dump(app)
        transcript.scroll_to(y=20, animate=False, immediate=True)
        await pilot.pause()
        assert dump(app).startswith(" • item 19")
        transcript.apply(said("more"))
        transcript.flush()
        await pilot.pause()
        assert dump(app).startswith(" • item 19")
        transcript.apply(TurnStarted(session="s", turn="t", prompt=user("I go on")))
        await pilot.pause()
        assert "I go on" in dump(app)

    drive([said("\n".join(f"- item {n}" for n in range(100)))], check)


def test_what_is_short_stands_at_the_top() -> None:
    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        assert dump(app).split("\n")[1] == " hello"

    drive([said("hello")], check)


def history(count: int) -> Opened:
    messages = [system("you are")]
    for number in range(count):
        messages += [user(f"question {number}"), assistant(f"answer {number}")]
    return Opened(session="s", history=tuple(messages))


def test_a_session_comes_back_with_everything_in_its_place() -> None:
    reply = Message(
        role="assistant",
        parts=(ReasoningPart(text="thinking"), TextPart(text="I look"), call("1"), call("2")),
    )
    opened = Opened(
        session="s",
        history=(
            system("hidden"),
            user("first"),
            reply,
            tool_result(call("1"), "one"),
            tool_result(call("2"), "bad", is_error=True),
            user("go on", synthetic="continuation"),
            Message(role="assistant", parts=(TextPart(text="Half"),), incomplete=True),
        ),
        records=(PlacedRecord(COUNSEL, 2), PlacedRecord(Record(kind="other", data={}), 1)),
        todo=(TodoItem(text="ship"),),
    )
    assert shown([opened]).split("\n") == [
        "› first",
        "",
        "◆ counsel budget: 3 of 4 answered",
        "",
        "▸ thought  thinking",
        "",
        "I look",
        "",
        "✓ read a.py  1 line",
        "✗ read a.py  failed · bad",
        "",
        "· continuation: go on",
        "",
        "Half",
        "[not complete]",
        "",
        "to do: 0 of 1 done",
        "☐ ship",
    ]


@pytest.mark.slow
def test_only_the_last_messages_are_mounted_and_earlier_ones_come_on_scrolling_up() -> None:
    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        assert len(transcript.children) == FIRST_SHOWN
        assert "answer 99" in dump(app)
        transcript.scroll_home(animate=False, immediate=True)
        await pilot.pause()
        await pilot.pause()
        assert len(transcript.children) == FIRST_SHOWN + MORE
        assert "question 80" in dump(app)  # what was at the top is still in view
        for _ in range(20):
            transcript.scroll_home(animate=False, immediate=True)
            await pilot.pause()
            await pilot.pause()
        assert len(transcript.children) == 200
        assert "question 0" in dump(app)

    drive([history(100)], check)


@pytest.mark.slow
def test_the_oldest_are_let_go_and_come_back() -> None:
    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        assert len(transcript.children) == MOST
        assert len(transcript.items) == 300
        for _ in range(20):
            transcript.scroll_home(animate=False, immediate=True)
            await pilot.pause()
            await pilot.pause()
        assert "text 0 " in dump(app) + " "

    drive([said(f"text {number} ") for number in range(300)], check)


def test_another_session_replaces_the_first() -> None:
    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        assert "question 1" in dump(app)
        transcript.apply(Opened(session="t", history=(user("other"),)))
        await pilot.pause()
        assert "question" not in dump(app) and "other" in dump(app)

    drive([history(3)], check)


def test_what_a_command_made_is_folded_below_what_was_typed() -> None:
    made = dataclasses.replace(user("Write AGENTS.md.\nBe brief."), command="/init")
    passed_on = dataclasses.replace(user("mend it"), command="/plan mend it")
    told = user("[From the program] write is allowed now", synthetic="notice")

    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        text = dump(app)
        assert "› /init" in text and "▸ sent as 2 lines" in text and "Be brief." not in text
        assert "› /plan mend it" in text and text.count("sent as") == 1
        assert "From the program" not in text, "people have seen the change itself"
        assert transcript.focus_last()
        await pilot.press("enter")
        await pilot.pause()
        assert "▾ sent as 2 lines" in dump(app) and "│ Be brief." in dump(app)

    drive([Opened(session="s", history=(passed_on, told, made))], check)


@pytest.mark.slow
def test_a_megabyte_is_cut_and_can_be_seen_in_full() -> None:
    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        assert "f: view in full" in dump(app)
        assert transcript.focus_last()
        await pilot.press("f")
        await pilot.pause()
        assert isinstance(app.screen, FullText)
        assert "aaaa" in dump(app)
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(app.screen, FullText)

    drive([TurnStarted(session="s", turn="t", prompt=user("a" * 1_000_000))], check)
    drive([said("line of text\n\n" + "a" * 1_000_000)], check)


@pytest.mark.slow
def test_it_wears_every_theme() -> None:
    def colours(app: Face) -> set[str]:
        return {str(part.style.color) for strip in strips(app) for part in strip if part.style and part.text.strip()}

    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        before = dump(app)
        seen = set()
        for theme in app.available_themes:
            app.theme = theme
            await pilot.pause()
            assert dump(app) == before
            seen.add(frozenset(colours(app)))
        assert len(seen) > len(app.available_themes) / 2  # lines that were kept are drawn anew

    events = [
        said("# Title\n`code` [a](b)\n\n```python\ndef f(): return 1\n```\n> quote"),
        ToolStarted(call=call(), title="edit"),
        ToolFinished(call=call(), outcome="ok", text="done", diff=DIFF),
        COUNSEL,
    ]
    drive(events, check, size=(80, 40))


def test_a_session_may_change_while_earlier_messages_come() -> None:
    async def check(app: Face, transcript: Transcript, pilot: Pilot[None]) -> None:
        transcript.scroll_home(animate=False, immediate=True)
        transcript.apply(Opened(session="t", history=(user("other"),)))
        await pilot.pause()
        await pilot.pause()
        assert len(transcript.children) == 1 and "other" in dump(app)

    drive([history(100)], check)
