"""`moa models fetch`: a local model, with a bar."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agent.local.source import Progress


class Bar(Protocol):
    """Shows how far it is."""

    def update(self, progress: Progress) -> None:
        """So far."""
        ...

    def done(self) -> None:
        """It is there."""
        ...


def fetch_model(name: str, bar: Bar) -> int:
    """Fetch it, and print where it is. Raises UsageError for a name that there is not."""
    from agent.config.paths import Paths
    from agent.local.catalogue import find
    from agent.local.fetch import fetch

    model = find(name)
    path = asyncio.run(fetch(name, Paths.from_env(os.environ).cache / "models", progress=bar.update))
    bar.done()
    print(path)
    print(f"{model.warning} ({model.licence})", file=sys.stderr)
    return 0
