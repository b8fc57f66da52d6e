"""What was spent: /cost and /activity, from the ledger's own rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from agent.commands import Command, CommandContext, Result, Said
from agent.ledger.activity import By, activity, parse_by
from agent.ledger.rows import role_in_words
from agent.llm.money import NANO, Total, show_usd
from agent.slash.arguments import completing, nothing
from agent.text.numbers import span
from agent.views import PlotView, TableView, TabsView, View

if TYPE_CHECKING:
    from agent.host import Host
    from agent.ledger.rows import Grouping, Sum
    from agent.llm.accounting import Cap

BARS = 14
"""Bars of a plot: two weeks of days, or the dearest models."""


def commands(host: Host) -> tuple[Command, ...]:
    """The two of them. Looking at the books is possible at any time."""

    async def cost(context: CommandContext, args: str) -> Result:
        nothing("cost", args)
        return Said(_cost(host, context.session.id))

    async def show(context: CommandContext, args: str) -> Result:
        return Said(_activity(host, context.session.id, args))

    return (
        Command("cost", "what this conversation has cost, and how much of each cap is left", cost, busy_ok=True),
        Command(
            "activity",
            "every call: who asked for it, what it cost",
            show,
            args_hint=f"[all] [{' | '.join(get_args(By))}]",
            busy_ok=True,
            complete=completing((*get_args(By), "all", *(f"all {by}" for by in get_args(By)))),
        ),
    )


def _cost(host: Host, session: str) -> View:
    from agent.ledger.held import held_up

    ledger = host.agent.ledger
    everything, day = ledger.sums(session=session)[0], ledger.sums(day=ledger.today())[0]
    calls = ledger.calls(session=session)
    roles = ledger.sums("role", session=session)
    solo = next((group.total for group in roles if group.key == "main"), None)
    rows = [(*_row("this conversation", everything), _times(everything.total, solo), _seconds(held_up(calls)))]
    if calls:
        turn = calls[-1].turn
        own = [call for call in calls if call.turn == turn]
        main = Total.of(call.cost_nano for call in own if call.purpose == "main")
        last = ledger.sums(turn=turn)[0]
        rows.append((*_row("its last turn", last), _times(last.total, main), _seconds(held_up(own))))
    for group in roles:
        beside = group.key != "main"
        adds = _seconds(held_up(calls, group.key)) if beside else ""
        rows.append(
            (*_row(f"  {role_in_words(group.key)}", group), _times(group.total, solo, sign="+" if beside else ""), adds)
        )
    rows.append((*_row("today, all conversations", day), "", ""))
    caps = [line for cap in host.agent.caps for line in _used(cap, everything, day)]
    tabs: list[tuple[str, View]] = [
        (
            "cost",
            TableView(
                columns=("", "calls", "prompt", "cached", "answer", "cost", "× solo", "adds"),
                rows=tuple(rows),
                align="lrrrrrrr",
                spare=("cached", "prompt", "calls"),
                note="\n".join(
                    [
                        "× solo: against the main model's own calls; adds: how long the main model waited for the calls beside it",
                        *(caps or ["no cap is set ([budget] in config.toml)"]),
                    ]
                ),
            ),
        )
    ]
    tabs += [(title, plot) for title, plot in _plots(host, session) if plot.bars]
    return tabs[0][1] if len(tabs) == 1 else TabsView(tabs=tuple(tabs))


def _row(label: str, group: Sum) -> tuple[str, ...]:
    usage, least = group.usage, "≥ " if group.unreported else ""
    counts = (f"{least}{usage.prompt:,}", f"{usage.cached:,}", f"{least}{usage.completion:,}")
    return (label, str(group.calls), *counts, str(group.total))


def _times(total: Total, solo: Total | None, *, sign: str = "") -> str:
    """A cost as a multiple of the main model's own. Empty where either is unknown, or that is nothing."""
    if solo is None or not solo.nano or solo.lower_bound or not total.known:
        return ""
    return f"{'≥ ' if total.lower_bound else ''}{sign}{total.nano / solo.nano:.2f} ×"


def _seconds(seconds: float) -> str:
    return span(seconds, exact=True)


def _used(cap: Cap, session: Sum, day: Sum) -> list[str]:
    """How far a cap is used up. Those of a turn or a run begin anew with each."""
    spent = {"session": session, "day": day}.get(cap.scope)
    lines = []
    if cap.nano is not None:
        so_far = "" if spent is None else f"{spent.total} of "
        lines.append(f"cap for a {cap.scope}: {so_far}{show_usd(cap.nano)} ({cap.where})")
    if cap.tokens is not None:
        so_far = "" if spent is None else f"{spent.usage.total:,} of "
        lines.append(f"cap for a {cap.scope}: {so_far}{cap.tokens:,} tokens ({cap.where})")
    return lines


def _activity(host: Host, session: str, args: str) -> View:
    words = args.split()
    everywhere = "all" in words
    rest = [word for word in words if word != "all"]
    by = parse_by(" ".join(rest)) if rest else None
    only = None if everywhere else session
    view = activity(host.agent.ledger, session=only, by=by)
    plots = [(title, plot) for title, plot in _plots(host, only) if plot.bars and (by is None or by in title)]
    if not plots:
        return view
    tabs = view.tabs if isinstance(view, TabsView) else ((str(by), view),)
    return TabsView(tabs=(*tabs, *plots))


def _plots(host: Host, session: str | None) -> list[tuple[str, PlotView]]:
    """Spending by model, role and day, as far as it is known."""
    groupings: tuple[Grouping, ...] = ("model", "role", "day")
    return [(f"$ by {by}", _plot(by, host.agent.ledger.sums(by, session=session))) for by in groupings]


def _plot(by: Grouping, groups: Sequence[Sum]) -> PlotView:
    title, newest, words = f"spent by {by}", by == "day", role_in_words if by == "role" else str
    shown = groups[-BARS:] if newest else groups[:BARS]
    if any(group.total.lower_bound for group in groups):
        title += ", without calls of unknown cost"
    shown = [group for group in shown if group.total.nano]
    bars = tuple((words(group.key), group.total.nano / NANO) for group in shown)
    return PlotView(title=title, unit="US dollars", bars=bars, figures=tuple(show_usd(g.total.nano) for g in shown))
