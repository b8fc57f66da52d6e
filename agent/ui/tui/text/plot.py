"""Bars made of characters: pure text, an eighth of a column fine."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len

from agent.ui.tui.text.cells import fit, one_line

EIGHTHS = " ▏▎▍▌▋▊▉"
LEVELS = "▁▂▃▄▅▆▇█"


def bar(value: float, top: float, cells: int) -> str:
    """A bar for a value where `top` fills all the cells. What is not a number, or not positive, has none; anything else shows a sliver."""
    if not (math.isfinite(value) and math.isfinite(top)) or value <= 0 or top <= 0:
        return ""
    eighths = min(cells * 8, max(1, round(cells * 8 * min(1.0, value / top))))
    full, part = divmod(eighths, 8)
    return "█" * full + (EIGHTHS[part] if part else "")


def sparkline(values: Sequence[float]) -> str:
    """One character a value, from the lowest to the highest step; a blank for what is not a number."""
    top = max((value for value in values if math.isfinite(value)), default=0.0)
    return "".join(_level(value, top) if math.isfinite(value) else " " for value in values)


def _level(value: float, top: float) -> str:
    return LEVELS[0] if value <= 0 else LEVELS[max(0, math.ceil(8 * (value / top)) - 1)]


def bars(series: Sequence[tuple[str, float]], width: int, words: Sequence[str] = ()) -> list[tuple[str, str, str]]:
    """Each of the series as (label, bar, value), which fit into a line of `width` cells with a blank between them. `words` are the values
    as people read them; without, they are plain numbers."""
    if not series:
        return []
    values = list(words) or [f"{value:,.6g}" if math.isfinite(value) else "?" for _label, value in series]
    figures = max(map(len, values))
    names = [one_line(label) for label, _value in series]
    labels = min(max(map(cell_len, names)), max(4, width // 3))
    room = width - labels - figures - 2
    top = max((value for _label, value in series if math.isfinite(value)), default=0.0)
    return [
        (fit(name, labels), fit(bar(value, top, room), room) if room > 0 else "", figure.rjust(figures))
        for name, (_label, value), figure in zip(names, series, values, strict=True)
    ]
