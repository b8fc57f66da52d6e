"""A conversation that opens with a given text and never hears of changed circumstances."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.context.opening import Opening
from agent.llm.messages import Message, system


class Plain(Opening):
    """Opens with `text`, whatever the folder holds."""

    def __init__(self, text: str = "be good") -> None:
        super().__init__(Path())
        self.text = text

    def system(self) -> Message:
        return system(self.text)

    def circumstances(self) -> dict[str, Any]:
        return {}

    def changes(self, told: Mapping[str, Any]) -> None:
        return None

    def readings(self) -> list[Message]:
        return []
