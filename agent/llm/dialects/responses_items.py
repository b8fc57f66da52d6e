"""What the two halves of the Responses dialect share: items of theirs that are kept with a message."""

from __future__ import annotations

from typing import Any

OWN = "responses"
"""Under this name a message or a part keeps what only this API has."""


def returns(item: dict[str, Any] | None) -> bool:
    """True for a reasoning item that means something when it comes back: sealed, or (open models) with its text in it."""
    return bool(item and item.get("type") == "reasoning" and (item.get("encrypted_content") or item.get("content")))
