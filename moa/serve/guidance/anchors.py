"""How a reply of ours is known again in a later request: the upstream's own ids, else its text behind the words that it answered.

An anchor that is written down is a hash, under the client's key and the upstream: nobody can read it, and nobody meets another key's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from moa.serve.guidance.pieces import Piece, Running, digest_of
from moa.serve.guidance.wire import Answer, Wire

_RANDOM = re.compile(r"(?=[A-Za-z0-9]*[0-9])(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{12,}|[0-9]{18,}")


@dataclass(frozen=True, slots=True)
class Anchor:
    """Something that a reply is known by. `strong`: only one reply in the world has it. A counter (`functions.read:0`), or a text, is
    none: then what the reply answered has to be the same, too."""

    value: str
    strong: bool = False

    def under(self, key: str, upstream: str) -> bytes:
        """As it is written down."""
        words = "\0".join((key, upstream, self.value)).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(words, digest_size=16, person=b"moa-anchor").digest()


@dataclass(frozen=True, slots=True)
class Part:
    """One item of a reply, as it stands in a request.

    `name` is what it is called where nobody knows it. `before` is the hash of the whole conversation before its reply, `lead` of what was
    said since the reply before it. `adjacent`: nothing stands between it and the item of a reply before it.
    """

    at: int
    anchors: tuple[Anchor, ...]
    name: str
    before: str
    lead: str
    adjacent: bool


def anchors_of(pieces: Sequence[Piece], lead: str) -> tuple[Anchor, ...]:
    """What an item of a reply is known by, the best first. `lead` is the hash of what it answered."""
    found: dict[Anchor, None] = {}
    for piece in pieces:
        sealed = piece.kind == "thought"
        for kind, name in (("item", piece.item), ("seal" if sealed else "call", piece.id)):
            if name:
                found[Anchor(f"{kind} {name}", kind == "seal" or bool(_RANDOM.search(name)))] = None
    if words := said(pieces):
        found[Anchor(f"text {_hash(words)} {lead}")] = None
    return tuple(found)


def newest(before: str) -> Anchor:
    """Of the newest place, until its reply has ended: the conversation before it. It finds the same request again."""
    return Anchor(f"newest {before}")


def unended(before: str) -> Anchor:
    """Of a reply that never ended: the conversation before it. It has no ids that a client would send back."""
    return Anchor(f"unended {before}")


def item(name: str) -> Anchor:
    """Of a reply that has an item of that name."""
    return Anchor(f"item {name}", bool(_RANDOM.search(name)))


def stored_at(response: str) -> Anchor:
    """Of a reply that the endpoint keeps: its id, which a client names as `previous_response_id`."""
    return Anchor(f"response {response}", True)


def anchors_of_answer(wire: Wire, answer: Answer, lead: str) -> tuple[Anchor, ...]:
    """What a whole answer will be known by."""
    found: dict[Anchor, None] = {}
    for _at, pieces in _by_item(wire.pieces(answer.items())):
        found |= dict.fromkeys(anchors_of(pieces, lead))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Pause:
    """A place between two items of which none is a reply's: a request may have ended here, and never got one. `before` as in `Part`."""

    at: int
    before: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a request's conversation holds: its pieces, the items of replies in it and the pauses between others (in their order), the hash
    of all, and of what was said since the last reply."""

    pieces: tuple[Piece, ...]
    marks: tuple[Part | Pause, ...]
    place: str
    lead: str

    @property
    def parts(self) -> tuple[Part, ...]:
        """The items of replies."""
        return tuple(mark for mark in self.marks if isinstance(mark, Part))

    def anchors(self) -> set[Anchor]:
        """Everything by which a row may be found."""
        found = {newest(self.place), *(unended(mark.before) for mark in self.marks)}
        return found.union(*(part.anchors for part in self.parts))


NOTHING = Reading((), (), "", "")
"""Of a conversation that was not read."""


def read(wire: Wire, items: Sequence[Any]) -> Reading:
    """One pass over a conversation."""
    pieces = wire.pieces(items)
    running, since = Running(), list[Piece]()
    marks: list[Part | Pause] = []
    before = lead = ""
    replying = False
    for at, own in _by_item(pieces):
        if own[0].role == "assistant":
            if not replying:
                before, lead = running.digest(), digest_of(since)
                since = []
            marks.append(Part(at, anchors_of(own, lead), _name(own), before, lead, replying))
        else:
            if since:
                marks.append(Pause(at, running.digest()))
            since += own
        replying = own[0].role == "assistant"
        for piece in own:
            running.add(piece)
    return Reading(tuple(pieces), tuple(marks), running.digest(), digest_of(since))


def said(pieces: Iterable[Piece]) -> str:
    """The words of a reply."""
    return "\n".join(text for piece in pieces if piece.kind == "text" and (text := piece.text.strip()))


def _by_item(pieces: Iterable[Piece]) -> Iterator[tuple[int, list[Piece]]]:
    for at, own in groupby(pieces, lambda piece: piece.at):
        yield at, list(own)


def _name(pieces: Sequence[Piece]) -> str:
    """What a reply's item is called that has no row: by what clients keep of it."""
    call = next((piece.id for piece in pieces if piece.kind == "call" and piece.id), "")
    return _hash(call or said(pieces) or next((piece.id or piece.item for piece in pieces), ""))


def short_hash(words: str) -> str:
    """A hash as part of a name."""
    return _hash(words)[:8]


def _hash(words: str) -> str:
    return hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
