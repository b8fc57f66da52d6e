"""What a counsel says, point by point: so that what was said is not said again, and what is in force can be listed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from moa.panel.grades import GRADES, Grade
from moa.panel.quoting import flat

if TYPE_CHECKING:
    from moa.aggregate.analysis import Analysis
    from moa.aggregate.result import Result
    from moa.counsel.counsel import Counsel
    from moa.counsel.record import CounselRecord, MemberRecord, ResultRecord
    from moa.panel.outcome import Answer

POINT_CHARS = 240
_ALIKE = 0.8
"""Two points of which so many words are the same say the same."""


class Point(NamedTuple):
    """One thing that is said. `section` is the heading that it stands under, `path` its place in the analysis (`consensus[0]`), `text`
    one line, with the holder's name where somebody holds it; `claim` is the same without the holder: who says it is no news."""

    section: str
    path: str
    text: str
    claim: str
    slot: str = ""


NEXT, AGREED, DISPUTED = "Next steps", "Agreed", "Disputed"
MINORITY, SOME, NONE = "Minority report, each raised by one member", "Mentioned by some", "Blind spots"
ANSWERS, RESULTS = "Answers", "Results"


def of(counsel: Counsel) -> tuple[Point, ...]:
    """The points of a counsel, the most useful first; where no model compared the answers, what its method made of them, or chose."""
    found = counsel.aggregation
    if found is None:
        return ()
    if found.analysis is not None:
        return tuple(of_analysis(found.analysis))
    # Blockers first: where there is room for one alone, it is theirs.
    gravest = sorted(counsel.chosen, key=lambda each: -GRADES.index(each.grade))
    return _uncompared(found.results, gravest)


def of_record(record: CounselRecord) -> tuple[Point, ...]:
    """The points of a kept counsel."""
    if record.analysis is not None:
        from moa.aggregate.analysis import from_record

        return tuple(of_analysis(from_record(record.analysis)))
    return _uncompared(record.results, record.chosen_answers)


def _uncompared(
    results: Iterable[Result | ResultRecord], answers: Iterable[Answer | MemberRecord]
) -> tuple[Point, ...]:
    if made := tuple(Point(RESULTS, "", flat(each.text, POINT_CHARS), each.claim) for each in results):
        return made
    said = ((flat(answer.text, POINT_CHARS), answer.slot) for answer in answers)
    return tuple(Point(ANSWERS, "", text, text, slot) for text, slot in said)


def of_analysis(analysis: Analysis) -> Iterable[Point]:
    """The points of an analysis, the most useful first."""

    def section(title: str, key: str, found: Iterable[tuple[str, str]]) -> Iterable[Point]:
        """`found` are pairs of who holds it (may be empty) and what."""
        for index, (holder, claim) in enumerate(found):
            text = f"{holder}: {claim}" if holder else claim
            yield Point(title, f"{key}[{index}]", flat(text, POINT_CHARS), flat(claim, POINT_CHARS))

    yield from section(NEXT, "next_steps", (("", step) for step in analysis.next_steps))
    for index, one in enumerate(analysis.contradictions):
        stances = [(held.model, flat(held.stance, 160)) for held in one.stances[:8]]
        text = f"{one.topic}: " + "; ".join(f"{model}: {stance}" for model, stance in stances)
        claim = f"{one.topic}: " + "; ".join(stance for _model, stance in stances)
        path = f"contradictions[{index}]"
        yield Point(DISPUTED, path, flat(text, 2 * POINT_CHARS), flat(claim, 2 * POINT_CHARS))
    yield from section(
        MINORITY, "unique_insights", ((one.model or "one of them", one.insight) for one in analysis.unique_insights)
    )
    yield from section(AGREED, "consensus", (("", point) for point in analysis.consensus))
    yield from section(
        SOME, "partial_coverage", ((", ".join(one.models) or "some", one.point) for one in analysis.partial_coverage)
    )
    yield from section(NONE, "blind_spots", (("", point) for point in analysis.blind_spots))


def new(counsel: Counsel, in_force: Iterable[str]) -> tuple[Point, ...]:
    """The points of a counsel that are not in force already, and each only once."""
    from moa.panel.names import display_names

    points = of(counsel)
    # An aggregator's prose names the panel's models (in place of its labels): who holds a point is no news.
    compared = counsel.aggregation is not None and counsel.aggregation.analysis is not None
    own = _words(" ".join(display_names(counsel.answers))) if compared else frozenset()
    said = [_words(text) - own for text in in_force]
    kept: list[Point] = []
    for point in points:
        words = _words(point.claim) - own
        if not any(_alike(words, other) for other in said):
            kept.append(point)
            said.append(words)
    return tuple(kept)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+(?:[./:-]\w+)*", text.casefold()))


def likeness(one: str, other: str) -> float:
    """The share of their words that two texts have in common, 0 to 1."""
    first, second = _words(one), _words(other)
    return len(first & second) / len(first | second) if first and second else float(first == second)


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    if not one or not other:
        return one == other
    return len(one & other) >= _ALIKE * len(one | other)


# Looked for where a word begins alone: in a word without end it would be looked for at each of its letters.
_PATH = re.compile(r"(?<![\w.@~-])(?:[\w.@~-]+/)+[\w.@-]+|\b[\w-]+\.[A-Za-z]\w{0,4}\b")
_TICKED = re.compile(r"`([^`\n]{1,120})`")


def names(text: str, tools: frozenset[str]) -> frozenset[str]:
    """Which of the `tools` and what paths a piece of advice names: what can be looked for in the calls that follow.

    A tool counts where it is the first word or stands between backticks: most of their names are plain English.
    """
    ticked = _TICKED.findall(text)
    found = {path.strip(".") for path in _PATH.findall(text) if not path.replace(".", "").isdigit()}
    first = re.match(r"\W*(\w+)", text)
    words = [first[1].lower()] if first else []
    words += [word.split("(")[0].split()[0] for word in ticked if word.strip()]
    return frozenset(found | {word for word in words if word in tools})


def followed(
    advice: Iterable[str], calls: Iterable[tuple[str, str]], tools: frozenset[str] = frozenset()
) -> bool | None:
    """Whether one of the calls (name, arguments) does what one of the steps names. None: no step names one of the `tools`, or a path.

    A step that names a path is followed by a call that has that path; one that names only a tool by a call of that tool.
    """
    made = list(calls)
    tools |= {name for name, _arguments in made}
    wanted = [found for text in advice if (found := names(text, tools))]
    if not wanted:
        return None
    for found in wanted:
        paths = found - tools
        for name, arguments in made:
            if any(path in arguments for path in paths) or (not paths and name in found):
                return True
    return False


def grade_of(word: object) -> Grade:
    """A grade as a record has it; a note for anything else."""
    return next((grade for grade in GRADES if grade == word), "note")
