"""Who is at work beside the main model: one line each, from the moment it starts. Any side work, whoever's it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from agent.events import Cost
from agent.llm.money import show_cost
from agent.text.numbers import count, span
from agent.ui import words
from agent.ui.tui.counsel.side_log import Group, Side, SideLog
from agent.ui.tui.text.cells import SPINNER, fit, one_line, tail

if TYPE_CHECKING:
    from textual import events
    from textual.timer import Timer

RATE = 8
"""Repaints a second, at most; and none where nothing that is shown has changed."""

LINGER_S = 2.0
"""How long the end of a work that nobody has summed up can be seen."""

_ENDS = {
    "answered": ("✓", "$text-success", "answered"),
    "failed": ("✗", "$text-error", "failed"),
    "cancelled": ("-", "dim", "stopped"),
    "late": ("✓", "$text-warning", "late"),
}
_STATES = {"soft_deadline": "slow"}


class PanelView(Widget, can_focus=True):
    """The roster. No height while nobody works; a timer only while somebody does."""

    DEFAULT_CSS = """
    PanelView {
        display: none; height: 1; width: 1fr; padding: 0 1;
        text-wrap: nowrap; text-overflow: clip;
        background: $surface; border-left: outer $surface-lighten-1;
    }
    PanelView:focus { border-left: outer $accent; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"stop({number})", f"stop number {number}", show=False) for number in range(1, 9)),
        Binding("g", "go", "continue with the answers so far"),
        Binding("enter", "inspect", "open it"),
    ]

    @dataclass
    class Command(Message):
        """A slash command that a key stands for."""

        line: str

    @dataclass
    class InspectRequested(Message):
        """The user wants to see a group in full."""

        group: str

    class Emptied(Message):
        """Nobody is at work any more, and the keys were here: they belong to the composer again."""

    def __init__(self, work: SideLog | None = None, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.work = SideLog() if work is None else work
        self._timer: Timer | None = None
        self._shown: Content = Content()
        self._at: list[str] = []

    # What comes in

    def apply(self, event: object) -> None:
        """Take an event in. Cheap: what it changes is painted with the next tick."""
        if not self.work.apply(event) or self._timer is not None or not self.is_mounted:
            return
        if self._roster():
            self._timer = self.set_interval(1 / self._rate, self.tick)
            self.tick()

    def on_mount(self) -> None:
        """What was told before there was a screen."""
        if self._roster():
            self._timer = self.set_interval(1 / self._rate, self.tick)
            self.tick()

    @property
    def _still(self) -> bool:
        return self.app.animation_level == "none"

    @property
    def _rate(self) -> float:
        # Without motion there is no spinner; the clocks go on, once a second.
        return 1 if self._still else RATE

    # What is shown

    def tick(self) -> None:
        """Paint what has changed. A timer calls it while somebody works."""
        roster = self._roster()
        if not roster:
            self._sleep()
            return
        lines = self._lines(roster)
        content = Content("\n").join(lines)
        if self.styles.height is None or self.styles.height.value != len(lines) or not self.display:
            self.styles.height = len(lines)
            self.display = True
        if not content.is_same(self._shown):
            self._shown = content
            self.refresh(layout=False)

    def _sleep(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._shown, self._at = Content(), []
        focused = self.has_focus and self.display
        self.display = False
        if focused:
            self.post_message(self.Emptied())

    def render(self) -> Content:
        """The lines of the last tick."""
        return self._shown

    def on_focus(self) -> None:
        """The keys work now."""
        self._now()

    def on_blur(self) -> None:
        """They no longer do."""
        self._now()

    def on_resize(self, _event: events.Resize) -> None:
        """Columns follow the width at once."""
        self._now()

    def _now(self) -> None:
        if self._timer is not None:
            self.tick()

    def _roster(self) -> list[tuple[Group, Side]]:
        """The newest group first, whole while it is open; of older ones what still runs or has just ended late."""
        now = self.work.clock()
        rows: list[tuple[Group, Side]] = []
        for group in reversed(list(self.work.groups.values())):
            sides = list(group.sides.values())
            busy = any(side.finished is None for side in sides)
            if not group.closed and (busy or any(now - side.ended < LINGER_S for side in sides)):
                rows += [(group, side) for side in sides]
                continue
            rows += [
                (group, side)
                for side in sides
                if side.finished is None or (side.overtaken and now - side.ended < LINGER_S)
            ]
        return rows

    def _lines(self, roster: list[tuple[Group, Side]]) -> list[Content]:
        width = max(1, (self.content_size.width or self.app.size.width - 4))
        room = max(4, self.app.size.height // 2 - 1)
        shown = roster
        if len(roster) >= room:  # who still works is the news
            shown = sorted(roster, key=lambda row: row[1].finished is not None)[: room - 2]
        labels = max((cell_len(one_line(_name(side))) for _group, side in shown), default=0)
        self._at = [roster[0][0].id, *(group.id for group, _side in shown)]
        lines = [self._head(roster, width), *(self._row(side, width, labels) for _group, side in shown)]
        if len(shown) < len(roster):
            self._at.append(roster[0][0].id)
            lines.append(Content.styled(fit(f"  and {len(roster) - len(shown)} more", width), "dim"))
        return lines

    def _head(self, roster: list[tuple[Group, Side]], width: int) -> Content:
        group = roster[0][0]
        sides = [side for of, side in roster if of is group]
        now = self.work.clock()
        ended = [side.finished for side in sides if side.finished is not None]
        stand = f"{len(sides)} late" if group.closed else _answered(sides)
        parts = [group.source or "side work", stand, span(now - min(side.since for side in sides))]
        if ended:
            known = [end.cost.usd for end in ended if end.cost.usd is not None]
            bound = len(known) < len(ended) or any(end.cost.lower_bound for end in ended)
            parts.append(words.money(Cost(usd=sum(known) if known else None, lower_bound=bound)))
        said = one_line(" · ".join(parts))
        keys = self._keys()
        if len(said) + len(keys) + 2 > width:
            return Content.styled(fit(said, width), "bold")
        return Content.assemble((fit(said, width - len(keys)), "bold"), (keys, "dim"))

    def _keys(self) -> str:
        stoppable = sorted(_stoppable(self.work))
        hints = ["g continue"] if self._go_line() else []
        if stoppable:
            hints.append(f"{stoppable[0]}-{stoppable[-1]} stop" if len(stoppable) > 1 else f"{stoppable[0]} stop")
        # From the composer, F2 leads here.
        return ("" if self.has_focus else "F2: ") + " · ".join([*hints, "enter open"])

    def _row(self, side: Side, width: int, labels: int) -> Content:
        """Glyph, key and name, state; then, as far as there is room: model, time, tokens, cost, last words."""
        now = self.work.clock()
        glyph, style, state = self._state(side, now)
        end = side.finished
        name = one_line(_name(side))
        wide = fit(name, min(labels, max(8, width // 4 if width >= 56 else width - 20)))
        parts: list[tuple[str, str]] = [(f"{glyph} ", style), (f"{_key(side)} ", "dim"), (f"{wide} ", "bold")]
        model = one_line((end.model_served if end else None) or side.started.model.partition(":")[2]).rpartition("/")[2]
        if width >= 100:
            # A member is called after its model, most often: the column has what the name does not say.
            parts.append((f"{fit('' if model in name else model, 24)} ", "dim"))
        parts.append((f"{fit(state, 8)} ", style))
        parts.append((fit(span(side.elapsed(now), exact=end is not None), 6, right=True), ""))
        if width >= 56:
            parts.append((fit(_tokens(side), 7, right=True), "dim"))
        if width >= 66:
            cost = show_cost(end.cost.usd, end.cost.lower_bound) if end else ""
            parts.append((fit(cost, 12, right=True), "dim"))
        rest = width - sum(Content(text).cell_length for text, _style in parts) - 2
        if rest >= 8:
            parts.append(("  " + _words(side, rest), "$text-error" if end and end.error else "dim"))
        return Content.assemble(*parts).truncate(width)

    def _state(self, side: Side, now: float) -> tuple[str, str, str]:
        if side.finished is not None:
            return _ENDS[side.finished.outcome]
        state = side.progress.state if side.progress else "queued"
        word = "late" if side.overtaken else _STATES.get(state, state)
        if state == "queued":
            return "·", "dim", word
        style = "$text-warning" if side.slow or side.overtaken or state == "retrying" else "$text-accent"
        return "•" if self._still else SPINNER[int(now * 4) % len(SPINNER)], style, word

    # Keys

    def stop(self, number: int) -> bool:
        """Stop the work with this number. False where there is none that can be stopped."""
        line = _stoppable(self.work).get(str(number))
        if line is None:
            return False
        self.post_message(self.Command(line))
        return True

    def go_on(self) -> bool:
        """Go on with what is in. False where nothing waits."""
        line = self._go_line()
        if line is None:
            return False
        self.post_message(self.Command(line))
        return True

    def _go_line(self) -> str | None:
        waited = (side.started.go for group in self.work.groups.values() if not group.closed for side in group.running)
        return next((line for line in waited if line), None)

    def action_stop(self, number: int) -> None:
        """A number was pressed."""
        self.stop(number)

    def action_go(self) -> None:
        """`g` was pressed."""
        self.go_on()

    def action_inspect(self) -> None:
        """Enter: the group on top."""
        if roster := self._roster():
            self.post_message(self.InspectRequested(roster[0][0].id))

    def on_click(self, event: events.Click) -> None:
        """A line was clicked: its group."""
        if 0 <= event.y < len(self._at):
            self.post_message(self.InspectRequested(self._at[event.y]))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        if action == "stop":
            return str(parameters[0]) in _stoppable(self.work)
        if action == "go":
            return self._go_line() is not None
        return True


def _answered(sides: list[Side]) -> str:
    """`2 of 3 answered`, and how many ended otherwise; of those that were asked first, not of who then reads their answers."""
    sides = [side for side in sides if side.started.kind == sides[0].started.kind]
    ends = [side.finished.outcome for side in sides if side.finished is not None]
    lost = (("failed", ends.count("failed")), ("stopped", ends.count("cancelled")))
    answered = len(ends) - sum(number for _word, number in lost)
    said = f"{answered} of {len(sides)} answered"
    return said + "".join(f", {number} {word}" for word, number in lost if number)


def _stoppable(work: SideLog) -> dict[str, str]:
    """The commands that stop what is running, by the key that stands for each: the number that ends the command."""
    lines = (side.started.stop for group in work.groups.values() for side in group.running)
    return {line[-1]: line for line in lines if line and line[-1].isdigit()}


def _key(side: Side) -> str:
    line = side.started.stop
    return line[-1] if line and line[-1].isdigit() else " "


def _name(side: Side) -> str:
    """Its label: without the number that stands in front of it anyway; where there is none, with what kind of work it is."""
    begun, key = side.started, _key(side)
    if key.strip():
        return begun.label.removeprefix(f"{key} ")
    return begun.label if begun.label.startswith(begun.kind) else f"{begun.kind} {begun.label}"


def _tokens(side: Side) -> str:
    if side.finished is not None and side.finished.usage is not None:
        return count(side.finished.usage.completion)
    return f"~{count(side.progress.tokens)}" if side.progress and side.progress.tokens else ""


def _words(side: Side, cells: int) -> str:
    end = side.finished
    if end is not None and end.error is not None:
        kind = "" if end.outcome == "cancelled" else f"{end.error.kind}: "
        return fit(one_line(kind + end.error.message), cells)
    if end is not None:
        return fit(one_line(words.said(end)[:400]), cells)
    said = side.progress.last_words if side.progress else ""
    return tail(one_line(said), cells) if said else fit(one_line(side.started.role or ""), cells)
