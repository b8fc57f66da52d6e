"""One entry of the transcript, one widget: what an item looks like, folded or not, and what Enter does on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from agent.events import Record
from agent.ui.tui.dialogs.full_text import FullText
from agent.ui.tui.text.blocks import Prose
from agent.ui.tui.text.cells import one_line
from agent.ui.tui.transcript.items import Answer, Item, Note, Recorded, Showing, Thought, ToolRun
from agent.ui.tui.transcript.render import blocks_of, hidden

CLOSE = (ToolRun | Thought, Note)
"""Kinds of items that stand together without an empty line."""


class Entry(Prose, can_focus=False):
    """An item that is text. Those that fold, or lead somewhere, take the focus."""

    DEFAULT_CSS = """
    Entry { padding: 0 1; margin: 1 0 0 0; }
    Entry.-close { margin: 0; }
    Entry.-typed { background: $boost; }
    Entry.-draft { text-opacity: 60%; }
    Entry:focus { background: $primary 15%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "activate", "Open"),
        Binding("f", "full", "View in full"),
    ]

    @dataclass
    class Inspect(Message):
        """The user wants to see a record in full."""

        record: Record

    def __init__(self, item: Item) -> None:
        super().__init__(blocks_of(item))
        self.item = item
        self.can_focus = item.folds or isinstance(item, Thought | Recorded) or hidden(item) is not None
        self._classify()

    def redraw(self) -> None:
        """The item has changed."""
        self.can_focus = self.can_focus or hidden(self.item) is not None
        self._classify()
        self.show(blocks_of(self.item))

    def _classify(self) -> None:
        self.add_class(class_of(self.item))
        if isinstance(self.item, Answer):
            self.set_class(self.item.draft is not None, "-draft")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can be done with this item is offered."""
        if action == "full":
            return hidden(self.item) is not None
        return True

    def action_activate(self) -> None:
        """Open or fold it, or show what is behind it."""
        match self.item:
            case Recorded():
                self.post_message(self.Inspect(self.item.record))
            case item if item.folds:
                item.open = not item.open
                self.redraw()
            case _:
                self.action_full()

    def action_full(self) -> None:
        """All of a text of which only a part is shown."""
        text = hidden(self.item)
        if text is not None:
            self.app.push_screen(FullText(text))

    def on_click(self, event: events.Click) -> None:
        """A click on the first line does what Enter does; a drag selects text, and is no click."""
        if not self.can_focus or self.text_selection is not None or event.y > 0:
            return
        event.stop()
        self.action_activate()


@singledispatch
def class_of(item: Item) -> str:
    """The item's kind, as a style class."""
    return f"-{type(item).__name__.lower()}"


@class_of.register
def _(item: ToolRun) -> str:
    return "-tool"


class ViewEntry(Vertical):
    """A command's answer, drawn by the widget of its kind."""

    DEFAULT_CSS = """
    ViewEntry { height: auto; padding: 0 1; margin: 1 0 0 0; }
    ViewEntry > .command { color: $text-muted; height: auto; }
    """

    def __init__(self, item: Showing) -> None:
        super().__init__()
        self.item = item

    def compose(self) -> ComposeResult:
        """The line that asked, and the answer."""
        from textual.widgets import Static

        from agent.ui.tui.text.views import view_widget

        yield Static(Content(f"› {one_line(self.item.command)}"), classes="command", markup=False)
        yield view_widget(self.item.view)

    def redraw(self) -> None:
        """A command's answer does not change."""


def entry_for(item: Item, before: Item | None) -> Entry | ViewEntry:
    """The widget of an item. It stands close to the one before it where both are lines of the same kind of work."""
    entry = ViewEntry(item) if isinstance(item, Showing) else Entry(item)
    entry.set_class(any(isinstance(item, kinds) and isinstance(before, kinds) for kinds in CLOSE), "-close")
    return entry
