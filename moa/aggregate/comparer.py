"""Who compares the answers, and what of the conversation is put before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from agent.llm.messages import Message, TextPart
from agent.llm.models.endpoint import Endpoint, ModelFacts
from agent.llm.request import ModelRef
from agent.llm.tokens import estimate_tokens
from moa.panel import prompts
from moa.panel.quoting import within
from moa.preset.preset import MAIN, Preset, Reference, ref

if TYPE_CHECKING:
    from agent.llm.models.endpoint import Price

TYPICAL_PROMPT, TYPICAL_ANSWER = 6_000, 600
"""Tokens of one comparison with the brief view: what members are held against each other by, where the preset names no aggregator."""

TASK_TOKENS = 2_000
STEP_TOKENS = 4_000
_FRAME = 200
"""The system text and the headings."""


class Prices(Protocol):
    """What is asked of the client: facts and endpoints."""

    def facts(self, model: ModelRef) -> ModelFacts:
        """What is known of a model."""
        ...

    def endpoint(self, name: str) -> Endpoint:
        """An endpoint by name. Raises UsageError."""
        ...


def seat(preset: Preset, client: Prices, main: ModelRef | None, *, deep: bool = False) -> tuple[ModelRef, Reference]:
    """The aggregator's model and how it is asked.

    `deep`: the analysis is the product itself (`consult`), so the preset's `deep` does it, the main model where none is named. Else the
    one that the preset names; where it names none, the cheapest member whose price is known, asked as that member is.
    """
    own = preset.aggregator
    if deep:
        model = ref(preset.deep, main)
        same = own.model and ref(own.model, main) == model
        # Settings are made for a model: another one's are not passed on.
        return model, own if same else replace(own, model=str(model), temperature=None, reasoning=None)
    if own.model:
        return ref(own.model, main), own
    members = preset.resolved(main).members
    costs = [_typical_nano(client, member.model) for member in members]
    priced = [(cost, at) for at, cost in enumerate(costs) if cost is not None]
    chosen = members[min(priced)[1] if priced else 0]
    like = chosen.reference
    return chosen.model, replace(
        own,
        model=str(chosen.model),
        temperature=like.temperature if own.temperature is None else own.temperature,
        reasoning=like.reasoning if own.reasoning is None else own.reasoning,
    )


def _typical_nano(client: Prices, model: ModelRef) -> int | None:
    if model.model == MAIN == model.endpoint:
        return None
    if client.endpoint(model.endpoint).free:
        return 0
    price: Price | None = client.facts(model).price
    if price is None:
        return None
    return round((TYPICAL_PROMPT * price.prompt + TYPICAL_ANSWER * price.completion) * 1000)


def brief(history: Sequence[Message], *, room: int | None = None) -> tuple[Message, ...]:
    """What an aggregator needs of a conversation to compare advice on its next step: the user's words of this turn (head and tail, at
    most 2,000 tokens) and the last step, words and calls with their results (4,000). `room` is how many tokens there are for all
    of it, where the window leaves fewer.
    """
    from moa.panel.briefing import render_message

    task_most, step_most = TASK_TOKENS, STEP_TOKENS
    if room is not None:
        left = max(0, room - _FRAME)
        if left < task_most + step_most:
            task_most, step_most = left // 3, left - left // 3
    task = "".join(render_message(message) for message in _words_of_this_turn(history))
    step = "".join(render_message(message) for message in _last_step(history))
    parts = [TextPart(text=f"{prompts.BRIEF_TASK}\n{within(task, task_most)}\n")]
    if step:
        parts.append(TextPart(text=f"{prompts.BRIEF_STEP}\n{within(step, step_most)}\n"))
    system = Message(role="system", parts=(TextPart(text=prompts.COMPARER),))
    return (system, Message(role="user", parts=tuple(parts)))


def _words_of_this_turn(history: Sequence[Message]) -> list[Message]:
    """What the user said since the last reply that ended a turn; the program's own prompts where the user said nothing."""
    since: list[Message] = []
    for message in reversed(history):
        if (
            message.role == "assistant"
            and not message.tool_calls
            and not (message.incomplete or message.draft)
            and since
        ):
            break
        if message.role == "user":
            since.insert(0, message)
    typed = [message for message in since if message.synthetic is None]
    return typed or since[-1:]


def _last_step(history: Sequence[Message]) -> Sequence[Message]:
    """The last assistant message and what came after it but for the user's words, which stand above."""
    for at in range(len(history) - 1, -1, -1):
        if history[at].role == "assistant":
            return [history[at], *(message for message in history[at + 1 :] if message.role == "tool")]
    return ()


def tokens(messages: Sequence[Message]) -> int:
    """About how many tokens these are."""
    return sum(estimate_tokens(message.text) for message in messages)
