"""A form of a command's (`agent.forms.Choices`) as numbered lines, and what a line that is typed below them means."""

from __future__ import annotations

from collections.abc import Iterable

from agent.forms import Answer, Choice, Choices

AGAIN = "a number of those above, or 0 for not now"


class LineForm:
    """One form. `read` gives the answer, or nothing where the form goes on."""

    def __init__(self, form: Choices) -> None:
        self.form = form
        self._ticked = {choice.id for choice in form.choices if choice.ticked}

    def rows(self) -> Iterable[str]:
        """The choices, numbered, and what can be typed."""
        for number, choice in enumerate(self.form.choices, 1):
            note = f"  ({choice.note})" if choice.note else ""
            yield f"{self._mark(choice)}{number:>2} {choice.label}{note}"
        if self.form.ticks:
            yield "Enter takes all that are ticked · numbers tick or untick (2 3) · 0 not now"
        else:
            yield "Enter takes the first · a number another · 0 not now"

    def read(self, line: str) -> tuple[bool, Answer, str]:
        """Whether it is answered, the answer, and what to say where it is not (empty: show the rows again)."""
        words = line.replace(",", " ").split()
        if not words:
            taken = tuple(choice.id for choice in self.form.choices if choice.id in self._ticked)
            return True, taken or (self.form.choices[0].id,), ""
        if words == ["0"]:
            return True, None, ""
        if not all(word.isascii() and word.isdecimal() and 1 <= int(word) <= len(self.form.choices) for word in words):
            return False, None, AGAIN
        chosen = [self.form.choices[int(word) - 1] for word in words]
        if alone := [choice for choice in chosen if choice.ticked is None]:
            return (True, (alone[0].id,), "") if len(chosen) == 1 else (False, None, AGAIN)
        self._ticked ^= {choice.id for choice in chosen}
        return False, None, ""

    def _mark(self, choice: Choice) -> str:
        if not self.form.ticks:
            return ""
        return "  → " if choice.ticked is None else "[x] " if choice.id in self._ticked else "[ ] "
