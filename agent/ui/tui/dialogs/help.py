"""F1: the keys that work, read from the widgets themselves, and the commands, read from their table. Nothing here is kept by hand."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Input, TextArea

from agent.commands import CommandTable
from agent.ui.tui.text.blocks import Block, Prose

_NAMES = {
    "PanelView": "Active members",
    "Editor": "Editing",
    "Entry": "Transcript entry",
    "ViewEntry": "Shown answer",
    "ApprovalBar": "A question",
}

Keys = dict[str, list[str]]
"""Keys by what they do."""


class Help(ModalScreen[None]):
    """Keys and commands on one page that scrolls."""

    DEFAULT_CSS = """
    Help { align: center middle; }
    Help > VerticalScroll {
        width: 90%; max-width: 100; height: auto; max-height: 90%;
        padding: 0 2 1 2; background: $surface; border: round $primary;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q,question_mark", "dismiss", "Close")]

    def __init__(self, below: Screen[object], commands: CommandTable | None) -> None:
        super().__init__()
        self._page = page(below, commands)

    def compose(self) -> ComposeResult:
        """The page."""
        with VerticalScroll() as scroll:
            scroll.border_subtitle = "↑↓ PgUp PgDn read on · Esc closes"
            yield Prose(self._page)


def page(screen: Screen[object], commands: CommandTable | None) -> list[Block]:
    """The help page for a screen: what works where the focus is, then elsewhere on it, then the commands; the editing of text is last."""
    chain = (
        []
        if screen.focused is None
        else [node for node in screen.focused.ancestors_with_self if node is not screen.app]
    )
    editing, sections, seen = list[tuple[str, Keys]](), list[tuple[str, Keys]](), set[str]()
    for node in [*chain, screen.app]:
        # All of its keys, also those that a text field takes first and hands on.
        keys = _of(node, seen)
        (editing if isinstance(node, TextArea | Input) else sections).append((_name(node), keys))
        seen |= set(keys)
    for widget in screen.walk_children(Widget):
        if widget not in chain and widget.can_focus and not widget.disabled:
            keys = _of(widget, seen)
            sections.append((f"{_name(widget)} (with the focus there)", keys))
            seen |= set(keys)
    lines = [line for title, keys in sections for line in _section(title, keys)]
    if commands is not None:
        lines += _section("Commands", {_summary(name, commands): [f"/{name}"] for name in sorted(commands.commands)})
    lines += [line for title, keys in editing for line in _section(title, keys)]
    return lines


def _summary(name: str, commands: CommandTable) -> str:
    command = commands.commands[name]
    return f"{command.summary}" + (f"  {command.args_hint}" if command.args_hint else "")


def _of(widget: DOMNode, seen: set[str]) -> Keys:
    keys: Keys = {}
    for _, binding in widget._bindings:
        text = binding.tooltip or binding.description
        if text and text not in seen and not binding.system:
            keys.setdefault(text, []).append(widget.app.get_key_display(binding))
    return keys


def _name(widget: DOMNode) -> str:
    return str(getattr(widget, "BINDING_GROUP_TITLE", None) or _NAMES.get(type(widget).__name__, type(widget).__name__))


def _section(title: str, keys: Keys) -> list[Block]:
    if not keys:
        return []
    rows = [(" ".join(dict.fromkeys(names)), text) for text, names in keys.items()]
    wide = min(22, max(len(names) for names, _ in rows))
    below = Content(" " * (wide + 4))
    lines = [
        Block(Content(text), first=Content.styled(f"  {names:<{wide}}  ", "bold"), rest=below) for names, text in rows
    ]
    return [Block(Content.styled(title, "bold $text-primary"), gap=True), *lines]
