"""From the panel's answers to an analysis: compared by a model that does not know whose they are.

The model's JSON is asked for as `agent.llm.structured` does it, and at last the raw answers stand in for it; which rung it was is part of
the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.llm.errors import BudgetReached, ModelError, Refused
from agent.llm.request import Effort, ModelRef, Request, Schema
from agent.llm.stream import Reply, StreamEvent, Usage
from agent.llm.structured import Unreadable, ask_object
from agent.llm.tokens import SAFETY, estimate_tokens
from moa.aggregate.blind import Blind, Prompt, View
from moa.aggregate.methods import raw
from moa.aggregate.result import Aggregation
from moa.panel.names import family
from moa.panel.quoting import flat
from moa.panel.tasks import ADVISE, Task

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from moa.aggregate.analysis import Analysis
    from moa.panel.outcome import Answer


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
    attempt = _Attempt(client, context, spec, view, blind, on_event, small)
    result = await attempt.run()
    return replace(result, duration_s=time.perf_counter() - started, kinship=_kinship(result, spec, answers))


# The ladder


class _Attempt:
    """One aggregation: the aggregator and, where that can't be reached, its fallback."""

    def __init__(
        self,
        client: ModelClient,
        context: CallContext,
        spec: AggregatorSpec,
        view: View,
        blind: Blind,
        on_event: Callable[[StreamEvent], None] | None,
        small: bool,
    ) -> None:
        self.client, self.context, self.spec, self.view = client, context, spec, view
        self.blind, self.on_event, self.small = blind, on_event, small
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
                if isinstance(failure, ModelError):
                    self._count(failure)
                error = (failure.kind, failure.message)
                if isinstance(failure, Refused):
                    error = ("refused", "it declined to compare the answers")
                self.warnings.append(f"the aggregator {model} failed: {error[0]}")
                continue
            return replace(found, fallback_used=fallback_used)
        return self._result("raw", error=error, fallback_used=self.spec.fallback is not None)

    async def _ask(self, model: ModelRef) -> Aggregation:
        """One model, down the ladder. Raises ModelError and BudgetReached."""
        from agent.llm.answers.loose_json import OtherShape
        from moa.aggregate.analysis import EmptyAnalysis, json_schema, read_noting

        schema = Schema("analysis", json_schema(self.small, self.blind.labels))
        try:
            answered = await ask_object(
                self.client,
                self._request(model, schema),
                self.context,
                schema=schema,
                read=read_noting,
                on_event=self.on_event,
                on_attempt=self._count,
            )
        except Unreadable as problem:
            other = isinstance(problem.__cause__, EmptyAnalysis | OtherShape)
            kind = "schema_mismatch" if other else "not_valid_json"
            return self._result("raw", reply=problem.reply, error=(kind, str(problem)))
        analysis, repaired = answered.value
        rung = "retry" if answered.retried else "repair" if repaired else answered.mode
        return self._named(analysis, rung, answered.reply)

    def _request(self, model: ModelRef, schema: Schema) -> Request:
        prompt = self._prompt(model, schema)
        return Request(
            model=model,
            messages=prompt.messages,
            tail=prompt.tail,
            max_tokens=prompt.max_tokens,
            temperature=self.spec.temperature,
            reasoning=self.spec.reasoning,
        )

    def _prompt(self, model: ModelRef, schema: Schema) -> Prompt:
        """The text for one model, and a warning where something had to be cut to fit its window."""
        prompt = self.blind.prompt(
            self.view,
            role=self.spec.role,
            small=self.small,
            max_tokens=self.spec.max_tokens,
            window=self.client.facts(model).context_window,
            schema_tokens=int(estimate_tokens(str(schema.schema)) * SAFETY),
        )
        if prompt.cut:
            self.warnings.append(f"the aggregator {model.model}: {prompt.cut}")
        return prompt

    def _named(self, analysis: Analysis, rung: str, reply: Reply) -> Aggregation:
        """The analysis with the members' names for their labels, and what of its evidence holds."""
        from moa.aggregate.analysis import check_evidence, relabel

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
        return replace(self._result(rung, reply=reply), analysis=analysis, evidence=tuple(evidence))

    def _result(
        self,
        rung: str,
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

    def _count(self, attempt: Reply | ModelError) -> None:
        """What an attempt cost. A refused request is not billed; one that broke or ran out of time may be, at a price nobody has told."""
        if attempt.call_id:
            self.calls.append(attempt.call_id)
        nano = attempt.cost_nano if isinstance(attempt, Reply) or attempt.billed else 0
        if attempt.usage is not None:
            self.usage = attempt.usage if self.usage is None else self.usage + attempt.usage
        self.cost = None if self.cost is None or nano is None else self.cost + nano


def _kinship(result: Aggregation, spec: AggregatorSpec, answers: Iterable[Answer]) -> str:
    """A warning where the judge compares its own relatives: models favour their own family's style."""
    if result.analysis is None:
        return ""
    asked = spec.fallback if result.fallback_used and spec.fallback else spec.model
    own = family(result.model_served or str(asked))
    relatives = sorted(
        {answer.slot for answer in answers if family(answer.model_served or answer.model_requested) == own}
    )
    who = f"{'member' if len(relatives) == 1 else 'members'} {', '.join(relatives)}"
    return f"the aggregator is of the family of {who} ({own}): models favour their own" if relatives else ""
