"""Tool calls in the shapes in which servers send them: which piece belongs to which call, and whose id it has."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Sequence
from dataclasses import replace
from itertools import count
from typing import Protocol

from agent.llm.identity_cache import Kind
from agent.llm.messages import Message, ToolCallPart
from agent.text import foreign_json

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


class Written(Protocol):
    """What has come of a call."""

    id: str | None
    name: str | None

    @property
    def text(self) -> str:
        """Its arguments so far."""
        ...

    @property
    def may_be_whole(self) -> bool:
        """False where the last piece of it can't be the end of an object."""
        ...

    @property
    def in_few_pieces(self) -> bool:
        """False where it has come in more pieces than an empty object does."""
        ...


class Calls:
    """Tells the calls of one answer apart, which come with an index or without, with ids of their own, the same one, or none."""

    def __init__(self) -> None:
        self._current: dict[Hashable, Hashable] = {}
        self._count = 0

    def key(self, slot: Hashable) -> Hashable | None:
        """The call that pieces of this slot belong to so far."""
        return self._current.get(slot)

    def begin(self, slot: Hashable) -> Hashable:
        """A new call in this slot."""
        self._count += 1
        self._current[slot] = key = ("call", self._count)
        return key


def begins_another(call: Written, *, id: str | None, name: str | None, arguments: str, indexed: bool) -> bool:
    """True where a further piece is no part of this call: another id, another name, or arguments where it has all of its own."""
    fresh = arguments.lstrip().startswith("{")
    if id and call.id and id != call.id and (name or fresh):
        return True
    renamed = bool(name and call.name and name != call.name)
    if not (fresh or name) or not call.may_be_whole or not is_whole(call.text):
        return renamed and not indexed
    return renamed or (fresh and not replaces(call, arguments))


def replaces(call: Written, arguments: str) -> bool:
    """True where the arguments come after the empty object that some servers send as their placeholder."""
    return call.in_few_pieces and is_placeholder(call.text) and not is_placeholder(arguments)


def repeats(call: Written, id: str | None, arguments: str) -> bool:
    """True for a call that is sent once more as a whole, at the end of some servers' streams."""
    arguments = arguments.strip()
    return (
        bool(id) and id == call.id and arguments[:1] == "{" and arguments[-1:] == "}" and arguments == call.text.strip()
    )


def is_placeholder(arguments: str) -> bool:
    """True for the empty object that some servers send before the arguments."""
    return arguments.strip() == "{}"


def own_call_id(round: int, index: int, taken: Collection[str]) -> str:
    """An id of ours for a call, by its place in the conversation: nine letters and digits, which every provider takes (Mistral no other)."""
    for number in count(index):
        id = f"m{round % 100_000:05d}{number % 1000:03d}"
        if id not in taken or number > index + 1000:
            return id
    raise AssertionError("count never ends")


def is_whole(arguments: str) -> bool:
    """True where a call's arguments are one whole JSON object."""
    if not arguments.rstrip().endswith("}"):
        return False
    try:
        value, end = foreign_json.decode_at(arguments.strip(), strict=False)
    except ValueError:
        return False
    return isinstance(value, dict) and end == len(arguments.strip())


def objects_in(arguments: str) -> list[str]:
    """The JSON objects of which the arguments consist, where there are several in a row; empty ones in front are placeholders."""
    arguments = arguments.strip()
    if not re.search(r"\}\s*\{", arguments):
        return []
    found: list[str] = []
    at = 0
    while at < len(arguments):
        try:
            value, end = foreign_json.decode_at(arguments, at, strict=False)
        except ValueError:
            return []
        if not isinstance(value, dict):
            return []
        if value:
            found.append(arguments[at:end])
        at = end + len(arguments[end:]) - len(arguments[end:].lstrip())
    return found or ["{}"]


class IdRule:
    """What a provider demands of the ids of calls: a pattern, and how long one is made that does not have it."""

    def __init__(self, pattern: re.Pattern[str], length: int) -> None:
        self.pattern = pattern
        self.length = length

    def fit(self, id: str) -> str:
        """The id, or one made from it, always the same from the same: what was sent stays sent."""
        if self.pattern.fullmatch(id):
            return id
        import hashlib  # for ids that a provider does not take: most are

        number = int.from_bytes(hashlib.sha256(id.encode("utf-8", "replace")).digest()[:24], "big")
        letters = ""
        while len(letters) < self.length:
            number, digit = divmod(number, len(_ALPHABET))
            letters += _ALPHABET[digit]
        return letters


NINE = IdRule(re.compile(r"[a-zA-Z0-9]{9}"), 9)
"""Mistral's rule, which its own ids keep and nobody else's."""

ANTHROPIC = IdRule(re.compile(r"[a-zA-Z0-9_-]{1,128}"), 24)
OPENAI = IdRule(re.compile(r"(?s).{1,64}"), 24)


def fit_ids(messages: Sequence[Message], rule: IdRule) -> list[Message]:
    """The messages, with ids that the rule takes: others are mapped, a call's and its result's alike."""
    return Kind(("ids", rule), lambda message: _fit(message, rule)).each(messages)


def _fit(message: Message, rule: IdRule) -> Message:
    if message.role == "tool":
        id = rule.fit(message.tool_call_id or "")
        return message if id == message.tool_call_id else replace(message, tool_call_id=id)
    if all(rule.fit(call.id) == call.id for call in message.tool_calls):
        return message
    parts = tuple(
        replace(part, id=rule.fit(part.id)) if isinstance(part, ToolCallPart) else part for part in message.parts
    )
    return replace(message, parts=parts)
