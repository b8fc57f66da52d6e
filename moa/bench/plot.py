"""What quality costs: score over cost an item, and the arms that nothing beats in both (the Pareto front)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.llm.money import show_cost

WIDTH, HEIGHT = 60, 12
LEAST_SPAN = 0.02
"""Scores that differ by less are not drawn as if they differed by more."""


@dataclass(frozen=True, slots=True)
class Point:
    """An arm: what an item cost in it, its score, and whether it is on the front."""

    name: str
    cost: float
    score: float
    best: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """What is drawn. `unit`: `cost` in US dollars, or `tokens` where nothing costs anything. `hidden` are arms of which a part of the cost is unknown."""

    points: tuple[Point, ...]
    hidden: tuple[str, ...]
    unit: str

    @property
    def most(self) -> float:
        """The end of the axis of costs."""
        return max((point.cost for point in self.points), default=0.0) or 1.0

    @property
    def scores(self) -> tuple[float, float]:
        """The ends of the axis of scores."""
        found = [point.score for point in self.points]
        low, high = min(found), max(found)
        low = min(low, 1 - LEAST_SPAN)
        return low, max(high, low + LEAST_SPAN)

    def cost(self, value: float) -> str:
        """A cost for people."""
        return show_cost(value) if self.unit == "cost" else f"{value:,.0f} tokens"


def of(arms: Sequence[Mapping[str, Any]]) -> Plot:
    """The plot of a report's arms; without any point where no arm has a score and a cost."""
    scored = [arm for arm in arms if arm["score"] is not None and arm["n"]]
    unit = "cost" if any(arm["cost"]["usd"] or arm["cost"]["lower_bound"] for arm in scored) else "tokens"
    shown = [arm for arm in scored if unit == "tokens" or not arm["cost"]["lower_bound"]]
    pairs = [((arm["cost"]["usd"] if unit == "cost" else arm["tokens"]) / arm["n"], arm["score"]) for arm in shown]
    best = front(pairs)
    points = tuple(
        Point(arm["name"], cost, score, at in best)
        for at, (arm, (cost, score)) in enumerate(zip(shown, pairs, strict=True))
    )
    return Plot(points, tuple(arm["name"] for arm in scored if arm not in shown), unit)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which (cost, score) points are on the Pareto front: no other costs at most as much and scores at least as much, one of them better."""

    def beaten(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return other[0] <= one[0] and other[1] >= one[1] and other != one

    return [at for at, point in enumerate(points) if not any(beaten(point, other) for other in points)]


def drawn(plot: Plot, width: int = WIDTH, height: int = HEIGHT) -> str:
    """The plot in characters: a letter for each arm, a capital on the front; what they stand for is below. Arms in one place share it (*)."""
    low, high = plot.scores
    rows = [[" "] * width for _row in range(height)]
    places: dict[tuple[int, int], str] = {}
    for at, point in enumerate(plot.points):
        x = round((width - 1) * point.cost / plot.most)
        y = round((height - 1) * (high - point.score) / (high - low))
        letter = chr(ord("a") + at % 26)
        mark = letter.upper() if point.best else letter
        places[y, x] = "*" if (y, x) in places else mark
    for (y, x), mark in places.items():
        rows[y][x] = mark
    margin = len(f"{100 * high:.1f} %")
    lines = []
    for y, row in enumerate(rows):
        label = f"{100 * high:.1f} %" if y == 0 else f"{100 * low:.1f} %" if y == height - 1 else ""
        lines.append(f"{label:>{margin}} │{''.join(row).rstrip()}")
    lines.append(f"{'':>{margin}} └{'─' * width}")
    end = plot.cost(plot.most)
    lines.append(f"{'':>{margin}}  0{end:>{width - 1}} an item")
    for at, point in enumerate(plot.points):
        letter = chr(ord("a") + at % 26)
        mark = letter.upper() if point.best else letter
        lines.append(
            f"{mark}  {point.name}: {100 * point.score:.1f} %, {plot.cost(point.cost)}{' (front)' if point.best else ''}"
        )
    return "\n".join(lines)


def hidden(plot: Plot) -> str:
    """Who is not shown, and why; empty where all are."""
    return f"Not shown, because a part of the cost is unknown: {', '.join(plot.hidden)}." if plot.hidden else ""
