"""What became of a session's counsels: who spoke, who kept silent, who was alone with a point, and whether advice was followed.

An adviser that never stops talking and one that never says a word look alike from outside; so both are counted, and shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.text.numbers import plural
from moa.counsel import in_force, restore
from moa.counsel.cadence import KIND, WITHHELD
from moa.panel.names import display_names

if TYPE_CHECKING:
    from agent.llm.messages import Message
    from agent.session.session import Session

TOLD_FROM = 5
"""A silence of fewer steps is not worth a word."""


@dataclass(slots=True)
class MemberTally:
    """One place on the panel. `quiet` counts the main model's calls since it last spoke, where it was asked since."""

    spoke: int = 0
    silent: int = 0
    failed: int = 0
    late: int = 0
    alone: int = 0
    quiet: int = 0

    def __str__(self) -> str:
        said = [f"spoke {self.spoke}", f"silent {self.silent}"]
        said += [f"{name} {count}" for name, count in (("failed", self.failed), ("late", self.late)) if count]
        said += [f"alone with a point {self.alone}"] if self.alone else []
        said += [_silence(self.quiet)] if self.quiet >= TOLD_FROM else []
        return ", ".join(said)


@dataclass(slots=True)
class Tally:
    """A panel. `followed`, `ignored` and `untold` count the counsels that went to the main model; `withheld` those that did not, by why."""

    counsels: int = 0
    followed: int = 0
    ignored: int = 0
    untold: int = 0
    quiet: int = 0
    withheld: dict[str, int] = field(default_factory=dict)
    members: dict[str, MemberTally] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.counsels:
            return "no counsel was taken yet"
        sent = self.followed + self.ignored + self.untold
        said = [f"{plural(self.counsels, 'counsel')}, {sent} sent"]
        if sent:
            said.append(f"followed {self.followed}, not followed {self.ignored}, not to be told {self.untold}")
        said += [f"{WITHHELD.get(why, why)} {count}" for why, count in self.withheld.items()]
        said += [_silence(self.quiet)] if self.quiet >= TOLD_FROM else []
        return "; ".join(said)


def _silence(steps: int) -> str:
    return f"silent in the last {plural(steps, 'step')}"


def count(session: Session, preset: str) -> Tally:
    """The counsels that a preset's panel took in this session, on the present branch."""
    transcript, tools = session.transcript(), in_force.tools_of(session)
    tally = Tally()
    spoke_at: dict[str, int] = {}
    for placed in session.placed_records():
        data = placed["data"]
        if placed["kind"] != KIND or data.get("preset") != preset or data.get("trigger") in ("again", "replayed"):
            continue
        at = int(placed["after"])
        tally.counsels += 1
        _count_members(tally, data, at, spoke_at)
        _count_panel(tally, data, transcript, at, spoke_at, tools)
    for slot, member in tally.members.items():
        member.quiet = _calls_since(transcript, spoke_at.get(slot)) if member.silent else 0
    if tally.withheld.get("silent"):
        tally.quiet = _calls_since(transcript, spoke_at.get(""))
    return tally


def _count_panel(
    tally: Tally,
    data: Mapping[str, Any],
    transcript: Sequence[Message],
    at: int,
    spoke_at: dict[str, int],
    tools: frozenset[str],
) -> None:
    if (why := data.get("withheld")) is not None:
        tally.withheld[str(why)] = tally.withheld.get(str(why), 0) + 1
    if why != "silent":
        spoke_at[""] = at
    if not in_force.delivered(data):
        return
    match in_force.outcome(data, transcript, at, tools):
        case True:
            tally.followed += 1
        case False:
            tally.ignored += 1
        case None:
            tally.untold += 1


def _count_members(tally: Tally, data: Mapping[str, Any], at: int, spoke_at: dict[str, int]) -> None:
    answers = [restore.answer(member) for member in data.get("members", ())]
    speakers = [answer for answer in answers if not answer.silent]
    slots = dict(zip(display_names(speakers), (answer.slot for answer in speakers), strict=True))
    for answer in answers:
        member = tally.members.setdefault(answer.slot, MemberTally())
        if answer.silent:
            member.silent += 1
        else:
            member.spoke += 1
            spoke_at[answer.slot] = at
    for failed in data.get("failed", ()):
        tally.members.setdefault(str(failed["slot"]), MemberTally()).failed += 1
    for late in data.get("late", ()):
        tally.members.setdefault(str(late["slot"]), MemberTally()).late += 1
    analysis = data.get("analysis") or {}
    for insight in analysis.get("unique_insights", ()):
        if (slot := slots.get(str(insight.get("model")))) is not None:
            tally.members[slot].alone += 1


def _calls_since(transcript: Sequence[Message], at: int | None) -> int:
    """The main model's calls since one before which something was said (that call is none of them); all, where nothing ever was."""
    if at is None:
        return sum(message.role == "assistant" for message in transcript)
    return max(0, sum(message.role == "assistant" for message in transcript[at:]) - 1)
