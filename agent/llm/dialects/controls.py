"""`Controls` on the wire: the fields that go out as they are. Which a dialect has words for, it says itself (`Dialect.controls`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agent.llm.request import Controls


def as_they_are(said: Controls, names: Iterable[str]) -> dict[str, Any]:
    """Those of the fields `names` that are set, under the names that they have in `Controls`."""
    values = ((name, getattr(said, name)) for name in names)
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values if value not in (None, ())
    }
