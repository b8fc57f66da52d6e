"""`python -m agent.ui.schema` writes docs/events.md from the event classes: names, fields, and what their docstrings say."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterable
from typing import Any, get_args

from agent import events
from agent.llm import messages, stream

HEAD = """\
# Events

`moa run --output-format stream-json` prints one of these a line, and last the object that `json` prints. Each line is a JSON object whose `type` names
it and whose `source` says whose event it is: `main`, a plugin's name, or the id of side work. What their fields hold (`Message`, `Usage`, `Cost` …) is
at the [end](#values). Made by `python -m agent.ui.schema` from `agent/events.py`.
"""
VALUES = "# Values\n\nWhat stands in the fields of events."


def document() -> str:
    """The page, as Markdown."""
    kinds = get_args(events.AgentEvent)
    parts = [HEAD]
    for kind in kinds:
        name = next(field.default for field in dataclasses.fields(kind) if field.name == "type")
        parts.append(_section(str(name), kind, but=("type", "source")))
    parts.append(VALUES)
    parts += [_section(name, value) for name, value in sorted(_values(kinds).items())]
    return "\n\n".join(parts) + "\n"


def _section(name: str, kind: Any, but: tuple[str, ...] = ()) -> str:
    if not dataclasses.is_dataclass(kind):
        return f"## {name}\n\n{_words(kind)}"
    rows = [f"| `{field.name}` | `{_type(field)}` |" for field in _public(kind) if field.name not in but]
    text = inspect.cleandoc(kind.__doc__ or "")
    return "\n".join([f"## {name}\n", text, "", "| field | type |", "| --- | --- |", *rows])


def _words(kind: Any) -> str:
    """What an alias stands for: words, or one of several values."""
    return "One of " + ", ".join(f"`{getattr(each, '__name__', each)}`" for each in get_args(kind)) + "."


def _public(kind: Any) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(kind) if "private" not in field.metadata]


def _type(field: dataclasses.Field[Any]) -> str:
    return str(field.type).replace("|", "\\|")


def _values(kinds: Iterable[Any]) -> dict[str, Any]:
    """Everything that the fields name, and what these name in turn."""
    found: dict[str, Any] = {}
    todo = list(kinds)
    while todo:
        kind = todo.pop()
        if dataclasses.is_dataclass(kind):
            words = " ".join(str(field.type) for field in _public(kind))
            named = [(word, _named(word)) for word in re.findall(r"\b[A-Z]\w+", words)]
        else:
            named = [(str(each.__name__), each) for each in get_args(kind) if inspect.isclass(each)]
        for name, value in named:
            if value is not None and name not in found:
                found[name] = value
                todo.append(value)
    return found


def _named(word: str) -> Any:
    if word in ("Any", "Literal"):
        return None
    return next((getattr(module, word) for module in (events, messages, stream) if hasattr(module, word)), None)


if __name__ == "__main__":
    sys.stdout.write(document())
