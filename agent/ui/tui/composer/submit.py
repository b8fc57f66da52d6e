"""What is sent: pastes written out, images read off the event loop, everything in the order in which it was entered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from textual.widget import Widget

from agent.errors import UsageError
from agent.llm.messages import ImagePart
from agent.ui.file_index import FileIndex
from agent.ui.history import History
from agent.ui.mentions import load_images, mentions
from agent.ui.tui.composer.paste import Pastes


class Outbox:
    """Makes messages of what is typed. `deliver` gets text and images; `refuse` gets the text back, and why it can't be sent."""

    def __init__(
        self,
        worker: Widget,
        pastes: Pastes,
        files: FileIndex | None,
        history: History | None,
        *,
        refuse: Callable[[str, UsageError], None],
    ) -> None:
        self._worker = worker
        self._pastes = pastes
        self._files = files
        self._history = history
        self._refuse = refuse
        self._images: dict[str, ImagePart] = {}
        self._mentioned: tuple[ImagePart, ...] = ()  # of the newest message that had any
        self._order = asyncio.Lock()

    def attach(self, image: ImagePart, typed: str) -> str | None:
        """The token for an image that has no file: it goes with every message in which its token stands.

        None where the image is in what is typed already, by its token or by the mention of its file.
        """
        if image in self._mentioned and mentions(typed):
            return None
        known = next((token for token, other in self._images.items() if other == image), None)
        token = known or f"[image {len(self._images) + 1}]"
        self._images[token] = image
        return None if token in typed else token

    def send(self, typed: str, deliver: Callable[[str, tuple[ImagePart, ...]], None]) -> bool:
        """Send what is typed; False where that is nothing."""
        text = self._pastes.expand(typed).rstrip().lstrip("\n")
        if not text.strip():
            return False
        self._remember(text)
        images = tuple(image for token, image in self._images.items() if token in typed)
        # Only what was typed is searched for images: what was pasted is literal.
        looks = self._files is not None and not typed.startswith(("/", "!")) and bool(mentions(typed))
        if looks or self._order.locked():
            sending = self._read(typed if looks else "", text, images, deliver)
            self._worker.run_worker(sending, group="send", exit_on_error=False)
        else:
            deliver(text, images)
        return True

    async def _read(
        self,
        typed: str,
        text: str,
        images: tuple[ImagePart, ...],
        deliver: Callable[[str, tuple[ImagePart, ...]], None],
    ) -> None:
        # In turn: a message whose image takes a moment to read is not overtaken by the next one.
        async with self._order:
            try:
                if typed and self._files is not None:
                    found = await asyncio.to_thread(load_images, typed, self._files.root, self._files.deny)
                    images, self._mentioned = (*images, *found), tuple(found)
            except UsageError as error:
                self._refuse(text, error)
                return
            deliver(text, images)

    def _remember(self, text: str) -> None:
        if self._history is not None and (kept := self._history.remember(text)) is not None:
            write = partial(self._history.write, kept)
            self._worker.run_worker(write, thread=True, group="history", exit_on_error=False)
