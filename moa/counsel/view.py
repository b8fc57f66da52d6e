"""A recorded counsel as a View: who holds what, the points with their quotes, who said what, the guidance as sent, calls and cost.

Everything that models wrote stays literal text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from agent.llm.money import show_cost
from agent.text.numbers import span
from agent.views import Mark, StackView, TableView, TabsView, TreeView, View
from moa.aggregate.methods import output_mode
from moa.counsel.cadence import WITHHELD
from moa.counsel.holding import AGREED, ALONE, DISPUTED, NEXT, NONE, SOME, Checks, matrix, sides
from moa.counsel.record import CounselRecord
from moa.counsel.standing import Standing, slots_by_name, standings
from moa.counsel.telling import line_of

if TYPE_CHECKING:
    from moa.aggregate.analysis import Analysis, Contradiction
    from moa.counsel.record import MemberRecord, QuoteRecord

IN_TABLE = (DISPUTED, ALONE, AGREED, SOME)


def counsel_view(data: Mapping[str, Any], *, number: int | None = None, of: int | None = None) -> View:
    """Tabs, from a record's data; the first says who holds what, or, where nothing was compared, why, and who said what.

    With `number` it is headed by the counsel's line.
    """
    record = CounselRecord.read(data)
    analysis = _analysis_of(record)
    title = f"{number} of {of} · {line_of(record).line}" if number else ""
    table, members, made = matrix(record, analysis, title=title), members_tree(record), results_tree(record)
    heads = (table,) if made is None else (table, made)
    tabs: list[tuple[str, View]] = [("Members", StackView(views=(*heads, members)))]
    if record.task == "review":
        from moa.counsel.findings_view import tree

        tabs.insert(0, ("Findings", tree(record)))
    if analysis is not None and record.task == "review":
        tabs.insert(1, ("Analysis", StackView(views=(table, *_beside(record, analysis)))))
    elif analysis is not None:
        tabs = [("Analysis", StackView(views=(table, *_beside(record, analysis)))), ("Members", members)]
    tabs += [("Guidance", _guidance(record)), ("Calls & cost", StackView(views=tuple(_calls(record))))]
    return TabsView(tabs=tuple(tabs))


def _analysis_of(record: CounselRecord) -> Analysis | None:
    if record.analysis is None:
        return None
    from moa.aggregate.analysis import from_record

    return from_record(record.analysis)


def said_tree(record: CounselRecord) -> TreeView | None:
    """Every point with what was quoted for it, or what a method without a model made of the answers; None where they stand as they are."""
    analysis = _analysis_of(record)
    return results_tree(record) if analysis is None else _points(record, analysis)


def results_tree(record: CounselRecord) -> TreeView | None:
    """What a method without a model made of the answers; None where it made nothing of its own."""
    made = tuple(TreeView(label=each.text) for each in record.results)
    return TreeView(label=(output_mode(record.rung) or "").capitalize(), children=made) if made else None


# Points


def _points(record: CounselRecord, analysis: Analysis) -> TreeView:
    """Every point with what was quoted for it, dissent first."""
    found = {title: points for title, points in _sections(record, analysis).items() if points}
    return TreeView(label="Points and what was quoted for them", children=tuple(map(_section, found.items())))


def _beside(record: CounselRecord, analysis: Analysis) -> Iterator[TreeView]:
    """What the table of who holds what does not say: the quotes, what nobody saw, and what to do next."""
    found = {}
    for title, points in _sections(record, analysis).items():
        shown = [each for each in points if title not in IN_TABLE or _is_quoted(each)]
        if shown:
            found[title] = shown
    if found:  # without a count: the table has the points that were not quoted, too
        sections = [TreeView(label=title, children=tuple(points)) for title, points in found.items()]
        yield TreeView(label="Quotes, blind spots and next steps", children=tuple(sections))


def _is_quoted(point: TreeView) -> bool:
    return any(child.mark in ("verified", "unverified") or _is_quoted(child) for child in point.children)


def _section(found: tuple[str, list[TreeView]]) -> TreeView:
    title, points = found
    return TreeView(label=f"{title} ({len(points)})", children=tuple(points))


def _sections(record: CounselRecord, analysis: Analysis) -> dict[str, list[TreeView]]:
    checks, slots = Checks(record.evidence), slots_by_name(record)
    disputes = enumerate(analysis.contradictions)
    return {
        DISPUTED: [_dispute(f"contradictions[{at}]", one, checks, slots) for at, one in disputes],
        ALONE: [
            _point(f"unique_insights[{at}]", one.insight, checks, [one.model], mark="alone")
            for at, one in enumerate(analysis.unique_insights)
        ],
        AGREED: [_point(f"consensus[{at}]", text, checks) for at, text in enumerate(analysis.consensus)],
        SOME: [
            _point(f"partial_coverage[{at}]", one.point, checks, one.models)
            for at, one in enumerate(analysis.partial_coverage)
        ],
        NONE: [_point(f"blind_spots[{at}]", text, checks) for at, text in enumerate(analysis.blind_spots)],
        NEXT: [_point(f"next_steps[{at}]", text, checks) for at, text in enumerate(analysis.next_steps)],
        "Quotes that belong to no point": [
            _quote(quote) for quote in record.evidence if not _has_point(quote, analysis)
        ],
    }


def _point(
    path: str, text: str, checks: Checks, holders: list[str] | None = None, *, mark: Mark | None = None
) -> TreeView:
    quotes = checks.of(path)
    if holders is None:  # nobody else says who agrees; a quote that isn't there says it of nobody
        holders = list(dict.fromkeys(quote.source for quote in quotes if quote.verified is not False))
    about = f"held by {', '.join(filter(None, holders))}" if any(holders) else ""
    return TreeView(label=text, mark=mark, about=about, children=tuple(map(_quote, quotes)))


def _dispute(path: str, one: Contradiction, checks: Checks, slots: Mapping[str, str]) -> TreeView:
    stances = []
    for side in sides(one, slots):
        quotes = [quote for at in side.at for quote in checks.of(f"{path}.stances[{at}]")]
        label = f"{side.letter}  {', '.join(dict.fromkeys(side.models))}: {side.stance}"
        stances.append(TreeView(label=label, children=tuple(map(_quote, quotes))))
    inside = f"{path}.stances"
    others = tuple(_quote(quote) for quote in checks.of(path) if not quote.path.startswith(inside))
    return TreeView(label=one.topic, mark="disputed", children=(*stances, *others))


def _quote(quote: QuoteRecord) -> TreeView:
    if quote.verified:
        return TreeView(label=f"“{quote.quote}”", mark="verified", about=quote.source)
    why = "not checked" if quote.verified is None else f"not verified: {quote.reason or 'it is not in the source'}"
    return TreeView(label=f"“{quote.quote}”", mark="unverified", about=f"{quote.source}, {why}")


def _has_point(quote: QuoteRecord, analysis: Analysis) -> bool:
    key, _, rest = quote.path.partition("[")
    points = getattr(analysis, key, None) if key in type(analysis).model_fields else None
    index = rest.partition("]")[0]
    return isinstance(points, list) and index.isdecimal() and len(index) < 7 and int(index) < len(points)


# Members


def members_tree(record: CounselRecord) -> TreeView:
    """Who said what."""
    put = (("Put to the panel", record.question), ("The draft that was reviewed", record.draft))
    said = [TreeView(label=title, text=text) for title, text in put if text]
    said += [_member(each, record) for each in standings(record)]
    return TreeView(label=f"{record.answered} of {record.asked} answered", children=tuple(said))


def _member(each: Standing, record: CounselRecord) -> TreeView:
    facts = [each.state + (f": {each.why}" if each.why else "")]
    text = ""
    if each.member is not None:
        facts += _facts(each.member, record)
        text = each.member.text
    elif each.failure is not None:
        facts.append(span(each.failure.duration_s, exact=True))
        text = each.failure.message
    facts += [f"asked to: {each.role}"] if each.role else []
    return TreeView(label=f"{each.slot}  {each.name}", mark=each.marks[0], about=" · ".join(facts), text=text)


def _facts(member: MemberRecord, record: CounselRecord) -> list[str]:
    facts = [member.grade] if member.grade in ("note", "concern", "blocker") and member.named else []
    facts += ["chosen"] if member.slot in (record.chosen or ()) else []
    facts += [f"asked before step {member.step}"] if member.step != record.step else []
    requested, served = member.model_requested, member.model_served
    if served and requested and not requested.endswith(served):
        facts.append(f"{served} for {requested}")
    if member.completion_tokens is not None:
        facts.append(f"{member.completion_tokens} tokens")
    return [*facts, show_cost(member.cost.usd, member.cost.lower_bound), span(member.duration_s, exact=True)]


def _guidance(record: CounselRecord) -> View:
    if record.guidance:
        with_call = f"with call {record.iteration} of the main model, word for word"
        where = "the result of the consult tool, word for word" if record.trigger == "consult" else with_call
        return TreeView(label=f"Sent {where}", text=record.guidance)
    why = f": {WITHHELD.get(record.withheld, record.withheld)}" if record.withheld else ""
    return TreeView(label=f"The main model was sent no guidance from this{why}")


# Calls and cost


def _calls(record: CounselRecord) -> Iterator[View]:
    rows = [_call(each) for each in standings(record)]
    aggregator = record.aggregator
    if aggregator is not None:
        outcome = "failed" if aggregator.error else "answered"
        rows.append(
            (
                "aggregator",
                aggregator.model_served or "",
                f"{outcome} (fallback)" if aggregator.fallback_used else outcome,
                _figure(aggregator.prompt_tokens),
                _figure(aggregator.completion_tokens),
                show_cost(aggregator.cost.usd, aggregator.cost.lower_bound),
                span(aggregator.duration_s, exact=True),
                " ".join(aggregator.calls),
            )
        )
    together = f"together {show_cost(record.cost.usd, record.cost.lower_bound)}, {span(record.duration_s, exact=True)}"
    heads = ("member", "model", "outcome", "in", "out", "cost", "time", "call")
    yield TableView(columns=heads, rows=tuple(rows), align="lllrrrrl", note=together, spare=("call",))
    yield TableView(columns=("", ""), rows=tuple(_about(record)))
    if aggregator is not None and aggregator.text:
        yield TreeView(label="What the aggregator wrote", text=aggregator.text)


def _call(each: Standing) -> tuple[str, ...]:
    member, failure = each.member, each.failure
    if member is not None:
        return (
            each.slot,
            member.model_served or member.model_requested,
            each.state,
            _figure(member.prompt_tokens),
            _figure(member.completion_tokens),
            show_cost(member.cost.usd, member.cost.lower_bound),
            span(member.duration_s, exact=True),
            member.call_id,
        )
    if failure is not None:
        outcome = each.state + (f": {each.why}" if each.why else "")
        return (
            each.slot,
            failure.model,
            outcome,
            "",
            "",
            show_cost(failure.cost.usd, failure.cost.lower_bound) if failure.cost else "",
            span(failure.duration_s, exact=True),
            failure.call_id or "",
        )
    return (each.slot, each.name, each.state, "", "", "", "", "")


def _figure(tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens:,}"


def _about(record: CounselRecord) -> Iterable[tuple[str, str]]:
    """How it came about, and what it did."""
    receipt = record.receipt or {}
    rows: list[tuple[str, object]] = [
        ("preset", record.preset),
        ("taken because", record.reason or record.trigger),
        ("sent with", f"call {record.iteration}, taken before call {record.step}" if record.guidance else "no call"),
        ("severity", record.severity),
        ("output mode", output_mode(record.rung)),
        ("order of answers", None if record.seed is None else f"seed {record.seed}"),
        ("saved", receipt.get("saved_usd")),
    ]
    rows += [("warning", warning) for warning in record.warnings]
    return [(key, str(value)) for key, value in rows if value not in (None, "")]
