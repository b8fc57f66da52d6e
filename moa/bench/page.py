"""A run's report as one page: tables, and what quality costs, with the arms that nothing beats in both."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from agent.llm.money import show_cost
from agent.text.cleaning import harmless
from agent.text.numbers import plural
from moa.bench import plot
from moa.bench.plot import Plot, Point, hidden
from moa.bench.report import about, card_line, judging_lines, no_answer, retried_line, solo_lines, tables_of_tasks

WIDTH, HEIGHT, EDGE = 640, 360, 56
LINE, LABEL = 14, 90
"""Height of a label, and how far apart two may lie beside each other."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } td { white-space: nowrap } .wide { overflow-x: auto } svg { width: 100%; min-width: 36rem; max-width: 56rem; height: auto } .front { fill: #b4400a } .dot { fill: #666 }
"""


HELP = """Help: wrong without, right with. Harm: right without, wrong with. Points: the difference of the scores; where its interval holds 0, no
difference is shown. What failed, was refused or could not be judged counts as wrong."""


def page(found: Mapping[str, Any]) -> str:
    """The whole page; it loads nothing from anywhere. Whatever a run or a model has said goes through `_shown`."""
    simulated = (
        "<p>Stored answers: tokens and times that nobody recorded are simulated.</p>" if found["simulated"] else ""
    )
    title = _shown(f"{found['suite']}: {plural(found['items'], 'item')}, run {found['id']}")
    arms = [
        (
            arm["name"],
            _percent(arm["score"]),
            " to ".join(_percent(end) for end in arm["ci95"]),
            str(arm["n"]),
            no_answer(arm),
            show_cost(arm["cost"]["usd"], arm["cost"]["lower_bound"]),
            f"{arm['tokens']:,}",
            *("" if arm[key] is None else f"{arm[key]:.1f} s" for key in ("p50_s", "p95_s")),
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
        f"<p>{_shown(found['date'])} · seed {_shown(found['seed'])} · items {_shown(found['digest'][:16])}{_shown(about(found))}</p>{simulated}"
        + _table(("arm", "score", "95 %", "items", "failed", "cost", "tokens", "p50", "p95"), arms)
        + "".join(f"<p>{_shown(line)}</p>" for line in (card_line(found), retried_line(found)) if line)
        + _table(("pair", "both right", "harm", "help", "both wrong", "points", "95 %", "p"), pairs)
        + (f"<p>{HELP}</p>" if pairs else "")
        + "".join(_table(each.columns, each.rows) for each in tables_of_tasks(found))
        + "".join(f"<p>{_shown(line)}</p>" for line in (*solo_lines(found), *judging_lines(found)))
        + _plot(plot.of(found["arms"]))
        + f"<p>Every call behind these figures: <code>moa activity --session bench-{_shown(found['id'])}</code></p>"
        + "</html>\n"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{_shown(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{_shown(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _plot(found: Plot) -> str:
    """Score over cost an item, with the front as a line. Labels that would lie over each other move down."""
    if not found.points:
        return ""
    low, high = found.scores

    def place(point: Point) -> tuple[float, float]:
        x = EDGE + (WIDTH - 3 * EDGE) * point.cost / found.most
        return x, HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (point.score - low) / (high - low)

    front = sorted((point for point in found.points if point.best), key=lambda point: point.cost)
    line = " ".join("{:.1f},{:.1f}".format(*place(point)) for point in front)
    marks, taken = "", list[tuple[float, float]]()
    for point in found.points:
        x, y = place(point)
        kind = "front" if point.best else "dot"
        left = x > WIDTH - 3 * EDGE
        at = y - 6
        while any(abs(at - other) < LINE and abs(x - beside) < LABEL for beside, other in taken):
            at += LINE
        taken.append((x, at))
        where = f'x="{x - 8:.1f}" text-anchor="end"' if left else f'x="{x + 8:.1f}"'
        told = f"{point.name}: {_percent(point.score)}, {found.cost(point.cost)} an item"
        marks += (
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{_shown(told)}</title></circle>'
            f'<text {where} y="{at:.1f}" font-size="12">{_shown(point.name)}</text>'
        )
    axes = (
        f'<path d="M{EDGE} {EDGE / 2} V{HEIGHT - EDGE} H{WIDTH - EDGE}" fill="none" stroke="#999"/>'
        f'<text x="{EDGE - 6}" y="{EDGE + 4}" font-size="12" text-anchor="end">{_percent(high)}</text>'
        f'<text x="{EDGE - 6}" y="{HEIGHT - EDGE}" font-size="12" text-anchor="end">{_percent(low)}</text>'
        f'<text x="{EDGE}" y="{HEIGHT - EDGE + 18}" font-size="12" text-anchor="middle">0</text>'
        f'<text x="{WIDTH - 2 * EDGE}" y="{HEIGHT - EDGE + 18}" font-size="12" text-anchor="middle">{_shown(found.cost(found.most))}</text>'
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" font-size="12" text-anchor="middle">{_shown(found.unit)} an item</text>'
        f'<text x="8" y="{EDGE / 2 - 8}" font-size="12">score</text>'
    )
    words = f"<p>{_shown(hidden(found))}</p>" if found.hidden else ""
    front_line = f'<polyline points="{line}" fill="none" stroke="#b4400a" stroke-dasharray="4 4"/>'
    beaten = "score and cost" if found.unit == "cost" else "score and tokens"
    return (
        f'<h2>What quality costs</h2><div class="wide"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="score over cost">{axes}{front_line}{marks}</svg></div>'
        f"<p>On the dashed line: arms that no other beats in both {beaten} (the Pareto front).</p>{words}"
    )


def _shown(value: object) -> str:
    """As it may stand in the page: no markup of its own, and nothing that steers a terminal or turns the direction of writing."""
    return html.escape(harmless(str(value)))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
