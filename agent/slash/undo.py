"""/undo: going back behind one of the user's messages, with the files that were changed since, or without."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from agent.commands import Act, Command, CommandContext, Completion, Result, Said
from agent.errors import StateError, UsageError
from agent.session.snapshots import Change, Snapshots, Undoable
from agent.slash.arguments import code, one_of
from agent.text.numbers import plural, whole_number
from agent.tools import todo
from agent.views import MarkdownView, TableView

if TYPE_CHECKING:
    from agent.host import Host
    from agent.session.session import Session

Files = Literal["back", "keep", "conversation"]
WORDS = {
    "keep": "also where a file has changed since: that one stays as it is",
    "conversation": "the conversation alone; no file is touched",
}
LISTED = 50


class Place(NamedTuple):
    """A message to go back behind, as it was typed: `number` counts turns from the end, and is what stands after /undo."""

    number: int
    text: str


def command(host: Host) -> Command:
    """The command."""

    async def undo(context: CommandContext, args: str) -> Result:
        if args.strip() == "list":
            return _list(context.session)
        number, files = _read(args)
        return await _undo(host, context, number, files)

    return Command(
        "undo",
        "undo the last message (or the last N), its results and its file changes",
        undo,
        args_hint="[N] [keep | conversation] | list",
        complete=lambda typed: _complete(host.agent.session, typed),
    )


def places(session: Session) -> list[Place]:
    """What the user has said and can go back behind, newest first."""
    turns = session.turns()
    return [
        Place(number, turn.prompt.typed) for number, turn in enumerate(reversed(turns), 1) if not turn.prompt.synthetic
    ]


def files_since(host: Host, number: int) -> Undoable | None:
    """What going back this many turns would do to files; None where they wrote none that is known. Blocking."""
    ids = [turn.id for turn in host.agent.session.turns()[-number:] if turn.id]
    return _snapshots(host, host.agent.session).look(*ids) if ids else None


def _snapshots(host: Host, session: Session) -> Snapshots:
    return Snapshots(host.config.paths.state / "snapshots" / session.id)


def _complete(session: Session, typed: str) -> Iterable[str]:
    number, space, rest = typed.partition(" ")
    if space:
        return [Completion(f"{number} {word}", about) for word, about in WORDS.items() if word.startswith(rest)]
    numbers = [Completion(str(place.number), _short(place.text)) for place in places(session)[:LISTED]]
    words = [Completion(word, about) for word, about in WORDS.items()]
    offered = [*numbers, *words, Completion("list", "messages that /undo can take back")]
    return [each for each in offered if each.startswith(typed)]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else line[:69] + "…"


def _list(session: Session) -> Said:
    rows = tuple((str(place.number), _short(place.text)) for place in places(session)[:LISTED])
    if not rows:
        raise UsageError("there is nothing to undo", remedy="nothing was said yet")
    note = "/undo N goes back to before one and restores files; /undo N conversation leaves the files as they are"
    return Said(
        TableView(title="your messages, newest first", columns=("N", "message"), rows=rows, align="rl", note=note)
    )


def _read(args: str) -> tuple[int, Files]:
    word, number = args.strip(), 1
    first, _, rest = word.partition(" ")
    if first.lstrip("-").isdigit():
        number, word = whole_number(first) or 0, rest.strip()
    if number < 1:
        raise UsageError(f"/undo {first}: a whole number from 1 on is wanted", remedy="/undo list shows them")
    match one_of("undo", word, WORDS) if word else "back":
        case "keep":
            return number, "keep"
        case "conversation":
            return number, "conversation"
        case _:
            return number, "back"


async def _undo(host: Host, context: CommandContext, number: int, files: Files) -> Result:
    session = context.session
    turns = session.turns()
    if not turns:
        raise UsageError("there is nothing to undo", remedy="nothing was said yet")
    if number > len(turns):
        raise UsageError(
            f"/undo {number}: this conversation has {plural(len(turns), 'turn')}", remedy="/undo list shows them"
        )
    first = turns[-number]
    found = await asyncio.to_thread(files_since, host, number) if files != "conversation" else None
    left: Sequence[Change] = (*found.changed, *found.lost) if found else ()
    if found and left and files != "keep":
        raise _in_the_way(host, found, number)
    if found:
        await _put_back(host, session, found)
    undone = session.since(first.entry)
    session.rewind(first.before if _says_something(session, first.before) else None, reason="undo")
    todo.rewind(session, undone)
    show = host.agent.tools.context.show
    restored = [show(change.path) for change in found.restore if change.before is not None] if found else []
    removed = [show(change.path) for change in found.restore if change.before is None] if found else []
    ran = [call for message in undone for call in message.tool_calls if host.agent.tools.kind(call.name) == "execute"]
    commands = len(ran) + sum(message.synthetic == "shell" for message in undone)
    lines = [_head(number, own=undone[0].synthetic is None)]
    lines += ["No file was touched."] if files == "conversation" else []
    kept = [show(change.path) for change in left]
    for what, paths in (("Restored", restored), ("Removed, because it made them", removed), ("Not changed", kept)):
        lines += [f"{what}: {', '.join(map(code, paths))}."] if paths else []
    if commands:
        lines.append(f"**Not undone:** what {plural(commands, 'shell command')} may have changed.")
    back = undone[0].typed if undone[0].synthetic is None else ""
    return Act("undone", back, MarkdownView(text="\n\n".join(lines)))


def _in_the_way(host: Host, found: Undoable, number: int) -> UsageError:
    show = host.agent.tools.context.show
    why = [f"{show(change.path)} has changed since the agent wrote it" for change in found.changed]
    why += [f"what {show(change.path)} was before is not kept any more" for change in found.lost]
    line = "/undo" if number == 1 else f"/undo {number}"
    message = "the message" if number == 1 else "the messages"
    return UsageError(
        f"nothing was undone: {'; '.join(why)}",
        remedy=f"{line} keep takes {message} back all the same, and leaves these files as they are",
        kind="changed_files",
    )


async def _put_back(host: Host, session: Session, found: Undoable) -> None:
    try:
        await asyncio.to_thread(_snapshots(host, session).restore, found.restore)
    except OSError as error:
        raise StateError(
            f"a file can't be restored: {error}",
            remedy="fix that and give /undo again; it continues where it stopped",
        ) from error
    for change in found.restore:  # what the model saw of it holds no longer
        host.agent.tools.context.seen.pop(change.path, None)


def _says_something(session: Session, entry: str | None) -> bool:
    """Whether an entry stands after the system message: a conversation that was undone whole begins anew, with today's."""
    return entry is not None and session.parent(entry) is not None


def _head(number: int, *, own: bool) -> str:
    """What is taken back; `own`: the user began it, and gets its words back."""
    if not own:
        what = "The last turn, which began by itself, is" if number == 1 else f"The last {plural(number, 'turn')} are"
        return f"{what} taken back."
    what = "The last message is" if number == 1 else f"The last {plural(number, 'turn')} are"
    return f"{what} taken back; you can change {'it' if number == 1 else 'the first of them'} and send it again."
