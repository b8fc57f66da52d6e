"""What the benches share: figures with targets, a small table, and the environment they were measured in."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `target` is what must hold, `margin` how much noise is forgiven on top of it before the bench fails."""

    name: str
    value: float
    unit: str
    target: float | None = None
    margin: float = 0.0
    at_least: bool = False
    note: str = ""

    @property
    def missed(self) -> bool:
        """True where the target is missed by more than the margin."""
        if self.target is None:
            return False
        if self.at_least:
            return self.value < self.target - self.margin
        return self.value > self.target + self.margin

    def row(self) -> str:
        """For the table."""
        verdict, goal = "", ""
        if self.target is not None:
            sign = "≥" if self.at_least else "≤"
            goal = f"{sign} {self.target:g}" + (f" (margin {self.margin:g})" if self.margin else "")
            reached = self.value >= self.target if self.at_least else self.value <= self.target
            verdict = "MISSED" if self.missed else "ok" if reached else "within noise"
        return f"  {self.name:<58} {self.value:>9.3f} {self.unit:<6} {goal:<24} {verdict:<12} {self.note}".rstrip()


def show(title: str, figures: Sequence[Figure]) -> bool:
    """Print a table; True where every target was reached."""
    print(f"\n{title}")
    for figure in figures:
        print(figure.row(), flush=True)
    return not any(figure.missed for figure in figures)


def environment(python: str) -> str:
    """One line that belongs beside every figure."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return f"{python} · {platform.system()} {platform.machine()} · {os.cpu_count()} cores · load {load:.1f}"


def median(values: Sequence[float]) -> float:
    """The median. Raises ValueError, with a reason, where nothing was measured."""
    if not values:
        raise ValueError("nothing was measured")
    return statistics.median(values)
