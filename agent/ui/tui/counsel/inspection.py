"""What the inspector shows of a group, as blocks of literal text and tables: the View of its record, and how the work itself went.

It knows no plugin: what a record says is its plugin's own View; the work is told from the events of `SideLog` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from textual.content import Content

from agent.ledger.rows import role_in_words
from agent.llm.money import show_cost
from agent.text.numbers import count, span
from agent.ui import words
from agent.ui.tui.counsel.side_log import Group, Side
from agent.ui.tui.text.blocks import Block, clean
from agent.ui.tui.text.cells import one_line
from agent.ui.tui.text.markdown import to_blocks
from agent.ui.tui.text.marks import matrix_block, sign
from agent.ui.tui.text.view_table import fitted
from agent.views import (
    MarkdownView,
    MatrixView,
    PlotView,
    StackView,
    TableView,
    TabsView,
    TreeView,
    View,
)

Part = Block | PlotView
PAD = Content("  ")
WORK = "As it ran"
"""The tab that is there for any work: each piece with its state, its words, its cost."""


class Tab(NamedTuple):
    """A title, and what stands under it from top to bottom."""

    title: str
    parts: list[Part]


def about(group: Group, number: int, of: int) -> Content:
    """One line: which it is, and what its record says of it, or how far it is."""
    record = group.record
    if record is not None and record.line:
        parts = [f"{number} of {of}", record.line]
        late = sum(side.overtaken and side.finished is not None for side in group.sides.values())
        parts += [f"{late} came in since"] if late else []
    else:
        ended = len(group.sides) - len(group.running)
        parts = [f"{one_line(group.source or 'side work')} {number} of {of}"]
        parts += [f"{ended} of {len(group.sides)} ended", "working" if group.running else ""]
    return Content.styled(one_line(" · ".join(part for part in parts if part)), "bold")


def tabs(group: Group, view: View | None, now: float) -> list[Tab]:
    """The record's own tabs, and how the work went. `now` is on the clock of the group's log."""
    found: list[Tab] = []
    match view:
        case None:
            pass
        case TabsView():
            found += [Tab(title, list(parts(inner))) for title, inner in view.tabs]
        case _:
            found.append(Tab("Record", list(parts(view))))
    if group.sides:
        work = [part for side in group.sides.values() for part in _work(side, now)]
        found.append(Tab(WORK, [*work, *parts(_calls(group))]))
    return found or [Tab("Record", [_faint("There is nothing to open.")])]


# A View as parts


def parts(view: View) -> Iterator[Part]:
    """Any View. Text in it stays literal, but for MarkdownView, which is our own prose."""
    match view:
        case MarkdownView():
            yield from to_blocks(view.text)
        case TreeView():
            yield from _tree(view, 0, section=bool(view.children or view.text))
        case MatrixView():
            yield matrix_block(view)
        case StackView():
            for inner in view.views:
                yield from parts(inner)
        case TabsView():
            for title, inner in view.tabs:
                yield _heading(title)
                yield from parts(inner)
        case TableView():
            if view.title:
                yield _heading(view.title)
            yield Block(lambda width: fitted(view, width), gap=True)
            if view.note:
                yield _faint(view.note)
        case PlotView():
            yield view


def _tree(view: TreeView, depth: int, *, section: bool) -> Iterator[Block]:
    """Headings for the upper branches, points below them."""
    pad = "  " * max(0, depth - 1)
    mark = sign(view.mark) if view.mark or section else Content.styled("• ", "$foreground-muted")
    facts = f"   {one_line(view.about)}" if view.about else ""
    label = Content.assemble((one_line(view.label), "bold $text-primary" if section else ""), (facts, "dim"))
    yield Block(label, first=Content.assemble(pad, mark), rest=Content(pad + "  "), gap=section)
    if view.text:
        inner = Content(pad + "  ")
        yield Block(Content(clean(view.text)), first=inner, rest=inner)
    upper = depth == 0 and any(child.children or child.text for child in view.children)
    for child in view.children:
        yield from _tree(child, depth + 1, section=upper)


# Work, from events


def _work(side: Side, now: float) -> list[Part]:
    end, begun = side.finished, side.started
    state = end.outcome if end else (side.progress.state if side.progress else "queued")
    model = (end.model_served if end else None) or begun.model
    facts = [
        "" if begun.label.endswith(model.rpartition("/")[2]) else model,
        role_in_words(begun.kind),
        OUTCOMES.get(state, state.replace("_", " ")),
        span(side.elapsed(now), exact=end is not None),
        words.money(end.cost) if end else "",
    ]
    if side.overtaken:
        facts.append("the main model continued without it")
    found: list[Part] = [_heading(begun.label, facts)]
    if begun.role:
        found.append(_faint(f"asked to: {begun.role}"))
    if end is not None and end.error is not None:
        found.append(_body(f"{end.error.kind}: {end.error.message}", "$text-error"))
    text = words.said(end) if end else words.in_words(side.progress.last_words) if side.progress else ""
    if text:
        found.append(_body(text if end else f"… {text}"))
    return found


OUTCOMES = {"cancelled": "stopped", "soft_deadline": "slow"}


def _calls(group: Group) -> TableView:
    heads = ("who", "model served", "outcome", "in", "out", "cost", "time", "call")
    rows = tuple(map(_call, group.sides.values()))
    return TableView(columns=heads, rows=rows, align="lllrrrrl", spare=("call", "model served"))


def _call(side: Side) -> tuple[str, ...]:
    end = side.finished
    if end is None:
        return (side.started.label, side.started.model, "working", "", "", "", "", "")
    usage = end.usage
    return (
        side.started.label,
        end.model_served or side.started.model,
        OUTCOMES.get(end.outcome, end.outcome),
        count(usage.prompt) if usage else "",
        count(usage.completion) if usage else "",
        show_cost(end.cost.usd, end.cost.lower_bound),
        span(end.duration_s, exact=True),
        end.call_id or "",
    )


# Parts


def _heading(title: str, facts: Iterable[str] = ()) -> Block:
    said = one_line(" · ".join(part for part in facts if part))
    line = Content.assemble((one_line(title), "bold $text-primary"), (f"   {said}" if said else "", "dim"))
    return Block(line, gap=True)


def _body(text: str, style: str = "") -> Block:
    return Block(Content.styled(clean(text), style) if style else Content(clean(text)), first=PAD, rest=PAD)


def _faint(text: str) -> Block:
    return Block(Content.styled(clean(text), "italic dim"), first=PAD, rest=PAD)
