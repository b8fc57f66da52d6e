"""The wires that a client may speak. A new one is one module and one row here.

Beside them stand: how guidance is put into its bodies (`moa.serve.guidance`), what its events say of themselves (`moa.serve.events`),
and its route (`moa.serve.app`).
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from moa.serve.wires.wire import ClientWire

# Its name, and the class, which is imported by the first request that speaks it.
WIRES: dict[str, str] = {
    "messages": "moa.serve.wires.messages:MessagesWire",
    "responses": "moa.serve.wires.responses:ResponsesWire",
    "chat": "moa.serve.wires.chat:ChatWire",
}


@cache
def wire_named(name: str) -> ClientWire:
    """The wire of that name; it has no state, so one serves all. Raises KeyError for a name that is not in the table."""
    module, _colon, attribute = WIRES[name].partition(":")
    return cast("ClientWire", getattr(import_module(module), attribute)())
