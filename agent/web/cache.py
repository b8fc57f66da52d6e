"""Pages that were read, kept for a while: a second fetch asks whether they have changed, and most have not."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.config.domains import canonical
from agent.files import own_files
from agent.text import foreign_json

if TYPE_CHECKING:
    from agent.web.download import Download
    from agent.web.extract import Text

FRESH_S = 300.0
"""So long a page is taken as it was read; afterwards its server is asked."""
MOST_PAGES = 300
MOST_BYTES = 4 << 20
TEXTS = ("asked", "url", "text", "title", "date", "note", "etag", "modified")


@dataclass(frozen=True, slots=True)
class Page:
    """A page's text with where it came from. `url` is the address at the end of all redirects, `at` when it was read (Unix seconds)."""

    asked: str
    url: str
    text: str
    title: str = ""
    date: str = ""
    note: str = ""
    etag: str = ""
    modified: str = ""
    at: float = 0.0

    @property
    def fresh(self) -> bool:
        """Whether nobody needs to be asked."""
        return 0 <= time.time() - self.at < FRESH_S

    @property
    def conditions(self) -> dict[str, str]:
        """The headers that ask whether it has changed."""
        named = {"if-none-match": self.etag, "if-modified-since": self.modified}
        return {name: value for name, value in named.items() if value}


def page_of(asked: str, found: Download, text: Text) -> Page:
    """A page that has just been read."""
    return Page(
        asked=asked,
        url=found.url,
        text=text.text,
        title=" ".join(text.title.split())[:300],
        date=text.date,
        note=text.note,
        etag=found.headers.get("etag", "")[:500],
        modified=found.headers.get("last-modified", "")[:100],
        at=time.time(),
    )


class PageCache:
    """Pages in a folder, one file each, for their owner alone. Whatever goes wrong with it costs a second fetch and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self, url: str) -> Page | None:
        """The page as it was last read; None where it was not."""
        return await asyncio.to_thread(self._get, url)

    async def put(self, page: Page, headers: dict[str, str]) -> None:
        """Keep a page, unless its server says not to (`no-store`, `private`)."""
        if {"no-store", "private"}.isdisjoint(headers.get("cache-control", "").lower().replace(",", " ").split()):
            await asyncio.to_thread(self._put, page)

    async def renew(self, page: Page) -> Page:
        """It has not changed."""
        renewed = replace(page, at=time.time())
        await asyncio.to_thread(self._put, renewed)
        return renewed

    def _path(self, url: str) -> Path:
        return (
            self._folder
            / f"{hashlib.blake2b(canonical(url).encode('utf-8', 'replace'), digest_size=16).hexdigest()}.json"
        )

    def _get(self, url: str) -> Page | None:
        try:
            found = foreign_json.loads(own_files.read_bytes(self._path(url), MOST_BYTES))
            page = Page(**found)
            whole = all(isinstance(getattr(page, name), str) for name in TEXTS) and isinstance(page.at, int | float)
            return page if whole else None
        except (OSError, ValueError, TypeError):
            return None

    def _put(self, page: Page) -> None:
        data = json.dumps(asdict(page)).encode("utf-8", "replace")
        if len(data) > MOST_BYTES:
            return
        with suppress(OSError):
            own_files.make_folder(self._folder)
            own_files.write_atomically(self._path(page.asked), data)
            kept = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
            for file in kept[:-MOST_PAGES]:
                file.unlink(missing_ok=True)
