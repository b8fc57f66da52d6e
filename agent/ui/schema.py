"""`python -m agent.ui.schema` writes docs/events.md from the event classes: names, fields, and what their docstrings say."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import get_args

from agent import events

HEAD = """\
# Events

`moa run --output-format stream-json` prints one of these a line, and last the object that `json` prints. Each line is a JSON object whose `type` names
it and whose `source` says whose event it is: `main`, a plugin's name, or the id of side work. Made by `python -m agent.ui.schema` from `agent/events.py`.
"""


def document() -> str:
    """The page, as Markdown."""
    parts = [HEAD]
    for kind in get_args(events.AgentEvent):
        fields = dataclasses.fields(kind)
        name = next(field.default for field in fields if field.name == "type")
        rows = [
            f"| `{field.name}` | `{field.type}` |".replace(" | ", " \\| ").replace("` \\| `", "` | `")
            for field in fields
            if field.name not in ("type", "source")
        ]
        parts.append(
            "\n".join(
                [f"## {name}\n", inspect.cleandoc(kind.__doc__ or ""), "", "| field | type |", "| --- | --- |", *rows]
            )
        )
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
