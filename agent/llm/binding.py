"""Which signed thoughts may go back: each only where everything before it is what it was when it was thought.

Claude models of 2026 sign every thought together with all that stood before it, and refuse a conversation in which that has changed
(platform.claude.com, "Preserved thinking"). So a reply remembers what request it was made on: a running hash over the request's items
as they were sent, the model as served, the endpoint and a digest of the key. When a request is built, each thought is kept or left
behind by its own memory; what follows a thought that was left behind fails by itself, and what was made after a break holds.

It costs nothing where a conversation has no such thought.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from agent.llm.body import signed
from agent.llm.identity_cache import Kind
from agent.llm.messages import ReasoningPart
from agent.values import dataclass

if TYPE_CHECKING:
    from agent.llm.body import Piece
    from agent.llm.messages import Message
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.request import Request

_DATED = re.compile(r"([-@:]\d{8}|:[a-z]+)$")


def binds(message: Message) -> bool:
    """Whether a reply has a thought that is bound to what stood before it.

    Bound are thinking and redacted thinking of the Messages API, and `reasoning_details` with a signature or data whose format is
    Anthropic's or not given. Other vendors' signatures and encrypted items go back always: their absence is an error.
    """
    if any(isinstance(part, ReasoningPart) and is_bound(part.extra) for part in message.parts):
        return True
    details = (message.extra or {}).get("reasoning_details")
    return isinstance(details, list) and any(is_bound(detail) for detail in details)


def is_bound(block: object) -> bool:
    """Whether a provider's block is such a thought."""
    if not isinstance(block, dict):
        return False
    kind = str(block.get("type", ""))
    if kind in ("thinking", "redacted_thinking"):
        return "signature" in block or "data" in block
    if not kind.startswith("reasoning."):
        return False
    form = block.get("format")
    return bool(block.get("signature") or block.get("data")) and (
        not form or form == "unknown" or "anthropic" in str(form).lower()
    )


def seals(message: Message) -> bool:
    """Whether a reply has a thought that comes sealed (OpenAI's Responses): bound to the account, and to nothing else."""
    return any(isinstance(part, ReasoningPart) and is_sealed(part.extra) for part in message.parts)


def is_sealed(block: object) -> bool:
    """Whether a provider's block is such a thought."""
    return isinstance(block, dict) and block.get("type") == "reasoning" and bool(block.get("encrypted_content"))


@dataclass(frozen=True, slots=True)
class Binding:
    """What a reply was made on. `digest` is empty where its thoughts are bound to the account alone. `bare`: the request had gone out without thoughts, because the endpoint had refused one."""

    digest: str
    key: str
    served: str
    bare: bool = False

    def __str__(self) -> str:
        return f"{self.digest} {self.key} {int(self.bare)} {self.served}"

    @classmethod
    def read(cls, text: str | None) -> Binding | None:
        """From `str`; None where it is none."""
        pieces = (text or "").split(" ", 3)
        return cls(pieces[0], pieces[1], pieces[3], pieces[2] == "1") if len(pieces) == 4 else None


def binding(
    items: Iterable[Any], message: Message, endpoint: Endpoint, served: str | None, *, bare: bool
) -> str | None:
    """The memory of a reply to a request of these items; None where it needs none."""
    bound = binds(message)
    if not (bare or bound or seals(message)):
        return None
    digest = _Running(items).digest() if bound else ""
    return str(Binding(digest, key_digest(endpoint), _family(served or ""), bare))


def key_digest(endpoint: Endpoint) -> str:
    """A short digest of the address and the key: it tells two accounts apart and says nothing of either."""
    seed = f"{endpoint.base_url}\0{endpoint.api_key or ''}"
    return hashlib.blake2b(seed.encode("utf-8", "replace"), digest_size=6, person=b"moa-account").hexdigest()


def keep_bound(
    head: Sequence[Any],
    wire: list[Piece],
    sources: Sequence[Message],
    request: Request,
    endpoint: Endpoint,
    left: list[str] | None,
    strip: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """Take those thoughts out of `wire` that would be refused. `sources[i]` is the message that `wire[i]` was made from.

    `head` is what stands before the messages (tools, system text). `strip` gives an item without its bound thoughts. `left` is given a
    reason for each reply whose thoughts were left behind.
    """
    own = str(request.model)
    bound = Kind("binds", binds).each(sources)
    thinking = [at for at, message in enumerate(sources) if bound[at] and message.origin == own]
    if not thinking:
        return
    known = {at: Binding.read(sources[at].binding) for at, source in enumerate(sources) if source.origin == own}
    bare = max((at for at, found in known.items() if found and found.bare), default=-1)
    latest = next((found.served for found in reversed(known.values()) if found and found.served), "")
    account, running = key_digest(endpoint), None
    done = 0
    for at in thinking:
        why = _broken(known[at], account, latest)
        if not request.thoughts or at < bare:
            why = "the endpoint has refused them"
        if why is None:
            running = running or _Running(head)
            running.add(wire[done:at])
            done = at
            found = known[at]
            if found is not None and found.digest != running.digest():
                why = "what stood before them has changed"
        if why is not None:
            wire[at] = wire[at].changed(strip)
            if left is not None:
                left.append(why)


def sealed_left(
    sources: Sequence[Message], request: Request, endpoint: Endpoint, left: list[str] | None
) -> frozenset[int]:
    """Which of these messages have sealed thoughts that stay behind: another account's, and what an endpoint has refused.

    All others go back, whatever has changed before them: their absence would be a loss, or an error. `left` as for `keep_bound`.
    """
    own = str(request.model)
    carries = Kind("seals", seals).each(sources)
    sealed = [at for at, message in enumerate(sources) if carries[at] and message.origin == own]
    if not sealed:
        return frozenset()
    known = {at: Binding.read(source.binding) for at, source in enumerate(sources) if source.origin == own}
    bare = max((at for at, found in known.items() if found and found.bare), default=-1)
    account, behind = key_digest(endpoint), set()
    for at in sealed:
        found, why = known[at], None
        if not request.thoughts or at < bare:
            why = "the endpoint has refused them"
        elif found is not None and found.key != account:
            why = "they were thought under another key or address"
        if why is not None:
            behind.add(at)
            if left is not None:
                left.append(why)
    return frozenset(behind)


def _broken(found: Binding | None, account: str, served: str) -> str | None:
    if found is None:
        return "an older version of the program kept them"
    if found.key != account:
        return "they were thought under another key or address"
    if found.served != served:
        return "another version of the model thought them"
    return None


def _family(served: str) -> str:
    """A served model's name without what providers write differently from call to call: vendor, date, variant."""
    return _DATED.sub("", served.lower().rpartition("/")[2])


class _Running:
    """A hash over items, as far as it has come."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._hash = hashlib.blake2b(digest_size=12)
        self.add(items)

    def add(self, items: Iterable[Any]) -> None:
        for item in items:
            self._hash.update(signed(item))
            self._hash.update(b"\n")

    def digest(self) -> str:
        return self._hash.hexdigest()
