"""What the inspector shows of a group, as plain values: blocks of literal text, and tables. It reads JSON that may lack any key.

The keys are those of a counsel's record: members, failed, analysis, evidence, guidance, and so on. A group without a record (a judge, a
sub-agent, counsel that is still being taken) is shown from its events alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from textual.content import Content

from agent.ui.tui.blocks import Block, clean
from agent.ui.tui.cells import count, money, one_line, span
from agent.ui.tui.points import analysis, dissent
from agent.ui.tui.sidelog import Group, Side
from agent.views import TableView

Part = Block | TableView
PAD = Content("  ")


class Tab(NamedTuple):
    """A title, and what stands under it from top to bottom."""

    title: str
    parts: list[Part]


def summary(group: Group, number: int, of: int) -> Content:
    """One line: which it is, how many answered, what it cost."""
    data = group.record or {}
    what = one_line(group.kind or group.source or "side work")
    parts = [f"{what} {number} of {of}"]
    if data:
        parts += [one_line(str(data.get("preset", "")))]
        parts += [f"{data.get('answered', '?')} of {data.get('asked', '?')} answered"]
        found = data.get("analysis")
        if isinstance(found, Mapping):
            parts += [
                f"{len(listed(found.get('consensus')))} agreed, {len(listed(found.get('contradictions')))} disputed"
            ]
        cost = mapped(data.get("cost"))
        parts += [money(cost.get("usd"), cost.get("lower_bound")), span(data.get("duration_s"), exact=True)]
    else:
        ended = len(group.sides) - len(group.running)
        parts += [f"{ended} of {len(group.sides)} in", "at work" if group.running else ""]
    return Content.styled(one_line(" · ".join(part for part in parts if part)), "bold")


def tabs(group: Group, now: float) -> list[Tab]:
    """The five tabs. `now` is on the clock of the group's log."""
    data = group.record or {}
    return [
        Tab("Members", _members(group, data, now)),
        Tab("Analysis", list(analysis(data)) or [_faint(_why_no_analysis(group, data))]),
        Tab("Minority report", list(dissent(data)) or [_faint("Nobody stood alone." if data else "Not known yet.")]),
        Tab("Guidance", _guidance(group, data)),
        Tab("Calls & cost", _calls(group, data)),
    ]


# Members


def _members(group: Group, data: Mapping[str, Any], now: float) -> list[Part]:
    parts: list[Part] = []
    for key, title in (("question", "Put to the panel"), ("draft", "The draft that was reviewed")):
        if isinstance(text := data.get(key), str) and text:
            parts += [_heading(title), _body(text)]
    seats: list[tuple[str, list[Part]]] = []
    for member in map(mapped, listed(data.get("members"))):
        seats.append((str(member.get("slot", "")), _answer(member, data)))
    for failed in map(mapped, listed(data.get("failed"))):
        seats.append((str(failed.get("slot", "")), _failure(failed, _side(group, failed.get("slot")))))
    for _slot, said in sorted(seats, key=lambda seat: seat[0]):
        parts += said
    for id, side in group.sides.items():
        if not any(_of(slot, id) for slot, _said in seats):
            parts += _from_events(side, now)
    if not any(side.started.kind == "aggregator" for side in group.sides.values()):
        aggregator = mapped(data.get("aggregator"))
        if text := aggregator.get("text"):
            parts += [
                _heading("aggregator", [str(aggregator.get("model_served") or ""), *_facts(aggregator)]),
                _body(str(text)),
            ]
    return parts or [_faint("Nobody was asked.")]


def _answer(member: Mapping[str, Any], data: Mapping[str, Any]) -> list[Part]:
    requested, served = str(member.get("model_requested") or ""), str(member.get("model_served") or "")
    slot, name = str(member.get("slot", "?")), served or requested or "?"
    about = ["cut off" if member.get("incomplete") else "answered"]
    late = {str(mapped(one).get("slot")): mapped(one).get("step") for one in listed(data.get("late"))}
    if slot in late:
        about.append(f"late: it was asked before step {late[slot]}")
    if requested and served and not requested.endswith(served):
        about.append(f"asked for {requested}")
    parts: list[Part] = [_heading(f"{slot}  {name}", [*about, *_facts(member)])]
    if role := member.get("role"):
        parts.append(_faint(f"asked to: {role}"))
    return [*parts, _body(str(member.get("text") or "(nothing)"))]


def _failure(failed: Mapping[str, Any], side: Side | None) -> list[Part]:
    kind, message = str(failed.get("kind", "?")), str(failed.get("message", ""))
    heading = _heading(f"{failed.get('slot', '?')}  {failed.get('model', '?')}", ["no answer", *_facts(failed)])
    parts: list[Part] = [heading, _body(f"{kind}: {message}", "$text-error")]
    if side is not None and side.started.role:
        parts.append(_faint(f"asked to: {side.started.role}"))
    if side is not None and side.finished is not None and side.finished.text:
        parts += [_faint("what had come until then:"), _body(side.finished.text)]
    return parts


def _from_events(side: Side, now: float) -> list[Part]:
    """Side work that no record tells of: still running, late, or not of a panel."""
    end, begun = side.finished, side.started
    state = end.outcome if end else (side.progress.state if side.progress else "queued")
    about = [
        (end.model_served if end else None) or begun.model,
        begun.kind,
        state.replace("_", " "),
        span(side.elapsed(now), exact=end is not None),
    ]
    if end is not None:
        about += [money(end.cost.usd, end.cost.lower_bound)]
    if side.overtaken:
        about.append("the main model went on without it")
    parts: list[Part] = [_heading(begun.label, about)]
    if begun.role:
        parts.append(_faint(f"asked to: {begun.role}"))
    if end is not None and end.error is not None:
        parts.append(_body(f"{end.error.kind}: {end.error.message}", "$text-error"))
    if text := end.text if end else side.progress.last_words if side.progress else "":
        parts.append(_body(text if end else f"… {text}"))
    return parts


def _facts(data: Mapping[str, Any]) -> list[str]:
    facts = []
    if isinstance(tokens := data.get("completion_tokens"), int):
        facts.append(f"{count(tokens)} tokens")
    if cost := mapped(data.get("cost")):
        facts.append(money(cost.get("usd"), cost.get("lower_bound")))
    if "duration_s" in data:
        facts.append(span(data["duration_s"], exact=True))
    return facts


def _why_no_analysis(group: Group, data: Mapping[str, Any]) -> str:
    if not data:
        return "It is still being taken." if group.running else "There was none to make."
    error = mapped(mapped(data.get("aggregator")).get("error"))
    if error:
        return f"The answers could not be compared: {error.get('kind', '?')}: {error.get('message', '')}"
    if data.get("rung") in ("raw", "vote"):
        return f"None was made: the answers went to the main model as they are (rung {data['rung']})."
    return "None was made."


# Guidance


def _guidance(group: Group, data: Mapping[str, Any]) -> list[Part]:
    """Every form in which it went out, exactly as it was sent."""
    sent: dict[object, str] = {}
    if isinstance(text := data.get("guidance"), str) and text:
        sent[data.get("iteration", "?")] = text
    sent.update(group.sent)
    parts: list[Part] = []
    for call, text in sent.items():
        parts += [_heading(f"with call {call} of the main model, word for word"), Block(Content(clean(text)))]
    for repeat in group.repeats:
        if repeat.get("iteration") not in sent:
            form = "as one line" if repeat.get("form") == "line" else "in full"
            parts.append(
                _faint(f"with call {repeat.get('iteration', '?')} again, {form}, {_calls_old(repeat.get('age'))}")
            )
    return parts or [_faint("The main model was sent no guidance from this." if data else "None has been sent yet.")]


def _calls_old(age: object) -> str:
    return f"{age} call{'' if age == 1 else 's'} old"


# Calls and cost


def _calls(group: Group, data: Mapping[str, Any]) -> list[Part]:
    rows: list[tuple[str, ...]] = []
    for member in map(mapped, listed(data.get("members"))):
        rows.append(_call(member, str(member.get("slot", "?")), "cut off" if member.get("incomplete") else "answered"))
    for failed in map(mapped, listed(data.get("failed"))):
        rows.append(_call(failed, str(failed.get("slot", "?")), str(failed.get("kind", "failed"))))
    rows.sort()
    aggregator = mapped(data.get("aggregator"))
    if aggregator:
        calls = [str(call) for call in listed(aggregator.get("calls"))]
        outcome = "failed" if aggregator.get("error") else "answered"
        entry = {**aggregator, "call_id": " ".join(calls)}
        rows.append(_call(entry, "aggregator", f"{outcome} (fallback)" if aggregator.get("fallback_used") else outcome))
    told = {row[0] for row in rows}
    rows += [_event_call(side) for id, side in group.sides.items() if not any(_of(who, id) for who in told)]
    cost = mapped(data.get("cost"))
    note = f"together {money(cost.get('usd'), cost.get('lower_bound'))}, {span(data.get('duration_s'), exact=True)}"
    heads = ("who", "model served", "outcome", "in", "out", "cost", "time", "call")
    table = TableView(columns=heads, rows=tuple(rows), align="lllrrrrl", note=note if data else "")
    return [table, *([TableView(columns=("", ""), rows=_about(data))] if data else [])]


def _call(entry: Mapping[str, Any], who: str, outcome: str) -> tuple[str, ...]:
    cost = mapped(entry.get("cost"))
    return (
        who,
        str(entry.get("model_served") or entry.get("model_requested") or entry.get("model") or "?"),
        outcome,
        _figure(entry.get("prompt_tokens")),
        _figure(entry.get("completion_tokens")),
        money(cost.get("usd"), cost.get("lower_bound")) if cost else "",
        span(entry.get("duration_s"), exact=True),
        str(entry.get("call_id") or ""),
    )


def _event_call(side: Side) -> tuple[str, ...]:
    end = side.finished
    if end is None:
        return (side.started.label, side.started.model, "at work", "", "", "", "", "")
    usage = end.usage
    return (
        side.started.label,
        end.model_served or side.started.model,
        end.outcome,
        _figure(usage.prompt if usage else None),
        _figure(usage.completion if usage else None),
        money(end.cost.usd, end.cost.lower_bound),
        span(end.duration_s, exact=True),
        end.call_id or "",
    )


def _about(data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """How it came about, and what it did."""
    receipt = mapped(data.get("receipt"))
    rows: list[tuple[str, object]] = [
        ("preset", data.get("preset")),
        ("taken because", " · ".join(str(data[key]) for key in ("trigger", "reason") if data.get(key))),
        ("sent with", f"call {data.get('iteration', '?')}, {_calls_old(data.get('age', '?'))}"),
        ("rung", data.get("rung") or "none"),
        ("order (seed)", data.get("seed")),
        ("receipt", receipt.get("reason")),
    ]
    rows += [("warning", warning) for warning in listed(data.get("warnings"))]
    return tuple((key, str(value)) for key, value in rows if value not in (None, ""))


def _figure(value: object) -> str:
    return count(value) if isinstance(value, int | float) else ""


# Parts


def _heading(title: str, about: Iterable[str] = ()) -> Block:
    facts = one_line(" · ".join(part for part in about if part))
    said = Content.assemble((one_line(title), "bold $text-primary"), (f"   {facts}" if facts else "", "dim"))
    return Block(said, gap=True)


def _body(text: str, style: str = "") -> Block:
    return Block(Content.styled(clean(text), style) if style else Content(clean(text)), first=PAD, rest=PAD)


def _faint(text: str) -> Block:
    return Block(Content.styled(clean(text), "italic dim"), first=PAD, rest=PAD)


def _of(slot: str, id: str) -> bool:
    """Whether an id (`group/slot`, with `.2` for a second layer) is that of a seat."""
    return id.rpartition("/")[2].partition(".")[0] == slot


def _side(group: Group, slot: object) -> Side | None:
    return next((side for id, side in group.sides.items() if _of(str(slot), id)), None)


def mapped(value: object) -> Mapping[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def listed(value: object) -> list[Any]:
    """The value where it is a list, else an empty one."""
    return list(value) if isinstance(value, list | tuple) else []
