"""A form of a command's (`agent.forms.Choices`) as a dialog: what it is about, and rows to tick or to take."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from agent.forms import Answer, Choice, Choices
from agent.text.cleaning import harmless
from agent.ui.tui.dialogs.typed_ahead import TypedAhead
from agent.ui.tui.text.cells import MOST_LABEL, hanging, one_line
from agent.ui.tui.text.views import view_widget

KEYS, KEYS_TICKS = (
    "Enter takes it · PgDn reads on · Esc not now",
    "Space ticks · Enter takes all that are ticked · Esc not now",
)


class ChoicesScreen(ModalScreen[Answer]):
    """The result is the ids that were taken, or None for Esc."""

    DEFAULT_CSS = """
    ChoicesScreen { align: center middle; }
    ChoicesScreen > Vertical {
        width: 96%; max-width: 112; height: auto; max-height: 98%;
        padding: 0 2; background: $surface; border: round $primary;
    }
    ChoicesScreen .title { text-style: bold; color: $text-primary; height: auto; }
    ChoicesScreen .text { height: auto; margin-bottom: 1; }
    ChoicesScreen VerticalScroll { height: auto; margin-bottom: 1; }
    ChoicesScreen OptionList { height: auto; padding: 0; background: transparent; }
    ChoicesScreen OptionList, ChoicesScreen OptionList:focus { border: none; }
    ChoicesScreen .keys { color: $text-muted; height: auto; margin-top: 1; }
    ChoicesScreen.-tight .text, ChoicesScreen.-tight VerticalScroll { margin-bottom: 0; }
    ChoicesScreen.-tight .keys { margin-top: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Not now"),
        Binding("space", "tick", "Set or take out a tick", priority=True),
        Binding("pageup", "page(-1)", "Scroll what it is about", show=False, priority=True),
        Binding("pagedown", "page(1)", "Scroll what it is about", show=False, priority=True),
    ]

    def __init__(self, form: Choices, inquiry: str = "") -> None:
        super().__init__()
        self.inquiry = inquiry
        self._form = form
        self._ahead: TypedAhead | None = None
        self._ticked = {choice.id for choice in form.choices if choice.ticked}
        self._width = 0
        self._labels = min(MOST_LABEL, max(cell_len(choice.label) for choice in form.choices))

    def compose(self) -> ComposeResult:
        """Title, text, view, rows, keys."""
        with Vertical():
            yield Static(Content(harmless(self._form.title)), classes="title")
            if self._form.text:
                yield Static(Content(harmless(self._form.text)), classes="text")
            if self._form.view is not None:
                with VerticalScroll(can_focus=False):
                    yield view_widget(self._form.view)
            yield OptionList(*(Option(self._row(choice), id=choice.id) for choice in self._form.choices), markup=False)
            yield Static(KEYS_TICKS if self._form.ticks else KEYS, classes="keys", markup=False)

    def on_mount(self) -> None:
        """The rows have the keyboard, the first the cursor."""
        if self._form.sudden:
            self._ahead = TypedAhead()
        rows = self.query_one(OptionList)
        rows.highlighted = 0
        rows.focus()

    def on_resize(self) -> None:
        """The rows and what they are about scroll; the keys are always seen."""
        self.call_after_refresh(self._limit)

    def _limit(self) -> None:
        if not self.query(OptionList):
            return  # it is not there yet, or goes away
        self.set_class(self.size.height < 20, "-tight")
        around = [
            each for name in (".title", ".text", ".keys") for each in self.query(f"ChoicesScreen > Vertical > {name}")
        ]
        taken = sum(each.outer_size.height + each.styles.margin.height for each in around)
        room = max(4, self.size.height - 3 - taken)  # the border, and a line of the screen below
        shown = self.query(VerticalScroll)
        rows = min(len(self._form.choices), max(3, room // 2)) if shown else room
        options = self.query_one(OptionList)
        options.styles.max_height = rows
        if (width := options.size.width - 2) != self._width and width > 0:  # a scrollbar's room is left free
            self._width = width
            for index, choice in enumerate(self._form.choices):
                options.replace_option_prompt_at_index(index, self._row(choice))
        for scroll in shown:
            scroll.styles.max_height = max(1, room - rows - scroll.styles.margin.height)

    def _row(self, choice: Choice) -> Content:
        mark = ""
        if self._form.ticks:
            mark = "  → " if choice.ticked is None else "[x] " if choice.id in self._ticked else "[ ] "
        label, note = one_line(harmless(choice.label)), one_line(harmless(choice.note))
        return hanging(Content(mark + label), note, self._labels + cell_len(mark), self._width)

    def action_tick(self) -> None:
        """Set or take out the tick of the row under the cursor."""
        rows = self.query_one(OptionList)
        if rows.highlighted is None:
            return
        choice = self._form.choices[rows.highlighted]
        if choice.ticked is not None:
            self._ticked ^= {choice.id}
            rows.replace_option_prompt_at_index(rows.highlighted, self._row(choice))

    def action_page(self, direction: int) -> None:
        """A page of what it is about; of the rows, where there is nothing else."""
        for scroll in self.query(VerticalScroll):
            scroll.scroll_relative(y=direction * max(1, scroll.size.height - 1), animate=False)
            return
        getattr(self.query_one(OptionList), f"action_page_{'down' if direction > 0 else 'up'}")()

    def on_key(self, event: events.Key) -> None:
        """Text is not for this dialog; it must not go to what lies under it either, but for what was typed ahead."""
        if not (self._ahead and self._ahead.keeps(event, self.app)) and event.is_printable:
            event.stop()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        choice = self._form.choices[event.option_index]
        ticked = tuple(each.id for each in self._form.choices if each.id in self._ticked)
        self.dismiss((choice.id,) if choice.ticked is None or not ticked else ticked)
