"""The project's files by name, for `@file` completion: listed off the event loop, kept fresh in the background, never a denied one."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from agent.files.deny_paths import DenyPaths
from agent.text.numbers import plural
from agent.ui.fuzzy import Match, fold, match

MAX_ENTRIES = 50_000
"""Files and folders that are kept. Where there are more the deepest are left out."""

MAX_SCORED = 5_000
"""Candidates that are compared for one query; a query of one letter in a large project fits nearly all."""

MAX_FOLDER = 2_000
"""Entries of one folder outside of the project that are looked at."""

FRESH_S = 10.0
"""Seconds for which a listing is good enough to complete from without looking again."""

NAME_BONUS = 12
"""Who types a word without a slash mostly means a file's own name."""


class Found(NamedTuple):
    """A path as it would be typed (a folder ends with a slash), and the indexes of the characters that matched."""

    path: str
    positions: tuple[int, ...] = ()


class FileIndex:
    """The files and folders below `root` that git tracks or would track (elsewhere: all but the usual clutter).

    `complete` looks things up in the newest listing and touches no disk for paths of the project; it may take tens of
    milliseconds, so a face calls it in a thread. `refresh` makes the listing, and a face runs it in the background.
    """

    def __init__(self, root: Path, deny: DenyPaths | None = None) -> None:
        self.root = root
        self.deny = deny or DenyPaths((), root)
        self.complete_listing = True
        self._remarked = False
        """False where a limit cut the listing short."""
        # As they are typed, and in small letters. One value, since a thread may read it while a refresh replaces it.
        self._names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._listed: float | None = None
        self._refreshing = asyncio.Lock()

    @property
    def entries(self) -> tuple[str, ...]:
        """Files, and folders with a slash behind them; the shallow ones first."""
        return self._names[0]

    @property
    def stale(self) -> bool:
        """Whether the listing is missing or older than ten seconds."""
        return self._listed is None or time.monotonic() - self._listed > FRESH_S

    async def refresh(self) -> None:
        """List anew. While another refresh is at work this one waits for its end, and has nothing to do then."""
        at_work = self._refreshing.locked()
        async with self._refreshing:
            if at_work:
                return
            # Here, because the tools are slow to import and a chat may never be asked for a file.
            from agent.tools.base import ToolContext
            from agent.tools.lib.listing import list_files

            listing = await list_files(ToolContext(cwd=self.root, scratch=self.root, deny_paths=self.deny), self.root)
            self._names = await asyncio.to_thread(_arrange, listing.files)
            self.complete_listing = listing.complete and len(self.entries) < MAX_ENTRIES
            self._listed = time.monotonic()

    def complete(self, query: str, limit: int = 20) -> list[Found]:
        """The paths that fit best what was typed behind the `@`, best first. An empty query gives the top of the project.

        A query that begins with `/`, `~/` or `../` looks into that folder, wherever it is.
        """
        if query.startswith(("/", "~", "../")) or query == "..":
            return self._outside(query, limit)
        query = query.removeprefix("./")
        if not query:
            return [Found(path) for path in self.entries[:limit]]
        entries, folded = self._names
        looks_right = _in_order(query).match
        here = query if query.endswith("/") else None  # a folder that is typed out: what is in it is wanted
        fitting = [at for at, path in enumerate(folded) if looks_right(path) and entries[at] != here][:MAX_SCORED]
        scored = [(entries[at], hit) for at in fitting if (hit := _score(query, entries[at])) is not None]
        if not scored and "/" in query and not self.complete_listing:  # the listing does not reach there, the disk does
            return self._outside(query, limit)
        return _best(scored, limit)

    def remark(self) -> str:
        """What is to be said of the listing, once: that it is a part. Empty where it is whole."""
        if self.complete_listing or self._remarked:
            return ""
        self._remarked = True
        return f"only {plural(len(self.entries), 'file')} and folders are offered behind @, there are more: type a folder to see what it has"

    def _outside(self, query: str, limit: int) -> list[Found]:
        folder, slash, typed = query.rpartition("/")
        if not slash:
            return [Found(f"{query}/")] if query in ("~", "..") else []
        try:
            place = (self.root / Path(f"{folder}/").expanduser()).resolve()
            with os.scandir(place) as entries:
                names = [
                    entry.name + ("/" if entry.is_dir() else "")
                    for _, entry in zip(range(MAX_FOLDER), entries, strict=False)
                    if typed.startswith(".") or not entry.name.startswith(".")
                ]
        except (OSError, RuntimeError, ValueError):
            return []
        allowed = [name for name in names if _showable(name) and not self.deny.match(place / name)]
        scored = [(name, hit) for name in sorted(allowed) if (hit := match(typed, name)) is not None]
        start = f"{folder}/"
        return [
            Found(start + path, tuple(at + len(start) for at in positions)) for path, positions in _best(scored, limit)
        ]


def _arrange(files: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files and their folders, the shallow ones first; and the same in small letters."""
    shown = [path for path in files if _showable(path)]
    folders: set[str] = set()
    for path in shown:
        at = path.rfind("/")
        while at > 0 and path[: at + 1] not in folders:
            folders.add(path[: at + 1])
            at = path.rfind("/", 0, at)
    entries = sorted((*shown, *folders), key=lambda path: (path.count("/", 0, -1), path))[:MAX_ENTRIES]
    return tuple(entries), tuple(fold(path) for path in entries)


def _showable(path: str) -> bool:
    """No control characters, and no bytes that are no text: such a name can be neither shown nor typed."""
    return path.isprintable()


def _in_order(query: str) -> re.Pattern[str]:
    """An expression for texts that have the query's characters in order. Possessive: it never goes back, so it is linear."""
    chars = [re.escape(char) for char in fold(query) if not char.isspace()]
    return re.compile("".join(f"[^{char}]*+{char}" for char in chars), re.DOTALL)


def _score(query: str, path: str) -> Match | None:
    whole = match(query, path)
    if whole is None or "/" in query:
        return whole
    start = path.rfind("/", 0, -1) + 1
    name = match(query, path[start:])
    if name is None or name.score + NAME_BONUS < whole.score:
        return whole
    return Match(name.score + NAME_BONUS, tuple(at + start for at in name.positions))


def _best(scored: list[tuple[str, Match]], limit: int) -> list[Found]:
    # Sorting is stable: of equals the shorter path, then the shallower one.
    scored.sort(key=lambda entry: (-entry[1].score, len(entry[0])))
    return [Found(path, hit.positions) for path, hit in scored[:limit]]
