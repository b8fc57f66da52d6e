"""The question whether a tool may run. It takes the composer's place, so it must not mistake what was typed there for an answer.

A number answers as soon as nobody is typing any more. A letter, or Enter on a yes, counts after a longer silence, and only once all of
what is asked about was on the screen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from agent.approval.approval import UserAnswer
from agent.approval.rules import Rule
from agent.errors import UsageError
from agent.ui.asking import MOST_CHARS, SILENCE_S, allowed, heading, too_long
from agent.ui.tui.dialogs.asked import what
from agent.ui.tui.text.blocks import Prose
from agent.ui.tui.text.cells import one_line
from agent.ui.tui.text.diff import changed_lines

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from agent.chat.events import Asked

__all__ = ["GRACE_S", "MOST_CHARS", "ApprovalBar"]

GRACE_S = SILENCE_S
"""So long after the question appears, and after each key that comes in that time, keys are still meant for the composer."""
NUMBER_S = 0.3
"""The same for numbers, where nobody was typing when the question came."""
MARGIN = 6
"""Columns beside what is asked about: borders, paddings, and a scrollbar."""
_NUMBERS = frozenset("12345")
_KEYS = frozenset("12345yne")
"""What answers, or changes the rule. Other characters are text."""
_SCROLLING = frozenset(("pageup", "pagedown"))

_ONCE, _SESSION, _ALWAYS, _NO, _BECAUSE = range(5)


class ApprovalBar(Widget, can_focus=True):
    """One question at a time; others wait behind it. `clock` tells seconds."""

    DEFAULT_CSS = """
    ApprovalBar {
        display: none; height: auto; width: 1fr; layout: vertical; padding: 0 1;
        background: $surface; border-left: outer $warning;
    }
    ApprovalBar > .title { height: auto; width: 1fr; }
    ApprovalBar > VerticalScroll { height: auto; width: 1fr; scrollbar-size-vertical: 1; }
    ApprovalBar > .choices { height: auto; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    ApprovalBar > Input { display: none; height: 1; border: none; padding: 0; background: $surface-lighten-1; }
    ApprovalBar > Input:focus { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "choose(0)", "yes, once"),
        Binding("y", "yes", "yes, once, when all of it was shown", show=False),
        Binding("2", "choose(1)", "yes, for this session"),
        Binding("3", "choose(2)", "yes, always"),
        Binding("4,n", "choose(3)", "no"),
        Binding("5", "choose(4)", "no, because…"),
        Binding("escape", "no", "no"),
        Binding("e", "edit_rule", "change the rule of 2 and 3"),
        Binding("up", "move(-1)", "up", show=False),
        Binding("down", "move(1)", "down", show=False),
        Binding("enter", "enter", "take the marked answer", show=False),
        Binding("pageup", "scroll(-1)", "scroll what would be done", show=False),
        Binding("pagedown", "scroll(1)", "scroll what would be done", show=False),
    ]

    @dataclass
    class Answered(Message):
        """The user's answer to the question `id`."""

        id: str
        answer: UserAnswer

    @dataclass
    class Strayed(Message):
        """Text that was typed too soon to be an answer: it belongs into the composer."""

        text: str

    class Emptied(Message):
        """Nothing is asked any more: the composer may come back."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, id: str | None = None) -> None:
        super().__init__(id=id)
        self._clock = clock
        self._waiting: list[Asked] = []
        self._deaf_until = 0.0
        self._numbers_from = 0.0
        self._typed_at = 0.0
        self._cursor: int | None = None
        self._all_seen = False
        self._laid_out = False
        self._rule: str | None = None
        self._editing = ""
        self._behind = False
        self._kept = False

    def compose(self) -> ComposeResult:
        """Title, what would be done, the answers, and a line for words."""
        yield Static(classes="title")
        with VerticalScroll(can_focus=False):
            yield Prose()
        yield Static(classes="choices")
        yield Input(select_on_focus=False)

    def on_mount(self) -> None:
        """A dialog or an editor may lie over the question: what was typed for those is on its way when they go."""
        for uncovered in (self.app.screen_change_signal, self.app.app_resume_signal):
            uncovered.subscribe(self, self._uncovered, immediate=True)

    def _uncovered(self, _what: object) -> None:
        if self._waiting and self.app.screen is self.screen:
            self._deaf_until = self._numbers_from = self._clock() + GRACE_S

    # Questions

    @property
    def waiting(self) -> int:
        """Questions without an answer, the one that is shown among them."""
        return len(self._waiting)

    def ask(self, asked: Asked, *, typed_at: float = 0.0) -> None:
        """Put a question; it is shown when it is its turn. `typed_at`: when a key was last pressed elsewhere, by the same clock."""
        self._waiting.append(asked)
        self._typed_at = max(self._typed_at, typed_at)
        if len(self._waiting) == 1:
            self._behind = False
            self._begin()
        else:
            self._show_title()

    def settle(self, id: str) -> None:
        """A question needs no answer any more: the turn was stopped, or it was answered elsewhere."""
        for index, asked in enumerate(self._waiting):
            if asked.id == id:
                del self._waiting[index]
                if index == 0:
                    self._begin()
                else:
                    self._show_title()
                return

    def _begin(self) -> None:
        self._close_line()
        if not self._waiting:
            if self.display:
                self.display = False
                self.post_message(self.Emptied())
            return
        request = self._waiting[0].request
        self._rule = None
        self._kept = False
        self._laid_out = False
        now = self._clock()
        self._deaf_until = now + GRACE_S
        typing = self._behind or now - self._typed_at < GRACE_S
        self._numbers_from = self._deaf_until if typing else now + NUMBER_S
        self.query_one(Prose).show(what(request, self.app.size.width, title_lines=self._title_lines()))
        self._limit()
        self._all_seen = not too_long(request) and self._fits()
        self._cursor = _ONCE if self._all_seen else None
        self._show_title()
        self._show_choices()
        self.display = True
        self.query_one(VerticalScroll).scroll_home(animate=False)
        self.focus()
        self.call_after_refresh(self._first_look, self._waiting[0].id)

    def _first_look(self, id: str) -> None:
        """It is laid out: mark the first answer, where all that it is about is seen together with it."""
        if not self._waiting or self._waiting[0].id != id:
            return
        self._laid_out = True
        if self._cursor is None and self._look():
            self._cursor = _ONCE
        self._show_choices()

    def _fits(self) -> bool:
        """Whether all of it will stand beside the answers, before it is laid out."""
        room = self.query_one(VerticalScroll).styles.max_height
        return room is not None and self.query_one(Prose).height_at(self.app.size.width - MARGIN) <= room.value

    def _look(self) -> bool:
        """Whether all of what is asked about has been on the screen by now."""
        scroll = self.query_one(VerticalScroll)
        if self._laid_out and not self._all_seen and scroll.scroll_offset.y >= scroll.max_scroll_y:
            self._all_seen = bool(self._waiting) and not too_long(self._waiting[0].request)
        return self._all_seen

    def _answer(self, verdict: int, reason: str = "") -> None:
        if not self._waiting:
            return
        asked = self._waiting.pop(0)
        words = {_ONCE: "once", _SESSION: "session", _ALWAYS: "always"}
        rule = self._rule if verdict in (_SESSION, _ALWAYS) else None
        answer = UserAnswer(words.get(verdict, "no"), reason, rule)  # type: ignore[arg-type]
        self.post_message(self.Answered(asked.id, answer))
        self._behind = True
        self._begin()

    # What is shown

    def _show_title(self) -> None:
        if not self._waiting:
            return
        request = self._waiting[0].request
        parts: list[tuple[str, str]] = [
            ("Allow this?  ", "bold $text-warning"),
            (one_line(heading(request)), "bold"),
        ]
        if request.diff:
            added, gone = changed_lines(request.diff)
            parts += [(f"  +{added}", "$text-success"), (f" -{gone}", "$text-error")]
        if self.waiting > 1:
            parts.append((f"  ({self.waiting - 1} more waiting)", "dim"))
        self.query_one(".title", Static).update(Content.assemble(*parts))

    def _show_choices(self) -> None:
        if not self._waiting:
            return
        rule = one_line(allowed(self._waiting[0].request, self._rule))
        lines = []
        for index, (text, about) in enumerate(
            (
                ("yes, once", ""),
                ("yes, for this session: ", rule),
                ("yes, always: ", rule),
                ("no", ""),
                ("no, because…", ""),
            )
        ):
            mark = "❯" if index == self._cursor else " "
            style = "bold" if index == self._cursor else ""
            lines.append(Content.assemble((f"{mark} {index + 1} {text}", style), (about, "$text-accent")))
        if self._laid_out and not self._look():
            never = too_long(self._waiting[0].request)
            why = "not all of it can be shown: only a number answers" if never else "PgDn: more · a number answers"
            lines.append(Content.styled(f"  {why}", "bold $text-warning"))
        elif self._kept:
            lines.append(Content.styled("  what you type waits in the composer", "dim"))
        self.query_one(".choices", Static).update(Content("\n").join(lines))

    def _limit(self) -> None:
        """What would be done scrolls; the answers are always seen."""
        size = self.app.size
        # "Allow this?" stands before the title, figures behind it.
        columns = cell_len(one_line(heading(self._waiting[0].request))) + 36
        lines = max(1, min(self._title_lines(), -(-columns // max(1, size.width - MARGIN))))
        self.query_one(".title", Static).styles.max_height = lines
        room = size.height - lines - (9 if size.height >= 18 else 8)  # the answers, and what stands above and below
        self.query_one(VerticalScroll).styles.max_height = max(1, room)

    def _title_lines(self) -> int:
        return 4 if self.app.size.height >= 18 else 2

    def on_resize(self) -> None:
        """There is more room now, or less."""
        if self._waiting:
            self._limit()
            self.call_after_refresh(self._look_again)

    def _look_again(self) -> None:
        """After a change of size: what was marked for the user is not, where it no longer stands beside all of it."""
        if self._waiting and self._laid_out and not self._look():
            self._cursor = None
        self._show_choices()

    # Keys

    def on_key(self, event: events.Key) -> None:
        """Keys that come too soon answer nothing (bindings are looked up after this); nor does text, or a letter in the middle of it."""
        if event.key in _SCROLLING or self._editing:
            return
        text = event.is_printable and event.character is not None and event.character not in _KEYS
        if text:
            self._behind = False
        if text or self._clock() < (self._numbers_from if event.key in _NUMBERS else self._deaf_until):
            event.stop()
            event.prevent_default()
            self._stray(event.character or "")

    def on_paste(self, event: events.Paste) -> None:
        """A paste never answers."""
        if not self._editing:
            event.stop()
            self._stray(event.text)

    def _stray(self, text: str) -> None:
        self._deaf_until = self._numbers_from = max(self._deaf_until, self._clock() + GRACE_S)
        # Behind an answered question it is a key that was held too long, and no text for anybody.
        if not self._behind and (text.isprintable() or len(text) > 1) and text:
            self.post_message(self.Strayed(text))
            self._kept = True
            self._show_choices()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While words are written, keys are text; Escape leaves."""
        return not self._editing or action == "no"

    def action_choose(self, choice: int) -> None:
        """A number, `y` or `n`."""
        self._cursor = choice
        self.action_take()

    def action_yes(self) -> None:
        """`y`: a yes, where all was shown; else it shows more."""
        if self._look():
            self.action_choose(_ONCE)
        else:
            self.action_scroll(1)

    def action_enter(self) -> None:
        """Enter: the marked answer. A yes only where all was shown; without one it shows more."""
        if self._cursor is not None and (self._cursor >= _NO or self._look()):
            self.action_take()
        elif not self._look():
            self.action_scroll(1)

    def action_take(self) -> None:
        """The marked answer."""
        if not self._waiting or self._cursor is None:
            return
        if self._cursor == _BECAUSE:
            self._show_choices()
            self._open_line("reason", "", "what the agent should know or do instead")
        else:
            self._answer(self._cursor)

    def action_no(self) -> None:
        """Escape: out of the line for words; from the question itself it is a no."""
        if self._editing:
            self._close_line()
            self.focus()
        else:
            self._answer(_NO)

    def action_move(self, by: int) -> None:
        """Mark another answer."""
        self._cursor = (0 if by > 0 else 4) if self._cursor is None else (self._cursor + by) % 5
        self._show_choices()

    def action_scroll(self, direction: int) -> None:
        """A page of what would be done."""
        scroll = self.query_one(VerticalScroll)
        scroll.scroll_relative(y=direction * max(1, scroll.size.height - 1), animate=False)
        self.call_after_refresh(self._show_choices)

    def action_edit_rule(self) -> None:
        """Change what "session" and "always" would allow."""
        if self._waiting:
            self._open_line("rule", self._rule or self._waiting[0].request.rule, "TOOL or TOOL(PATTERN)")

    def on_click(self) -> None:
        """The keys are for here again."""
        if not self._editing:
            self.focus()

    # The line for words

    def _open_line(self, what: str, text: str, placeholder: str) -> None:
        self._editing = what
        line = self.query_one(Input)
        line.value, line.placeholder, line.display = text, placeholder, True
        line.cursor_position = len(text)
        line.focus()

    def _close_line(self) -> None:
        self._editing = ""
        self.query_one(Input).display = False

    @on(Input.Submitted)
    def _said(self, message: Input.Submitted) -> None:
        message.stop()
        if self._editing == "reason":
            self._answer(_NO, message.value.strip())
            return
        try:
            self._rule = str(Rule.parse(message.value, file="your rule", key="rule"))
        except UsageError as error:
            self.app.notify(one_line(f"{error.message}; {error.remedy}"), severity="warning", markup=False)
            return
        self._close_line()
        self._cursor = _SESSION
        self._show_choices()
        self.focus()
