"""What a counsel would cost, before it is taken: low to high, for each member. Unknown prices stay unknown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.llm.money import Total, show_usd
from agent.llm.request import ModelRef, Request
from agent.text.numbers import plural, span
from moa.aggregate.methods import METHODS
from moa.preset.preset import MAIN_REF

if TYPE_CHECKING:
    from agent.ledger.book import Ledger
    from agent.llm.client import ModelClient
    from agent.llm.messages import Message
    from agent.views import TableView
    from moa.preset.preset import Preset

ADVICE_TOKENS = 300
"""What members are asked for in the loop."""
ANALYSIS_TOKENS = 450
REPLY_TOKENS = 300
"""A main model's step: a few words and a call."""
STANDING_TOKENS = 8_000
"""What stands in each main request beside the words of the conversation: the system text and the tools."""
STEP_TOKENS = 800
"""What a step adds to the conversation, and nobody has cached yet."""
GUIDANCE_TOKENS = 300
TURN_CALLS = 8
"""Main-model calls of the turn that the quote's last line is for."""


@dataclass(frozen=True, slots=True)
class Line:
    """One model's part. Nano-dollars; None is unknown. `low` is a typical step with a warm cache, `high` a bound: prompt uncached,
    answer as long as it may get. `seconds`: how long such calls took so far (the median), where there were any."""

    who: str
    model: ModelRef
    low: int | None
    high: int | None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """A preset's price for one counsel on a conversation, and how many counsels a turn of `TURN_CALLS` calls would take.

    `solo` is what a step of the main model costs without counsel, None where that is unknown. The last of `lines` is what the main
    model pays for reading the guidance, in so far as that is known.
    """

    preset: Preset
    lines: tuple[Line, ...]
    counsels: tuple[int, int]
    solo: int | None = None

    @property
    def low(self) -> Total:
        """One counsel at the least."""
        return Total.of(line.low for line in self.lines)

    @property
    def high(self) -> Total:
        """One counsel at the most."""
        return Total.of(line.high for line in self.lines)

    @property
    def seconds(self) -> float | None:
        """How long a counsel holds the main model up: the slowest member that is waited for, then the aggregator. None: not measured."""
        members = [line.seconds for line in self.lines if line.who not in (AGGREGATOR, READER)]
        measured = sorted(seconds for seconds in members if seconds is not None)
        if not measured:
            return None
        needed = min(self.preset.quorum or len(members), len(measured))
        aggregator = next((line.seconds or 0.0 for line in self.lines if line.who == AGGREGATOR), 0.0)
        return measured[needed - 1] + aggregator

    @property
    def times_solo(self) -> float | None:
        """What a step with counsel costs as a multiple of the same step without; None where a price is unknown or nothing."""
        if not self.solo or self.low.lower_bound:
            return None
        return 1 + self.low.nano / self.solo

    def view(self, receivers: tuple[str, ...]) -> TableView:
        """For people: first who receives the conversation, at the end when this preset is the wrong tool."""
        from agent.views import TableView

        rows = [
            (
                line.who
                if line.who in (AGGREGATOR, READER)
                else line.who.partition(" ")[0],  # the model's name stands beside it
                str(line.model),
                show_usd(line.low),
                show_usd(line.high),
                self._share(line.low),
                _s(line.seconds),
            )
            for line in self.lines
        ]
        few, many = self.counsels
        silent = Total.of(line.low for line in self.lines if line.who not in (AGGREGATOR, READER))
        times = "unknown" if self.times_solo is None else f"{self.times_solo:.2f} ×"
        rows.append(("one counsel", "", str(self.low), str(self.high), times, _s(self.seconds)))
        rows.append(
            ("… if all are silent", "", str(silent), "", self._share(None if silent.lower_bound else silent.nano), "")
        )
        counsels = plural(few, "counsel") if few == many else f"{few} to {plural(many, 'counsel')}"
        a_turn = [self._turn(n) for n in dict.fromkeys((few, many))]
        rows.append(
            (
                f"a turn of {TURN_CALLS} calls",
                counsels,
                _times(self.low, few),
                _times(self.high, many),
                " to ".join(a_turn),
                _s(None if self.seconds is None else self.seconds * many),
            )
        )
        cap = []
        if self.preset.turn_usd is not None:
            cap.append(f"{show_usd(round(self.preset.turn_usd * 1e9))}")
        if self.preset.turn_tokens is not None:
            cap.append(f"{self.preset.turn_tokens:,} tokens")
        held = f"Counsel stops at {' and '.join(cap)} a turn. " if cap else "No cap of the preset's own. "
        solo = "" if not self.solo else f"× solo: against a step of the main model alone, about {show_usd(self.solo)}. "
        note = f"{solo}{held}{advice(self.preset)}"
        head = ("who", "model", "low", "high", "× solo", "adds")
        told = [at for at, _ in enumerate(head) if at < 4 or any(row[at] not in UNTOLD for row in rows)]
        free = not self.high.nano and not self.high.lower_bound  # of nothing there are no multiples
        missing = [words for at, words in UNKNOWN.items() if at not in told and not (at == SHARE and free)]
        goes = f" sends the conversation to {', '.join(receivers)}. What a counsel costs" if receivers else ""
        return TableView(
            title=f"{self.preset.name}{goes or ': what a counsel costs'}",
            columns=tuple(head[at] for at in told),
            rows=tuple(tuple(row[at] for at in told) for row in rows),
            align="llrrrr"[: len(told)],
            note=f"{note} Not known yet: {', '.join(missing)}." if missing else note,
        )

    def _share(self, nano: int | None) -> str:
        return "unknown" if nano is None or not self.solo else f"+{nano / self.solo:.2f}"

    def _turn(self, counsels: int) -> str:
        if self.times_solo is None:
            return "unknown"
        return f"{1 + (self.times_solo - 1) * counsels / TURN_CALLS:.2f} ×"


UNTOLD = ("", "unknown")
SHARE = 4
UNKNOWN = {SHARE: "the multiple of the main model alone", 5: "the time that it adds"}
"""What a column would say, by its place; one that says nothing is left out."""
AGGREGATOR, READER = "aggregator", "main, reading it"


def quote(
    preset: Preset,
    client: ModelClient,
    view: tuple[Message, ...],
    main: ModelRef | None,
    pace: Mapping[str, float] | None = None,
) -> Quote:
    """Price one counsel on a conversation as a member would see it. `main` is the model that acts, where it is known; `pace` how long
    calls of a model took, seconds by ENDPOINT:MODEL.

    Low: what a step adds uncached, the rest of the prompt at the cached rate where there is one, and an answer of the length that is
    asked for. High: the client's own upper bound of each call, times the rounds it may take (layers; a member's tool calls; the
    aggregator's one retry).
    """
    pace = pace or {}
    lines = []
    for member in preset.resolved(main).members:
        asked = member.reference
        request = Request(model=member.model, messages=view, max_tokens=asked.max_tokens, reasoning=asked.reasoning)
        steps = asked.max_tool_calls + 1 if asked.tools and preset.tools_at != "never" else 1
        typical = _typical(client, member.model, _tokens(view), min(ADVICE_TOKENS, asked.max_tokens))
        lines.append(_line(client, member.label, request, typical, (preset.layers, preset.layers * steps), pace))
    if METHODS[preset.aggregate].needs_model:
        lines.append(_aggregator(preset, client, view, main, pace))
    solo = None if main is None else _typical(client, main, _tokens(view) + STANDING_TOKENS, REPLY_TOKENS)
    if main is not None:
        lines.append(_reader(client, main))
    return Quote(preset, tuple(lines), _counsels(preset), solo)


def _aggregator(
    preset: Preset, client: ModelClient, view: tuple[Message, ...], main: ModelRef | None, pace: Mapping[str, float]
) -> Line:
    from moa.aggregate import comparer

    model, asked = comparer.seat(preset, client, main)
    full = preset.aggregator_view == "full"
    seen = view if full else ()
    brief = 0 if full else min(_tokens(view), comparer.TASK_TOKENS + comparer.STEP_TOKENS)
    answers = len(preset.members) * ADVICE_TOKENS
    read = sum(member.reference.max_tokens for member in preset.members) + comparer.TASK_TOKENS + comparer.STEP_TOKENS
    request = Request(model=model, messages=seen, max_tokens=asked.max_tokens, tail="x" * (3 * read))
    answer = min(ANALYSIS_TOKENS, asked.max_tokens)
    typical = _typical(client, model, _tokens(seen), answer, fresh=STEP_TOKENS + answers + brief)
    return _line(client, AGGREGATOR, request, typical, (1, 2), pace)


def _reader(client: ModelClient, main: ModelRef) -> Line:
    """The main model reads a guidance once as new, and then, cached, in each of the turn's later calls."""
    if client.endpoint(main.endpoint).free:
        return Line(READER, main, 0, 0)
    price = client.facts(main).price
    if price is None:
        return Line(READER, main, None, None)
    cached = price.prompt if price.cached is None else price.cached
    fresh = price.prompt if price.cache_write is None else price.cache_write
    nano = round(GUIDANCE_TOKENS * (fresh + cached * (TURN_CALLS - 1) / 2) * 1000)
    return Line(READER, main, nano, 2 * nano)


def _tokens(messages: tuple[Message, ...]) -> int:
    return sum(len(message.text) for message in messages) // 4


def _typical(client: ModelClient, model: ModelRef, prompt: int, answer: int, fresh: int = STEP_TOKENS) -> int | None:
    """A call in the middle of a turn, nano-dollars: `prompt` tokens cached, `fresh` ones new."""
    if model == MAIN_REF:
        return None
    if client.endpoint(model.endpoint).free:
        return 0
    price = client.facts(model).price
    if price is None:
        return None
    cached = price.prompt if price.cached is None else price.cached
    new = price.prompt if price.cache_write is None else max(price.prompt, price.cache_write)
    # US dollars per million tokens are thousands of nano-dollars per token.
    return round((prompt * cached + fresh * new + answer * price.completion) * 1000)


def _line(
    client: ModelClient, who: str, request: Request, low: int | None, times: tuple[int, int], pace: Mapping[str, float]
) -> Line:
    seconds = pace.get(str(request.model))
    if request.model == MAIN_REF:
        return Line(who, request.model, None, None)
    if client.endpoint(request.model.endpoint).free:
        return Line(who, request.model, 0, 0, seconds)
    bound = client.bound(request)
    high = None if bound.nano is None else bound.nano * times[1]
    low = None if low is None else low * times[0]
    return Line(who, request.model, low, high if high is None or low is None else max(low, high), seconds)


def pace(ledger: Ledger) -> dict[str, float]:
    """How long finished calls of a panel took in the last week: the median for each ENDPOINT:MODEL, seconds. Raises StateError."""
    import time

    times: dict[str, list[float]] = {}
    for call in ledger.calls(since=time.time() - 7 * 86_400):
        if call.purpose in ("reference", "aggregator") and call.outcome == "done" and call.duration_s is not None:
            times.setdefault(f"{call.endpoint}:{call.model_requested}", []).append(call.duration_s)
    return {model: statistics.median(found) for model, found in times.items()}


def _s(seconds: float | None) -> str:
    return "unknown" if seconds is None else span(seconds, exact=True)


def _counsels(preset: Preset) -> tuple[int, int]:
    cadence = preset.cadence
    if cadence.kind == "iteration":
        return TURN_CALLS, TURN_CALLS
    if cadence.kind == "every":
        taken = -(-TURN_CALLS // cadence.n)
        return taken, taken
    return (1, 1) if cadence.kind == "turn" else (1, TURN_CALLS + 1)


def _times(total: Total, n: int) -> str:
    return str(Total(total.nano * n, total.known, total.unknown))


def advice(preset: Preset) -> str:
    """When this preset is the wrong tool, from what it does."""
    if all(member.model.endpoint == "local" for member in preset.members):
        return "The wrong tool for any real question: these answers are worth nothing."
    if preset.cadence.kind == "iteration" and not preset.lookahead:
        return "The wrong tool for quick one-line tasks and for long tool loops, where every step waits for it and pays for it."
    if warning := METHODS[preset.aggregate].warning:
        return f"The wrong tool {warning}."
    return "The wrong tool for quick one-line tasks, where one model is enough."
