"""Arms: the ways of answering that are compared. Each turns one item into one result, through the one client for models."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from agent.errors import UsageError
from agent.llm.errors import BudgetReached, ModelError, Refused
from agent.llm.messages import user
from agent.llm.request import ModelRef, Request
from moa.aggregate.majority import decided, winner
from moa.bench import counselled, scorers
from moa.bench.items import Item
from moa.bench.scorers import score, vote

if TYPE_CHECKING:
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.request import Effort
    from agent.llm.stream import Reply
    from moa.counsel.counsel import Counsel
    from moa.panel.outcome import Answer, Failure
    from moa.panel.panel import Round
    from moa.preset.preset import Preset
    from moa.serve.counsel.lookups import Lookups

Status = Literal["done", "failed", "refused", "blocked"]
MAX_TOKENS = 2_000
MOST_SAMPLES = 64


@dataclass(slots=True)
class Result:
    """What became of one item in one arm. `text` is the answer that was scored; `score` is 0 where there is none. `cost_nano` sums what
    is known, `unknown` counts calls whose cost is not. `served` are the models as their endpoints named them, `votes` are the counted forms, `stopped` the members that were not needed.
    A task's: `steps` are the main model's calls, `counsel` counts what became of the counsels (`moa.counsel.tally`), `given` is what was
    sent of them, `made` which tools the main model called: the number of its reply, the tool, the beginning of the arguments. `blocked`: nobody could judge the answer. A judged one's: `marks` by criterion, quotes that are in no text (`unverified`),
    judges whose preference changed with the order (`swayed`), how many verdicts there were and how many of them are probabilities (`soft`), and
    what judging cost, which is no part of what answering did. `tried`: how often it had failed before and was asked again.
    """

    item: str
    arm: str
    status: Status = "done"
    text: str = ""
    score: float = 0.0
    cost_nano: int = 0
    unknown: int = 0
    tokens: int = 0
    seconds: float | None = None
    simulated: bool = False
    calls: list[str] = field(default_factory=list)
    served: list[str] = field(default_factory=list)
    votes: list[str] = field(default_factory=list)
    stopped: int = 0
    error: str = ""
    steps: int = 0
    counsel: dict[str, int] = field(default_factory=dict)
    given: list[dict[str, Any]] = field(default_factory=list)
    made: list[list[Any]] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    unverified: int = 0
    swayed: int = 0
    verdicts: int = 0
    soft: int = 0
    judge_calls: list[str] = field(default_factory=list)
    judge_nano: int = 0
    judge_unknown: int = 0
    tried: int = 0

    def supersede(self, failed: Result) -> None:
        """Stand in the place of an attempt that failed. What that cost is a part of what this one does."""
        self.go_on(failed)
        self.judge_calls = failed.judge_calls + self.judge_calls
        self.judge_nano += failed.judge_nano
        self.judge_unknown += failed.judge_unknown
        self.tried = failed.tried + 1

    def go_on(self, earlier: Result) -> None:
        """Take in what an earlier turn cost, and whom it asked."""
        self.cost_nano += earlier.cost_nano
        self.unknown += earlier.unknown
        self.tokens += earlier.tokens
        self.stopped += earlier.stopped
        self.simulated |= earlier.simulated
        self.calls = earlier.calls + self.calls
        self.served = [*dict.fromkeys(earlier.served + self.served)]


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm by its name in contracts.md: `solo`, `solo:REF`, `self:N`, `vote`, or one of `moa.bench.counselled.KINDS`; on tasks `loop`.

    `donor` is the arm whose guidance on another task a placebo gives, `effort` how deep a loop's main model thinks.
    """

    name: str
    kind: Literal["solo", "self", "vote", "counselled", "loop", "judge"]
    model: ModelRef
    samples: int = 1
    preset: Preset | None = None
    effort: Effort | None = None
    donor: str | None = None


def parse(names: Sequence[str], *, main: ModelRef | None, preset: Preset | None) -> list[Arm]:
    """The arms of these names, in order, each once. `best` stands for a solo arm of each member. Raises UsageError."""
    found: dict[str, Arm] = {}
    for name in names:
        for arm in _arms(name.strip(), main, preset):
            found.setdefault(arm.name, arm)
    return list(found.values())


def _arms(name: str, main: ModelRef | None, preset: Preset | None) -> list[Arm]:
    kind, _colon, rest = name.partition(":")
    if kind == "solo" and rest:
        return [Arm(name, "solo", ref_of(rest))]
    if (kind in ("vote", "best") and not rest) or name in counselled.KINDS:
        if preset is None:
            raise UsageError(f"the arm {name} needs a panel", remedy="name one with --preset")
        members = [member.model for member in (preset.resolved(main) if main else preset).members]
        if kind == "best":
            return [Arm(f"solo:{model}", "solo", model) for model in dict.fromkeys(members)]
        if kind == "vote":
            return [Arm(name, "vote", members[0], preset=preset.resolved(main) if main else preset)]
    if main is None:
        raise UsageError(f"the arm {name} needs a main model", remedy="name one with --model ENDPOINT:MODEL")
    if name == "solo":
        return [Arm(name, "solo", main)]
    if name in counselled.KINDS:
        assert preset is not None
        return [Arm(name, "counselled", main, preset=counselled.without_web(preset) if name == "no-web" else preset)]
    if kind == "self" and rest.isdecimal() and 2 <= int(rest) <= MOST_SAMPLES:
        return [Arm(name, "self", main, samples=int(rest))]
    raise UsageError(
        f"there is no arm {name!r}",
        remedy=f"use solo, solo:ENDPOINT:MODEL, best, self:N (2 to {MOST_SAMPLES}), vote, {', '.join(counselled.KINDS)}",
    )


def ref_of(text: str) -> ModelRef:
    """ENDPOINT:MODEL. Raises UsageError."""
    try:
        return ModelRef.parse(text)
    except ValueError as error:
        raise UsageError(str(error), remedy="write solo:ENDPOINT:MODEL") from error


def check(client: ModelClient, chosen: Sequence[Arm], item: Item) -> None:
    """Whether all endpoints are there and can do what is asked. Raises UsageError, before anything is spent."""
    for arm in chosen:
        for name in dict.fromkeys(request.model.endpoint for request in requests(arm, item)):
            client.require_key(name)
        if arm.kind in ("self", "vote") and item.scorer in scorers.LATER:
            raise UsageError(
                f"the arm {arm.name} counts short answers, and the scorer {item.scorer} judges whole texts",
                remedy="leave it out",
            )
        if arm.kind in ("self", "counselled") and client.endpoint(arm.model.endpoint).answers:
            raise UsageError(
                f"the arm {arm.name} says nothing over stored answers: {arm.model} says the same whatever it is told, and each time",
                remedy="name a live main model with --model, or use solo, best and vote",
            )


def requests(arm: Arm, item: Item) -> list[Request]:
    """All calls that an item can take in an arm."""
    if arm.kind == "judge":
        return [Request(arm.model, (user(item.prompt), user(item.text)), max_tokens=MAX_TOKENS)]
    if arm.preset is not None:
        members = [
            Request(
                member.model,
                item.messages,
                max_tokens=max(member.reference.max_tokens, MAX_TOKENS),
                temperature=member.reference.temperature,
                reasoning=member.reference.reasoning,
            )
            for member in arm.preset.resolved(arm.model).members
        ]
        if arm.kind == "vote":
            return members
        return counselled.most(arm.preset, arm.model, item, members, MAX_TOKENS)
    temperature = 0.7 if arm.kind == "self" else None
    request = Request(arm.model, item.messages, max_tokens=item.max_tokens or MAX_TOKENS, temperature=temperature)
    return [request] * arm.samples


async def answer(
    client: ModelClient, arm: Arm, item: Item, context: CallContext, *, other: Item, lookups: Lookups | None = None
) -> Result:
    """Answer one item, with all turns of it; `other` is the item whose counsel a placebo gets. Raises BudgetReached, and UsageError for an
    endpoint or key that is not there; a model's failure is a result.
    """
    if arm.kind == "judge":
        return await _judged(client, arm, item, context)
    result = await _turn(client, arm, item, context, other, lookups)
    while item.turns and result.status == "done":
        item, other = item.after(result.text), other.after(result.text) if other.turns else other
        further = await _turn(client, arm, item, context, other, lookups)
        further.text = f"{result.text}\n\n[The person then asked: {item.prompt}]\n\n{further.text}"
        further.go_on(result)
        result = further
    return result


async def told(client: ModelClient, asked: Sequence[tuple[Arm, Item, CallContext]]) -> list[Result | None]:
    """Items whose answers are stored and come at once, many together. None: this one is to be answered by itself (`answer`)."""
    plain = [
        arm.kind == "solo" and not item.turns and item.scorer not in scorers.LATER for arm, item, _context in asked
    ]
    calls = [(requests(arm, item)[0], context) for (arm, item, context), yes in zip(asked, plain, strict=True) if yes]
    replies = iter(await client.told(calls))
    found: list[Result | None] = []
    for (arm, item, _context), yes in zip(asked, plain, strict=True):
        reply = next(replies) if yes else None
        result = None
        if reply is not None:
            result = Result(item.id, arm.name)
            _count(result, reply)
            _scored(result, item, [reply.message.text])
        found.append(result)
    return found


async def _turn(
    client: ModelClient, arm: Arm, item: Item, context: CallContext, other: Item, lookups: Lookups | None
) -> Result:
    if arm.kind == "vote":
        return await _by_vote(client, arm, item, context)
    if arm.kind == "counselled":
        return await _counselled(client, arm, item, context, other, lookups)
    replies = await asyncio.gather(
        *(client.complete(request, context) for request in requests(arm, item)), return_exceptions=True
    )
    result = Result(item.id, arm.name)
    texts: list[str] = []
    for reply in replies:
        if isinstance(reply, ModelError):
            _count_failure(result, reply)
        elif isinstance(reply, BaseException):
            raise reply
        else:
            texts.append(reply.message.text)
            _count(result, reply)
    return _scored(result, item, texts)


def _scored(result: Result, item: Item, texts: Sequence[str]) -> Result:
    """The winner's text and its score; without any answer the result stays what its failures made of it."""
    if not texts:
        result.status = "refused" if result.status == "refused" else "failed"
        return result
    result.status = "done"
    if item.scorer in scorers.LATER:
        result.text = texts[0]
        return result
    result.votes = [vote(text, item.scorer) for text in texts]
    won = winner(result.votes, lot=item.id)
    result.text = next(text for text, form in zip(texts, result.votes, strict=True) if form == won)
    if item.scorer in scorers.KINDS:
        result.score = scorers.agrees(won or "", item.expected, item.scorer)
    else:
        result.score = score(result.text, item.expected, item.scorer)
    return result


async def _judged(client: ModelClient, arm: Arm, item: Item, context: CallContext) -> Result:
    """The arm's model as the judge of a stored text: `met` or `unmet`."""
    from moa.bench.judge.judge import FAILURES, Bill, Judges

    result, bill = Result(item.id, arm.name), Bill()
    (criterion,) = item.rubric
    judges = Judges(client, [arm.model])
    try:
        found = await judges.met(arm.model, item.prompt, item.text, criterion.requirement, context, bill)
        result.text, result.unverified = "met" if found.likely else "unmet", int(found.verified is False)
        result.marks = {criterion.id: found.value}
        result.score = score(result.text, item.expected, item.scorer)
    except FAILURES as error:
        result.status = "refused" if isinstance(error, Refused) else "failed"
        result.error = str(error)[:300]
    result.calls, result.cost_nano, result.unknown, result.tokens = bill.calls, bill.nano, bill.unknown, bill.tokens
    result.verdicts, result.soft = bill.verdicts, bill.soft
    return result


async def _counselled(
    client: ModelClient, arm: Arm, item: Item, context: CallContext, other: Item, lookups: Lookups | None
) -> Result:
    """The main model, with what the panel says of the item, or as a placebo of another."""
    assert arm.preset is not None
    about = other if arm.name == "placebo:other" else item
    heard: list[Reply] = []
    counsel = await counselled.consult(
        client, arm.preset, arm.model, arm.name, about, context, lookups=lookups, on_reply=heard.append
    )
    result = _of_panel(counsel, item, arm)
    for reply in heard:  # of a member that looks things up: its answer tells of its last call alone
        if reply.call_id not in result.calls:
            _count(result, reply)
    if counsel.aggregation is not None and counsel.aggregation.calls:
        result.calls += counsel.aggregation.calls
        _spend(result, counsel.aggregation.cost_nano, counsel.aggregation.usage)
    given = counselled.text_of(client, counsel, arm.model, arm.name, item)
    try:
        reply = await client.complete(counselled.final(arm.model, item, given, MAX_TOKENS), context)
    except ModelError as error:
        _count_failure(result, error)
        return _scored(result, item, [])
    _count(result, reply)
    return _scored(result, item, [reply.message.text])


async def _by_vote(client: ModelClient, arm: Arm, item: Item, context: CallContext) -> Result:
    """The preset's own panel, with its quorum, times and early stop."""
    from moa.panel.panel import NOT_NEEDED, Panel

    preset = arm.preset
    assert preset is not None
    asked = {member.slot: request for member, request in zip(preset.members, requests(arm, item), strict=True)}
    panel = Panel(preset, client)

    def settled(answers: Sequence[Answer], outstanding: int) -> bool:
        return decided([vote(answer.text, item.scorer) for answer in answers], outstanding)

    try:
        found = await panel.consult(
            lambda member: asked[member.slot],
            context=context,
            step=1,
            group=f"{arm.name}/{item.id}",
            emit=lambda _event: None,
            # Where answers come at once, who comes first is chance, and a run that is gone on with must end as it would have.
            settled=None if all(_instant(client, request) for request in asked.values()) else settled,
        )
    finally:
        await panel.close()
    result = _of_panel(found, item, arm)
    result.stopped = sum(failure.kind == NOT_NEEDED for failure in found.failures)
    return _scored(result, item, [answer.text for answer in found.answers])


def _of_panel(found: Counsel | Round, item: Item, arm: Arm) -> Result:
    """What a panel's members used. Raises BudgetReached."""
    _within_budget(found.failures)
    result = Result(item.id, arm.name)
    for answered in found.answers:
        _count_outcome(result, answered)
        _serve(result, answered.model_served)
    for failed in found.failures:
        _count_outcome(result, failed)
    result.unknown += len(found.running)
    return result


def _count(result: Result, reply: Reply) -> None:
    result.calls.append(reply.call_id)
    result.simulated |= _simulated(reply.provider)
    _serve(result, reply.model_served)
    _spend(result, reply.cost_nano, reply.usage)


def _within_budget(failures: Sequence[Failure]) -> None:
    """Raises BudgetReached where a member was not asked for want of money: with a part of its panel an item would be another."""
    for failure in failures:
        if failure.kind == BudgetReached.kind:
            raise BudgetReached(failure.message, cap="--budget", remedy="resume with --resume and a larger --budget")


def _count_failure(result: Result, error: ModelError) -> None:
    result.status = "refused" if isinstance(error, Refused) else "failed"
    result.error = result.error or f"{error.kind}: {error.message}"[:300]
    if error.call_id:
        result.calls.append(error.call_id)
    if error.usage is not None or error.partial is not None:
        _spend(result, error.cost_nano, error.usage)


def _count_outcome(result: Result, outcome: Answer | Failure) -> None:
    if outcome.call_id:
        result.calls.append(outcome.call_id)
    _spend(result, outcome.cost_nano, getattr(outcome, "usage", None))
    kind = getattr(outcome, "kind", None)
    if kind is not None and kind != "not_needed":
        result.error = result.error or f"{kind}: {getattr(outcome, 'message', '')}"[:300]


def _instant(client: ModelClient, request: Request) -> bool:
    endpoint = client.endpoint(request.model.endpoint)
    return bool(endpoint.answers) and not endpoint.speed


def _serve(result: Result, model: str | None) -> None:
    if model is not None and model not in result.served:
        result.served.append(model)


def _spend(result: Result, nano: int | None, usage: Any) -> None:
    result.cost_nano += nano or 0
    result.unknown += nano is None
    if usage is not None:
        result.tokens += usage.prompt + usage.completion


def _simulated(provider: str | None) -> bool:
    return provider is not None and provider.startswith("replay") and "simulated" in provider
