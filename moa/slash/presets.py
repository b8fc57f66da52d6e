"""What the verbs of `/preset` do: the presets there are and which can run here; arm, make, edit, copy and remove one in the chat."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agent.admin import sessions
from agent.commands import CommandContext, Result, Said
from agent.errors import UsageError
from agent.forms import EditFile
from agent.views import MarkdownView
from moa.store import listing, store

if TYPE_CHECKING:
    from moa.armed import Armed


async def run(moa: Armed, context: CommandContext, args: str) -> Result:
    """Do what stands after `/preset`: nothing lists all, a verb does it, a preset's name arms it. Raises UsageError, StateError."""
    from moa.slash.counsel import arm

    word, _, rest = args.strip().partition(" ")
    if not word:
        return listed(moa)
    if word in TABLE:
        return await TABLE[word](moa, context, rest.split())
    return await arm(moa, context, word, rest)


def complete(moa: Armed, typed: str) -> Iterable[str]:
    """The verbs, and the presets whose names begin like this."""
    names = sorted(store.find(moa.host.config_dir, moa.host.project_dir))
    word, space, rest = typed.partition(" ")
    if not space:
        return [each for each in (*TABLE, *names) if each.startswith(word)]
    return [f"{word} {name}" for name in names if name.startswith(rest)] if word in TABLE and word != "new" else []


def listed(moa: Armed) -> Said:
    """All presets, the armed one marked, and for each whether it can run here."""
    rows = []
    for found, preset, problem in store.read_all(moa.host.config_dir, moa.host.project_dir):
        obstacles = moa.obstacles(preset) if preset else (f"{found.name} can't be used: {problem}",)
        armed = "● " if found.name == moa.armed else ""
        rows.append((obstacles, (f"{armed}{found.name}", found.origin, preset.description if preset else "")))
    note = (
        "/preset NAME arms one, /moa off disarms it; ● is armed. /preset new makes one from the models at hand; show, check, edit, "
        "copy and remove NAME do what they say"
    )
    return Said(listing.grouped(rows, note=note))


async def _new(moa: Armed, context: CommandContext, words: list[str]) -> Result:
    from moa.slash.building import choose, free_name, make
    from moa.store.reading import check_name

    name, models = (words[0], words[1:]) if words else (free_name(moa), [])
    path = moa.host.config_dir / "presets" / f"{name}.toml"
    check_name(name, path)
    if name in TABLE:
        raise UsageError(f"a preset named {name} could not be armed with /preset {name}", remedy="choose another name")
    if path.exists():
        raise UsageError(f"{path} already exists", remedy=f"/preset edit {name} changes it; or choose another name")
    if models:
        return await make(moa, context, name, tuple(models))
    if context.ask is None:
        raise UsageError(
            "/preset new needs the models that are to be on the panel", remedy=f"/preset new {name} ENDPOINT:MODEL …"
        )
    return await choose(moa, context, name)


async def _edit(moa: Armed, context: CommandContext, words: list[str]) -> Result:
    from moa.admin.exchange import edited

    name = _one(words, "edit")
    ask = context.ask
    if ask is None:
        raise UsageError("/preset edit is for an open conversation", remedy=f"moa preset edit {name}")

    async def run_editor(path: Path) -> None:
        if await ask(EditFile(path=path)) is None:
            remedy = f"your edits are in {path}; /preset edit {name} opens it again"
            raise UsageError("the editor did not exit cleanly; nothing was changed", remedy=remedy)

    found = await edited(name, moa.host.config_dir, moa.host.project_dir, run_editor, verbs="/preset")
    return Said(found.view)


async def _show(moa: Armed, context: CommandContext, words: list[str]) -> Result:
    name = _one(words, "show")
    path, text = store.text_of(name, config_dir=moa.host.config_dir, project_dir=moa.host.project_dir)
    return _said(f"{path}\n\n```toml\n{text.rstrip()}\n```")


async def _check(moa: Armed, context: CommandContext, words: list[str]) -> Result:
    from moa.admin.probing import probed

    name = _one(words, "check")
    return Said((await probed(name, moa.load(name), moa.host.client, moa.main())).view)


async def _copy(moa: Armed, context: CommandContext, words: list[str]) -> Result:
    if len(words) != 2:
        raise UsageError("/preset copy needs a preset and a new name", remedy="/preset copy NAME NEW")
    source, target = words
    path = store.copy(source, target, config_dir=moa.host.config_dir, project_dir=moa.host.project_dir)
    return _said(f"{path} created. `/preset edit {target}` changes it, `/preset {target}` arms it.")


async def _remove(moa: Armed, context: CommandContext, words: list[str]) -> Result:
    from moa.admin.exchange import removed

    name = _one(words, "remove")
    if name == moa.armed:
        raise UsageError(f"the preset {name} is armed", remedy="/moa off first")
    config = await asyncio.to_thread(sessions.configuration)
    return Said(removed(name, config, moa.host.project_dir).view)


async def _arm(moa: Armed, context: CommandContext, words: list[str]) -> Result:
    """With its quote before it is armed."""
    from moa.slash.building import confirm

    return await confirm(moa, context, _one(words, "arm"))


def _one(words: list[str], verb: str) -> str:
    if len(words) != 1:
        raise UsageError(f"/preset {verb} needs the name of one preset", remedy=f"/preset {verb} NAME")
    return words[0]


def _said(text: str) -> Said:
    return Said(MarkdownView(text=text))


TABLE: Mapping[str, Callable[[Armed, CommandContext, list[str]], Awaitable[Result]]] = {
    "new": _new,
    "show": _show,
    "check": _check,
    "edit": _edit,
    "copy": _copy,
    "remove": _remove,
    "arm": _arm,
}
