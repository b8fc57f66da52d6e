"""What a command may ask the user in the middle of its work, as plain values. Every face shows all of them and knows none who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.views import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One row: literal texts, and what is given back. `ticked` None: it is an answer by itself, which ends the form; else a tick that can
    be set and taken out."""

    id: str
    label: str
    note: str = ""
    ticked: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Rows to choose from; `view` is what they are about. Enter on a row with a tick takes all the ticked ones, on another that one alone.

    The answer is a tuple of ids, never empty. The first row is where the cursor stands, so it should be the safe one.
    """

    type: Literal["choices"] = "choices"
    title: str
    text: str = ""
    choices: tuple[Choice, ...]
    view: View | None = None
    sudden: bool = False
    """It comes by itself, and not on what was just entered: what was typed ahead answers nothing."""

    @property
    def ticks(self) -> bool:
        """Whether several can be taken."""
        return any(choice.ticked is not None for choice in self.choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditFile:
    """A file to be changed in the user's own editor. The answer is an empty tuple once the editor has ended well."""

    type: Literal["edit_file"] = "edit_file"
    path: Path


Form = Choices | EditFile
Answer = tuple[str, ...] | None
"""None: the user wants none of it."""

Ask = Callable[[Form], Awaitable[Answer]]
