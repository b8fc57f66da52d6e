"""What a counsel would cost, before it is taken: low to high, for each member. Unknown prices stay unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.llm.money import Total, show_usd
from agent.llm.request import ModelRef, Request

if TYPE_CHECKING:
    from agent.llm.client import ModelClient
    from agent.llm.messages import Message
    from agent.views import TableView
    from moa.preset import Preset

ADVICE_TOKENS = 300
"""A short piece of advice; members are asked for about 600 tokens at most."""
ANALYSIS_TOKENS = 600
TURN_CALLS = 8
"""Main-model calls of the turn that the quote's last line is for."""


@dataclass(frozen=True, slots=True)
class Line:
    """One model's part. Nano-dollars; None is unknown. `high` is a bound: prompt uncached, answer as long as it may get."""

    who: str
    model: ModelRef
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Quote:
    """A preset's price for one counsel on a conversation, and how many counsels a turn of `TURN_CALLS` calls would take."""

    preset: Preset
    lines: tuple[Line, ...]
    counsels: tuple[int, int]

    @property
    def low(self) -> Total:
        """One counsel at the least."""
        return Total.of(line.low for line in self.lines)

    @property
    def high(self) -> Total:
        """One counsel at the most."""
        return Total.of(line.high for line in self.lines)

    def view(self, receivers: tuple[str, ...]) -> TableView:
        """For people, with who receives the conversation and when this preset is the wrong tool."""
        from agent.views import TableView

        rows = [(line.who, str(line.model), show_usd(line.low), show_usd(line.high)) for line in self.lines]
        few, many = self.counsels
        rows.append(("one counsel", "", str(self.low), str(self.high)))
        times = f"{few}" if few == many else f"{few} to {many}"
        rows.append(
            (f"a turn of {TURN_CALLS} calls", f"{times} counsels", _times(self.low, few), _times(self.high, many))
        )
        cap = []
        if self.preset.turn_usd is not None:
            cap.append(f"{show_usd(round(self.preset.turn_usd * 1e9))}")
        if self.preset.turn_tokens is not None:
            cap.append(f"{self.preset.turn_tokens:,} tokens")
        held = f"Counsel stops at {' and '.join(cap)} a turn. " if cap else "No cap of the preset's own. "
        note = f"{held}Receives the conversation: {', '.join(receivers)}. {advice(self.preset)}"
        return TableView(
            title=f"{self.preset.name}: what a counsel costs",
            columns=("who", "model", "low", "high"),
            rows=tuple(rows),
            align="llrr",
            note=note,
        )


def quote(preset: Preset, client: ModelClient, view: tuple[Message, ...], main: ModelRef | None) -> Quote:
    """Price one counsel on a conversation as a member would see it. `main` is the model that acts, where it is known.

    Low: the prompt at the cached rate where there is one, and a short answer. High: the door's own upper bound of each call, times the
    rounds it may take (layers; a member's tool calls; the aggregator's one retry).
    """
    lines = []
    for member in preset.members:
        seat = member.reference
        request = Request(model=member.model, messages=view, max_tokens=seat.max_tokens, reasoning=seat.reasoning)
        steps = seat.max_tool_calls + 1 if seat.tools and preset.tools_at != "never" else 1
        typical = min(ADVICE_TOKENS, seat.max_tokens)
        lines.append(_line(client, member.label, request, typical, (preset.layers, preset.layers * steps)))
    if preset.aggregate == "analysis" and (preset.aggregator.model != "main" or main is not None):
        model = preset.aggregator_model(main or ModelRef("main", "main"))
        seat = preset.aggregator
        read = sum(member.reference.max_tokens for member in preset.members)
        request = Request(model=model, messages=view, max_tokens=seat.max_tokens, tail="x" * (3 * read))
        typical = min(ANALYSIS_TOKENS, seat.max_tokens)
        lines.append(_line(client, "aggregator", request, typical, (1, 2)))
    return Quote(preset, tuple(lines), _counsels(preset))


def _line(client: ModelClient, who: str, request: Request, answer: int, times: tuple[int, int]) -> Line:
    bound = client.bound(request)
    high = None if bound.nano is None else bound.nano * times[1]
    if client.endpoint(request.model.endpoint).free:
        return Line(who, request.model, 0, 0)
    price = client.facts(request.model).price
    if price is None:
        return Line(who, request.model, None, high)
    prompt = sum(len(message.text) for message in request.messages) // 4
    rate = price.prompt if price.cached is None else price.cached
    # US dollars per million tokens are thousands of nano-dollars per token.
    low = round((prompt * rate + answer * price.completion) * 1000) * times[0]
    return Line(who, request.model, low if high is None else min(low, high), high)


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
    if preset.aggregate == "raw":
        return "The wrong tool where the members will contradict each other: nobody compares their answers."
    return "The wrong tool for quick one-line tasks, where one model is enough."
