"""What of a call has to stand in a question about it, whoever asks."""

from __future__ import annotations

import json

from agent.approval.approval import ApprovalRequest
from agent.text import foreign_json
from agent.text.cleaning import visible


def arguments(request: ApprovalRequest) -> list[tuple[str, str]]:
    """The call's arguments by name, with what can't be seen written out. A single text stands without its name."""
    try:
        found = foreign_json.loads(request.call.arguments)
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


def reason(request: ApprovalRequest) -> str:
    """Why it is asked about, where that is more than the mode; else empty."""
    return f"asked about because {visible(request.why)}" if request.why else ""
