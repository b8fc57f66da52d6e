"""F1: the keys that work, read from the widgets themselves, and the commands, read from their table. Nothing here is kept by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from agent.commands import CommandTable

Keys = dict[str, list[str]]
"""Keys by what they do."""


class Help(ModalScreen[None]):
    """Keys and commands on one page that scrolls."""

    DEFAULT_CSS = """
    Help { align: center middle; }
    Help > VerticalScroll {
        width: 90%; max-width: 100; height: auto; max-height: 90%;
        padding: 1 2; background: $surface; border: round $primary;
    }
    Help Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss", "Close")]

    def __init__(self, below: Screen[object], commands: CommandTable | None) -> None:
        super().__init__()
        self._page = page(below, commands)

    def compose(self) -> ComposeResult:
        """The page."""
        with VerticalScroll():
            yield Static(self._page)


def page(screen: Screen[object], commands: CommandTable | None) -> Content:
    """The help page for a screen: what works where the focus is, then what works elsewhere on it, then the commands."""
    sections = [("Keys", _here(screen.active_bindings.values(), screen.app.get_key_display))]
    seen: set[str] = {action for _, keys in sections for action in keys}
    for widget in screen.walk_children(Widget):
        if not widget.display or widget.disabled or widget.has_focus:
            continue
        keys = _of(widget, seen)
        if keys:
            sections.append((f"With the focus in: {_name(widget)}", keys))
            seen |= set(keys)
    lines = [line for title, keys in sections for line in _section(title, keys)]
    if commands is not None:
        lines += _section("Commands", {_summary(name, commands): [f"/{name}"] for name in sorted(commands.commands)})
    return Content("\n").join(lines[:-1])


def _summary(name: str, commands: CommandTable) -> str:
    command = commands.commands[name]
    return f"{command.summary}" + (f"  {command.args_hint}" if command.args_hint else "")


def _here(active: Iterable[ActiveBinding], display: object) -> Keys:
    keys: Keys = {}
    for entry in active:
        binding = entry.binding
        if binding.description and not binding.system:
            keys.setdefault(entry.tooltip or binding.description, []).append(_key(entry.node, binding))
    return keys


def _of(widget: DOMNode, seen: set[str]) -> Keys:
    keys: Keys = {}
    for _, binding in widget._bindings:
        text = binding.tooltip or binding.description
        if text and text not in seen and not binding.system:
            keys.setdefault(text, []).append(_key(widget, binding))
    return keys


def _key(node: DOMNode, binding: Binding) -> str:
    return node.app.get_key_display(binding)


def _name(widget: DOMNode) -> str:
    return str(getattr(widget, "BINDING_GROUP_TITLE", None) or type(widget).__name__)


def _section(title: str, keys: Keys) -> list[Content]:
    if not keys:
        return []
    rows = [(" ".join(dict.fromkeys(names)), text) for text, names in keys.items()]
    wide = min(22, max(len(names) for names, _ in rows))
    lines = [Content.styled(title, "bold $text-primary")]
    lines += [Content.styled(f"  {names:<{wide}}  ", "bold") + Content(text) for names, text in rows]
    return [*lines, Content("")]
