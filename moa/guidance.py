"""From a counsel to the text that goes with one request: pure, short (it is paid for at every step), and framed.

Everything that a model or an endpoint wrote stands between bars that it can't close (see quoting.fence). Outside of them there are only
our own words and the names of models, which are cut down to the characters that model ids have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from moa import prompts
from moa.names import display_names, safe_name
from moa.quoting import fence, flat, head_and_tail

if TYPE_CHECKING:
    from moa.aggregation import Aggregation
    from moa.analysis import Analysis
    from moa.outcome import Answer, Failure

_MOST_ITEMS = 4
_POINT_CHARS = 240
_STANCE_CHARS = 160
_RAW_CHARS = 3000
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
}


def render(
    aggregation: Aggregation,
    answers: Sequence[Answer],
    failures: Sequence[Failure],
    *,
    step_taken: int,
    step_now: int,
    results_since: int = 0,
    running: Sequence[str] = (),
) -> str:
    """The full form; empty where nobody answered.

    `answers` must be those (in that order) that were aggregated. `step_taken` is the main-model call that the counsel was taken before,
    `step_now` the one that it now goes with, `results_since` how many tool results came between. `running` names models still at work.
    """
    if not answers:
        return ""
    head = [
        prompts.FRAME,
        f"{_capital(age(step_taken, step_now, results_since))}. {_provenance(answers, failures, running, step_taken)}",
    ]
    if aggregation.analysis is not None:
        return "\n".join([*head, fence(_analysis(aggregation, aggregation.analysis))])
    if aggregation.rung == "vote":
        head.append(f"Their final words, counted:\n{fence(head_and_tail(aggregation.text, _RAW_CHARS))}")
    elif aggregation.error is not None:
        head.append("The answers could not be compared; they follow as they are.")
    return "\n".join([*head, *_raw(answers)])


def one_line(
    aggregation: Aggregation, answers: Sequence[Answer], *, step_taken: int, step_now: int, results_since: int = 0
) -> str:
    """What is left of a counsel some calls later: a frame, its age, and what mattered most. Empty where nobody answered."""
    if not answers:
        return ""
    analysis = aggregation.analysis
    if analysis is None:
        names = display_names(answers)
        said = [f"{name}: {flat(answer.text, 110)}" for name, answer in zip(names, answers, strict=True)][:3]
    else:
        said = [f"next: {flat(step, 140)}" for step in (analysis.next_steps or analysis.consensus)[:2]]
        said += [f"disputed: {flat(one.topic, 80)}" for one in analysis.contradictions[:1]]
        said += [f"{one.model} alone: {flat(one.insight, 110)}" for one in analysis.unique_insights[:1]]
    # On one line the guillemets are the bars.
    quoted = flat("; ".join(said), 480).replace("«", "<").replace("»", ">")
    frame = prompts.FRAME_SHORT.format(age=age(step_taken, step_now, results_since))
    return f"{frame} «{quoted}»"


def age(step_taken: int, step_now: int, results_since: int = 0) -> str:
    """When a counsel was taken, as seen from now. Advice that is replayed as if it were fresh makes a model repeat itself."""
    if step_now <= step_taken:
        return f"taken for this step, {step_now}"
    since = f"{results_since} tool result{'' if results_since == 1 else 's'} since" if results_since else "now"
    return f"taken before step {step_taken}, {since}, at step {step_now}: what has been done meanwhile counts more"


def _provenance(answers: Sequence[Answer], failures: Iterable[Failure], running: Iterable[str], step_taken: int) -> str:
    said = []
    for name, answer in zip(display_names(answers), answers, strict=True):
        about = [f"as of step {answer.step}"] if answer.step != step_taken else []
        about += ["cut off"] if answer.incomplete else []
        said.append(f"{name} ({', '.join(about)})" if about else name)
    sentences = [f"Answered: {', '.join(said)}."]
    silent = [f"{safe_name(failure.model_requested)} ({_WHY.get(failure.kind, 'failed')})" for failure in failures]
    if silent:
        sentences.append(f"No answer: {', '.join(silent)}.")
    waiting = [safe_name(name) for name in running]
    if waiting:
        sentences.append(f"Not in yet: {', '.join(waiting)}.")
    return " ".join(sentences)


def _raw(answers: Sequence[Answer]) -> list[str]:
    blocks = []
    for name, answer in zip(display_names(answers), answers, strict=True):
        role = f" (asked to: {flat(answer.role, 100)})" if answer.role else ""
        blocks.append(f"{name}{role}:\n{fence(head_and_tail(answer.text.strip(), _RAW_CHARS))}")
    return blocks


def _analysis(aggregation: Aggregation, analysis: Analysis) -> str:
    """The sections that have something to say, most useful first. Dissent is named with its holders."""
    unverified = {check.path for check in aggregation.evidence if not check.verified}

    def mark(path: str) -> str:
        return _UNVERIFIED if any(bad == path or bad.startswith(f"{path}.") for bad in unverified) else ""

    sections = (
        ("Next steps", "next_steps", analysis.next_steps),
        ("Agreed", "consensus", analysis.consensus),
        (
            "Disputed",
            "contradictions",
            [
                f"{flat(one.topic, _STANCE_CHARS)}: "
                + "; ".join(f"{held.model}: {flat(held.stance, _STANCE_CHARS)}" for held in one.stances[:8])
                for one in analysis.contradictions
            ],
        ),
        (
            "Minority report, each seen by one alone",
            "unique_insights",
            [f"{one.model or 'one of them'}: {one.insight}" for one in analysis.unique_insights],
        ),
        (
            "Seen by some",
            "partial_coverage",
            [f"{', '.join(one.models) or 'some'}: {one.point}" for one in analysis.partial_coverage],
        ),
        ("Seen by none", "blind_spots", analysis.blind_spots),
    )
    lines = []
    for title, key, points in sections:
        if not points:
            continue
        more = f" (first {_MOST_ITEMS} of {len(points)})" if len(points) > _MOST_ITEMS else ""
        lines.append(f"{title}{more}:")
        limit = _POINT_CHARS * 2 if key == "contradictions" else _POINT_CHARS
        lines += [f"- {flat(text, limit)}{mark(f'{key}[{index}]')}" for index, text in enumerate(points[:_MOST_ITEMS])]
    return "\n".join(lines)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
