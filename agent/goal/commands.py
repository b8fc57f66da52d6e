"""What `/goal` does, verb by verb. Each returns a view or the turn that begins; none of them knows a face."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.commands import CommandContext, Result, RunTurn, Said
from agent.errors import UsageError
from agent.goal import grammar, prompts
from agent.goal.budget import Budget, Spent, parse, show_span
from agent.goal.gates import acceptable
from agent.goal.state import GoalState
from agent.goal.verdict import seats_for
from agent.goal.watch import TurnWatch
from agent.llm.money import NANO
from agent.text.numbers import plural
from agent.views import MarkdownView, TableView, TreeView

if TYPE_CHECKING:
    from agent.goal.pursuit import Pursuit

MOST = 20_000
"""Characters of a goal; what is longer belongs in a file that the goal names."""


async def run(goal: Pursuit, context: CommandContext, args: str) -> Result:
    """Do what stands after `/goal`. Raises UsageError."""
    verb, rest = grammar.read(args)
    match verb:
        case "set":
            return _begin(goal, rest)
        case "status":
            return _status(goal)
        case "resume":
            return _resume(goal)
        case "pause":
            return _pause(goal)
        case "clear":
            return _clear(goal)
        case "history":
            return _history(context.session.records("goal"))
        case "budget":
            return _budget(goal, rest)
        case "judge":
            return _judge(goal, rest)
        case _:
            noun, _, action = verb.partition(" ")
            return _list(goal, noun, action, rest)


def complete(goal: Pursuit, typed: str) -> Iterable[str]:
    """What could stand after `/goal`."""
    word, space, rest = typed.partition(" ")
    if not space:
        return [verb for verb in grammar.VERBS if verb.startswith(word)]
    choices: list[str] = []
    if word in grammar.LISTS:
        choices = ["add ", "list", "remove "]
    elif word == "judge":
        choices = ["main", *goal.host.registry.judges.names()]
    elif word == "budget":
        choices = ["20 turns", "30m", "200k tokens", "$2", "off"]
    return [f"{word} {choice}" for choice in choices if choice.startswith(rest)]


# Beginning, stopping, going on


def _begin(goal: Pursuit, text: str) -> Result:
    if len(text) > MOST:
        raise UsageError(
            f"a goal has {MOST:,} characters at most", remedy="put it into a file, and name that in the goal"
        )
    state = _asked_for(goal, GoalState(text, budget=Budget(turns=goal.settings.turns)))
    seats_for(goal, state.judge or goal.settings.judge)  # better now than after the first turn
    goal.watch = TurnWatch()
    goal.set(state)
    return RunTurn(prompts.opening(state.text, state.criteria))


def _asked_for(goal: Pursuit, state: GoalState) -> GoalState:
    """With what the command line said of gates, criteria, budget and judge. Raises UsageError."""
    options = goal.host.options
    for gate in options.get("gates", ()):
        if problem := acceptable(gate):
            raise UsageError(f"--gate {gate!r}: {problem}", remedy="give a shell command")
    budget = state.budget
    if wanted := options.get("budget"):
        found = parse(wanted, budget)
        if found is None:
            raise UsageError(f"--goal-budget {wanted!r} is not a budget", remedy='for example "20 turns, 30m, $2"')
        budget = found
    return replace(
        state,
        gates=tuple(options.get("gates", ())),
        criteria=tuple(options.get("criteria", ())),
        budget=budget,
        judge=options.get("judge"),
    )


def _resume(goal: Pursuit) -> Result:
    state = _the(goal)
    if state.status == "done":
        raise UsageError("the goal is met already", remedy="/goal TEXT sets another")
    goal.watch = TurnWatch()
    goal.set(replace(state, spent=goal.total(), turn="").resumed())
    why = f"You were stopped ({state.reason}); now go on." if state.reason else "Now go on."
    return RunTurn(prompts.continuation(state.text, state.criteria, why))


def _pause(goal: Pursuit) -> Result:
    state = _the(goal)
    if not state.active:
        return _said(f"It is not running: {state.status}.")
    goal.set(state.paused("you paused it"))
    return _said("The goal is paused; what runs now comes to its end. `/goal resume` continues.")


def _clear(goal: Pursuit) -> Result:
    _the(goal)
    goal.set(None)
    return _said("The goal is cleared. Its history stays with the session: `/goal history`.")


# Looking


def _status(goal: Pursuit) -> Result:
    state = goal.state
    if state is None:
        return _said("There is no goal. `/goal TEXT` sets one.")
    total = goal.total()
    used = total - state.granted
    standing = state.status if not state.reason else f"{state.status}: {state.reason}"
    if goal.waits_until is not None:
        standing = time.strftime("waits until %H:%M:%S", time.localtime(goal.waits_until)) + f": {state.reason}"
    rows = [("goal", state.text), ("status", standing)]
    rows += [(f"criterion {n}", text) for n, text in enumerate(state.criteria, 1)]
    rows += [(f"gate {n}", text) for n, text in enumerate(state.gates, 1)]
    rows.append(("judge", state.judge or goal.settings.judge or "main (the main model)"))
    rows.append(("budget", str(state.budget)))
    words = f"{plural(used.turns, 'turn')}, {show_span(used.seconds)}, {used.tokens:,} tokens, {used.money}"
    rows.append(("used", words if state.granted.turns == 0 else f"{words} since /goal resume; {total.money} in all"))
    note = "For long work: counsel with a preset whose cadence is signal is taken when something goes wrong, not at every step."
    return Said(TableView(title="goal", columns=("", ""), rows=tuple(rows), note=note))


def _history(records: list[dict[str, Any]]) -> Result:
    if not records:
        return _said("No turn has been judged in this session yet.")
    return Said(TreeView(label=plural(len(records), "verdict"), children=tuple(_entry(data) for data in records)))


def _entry(data: dict[str, Any]) -> TreeView:
    spent = data.get("spent") or {}
    children = [
        TreeView(label=f"{vote.get('judge')}: {vote.get('verdict') or 'no answer'}", text=_vote_text(vote))
        for vote in data.get("votes") or ()
    ]
    if gate := data.get("gate"):
        children.append(TreeView(label=f"gate {gate.get('command')}", text=str(gate.get("tail", ""))))
    money = Spent(nano=round(spent.get("usd", 0) * NANO), unknown=int(bool(spent.get("lower_bound")))).money
    label = f"turn {data.get('turn')}: {data.get('decision')} ({spent.get('tokens', 0):,} tokens, {money} so far)"
    return TreeView(label=label, text=str(data.get("reason", "")), children=tuple(children))


def _vote_text(vote: dict[str, Any]) -> str:
    if error := vote.get("error"):
        return f"{error.get('kind')}: {error.get('message')}"
    return "\n".join((str(vote.get("reason", "")), *(f"still open: {one}" for one in vote.get("unmet") or ())))


# Changing it, also while it runs


def _budget(goal: Pursuit, rest: str) -> Result:
    state = _the(goal)
    if not rest:
        return _said(f"Its budget: {state.budget}.")
    budget = parse(rest, state.budget)
    assert budget is not None, "the grammar lets nothing else through"
    goal.set(replace(state, budget=budget))
    return _said(f"Its budget is now: {budget}.")


def _judge(goal: Pursuit, rest: str) -> Result:
    state = _the(goal)
    if not rest:
        return _said(f"The judge: `{state.judge or goal.settings.judge or 'main'}`.")
    seats = seats_for(goal, rest)
    goal.set(replace(state, judge=rest))
    names = ", ".join(f"`{seat.label}`" for seat in seats)
    return _said(
        f"It is judged by {names}." if len(seats) == 1 else f"It is judged by {plural(len(seats), 'model')}: {names}."
    )


def _list(goal: Pursuit, noun: str, verb: str, rest: str) -> Result:
    state = _the(goal)
    field = "gates" if noun == "gate" else "criteria"
    items: tuple[str, ...] = getattr(state, field)
    if verb == "add":
        if noun == "gate" and (problem := acceptable(rest)):
            raise UsageError(f"that is not a gate: {problem}", remedy="/goal gate add COMMAND, for example: pytest -q")
        items = (*items, rest)
    elif verb == "remove":
        if not 1 <= int(rest) <= len(items):
            raise UsageError(
                f"there is no {noun} {rest}", remedy=f"a number from 1 to {len(items)}" if items else "there are none"
            )
        items = (*items[: int(rest) - 1], *items[int(rest) :])
    if verb != "list":
        goal.set(replace(state, gates=items) if noun == "gate" else replace(state, criteria=items))
    rows = tuple((str(n), text) for n, text in enumerate(items, 1))
    about = "must exit with 0 before it counts as met" if noun == "gate" else "must hold before it counts as met"
    return Said(TableView(title=field, columns=("", about), rows=rows, note="" if rows else "there are none"))


def _the(goal: Pursuit) -> GoalState:
    if goal.state is None:
        raise UsageError("there is no goal", remedy="/goal TEXT sets one")
    return goal.state


def _said(text: str) -> Said:
    return Said(MarkdownView(text=text))
