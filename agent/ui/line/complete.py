"""Completion for line mode: commands and their arguments from the one table, files from the one index."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prompt_toolkit.completion import Completer, Completion

from agent.commands import Completion as Described
from agent.text.cleaning import harmless
from agent.ui.fuzzy import rank
from agent.ui.mentions import mention

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    from agent.commands import CommandTable
    from agent.ui.file_index import FileIndex

MOST = 20
MENTION = re.compile(r"(?:^|[\s(\[\"'])@(\S*)$")


class LineCompleter(Completer):
    """`/command`, its arguments, `@file`. The table and the index are asked for each time: another session has others."""

    def __init__(self, commands: Callable[[], CommandTable], files: Callable[[], FileIndex]) -> None:
        self._commands = commands
        self._files = files

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What could stand at the cursor, best first. Called in a thread: the index may take its time."""
        text = document.text_before_cursor
        if found := MENTION.search(text):
            yield from self._mentions(found[1])
        elif text.startswith("/") and "\n" not in text:
            yield from self._command(text[1:])

    def _mentions(self, query: str) -> Iterable[Completion]:
        for path, _positions in self._files().complete(query, MOST):
            yield Completion(mention(path), start_position=-len(query) - 1, display=path)

    def _command(self, typed: str) -> Iterable[Completion]:
        table = self._commands().commands
        name, space, arguments = typed.partition(" ")
        if not space:
            for command, _hit in rank(name, table.values(), MOST, key=lambda command: command.name):
                hint = f" {command.args_hint}" if command.args_hint else ""
                yield Completion(
                    command.name + (" " if hint else ""),
                    start_position=-len(name),
                    display=f"/{command.name}{hint if len(hint) <= 24 else ' …'}",
                    display_meta=command.summary,
                )
            return
        if name not in table:
            return
        # A command completes what begins with the letters typed; anything that has them in order is offered, too.
        choices = list(table[name].complete(arguments)) or [
            choice for choice, _hit in rank(arguments, table[name].complete(""), MOST)
        ]
        for choice in choices[:MOST]:
            about = harmless(Described.about_of(choice)) or None
            yield Completion(harmless(choice), start_position=-len(arguments), display_meta=about)
