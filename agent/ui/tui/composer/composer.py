"""The composer: where the user writes. It knows keys and completions; what a message does, the app decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Self

from textual import events, on, work
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import TextArea

from agent.chat.remember import is_note
from agent.commands import CommandTable
from agent.errors import UsageError
from agent.llm.messages import ImagePart
from agent.ui.file_index import FileIndex
from agent.ui.history import History
from agent.ui.tui.composer.completer import Completer
from agent.ui.tui.composer.completion import Choice
from agent.ui.tui.composer.editor import Editor
from agent.ui.tui.composer.external import edit_outside
from agent.ui.tui.composer.field import Field, Mode
from agent.ui.tui.composer.history import Earlier
from agent.ui.tui.composer.menu import Menu
from agent.ui.tui.composer.paste import Pastes
from agent.ui.tui.composer.submit import Outbox
from agent.ui.tui.keyboard import act, actions
from agent.ui.tui.waiting import Waiting


class Composer(Widget):
    """A text field with a menu above it, the queue above that, and a mark that says what Enter will do.

    `commands`, `files.deny` and `history.redact` may be set anew at any time: a session brings its own. `busy` only changes the words it shows. `clipboard`, where given, is asked on Ctrl+V for an image or a text, in a thread.
    """

    DEFAULT_CSS = """
    Composer {
        height: auto;
        layout: vertical;
    }
    """

    # None of them has priority: such a key would overtake the characters that were typed before it and are still on their way to the
    # editor. The editor asks `_key` first instead.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "enter", "Send; while the agent works, queue", show=False),
        Binding("ctrl+s", "steer", "Say it to the running turn now", show=False),
        Binding("tab", "accept", "Complete", show=False),
        Binding("escape", "escape", "Close the menu; stop the turn; twice, back to an earlier message", show=False),
        Binding("ctrl+c", "clear", "Clear; when empty, quit", show=False),
        Binding("ctrl+d", "quit_if_empty", "Quit when empty", show=False),
        Binding("up", "up", "Up; at the top, the earlier prompt", show=False),
        Binding("down", "down", "Down; at the bottom, the later prompt", show=False),
        Binding("ctrl+r", "search", "Search earlier prompts", show=False),
        Binding("alt+up", "recall", "Take back the last queued message", show=False),
        Binding("ctrl+g", "external", "Write in $EDITOR", show=False),
        Binding("ctrl+v", "paste", "Paste, images too", show=False),
        Binding("shift+tab", "next_mode", "The next approval mode", show=False),
        Binding("question_mark", "help_if_empty", "Help, when empty", show=False),
        Binding("pageup", "page_up", "Scroll the transcript up; in a long text, the text", show=False),
        Binding("pagedown", "page_down", "Scroll the transcript down; in a long text, the text", show=False),
    ]

    busy: reactive[bool] = reactive(False, init=False)

    class Submitted(Message):
        """A line was entered: a command, `!` and a shell command, or a message. `steer`: it is meant for the running turn."""

        def __init__(self, text: str, images: tuple[ImagePart, ...] = (), steer: bool = False) -> None:
            super().__init__()
            self.text = text
            self.images = images
            self.steer = steer

    class StopRequested(Message):
        """Esc, with no menu open."""

    class NoteEntered(Message):
        """A line for AGENTS.md was typed; the app asks whether it is one."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class ModeRequested(Message):
        """The next approval mode is wanted."""

    class HelpRequested(Message):
        """`?` with nothing typed."""

    class PageRequested(Message):
        """A page of the transcript: up (-1) or down (1)."""

        def __init__(self, direction: int) -> None:
            super().__init__()
            self.direction = direction

    class QuitRequested(Message):
        """Ctrl+C or Ctrl+D with nothing typed. The app decides how often it wants to hear it."""

    class RecallRequested(Message):
        """The last queued message is wanted back; the app answers with `take_back`."""

    def __init__(
        self,
        commands: CommandTable,
        files: FileIndex | None = None,
        history: History | None = None,
        *,
        clipboard: Callable[[], ImagePart | str | None] | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.files = files
        self.history = history
        self._clipboard = clipboard
        self._queued: tuple[str, ...] = ()
        self._refused_order = ""
        self.pastes = Pastes()
        self.menu = Menu()
        self.editor = Editor(self.pastes, first=self._key)
        self._completer = Completer(self, self.editor, self.menu, commands, files)
        self._earlier = Earlier(history or History(), self.editor, self.menu, self.set_text)
        self._outbox = Outbox(self, self.pastes, files, history, refuse=self._refused)

    def compose(self) -> ComposeResult:
        """The queue, the menu (which takes no room), and the field with its mark."""
        yield Waiting()
        yield self.menu
        yield Field(self.editor)

    def on_mount(self) -> None:
        """Read the history and list the files, in the background."""
        self._show_mode()
        self._prepare()

    @work(group="prepare", exit_on_error=False)
    async def _prepare(self) -> None:
        if self.history is not None:
            await asyncio.to_thread(self.history.load)
        if self.files is not None:
            await self.files.refresh()

    # For the app

    @property
    def commands(self) -> CommandTable:
        """The commands that are completed; another table where a session brings its own."""
        return self._completer.commands

    @commands.setter
    def commands(self, commands: CommandTable) -> None:
        self._completer.commands = commands

    @property
    def text(self) -> str:
        """What is typed, with tokens as they are shown."""
        return self.editor.text

    @property
    def mode(self) -> Mode:
        """What Enter will do: send a message, run a shell command, or take what was found."""
        if self._earlier.searching:
            return "search"
        return "shell" if self.editor.document[0].startswith("!") else "message"

    def set_text(self, text: str) -> None:
        """Replace what is typed, the cursor behind it. One undo brings the earlier text back; no menu opens."""
        text = self.pastes.give_back(text)
        editor = self.editor
        editor.typed = not text
        editor.replace(text, (0, 0), editor.document.end)
        editor.move_cursor(editor.document.end)
        self._completer.be_quiet(text)
        self._show_mode()

    def take_back(self, texts: Iterable[str]) -> None:
        """Texts that were not sent after all come back, before what was typed since: nothing typed is ever lost."""
        self._earlier.finish()
        back = [self.pastes.give_back(text) for text in texts]
        if back:
            self.set_text("\n".join([*back, *([self.text] if self.text.strip() else [])]))

    def take_back_order(self, text: str) -> None:
        """A command that was refused comes back marked, so that what is typed next replaces it. Where something was typed since, it
        stays in the history alone: it must not become a part of that."""
        self._earlier.finish()
        if not self.text.strip():
            self.set_text(text)
            self.editor.select_all()
            self._refused_order = self.text

    def refuse(self, text: str) -> None:
        """A line that could not be done comes back: a message as `take_back` does it, a command as `take_back_order`."""
        if self._is_order(text):
            self.take_back_order(text)
        else:
            self.take_back([text])

    def show_queue(self, texts: Sequence[str]) -> None:
        """Show the messages that wait for the turn's end, oldest first."""
        self._queued = tuple(texts)
        self.query_one(Waiting).show_texts(self._queued)

    def attach(self, image: ImagePart) -> None:
        """Insert a token for an image that has no file. One that came back with its message is there already."""
        if (token := self._outbox.attach(image, self.text)) is not None:
            self.editor.insert(f"{token} ")

    def focus(self, scroll_visible: bool = True) -> Self:
        """Focus the text field."""
        self.editor.focus(scroll_visible)
        return self

    def watch_busy(self) -> None:
        """Other words for the empty field."""
        self._show_mode()

    def _show_mode(self) -> None:
        self.query_one(Field).show(self.mode, busy=self.busy)

    # What is typed, and the menu

    @on(TextArea.Changed)
    @on(TextArea.SelectionChanged)
    def _typed(self, event: TextArea.Changed | TextArea.SelectionChanged) -> None:
        event.stop()
        if isinstance(event, TextArea.Changed):
            self._show_mode()
            self.editor.typed = self.editor.typed or not self.text
        if not self._earlier.searching:
            self._completer.update()
        elif isinstance(event, TextArea.Changed):
            self._earlier.show_found()

    @on(Menu.Picked)
    def _picked(self, event: Menu.Picked) -> None:
        event.stop()
        self._take(event.choice)
        self.focus()

    def _take(self, choice: Choice) -> None:
        if self._earlier.searching:
            self._earlier.finish(choice.insert)
        else:
            self._completer.take(choice)

    # Keys

    def _key(self, event: events.Key) -> bool:
        return act(self, _ACTIONS, event)

    def action_enter(self) -> None:
        """Take the highlighted choice, break the line behind a backslash, or send."""
        if not self._earlier.searching:
            self._completer.catch_up()
        choice = self.menu.chosen
        if choice is not None:
            searched = self._earlier.searching
            self._take(choice)
            if choice.run and not searched:
                self._submit()
            return
        if self._earlier.searching:
            return
        editor = self.editor
        if editor.line_before_cursor.endswith("\\") and not editor.line_after_cursor:
            row, column = editor.cursor_location
            editor.replace("\n", (row, column - 1), (row, column), maintain_selection_offset=False)
            return
        self._submit()

    def action_steer(self) -> None:
        """Send to the running turn."""
        if not self._earlier.searching:
            self._submit(steer=True)

    def action_accept(self) -> None:
        """Take the highlighted choice, or the first."""
        if not self._earlier.searching:
            self._completer.catch_up()
        if not self.menu.is_open:
            raise SkipAction
        self._take(self.menu.chosen or self.menu.choices[0])

    def action_escape(self) -> None:
        """Close what is open; else ask for the turn to be stopped."""
        if self._earlier.searching:
            self._earlier.finish()
        elif self.menu.is_open:
            self._completer.dismiss()
        else:
            self.post_message(self.StopRequested())

    def action_clear(self) -> None:
        """Clear what is typed (Ctrl+Z brings it back); with nothing typed ask to quit. A selection is copied instead."""
        marked = not self.editor.selection.is_empty and self.editor.selected_text != self._refused_order
        if marked or self.screen.get_selected_text():
            raise SkipAction
        if self._earlier.searching:
            self._earlier.finish()
        elif self.text:
            self.set_text("")
            self._earlier.forget()
        else:
            self.post_message(self.QuitRequested())

    def action_quit_if_empty(self) -> None:
        """Ask to quit; with something typed the key deletes a character."""
        if self.text or self._earlier.searching:
            raise SkipAction
        self.post_message(self.QuitRequested())

    def action_up(self) -> None:
        """In the menu, the queue, the history or the text, whichever is at hand."""
        if self.menu.is_open:
            self.menu.move(-1)
        elif self._queued and not self.text:
            self.post_message(self.RecallRequested())
        elif self._earlier.searching or not self._earlier.step(older=True):
            raise SkipAction

    def action_down(self) -> None:
        """In the menu, the history or the text, whichever is at hand."""
        if self.menu.is_open:
            self.menu.move(1)
        elif self._earlier.searching or not self._earlier.step(older=False):
            raise SkipAction

    def action_recall(self) -> None:
        """Ask for the last queued message."""
        if self._queued:
            self.post_message(self.RecallRequested())

    def action_search(self) -> None:
        """Search the history; again: the next one found."""
        if not self._earlier.searching:
            self._completer.pause()
        self._earlier.search()

    def action_next_mode(self) -> None:
        """Ask for the next approval mode."""
        self.post_message(self.ModeRequested())

    def action_help_if_empty(self) -> None:
        """Ask for help; behind something typed it is a question mark."""
        if self.text or self._earlier.searching:
            raise SkipAction
        self.post_message(self.HelpRequested())

    def action_page_up(self) -> None:
        """Ask for the page above; a text that is longer than the field scrolls itself."""
        self._page(-1)

    def action_page_down(self) -> None:
        """Ask for the page below."""
        self._page(1)

    def _page(self, direction: int) -> None:
        if self.editor.max_scroll_y > 0:
            raise SkipAction
        self.post_message(self.PageRequested(direction))

    def action_paste(self) -> None:
        """Paste from the system's clipboard where it can be read, else from the program's own."""
        if self._clipboard is None:
            raise SkipAction
        self._paste_from(self._clipboard)

    @work(group="clipboard", exclusive=True, exit_on_error=False)
    async def _paste_from(self, clipboard: Callable[[], ImagePart | str | None]) -> None:
        found = await asyncio.to_thread(clipboard)
        if isinstance(found, ImagePart):
            self.attach(found)
        elif found:
            self.editor.insert_pasted(found)

    @on(Editor.ChordPressed)
    def action_external(self) -> None:
        """Open $EDITOR."""
        self._earlier.finish()
        self._edit_outside()

    @work(group="external", exclusive=True, exit_on_error=False)
    async def _edit_outside(self) -> None:
        try:
            edited = await edit_outside(self.app, self.pastes.expand(self.text))
        except UsageError as error:
            self._complain(error)
            return
        if edited is not None:
            self.set_text(edited)

    # Sending

    def _submit(self, *, steer: bool = False) -> None:
        note = self.editor.typed and is_note(self.text)

        def deliver(text: str, images: tuple[ImagePart, ...]) -> None:
            if note:
                self.post_message(self.NoteEntered(text))
                return
            # Only a message can be said to the running turn; a command does the same on either key.
            self.post_message(self.Submitted(text, images, steer and not self._is_order(text)))

        if self._outbox.send(self.text, deliver):
            # Not as an edit: an undo must not bring back what was sent.
            self.editor.load_text("")
            self._earlier.forget()
            self._completer.be_quiet("")

    def _is_order(self, text: str) -> bool:
        """Whether a line is for the program: a command, also one that does not exist, or one for the shell."""
        try:
            return text.startswith("!") or self.commands.parse(text) is not None
        except UsageError:
            return True

    def _refused(self, text: str, error: UsageError) -> None:
        self.refuse(text)
        self._complain(error)

    def _complain(self, error: UsageError) -> None:
        remedy = f" ({error.remedy})" if error.remedy else ""
        self.notify(f"{error.message}{remedy}", severity="error", markup=False)


_ACTIONS = actions(Composer.BINDINGS)
