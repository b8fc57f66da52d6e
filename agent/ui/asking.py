"""What a question about a call shows in every face: all of it, and nothing in it unseen."""

from __future__ import annotations

import json

from agent.approval import ApprovalRequest
from agent.ui.text import visible

MOST_CHARS = 20_000
"""Characters of an argument that are shown; what is beyond is counted."""


def arguments(request: ApprovalRequest) -> list[tuple[str, str]]:
    """The call's arguments by name, with what can't be seen written out. A single text stands without its name."""
    try:
        found = json.loads(request.call.arguments)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return [("", visible(request.call.arguments))]
    if len(found) == 1 and isinstance(only := next(iter(found.values())), str):
        return [("", visible(only))]
    return [
        (visible(name), visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
        for name, value in found.items()
    ]


def unshown(text: str) -> str:
    """In so many words what of a text is beyond `MOST_CHARS`; empty where nothing is."""
    return f"… and {len(text) - MOST_CHARS:,} more characters that are not shown" if len(text) > MOST_CHARS else ""


def in_lines(request: ApprovalRequest) -> list[str]:
    """The arguments as lines below the title, for faces that print; none where the title has said it all."""
    parts = arguments(request)
    if len(parts) == 1 and "\n" not in parts[0][1] and visible(request.title).endswith(parts[0][1]):
        return []
    lines = []
    for name, text in parts:
        shown = [*text[:MOST_CHARS].split("\n"), *filter(None, [unshown(text)])]
        first, *rest = [f"{name}: {shown[0]}" if name else shown[0], *shown[1:]]
        lines += [f"  │ {first}", *(f"  │ {line}" for line in rest)]
    return lines
