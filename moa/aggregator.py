"""From the panel's answers to an analysis: compared by a model that does not know whose they are.

The ladder for the model's JSON: strict schema, any JSON object, prompted JSON, repair, one more try, and at last the raw answers. What
an endpoint can do is remembered; which rung it was is part of the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.llm.errors import BadRequest, BudgetReached, ContextOverflow, ModelError, ModelNotFound, Unsupported
from agent.llm.request import Effort, ModelRef, Request, Schema
from agent.llm.stream import Reply, Retrying, StreamEvent, Usage
from moa import prompts
from moa.aggregation import Aggregation, Rung, raw, vote
from moa.names import display_names, family
from moa.quoting import clean, fence, flat, head_and_tail
from moa.rungs import MODES, Mode, RungMemory

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.messages import Message
    from moa.outcome import Answer

__all__ = ["Aggregation", "AggregatorSpec", "Rung", "RungMemory", "aggregate", "display_names", "family", "raw", "vote"]

_ANSWER_CHARS = 16_000


@dataclass(frozen=True, slots=True)
class AggregatorSpec:
    """Who compares, and how. `fallback` is asked once where `model` can't be reached; `role` is a further instruction."""

    model: ModelRef
    fallback: ModelRef | None = None
    temperature: float | None = None
    reasoning: Effort | None = None
    max_tokens: int = 4000
    role: str | None = None


async def aggregate(
    client: ModelClient,
    context: CallContext,
    *,
    spec: AggregatorSpec,
    view: tuple[Message, ...],
    answers: Sequence[Answer],
    seed: int,
    on_event: Callable[[StreamEvent], None] | None = None,
    memory: RungMemory,
    small: bool = False,
    draft: str | None = None,
    question: str | None = None,
) -> Aggregation:
    """Have the answers compared.

    The aggregator gets the panel's own `view` (so that it can share its cache) and, in the request's tail, the answers: fenced, in an
    order shuffled by `seed`, under neutral labels; so too the `draft` or the `question` that they were given. Names are restored in the result. `small` keeps a small local model's answer
    within 400 tokens. Never raises for a failure of the model or a cap: the result is then on the rung raw, with `error` set.

    One answer is not compared: there is nothing to compare it with, and the call would cost as much as any other.
    """
    if len(answers) < 2:
        return replace(raw(answers), note="one answer: nothing to compare" if answers else "no answers")
    started = time.perf_counter()
    attempt = _Attempt(client, context, spec, view, _blinded(answers, seed, draft, question), memory, on_event, small)
    result = await attempt.run()
    return replace(result, duration_s=time.perf_counter() - started, warnings=_kinship(result, spec, answers))


# Blind


@dataclass(frozen=True, slots=True)
class _Blind:
    """The answers in the order the aggregator sees them: (label, answer), and each label's real name."""

    answers: tuple[tuple[str, Answer], ...]
    names: Mapping[str, str]
    draft: str | None = None
    question: str | None = None

    @property
    def labels(self) -> list[str]:
        return [label for label, _ in self.answers]

    def tail(self, role: str | None, small: bool) -> str:
        newest = max(answer.step for _, answer in self.answers)
        paragraphs = [prompts.COMPARE]
        if self.draft is not None:
            paragraphs.append(f"{prompts.COMPARED_DRAFT}\n{fence(head_and_tail(self.draft, _ANSWER_CHARS))}")
        if self.question is not None:
            paragraphs.append(f"{prompts.COMPARED_QUESTION}\n{fence(head_and_tail(self.question, _ANSWER_CHARS))}")
        for label, answer in self.answers:
            about = [f"given at step {answer.step}, now {newest}"] if answer.step != newest else []
            about += ["cut off"] if answer.incomplete else []
            heading = f"{label} ({', '.join(about)}):" if about else f"{label}:"
            paragraphs.append(f"{heading}\n{fence(head_and_tail(answer.text, _ANSWER_CHARS))}")
        if role and role.strip():
            paragraphs.append(clean(role).strip())
        paragraphs.append(prompts.SHAPE_SMALL if small else prompts.SHAPE)
        return "\n\n".join(paragraphs)


def _blinded(answers: Sequence[Answer], seed: int, draft: str | None, question: str | None) -> _Blind:
    from random import Random

    order = list(zip(answers, display_names(answers), strict=True))
    Random(seed).shuffle(order)
    labels = [f"Answer {chr(ord('A') + index)}" for index in range(len(order))]
    return _Blind(
        tuple(zip(labels, (answer for answer, _ in order), strict=True)),
        dict(zip(labels, (name for _, name in order), strict=True)),
        draft,
        question,
    )


# The ladder


class _Declined(ModelError):
    """The aggregator answered, and was billed, but refused the work."""

    kind = "refused"


class _Attempt:
    """One aggregation: the aggregator and, where that can't be reached, its fallback."""

    def __init__(
        self,
        client: ModelClient,
        context: CallContext,
        spec: AggregatorSpec,
        view: tuple[Message, ...],
        blind: _Blind,
        memory: RungMemory,
        on_event: Callable[[StreamEvent], None] | None,
        small: bool,
    ) -> None:
        self.client, self.context, self.spec, self.view = client, context, spec, view
        self.blind, self.memory, self.on_event, self.small = blind, memory, on_event, small
        self.calls: list[str] = []
        self.usage: Usage | None = None
        self.cost: int | None = 0
        self.warnings: list[str] = []

    async def run(self) -> Aggregation:
        error: tuple[str, str] = ("", "")
        for model in filter(None, (self.spec.model, self.spec.fallback)):
            fallback_used = model is not self.spec.model
            try:
                found = await self._ask(model)
            except BudgetReached as reached:
                # A fallback would be under the same cap.
                return self._result("raw", error=(reached.kind, reached.message), fallback_used=fallback_used)
            except (ModelError, UsageError) as failure:
                if isinstance(failure, ModelError) and not isinstance(failure, _Declined):
                    self._count_failure(failure)
                error = (failure.kind, failure.message)
                self.warnings.append(f"the aggregator {model} failed: {failure.kind}")
                continue
            return replace(found, fallback_used=fallback_used)
        return self._result("raw", error=error, fallback_used=self.spec.fallback is not None)

    async def _ask(self, model: ModelRef) -> Aggregation:
        """One model, from the strictest mode down, with one further try. Raises ModelError and BudgetReached."""
        mode = self._first_mode(model)
        reply, mode = await self._call(model, mode, "")
        try:
            return self._read(reply, mode)
        except ValueError as problem:
            again = prompts.AGAIN.format(reason=flat(str(problem), 200))
        reply, mode = await self._call(model, mode, again)
        try:
            return replace(self._read(reply, mode), rung="retry")
        except ValueError as problem:
            return self._result("raw", reply=reply, error=("not_valid_json", str(problem)))

    async def _call(self, model: ModelRef, mode: Mode, again: str) -> tuple[Reply, Mode]:
        """Make the call in the strictest mode that is not refused, and say which that was."""
        while True:
            watcher = _Watcher(self.on_event)
            try:
                reply = await self.client.complete(self._request(model, mode, again), self.context, on_event=watcher)
            except BadRequest as refusal:
                if mode == "prompt" or not _about_json(refusal):
                    raise
                self._count_failure(refusal)
                mode = MODES[MODES.index(mode) + 1]
                self.memory.learn(str(model), mode)
                continue
            if watcher.lost_schema and mode == "json_schema":
                mode = "json_object"
                self.memory.learn(str(model), mode)
            self._count(reply)
            if reply.finish == "refusal":
                raise _Declined("it declined to compare the answers")
            return reply, mode

    def _first_mode(self, model: ModelRef) -> Mode:
        mode = self.memory.mode(str(model))
        if mode != "json_schema":
            return mode
        from agent.llm.quirks import known

        # Where the table knows that a schema is refused, the door would quietly ask for less, and the rung would be a lie.
        quirks = known(self.client.endpoint(model.endpoint), model.model)
        return "json_object" if "no_json_schema" in quirks else mode

    def _request(self, model: ModelRef, mode: Mode, again: str) -> Request:
        from moa.analysis import json_schema

        tail = self.blind.tail(self.spec.role, self.small)
        return Request(
            model=model,
            messages=self.view,
            tail=f"{tail}\n\n{again}" if again else tail,
            max_tokens=self.spec.max_tokens,
            temperature=self.spec.temperature,
            reasoning=self.spec.reasoning,
            schema=Schema("analysis", json_schema(self.small, self.blind.labels), mode),
        )

    def _read(self, reply: Reply, mode: Mode) -> Aggregation:
        """Raises ValueError where the reply can't be read even with repair."""
        from moa.analysis import check_evidence, read_noting, relabel

        analysis, repaired = read_noting(reply.message.text or reply.message.reasoning)
        analysis = relabel(analysis, self.blind.names)
        evidence = check_evidence(
            analysis, {self.blind.names[label]: answer.text for label, answer in self.blind.answers}
        )
        if reply.message.incomplete:
            self.warnings.append("the aggregator's answer was cut off: the analysis is what had arrived")
        found = self._result("repair" if repaired else mode, reply=reply)
        return replace(found, analysis=analysis, evidence=tuple(evidence))

    def _result(
        self,
        rung: Rung,
        *,
        reply: Reply | None = None,
        error: tuple[str, str] | None = None,
        fallback_used: bool = False,
    ) -> Aggregation:
        return Aggregation(
            rung,
            text=reply.message.text if reply else "",
            model_served=reply.model_served if reply else None,
            calls=tuple(self.calls),
            cost_nano=self.cost,
            usage=self.usage,
            error=error,
            fallback_used=fallback_used,
            warnings=tuple(self.warnings),
        )

    def _count(self, reply: Reply) -> None:
        self.calls.append(reply.call_id)
        self._spend(reply.usage, reply.cost_nano)

    def _count_failure(self, error: ModelError) -> None:
        if error.call_id:
            self.calls.append(error.call_id)
        # A refused request is not billed; one that broke or ran out of time may be, at a price nobody has told.
        from moa.seat import UNBILLED

        self._spend(error.usage, 0 if error.kind in UNBILLED else None)

    def _spend(self, usage: Usage | None, nano: int | None) -> None:
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage + usage
        self.cost = None if self.cost is None or nano is None else self.cost + nano


class _Watcher:
    """Passes a call's events on, and notices where the door had to give the schema up."""

    def __init__(self, on_event: Callable[[StreamEvent], None] | None) -> None:
        self.on_event = on_event
        self.lost_schema = False

    def __call__(self, event: StreamEvent) -> None:
        if isinstance(event, Retrying) and event.adapted:
            from agent.llm.quirks import refused

            self.lost_schema = self.lost_schema or refused(event.reason) == "no_json_schema"
        if self.on_event is not None:
            self.on_event(event)


def _about_json(refusal: BadRequest) -> bool:
    """Whether a looser mode may help: a named refusal of JSON, or one that names nothing."""
    if isinstance(refusal, Unsupported):
        return "json" in refusal.feature or "schema" in refusal.feature
    return not isinstance(refusal, ModelNotFound | ContextOverflow)


def _kinship(result: Aggregation, spec: AggregatorSpec, answers: Iterable[Answer]) -> tuple[str, ...]:
    """The result's warnings, and one where the judge compares its own relatives: models favour their own family's style."""
    if result.analysis is None:
        return result.warnings
    asked = spec.fallback if result.fallback_used and spec.fallback else spec.model
    own = family(result.model_served or str(asked))
    relatives = sorted(
        {answer.slot for answer in answers if family(answer.model_served or answer.model_requested) == own}
    )
    if not relatives:
        return result.warnings
    return (*result.warnings, f"the aggregator is of the same family ({own}) as {', '.join(relatives)}")
