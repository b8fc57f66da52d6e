"""Who was asked, and what became of each of them: silent, late, cut off, stopped and failed members are told apart."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from moa.panel.names import display_names, short_name

if TYPE_CHECKING:
    from agent.views import Mark
    from moa.counsel.record import CounselRecord, FailedRecord, MemberRecord


class Standing(NamedTuple):
    """A place on the panel. `name` is short and unlike the others'; `marks` are what became of it, the most telling first; `why` is the
    kind of failure, in words."""

    slot: str
    name: str
    marks: tuple[Mark, ...]
    why: str = ""
    role: str | None = None
    member: MemberRecord | None = None
    failure: FailedRecord | None = None

    @property
    def state(self) -> str:
        """What became of it, in words."""
        return ", ".join(self.marks)

    def __str__(self) -> str:
        return f"{self.name} {self.state}" + (f" ({self.why})" if self.why else "")


def standings(record: CounselRecord) -> list[Standing]:
    """Everybody who was asked, in the order of the slots."""
    roles = {seat.slot: seat.role for seat in record.panel}
    late = {each.slot for each in record.late}
    found: list[tuple[str, Standing]] = []
    for member in record.members:
        marks: list[Mark] = ["silent"] if member.silent else []
        marks += ["late"] if member.slot in late else []
        marks += ["cut off"] if member.incomplete else []
        model = member.model_served or member.model_requested
        found.append((model, Standing(member.slot, "", tuple(marks) or ("answered",), "", member.role, member)))
    taken = {member.slot for member in record.members}
    for failed in record.failed:
        if failed.slot in taken:  # it failed this time, and an earlier answer of its came in
            continue
        stopped = failed.kind == "cancelled"
        why = "" if stopped else failed.kind.replace("_", " ")
        standing = Standing(
            failed.slot, "", ("stopped",) if stopped else ("failed",), why, roles.get(failed.slot), None, failed
        )
        found.append((failed.model, standing))
        taken.add(failed.slot)
    models = {seat.slot: seat.model for seat in record.panel}
    for slot in record.running:
        if slot not in taken:
            found.append((models.get(slot, ""), Standing(slot, "", ("working",), "", roles.get(slot))))
    found.sort(key=lambda each: (len(each[1].slot), each[1].slot))
    names = [short_name(model) if model else f"member {standing.slot}" for model, standing in found]
    counts = Counter(names)
    return [
        standing._replace(name=f"{name} ({standing.slot})" if counts[name] > 1 else name)
        for name, (_model, standing) in zip(names, found, strict=True)
    ]


def slots_by_name(record: CounselRecord) -> dict[str, str]:
    """The slot of each name that an analysis may use for somebody who spoke."""
    speakers = record.speakers
    named = dict(zip(display_names(speakers), (member.slot for member in speakers), strict=True))
    short = {standing.name: standing.slot for standing in standings(record)}
    return short | named
