"""An analysis, point by point: who holds it, what was quoted for it, and whether the quote is really there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from textual.content import Content

from agent.ui.tui.blocks import Block, clean
from agent.ui.tui.cells import one_line

_TITLES = {
    "consensus": "Agreed",
    "contradictions": "Disputed",
    "partial_coverage": "Seen by some",
    "unique_insights": "Seen by one alone",
    "blind_spots": "Seen by none",
    "next_steps": "Next steps",
}
_POINT = Content.styled("• ", "$text-accent")
_PAD = Content("  ")
_DEEP = Content("    ")


def analysis(data: Mapping[str, Any]) -> Iterator[Block]:
    """Every section that has a point, each point with its holders and its evidence."""
    found = data.get("analysis")
    if not isinstance(found, Mapping):
        return
    checks = _checks(data, found)
    for key, title in _TITLES.items():
        points = found.get(key)
        if not isinstance(points, list) or not points:
            continue
        yield _title(f"{title} ({len(points)})")
        for index, point in enumerate(points):
            yield from _point(f"{key}[{index}]", point, checks)
    if checks:
        yield _title("Quotes that belong to no point")
        for check in checks:
            yield _quote(check)


def dissent(data: Mapping[str, Any]) -> Iterator[Block]:
    """What would be lost in a majority: what one alone saw, what is disputed and by whom, what fewer than half mention."""
    found = data.get("analysis")
    if not isinstance(found, Mapping):
        return
    answered = data.get("answered")
    few = answered / 2 if isinstance(answered, int) else 2.0
    partial = found.get("partial_coverage")
    rare = [
        (index, point)
        for index, point in enumerate(partial if isinstance(partial, list) else [])
        if isinstance(point, Mapping) and len(_names(point.get("models"))) < few
    ]
    checks = _checks(data, found)
    for title, key in (("Seen by one alone", "unique_insights"), ("Where they part", "contradictions")):
        points = found.get(key)
        if isinstance(points, list) and points:
            yield _title(title)
            for index, point in enumerate(points):
                yield from _point(f"{key}[{index}]", point, checks)
    if rare:
        yield _title("Mentioned by fewer than half")
        for index, point in rare:
            yield from _point(f"partial_coverage[{index}]", point, checks)


def _point(path: str, point: object, checks: list[Mapping[str, Any]]) -> Iterator[Block]:
    """A point, and with it those of the quotes that are for it: they are taken from `checks`."""
    mine = [check for check in checks if str(check.get("path", "")).startswith((path + ".", path + "["))]
    mine += [check for check in checks if check.get("path") == path]
    for check in mine:
        checks.remove(check)
    if not isinstance(point, Mapping):
        yield Block(Content(clean(str(point))), first=_POINT, rest=_PAD)
        # Nobody else says who agrees; a quote that isn't there says it of nobody.
        found = (check for check in mine if check.get("verified") is not False)
        yield from _holders(list(dict.fromkeys(str(check.get("source", "?")) for check in found)))
    elif "stances" in point or "topic" in point:
        yield Block(Content.styled(clean(str(point.get("topic", ""))), "bold"), first=_POINT, rest=_PAD)
        stances = point.get("stances")
        for stance in stances if isinstance(stances, list) else []:
            held = stance if isinstance(stance, Mapping) else {"stance": stance}
            who = one_line(str(held.get("model") or "one of them"))
            said = Content.assemble((who, "$text-accent"), f": {clean(str(held.get('stance', '')))}")
            yield Block(said, first=_PAD, rest=_DEEP)
    else:
        text = next((point[key] for key in ("point", "insight", "text") if point.get(key)), "")
        yield Block(Content(clean(str(text))), first=_POINT, rest=_PAD)
        yield from _holders(_names(point.get("models", point.get("model"))))
    for check in mine:
        yield _quote(check)


def _holders(names: list[str]) -> Iterator[Block]:
    held = ", ".join(map(one_line, names))
    if held:
        yield Block(Content.assemble(("held by ", "dim"), (held, "$text-accent")), first=_PAD, rest=_DEEP)


def _quote(check: Mapping[str, Any]) -> Block:
    """A quote with its mark: found in its source, not found there, or never looked up."""
    verified = check.get("verified")
    quote, source = one_line(str(check.get("quote", ""))), one_line(str(check.get("source", "?")))
    if verified is True:
        return Block(Content.styled(f"“{quote}” {source}", "dim"), first=_mark("✓", "$text-success"), rest=_DEEP)
    why = (
        f"not verified: {one_line(str(check.get('reason') or 'it is not in the source'))}"
        if verified is False
        else "not checked"
    )
    said = Content.assemble((f"[{why}] ", "bold $text-warning"), (f"“{quote}” {source}", "dim"))
    return Block(said, first=_mark("✗" if verified is False else "?", "$text-warning"), rest=_DEEP)


def _mark(sign: str, style: str) -> Content:
    return Content.assemble("  ", (f"{sign} ", style))


def _title(text: str) -> Block:
    return Block(Content.styled(text, "bold $text-primary"), gap=True)


def _checks(data: Mapping[str, Any], found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The quotes as they were looked up; where nobody did, as the aggregator gave them."""
    for quotes in (data.get("evidence"), found.get("evidence")):
        if isinstance(quotes, list) and quotes:
            return [quote for quote in quotes if isinstance(quote, Mapping)]
    return []


def _names(value: object) -> list[str]:
    if isinstance(value, list):
        return [str(name) for name in value if name]
    return [str(value)] if value else []
