"""What counsel is worth to this user: turns in which it was sent beside turns in which it was withheld by chance (`moa.trial`).

A turn in which it was withheld is compared with the one before it, or with the next one, of the same preset and the same kind of work; a coin
decides which, so that work which gets harder or easier with time favours neither. Who is compared with whom does not depend on what came of
a turn. Where counsel changes nothing, a pair is as likely to come out one way as the other, and the e-value holds however often it is looked
at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from agent.errors import StateError, UsageError
from agent.llm.money import show_cost
from agent.session import index
from agent.session.session import Session
from agent.views import MarkdownView, StackView, TableView, View
from moa.bench.pilot import SHOWN
from moa.bench.stats.intervals import Interval
from moa.bench.stats.sequential import ConfidenceSequence, one_sided_e_value
from moa.counsel import cadence
from moa.trial import KIND


@dataclass(frozen=True, slots=True)
class Outcome:
    """One turn. `errors` are tools and commands that failed, `calls` those of the main model; `usd` is what counsel cost in it, as far as
    it is known. `undone`: the user went back behind it."""

    preset: str
    work: str
    withheld: bool
    status: str
    errors: int
    calls: int
    undone: bool = False
    usd: float = 0.0

    @property
    def trouble(self) -> tuple[bool, int, int]:
        """How bad it was, first things first: it did not end in order or was undone; what failed on the way; how long it took."""
        return self.undone or self.status != "done", self.errors, self.calls


@dataclass(frozen=True, slots=True)
class Worth:
    """What is known of a preset on one kind of work. `helped` and `harmed` count pairs that counsel decided; `interval` is of the mean of
    +1, 0 and -1, and holds at every look."""

    preset: str
    work: str
    sent: int
    withheld: int
    helped: int
    harmed: int
    same: int
    interval: Interval
    word: str
    figures: dict[str, dict[str, float | None]]


def outcomes(folder: Path) -> list[Outcome]:
    """The turns of all conversations that were part of the trial, oldest first. What can't be read is passed over."""
    found: list[Outcome] = []
    for path in sorted(index.files(folder)):
        try:
            if f'"{KIND}"'.encode() not in path.read_bytes():
                continue
            session = Session.open(folder, path.stem)
        except (OSError, StateError, UsageError):
            continue
        try:
            found += _of(session)
        finally:
            session.close()
    return found


def _of(session: Session) -> Iterable[Outcome]:
    spent: dict[str, float] = {}
    for data in session.records(cadence.KIND):
        turn = str(data.get("id", "")).rpartition("/")[0]
        usd = (data.get("cost") or {}).get("usd")
        spent[turn] = spent.get(turn, 0.0) + (float(usd) if isinstance(usd, int | float) else 0.0)
    for data in session.records(KIND):
        turn = str(data.get("turn"))
        yield Outcome(
            str(data.get("preset")),
            str(data.get("work")),
            bool(data.get("withheld")),
            str(data.get("status")),
            int(data.get("errors") or 0),
            int(data.get("calls") or 0),
            undone=not session.began(turn),
            usd=spent.get(turn, 0.0),
        )


def pairs(turns: Iterable[Outcome]) -> list[int]:
    """The pairs of turns that are comparable, in the order in which they were complete: +1 where counsel came out better, -1 worse, 0 alike."""
    sent: list[Outcome] = []
    ahead: list[Outcome] = []  # withheld, and to be compared with what comes
    coin, found = Random(1), []
    for turn in turns:
        if turn.withheld and coin.random() < 0.5 and sent:
            found.append(_better(sent.pop(), turn))
        elif turn.withheld:
            ahead.append(turn)
        elif ahead:
            found.append(_better(turn, ahead.pop(0)))
        else:
            sent.append(turn)
    return found


def _better(sent: Outcome, withheld: Outcome) -> int:
    return (withheld.trouble > sent.trouble) - (withheld.trouble < sent.trouble)


def judge(turns: Sequence[Outcome]) -> list[Worth]:
    """What is known by now of each preset on each kind of work."""
    found = []
    for preset, work in dict.fromkeys((turn.preset, turn.work) for turn in turns):
        mine = [turn for turn in turns if (turn.preset, turn.work) == (preset, work)]
        decided = pairs(mine)
        helped, harmed = decided.count(1), decided.count(-1)
        word = "not known yet"
        if one_sided_e_value(helped, harmed) >= SHOWN:
            word = "helps"
        elif one_sided_e_value(harmed, helped) >= SHOWN:
            word = "harms"
        sent, withheld = [t for t in mine if not t.withheld], [t for t in mine if t.withheld]
        found.append(
            Worth(
                preset,
                work,
                len(sent),
                len(withheld),
                helped,
                harmed,
                decided.count(0),
                ConfidenceSequence().extend(map(float, decided)),
                word,
                {"sent": _figures(sent), "withheld": _figures(withheld)},
            )
        )
    return found


def _figures(turns: Sequence[Outcome]) -> dict[str, float | None]:
    if not turns:
        return dict.fromkeys(("done", "undone", "errors", "calls", "usd"))
    return {
        "done": fmean(turn.status == "done" for turn in turns),
        "undone": fmean(turn.undone for turn in turns),
        "errors": fmean(turn.errors for turn in turns),
        "calls": fmean(turn.calls for turn in turns),
        "usd": fmean(turn.usd for turn in turns),
    }


def plain(found: Sequence[Worth]) -> dict[str, Any]:
    """For programs."""
    return {
        "worth": [
            {
                "preset": each.preset,
                "work": each.work,
                "word": each.word,
                "turns": {"sent": each.sent, "withheld": each.withheld},
                "pairs": {"helped": each.helped, "harmed": each.harmed, "same": each.same},
                "ci95": list(each.interval),
                **each.figures,
            }
            for each in found
        ]
    }


NOTHING = """No turn was part of the trial yet. With `[moa] worth = 0.2` in config.toml counsel is taken and not sent in one turn of five, by \
chance; what comes of each turn is kept, and this command compares."""


def view(found: Sequence[Worth]) -> View:
    """For people."""
    if not found:
        return MarkdownView(text=NOTHING)
    rows = []
    for each in found:
        ends = f"{100 * each.interval.lo:+.0f} to {100 * each.interval.hi:+.0f} points"
        turns = f"{each.sent} and {each.withheld}"
        rows.append(
            (each.preset, each.work, each.word, turns, str(each.helped), str(each.harmed), str(each.same), ends)
        )
    columns = (
        "preset",
        "work",
        "counsel",
        "turns with and without",
        "helped",
        "harmed",
        "alike",
        "helped less harmed, 95 %",
    )
    detail = [
        (
            f"{each.preset}, {each.work}",
            name,
            *("" if value is None else f"{100 * value:.0f} %" for value in (has["done"], has["undone"])),
            *("" if value is None else f"{value:.1f}" for value in (has["errors"], has["calls"])),
            "" if has["usd"] is None else show_cost(has["usd"]),
        )
        for each in found
        for name, has in each.figures.items()
    ]
    more = ("", "guidance", "ended well", "undone", "errors a turn", "calls a turn", "counsel a turn")
    return StackView(
        views=(
            TableView(columns=columns, rows=tuple(rows), align="lllrrrrl"),
            TableView(columns=more, rows=tuple(detail), align="llrrrrr"),
            MarkdownView(
                text="A pair is decided by whether the turn ended well and stands, then by what failed in it, then by how many calls it took."
            ),
        )
    )
