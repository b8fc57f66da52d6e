"""Keeps the menu in step with what is typed: which completion is asked for, looked up off the event loop, and put in its place."""

from __future__ import annotations

import asyncio

from textual.widget import Widget

from agent.commands import CommandTable
from agent.ui.file_index import FileIndex
from agent.ui.tui.composer import completion
from agent.ui.tui.composer.completion import Choice, Trigger, find_trigger
from agent.ui.tui.composer.editor import Editor
from agent.ui.tui.composer.menu import Menu


class Completer:
    """Completions for one text field and its menu. `worker` is the widget whose workers do the looking up; `commands` may change."""

    def __init__(
        self, worker: Widget, editor: Editor, menu: Menu, commands: CommandTable, files: FileIndex | None
    ) -> None:
        self._worker = worker
        self._editor = editor
        self._menu = menu
        self.commands = commands
        self._files = files
        self._trigger: Trigger | None = None
        self._shown: Trigger | None = None
        self._dismissed: Trigger | None = None
        self._wanted: Trigger | None = None
        self._looking = False
        self._quiet: str | None = None

    def be_quiet(self, text: str) -> None:
        """Open no menu over this text until it is changed: it was put there, not typed."""
        self._quiet = text
        self._dismissed = None
        self.pause()

    def update(self) -> None:
        """The text or the cursor is another one."""
        editor = self._editor
        if self._quiet is not None and self._quiet == editor.text:
            return
        self._quiet = None
        trigger = self._trigger = self._find()
        editor.set_hint(completion.hint(trigger, self.commands))
        if self._dismissed is not None and (trigger is None or trigger.start != self._dismissed.start):
            self._dismissed = None
        if trigger is None or self._dismissed is not None:
            self._menu.close()
        elif trigger.kind == "command":
            self._show(trigger, completion.command_choices(trigger.query, self.commands))
        else:
            self._look_up(trigger)

    def catch_up(self) -> None:
        """Keys can come faster than the menu follows them, and a lookup slower than keys: what is shown of earlier characters is not taken."""
        if self._menu.is_open and self._find() != self._shown:
            self._menu.close()
            self.update()

    def _find(self) -> Trigger | None:
        editor = self._editor
        return find_trigger(
            editor.line_before_cursor,
            editor.line_after_cursor,
            first_line=editor.document.line_count == 1,
            table=self.commands,
        )

    def dismiss(self) -> None:
        """Close the menu, and open none until another word is begun."""
        self._dismissed = self._trigger
        self._menu.close()

    def pause(self) -> None:
        """The menu is needed for something else: what is still being looked up is not shown."""
        self._trigger = self._wanted = None
        self._menu.close()

    def take(self, choice: Choice) -> None:
        """Put a choice where what it completes stands."""
        self._menu.close()
        if self._trigger is not None:
            row, column = self._editor.cursor_location
            start = (row, self._trigger.start)
            self._editor.replace(choice.insert, start, (row, column), maintain_selection_offset=False)

    def _show(self, trigger: Trigger, choices: list[Choice]) -> None:
        self._shown = trigger
        self._menu.open(choices, completion.preselected(trigger, choices))

    def _look_up(self, trigger: Trigger) -> None:
        # One thread at a time, always for the newest wish: a slow completer never piles up.
        self._wanted = trigger
        if not self._looking:
            self._looking = True
            self._worker.run_worker(self._look(), group="completion", exit_on_error=False)

    async def _look(self) -> None:
        commands, files = self.commands, self._files
        try:
            while (trigger := self._wanted) is not None:
                self._wanted = None
                choices = await asyncio.to_thread(completion.choices, trigger, commands, files)
                if self._trigger == trigger and self._dismissed is None:
                    self._show(trigger, choices)
                if trigger.kind == "file" and files is not None and files.stale:
                    await files.refresh()
                    if text := files.remark():
                        self._worker.app.notify(text[0].upper() + text[1:], severity="warning", markup=False)
                    self._wanted = self._wanted or self._trigger
        finally:
            self._looking = False
