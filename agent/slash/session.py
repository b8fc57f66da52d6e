"""Commands that change which conversation is open, what it is called, or how far it goes: /resume, /rename, /fork, /undo, /clear."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from agent.commands import Act, Command, CommandContext, Result, Said
from agent.errors import StateError, UsageError
from agent.session.snapshots import Snapshots
from agent.slash import undo
from agent.slash.arguments import code, nothing
from agent.views import MarkdownView, TableView

if TYPE_CHECKING:
    from agent.host import Host

LISTED = 50
"""Conversations that /resume offers."""
NAME_LENGTH = 80


def commands(host: Host) -> tuple[Command, ...]:
    """All of them."""

    def session_ids(typed: str) -> Iterable[str]:
        from agent.session.index import files

        names = sorted((path.stem for path in files(host.config.paths.sessions)), reverse=True)
        return [name for name in names if name.startswith(typed)][:LISTED]

    async def resume(context: CommandContext, args: str) -> Result:
        return await _resume(host, context, args)

    async def rename(context: CommandContext, args: str) -> Result:
        return await _rename(host, context, args)

    async def fork(context: CommandContext, args: str) -> Result:
        nothing("fork", args)
        return await _fork(host, context)

    async def clear(context: CommandContext, args: str) -> Result:
        nothing("clear", args)
        if context.session.head is None:
            return Act("open")
        text = f"A new conversation. The one before: `/resume {context.session.id}`"
        return Act("open", view=MarkdownView(text=text))

    return (
        Command("resume", "resume an earlier conversation", resume, args_hint="[SESSION]", complete=session_ids),
        Command("rename", "give this conversation a name, for /resume and --resume", rename, args_hint="NAME"),
        Command("fork", "continue in a copy of this conversation; the original is not changed", fork),
        undo.command(host),
        Command("clear", "begin a new conversation, with the same model and preset", clear),
    )


async def _resume(host: Host, context: CommandContext, args: str) -> Result:
    folder = host.config.paths.sessions
    if args:
        from agent.session.index import find

        path = await asyncio.to_thread(find, folder, args)
        return Act("open", path.stem)
    from agent.session.index import line, summaries

    found = await asyncio.to_thread(summaries, folder, LISTED)
    rows = tuple(
        (
            each.id,
            each.name,
            time.strftime("%Y-%m-%d %H:%M", time.localtime(each.changed)),
            str(each.messages),
            line(each.first, 60),
        )
        for each in found
        if each.id != context.session.id
    )
    if not rows:
        raise UsageError("there is no other conversation yet", remedy="say something in this one")
    view = TableView(
        title="conversations",
        columns=("session", "name", "last change", "messages", "first words"),
        rows=rows,
        align="llrrl",
        spare=("messages",),
        note="/resume SESSION opens one, by its id or name; the beginning is enough",
    )
    return Act("resume", view=view)


async def _rename(host: Host, context: CommandContext, args: str) -> Result:
    from agent.session.index import files, name_of, named

    session, name = context.session, " ".join(_printable(args).split())
    if not name:
        called = (
            f"this conversation is called {session.name!r}" if session.name else "this conversation has no name yet"
        )
        raise UsageError(called, remedy="/rename NAME gives it one")
    if len(name) > NAME_LENGTH:
        raise UsageError(f"the name has {len(name)} characters", remedy=f"{NAME_LENGTH} at most")
    folder = host.config.paths.sessions
    wanted = name.casefold()
    if any(path.stem.startswith(name) for path in files(folder)):
        raise UsageError(f"{name!r} is how the id of a conversation begins", remedy="choose another name")
    for path in await asyncio.to_thread(named, folder, name):
        if path.stem != session.id and (await asyncio.to_thread(name_of, path)).casefold() == wanted:
            raise UsageError(f"another conversation is called {name!r}: {path.stem}", remedy="choose another name")
    session.rename(name)
    return Said(MarkdownView(text=f"This conversation is called {code(name)} now: `moa --resume {shlex.quote(name)}`"))


def _printable(text: str) -> str:
    """A name without control characters, whatever was pasted."""
    return "".join(char if char.isprintable() else " " for char in text)


async def _fork(host: Host, context: CommandContext) -> Result:
    session = context.session
    if session.head is None:
        raise UsageError("there is nothing to fork yet", remedy="say something first")
    await asyncio.to_thread(session.sync)
    copy = await asyncio.to_thread(session.copy)
    snapshots = host.config.paths.state / "snapshots"
    try:
        await asyncio.to_thread(Snapshots(snapshots / session.id).copy_to, snapshots / copy)
    except OSError as error:
        raise StateError(
            f"the snapshots for /undo can't be copied: {error.strerror or error}",
            remedy=f"free some space; the conversation itself was copied: /resume {copy}",
        ) from error
    text = f"You are in a copy now: `{copy}`. The original: `/resume {session.id}`"
    return Act("open", copy, MarkdownView(text=text))
