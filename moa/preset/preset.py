"""A preset: who is on the panel, who aggregates, how often, how long, how much (`moa.store.reading` reads its file).

A preset names models as ENDPOINT:MODEL and nothing else: it has no key for an address, a header or a secret, so a preset (a project's
above all) can only use endpoints that the user's own configuration or environment has opened.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Literal

from agent.llm.request import Effort, ModelRef
from agent.values import dataclass
from moa.preset.cadence import Cadence

AggregatorView = Literal["brief", "full"]
Severity = Literal["note", "concern", "blocker"]
"""From where on guidance is sent."""

MAIN = "main"
"""In place of ENDPOINT:MODEL: the model that acts, whichever it is."""
MAIN_REF = ModelRef(MAIN, MAIN)
"""What `main` stands for where the model that acts is not known yet."""

GUIDANCE_TOKENS = 8_000
ANSWER_TOKENS = 16_000
"""What Fusion lets a panelist write (`max_completion_tokens`)."""

FUSE = "fuse/"
"""Before the name of a preset: the model that its panel makes up (`moa.fuse`)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One `[[references]]` table, or what `[aggregator]` shares with it. `model` is ENDPOINT:MODEL, or `main`; for the aggregator it is
    empty where none is named.

    `max_tokens` bounds the answer, reasoning included; its default leaves a reasoning model room to think before the 600 or so tokens
    of advice that it is asked for.
    """

    model: str
    role: str | None = None
    count: int = 1
    temperature: float | None = None
    reasoning: Effort | None = None
    max_tokens: int = 2000
    tools: tuple[str, ...] = ()
    max_tool_calls: int = 4
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Member:
    """A seat on the panel: a reference with its slot (`1` to `8`)."""

    slot: str
    model: ModelRef
    reference: Reference

    @property
    def label(self) -> str:
        """For people: the slot and the model's own name."""
        return f"{self.slot} {self.model.model.rpartition('/')[2]}"


@dataclass(frozen=True)
class Preset:
    """A preset as its file says it. Times are seconds, money is US dollars. `name` and `source` come from where it was found.

    `fallback` is the aggregator's, `deep` does its work where the analysis is the product (`consult`), `aggregator_view` is how much of
    the conversation it sees in the loop. `effort` is the main model's thinking. `severity` is from where on guidance is sent,
    `guidance_tokens` how much of it may be in force at once (0: no bound), `answer_tokens` what a member may
    write at least where it answers the question itself (`fuse`), reasoning included. `turn_usd` and `turn_tokens` are counsel's share of one turn.
    """

    name: str
    source: str
    references: tuple[Reference, ...]
    aggregator: Reference = Reference("", max_tokens=4000)
    fallback: str | None = None
    deep: str = MAIN
    aggregator_view: AggregatorView = "brief"
    description: str = ""
    main: str | None = None
    effort: Effort | None = None
    family: Literal["any", "other"] = "any"
    severity: Severity = "note"
    guidance_tokens: int = GUIDANCE_TOKENS
    answer_tokens: int = ANSWER_TOKENS
    cadence: Cadence = Cadence("iteration")
    lookahead: bool = False
    aggregate: str = "analysis"
    layers: int = 1
    quorum: int | None = None
    grace_s: float = 10.0
    soft_s: float = 30.0
    timeout_s: float = 120.0
    seed: int = 7
    tools_at: Literal["never", "first", "always"] = "never"
    excluded_domains: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    turn_usd: float | None = None
    turn_tokens: int | None = None
    members: tuple[Member, ...] = field(init=False)
    """The seats: disabled references dropped, `count` written out, slots given in order."""

    def __post_init__(self) -> None:
        seats = [reference for reference in self.references if reference.enabled for _ in range(reference.count)]
        members = tuple(Member(str(n), ref(seat.model, None), seat) for n, seat in enumerate(seats, 1))
        object.__setattr__(self, "members", members)

    def resolved(self, main: ModelRef | None) -> Preset:
        """The same preset with `main` in place of the word; itself where nothing says `main`, or nobody knows which model that is."""
        if main is None or all(reference.model != MAIN for reference in self.references):
            return self
        named = str(main)
        references = tuple(replace(each, model=named) if each.model == MAIN else each for each in self.references)
        return replace(self, references=references)


def ref(model: str, main: ModelRef | None) -> ModelRef:
    """A model as a preset names it. `main` is what the word stands for, where that is known."""
    return (main or MAIN_REF) if model == MAIN else ModelRef.parse(model)
