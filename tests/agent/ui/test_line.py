"""Line mode: what is typed is never lost, what happened is printed once, and nothing that others wrote steers the terminal."""

from __future__ import annotations

import asyncio
import io
import os
import re
import termios
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from agent.approval.approval import ApprovalRequest
from agent.chat.events import Answered, Asked, Opened, Queued, Refused
from agent.commands import Command, CommandContext, CommandTable, Result, Said
from agent.events import (
    Cost,
    DraftSuperseded,
    ErrorInfo,
    ModelFinished,
    ModelStarted,
    Notice,
    Record,
    SideFinished,
    SideProgress,
    SideStarted,
    TextDeltaEvent,
    TodoChanged,
    TodoItem,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from agent.forms import Answer, Choice, Choices
from agent.llm.messages import ImagePart, ToolCallPart, assistant, user
from agent.llm.stream import Usage
from agent.plugin import Disclosure, Plugin
from agent.session.tree import PlacedRecord
from agent.ui.columns import flow, of_terminal
from agent.ui.file_index import FileIndex
from agent.ui.line.blocks import Blocks, parser
from agent.ui.line.complete import LineCompleter
from agent.ui.line.paint import Paint, wants_colour
from agent.ui.line.printer import Printer
from agent.ui.line.status import Status, toolbar
from agent.ui.line.terminal import DumbTerminal, cut
from agent.views import MarkdownView, TableView, TabsView
from tests.support.chatbench import calls
from tests.support.linebench import LineBench
from tests.support.scripted import Held
from tests.support.waiting import until

ANSWER = """# Plan

First this,
then that.

- one
- two
  with more

- three

1. eins
2. zwei

```python
def f():

    return 1
```
| a | b |
|---|---|
| 1 | 2 |

> quoted

The `Vec<String>` of <b>it</b>."""
SGR = re.compile(r"\x1b\[[0-9;]*m")


# Blocks


def in_pieces(text: str, size: int) -> list[str]:
    blocks = Blocks()
    found = [block for at in range(0, len(text), size) for block in blocks.feed(text[at : at + size])]
    return found + blocks.close()


@pytest.mark.parametrize("size", [1, 3, 7, 50, 1000])
def test_an_answer_is_cut_where_its_blocks_end_however_it_comes(size: int) -> None:
    assert [block.strip().split("\n")[0] for block in in_pieces(ANSWER, size)] == [
        "# Plan",
        "First this,",
        "- one",
        "- two",
        "- three",
        "1. eins",
        "2. zwei",
        "```python",
        "| a | b |",
        "> quoted",
        "The `Vec<String>` of <b>it</b>.",
    ]


def test_a_block_is_there_as_soon_as_it_has_ended() -> None:
    blocks = Blocks()
    assert blocks.feed("A paragraph.\n") == []
    assert blocks.feed("\n") == ["A paragraph.\n\n"]
    assert blocks.feed("- one\n- tw") == []
    assert blocks.feed("o\n") == ["- one\n"]
    assert blocks.feed("\n```\ncode\n\n# no heading\n") == ["- two\n\n"]
    assert blocks.feed("```\n") == ["```\ncode\n\n# no heading\n```\n"]
    assert blocks.close() == []


@given(st.text(alphabet="ab \n-*1.#`>|~\t\u2028\x0b&<[]()", max_size=80), st.integers(1, 9))
def test_no_character_is_lost_between_blocks(text: str, size: int) -> None:
    assert "".join("".join(in_pieces(text, size)).split()) == "".join(text.replace("\x0b", "").split())


def test_a_long_list_costs_no_more_per_item_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    parse, parsed = parser().parse, 0

    def counting(markdown: str, env: Any = None) -> Any:
        nonlocal parsed
        parsed += len(markdown)
        return parse(markdown, env)

    monkeypatch.setattr(parser(), "parse", counting)

    def characters(items: int) -> int:
        """How many are parsed, all told: each piece that comes is read together with what is not finished yet."""
        nonlocal parsed
        parsed = 0
        in_pieces("".join(f"- item {n:03} of a long list\n" for n in range(items)), 40)
        return parsed

    assert characters(400) < 12 * characters(40)  # ten times the items; with the square of them it would be a hundred


# Paint


def test_nothing_that_a_model_writes_steers_the_terminal() -> None:
    paint = Paint(colour=True, width=lambda: 60)
    hostile = (
        "&#27;[2J \x1b]0;title\x07 [x](http://e.vil/\x1b[31m) \x9b31m \u202eabc\n\n```a\x1b[1m\ncode \x1b[2J\n```\n"
    )
    for text in (paint.markdown(hostile), paint(hostile, "red"), paint.diff(f"+{hostile}", 9)):
        bare = SGR.sub("", text)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", bare)


def test_markup_and_html_are_words() -> None:
    text = SGR.sub("", Paint(colour=True).markdown("a Vec<String>, [bold]b[/bold], <script>x</script>"))
    assert text == "a Vec<String>, [bold]b[/bold], <script>x</script>"


def test_without_colours_markdown_stays_as_it_was_written() -> None:
    assert Paint(colour=False).markdown("\n# A\n\n- **b**\n") == "# A\n\n- **b**"


@pytest.mark.parametrize(
    ("env", "colour"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
)
def test_colours_are_for_those_who_want_them(env: dict[str, str], colour: bool) -> None:
    assert wants_colour(env) is colour


def test_every_kind_of_view_is_printed() -> None:
    table = TableView(columns=("a", "b"), rows=(("1", "[red]2"),))
    view = TabsView(tabs=(("first", MarkdownView(text="**x**")), ("second", table)))
    assert SGR.sub("", Paint(colour=True).view(view)) == "first\nx\n\nsecond\na  b\n─  ──────\n1  [red]2"


# Printer


def printed(*events: Any, colour: bool = False) -> list[str]:
    lines: list[str] = []
    printer = Printer(Paint(colour=colour), lines.append)
    for event in events:
        printer.apply(event)
    return lines


CALL = ToolCallPart(id="t1", name="shell", arguments='{"command": "ls"}')


def test_a_turn_as_it_is_printed() -> None:
    started = TurnStarted(session="s", turn="t", prompt=user("Do it"))
    diff = "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n"
    assert printed(
        started,
        ModelStarted(iteration=1, model="fake:m"),
        TextDeltaEvent(text="I look.\n\nThen"),
        TextDeltaEvent(text=" I act."),
        ModelFinished(iteration=1, call_id="c", message=assistant("I look.\n\nThen I act."), finish="tool_calls"),
        ToolStarted(call=CALL, title="ls\x1b[2J"),
        ToolFinished(call=CALL, outcome="ok", text="a\nb", diff=diff),
        ToolFinished(call=CALL, outcome="denied", text="the user said no"),
        ModelStarted(iteration=2, model="fake:m"),
        ModelFinished(iteration=2, call_id="d", message=assistant("In one piece."), finish="stop"),
        TurnFinished(
            turn="t",
            status="done",
            text="In one piece.",
            iterations=2,
            usage=Usage(prompt=12_345, completion=67),
            cost=Cost(usd=0.0031, lower_bound=True),
            duration_s=8.2,
        ),
    ) == [
        "› Do it",
        "I look.",
        "",
        "Then I act.",
        "· ls[2J",
        "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new",
        "  denied: the user said no",
        "In one piece.",
        "  2 steps, 12.3k + 67 tokens, ≥ $0.0031, 8.2 s",
        "",
    ]


def test_what_was_entered_at_the_prompt_is_not_printed_again() -> None:
    lines: list[str] = []
    printer = Printer(Paint(colour=False), lines.append)
    printer.typed = "hi"
    for text in ("hi", "hi"):
        printer.apply(TurnStarted(session="s", turn="t", prompt=user(text)))
    assert lines == ["› hi"], "the second one came out of the queue"


def test_items_of_a_list_stand_together() -> None:
    deltas = [TextDeltaEvent(text=line) for line in ("Look:\n\n", "- a\n", "- b\n", "- c\n", "\nEnd")]
    finished = ModelFinished(iteration=1, call_id="c", message=assistant("…"), finish="stop")
    assert printed(ModelStarted(iteration=1, model="m"), *deltas, finished) == [
        "Look:",
        "",
        "- a",
        "- b",
        "- c",
        "",
        "End",
    ]


def test_side_work_is_a_line_when_it_ends() -> None:
    def side(number: int) -> SideStarted:
        return SideStarted(id=f"s{number}", group="g", kind="reference", label=str(number), model="fake:m")

    assert printed(
        side(1),
        side(2),
        SideProgress(id="s1", state="writing", elapsed_s=1, tokens=5, last_words="hm"),
        SideProgress(id="s2", state="soft_deadline", elapsed_s=30),
        SideFinished(
            id="s1",
            outcome="answered",
            text="Run the\ntests.",
            model_served="m-2",
            usage=Usage(prompt=9, completion=1200),
            cost=Cost(usd=0.5),
            duration_s=3,
        ),
        SideFinished(id="s2", outcome="failed", error=ErrorInfo(kind="x", message="status 500"), duration_s=1),
    ) == [
        "  … member 2: nothing yet after 30 s",
        "  member 1 answered (m-2, 3.0 s, 1.2k tokens, $0.500): Run the tests.",
        "  member 2 failed (1.0 s, cost unknown): status 500",
    ]


def test_a_record_is_its_line_and_none_where_it_has_none() -> None:
    told = Record(kind="counsel", data={}, line="counsel budget: 3 of 4\nanswered", level="degraded")
    assert printed(told, Record(kind="other", data={})) == ["◆ counsel budget: 3 of 4 answered"]


def test_drafts_notices_todos_and_problems_look_like_what_they_are() -> None:
    failed = ErrorInfo(kind="auth", message="401", remedy="set the key")
    assert printed(
        DraftSuperseded(message=assistant("x"), reason="the panel reviews it"),
        Notice(level="warning", code="c", text="one member failed"),
        TodoChanged(items=(TodoItem(text="read", status="done"), TodoItem(text="write", status="in_progress"))),
        Refused(text="/x", message="there is no command /x", remedy="did you mean /y?"),
        TurnFinished(turn="t", status="failed", text="", error=failed),
        TurnFinished(turn="t", status="interrupted", text=""),
    ) == [
        "· that was a draft, kept aside: the panel reviews it",
        "· one member failed",
        "  [x] read",
        "  [>] write",
        "✗ there is no command /x",
        "  did you mean /y?",
        "✗ 401",
        "  set the key",
        "  0 steps, 0.0 s",
        "",
        "· stopped; what came is kept",
        "  0 steps, 0.0 s",
        "",
    ]


def test_an_old_session_is_printed_with_its_counsels_in_place() -> None:
    history = [user("system")] + [message for n in range(20) for message in (user(f"q{n}"), assistant(f"a{n}"))]
    history[0] = type(history[0])(role="system", parts=history[0].parts)
    counsel = PlacedRecord(Record(kind="counsel", data={}, line="counsel: 1 of 1 answered"), 40)
    lines = printed(Opened(session="s1", history=tuple(history), records=(counsel,)))
    assert lines[:2] == ["… 10 earlier messages: /export writes them all", "› q5"]
    assert lines[-4:] == ["› q19", "◆ counsel: 1 of 1 answered", "a19", "session s1 · /help"]


# The line at the bottom


def test_the_toolbar_tells_what_goes_on() -> None:
    now = [100.0]
    status = Status(clock=lambda: now[0])

    def line() -> str:
        return toolbar(status, model="fake:m", plugins=["moa pan"], cost=Cost(usd=0.5), window=100_000, approve="all")

    assert line() == "fake:m · moa pan · $0.500 · approve all"
    status.apply(TurnStarted(session="s", turn="t", prompt=user("x")))
    now[0] += 3
    status.apply(SideStarted(id="a", group="g", kind="reference", label="1", model="m"))
    status.apply(SideProgress(id="a", state="writing", elapsed_s=3, tokens=250))
    assert line().endswith("waiting 3 s · 1 working beside it (250 tokens) · Esc stops")
    status.apply(SideFinished(id="a", outcome="answered"))
    status.apply(Asked(id="q1", request=ApprovalRequest(ToolCallPart(id="c", name="shell", arguments="{}"), "", "")))
    now[0] += 60
    assert "asking you 3 s" in line()
    status.apply(Answered(id="q1", answer=None))
    assert "working 3 s" in line(), "the user's time is not the turn's"
    status.apply(ModelStarted(iteration=1, model="fake:m"))
    status.apply(Queued(texts=("more",)))
    assert line().endswith("waiting 3 s · 1 queued (Esc: take back)")
    finished = ModelFinished(
        iteration=1, call_id="c", message=assistant("a"), finish="stop", usage=Usage(prompt=9_000, completion=1_000)
    )
    for event in (finished, Queued(texts=()), TurnFinished(turn="t", status="done", text="a")):
        status.apply(event)  # type: ignore[arg-type]
    assert line() == "fake:m · moa pan · $0.500 · 10.0k of 100k (10%) · approve all"
    assert not status.moving


def test_a_long_line_is_cut_to_the_columns_there_are() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"
    assert cut("日本語日本語", 6) == "日本…"


# Completion


def completions(text: str, table: CommandTable, files: FileIndex) -> list[str]:
    completer = LineCompleter(lambda: table, lambda: files)
    found = completer.get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + one.start_position] + one.text for one in found]


def test_commands_their_arguments_and_files_are_completed(tmp_path: Path) -> None:
    async def nothing(_context: CommandContext, _args: str) -> Result:
        raise AssertionError

    def presets(typed: str) -> list[str]:
        return [name for name in ("budget", "quality", "open web") if name.startswith(typed)]

    table = CommandTable(
        [
            Command("moa", "counsel", nothing, args_hint="[PRESET]", complete=presets),
            Command("model", "the model", nothing),
            Command("compact", "shorter", nothing),
        ]
    )
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main page.py").touch()
    (tmp_path / "notes.txt").touch()
    files = FileIndex(tmp_path)
    asyncio.run(files.refresh())
    assert completions("/mo", table, files) == ["/moa ", "/model"]
    assert completions("/cpt", table, files) == ["/compact"]
    assert completions("/moa b", table, files) == ["/moa budget"]
    assert completions("/moa qlt", table, files) == ["/moa quality"]
    assert completions("/nonsense x", table, files) == []
    assert completions("look at @notes", table, files) == ["look at @notes.txt"]
    assert completions("@mainp", table, files) == ['@"src/main page.py"']
    assert completions("me@notes", table, files) == []
    assert completions("plain", table, files) == []


# The whole, on a scripted terminal


def test_a_line_is_sent_and_its_answer_printed_once(tmp_path: Path) -> None:
    bench = LineBench(tmp_path, ["First.\n\n- a\n- b\n"])

    async def script() -> None:
        bench.press("hello\r")
        await until(lambda: "tokens" in bench.printed)

    assert bench.run(script) == 0
    assert bench.printed.count("First.\n\n- a\n- b\n") == 1
    session = bench.mode.chat.host.agent.session
    assert [message.text for message in session.history()[1:]] == ["hello", "First.\n\n- a\n- b\n"]
    assert bench.printed.endswith(f"resume with: moa --resume {session.id}\n")


def test_nothing_said_nothing_to_go_on_with(tmp_path: Path) -> None:
    bench = LineBench(tmp_path)

    async def script() -> None:
        bench.press("\x04")  # Ctrl+D
        await until(lambda: not bench.prompting)

    assert bench.run(script) == 0
    assert "--resume" not in bench.printed


def test_new_lines_by_ctrl_j_alt_enter_and_a_backslash(tmp_path: Path) -> None:
    bench = LineBench(tmp_path)

    async def script() -> None:
        bench.press("a\nb\x1b\rc\\\rd\r")
        await until(lambda: bench.client.requests)

    bench.run(script)
    assert bench.client.requests[0].messages[-1].text == "a\nb\nc\nd"


def test_typing_while_busy_queues_and_escape_gives_it_back(tmp_path: Path) -> None:
    bench = LineBench(tmp_path, [Held("never")])

    async def script() -> None:
        bench.press("first\r")
        await until(lambda: bench.client.requests)
        bench.press("second\rthird\rhalf")
        await until(lambda: bench.mode.status.queued == 2 and bench.typed == "half")
        bench.press("\x1b")
        await until(lambda: "stopped" in bench.printed)
        assert bench.typed == "second\nthird\nhalf"

    bench.run(script)
    assert bench.client.cancelled == 1


def test_ctrl_s_steers_the_running_turn(tmp_path: Path) -> None:
    bench = LineBench(tmp_path, [Held(calls(("glob", {"pattern": "*"}))), "done"])

    async def script() -> None:
        bench.press("go\r")
        await until(lambda: bench.client.requests)
        bench.press("in French\x13")
        await until(lambda: not bench.typed)
        bench.client.go()
        await until(lambda: len(bench.client.requests) == 2)
        await until(lambda: "» in French" in bench.printed)

    bench.run(script)
    assert bench.client.requests[1].messages[-1].text == "in French"


def test_ctrl_c_clears_then_stops_then_leaves_the_second_time(tmp_path: Path) -> None:
    bench = LineBench(tmp_path, [Held("never")])

    async def script() -> None:
        bench.press("go\r")
        await until(lambda: bench.client.requests)
        bench.press("typed")
        await until(lambda: bench.typed == "typed")
        bench.press("\x03")
        await until(lambda: not bench.typed)
        assert bench.mode.busy
        bench.press("\x03")
        await until(lambda: "stopped" in bench.printed and not bench.mode.busy)
        bench.press("\x03")
        await until(lambda: "Ctrl+C again leaves" in bench.printed)
        bench.press("\x03")
        await until(lambda: "resume with" in bench.printed)

    assert bench.run(script) == 0


def test_a_question_is_asked_in_line_and_what_was_being_typed_comes_back(tmp_path: Path) -> None:
    write = calls(("write", {"path": "a.txt", "content": "new\n"}))
    bench = LineBench(tmp_path, [Held(write), "I see"])

    async def script() -> None:
        bench.press("go\rhalf a li")
        await until(lambda: bench.typed == "half a li")
        bench.client.go()
        await until(lambda: "2 and 3 allow" in bench.printed)
        assert bench.typed == ""
        bench.press("sure\r")
        await until(lambda: "1, 2, 3 or 4" in bench.printed)
        bench.press("4 not that file\r")
        await until(lambda: bench.typed == "half a li")
        await until(lambda: len(bench.client.requests) == 2)

    bench.run(script)
    assert "+new" in bench.printed
    assert not (bench.work / "a.txt").exists()
    assert "not that file" in bench.client.requests[1].messages[-1].text
    history = (tmp_path / "state" / "history").read_text()
    assert "go" in history and "not that file" not in history


@pytest.mark.parametrize("word", ["y", "yes", "no"])
def test_a_word_that_comes_too_soon_answers_nothing(tmp_path: Path, word: str) -> None:
    bench = LineBench(tmp_path, [calls(("write", {"path": "a.txt", "content": "new\n"})), "done"])

    async def script() -> None:
        bench.press("go\r")
        await until(lambda: "2 and 3 allow" in bench.printed)
        bench.press(f"{word}\r")
        await until(lambda: "too soon" in bench.printed)
        bench.press("4\r")
        await until(lambda: "tokens" in bench.printed)

    bench.run(script)
    assert not (bench.work / "a.txt").exists()


def test_a_number_answers_nothing_where_it_may_be_the_rest_of_what_was_being_typed(tmp_path: Path) -> None:
    bench = LineBench(tmp_path, [Held(calls(("write", {"path": "a.txt", "content": "new\n"}))), "done"])

    async def script() -> None:
        bench.press("go\rthen do step ")
        await until(lambda: bench.typed == "then do step ")
        bench.client.go()
        await until(lambda: "2 and 3 allow" in bench.printed)
        bench.press("1\r")
        await until(lambda: "too soon" in bench.printed)
        bench.press("4\r")
        await until(lambda: "tokens" in bench.printed)

    bench.run(script)
    assert not (bench.work / "a.txt").exists()


def test_a_question_and_a_choice_of_the_programs_own_are_not_mixed_up(tmp_path: Path) -> None:
    """What stands lowest is what a line answers."""
    bench = LineBench(tmp_path, [Held(calls(("write", {"path": "a.txt", "content": "new\n"}))), "done"])
    notes = bench.work / "AGENTS.md"

    async def script() -> None:
        bench.press("go\r")
        await until(lambda: bench.mode.busy)
        bench.press("# use tabs\r")
        await until(lambda: "1 add it to AGENTS.md" in bench.printed)
        bench.client.go()
        await until(lambda: "2 and 3 allow" in bench.printed)
        bench.press("4\r")
        await until(lambda: bench.printed.count("1 add it to AGENTS.md") == 2)
        assert not notes.exists()
        bench.press("1\r")
        await until(notes.exists)
        await until(lambda: not bench.mode.busy)

    bench.run(script)
    assert not (bench.work / "a.txt").exists()


def test_what_was_typed_ahead_answers_no_form_that_comes_by_itself(tmp_path: Path) -> None:
    rows = (Choice(id="stay", label="stay"), Choice(id="go", label="go on"))
    taken: list[Answer] = []

    class Decides(Plugin):
        name = "decides"

        def commands(self) -> list[Command]:
            async def decide(context: CommandContext, _args: str) -> Result:
                assert context.ask is not None
                taken.append(await context.ask(Choices(title="Go on?", choices=rows, sudden=True)))
                return Said(MarkdownView(text="decided"))

            return [Command("decide", "a form", decide)]

    bench = LineBench(tmp_path, plugins={"decides": lambda _host: Decides()})

    async def script() -> None:
        bench.press("/decide\r")
        await until(lambda: "2 go on" in bench.printed)
        bench.press("2\r")
        await until(lambda: "too soon" in bench.printed)
        assert taken == []
        bench.mode.chat.stop()

    bench.run(script)


def test_a_yes_lets_it_run(tmp_path: Path) -> None:
    bench = LineBench(tmp_path, [calls(("write", {"path": "a.txt", "content": "new\n"})), "done"])

    async def script() -> None:
        bench.press("go\r")
        await until(lambda: "2 and 3 allow" in bench.printed)
        bench.press("1\r")
        await until(lambda: "tokens" in bench.printed)

    bench.run(script)
    assert (bench.work / "a.txt").read_text() == "new\n"


def test_a_command_answers_and_a_wrong_one_is_one_key_away(tmp_path: Path) -> None:
    bench = LineBench(tmp_path)

    async def script() -> None:
        bench.press("/approve all\r")
        await until(lambda: bench.mode.chat.host.agent.tools.approvals.mode == "all")
        bench.press("/modle\r")
        await until(lambda: "did you mean /model?" in bench.printed)
        assert bench.typed == "", "it does not stick to what is typed next"
        bench.press("\x1b[A")
        await until(lambda: bench.typed == "/modle")
        bench.press("\x03/quit\r")
        await until(bench.running.done)

    assert bench.run(script) == 0


def test_keys_lead_to_modes_earlier_messages_the_whole_transcript_and_help(tmp_path: Path) -> None:
    bench = LineBench(tmp_path, ["First."])

    async def script() -> None:
        bench.press("hello\r")
        await until(lambda: "tokens" in bench.printed)
        bench.press("\x1b[Z")
        await until(lambda: bench.mode.chat.host.agent.tools.approvals.mode == "edits")
        bench.press("?")
        await until(lambda: "!COMMAND runs" in bench.printed)
        bench.press("\x0f")
        await until(lambda: bench.printed.count("First.") == 2)
        bench.press("\x1b\x1b")
        await until(lambda: bench.typed == "/undo " and "your messages, newest first" in bench.printed)
        bench.press("1\r")
        await until(lambda: bench.typed == "hello")

    assert bench.run(script) == 0
    assert bench.mode.chat.host.agent.session.head is None


def test_a_typed_line_for_agents_md_is_asked_about_and_a_pasted_one_is_sent(tmp_path: Path) -> None:
    bench = LineBench(tmp_path, ["First."])
    file = bench.work / "AGENTS.md"

    async def script() -> None:
        bench.press("# use tabs\r")
        await until(lambda: "1 add it to AGENTS.md" in bench.printed)
        bench.press("no\r")
        await until(lambda: bench.typed == "# use tabs")
        bench.press("\x03# use tabs\r")
        await until(lambda: bench.printed.count("1 add it") == 2)
        bench.press("1\r")
        await until(lambda: "added to AGENTS.md" in bench.printed)
        bench.press("\x1b[200~# a heading\x1b[201~")
        await until(lambda: bench.typed == "# a heading")
        bench.press("\r")
        await until(lambda: "tokens" in bench.printed)

    assert bench.run(script) == 0
    assert file.read_text() == "- use tabs\n"


@pytest.mark.parametrize(("pasted", "images"), [("see @shot.png please", 0), ("@shot.png", 1)])
def test_a_pasted_text_chooses_no_image(tmp_path: Path, pasted: str, images: int) -> None:
    bench = LineBench(tmp_path, ["I see"])
    (bench.work / "shot.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 30)

    async def script() -> None:
        bench.press(f"look: \x1b[200~{pasted}\x1b[201~\r")
        await until(lambda: len(bench.client.requests) == 1)

    bench.run(script)
    parts = bench.client.requests[0].messages[-1].parts
    assert sum(isinstance(part, ImagePart) for part in parts) == images


class Discloses(Plugin):
    """Wants something to be seen first."""

    name = "discloses"

    def commands(self) -> list[Command]:
        async def tell(_context: CommandContext, _args: str) -> Result:
            return Said(MarkdownView(text="It all goes to example.org."))

        return [Command("tell", "who receives it", tell, busy_ok=True)]

    def disclosure(self, line: str) -> Disclosure | None:
        return None if line.startswith("/") else Disclosure("k", "/tell")


def test_who_receives_the_conversation_is_agreed_to_once(tmp_path: Path) -> None:
    bench = LineBench(tmp_path, ["one", "two"], plugins={"discloses": lambda _host: Discloses()})

    async def script() -> None:
        bench.press("hello\r")
        await until(lambda: "It all goes to example.org." in bench.printed and "3 not now" in bench.printed)
        bench.press("3\r")
        await until(lambda: bench.typed == "hello")
        assert bench.client.requests == []
        bench.press("\r")
        await until(lambda: bench.printed.count("3 not now") == 2)
        bench.press("1\r")
        await until(lambda: len(bench.client.requests) == 1 and not bench.mode.busy)
        bench.press("again\r")
        await until(lambda: len(bench.client.requests) == 2)

    bench.run(script)
    assert bench.printed.count("example.org") == 2


def test_help_names_every_command(tmp_path: Path) -> None:
    bench = LineBench(tmp_path)

    async def script() -> None:
        bench.press("/help\r")
        await until(lambda: "/quit" in bench.printed)

    bench.run(script)
    assert all(f"/{name}" in bench.printed for name in bench.mode.chat.host.commands.commands)


def test_a_dumb_terminal_gets_lines_and_gives_lines() -> None:
    async def main() -> tuple[list[str | None], str]:
        source, keyboard = os.pipe()
        out = io.StringIO()
        terminal = DumbTerminal(prompt=lambda: "> ", source=source, out=out)
        os.write(keyboard, "ein\nzw\u00e4".encode()[:-1])
        lines = [await terminal.read()]
        os.write(keyboard, "\u00e4".encode()[-1:] + b"i\r\n")
        lines.append(await terminal.read())
        terminal.out("said")
        terminal.give_back("zu viel")
        terminal.raw("\x07")
        os.close(keyboard)
        lines.append(await terminal.read())
        os.close(source)
        return lines, out.getvalue()

    lines, out = asyncio.run(main())
    assert lines == ["ein", "zwäi", None]
    assert out == "> > said\nnot sent: zu viel\n> "


@pytest.mark.parametrize(
    ("text", "flowed"),
    [
        ("· old does not occur in it: read the file", "· old does not occur\n  in it: read the\n  file"),
        ("1. one two three four five", "1. one two three\n   four five"),
        ("short\n\n  as it   is", "short\n\n  as it   is"),
        ("a word-that-is-longer-than-the-line stays", "a\nword-that-is-longer-than-the-line\nstays"),
        ("```\nlet alone what is fenced code, it stays\n```", "```\nlet alone what is fenced code, it stays\n```"),
        ("| a table | with cells | stays |", "| a table | with cells | stays |"),
        ("\x1b[31m✗ red words take no room\x1b[0m", "\x1b[31m✗ red words take no\n  room\x1b[0m"),
        ("漢字 漢字漢字 漢字漢字漢 漢", "漢字 漢字漢字\n漢字漢字漢 漢"),
    ],
)
def test_no_word_is_broken_at_the_edge(text: str, flowed: str) -> None:
    assert flow(text, 20) == flowed


def test_what_goes_elsewhere_than_to_a_terminal_is_not_broken(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        assert of_terminal(file) is None
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 60))
    with os.fdopen(slave, "w") as terminal:
        assert of_terminal(terminal) == 59
    os.close(master)
