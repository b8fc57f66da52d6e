"""Money: integer nano-dollars, or unknown. Unknown is never zero, and a total with an unknown in it is a lower bound."""

from __future__ import annotations

import math
from collections.abc import Iterable

from agent.values import dataclass

NANO = 1_000_000_000

LARGEST_NANO = 2**53
"""9 million dollars: what lies above is an endpoint's mistake, and sums of it would not fit SQLite's integers."""


def nano_from_usd(usd: float | str) -> int:
    """US dollars to whole nano-dollars, rounded half up at the ninth digit. Raises ValueError for a negative amount.

    A negative price is how OpenRouter's catalogue says "depends" (`-1`): callers must turn that into unknown, not pass it on.
    """
    from decimal import ROUND_HALF_UP, Decimal

    amount = Decimal(str(usd))
    if amount < 0:
        raise ValueError(f"an amount of money can't be negative: {usd}")
    return int((amount * NANO).to_integral_value(ROUND_HALF_UP))


def show_usd(nano: int | None, lower_bound: bool = False) -> str:
    """For people, the one form everywhere: `unknown`, `$0`, `$0.0031`, `$1.25`, `≥ $1.25` where a part is not known.

    At least nothing is `unknown`, too: the sign would promise a figure.
    """
    if nano is None or (lower_bound and nano == 0):
        return "unknown"
    if lower_bound:
        return f"≥ {show_usd(nano)}"
    if nano == 0:
        return "$0"
    usd = nano / NANO
    if usd >= 1:
        return f"${usd:,.2f}"
    if usd >= 0.01:
        return f"${usd:.3f}"
    return f"${usd:.6f}".rstrip("0") if usd >= 0.000001 else f"${usd:.9f}"


def show_cost(usd: object, lower_bound: object = False) -> str:
    """US dollars for people, as `show_usd` has them; `unknown` for what is not an amount."""
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not math.isfinite(usd):
        return "unknown"
    return show_usd(round(usd * NANO), bool(lower_bound))


@dataclass(frozen=True, slots=True)
class Total:
    """A sum of calls. `nano` counts what is known; `unknown` counts the calls whose cost is not."""

    nano: int = 0
    known: int = 0
    unknown: int = 0

    @classmethod
    def of(cls, amounts: Iterable[int | None]) -> Total:
        """Sum nano-dollar amounts in which None stands for unknown."""
        total = cls()
        for amount in amounts:
            total = total.plus(amount)
        return total

    def plus(self, nano: int | None) -> Total:
        """This total with one more call."""
        if nano is None:
            return Total(self.nano, self.known, self.unknown + 1)
        return Total(self.nano + nano, self.known + 1, self.unknown)

    @property
    def lower_bound(self) -> bool:
        """True where a call of unknown cost is part of the sum."""
        return self.unknown > 0

    @property
    def usd(self) -> float | None:
        """US dollars; None where nothing is known."""
        return None if self.unknown and not self.known else self.nano / NANO

    def __str__(self) -> str:
        return show_usd(self.nano, self.lower_bound)
