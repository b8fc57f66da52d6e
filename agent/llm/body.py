"""A request's body on its way to JSON: items whose JSON is written once, however many requests they go out in."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from agent.llm.identity_cache import Kind

_MARKS = frozenset({"cache_control", "prompt_cache_breakpoint"})


class Piece:
    """One item of a body and its JSON, which belong to more than one request: `value` is never changed, only replaced by another piece."""

    __slots__ = ("__weakref__", "_marked", "json", "value")

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value
        self.json = _utf8(value)
        """None where it has no UTF-8 form: a lone surrogate (half of an emoji, cut by somebody)."""
        self._marked = self.json is None or any(mark.encode() in self.json for mark in _MARKS)

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return 2 * len(self.json or b"")

    @property
    def signed(self) -> bytes:
        """What a model signs of it."""
        return signed(self.value) if self._marked or self.json is None else self.json

    def with_(self, **fields: Any) -> Piece:
        """Another with these fields, in the same order."""
        return Piece({**self.value, **fields})

    def changed(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Piece:
        """The item that `change`, a function of a module, makes of this one."""
        return Kind(("changed", change), lambda piece: Piece(change(piece.value))).of(self)


def signed(item: Any) -> bytes:
    """What a model signs of an item: its JSON without cache marks, which move."""
    if isinstance(item, Piece):
        return item.signed
    return json.dumps(_unmarked(item), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def encode_json(body: dict[str, Any]) -> bytes:
    """A JSON body as UTF-8. A lone surrogate has no UTF-8 form: the body is then sent as ASCII."""
    written: list[bytes | None] = []  # joined once: a long conversation is some megabytes
    for key, value in body.items():
        written += (b"," if written else b"{", _key(key))
        if isinstance(value, list) and value:
            for at, item in enumerate(value):
                written += (b"," if at else b"[", item.json if isinstance(item, Piece) else _utf8(item))
            written.append(b"]")
        else:
            written.append(_utf8(value))
    known = [each for each in written if each is not None]
    if len(known) < len(written):
        return json.dumps(plain(body), separators=(",", ":")).encode()
    return b"".join((*known, b"}"))


def plain(value: Any) -> Any:
    """A copy of a body, or of a part of one, in dicts and lists that nobody else has."""
    if isinstance(value, Piece):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


@lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    return json.dumps(name).encode() + b":"


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _utf8(value: Any) -> bytes | None:
    try:
        return _json(value).encode()
    except UnicodeEncodeError:
        return None


def _unmarked(value: Any) -> Any:
    """A value without cache marks, which move and are not signed."""
    if isinstance(value, dict):
        return {key: _unmarked(item) for key, item in value.items() if key not in _MARKS}
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    return value
