"""`moa bench advise`: what the trial, the benches and the conversations say of each preset and each member, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from agent.errors import StateError, UsageError
from agent.llm.money import show_cost
from agent.session import index
from agent.session.session import Session
from agent.views import TableView, View
from moa.bench import report, runs
from moa.bench.own_work import worth
from moa.counsel.cadence import KIND, REPLAYED
from moa.counsel.record import CounselRecord

if TYPE_CHECKING:
    from pathlib import Path

    from moa.bench.own_work.worth import Worth

Word = Literal["keep", "leave it off", "drop", "swap", "not known yet"]
ENOUGH = 20
"""Fewer counsels say nothing of a member."""
MOST_READ = 200
"""Conversations that are looked at, the newest first."""
FAILS, SILENT = 0.3, 0.95


@dataclass(frozen=True, slots=True)
class Advice:
    """One line: about a preset or one of its members, what to do, and what says so."""

    about: str
    word: Word
    why: str


@dataclass(slots=True)
class Seat:
    """A member over all conversations."""

    asked: int = 0
    spoke: int = 0
    failed: int = 0
    alone: int = 0
    usd: float = 0.0
    unknown: bool = field(default=False)


def advise(state: Path, sessions: Path) -> list[Advice]:
    """All advice there is."""
    found = [of_worth(each) for each in worth.judge(worth.outcomes(sessions))]
    found += [advice for run in runs.all_runs(state / "bench") for advice in of_report(_report(run))]
    return [*found, *of_members(members(sessions))]


def _report(run: runs.Run) -> dict[str, Any]:
    try:
        return report.report(run)
    except (KeyError, ValueError, UsageError):  # of another version
        return {}


def of_worth(found: Worth) -> Advice:
    """What the trial says of a preset on one kind of work."""
    word: Word = {"helps": "keep", "harms": "leave it off"}.get(found.word, "not known yet")  # type: ignore[assignment]
    usd = found.figures["sent"]["usd"]
    price = "" if usd is None else f", at {show_cost(usd)} a turn"
    why = f"your own turns ({found.work}): helped in {found.helped} pairs, harmed in {found.harmed}, alike in {found.same}{price}"
    return Advice(found.preset, word, why)


def of_report(found: dict[str, Any]) -> Iterable[Advice]:
    """What a bench says of the preset that it was run with: its arms with counsel."""
    preset = found.get("preset")
    for pair in found.get("pairs", ()):
        if preset is None or not pair["arm"].startswith(("counsel", "fuse")):
            continue
        lo, hi = pair["ci95"]
        word: Word = "keep" if lo > 0 else "leave it off" if hi < 0 else "not known yet"
        placebo = max((each["delta"] for each in found["pairs"] if each["arm"].startswith("placebo")), default=None)
        why = f"bench {found['id']} ({found['suite']}, {pair['arm']}): {100 * pair['delta']:+.1f} points ({100 * lo:+.1f} to {100 * hi:+.1f})"
        if placebo is not None:
            why += f"; the best placebo {100 * placebo:+.1f}"
            if word == "keep" and placebo >= pair["delta"]:
                word, why = "not known yet", f"{why}: it may only be more tokens"
        yield Advice(f"{preset} at {pair['arm']}", word, why)


def members(sessions: Path) -> dict[tuple[str, str], Seat]:
    """By preset and model, what became of each member's counsels, in the newest conversations."""
    found: dict[tuple[str, str], Seat] = {}
    for path, _changed in index.newest(sessions)[:MOST_READ]:
        try:
            if f'"{KIND}"'.encode() not in path.read_bytes():
                continue
            session = Session.open(sessions, path.stem)
        except (OSError, StateError, UsageError):
            continue
        try:
            for data in session.records(KIND):
                _count(found, CounselRecord.read(data))
        finally:
            session.close()
    return found


def _count(found: dict[tuple[str, str], Seat], counsel: CounselRecord) -> None:
    if counsel.trigger in ("again", REPLAYED):
        return
    insights = (counsel.analysis or {}).get("unique_insights", ())
    alone = {str(insight.get("model", "")) for insight in insights if isinstance(insight, dict)}
    for member in counsel.members:
        seat = found.setdefault((counsel.preset, member.model_requested), Seat())
        seat.asked += 1
        seat.spoke += not member.silent
        seat.alone += any(name and (name in member.model_requested or member.model_requested in name) for name in alone)
        seat.usd += member.cost.usd or 0.0
        seat.unknown |= member.cost.usd is None
    for failed in counsel.failed:
        seat = found.setdefault((counsel.preset, failed.model), Seat())
        seat.asked += failed.kind != "not_needed"
        seat.failed += failed.kind != "not_needed"


def of_members(found: dict[tuple[str, str], Seat]) -> Iterable[Advice]:
    """Which members to swap (they fail), or to drop (they have nothing to say)."""
    for (preset, model), seat in found.items():
        if seat.asked < ENOUGH:
            continue
        cost = show_cost(seat.usd, seat.unknown)
        why = f"asked {seat.asked} times, spoke {seat.spoke}, failed {seat.failed}, alone with a point {seat.alone}, {cost}"
        about = f"{model} in {preset}"
        if seat.failed >= FAILS * seat.asked:
            yield Advice(about, "swap", why)
        elif seat.asked - seat.failed - seat.spoke >= SILENT * (seat.asked - seat.failed):
            yield Advice(about, "drop", why)
        else:
            yield Advice(about, "keep", why)


def view(found: Sequence[Advice]) -> View:
    """For people."""
    rows = tuple((each.about, each.word, each.why) for each in found)
    note = "" if rows else "nothing to go by yet: run `moa bench pilot`, or set `[moa] worth` in config.toml"
    return TableView(columns=("about", "advice", "what says so"), rows=rows, align="lll", note=note)
