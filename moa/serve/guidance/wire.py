"""What the three wires have in common for guidance: read a body's items, change one, and take down what an answer is known by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from moa.serve.guidance.pieces import Piece

Item = dict[str, Any]


class Host(NamedTuple):
    """A tool result that guidance can stand in: the index of its item, of its block in there (None: it is the item), the call's id."""

    item: int
    block: int | None
    call: str


class Answer(Protocol):
    """An answer on its way to the client. It takes what the client gets, event by event or as a whole, and keeps what a later request
    can be known by."""

    response: str
    """The id under which the endpoint keeps it; empty where it has none that a client can name."""

    def event(self, payload: dict[str, Any]) -> None:
        """One event of the stream, as JSON."""
        ...

    def whole(self, body: dict[str, Any]) -> None:
        """An answer that was not streamed."""
        ...

    def items(self) -> list[Item]:
        """The items that a client will send back, as far as they matter here."""
        ...


class Bodies:
    """What the wires' bodies share."""

    key = "messages"

    def items(self, body: dict[str, Any]) -> list[Any]:
        """The list of items."""
        found = body.get(self.key)
        return found if isinstance(found, list) else []

    def is_of_reply(self, item: Any) -> bool:
        """Whether an item belongs to a reply of the model's."""
        return isinstance(item, dict) and item.get("role") == "assistant"

    def behind_reply(self, items: Sequence[Any], stop: int) -> range:
        """The items between the last reply before `stop` and that."""
        start = stop
        while start and not self.is_of_reply(items[start - 1]):
            start -= 1
        return range(start, stop)


def with_more(item: Item, part: Item, text: str) -> Item:
    """A message with `text` behind what it says: as `part`, where it consists of parts."""
    content = item.get("content")
    if isinstance(content, list):
        return {**item, "content": [*content, part]}
    return {**item, "content": (content if isinstance(content, str) else "") + text}


class Wire(Protocol):
    """One wire format."""

    name: str
    key: str
    """Of the list of items in a body."""

    def items(self, body: dict[str, Any]) -> list[Any]:
        """The conversation's items. Empty where the body has none."""
        ...

    def pieces(self, items: Sequence[Any], first: int = 0) -> list[Piece]:
        """What the items say, in order; the first has the index `first`."""
        ...

    def hosts(self, items: Sequence[Any], stop: int) -> list[Host]:
        """The tool results that stand between the item before `stop` and the reply before it, in order."""
        ...

    def place(self, items: Sequence[Any], stop: int) -> int:
        """Where a user message of its own goes that is to stand before the item `stop`: its index in the list as the client sent it."""
        ...

    def ends_with_results(self, items: Sequence[Any]) -> bool:
        """Whether nothing but a program's reminders stands behind the last tool results."""
        ...

    def with_end(self, item: Item, block: int | None, text: str) -> Item:
        """The item with `text` as the end of the tool result that `block` is."""
        ...

    def joined(self, item: Item, text: str) -> Item | None:
        """A user's item with `text` as its end; None where it is none."""
        ...

    def message(self, text: str) -> Item:
        """A user message of its own."""
        ...

    def without_thoughts(self, item: Item, *, all: bool) -> Item | None:
        """The item without the thoughts that are bound to what stands before them; `all`: without those that an endpoint may refuse, too.
        None where nothing is left of it; the same object where it has none."""
        ...

    def answer(self) -> Answer:
        """For one answer."""
        ...
