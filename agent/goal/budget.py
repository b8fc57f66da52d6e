"""What a goal may take: turns, minutes, tokens and dollars, and what it has taken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from agent.llm.money import NANO, show_usd
from agent.text.numbers import plural

DEFAULT_TURNS = 20
"""A goal without a budget of its own stops after so many turns, the first included."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a goal has taken so far. `nano` is nano-dollars of the calls whose cost is known; `unknown` counts the others."""

    turns: int = 0
    seconds: float = 0.0
    tokens: int = 0
    nano: int = 0
    unknown: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def __sub__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, one.name) - getattr(other, one.name) for one in fields(self)))

    @property
    def money(self) -> str:
        """For people; a lower bound where a cost is unknown."""
        if self.unknown and not self.nano:
            return "an unknown amount"
        return show_usd(self.nano, bool(self.unknown))


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits; None is none of that kind. `seconds` is time at work or waiting, not time the program was closed."""

    turns: int | None = DEFAULT_TURNS
    seconds: float | None = None
    tokens: int | None = None
    nano: int | None = None

    def reached(self, spent: Spent) -> str | None:
        """Which limit is used up, in words; None where none is."""
        if self.turns is not None and spent.turns >= self.turns:
            return f"{spent.turns} of {plural(self.turns, 'turn')}"
        return self.reached_within(spent)

    def reached_within(self, spent: Spent) -> str | None:
        """The same for what can run out in the middle of a turn."""
        if self.seconds is not None and spent.seconds >= self.seconds:
            return f"{show_span(spent.seconds)} of {show_span(self.seconds)}"
        if self.tokens is not None and spent.tokens >= self.tokens:
            return f"{spent.tokens:,} of {self.tokens:,} tokens"
        if self.nano is not None and spent.nano >= self.nano:
            return f"{spent.money} of {show_usd(self.nano)}"
        return None

    def __str__(self) -> str:
        parts = [] if self.turns is None else [plural(self.turns, "turn")]
        parts += [] if self.seconds is None else [show_span(self.seconds)]
        parts += [] if self.tokens is None else [f"{self.tokens:,} tokens"]
        parts += [] if self.nano is None else [show_usd(self.nano)]
        return ", ".join(parts) or "no limit"


LONGEST = 200
"""Characters of a budget as it is typed."""
_AMOUNT = re.compile(
    r"""(?xi) (?: \$ \s* (?P<dollars> [\d.,]+ )
      | (?P<number> [\d.,]+ ) \s* (?P<scale> [km](?=\s*tok) )? \s*
        (?P<unit> turns? | t(?:ok(?:ens?)?) | hours? | hrs? | h | minutes? | mins? | m | seconds? | secs? | s
                | usd | dollars? | \$ ) ) (?= $ | [\s,;+] )"""
)
_BETWEEN = re.compile(r"(?i)[\s,;+]+(?:and\s+)?|$")


def parse(text: str, before: Budget) -> Budget | None:
    """`before` with what a text says: `20 turns`, `30m`, `200k tokens`, `$2`, or several of them; `off` takes all limits away.

    None where the text is anything else.
    """
    if text.strip().lower() in ("off", "none"):
        return Budget(turns=None)
    if len(text) > LONGEST:
        return None
    budget, at, rest = before, 0, text.strip()
    while at < len(rest):
        found = _AMOUNT.match(rest, at)
        gap = _BETWEEN.match(rest, found.end()) if found else None
        changed = _with(budget, found) if found else None
        if gap is None or changed is None:
            return None
        budget, at = changed, gap.end()
    return budget if rest else None


def _with(budget: Budget, found: re.Match[str]) -> Budget | None:
    try:
        number = float((found["dollars"] or found["number"]).replace(",", ""))
    except ValueError:
        return None
    unit = "$" if found["dollars"] else found["unit"].lower()
    if number <= 0:
        return None
    if unit == "$" or unit.startswith(("usd", "dollar")):
        return replace(budget, nano=round(number * NANO))
    if unit.startswith("tok"):
        return replace(
            budget, tokens=max(1, round(number * {"k": 1e3, "m": 1e6}.get((found["scale"] or "").lower(), 1)))
        )
    if unit.startswith("turn"):
        return replace(budget, turns=int(number)) if number == int(number) else None
    return replace(budget, seconds=number * {"h": 3600, "m": 60, "s": 1}[unit[0]])


def show_span(seconds: float) -> str:
    """`45 s`, `12 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def read_into(kind: type[Any], data: object) -> Any:
    """One of the dataclasses of this page from plain JSON; what is missing, unknown or of the wrong type is left at its default."""
    found: Mapping[str, Any] = data if isinstance(data, dict) else {}
    given = {
        field.name: found[field.name]
        for field in fields(kind)
        if isinstance(found.get(field.name), int | float | None) and field.name in found
    }
    if kind is Spent:
        given = {name: value for name, value in given.items() if value is not None}
    return kind(**given)
