"""What plugins say of the records that they made: the line in the transcript, and the whole. Nobody else reads a record's data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.hooks import ask_all
from agent.session.tree import PlacedRecord
from agent.views import TreeView, View

if TYPE_CHECKING:
    from agent.events import Record
    from agent.plugin import Plugin

MOST = 200
"""Entries of a list, or of a table, that are shown where no plugin knows better."""


def told_in_place(plugins: Iterable[Plugin], placed: Iterable[PlacedRecord]) -> tuple[PlacedRecord, ...]:
    """Records with their lines. One that was kept without (by an older version) gets it from its plugin, where that has one for it."""
    plugins = tuple(plugins)
    return tuple(PlacedRecord(_told(plugins, each.record), each.after) for each in placed)


def view_of(plugins: Iterable[Plugin], record: Record, tell: Callable[[str], object] = lambda _text: None) -> View:
    """A record in full, as its plugin shows it; else its line and its data. `tell` is given a line about a plugin that fails."""
    found = ask_all(_owners(plugins, record), "view", lambda plugin: plugin.view(record.kind, record.data), tell)
    shown = next((view for _, view in found if view is not None), None)
    return shown or TreeView(label=record.line or record.kind, children=_plain(record.data))


def _told(plugins: Sequence[Plugin], record: Record) -> Record:
    if record.line or record.group:
        return record
    found = ask_all(
        _owners(plugins, record), "record_line", lambda plugin: plugin.record_line(record.kind, record.data)
    )
    said = next((said for _, said in found if said is not None), None)
    return record if said is None else replace(record, line=said.line, level=said.level, group=said.group)


def _owners(plugins: Iterable[Plugin], record: Record) -> list[Plugin]:
    """Whose record it is: the plugin that made it, else whoever makes such ones."""
    plugins = tuple(plugins)
    own = [plugin for plugin in plugins if plugin.name == record.source]
    return own or [plugin for plugin in plugins if record.kind in plugin.records]


def _plain(value: Mapping[str, Any] | Sequence[Any]) -> tuple[TreeView, ...]:
    """Plain data as leaves and branches."""
    named = value.items() if isinstance(value, Mapping) else enumerate(value, 1)
    return tuple(_leaf(str(name), item) for name, item in list(named)[:MOST])


def _leaf(name: str, item: Any) -> TreeView:
    if isinstance(item, Mapping | list | tuple):
        return TreeView(label=name, children=_plain(item))
    text = "" if item is None else str(item)
    return TreeView(label=name, text=text) if "\n" in text or len(text) > 60 else TreeView(label=f"{name}: {text}")
