"""Thoughts bound to what stood before them, as Anthropic's models of autumn 2026 bind them: made, and checked. No sockets in here.

A signature says which model and which key it was made under, and holds a digest of everything before the thought and of its text.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.support import prompt

SEAL = b"the server's own"
BOUND = "The block is bound to a different conversation."
REMEDY = 'Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
HEADER = "thinking-binding-controls-2026-08-01"

Why = Literal["damaged", "prefix", "model", "key"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A thought that does not hold where it stands, and why."""

    place: prompt.Place
    why: Why

    @property
    def signature(self) -> str:
        """Which thought it is."""
        return prompt.signature_of(self.place.thought)

    @property
    def message(self) -> str:
        """The words of the refusal. A damaged one is refused without the sentence on the conversation."""
        thought = self.place.thought
        field = "data" if "data" in thought else "signature"
        kind = "redacted_thinking" if field == "data" else "thinking"
        words = f"messages.{self.place.item}.content.{self.place.block}: Invalid `{field}` in `{kind}` block"
        return words if self.why == "damaged" else f"{words}. {BOUND} {REMEDY}"


def digest(parts: Sequence[str]) -> str:
    """A digest of items, each kept apart from its neighbours."""
    running = hashlib.sha256()
    for part in parts:
        running.update(f"{len(part)}:".encode() + part.encode())
    return running.hexdigest()[:32]


def salted(salt: str) -> list[str]:
    """What else stands before everything."""
    return [salt] if salt else []


def signed(before: Sequence[str], text: str, *, model: str, key: str, number: str) -> str:
    """A signature for a thought of this text behind these items."""
    facts = {"m": model, "k": digest([key]), "p": digest(before), "t": digest([text]), "n": number}
    plain = json.dumps(facts).encode()
    seal = hmac.new(SEAL, plain, hashlib.sha256).hexdigest()[:16].encode()
    return base64.b64encode(seal + plain).decode()


def faults(
    body: Mapping[str, Any],
    dialect: str,
    *,
    key: str,
    joined: bool = False,
    gone: frozenset[str] = frozenset(),
    salt: str = "",
) -> list[Fault]:
    """Every thought of a request that does not hold. `gone`: signatures of thoughts that the endpoint itself has dropped before."""
    model = str(body.get("model", ""))
    items = prompt.items_of(body)
    head = [*salted(salt), prompt.canonical(body.get("tools", [])), prompt.canonical(prompt.system_of(body))]
    if joined:
        parts = prompt.join_users(items)
        starts = {origin: number for number, (_item, origin) in enumerate(parts)}
        wire = [prompt.canonical(item) for item, _origin in parts]
    else:
        starts = {number: number for number in range(len(items))}
        wire = [prompt.canonical(item) for item in items]
    found = []
    for place in prompt.thoughts_of(body, dialect):
        if prompt.signature_of(place.thought) in gone:
            continue
        own = [prompt.canonical(block) for block in prompt.own_blocks(body, dialect, place)]
        before = [*head, *wire[: starts[place.item]], *own]
        if why := _fault(place.thought, before, model, key):
            found.append(Fault(place, why))
    return found


def _fault(thought: Mapping[str, Any], before: Sequence[str], model: str, key: str) -> Why | None:
    facts = _read(prompt.signature_of(thought))
    if facts is None or ("data" not in thought and facts["t"] != digest([prompt.text_of_thought(thought)])):
        return "damaged"
    if facts["m"] != model:
        return "model"
    if facts["k"] != digest([key]):
        return "key"
    return None if facts["p"] == digest(before) else "prefix"


def _read(signature: str) -> dict[str, Any] | None:
    try:
        plain = base64.b64decode(signature, validate=True)
    except ValueError:
        return None
    seal, facts = plain[:16], plain[16:]
    if hmac.new(SEAL, facts, hashlib.sha256).hexdigest()[:16].encode() != seal:
        return None
    value: dict[str, Any] = json.loads(facts)
    return value


def thinking(text: str, before: Sequence[str], *, sealed: bool = False, **who: str) -> dict[str, Any]:
    """A block of a Messages answer: `thinking`, or `redacted_thinking` for one that is `sealed`."""
    if sealed:
        return {"type": "redacted_thinking", "data": signed(before, "", **who)}
    return {"type": "thinking", "thinking": text, "signature": signed(before, text, **who)}


def detail(text: str, before: Sequence[str], index: int, *, sealed: bool = False, **who: str) -> dict[str, Any]:
    """An entry of `reasoning_details`, as OpenRouter passes such blocks on."""
    common = {"format": prompt.FORMAT, "index": index}
    if sealed:
        return {"type": "reasoning.encrypted", **common, "data": signed(before, "", **who)}
    # In the order in which a stream brings them: the signature comes last.
    return {"type": "reasoning.text", **common, "text": text, "signature": signed(before, text, **who)}


def reasoning_item(text: str, before: Sequence[str], **who: str) -> dict[str, Any]:
    """A reasoning item of a Responses answer, sealed."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    sealed = signed(before, text, **who)
    return {"id": f"rs_{who['number']}", "type": "reasoning", "summary": summary, "encrypted_content": sealed}
