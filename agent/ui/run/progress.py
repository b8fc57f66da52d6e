"""A download's progress on standard error: a bar that redraws itself at a terminal, a line every quarter elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from agent.local.source import Progress

WIDTH = 30


class FetchBar:
    """Takes `Progress` values as they come, draws at most ten times a second."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.live = out.isatty()
        self._drawn_at = 0.0
        self._step = ""
        self._quarter = -1

    def update(self, progress: Progress) -> None:
        """The newest state of the download."""
        fraction = progress.done / progress.total if progress.total else 0.0
        text = (
            f"{progress.step} {progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB"
            if progress.total
            else progress.step
        )
        if self.live:
            now = time.monotonic()
            if now - self._drawn_at < 0.1 and fraction < 1 and progress.step == self._step:
                return
            self._drawn_at, self._step = now, progress.step
            filled = round(WIDTH * fraction)
            self.out.write(f"\r\x1b[K[{'█' * filled}{'·' * (WIDTH - filled)}] {text}")
            self.out.flush()
            return
        quarter = int(4 * fraction)
        if progress.step != self._step or quarter > self._quarter:
            self._step, self._quarter = progress.step, quarter
            print(text, file=self.out, flush=True)

    def done(self) -> None:
        """Leave the bar behind."""
        if self.live and self._drawn_at:
            self.out.write("\r\x1b[K")
            self.out.flush()
