"""The transcript as one text, with nothing folded and nothing cut: for reading in full, and for searching."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch

from agent.text.numbers import plural, span
from agent.ui.text import render
from agent.ui.tui.transcript.items import Answer, Item, Note, Recorded, Showing, Thought, Todo, ToolRun, Typed

OUTCOMES = {"running": "running", "ok": "", "error": "failed", "denied": "not allowed", "cancelled": "stopped"}
TODO = {"pending": "☐", "in_progress": "▸", "done": "✓"}


def whole(items: Iterable[Item], columns: int | None = None) -> str:
    """All of it, an empty line between two items. What commands answered is laid out for so many columns."""
    texts = (_showing(item, columns) if isinstance(item, Showing) else text_of(item) for item in items)
    return "\n\n".join(text for each in texts if (text := each.strip("\n")))


@singledispatch
def text_of(item: Item) -> str:
    """An item as text."""
    raise NotImplementedError(type(item).__name__)


@text_of.register
def _typed(item: Typed) -> str:
    notes = [plural(item.images, "image")] if item.images else []
    notes += [item.how] if item.how else []
    sent = f"\n{_inset(item.sent)}" if item.sent else ""
    return f"› {item.text}" + (f"\n  ({', '.join(notes)})" if notes else "") + sent


@text_of.register
def _answer(item: Answer) -> str:
    head = "" if item.draft is None else f"draft, superseded: {item.draft}\n"
    return head + item.text + (f"\n[{item.mark}]" if item.mark else "")


@text_of.register
def _thought(item: Thought) -> str:
    took = f" for {span(item.seconds, exact=True)}" if item.seconds and item.seconds >= 0.1 else ""
    return f"∴ thought{took}\n{_inset(item.text)}"


@text_of.register
def _tool(item: ToolRun) -> str:
    facts = [OUTCOMES[item.outcome]] if OUTCOMES[item.outcome] else []
    facts += [span(item.seconds, exact=True)] if item.seconds >= 0.1 else []
    head = f"⚙ {item.title}" + (f"  {' · '.join(facts)}" if facts else "")
    bodies = [item.diff or "", item.text or item.progress]
    return "\n".join([head, *(_inset(body) for body in bodies if body.strip())])


@text_of.register
def _note(item: Note) -> str:
    return f"· {item.text}" + (f"\n  {item.remedy}" if item.remedy else "")


@text_of.register
def _record(item: Recorded) -> str:
    return f"◆ {item.record.line}"


@text_of.register
def _todo(item: Todo) -> str:
    done = sum(todo.status == "done" for todo in item.items)
    lines = [f"  {TODO[todo.status]} {todo.text}" for todo in item.items]
    return "\n".join([f"to do: {done} of {len(item.items)} done", *lines])


def _showing(item: Showing, columns: int | None) -> str:
    return f"› {item.command}\n{render(item.view, columns)}"


def _inset(text: str) -> str:
    return "\n".join(f"│ {line}" for line in text.rstrip("\n").split("\n"))
