"""A group of side work in full, over the whole screen: what its plugin shows of it, and how the work went."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from agent.ui.tui.counsel.inspection import Part, Tab, about, tabs
from agent.ui.tui.counsel.side_log import Group, SideLog
from agent.ui.tui.text.blocks import Block, Prose
from agent.ui.tui.text.tab_line import TabLine
from agent.ui.tui.text.views import view_widget

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.widget import Widget

    from agent.events import Record
    from agent.views import View

LOOK_S = 0.5
"""How often it looks whether a group that is still at work has got further."""


class Inspector(Screen[None]):
    """Looks into a `SideLog`, beginning with one of its groups (by default the newest). `view` is how a record looks in full."""

    DEFAULT_CSS = """
    Inspector { layout: vertical; background: $background; }
    Inspector > #about { height: auto; max-height: 3; padding: 0 1; }
    Inspector > #hints { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    Inspector > #hints { color: $text-muted; }
    Inspector > TabLine { margin: 0 0 0 0; background: $surface; }
    Inspector > VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    Inspector ViewTable { margin: 1 0 0 0; }
    """
    # The arrows come before the scroll bar's own, which has nothing to scroll sideways.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "close"),
        Binding("left", "step(-1)", "earlier", priority=True),
        Binding("right", "step(1)", "later", priority=True),
        Binding("tab", "turn(1)", "next tab", priority=True),
        Binding("shift+tab", "turn(-1)", "previous tab", priority=True),
        *(Binding(str(number), f"tab({number - 1})", f"tab {number}", show=False) for number in range(1, 10)),
    ]

    def __init__(self, work: SideLog, view: Callable[[Record], View], group: str | None = None) -> None:
        super().__init__()
        self._work = work
        self._view_of = view
        self._at = group
        self._viewed: tuple[Record, View] | None = None
        self._seen: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Which, tabs, body, keys."""
        yield Static(id="about")
        line = TabLine(())
        line.can_focus = False
        yield line
        yield VerticalScroll()
        yield Static(id="hints")

    async def on_mount(self) -> None:
        """Show it, and look on while it is at work."""
        self.query_one(VerticalScroll).focus()
        await self._show()
        self.set_interval(LOOK_S, self._look)

    @property
    def group(self) -> Group | None:
        """The group that is shown."""
        groups = self._work.inspectable()
        return next((group for group in groups if group.id == self._at), groups[-1] if groups else None)

    async def _look(self) -> None:
        if self._state() != self._seen:
            await self._show(keep=True)

    def _state(self) -> tuple[object, ...]:
        group = self.group
        if group is None:
            return ()
        return (group.id, len(group.sides), len(group.running), id(group.record))

    def _view(self, record: Record | None) -> View | None:
        """The record's View, made once."""
        if record is None:
            return None
        if self._viewed is None or self._viewed[0] is not record:
            self._viewed = record, self._view_of(record)
        return self._viewed[1]

    async def _show(self, *, keep: bool = False) -> None:
        group, body = self.group, self.query_one(VerticalScroll)
        self._seen = self._state()
        line, head, found = self.query_one(TabLine), Content.styled("Nothing to open yet.", "bold"), list[Tab]()
        if group is not None:
            groups = self._work.inspectable()
            head = about(group, groups.index(group) + 1, len(groups))
            found = tabs(group, self._view(group.record), self._work.clock())
        line.entitle([tab.title for tab in found])
        parts = found[line.chosen].parts if found else []
        self.query_one("#about", Static).update(head)
        self.query_one("#hints", Static).update(
            Content.styled(_hints(len(found), several=len(self._work.inspectable()) > 1), "dim"), layout=False
        )
        async with body.batch():
            await body.remove_children()
            await body.mount(*_widgets(parts))
        if not keep:
            body.scroll_home(animate=False)

    @on(TabLine.Chosen)
    async def _turned(self, message: TabLine.Chosen) -> None:
        message.stop()
        await self._show()

    def action_turn(self, by: int) -> None:
        """The next tab."""
        self.query_one(TabLine).action_move(by)

    def action_tab(self, index: int) -> None:
        """A tab by its number."""
        self.query_one(TabLine).choose(index)

    async def action_step(self, by: int) -> None:
        """An earlier group, or a later one."""
        groups, group = self._work.inspectable(), self.group
        if group is None:
            return
        index = groups.index(group) + by
        if 0 <= index < len(groups):
            self._at = groups[index].id
            await self._show()

    def action_close(self) -> None:
        """Back to the conversation."""
        self.dismiss(None)


def _widgets(parts: list[Part]) -> list[Widget]:
    """Blocks that follow each other make one text, which can be selected as one."""
    widgets: list[Widget] = []
    for is_block, run in groupby(parts, key=lambda part: isinstance(part, Block)):
        if is_block:
            widgets.append(Prose([part for part in run if isinstance(part, Block)]))
        else:
            widgets += [view_widget(part) for part in run if not isinstance(part, Block)]
    return widgets


def _hints(tabs: int, *, several: bool) -> str:
    """The keys that do something here."""
    hints = ["←→ earlier, later"] if several else []
    hints += [f"tab 1-{tabs}"] if tabs > 1 else []
    return " · ".join([*hints, "↑↓ scroll", "esc close"])
