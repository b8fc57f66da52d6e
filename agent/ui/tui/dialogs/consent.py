"""Before the first counsel: who will receive the conversation, and what it may cost. Asked once for each panel and its receivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from agent.ui.tui.dialogs.picker import Chooser, Item
from agent.ui.tui.dialogs.typed_ahead import TypedAhead
from agent.ui.tui.text.views import view_widget

if TYPE_CHECKING:
    from agent.views import View

Decision = Literal["yes", "without", "back"]


class Consent(ModalScreen[Decision]):
    """Shows what a plugin discloses; the result is `yes`, `without` or, for Esc, `back`."""

    DEFAULT_CSS = """
    Consent { align: center middle; }
    Consent > Vertical {
        width: 96%; max-width: 110; height: auto; max-height: 96%;
        padding: 0 2; background: $surface; border: round $warning;
    }
    Consent .title { text-style: bold; height: auto; margin-bottom: 1; }
    Consent VerticalScroll { height: auto; max-height: 60vh; margin-bottom: 1; }
    Consent.-tight > Vertical { max-height: 100%; }
    Consent.-tight .title, Consent.-tight VerticalScroll { margin-bottom: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss('back')", "Back to the message"),
        Binding("pageup", "page(-1)", "Scroll what is disclosed", show=False, priority=True),
        Binding("pagedown", "page(1)", "Scroll what is disclosed", show=False, priority=True),
    ]

    def __init__(self, view: View, *, without: bool) -> None:
        super().__init__()
        self._ahead = TypedAhead()
        self._view = view
        self._without = without

    def compose(self) -> ComposeResult:
        """The disclosure and the answers."""
        answers = [Item("yes", "Send it", "not asked again while the panel stays as it is")]
        if self._without:
            answers.append(Item("without", "Send it without counsel"))
        answers.append(Item("back", "Not now", "the message goes back to the composer"))
        with Vertical():
            yield Static(
                "Before the first counsel: this is who receives the conversation", classes="title", markup=False
            )
            with VerticalScroll(can_focus=False):
                yield view_widget(self._view)
            yield Chooser(answers, filter=False)

    def on_mount(self) -> None:
        """The answers have the keyboard."""
        self._ahead = TypedAhead()
        for answers in self.query(Chooser):  # none where it was answered before it was there
            answers.focus_first()

    def on_resize(self) -> None:
        """What is disclosed scrolls; the answers are always seen, since Enter gives one."""
        self.call_after_refresh(self._limit)

    def _limit(self) -> None:
        if not (self.query(".title") and self.query(VerticalScroll) and self.query(Chooser)):
            return  # it is not there yet, or goes away piece by piece
        tight = self.size.height < 16
        self.set_class(tight, "-tight")
        others = self.query_one(".title", Static).size.height + self.query_one(Chooser).outer_size.height
        frame = 2 if tight else 5  # the border, and the empty lines around what is disclosed
        self.query_one(VerticalScroll).styles.max_height = max(1, self.size.height - others - frame)

    def action_page(self, direction: int) -> None:
        """A page of what is disclosed."""
        scroll = self.query_one(VerticalScroll)
        scroll.scroll_relative(y=direction * max(1, scroll.size.height - 1), animate=False)

    def on_key(self, event: events.Key) -> None:
        """Keys that were typed ahead agree to nothing; their text is the composer's."""
        self._ahead.keeps(event, self.app)

    @on(Chooser.Chosen)
    def _chosen(self, event: Chooser.Chosen) -> None:
        scroll = self.query_one(VerticalScroll)
        if event.id == "yes" and scroll.scroll_offset.y < scroll.max_scroll_y:
            self.action_page(1)  # nobody agrees to what was not on the screen: Enter reads on
            return
        self.dismiss(event.id)  # type: ignore[arg-type]  # one of our own three
