"""The three wires by their names."""

from __future__ import annotations

from moa.serve.guidance.chat import ChatBodies
from moa.serve.guidance.messages import MessagesBodies
from moa.serve.guidance.responses import ResponsesBodies
from moa.serve.guidance.wire import Wire

WIRES: dict[str, type[Wire]] = {"messages": MessagesBodies, "responses": ResponsesBodies, "chat": ChatBodies}


def wire_of(name: str) -> Wire:
    """`messages`, `responses` or `chat`."""
    return WIRES[name]()
