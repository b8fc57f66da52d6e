"""The composer, driven as a user drives it: text set directly where a key is not the point."""

from __future__ import annotations

import base64
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual._xterm_parser import XTermParser
from textual.containers import VerticalScroll
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot
from textual.widgets import Static

from agent.commands import Command, CommandContext, CommandTable, Result
from agent.files.deny_paths import DenyPaths
from agent.llm.messages import ImagePart
from agent.ui.file_index import FileIndex
from agent.ui.history import History
from agent.ui.tui.composer import completion
from agent.ui.tui.composer.composer import Composer
from agent.ui.tui.composer.editor import Editor
from agent.ui.tui.composer.field import Field
from agent.ui.tui.composer.paste import Pastes
from agent.ui.tui.keyboard import XTERM_SHIFT_ENTER
from tests.support.effort import at_most
from tests.support.screen import dump, widths
from tests.support.widgets import WidgetStage

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 30
VERBS = ("on", "off", "status", "ask @budget", "ask @quality", "tool force")


async def _nothing(context: CommandContext, args: str) -> Result:
    raise AssertionError("a composer runs no command")


def _verbs(typed: str) -> Iterable[str]:
    _, space, _ = typed.partition(" ")
    offered = VERBS if space else dict.fromkeys(verb.partition(" ")[0] for verb in VERBS)
    return [verb for verb in offered if verb.startswith(typed)]


def _broken(typed: str) -> Iterable[str]:
    raise RuntimeError("a plugin's completer fails")


TABLE = CommandTable(
    [
        Command("moa", "take counsel [from] a panel", _nothing, args_hint="[on|off|PRESET]", complete=_verbs),
        Command("model", "the main model", _nothing, args_hint="[REF]", complete=_broken),
        Command("cost", "what was spent", _nothing),
    ]
)


class Bench(WidgetStage):
    """A composer with something above it; `heard` is what it says."""

    def __init__(self, root: Path, clipboard: Callable[[], ImagePart | str | None] | None = None) -> None:
        self.root = root
        above = VerticalScroll(Static("\n".join(f"said before {number}" for number in range(40))), can_focus=False)
        files = FileIndex(root, DenyPaths((".env",), root))
        self.composer = Composer(TABLE, files, History(root / ".git" / "history"), clipboard=clipboard)
        kinds = (
            Composer.Submitted,
            Composer.StopRequested,
            Composer.QuitRequested,
            Composer.PageRequested,
            Composer.RecallRequested,
        )
        hears = dict.fromkeys(kinds, lambda message: message)
        super().__init__(above, self.composer, hears=hears, css="VerticalScroll { height: 1fr; }", focus="Composer *")

    @property
    def sent(self) -> list[str]:
        return [message.text for message in self.heard if isinstance(message, Composer.Submitted)]


Script = Callable[[Bench, Pilot[None]], Awaitable[None]]


def drive(app: Bench, script: Script, size: tuple[int, int] = (70, 16)) -> None:
    async def scene(app: Bench, pilot: Pilot[None]) -> None:
        await app.workers.wait_for_complete()
        await script(app, pilot)

    app.play(scene, size)


async def settle(app: Bench, pilot: Pilot[None]) -> None:
    await pilot.pause()
    await app.workers.wait_for_complete()
    await pilot.pause()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / ".git").mkdir()
    (tmp_path / "src").mkdir()
    (tmp_path / "src/parser.py").write_text("x")
    (tmp_path / "a note.md").write_text("x")
    (tmp_path / ".env").write_text("KEY=1")
    (tmp_path / "shot.png").write_bytes(PNG)
    return Bench(tmp_path)


# Sending


def test_enter_sends_and_leaves_an_empty_field(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("  \n\tfix it \n\n")
        await pilot.press("enter")
        assert app.sent == ["  \n\tfix it"]
        assert app.composer.text == ""
        await pilot.press("enter", "ctrl+z", "enter")  # nothing typed, and an undo does not bring back what was sent
        assert len(app.sent) == 1

    drive(bench, script)


def test_one_key_steers(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("no, the other file")
        await pilot.press("ctrl+s")
        (message,) = app.heard
        assert isinstance(message, Composer.Submitted)
        assert (message.text, message.steer) == ("no, the other file", True)
        for text, steers in [("/etc/hosts is it", True), ("/moa go", False), ("/nonsense", False), ("!ls", False)]:
            app.composer.set_text(text)
            await pilot.press("ctrl+s")
            assert isinstance(message := app.heard[-1], Composer.Submitted)
            assert (message.text, message.steer) == (text, steers)

    drive(bench, script)


@pytest.mark.sample(2)
@pytest.mark.parametrize("key", ["ctrl+j", "shift+enter", "alt+enter", XTERM_SHIFT_ENTER])
def test_keys_for_a_new_line(bench: Bench, key: str) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("one")
        await pilot.press(key, "t")
        assert app.composer.text == "one\nt"

    drive(bench, script)


@pytest.mark.parametrize(
    ("sequence", "key"),
    [
        *(("\x1b\r", "alt+enter"), ("\x1b[27;2;13~", XTERM_SHIFT_ENTER), ("\x1b[13;2u", "shift+enter")),
        *(("\x1b[13;3u", "alt+enter"), ("\n", "ctrl+j"), ("\r", "enter"), ("\x1b[1;3A", "alt+up")),
    ],
)
def test_what_terminals_send_for_a_key_is_understood(sequence: str, key: str) -> None:
    Editor(Pastes())
    tokens = XTermParser().feed(sequence)
    assert [token.key for token in tokens if isinstance(token, events.Key)] == [key]


def test_keys_that_come_all_at_once_act_in_their_order(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        keys = (
            "o",
            "n",
            "ctrl+j",
            "t",
            "w",
            "backspace",
            "o",
            "left",
            "x",
            "enter",
            "/",
            "c",
            "o",
            "s",
            "t",
            "enter",
            "y",
        )
        for key in keys:
            app.post_message(events.Key(key, {"/": "/"}.get(key, key if len(key) == 1 else None)))
        await pilot.pause()
        assert app.sent == ["on\ntxo", "/cost"]
        assert app.composer.text == "y"

    drive(bench, script)


def test_a_backslash_before_enter_breaks_the_line(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("one\\")
        await pilot.press("enter", "t", "enter")
        assert app.sent == ["one\nt"]

    drive(bench, script)


def test_escape_asks_to_stop_and_ctrl_c_clears_before_it_asks_to_quit(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("half a thought")
        await pilot.press("escape")
        assert [type(message) for message in app.heard] == [Composer.StopRequested]
        assert app.composer.text == "half a thought"
        await pilot.press("ctrl+c")
        assert app.composer.text == ""
        assert len(app.heard) == 1
        await pilot.press("ctrl+z")
        assert app.composer.text == "half a thought"
        await pilot.press("ctrl+c", "ctrl+c", "ctrl+d")
        assert [type(message) for message in app.heard[1:]] == [Composer.QuitRequested] * 2

    drive(bench, script)


def test_ctrl_c_copies_a_selection(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("copy me")
        app.composer.editor.select_all()
        await pilot.press("ctrl+c")
        assert (app.clipboard, app.composer.text, app.heard) == ("copy me", "copy me", [])

    drive(bench, script)


# Commands


def test_the_menu_of_commands_with_summaries_that_are_no_markup(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("/mo")
        await pilot.pause()
        screen = dump(app).splitlines()
        assert screen[-5].split(maxsplit=2) == ["/moa", "[on|off|PRESET]", "take counsel [from] a panel"]
        assert screen[-4].split() == ["/model", "[REF]", "the", "main", "model"]
        assert screen[-2].startswith("│ > /mo ")
        await pilot.press("down", "enter")
        assert app.composer.text == "/model "
        await settle(app, pilot)  # its completer fails, and nobody notices
        assert not app.composer.menu.is_open
        assert app.notes == app.sent == []

    drive(bench, script)


def test_a_long_list_of_arguments_leaves_room_for_what_the_command_does(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.commands = CommandTable([Command("long", "what it does", _nothing, args_hint="[漢字 | " * 30)])
        app.composer.editor.insert("/l")
        await pilot.pause()
        line = dump(app).splitlines()[-4]
        assert line.startswith(" /long [漢字 | [漢字")
        assert line.endswith("…  what it does")

    drive(bench, script)


def test_a_command_that_takes_nothing_runs_at_once_and_a_finished_word_is_sent(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("/cst")
        await pilot.press("enter")
        assert app.sent == ["/cost"]
        app.composer.editor.insert("/moa")
        await pilot.pause()
        assert app.composer.menu.is_open
        await pilot.press("enter")
        assert app.sent == ["/cost", "/moa"]

    drive(bench, script)


def test_arguments_have_a_hint_and_a_menu(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        editor = app.composer.editor
        editor.insert("/moa ")
        await settle(app, pilot)
        assert "> /moa [on|off|PRESET]" in dump(app)
        assert [choice.label for choice in app.composer.menu.choices] == ["on", "off", "status", "ask", "tool"]
        await pilot.press("right")  # the hint is not text
        assert editor.text == "/moa "
        editor.insert("sta")
        await settle(app, pilot)
        assert "[on|off" not in dump(app).splitlines()[-2]
        await pilot.press("enter")
        assert (editor.text, app.sent) == ("/moa status", [])
        editor.clear()
        editor.insert("/moa ask qu")
        await settle(app, pilot)
        assert [choice.label for choice in app.composer.menu.choices] == ["@quality"]
        await pilot.press("tab")
        assert editor.text == "/moa ask @quality"
        await pilot.press("enter")
        assert app.sent == ["/moa ask @quality"]

    drive(bench, script)


def test_enter_takes_nothing_of_a_menu_that_keys_have_overtaken(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine under load: the arguments are still being looked up when Enter comes."""
    lookup = threading.Event()

    def slow(*args: Any) -> list[completion.Choice]:
        lookup.wait(5)
        return []

    async def script(app: Bench, pilot: Pilot[None]) -> None:
        await pilot.press("/", "m", "o", "a")
        assert [choice.label.split()[0] for choice in app.composer.menu.choices] == ["/moa"]
        monkeypatch.setattr(completion, "choices", slow)
        await pilot.press("space", *"status", "enter")
        assert (app.sent, app.composer.text) == (["/moa status"], "")
        lookup.set()

    drive(bench, script)


def test_page_keys_are_the_transcripts_until_the_text_is_longer_than_its_field(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        await pilot.press("pageup", "pagedown")
        assert [m.direction for m in app.heard if isinstance(m, Composer.PageRequested)] == [-1, 1]
        app.composer.set_text("\n".join(f"line {number}" for number in range(40)))
        await pilot.pause()
        await pilot.press("pageup")
        assert len(app.heard) == 2 and app.composer.editor.cursor_location[0] < 39

    drive(bench, script)


def test_free_text_behind_a_command_is_sent_as_it_is(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        # `budget` fits `@budget`, but it is a word of the user's question.
        app.composer.editor.insert("/moa ask budget")
        await settle(app, pilot)
        await pilot.press("enter")
        assert app.sent == ["/moa ask budget"]

    drive(bench, script)


@pytest.mark.parametrize("text", ["/etc/hosts is odd", "a /mo", "first\n/mo", "mail@src"])
def test_text_that_is_no_command_opens_no_menu(bench: Bench, text: str) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert(text)
        await settle(app, pilot)
        assert not app.composer.menu.is_open

    drive(bench, script)


def test_escape_closes_the_menu_until_another_word_is_begun(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("/m")
        await pilot.press("escape", "o")
        assert not app.composer.menu.is_open
        assert app.heard == []
        await pilot.press("ctrl+c", "/")
        assert app.composer.menu.is_open

    drive(bench, script)


# Files and images


def test_files_complete_and_denied_ones_do_not_exist(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        editor, menu = app.composer.editor, app.composer.menu
        editor.insert("see @pars")
        await settle(app, pilot)
        assert [choice.label for choice in menu.choices] == ["src/parser.py"]
        await pilot.press("enter")
        assert editor.text == "see @src/parser.py "
        editor.insert("@note")
        await settle(app, pilot)
        await pilot.press("tab")
        assert editor.text == 'see @src/parser.py @"a note.md" '
        editor.insert("@env")
        await settle(app, pilot)
        assert not menu.is_open
        await pilot.press("enter")
        await settle(app, pilot)
        assert app.sent == ['see @src/parser.py @"a note.md" @env']

    drive(bench, script)


def test_a_folder_goes_on_into_its_files(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("@src")
        await settle(app, pilot)
        await pilot.press("enter")
        assert app.composer.text == "@src/"
        await settle(app, pilot)
        assert [choice.label for choice in app.composer.menu.choices] == ["src/parser.py"]

    drive(bench, script)


def test_a_mentioned_image_is_attached_and_nothing_overtakes_it(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("what is @shot.png ")
        await pilot.press("enter")
        app.composer.editor.insert("and then?")
        await pilot.press("enter")
        await settle(app, pilot)
        assert app.sent == ["what is @shot.png", "and then?"]
        first, second = (message for message in app.heard if isinstance(message, Composer.Submitted))
        assert [base64.b64decode(image.data) for image in first.images] == [PNG]
        assert second.images == ()
        # Refused by the model: the app gives both back, and the image is in the text already.
        app.composer.take_back([first.text])
        app.composer.attach(first.images[0])
        assert app.composer.text == "what is @shot.png"

    drive(bench, script)


def test_an_image_that_can_not_be_sent_brings_the_text_back(bench: Bench) -> None:
    (bench.root / "shot.png").write_bytes(b"no image")

    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("what is @shot.png ")
        await pilot.press("enter")
        await settle(app, pilot)
        assert app.sent == []
        assert app.composer.text == "what is @shot.png"
        assert "not a PNG" in app.notes[0]

    drive(bench, script)


def test_an_image_from_the_clipboard_goes_with_its_token(tmp_path: Path) -> None:
    image = ImagePart(media_type="image/png", data="AAAA")

    async def script(app: Bench, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+v")
        await settle(app, pilot)
        assert app.composer.text == "[image 1] "
        app.composer.editor.insert("what is it?")
        await pilot.press("enter")
        (message,) = app.heard
        assert isinstance(message, Composer.Submitted)
        assert (message.text, message.images) == ("[image 1] what is it?", (image,))

    (tmp_path / ".git").mkdir()
    drive(Bench(tmp_path, clipboard=lambda: image), script)


# Pastes


def paste(app: Bench, text: str) -> None:
    app.composer.editor.post_message(events.Paste(text))


def test_a_paste_is_literal(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        paste(app, "one\r\ntwo\rthree \x1b[31m[bold]red\x07")
        await pilot.pause()
        assert app.composer.text == "one\ntwo\nthree [31m[bold]red"
        assert app.heard == []

    drive(bench, script)


def test_a_megabyte_becomes_a_token_that_is_written_out_when_sent(bench: Bench) -> None:
    text = "".join(f"line {number:,} of a log with some length to it\n" for number in range(24_000))
    assert len(text) > 1_000_000

    async def script(app: Bench, pilot: Pilot[None]) -> None:
        with at_most(1.0):
            app.composer.editor.insert_pasted(text)
            await pilot.pause()
            assert "> [pasted 24,000 lines]" in dump(app)
            app.composer.editor.insert_pasted("x" * 5_000)
            await pilot.press("enter")
        assert app.sent == [text + "x" * 5_000]

    drive(bench, script)


def test_a_token_is_one_character_to_every_key(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        editor = app.composer.editor
        long = "y\n" * 100
        editor.insert("a")
        editor.insert_pasted(long)
        editor.insert("b")
        await pilot.press("left", "left", "X")
        assert editor.text == "aX[pasted 100 lines]b"
        editor.move_cursor((0, 9))  # as a click would
        assert editor.cursor_location[1] in (2, len("aX[pasted 100 lines]"))
        editor.move_cursor((0, len("aX[pasted 100 lines]")))
        await pilot.press("ctrl+w")
        assert "pasted" not in editor.text
        await pilot.press("ctrl+z", "enter")
        assert app.sent == [f"aX{long}b"]

    drive(bench, script)


def test_two_pastes_of_one_length_are_two(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        for char in "xyx":
            app.composer.editor.insert_pasted(f"{char}\n" * 30)
        assert app.composer.text == "[pasted 30 lines][pasted 30 lines #2][pasted 30 lines]"
        await pilot.press("enter")
        assert app.sent == [("x\n" * 30 + "y\n" * 30 + "x\n" * 30).rstrip()]

    drive(bench, script)


@pytest.mark.parametrize("start", ["!rm -rf /", "/moa on"])
def test_what_is_pasted_unseen_is_never_a_command(bench: Bench, start: str) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert_pasted(f"{start}\n" + "more\n" * 50)
        await pilot.press("enter")
        assert app.sent[0].startswith(f" {start}")

    drive(bench, script)


@pytest.mark.parametrize(
    ("pasted", "sent"), [("see @shot.png please", 0), ("@shot.png @other.png", 0), ("@shot.png", 1), ("@shot.png\n", 1)]
)
def test_a_pasted_text_chooses_no_image(bench: Bench, pasted: str, sent: int) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert_pasted(pasted)
        await pilot.press("enter")
        await settle(app, pilot)
        (message,) = (message for message in app.heard if isinstance(message, Composer.Submitted))
        assert (message.text, len(message.images)) == (pasted.rstrip(), sent)

    drive(bench, script)


@pytest.mark.parametrize("pasted", ["/tmp/a\\ b.png", "'/tmp/a b.png'", "file:///tmp/a%20b.png"])
def test_an_image_dropped_on_the_terminal_is_mentioned(bench: Bench, pasted: str) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert_pasted(pasted)
        assert app.composer.text == '@"/tmp/a b.png" '

    drive(bench, script)


# History and queue


def test_the_history_is_walked_at_the_edges_and_gives_the_draft_back(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        composer = app.composer
        for text in ("first", "two\nlines", "/moa on"):
            composer.editor.insert(text)
            await settle(app, pilot)
            await pilot.press("escape", "enter")
        composer.editor.insert("draft")
        await pilot.press("up")
        assert composer.text == "/moa on"
        assert not composer.menu.is_open  # it was put there, not typed
        await pilot.press("up", "up")
        assert composer.text == "first"
        await pilot.press("up", "down", "down", "down")
        assert composer.text == "draft"
        await pilot.press("up", "enter")
        assert app.sent[-1] == "/moa on"

    drive(bench, script)


def test_arrows_move_inside_of_a_text_before_they_leave_it(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("earlier")
        await pilot.press("enter")
        app.composer.editor.insert("one\ntwo")
        await pilot.press("up")
        assert app.composer.editor.cursor_location == (0, 3)
        await pilot.press("up")
        assert app.composer.text == "earlier"

    drive(bench, script)


def test_the_history_is_there_for_the_next_session(bench: Bench) -> None:
    async def send(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("remember me")
        await pilot.press("enter")
        await settle(app, pilot)

    async def recall(app: Bench, pilot: Pilot[None]) -> None:
        await pilot.press("up")
        assert app.composer.text == "remember me"

    drive(bench, send)
    drive(Bench(bench.root), recall)


def test_searching_the_history(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        composer = app.composer
        for text in ("fix the parser", "explain the ledger", "fix the lexer"):
            composer.editor.insert(text)
            await pilot.press("enter")
        composer.editor.insert("draft")
        await pilot.press("ctrl+r")
        await pilot.pause()
        screen = dump(app)
        assert [line.strip() for line in screen.splitlines()[-6:-3]] == [
            *("fix the lexer", "explain the ledger", "fix the parser")
        ]
        assert "? search earlier prompts" in screen
        composer.editor.insert("fix")
        await pilot.press("ctrl+r", "enter")
        assert (composer.text, composer.mode) == ("fix the parser", "message")
        await pilot.press("ctrl+r", "escape")
        assert composer.text == "fix the parser"
        assert len(app.sent) == 3

    drive(bench, script)


def test_the_queue_is_shown_and_its_last_text_can_be_had_back(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.show_queue(["fix\nthe [thing]", "b", "c", "d"])
        await pilot.pause()
        screen = dump(app)
        assert "queued: fix the [thing]" in screen
        assert "… and 1 more" in screen
        await pilot.press("up")
        app.composer.editor.insert("x")
        await pilot.press("up", "alt+up")
        assert [type(message) for message in app.heard] == [Composer.RecallRequested] * 2
        app.composer.take_back(["d"])
        assert app.composer.text == "d\nx"
        app.composer.show_queue([])
        await pilot.pause()
        assert "queued" not in dump(app)

    drive(bench, script)


# What it looks like


def test_shell_mode_is_marked_and_a_busy_agent_said(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.busy = True
        await pilot.pause()
        assert "> Enter queues, Ctrl+S steers, Esc stops" in dump(app)
        app.composer.editor.insert("!git status")
        await pilot.pause()
        assert "│ $ !git status" in dump(app)
        assert app.composer.mode == "shell"
        assert app.query_one(Field).has_class("-shell")

    drive(bench, script)


@pytest.mark.parametrize(("size", "rows"), [((70, 30), 10), ((40, 12), 2)])
def test_it_grows_to_a_third_of_the_screen_and_no_further(bench: Bench, size: tuple[int, int], rows: int) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        for number in range(50):
            app.composer.editor.insert(f"line {number}\n")
        await pilot.pause()
        assert app.composer.editor.size.height == rows
        assert "line 49" in dump(app)
        assert "said before" in dump(app)

    drive(bench, script, size)


@pytest.mark.parametrize("width", [40, 250])
def test_wide_and_combining_characters_keep_the_frame_whole(bench: Bench, width: int) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("漢字かな e\u0301 👨\u200d👩\u200d👧 ظلم /e\u0301 " * 6)
        await pilot.pause()
        app.composer.editor.insert("@")
        await settle(app, pilot)
        assert widths(app) == {width}

    drive(bench, script, (width, 14))


def test_a_key_goes_by_what_people_see_as_one_character(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("ae\u0301👨\u200d👩\u200d👧")
        await pilot.press("backspace")
        assert app.composer.text == "ae\u0301"
        await pilot.press("left", "x")
        assert app.composer.text == "axe\u0301"
        await pilot.press("delete")
        assert app.composer.text == "ax"

    drive(bench, script)


def test_every_key_says_what_it_does(bench: Bench) -> None:
    async def script(app: Bench, pilot: Pilot[None]) -> None:
        bindings = app.screen.active_bindings
        for key in (
            "enter",
            "ctrl+s",
            "tab",
            "escape",
            "ctrl+c",
            "up",
            "ctrl+r",
            "alt+up",
            "ctrl+g",
            "ctrl+j",
            "ctrl+x",
        ):
            assert bindings[key].binding.description, key
        assert "queue" in bindings["enter"].binding.description

    drive(bench, script)


# $EDITOR


def test_a_long_prompt_can_be_written_in_an_editor(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import pathlib, sys; p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text().upper() + 'end\\n')"
    monkeypatch.setattr(HeadlessDriver, "can_suspend", True)
    monkeypatch.setenv("VISUAL", f'{sys.executable} -c "{program}"')

    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("draft ")
        app.composer.editor.insert_pasted("z\n" * 30)
        await pilot.press("ctrl+x", "ctrl+e")
        await settle(app, pilot)
        assert app.composer.text == "DRAFT " + "Z\n" * 30 + "end"

    drive(bench, script)


@pytest.mark.parametrize(("command", "words"), [("/no/such/editor", "can't be started"), ("'", "No closing quotation")])
def test_an_editor_that_fails_costs_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, command: str, words: str
) -> None:
    monkeypatch.setattr(HeadlessDriver, "can_suspend", True)
    monkeypatch.setenv("VISUAL", command)

    async def script(app: Bench, pilot: Pilot[None]) -> None:
        app.composer.editor.insert("draft")
        await pilot.press("ctrl+g")
        await settle(app, pilot)
        assert app.composer.text == "draft"
        assert words in app.notes[0]

    drive(bench, script)
