"""From the panel's answers to an analysis: compared by a model that does not know whose they are.

The ladder for the model's JSON: strict schema, any JSON object, prompted JSON, repair, one more try, and at last the raw answers. What
an endpoint can do is remembered; which rung it was is part of the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.llm.errors import BadRequest, BudgetReached, ContextOverflow, ModelError, ModelNotFound, Refused, Unsupported
from agent.llm.request import Effort, ModelRef, Request, Schema
from agent.llm.stream import Reply, Retrying, StreamEvent, Usage
from agent.llm.tokens import SAFETY, estimate_tokens
from moa.aggregate.blind import Blind, Prompt, View
from moa.aggregate.result import Aggregation, Rung, raw, vote
from moa.aggregate.rungs import MODES, Mode, RungMemory
from moa.panel import prompts
from moa.panel.quoting import flat
from moa.panel.tasks import ADVISE, Task
from moa.preset.names import display_names, family

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from moa.panel.outcome import Answer

__all__ = ["Aggregation", "AggregatorSpec", "Rung", "RungMemory", "aggregate", "display_names", "family", "raw", "vote"]


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
    view: View,
    answers: Sequence[Answer],
    seed: int,
    on_event: Callable[[StreamEvent], None] | None = None,
    memory: RungMemory,
    small: bool = False,
    draft: str | None = None,
    question: str | None = None,
    in_force: Sequence[str] = (),
    task: Task = ADVISE,
) -> Aggregation:
    """Have the answers compared.

    The aggregator gets the conversation as `view` gives it for its window and, in the request's tail, the answers: fenced, in an order
    shuffled by `seed`, under neutral labels; so too the `draft` or the `question` that they were given, and the points that are
    `in_force` already. Names are restored in the result. What does not fit into its window is cut, and the result's warnings say what.
    `task` says what they were asked for. `small` keeps a small local model's answer within 400 tokens. Never raises for a failure of the model or a cap: the result is then
    on the rung raw, with `error` set.

    One answer is not compared: there is nothing to compare it with, and the call would cost as much as any other.
    """
    if len(answers) < 2:
        return replace(raw(answers), note="one answer: nothing to compare" if answers else "no answers")
    started = time.perf_counter()
    blind = Blind.of(answers, seed, draft=draft, question=question, in_force=in_force, task=task)
    attempt = _Attempt(client, context, spec, view, blind, memory, on_event, small)
    result = await attempt.run()
    return replace(result, duration_s=time.perf_counter() - started, kinship=_kinship(result, spec, answers))


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
        view: View,
        blind: Blind,
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
        self._prompts: dict[ModelRef, Prompt] = {}

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
        from moa.aggregate.analysis import EmptyAnalysis

        try:
            return replace(self._read(reply, mode), rung="retry")
        except ValueError as problem:
            kind = "schema_mismatch" if isinstance(problem, EmptyAnalysis) else "not_valid_json"
            return self._result("raw", reply=reply, error=(kind, str(problem)))

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
            except Refused as refusal:
                self._count_failure(refusal)
                raise _Declined("it declined to compare the answers") from refusal
            if watcher.lost_schema and mode == "json_schema":
                mode = "json_object"
                self.memory.learn(str(model), mode)
            self._count(reply)
            return reply, mode

    def _first_mode(self, model: ModelRef) -> Mode:
        mode = self.memory.mode(str(model))
        if mode != "json_schema":
            return mode
        from agent.llm.models.quirks import known

        # Where the table knows that a schema is refused, the door would quietly ask for less, and the rung would be a lie.
        quirks = known(self.client.endpoint(model.endpoint), model.model)
        return "json_object" if "no_json_schema" in quirks else mode

    def _request(self, model: ModelRef, mode: Mode, again: str) -> Request:
        from moa.aggregate.analysis import json_schema

        schema = Schema("analysis", json_schema(self.small, self.blind.labels), mode)
        prompt = self._prompt(model, schema)
        return Request(
            model=model,
            messages=prompt.messages,
            tail=f"{prompt.tail}\n\n{again}" if again else prompt.tail,
            max_tokens=prompt.max_tokens,
            temperature=self.spec.temperature,
            reasoning=self.spec.reasoning,
            schema=schema,
        )

    def _prompt(self, model: ModelRef, schema: Schema) -> Prompt:
        """The text for one model, made once, and a warning where something had to be cut to fit its window."""
        if model not in self._prompts:
            prompt = self._prompts[model] = self.blind.prompt(
                self.view,
                role=self.spec.role,
                small=self.small,
                max_tokens=self.spec.max_tokens,
                window=self.client.facts(model).context_window,
                schema_tokens=int(estimate_tokens(str(schema.schema)) * SAFETY),
            )
            if prompt.cut:
                self.warnings.append(f"the aggregator {model.model}: {prompt.cut}")
        return self._prompts[model]

    def _read(self, reply: Reply, mode: Mode) -> Aggregation:
        """Raises ValueError where the reply can't be read even with repair."""
        from moa.aggregate.analysis import check_evidence, read_noting, relabel

        analysis, repaired = read_noting(reply.message.text or reply.message.reasoning)
        analysis, strangers = relabel(analysis, self.blind.names)
        if strangers:
            named = ", ".join(flat(name, 40) for name in strangers)
            self.warnings.append(
                f"the aggregator named who is not on the panel ({named}): those points are unattributed"
            )
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
        from moa.panel.member import UNBILLED

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
            from agent.llm.models.quirks import refused

            self.lost_schema = self.lost_schema or refused(event.reason) in ("no_json_schema", "no_json_object")
        if self.on_event is not None:
            self.on_event(event)


def _about_json(refusal: BadRequest) -> bool:
    """Whether a looser mode may help: a named refusal of JSON, or one that names nothing."""
    if isinstance(refusal, Unsupported):
        return "json" in refusal.feature or "schema" in refusal.feature
    return not isinstance(refusal, ModelNotFound | ContextOverflow)


def _kinship(result: Aggregation, spec: AggregatorSpec, answers: Iterable[Answer]) -> str:
    """A warning where the judge compares its own relatives: models favour their own family's style."""
    if result.analysis is None:
        return ""
    asked = spec.fallback if result.fallback_used and spec.fallback else spec.model
    own = family(result.model_served or str(asked))
    relatives = sorted(
        {answer.slot for answer in answers if family(answer.model_served or answer.model_requested) == own}
    )
    return f"the aggregator is of the same family ({own}) as {', '.join(relatives)}" if relatives else ""
