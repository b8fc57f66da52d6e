"""Taking counsel, from start to end: view, panel (in layers), aggregation, and what is said about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from agent import events
from agent.llm.accounting import Cap
from agent.llm.money import Total
from agent.llm.request import ModelRef, Request
from agent.text.numbers import plural
from moa.aggregate.methods import METHODS, Method, output_mode, raw
from moa.counsel.analyst import Analyst
from moa.counsel.cadence import STOPPED, Decision
from moa.counsel.counsel import Counsel
from moa.panel.panel import NOT_NEEDED, Panel, Round
from moa.panel.tasks import ADVISE

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.client import ModelClient
    from agent.llm.messages import Message
    from agent.plugin import MemberRunner
    from moa.panel import member as seats
    from moa.panel.briefing import Rendering
    from moa.panel.tasks import Task
    from moa.preset.preset import Member, Preset

SHARE = "counsel"
WARM_S = 0.05
"""So long after the members were asked (their requests are out by then), what the analysis needs is imported while they think."""


class Council:
    """The panel and the aggregator of one preset over a conversation. One counsel at a time; `close` ends what is still running."""

    def __init__(
        self,
        preset: Preset,
        client: ModelClient,
        *,
        run_member: MemberRunner | None = None,
        brief: str = "",
    ) -> None:
        self.preset = preset
        self.panel = Panel(preset, client, _within(run_member, preset))
        self._client = client
        self._analyst = Analyst(preset, client)
        self._brief = brief
        self._lock = asyncio.Lock()
        self._count = 0
        self._said: set[str] = set()
        self._known: set[str] = set()
        self.told_full = False
        """The user knows that there is no room for more guidance."""
        self.broken_off: Counsel | None = None
        """A counsel that was stopped in the middle: its calls have been paid for, so it is recorded, too."""

    def go(self) -> bool:
        """Go on with what is in: the answers so far, or the answers as they are where they are being compared. False where nothing waits."""
        return self.panel.go() or self._analyst.go()

    def begin_turn(self) -> None:
        """A new turn: what was said in the last one may be said again."""
        self._said.clear()

    def window(self, main: ModelRef) -> int | None:
        """The main model's context window, tokens; None where nobody knows it."""
        return self._client.facts(main).context_window

    async def close(self) -> None:
        """End every call that is still out."""
        await self.panel.close()

    async def take(
        self,
        history: Sequence[Message],
        *,
        main: ModelRef,
        context: CallContext,
        decision: Decision,
        emit: Emit,
        draft: str | None = None,
        question: str | None = None,
        tools: bool = False,
        in_force: Sequence[str] = (),
        blockers_only: bool = False,
        task: Task = ADVISE,
        brief: str | None = None,
        run_member: MemberRunner | None = None,
        material: str | None = None,
    ) -> Counsel:
        """Take counsel on a history (system message and all; members see none of that).

        `context` is the main call's: same session, run, turn and caps. `draft`: a reply that is about to end the turn, to be
        reviewed. `question`: what the main model asks through its tool. `tools`: members may use theirs. `in_force`: the points
        that the main model has before it, oldest first; `blockers_only`: nothing less will reach it. `task`: advise, or answer the question
        itself. `brief` goes with the conversation (None: the council's own), and `material` is read behind it. `run_member`: how members look things up for this history
        (None: the council's own way). Never raises, except when it is cancelled: what went wrong is in the result, and said with `emit`.
        """
        started = time.monotonic()
        async with self._lock:
            self._count += 1
            self.panel.members = self._members(main, emit)
            counsel = Counsel(
                id=f"{context.turn}/{'c' if task is ADVISE else task.name}{self._count}",
                preset=self.preset.name,
                step=context.iteration,
                decision=decision,
                members=self.panel.members,
                calling=self._context(context),
                main=main,
                messages=len(history),
                draft=draft,
                question=question,
                in_force=tuple(in_force),
                blockers_only=blockers_only,
                task=task,
                material=material,
            )
            read = seen(history, material)
            rendering = partial(_rendering, read, self._brief if brief is None else brief, task)
            try:
                await self._take(counsel, rendering, emit, tools=tools, run_member=_within(run_member, self.preset))
            except asyncio.CancelledError:
                counsel.warnings.append(STOPPED)
                if (came := self.panel.broken_off) is not None:
                    counsel.answers, counsel.failures = came.answers, came.failures
                    spent = [each.cost_nano for each in came.answers] + [each.cost_nano for each in came.failures]
                    counsel.cost = Total.of(spent)
                counsel.cost = counsel.cost.plus(self._lost_cost(counsel))
                counsel.duration_s = time.monotonic() - started
                self.broken_off = counsel
                raise
            except Exception as error:
                # Counsel never breaks a turn: a fault of ours costs the advice, not the answer.
                counsel.warnings.append(f"counsel broke off ({type(error).__name__}: {error})")
                await self.panel.close()
        counsel.duration_s = time.monotonic() - started
        self._tell(counsel, emit)
        return counsel

    def _members(self, main: ModelRef, emit: Emit) -> tuple[Member, ...]:
        """Who is asked while `main` acts. It was checked when the preset was armed; the main model may have changed since."""
        from moa.preflight import relatives

        members = self.preset.resolved(main).members
        same = {member.slot for member in relatives(self.preset, main)}
        if same:
            who = ", ".join(member.label for member in members if member.slot in same)
            text = (
                f'not asked, because family is "other" and the main model is {main.model.rpartition("/")[2]} now: {who}'
            )
            self._say("warning", "family", text, emit)
        return tuple(member for member in members if member.slot not in same)

    async def again(
        self,
        earlier: Counsel,
        *,
        emit: Emit,
        exchanged: Mapping[str, Member] | None = None,
        seed: int | None = None,
        reason: str = "asked for with /moa again",
    ) -> Counsel:
        """A new analysis of the answers of an earlier counsel, without asking its panel. Never raises, as `take`.

        `exchanged` members, by slot, are asked what the earlier ones were asked, and their answers take the place of those. `seed` is the
        order of the answers (None: another one than before).
        """
        started = time.monotonic()
        async with self._lock:
            self._count += 1
            counsel = replace(
                earlier,
                id=f"{earlier.calling.turn}/c{self._count}",
                decision=Decision(True, "again", reason),
                aggregation=None,
                warnings=[],
                cost=Total(),
            )
            # Another order: a judge's preference for a place shows.
            counsel.seed = earlier.seed + 1 if seed is None else seed
            try:
                if exchanged:
                    await self._exchange(counsel, exchanged, emit)
                await self._aggregate(counsel, emit)
            except Exception as error:
                counsel.warnings.append(f"the analysis broke off ({type(error).__name__}: {error})")
        counsel.duration_s = time.monotonic() - started
        self._tell(counsel, emit)
        return counsel

    async def _exchange(self, counsel: Counsel, members: Mapping[str, Member], emit: Emit) -> None:
        """Ask some seats anew; the other answers stay as they are."""
        counsel.members = tuple(members.get(member.slot, member) for member in counsel.members)
        self.panel.members = counsel.members
        asked = await self.panel.consult(
            partial(self._request, counsel, ()),
            context=counsel.calling,
            step=counsel.step,
            group=counsel.id,
            emit=emit,
            tools=counsel.task.deep and self.preset.tools_at != "never",
            only=tuple(members),
            graded=counsel.task.graded,
        )
        answers = {each.slot: each for each in counsel.answers if each.slot not in members}
        answers |= {each.slot: each for each in asked.answers}
        counsel.answers = tuple(answers[slot] for slot in sorted(answers))
        counsel.failures = (*(each for each in counsel.failures if each.slot not in members), *asked.failures)
        counsel.cost = Total.of(
            [*(each.cost_nano for each in asked.answers), *(each.cost_nano for each in asked.failures)]
        )

    # From the question to the answers

    async def _take(
        self,
        counsel: Counsel,
        rendering: Callable[[], Rendering],
        emit: Emit,
        *,
        tools: bool,
        run_member: seats.MemberRunner | None,
    ) -> None:
        """Ask the panel, in layers. Where all are silent there is nothing to compare, and nobody else is called."""
        preset = self.preset
        counsel.rendering = rendering()
        warm = asyncio.get_running_loop().call_later(WARM_S, _warm) if self._method.needs_model else None
        spent: list[int | None] = []
        earlier: list[tuple[str, str]] = []
        only: tuple[str, ...] | None = None
        result: Round | None = None
        for layer in range(1, preset.layers + 1):
            latest = await self.panel.consult(
                partial(self._request, counsel, earlier),
                context=counsel.calling,
                step=counsel.step,
                group=counsel.id,
                emit=emit,
                tools=tools,
                run_member=run_member,
                only=only,
                layer=layer,
                graded=counsel.task.graded,
                # Where answers say how much they matter, one that is not needed for the count may still be a blocker.
                settled=self._method.settled if layer == preset.layers and not counsel.task.graded else None,
            )
            spent += [answer.cost_nano for answer in latest.answers]
            spent += [failure.cost_nano for failure in latest.failures]
            result = latest if result is None else _merged(result, latest)
            said = [answer.text for answer in latest.answers if not answer.silent]
            if latest.hurried or not said:
                break
            earlier = [(f"Answer {chr(64 + n)}", text) for n, text in enumerate(said, 1)]
            only = tuple(answer.slot for answer in latest.answers)
        if warm is not None:
            warm.cancel()
        assert result is not None  # a preset has at least one layer
        counsel.answers, counsel.failures = result.answers, result.failures
        counsel.late, counsel.running = result.late, result.running
        counsel.cost = Total.of([*spent, *(self._lost_cost(counsel) for _slot in result.running)])
        counsel.seed = preset.seed + counsel.step
        # Where only a blocker would go out and nobody has one, a comparison would be paid for and then withheld.
        if counsel.speakers and (counsel.grade == "blocker" or not counsel.blockers_only):
            await self._aggregate(counsel, emit)

    def _lost_cost(self, counsel: Counsel) -> int | None:
        """What a call cost that was begun and has told no end: nothing where no model of this counsel costs anything, else unknown."""
        models = {member.model for member in self.preset.resolved(counsel.main).members} | {
            self._analyst.model(counsel)
        }
        return None if any(self._client.lost_cost(model) is None for model in models) else 0

    def _request(self, counsel: Counsel, earlier: Sequence[tuple[str, str]], member: Member) -> Request:
        from agent.llm.tokens import answer_room, estimate_tokens
        from moa.panel import briefing

        seat, task = member.reference, counsel.task
        window = self._client.facts(member.model).context_window
        most = max(seat.max_tokens, self.preset.answer_tokens) if task.tokens is None else seat.max_tokens
        tail = briefing.tail(
            seat.role,
            draft=counsel.draft,
            earlier=earlier,
            question=counsel.question,
            decide=self._method.decides,
            silence=task.graded,
            in_force=counsel.in_force,
            blockers_only=counsel.blockers_only,
            task=task,
        )
        most = answer_room(window, most)
        assert counsel.rendering is not None
        reserve = most + estimate_tokens(tail)
        # For a note in the margin a long conversation is cut as a matter of course.
        if counsel.deep and window is not None and not counsel.rendering.fits(window, reserve):
            counsel.warnings.append(f"{member.label} read less than all: its window of {window:,} tokens has no room")
        return Request(
            model=member.model,
            messages=counsel.rendering.for_window(window, reserve),
            tail=tail,
            max_tokens=most,
            temperature=seat.temperature,
            reasoning=seat.reasoning,
        )

    # From the answers to one word

    @property
    def _method(self) -> Method:
        return METHODS[self.preset.aggregate]

    async def _aggregate(self, counsel: Counsel, emit: Emit) -> None:
        if (settle := self._method.settle) is not None:
            # One speaker's answer goes out as it is, whatever the method: there is nothing to count.
            counsel.aggregation = (settle if len(counsel.speakers) > 1 else raw)(counsel.speakers)
        else:
            counsel.aggregation = await self._analyst.run(counsel, emit, self._say)
            if counsel.aggregation.calls:
                counsel.cost = counsel.cost.plus(counsel.aggregation.cost_nano)
        counsel.warnings.extend(counsel.aggregation.warnings)
        if kinship := counsel.aggregation.kinship:
            counsel.warnings.append(kinship)

    # What is said about it

    def _context(self, context: CallContext) -> CallContext:
        """The main call's account, with the preset's own share of a turn as a further cap."""
        from agent.llm.money import nano_from_usd

        preset = self.preset
        if preset.turn_usd is None and preset.turn_tokens is None:
            return replace(context, share=SHARE)
        nano = None if preset.turn_usd is None else nano_from_usd(preset.turn_usd)
        cap = Cap("share", f"[budget] in {preset.source}", nano, preset.turn_tokens)
        return replace(context, share=SHARE, caps=(*context.caps, cap))

    def _tell(self, counsel: Counsel, emit: Emit) -> None:
        """Degradations, each once a turn: k of n, why, and which rung."""
        labels = {member.slot: member.label for member in counsel.members}
        failures = [failure for failure in counsel.failures if failure.kind != NOT_NEEDED]
        failed = "; ".join(f"{labels.get(f.slot, f.slot)}: {f.kind.replace('_', ' ')}" for f in failures)
        if not counsel.answers:
            why = failed or "; ".join(counsel.warnings) or "nobody had answered"
            self._say("warning", "counsel_failed", f"no counsel ({why}); the main model continues alone", emit)
            return
        spared = [labels.get(f.slot, f.slot) for f in counsel.failures if f.kind == NOT_NEEDED]
        if spared:
            text = f"the majority was clear after {len(counsel.answers)} of {plural(len(counsel.members), 'answer')}; stopped early: {', '.join(spared)}"
            self._say("info", "stopped_early", text, emit)
        if failures:
            text = f"counsel from {len(counsel.answers)} of {len(counsel.members)} ({failed})"
            self._say("warning", "counsel_degraded", text, emit)
        found = counsel.aggregation
        if found is not None and found.error is not None:
            text = f"the aggregator failed ({found.error[0]}); output mode: {output_mode(found.rung)}"
            self._say("warning", "aggregator_failed", text, emit)
        for warning in counsel.warnings:
            if warning in self._known:
                continue
            if found is not None and warning == found.kinship:
                self._known.add(warning)  # it holds as long as the preset does: once is enough
            self._say("info", "counsel_warning", warning, emit)

    def _say(self, level: Any, code: str, text: str, emit: Emit) -> None:
        if text not in self._said:
            self._said.add(text)
            emit(events.Notice(source="moa", level=level, code=code, text=text))


def _within(run_member: MemberRunner | None, preset: Preset) -> seats.MemberRunner | None:
    """How a preset's members look things up: on the sites that its `[web]` lets them reach."""
    if run_member is None or not (preset.excluded_domains or preset.allowed_domains):
        return run_member
    from agent.config.domains import Domains

    return partial(run_member, domains=Domains(preset.excluded_domains, preset.allowed_domains))


def seen(history: Sequence[Message], material: str | None) -> Sequence[Message]:
    """What a panel reads: the conversation, and behind it what it is to look at beside."""
    if material is None:
        return history
    from agent.llm.messages import user

    return (*history, user(material))


def _rendering(history: Sequence[Message], brief: str, task: Task) -> Rendering:
    from moa.panel import briefing

    return briefing.Rendering(history, brief=brief, task=task)


def _warm() -> None:
    """Import and build what comes after the answers: about 25 ms that nobody has to wait for."""
    import random  # noqa: F401

    from moa.aggregate import aggregator  # noqa: F401
    from moa.aggregate.analysis import Analysis

    Analysis.model_rebuild()


def _merged(first: Round, further: Round) -> Round:
    """A further layer's answers in place of the earlier ones of the same seats; who failed before stays failed."""
    answers = {answer.slot: answer for answer in (*first.answers, *further.answers)}
    failures = {failure.slot: failure for failure in (*first.failures, *further.failures)}
    return Round(
        answers=tuple(answers[slot] for slot in sorted(answers)),
        failures=tuple(failure for slot, failure in sorted(failures.items()) if slot not in answers),
        late=first.late,
        running=further.running,
        skipped=first.skipped,
        hurried=further.hurried,
    )
