"""The presets that there are as tables: those that can run here, and those that can't, with each reason said once."""

from __future__ import annotations

from collections.abc import Iterable

from agent.views import StackView, TableView

COLUMNS = ("preset", "from", "description")


def grouped(presets: Iterable[tuple[tuple[str, ...], tuple[str, ...]]], *, note: str = "") -> StackView:
    """Presets as (why it can't run here, its row) as tables: those that can run, then those that can't, each reason said once."""
    tables: dict[str, list[tuple[str, ...]]] = {"": []}
    for obstacles, row in presets:
        tables.setdefault("; ".join(obstacles), []).append(row)
    able = tables.pop("")
    title = "These can run here" if able else "None can run here"
    views = [TableView(title=title, columns=COLUMNS, rows=tuple(able), note="" if tables else note)]
    for number, (why, rows) in enumerate(tables.items(), 1):
        last = note if number == len(tables) else ""
        views.append(TableView(title=f"Not here: {why}", columns=COLUMNS, rows=tuple(rows), note=last))
    return StackView(views=tuple(views))
