"""Earlier prompts in the composer: one by one with ↑ and ↓, or searched for."""

from __future__ import annotations

from collections.abc import Callable

from agent.ui.history import History, Recall
from agent.ui.tui.composer.completion import LIMIT, Choice
from agent.ui.tui.composer.editor import Editor
from agent.ui.tui.composer.menu import Menu


class Earlier:
    """The walk and the search through a history. `put` replaces what is typed."""

    def __init__(self, history: History, editor: Editor, menu: Menu, put: Callable[[str], None]) -> None:
        self._history = history
        self._editor = editor
        self._menu = menu
        self._put = put
        self._recall = Recall(history)
        self._recalled: str | None = None
        self._draft: str | None = None

    @property
    def searching(self) -> bool:
        """Whether the text field holds a query, and not a message."""
        return self._draft is not None

    def step(self, *, older: bool) -> bool:
        """One step of the walk; False where the key is to move the cursor in the text instead."""
        editor = self._editor
        if not editor.selection.is_empty:
            return False
        # As long as nothing is touched the walk goes on, through entries of many lines as well.
        walking = self._recalled is not None and self._recalled == editor.text and editor.cursor_at_end_of_text
        if not walking and not (editor.at_top if older else editor.at_bottom):
            return False
        found = self._recall.older(editor.text) if older else self._recall.newer(editor.text)
        if found is None:
            return walking
        self._put(found)
        self._recalled = editor.text
        return True

    def forget(self) -> None:
        """Something was sent or cleared: the next walk begins at the newest entry."""
        self._recalled = None
        self._recall.reset()

    def search(self) -> None:
        """Begin to search; while searching go to the next one found."""
        if self.searching:
            self._menu.move(1)
            return
        self._draft = self._editor.text
        self._put("")
        self.show_found()

    def show_found(self) -> None:
        """Bring the menu in step with the query."""
        found = self._history.search(self._editor.text, LIMIT)
        self._menu.open([Choice(insert=text, label=text, positions=hit.positions) for text, hit in found], 0)

    def finish(self, text: str | None = None) -> None:
        """End the search with what was found; without it what stood there before is there again."""
        if self._draft is None:
            return
        draft, self._draft = self._draft, None
        self._menu.close()
        self._put(draft if text is None else text)
