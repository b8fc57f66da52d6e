"""A panel from what is there: where a preset can't be armed, the user ticks models that can be called here, sees the quote, and arms it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.admin import sessions
from agent.chat.disclosure import agree
from agent.commands import Act, CommandContext, Result, Said
from agent.config import edit
from agent.errors import UsageError
from agent.events import Notice
from agent.forms import Choice, Choices
from agent.llm.request import ModelRef
from agent.views import MarkdownView
from moa import preflight
from moa.panel.names import short_name
from moa.preset.preset import MAIN, Preset
from moa.store import at_hand, store
from moa.store.reading import read

if TYPE_CHECKING:
    from moa.armed import Armed
    from moa.store.at_hand import AtHand

NAME = "mine"
"""What a panel that is made here is called, unless the user says otherwise."""
SETUP, OF_PRESET = "setup", "preset:"
ROLES = (
    "Look for what the plan would break, and for the simplest way that would do.",
    "Look for what is being overlooked: cases, requirements, evidence that was not read.",
    "Check the reasoning and the facts; say what should be verified before going on.",
)
MEMBER_TOKENS = 4_000
"""What a member may write, its thinking included: nobody has said how deep these models think."""
TURN_TOKENS = 1_000_000
"""Counsel's share of a turn: a cap in tokens holds where no price is known, too."""


async def offer(moa: Armed, context: CommandContext, preset: Preset, why: tuple[str, ...]) -> Result:
    """Instead of a preset that can't be armed: a panel from the endpoints at hand, or a preset that can run. Raises UsageError where nobody
    is there to choose."""
    reason = f"the preset {preset.name} can't be armed here: {'; '.join(why)}"
    if context.ask is None:
        able = ", ".join(runnable(moa, but=preset.name)) or "none of those that there are"
        raise UsageError(
            reason,
            remedy=f"can run here: {able} (/moa NAME arms one); or make your own, for example: /preset new {NAME} ENDPOINT:MODEL",
            kind="not_here",
        )
    return await choose(moa, context, free_name(moa), f"{reason[0].upper()}{reason[1:]}.", but=preset.name)


async def choose(moa: Armed, context: CommandContext, name: str, why: str = "", *, but: str = "") -> Result:
    """The form: whose ticks become the preset `name`. Raises UsageError."""
    assert context.ask is not None
    context.emit(
        Notice(level="info", code="looking", text="asking the endpoints at hand for their models …", source=moa.name)
    )
    config, main = await asyncio.to_thread(sessions.configuration), _main(moa)
    hand = await at_hand.look(moa.host.client, config, main)
    form, first = _form(moa, hand, main, name, why, runnable(moa, but=but))
    answer = await context.ask(form)
    if answer is None:
        return _said("No panel was made. `/moa` offers one again, `/preset` lists those that there are.")
    if answer == (SETUP,):
        return Act("setup", "/moa")
    if answer[0].startswith(OF_PRESET):
        return await _take(moa, context, answer[0].removeprefix(OF_PRESET))
    return await make(moa, context, name, answer, hand=hand, main=first)


async def make(
    moa: Armed,
    context: CommandContext,
    name: str,
    models: tuple[str, ...],
    *,
    hand: AtHand | None = None,
    main: ModelRef | None = None,
) -> Result:
    """Save a preset of these models (`ENDPOINT:MODEL`, or `main`), and offer to arm it. `main` becomes the main model where none can be
    called; servers that were found running and are used are written down. Raises UsageError, StateError; nothing is saved then."""
    text = preset_text(models)
    made = read(text, name=name, path=moa.host.config_dir / "presets" / f"{name}.toml")
    settings: dict[tuple[str, ...], str] = {}
    if _main(moa) is None and main is not None:
        settings["model",] = str(main)
    for endpoint in {model.endpoint for _, model in preflight.models(made, main)} & set(hand.new if hand else ()):
        assert hand is not None
        settings["endpoints", endpoint, "base_url"] = hand.new[endpoint].base_url
    if not settings:
        moa.check(made)
    store.create(name, text, config_dir=moa.host.config_dir)
    return await _reopened(moa, settings, name) if settings else await confirm(moa, context, name)


async def _reopened(moa: Armed, settings: Mapping[tuple[str, ...], str], name: str) -> Act:
    """Write settings down; what they open is there once everything is built anew."""
    await asyncio.to_thread(edit.update, moa.host.config_file, settings)
    return Act("reopen", f"/preset arm {name}")


async def confirm(moa: Armed, context: CommandContext, name: str) -> Result:
    """What a preset costs and who receives the conversation; then arm it, if the user wants that. Raises UsageError."""
    from moa.panel.briefing import render
    from moa.quote import pace, quote

    preset = moa.load(name)
    moa.check(preset)
    priced = quote(preset, moa.host.client, render(context.session.history()), moa.main(), pace(moa.host.ledger))
    view = priced.view(moa.receivers(preset))
    if context.ask is None:
        return Said(replace(view, note=f"{view.note} Saved: {preset.source}. /moa {name} arms it."))
    form = Choices(
        title=f"Arm {name}?",
        text=f"{preset.source}. Nothing is sent before your next message.",
        view=view,
        choices=(Choice(id="yes", label="Arm it"), Choice(id="no", label="Not now", note=f"/moa {name} does it later")),
    )
    if await context.ask(form) != ("yes",):
        return _said(f"`{name}` is saved and not armed: `/moa {name}` arms it, `/preset edit {name}` changes it.")
    from moa.arming import armed

    said = await _make_default(moa, name)
    result = armed(moa, name, said)
    await asyncio.to_thread(_agreed, moa)
    return result


def _agreed(moa: Armed) -> None:
    """Who receives the conversation was just seen, and agreed to: it need not be asked again before the next message."""
    from moa.slash.disclosing import disclosure

    if (seen := disclosure(moa, "")) is not None:
        agree(seen, moa.host.state_dir)


async def _take(moa: Armed, context: CommandContext, name: str) -> Result:
    """A preset that is there already; with it comes its main model, where none can be called."""
    preset = moa.load(name)
    if _main(moa) is None and preset.main is not None:
        return await _reopened(moa, {("model",): preset.main}, name)
    return await confirm(moa, context, name)


async def _make_default(moa: Armed, name: str) -> str:
    """Have bare /moa arm this one, where the one that it would arm can't be. Returns what to say of it."""
    try:
        held = moa.obstacles(moa.load(moa.settings.preset))
    except UsageError as error:
        held = (error.message,)
    if not held:
        return ""
    await asyncio.to_thread(edit.update, moa.host.config_file, {("moa", "preset"): name})
    moa.settings = replace(moa.settings, preset=name)
    return f"Bare `/moa` arms it from now on (`moa.preset` in {moa.host.config_file})."


def _main(moa: Armed) -> ModelRef | None:
    """The main model, where it can be called."""
    main = moa.main()
    try:
        if main is not None:
            moa.host.client.require_key(main.endpoint)
    except UsageError:
        return None
    return main


def free_name(moa: Armed) -> str:
    """What a panel that is made here can be called: `mine`, or with a number behind it."""
    taken = store.find(moa.host.config_dir, moa.host.project_dir)
    numbered = (f"{NAME}-{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain((NAME,), numbered) if name not in taken)


def _description(moa: Armed, name: str) -> str:
    return moa.load(name).description


def _said(text: str) -> Said:
    return Said(MarkdownView(text=text))


def runnable(moa: Armed, *, but: str = "") -> list[str]:
    """The presets that can be armed here: the user's own, those of the project, and of the shipped ones each that needs nothing more."""
    every = store.read_all(moa.host.config_dir, moa.host.project_dir)
    able = [
        found for found, preset, _ in every if preset is not None and found.name != but and not moa.obstacles(preset)
    ]
    able.sort(
        key=lambda found: (found.origin == "shipped", found.name == "local")
    )  # that one is for trying the program
    return [found.name for found in able]


def preset_text(models: tuple[str, ...]) -> str:
    """The file of a panel of these models. The main model alone is asked twice: one sample of it is no panel."""
    twice = models == (MAIN,)
    shown = ", ".join(map(short_name, models))
    lines = [
        "# Made in the chat from what could be called here. `moa config docs` explains each key.",
        f'description = "Made in the chat: {_quoted(shown)}{", twice" if twice else ""}"',
    ]
    for number, model in enumerate(models):
        lines += ["", "[[references]]", f'model = "{_quoted(model)}"']
        lines += ["count = 2"] if twice else [f'role = "{ROLES[number % len(ROLES)]}"']
        lines.append(
            f"max_tokens = {MEMBER_TOKENS}      # thinking included; the advice itself is asked for in about 300"
        )
    lines += [
        "",
        "[budget]                 # counsel's share of a turn; in tokens, so that it holds where no price is known",
    ]
    lines.append(f"turn_tokens = {TURN_TOKENS:_}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _form(
    moa: Armed, hand: AtHand, main: ModelRef | None, name: str, why: str, able: list[str]
) -> tuple[Choices, ModelRef | None]:
    """The form, and who would become the main model."""
    ticked = at_hand.sensible(hand.models, main)
    first = main
    if main is None and ticked:  # the first is to be the main model: it gives no advice to itself while others can
        first, ticked = ticked[0].ref, at_hand.sensible(hand.models, ticked[0].ref)
    rows = [Choice(id=str(model.ref), label=str(model.ref), note=model.note, ticked=True) for model in ticked]
    if first is not None:
        note = "a sample of the main model itself; alone it is asked twice"
        rows.append(Choice(id=MAIN, label=f"main ({first})", note=note, ticked=len(ticked) < 2))
    others = [each for each in at_hand.in_order(hand.models) if each not in ticked and each.ref != first]
    rows += [Choice(id=str(model.ref), label=str(model.ref), note=model.note, ticked=False) for model in others]
    alone = [
        Choice(id=f"{OF_PRESET}{each}", label=f"the preset {each}", note=_description(moa, each))
        for each in able
        if rows or each == "local"
    ]
    if main is None:
        alone.insert(0, Choice(id=SETUP, label="Set up a key or an address first", note="then a panel of its models"))
    parts = [why] if why else []
    if not rows:
        parts.append("No key is set, and no model server runs on this machine.")
    elif main is None:
        parts.append(f"There is no main model yet: {first} becomes it.")
    if rows:
        parts.append(f"What is ticked becomes the panel, saved as {name}. The quote comes next.")
    parts += [f"({problem})" for problem in hand.problems]
    return Choices(title="A panel from what is here", text=" ".join(parts), choices=(*rows, *alone)), first
