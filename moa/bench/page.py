"""A run's report as one page: tables, and what quality costs, with the arms that nothing beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from agent.llm.money import show_cost
from agent.text.numbers import plural

WIDTH, HEIGHT, EDGE = 640, 360, 56

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } td { white-space: nowrap } svg { width: 100%; height: auto } .front { fill: #b4400a } .dot { fill: #666 }
"""


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which (cost, score) points are on the Pareto front: no other costs at most as much and scores at least as much, one of them better."""

    def beaten(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return other[0] <= one[0] and other[1] >= one[1] and other != one

    return [at for at, point in enumerate(points) if not any(beaten(point, other) for other in points)]


def page(found: Mapping[str, Any]) -> str:
    """The whole page; it loads nothing from anywhere."""
    simulated = (
        "<p>Stored answers: tokens and times that nobody recorded are simulated.</p>" if found["simulated"] else ""
    )
    title = escape(f"{found['suite']}: {plural(found['items'], 'item')}, run {found['id']}")
    arms = [
        (
            arm["name"],
            _percent(arm["score"]),
            " to ".join(_percent(end) for end in arm["ci95"]),
            str(arm["n"]),
            str(arm["failed"] + arm["refused"] + arm["blocked"]),
            show_cost(arm["cost"]["usd"], arm["cost"]["lower_bound"]),
            f"{arm['tokens']:,}",
        )
        for arm in found["arms"]
    ]
    pairs = [
        (
            f"{pair['arm']} against {pair['against']}",
            *(str(pair[key]) for key in ("right_right", "right_wrong", "wrong_right", "wrong_wrong")),
            f"{100 * pair['delta']:+.1f}",
            " to ".join(f"{100 * end:+.1f}" for end in pair["ci95"]),
            f"{pair['p']:.3g}",
        )
        for pair in found["pairs"]
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>'
        f"<p>{escape(found['date'])}, seed {found['seed']}, items {escape(found['digest'][:16])}</p>{simulated}"
        + _table(("arm", "score", "95 %", "items", "failed", "cost", "tokens"), arms)
        + _table(("pair", "both right", "harm", "help", "both wrong", "points", "95 %", "p"), pairs)
        + _plot(found["arms"])
        + "</html>\n"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _plot(arms: Sequence[Mapping[str, Any]]) -> str:
    """Score over cost an item. Arms whose cost is not wholly known are left out, and named."""
    shown = [arm for arm in arms if arm["score"] is not None and not arm["cost"]["lower_bound"] and arm["n"]]
    hidden = [arm["name"] for arm in arms if arm not in shown]
    if not shown:
        return ""
    points = [(arm["cost"]["usd"] / arm["n"], arm["score"]) for arm in shown]
    most = max(cost for cost, _score in points) or 1.0
    low, high = min(score for _cost, score in points), max(score for _cost, score in points)
    span = max(high - low, 0.02)

    def place(cost: float, score: float) -> tuple[float, float]:
        x = EDGE + (WIDTH - 3 * EDGE) * cost / most
        return x, HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (score - low) / span

    best = front(points)
    line = " ".join("{:.1f},{:.1f}".format(*place(*points[at])) for at in sorted(best, key=lambda at: points[at]))
    marks = ""
    for at, (arm, point) in enumerate(zip(shown, points, strict=True)):
        x, y = place(*point)
        kind = "front" if at in best else "dot"
        marks += f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"/><text x="{x + 8:.1f}" y="{y - 6:.1f}" font-size="12">{escape(arm["name"])}</text>'
    axes = (
        f'<path d="M{EDGE} {EDGE / 2} V{HEIGHT - EDGE} H{WIDTH - EDGE}" fill="none" stroke="#999"/>'
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" font-size="12" text-anchor="middle">cost an item, up to {escape(show_cost(most))}</text>'
        f'<text x="8" y="{EDGE / 2 - 8}" font-size="12">score, {_percent(low)} to {_percent(low + span)}</text>'
    )
    words = f"<p>Not shown, because a part of the cost is unknown: {escape(', '.join(hidden))}.</p>" if hidden else ""
    front_line = f'<polyline points="{line}" fill="none" stroke="#b4400a" stroke-dasharray="4 4"/>'
    return (
        f'<h2>What quality costs</h2><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="score over cost">{axes}{front_line}{marks}</svg>'
        "<p>On the dashed line: arms that no other beats in both score and cost.</p>" + words
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
