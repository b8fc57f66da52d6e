"""What the verbs of `/moa` do, in one table (`moa.plugin` offers the command). Each returns a View; none of them knows a face."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from agent.commands import CommandContext, Completion, Result, RunTurn, Said
from agent.errors import UsageError
from agent.llm.money import Total
from agent.text.nearest import nearest
from agent.text.numbers import whole_number
from agent.views import MarkdownView, TableView
from moa.aggregate.methods import METHODS
from moa.arming import NOT_HERE, armed, check
from moa.counsel import keep, record, restore
from moa.store import store
from moa.store.reading import VERBS

if TYPE_CHECKING:
    from moa.armed import Armed
    from moa.counsel.counsel import Counsel
    from moa.counsel.record import FindingRecord
    from moa.preset.preset import Preset


async def run(moa: Armed, context: CommandContext, args: str) -> Result:
    """Do what stands after `/moa`. Raises UsageError, with the nearest verb or preset for a word that is neither."""
    word, _, rest = args.strip().partition(" ")
    if not word:
        return await (_off(moa, context, "") if moa.armed else _on(moa, context, ""))
    if word in TABLE:
        return await TABLE[word](moa, context, rest.strip())
    return await arm(moa, context, word, rest)


def complete(moa: Armed, typed: str) -> Iterable[str]:
    """What could stand after `/moa`, given what stands there already."""
    word, space, rest = typed.partition(" ")
    presets = sorted(store.find(moa.host.config_dir, moa.host.project_dir))
    if not space:
        about = {found.name: told for found, told, _ in store.descriptions(moa.host.config_dir, moa.host.project_dir)}
        known = VERBS | {name: about.get(name) or "a preset" for name in presets}
        return [Completion(choice, about) for choice, about in known.items() if choice.startswith(word)]
    choices = {
        "tool": ["force", "offer", "off"],
        "quote": presets,
        "ask": [f"@{name}" for name in presets],
        "cancel": list(moa.at_work.panel.running) if moa.at_work else [],
    }.get(word, [])
    return [f"{word} {choice}" for choice in choices if choice.startswith(rest)]


def _said(text: str) -> Said:
    return Said(MarkdownView(text=text))


def _nothing_more(verb: str, rest: str) -> None:
    if rest:
        raise UsageError(f"/moa {verb} takes no argument, but got {rest!r}", remedy=f"/moa {verb}")


# Arming


async def _on(moa: Armed, context: CommandContext, rest: str) -> Result:
    _nothing_more("on", rest)
    return await arm(moa, context, moa.armed or moa.settings.preset, "")


async def _off(moa: Armed, context: CommandContext, rest: str) -> Result:
    _nothing_more("off", rest)
    moa.arm(None)
    return _said("Counsel is off.")


async def arm(moa: Armed, context: CommandContext, name: str, rest: str) -> Result:
    """Arm a preset, or offer what can be armed here instead. Raises UsageError."""
    known = store.find(moa.host.config_dir, moa.host.project_dir)
    if name not in known:
        closed = None if moa.host.project_dir else store.untrusted(name, moa.host.cwd)
        raise closed or _unknown(name, list(known))
    if rest:
        raise UsageError(
            f"/moa {name} arms a preset and takes no prompt", remedy=f"for one turn: /moa ask @{name} {rest}"
        )
    preset = moa.load(name)
    try:
        return armed(moa, name)
    except UsageError as error:
        if error.kind not in NOT_HERE:
            raise
    from moa.slash.building import offer

    return await offer(moa, context, preset, moa.obstacles(preset))


def _unknown(word: str, presets: list[str]) -> UsageError:
    """Neither a verb nor a preset."""
    near = nearest(word, (*VERBS, *presets), cutoff=0.5)
    listed = f"verbs: {', '.join(VERBS)}; presets: {', '.join(sorted(presets))}"
    remedy = f"did you mean /moa {near}? ({listed})" if near else listed
    return UsageError(f"/moa {word}: no such verb or preset", remedy=remedy, kind="unknown_preset")


# Asking


async def _ask(moa: Armed, context: CommandContext, rest: str) -> Result:
    name = moa.armed or moa.settings.preset
    if rest.startswith("@"):
        name, _, rest = rest[1:].partition(" ")
    if not rest.strip():
        raise UsageError("/moa ask needs a prompt", remedy="/moa ask [@PRESET] PROMPT")
    check(moa, moa.load(name))
    return RunTurn(rest.strip(), {"moa": {"preset": name}})


async def _again(moa: Armed, context: CommandContext, rest: str) -> Result:
    _nothing_more("again", rest)
    earlier = moa.last if moa.last is not None and moa.last.answers else _recorded(moa, context)
    council = moa.council(earlier.preset)
    counsel = await council.again(earlier, emit=context.emit)
    moa.last = counsel
    turn = context.session.turn_count()
    guidance: str | None
    if counsel.task.name in ("review", "plan"):
        guidance = None  # it is shown to the user, and was never guidance
    elif counsel.task.name == "answer":
        from moa.fuse import material

        guidance = material(counsel, window=council.window(counsel.main), turn=turn)
    else:
        from moa.counsel.guidance import whole

        guidance = whole(counsel, turn=turn)
    receipt = moa.receipts.taken(counsel.calling.turn, counsel.step, counsel.decision, counsel.cost, counsel.duration_s)
    found: tuple[FindingRecord, ...] = ()
    if counsel.task.name == "review":
        from moa.review import changes, findings

        found = findings.of(counsel, changes.reread(counsel.material or ""))
    entry = keep.full(counsel, iteration=counsel.step, turn=turn, guidance=guidance, receipt=receipt, findings=found)
    context.session.add_record(entry, turn=counsel.calling.turn, iteration=counsel.step)
    context.emit(entry)
    from moa.counsel.view import counsel_view

    return Said(counsel_view(entry.data))


def _recorded(moa: Armed, context: CommandContext) -> Counsel:
    """The last counsel with answers, as the session has it. Raises UsageError."""
    answered = [data for data in restore.taken(context.session) if data.get("members")]
    main = moa.main()
    try:
        data = answered[-1]
        preset = moa.load(data["preset"])
        history = context.session.history()
        return restore.counsel(
            data, preset, account=moa.host.account, history=history, main=main or preset.members[0].model
        )
    except (IndexError, KeyError, ValueError, TypeError):
        raise UsageError(
            "there are no answers in this session to analyse again", remedy="take counsel first: /moa ask PROMPT"
        ) from None


# Looking


async def _show(moa: Armed, context: CommandContext, rest: str) -> Result:
    from moa.counsel.view import counsel_view

    taken = restore.taken(context.session)
    if not taken:
        raise UsageError("no counsel was taken in this session yet", remedy="/moa on, and then ask something")
    number = _number(rest, "show", len(taken), default=len(taken))
    return Said(counsel_view(taken[number - 1], number=number, of=len(taken)))


async def _status(moa: Armed, context: CommandContext, rest: str) -> Result:
    from moa.counsel.tally import count

    _nothing_more("status", rest)
    name = moa.turn.council.preset.name if moa.turn else moa.armed
    preset = moa.load(name or moa.settings.preset)
    rows = [("counsel", f"on: {preset.name}" if name else f"off (/moa arms {preset.name})")]
    tally = count(context.session, preset.name)
    for member in preset.resolved(moa.main()).members:
        about = _about(str(member.model), member.reference.role)
        heard = tally.members.get(member.slot)
        rows.append((f"member {member.slot}", f"{about} ({heard})" if heard else about))
    rows.append(("panel", str(tally)))
    rows += _aggregators(moa, preset)
    rows.append(("sent to", ", ".join(moa.receivers(preset))))
    rows.append(("cadence", f"{preset.cadence}{', lookahead' if preset.lookahead else ''}"))
    rows.append(("sends", _sends(preset)))
    quorum = "all" if preset.quorum is None else f"{preset.quorum} of {len(preset.members)}"
    rows.append(
        (
            "quorum",
            f"{quorum}, +{preset.grace_s:g} s grace; warns at {preset.soft_s:g} s; {preset.timeout_s:g} s at most",
        )
    )
    rows.append(("tool", moa.tool_mode))
    if recorded := restore.taken(context.session):
        from moa.counsel.telling import line_of

        last = record.CounselRecord.read(recorded[-1])
        rows.append(("last counsel", f"step {last.step}: {line_of(last).line}"))
    rows.append(("spent", f"{_spent(moa, context)} in this session, main model not counted"))
    rows += [(f"step {receipt.iteration}", str(receipt)) for receipt in moa.receipts.all[-5:]]
    return Said(TableView(title="counsel", columns=("", ""), rows=tuple(rows)))


def _sends(preset: Preset) -> str:
    """From which grade on, and how much at once."""
    what = {"note": "everything", "concern": "concerns and blockers", "blocker": "blockers"}[preset.severity]
    bound = f"{preset.guidance_tokens:,} tokens in force at most" if preset.guidance_tokens else "no bound"
    others = "; no member of the main model's family" if preset.family == "other" else ""
    return f"{what}; {bound}{others}"


def _aggregators(moa: Armed, preset: Preset) -> list[tuple[str, str]]:
    if not METHODS[preset.aggregate].needs_model:
        return [("aggregator", f"none ({preset.aggregate})")]
    from moa.aggregate import comparer

    model, seat = comparer.seat(preset, moa.host.client, moa.main())
    chosen = "" if preset.aggregator.model else " (the cheapest priced member)"
    deep, _seat = comparer.seat(preset, moa.host.client, moa.main(), deep=True)
    loop = f"{model}{chosen}, {preset.aggregator_view} view"
    return [("aggregator", _about(loop, seat.role)), ("aggregator, deep", f"{deep}, for consult")]


def _about(model: str, role: str | None) -> str:
    return f"{model}: {role}" if role else model


def _spent(moa: Armed, context: CommandContext) -> Total:
    """The sum of the ledger's own rows."""
    calls = moa.host.ledger.calls(session=context.session.id)
    return Total.of(call.cost_nano for call in calls if call.purpose in ("reference", "aggregator"))


async def _quote(moa: Armed, context: CommandContext, rest: str) -> Result:
    from moa.panel.briefing import render
    from moa.quote import pace, quote

    preset = moa.load(rest or moa.armed or moa.settings.preset)
    check(moa, preset)
    view = render(context.session.history())
    priced = quote(preset, moa.host.client, view, moa.main(), pace(moa.host.ledger))
    return Said(priced.view(moa.receivers(preset)))


# While it runs


async def _cancel(moa: Armed, context: CommandContext, rest: str) -> Result:
    running = moa.at_work.panel.running if moa.at_work else ()
    if not rest:
        raise UsageError("/moa cancel needs a member's number", remedy=f"active: {', '.join(running) or 'nobody'}")
    if moa.at_work is None or not moa.at_work.panel.cancel(rest):
        raise UsageError(f"member {rest} is not active", remedy=f"active: {', '.join(running) or 'nobody'}")
    return _said(f"Member {rest} is stopped.")


async def _go(moa: Armed, context: CommandContext, rest: str) -> Result:
    _nothing_more("go", rest)
    if moa.at_work is None or not moa.at_work.go():
        raise UsageError("no counsel is running", remedy="/moa go works while a panel is active")
    return _said("Continuing with the answers so far.")


_TOOL_WORDS: Mapping[str, str] = {
    "off": "The main model is not offered the panel as a tool.",
    "offer": "The main model may ask the panel with its tool `consult`, when it wants to.",
    "force": "The main model must ask the panel with its tool `consult`: an answer without that is held back once, with a reminder.",
}


async def _tool(moa: Armed, context: CommandContext, rest: str) -> Result:
    if not rest:
        return _said(_TOOL_WORDS[moa.tool_mode])
    if rest not in _TOOL_WORDS:
        raise UsageError(f"/moa tool {rest}: there is no such mode", remedy="/moa tool force | offer | off")
    moa.set_tool(rest)
    return _said(f"{_TOOL_WORDS[rest]} It holds from the next turn.")


def _number(text: str, verb: str, most: int, *, default: int) -> int:
    if not text:
        return default
    number = whole_number(text, most)
    if not number:
        raise UsageError(f"/moa {verb} {text}: there is no such counsel", remedy=f"a number from 1 to {most}")
    return number


TABLE: Mapping[str, Callable[[Armed, CommandContext, str], Awaitable[Result]]] = {
    "on": _on,
    "off": _off,
    "status": _status,
    "ask": _ask,
    "show": _show,
    "again": _again,
    "quote": _quote,
    "cancel": _cancel,
    "go": _go,
    "tool": _tool,
}
