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
    found: list[Standing] = []
    for member in record.members:
        marks: list[Mark] = ["silent"] if member.silent else []
        marks += ["late"] if member.slot in late else []
        marks += ["cut off"] if member.incomplete else []
        served = member.model_served
        name = short_name(served, served=True) if served else short_name(member.model_requested)
        found.append(Standing(member.slot, name, tuple(marks) or ("answered",), "", member.role, member))
    taken = {member.slot for member in record.members}
    for failed in record.failed:
        if failed.slot in taken:  # it failed this time, and an earlier answer of its came in
            continue
        stopped = failed.kind == "cancelled"
        why = "" if stopped else failed.kind.replace("_", " ")
        mark: Mark = "stopped" if stopped else "failed"
        name = short_name(failed.model)
        found.append(Standing(failed.slot, name, (mark,), why, roles.get(failed.slot), None, failed))
        taken.add(failed.slot)
    models = {seat.slot: seat.model for seat in record.panel}
    for slot in record.running:
        if slot not in taken:
            found.append(Standing(slot, short_name(models.get(slot, "")), ("working",), "", roles.get(slot)))
    found.sort(key=lambda each: (len(each.slot), each.slot))
    named = [each if each.name else each._replace(name=f"member {each.slot}") for each in found]
    counts = Counter(each.name for each in named)
    return [each._replace(name=f"{each.name} ({each.slot})") if counts[each.name] > 1 else each for each in named]


def slots_by_name(record: CounselRecord) -> dict[str, str]:
    """The slot of each name that an analysis may use for somebody who spoke."""
    speakers = record.speakers
    named = dict(zip(display_names(speakers), (member.slot for member in speakers), strict=True))
    short = {standing.name: standing.slot for standing in standings(record)}
    return short | named
