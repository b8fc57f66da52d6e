"""What can be completed where the cursor stands: commands and their arguments from the one table, files from the index. No widget."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from agent.commands import Command, CommandTable, Completion
from agent.ui.file_index import FileIndex
from agent.ui.fuzzy import rank
from agent.ui.mentions import mention

LIMIT = 50

_COMMAND = re.compile(r"/([\w-]*)")
_ARGUMENT = re.compile(r"/([\w-]+) +(.*)", re.DOTALL)
_FILE = re.compile(r"""(?<![^\s(\["'])@(?:"([^"]*)|([^\s"]*))\Z""")


class Trigger(NamedTuple):
    """What stands before the cursor and can be completed: from column `start` on, `query` is what is typed of it."""

    kind: Literal["command", "argument", "file"]
    start: int
    query: str
    command: str = ""
    arguments: str = ""
    """All that is typed behind the command's name."""


class Choice(NamedTuple):
    """One completion. `insert` replaces the text from the trigger's start on; `positions` are the matched characters of `label`."""

    insert: str
    label: str
    detail: str = ""
    positions: tuple[int, ...] = ()
    run: bool = False
    """Nothing can follow: Enter may send the line at once."""


def find_trigger(before: str, after: str, *, first_line: bool, table: CommandTable) -> Trigger | None:
    """What can be completed, given the cursor's line before and after it; None in the middle of a word and where nothing can."""
    if after[:1].strip():
        return None
    if (found := _FILE.search(before)) is not None:
        return Trigger("file", found.start(), found[2] if found[1] is None else found[1])
    if not first_line or after:
        return None
    if (found := _COMMAND.fullmatch(before)) is not None:
        return Trigger("command", 0, found[1])
    if (found := _ARGUMENT.fullmatch(before)) is not None and found[1] in table.commands:
        typed = found[2]
        query = typed.rpartition(" ")[2]
        return Trigger("argument", len(before) - len(query), query, found[1], typed)
    return None


def hint(trigger: Trigger | None, table: CommandTable) -> str:
    """The grey text behind a command whose arguments are not yet typed."""
    if trigger is None or trigger.kind != "argument" or trigger.arguments:
        return ""
    return table.commands[trigger.command].args_hint


def choices(trigger: Trigger, table: CommandTable, files: FileIndex | None) -> list[Choice]:
    """The completions, best first. For arguments and files it may take its time: to be called in a thread."""
    if trigger.kind == "command":
        return command_choices(trigger.query, table)
    if trigger.kind == "argument":
        return _argument_choices(trigger, table.commands[trigger.command])
    return _file_choices(trigger.query, files) if files is not None else []


def command_choices(query: str, table: CommandTable) -> list[Choice]:
    """Commands by name."""
    return [
        Choice(
            insert=f"/{command.name}" + (" " if command.args_hint else ""),
            label=f"/{command.name} {command.args_hint}".rstrip(),
            detail=command.summary,
            positions=tuple(at + 1 for at in hit.positions),
            run=not command.args_hint,
        )
        for command, hit in rank(query, table.commands.values(), LIMIT, key=lambda command: command.name)
    ]


def preselected(trigger: Trigger, found: list[Choice]) -> int | None:
    """Which choice Enter takes without more ado. None where Enter rather means to send what is typed: a finished word, free text."""
    if not found or (not trigger.query and trigger.kind != "command"):
        return None
    first = found[0].insert.strip()
    if trigger.kind == "file":
        return None if first == mention(trigger.query) or trigger.query.endswith("/") else 0
    if trigger.kind == "command":
        return None if any(choice.insert.strip() == f"/{trigger.query}" for choice in found) else 0
    return 0 if first.startswith(trigger.query) and first != trigger.query else None


def _argument_choices(trigger: Trigger, command: Command) -> list[Choice]:
    # A command completes what its user typed so far, by prefix. Asked for all that can stand at this place, its answers can be
    # narrowed the way everything else here is.
    base = trigger.arguments[: len(trigger.arguments) - len(trigger.query)]
    offered = dict.fromkeys([*_ask(command, base), *_ask(command, trigger.arguments)])
    words = {word.removeprefix(base): Completion.about_of(word) for word in offered}
    found = rank(trigger.query, words, LIMIT)
    if [word for word, _ in found] == [trigger.query]:
        return []
    return [Choice(insert=word, label=word, detail=words[word], positions=hit.positions) for word, hit in found]


def _ask(command: Command, typed: str) -> Iterable[str]:
    try:
        return list(command.complete(typed))
    except Exception:
        # Whatever a plugin's completer trips over, the user is typing; the command itself will say what is wrong.
        return []


def _file_choices(query: str, files: FileIndex) -> list[Choice]:
    made = []
    for path, positions in files.complete(query, LIMIT):
        text = mention(path)
        # A folder is a place to go on from: no space behind it, and its quote left open.
        text = text.removesuffix('"') if path.endswith("/") else f"{text} "
        made.append(Choice(insert=text, label=path, positions=positions))
    return made
