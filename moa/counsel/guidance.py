"""From a counsel to the text that the main model gets: pure, short (it is paid for in every later request), and framed.

Everything that a model or an endpoint wrote stands between bars that it can't close (see quoting.fence). Outside of them there are only
our own words and the names of models, which are cut down to the characters that model ids have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agent.llm.tokens import estimate_tokens
from agent.text.numbers import plural
from moa.aggregate.methods import came_by
from moa.counsel import points as all_points
from moa.counsel.points import ANSWERS, RESULTS, Point
from moa.panel import prompts
from moa.panel.names import display_names, safe_name
from moa.panel.quoting import CUT, fence, first_sentences, flat

if TYPE_CHECKING:
    from moa.counsel.counsel import Counsel
    from moa.counsel.delivery import Delivery, InForce, Open
    from moa.panel.grades import Grade
    from moa.panel.outcome import Answer

MARKS = 20
"""Tokens of the marks that it is sent between, which are not in the text."""
_PROVENANCE_CHARS = 200
_LEAST_POINT = 12
_FENCE = 4
"""Tokens of a pair of bars, and of a mark that something was left out."""
_UNVERIFIED = " [its quote is not in the source]"

# Why there is no answer, in neutral words: the error's own text is a provider's, and may say anything.
_WHY = {
    "rate_limited": "rate limited",
    "overloaded": "overloaded",
    "timed_out": "too slow",
    "cancelled": "stopped",
    "budget": "no budget left",
    "payment_required": "no credit",
    "auth": "no access",
    "context_overflow": "the conversation is too long for it",
    "model_not_found": "not offered",
    "connection_failed": "not reached",
    "stream_broken": "broke off",
    "empty_answer": "said nothing",
    "refusal": "declined",
    "answer_too_long": "went on without end",
}


def whole(counsel: Counsel, *, turn: int) -> str | None:
    """All that a counsel says, for the main model, in turn number `turn`; None where there is nothing to say."""
    points = all_points.of(counsel)
    return render(counsel, points, turn=turn, limit=None) if points else None


def delivered(counsel: Counsel, found: Delivery, in_force: InForce, *, turn: int) -> str | None:
    """What of it goes out, in turn number `turn`, in the room that is left beside what is in force; None where nothing does."""
    if found.reminder is not None:
        return reminder(found.reminder)
    limit = in_force.limit(blocker=counsel.grade == "blocker")
    return render(counsel, found.points, turn=turn, limit=limit) if found.points else None


def render(counsel: Counsel, points: Sequence[Point], *, turn: int, limit: int | None) -> str:
    """The text as it is sent, and stays: `points` of a counsel that was taken in turn number `turn`, in at most `limit` tokens with the
    marks around it (None: as many as there are). What does not fit is left out from the end, and the cut is marked.
    """
    head = [prompts.FRAME, f"{where(turn, counsel.step, counsel.grade)} {_provenance(counsel)}"]
    if counsel.draft is not None:
        head.append(prompts.HELD_BACK)
    found = counsel.aggregation
    if found is not None and found.error is not None and found.analysis is None:
        head.append("The answers could not be compared; they follow as they are.")
    elif found is not None and found.analysis is None and (lead := came_by(found.rung).lead):
        head.append(lead)
    room = None if limit is None else max(_LEAST_POINT, limit - MARKS - estimate_tokens("\n".join(head)) - 4)
    if points and points[0].section == ANSWERS:
        return "\n".join([*head, *_answers(counsel, [point.slot for point in points], room)])
    return "\n".join([*head, fence(_listed(points, room, _marker(counsel)))])


def reminder(last: Open) -> str:
    """One line about a blocker that stands in the conversation already and was not followed."""
    # On one line the guillemets are the bars.
    said = first_sentences(flat(last.text, 400), 60)[0].replace("«", "<").replace("»", ">")
    return f"{prompts.FRAME_SHORT} Still open, a blocker from turn {last.turn} before step {last.step}: «{said}»"


def where(turn: int, step: int, grade: Grade = "note") -> str:
    """Where a counsel belongs, in words that stay true wherever they are read from, and how much it matters."""
    said = f"Written in turn {turn} before step {step}; what comes after counts more; newer guidance replaces it where they differ."
    return said if grade in ("nothing", "note") else f"{said} Severity: {grade}."


def _provenance(counsel: Counsel) -> str:
    """Who answered, and who did not. Counts stand for the names where there are many."""
    names = display_names(counsel.speakers)
    said = [
        _with(name.rpartition("/")[2], _about(a, counsel.step)) for name, a in zip(names, counsel.speakers, strict=True)
    ]
    parts = [f"From {', '.join(said)}."]
    if counsel.silent:
        parts.append(f"Nothing to add: {len(counsel.silent)}.")
    if counsel.failures:
        missing = [
            _with(safe_name(f.model_requested).rpartition("/")[2], _WHY.get(f.kind, "failed")) for f in counsel.failures
        ]
        parts.append(f"No answer: {', '.join(missing)}.")
    waiting = [safe_name(str(m.model)).rpartition("/")[2] for m in counsel.members if m.slot in counsel.running]
    if waiting:
        parts.append(f"Not in yet: {', '.join(waiting)}.")
    text = " ".join(parts)
    if len(text) <= _PROVENANCE_CHARS:
        return text
    counts = [f"From {len(counsel.speakers)} of {plural(len(counsel.members), 'member')}"]
    counts += [f"{len(counsel.silent)} had nothing to add"] if counsel.silent else []
    counts += [f"{len(counsel.failures)} gave no answer"] if counsel.failures else []
    return f"{'; '.join(counts)}."


def _about(answer: Answer, step: int) -> str:
    about = [f"as of step {answer.step}"] if answer.step != step else []
    return ", ".join([*about, "cut off"] if answer.incomplete else about)


def _with(name: str, about: str) -> str:
    return f"{name} ({about})" if about else name


def _marker(counsel: Counsel) -> Callable[[Point], str]:
    """What stands behind a point whose quote was not found where it should be."""
    evidence = () if counsel.aggregation is None else counsel.aggregation.evidence
    unverified = {check.path for check in evidence if not check.verified}

    def mark(point: Point) -> str:
        bad = (
            any(path == point.path or path.startswith(f"{point.path}.") for path in unverified) if point.path else False
        )
        return _UNVERIFIED if bad else ""

    return mark


def _listed(points: Sequence[Point], room: int | None, mark: Callable[[Point], str]) -> str:
    """The points under their headings, most useful first. Each section's first point comes before any section's second, so that a
    minority report is not what falls off."""
    ranks: dict[str, int] = {}
    ranked = []
    for order, point in enumerate(points):
        ranks[point.section] = ranks.get(point.section, -1) + 1
        ranked.append((ranks[point.section], order, point))
    left = room
    chosen: dict[int, str] = {}
    sections: set[str] = set()
    cut = False
    for _rank, order, point in sorted(ranked, key=lambda each: each[:2]):
        line = f"- {point.text}{mark(point)}"
        if left is None:
            chosen[order] = line
            continue
        heading = 0 if point.section in sections else estimate_tokens(point.section) + 1
        cost = estimate_tokens(line) + 1 + heading
        reserve = 0 if order == len(points) - 1 and len(chosen) == len(points) - 1 else estimate_tokens(CUT)
        if cost > left - reserve:
            cut = True
            most = left - reserve - heading - 3
            if most < _LEAST_POINT or (chosen and most * 2 < estimate_tokens(line)):
                continue  # a shorter one may still fit
            line, cost = f"- {first_sentences(point.text, most)[0]}", left - reserve
        sections.add(point.section)
        chosen[order] = line
        left -= cost
    lines: list[str] = []
    shown = ""
    for order, point in enumerate(points):
        if order not in chosen:
            continue
        if point.section != shown and point.section != RESULTS:
            lines.append(f"{point.section}:")
        shown = point.section
        lines.append(chosen[order])
    if cut and not any(line.endswith(CUT) for line in lines):
        lines.append(CUT)
    return "\n".join(lines)


def _answers(counsel: Counsel, slots: Sequence[str], room: int | None) -> list[str]:
    """The answers as they are, each between bars of its own. They share the room evenly; what a short one leaves goes to the others."""
    named = zip(display_names(counsel.speakers), counsel.speakers, strict=True)
    by_slot = {answer.slot: (name, answer) for name, answer in named}
    chosen = [by_slot[slot] for slot in slots if slot in by_slot]
    headings = [_heading(name, answer, alone=len(by_slot) == 1) for name, answer in chosen]
    texts = [answer.text.strip() for _name, answer in chosen]
    blocks = [f"{heading}{fence(text)}" for heading, text in zip(headings, texts, strict=True)]
    if room is None:
        return blocks
    sizes = [estimate_tokens(heading) + _FENCE for heading in headings]
    count = len(texts)
    while count > 1 and room - sum(sizes[:count]) < _LEAST_POINT * 2 * count:
        count -= 1  # a few words of each would be worth nothing to anybody; the gravest stay
    left_out = [CUT] if count < len(texts) else []
    shared = _shared(texts[:count], max(_LEAST_POINT, room - sum(sizes[:count]) - len(left_out) * _FENCE))
    return [*(f"{head}{fence(text)}" for head, text in zip(headings, shared, strict=False)), *left_out]


def _heading(name: str, answer: Answer, *, alone: bool) -> str:
    if alone:
        return f"(asked to: {flat(answer.role, 60)})\n" if answer.role else ""
    about = _with(name.rpartition("/")[2], f"asked to: {flat(answer.role, 60)}" if answer.role else "")
    return f"{about}{'' if answer.grade == 'note' else f', {answer.grade}'}:\n"


def _shared(texts: Sequence[str], room: int) -> list[str]:
    """The texts in `room` tokens, in their order: each may have an even share of what the shorter ones leave."""
    sizes = sorted((estimate_tokens(text), at) for at, text in enumerate(texts))
    left, cut = room, dict[int, str]()
    for done, (size, at) in enumerate(sizes):
        share = max(1, left // (len(sizes) - done))
        cut[at] = texts[at] if size <= share else first_sentences(texts[at], share)[0]
        left -= min(size, share)
    return [cut[at] for at in range(len(texts))]
