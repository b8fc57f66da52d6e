"""robots.txt, which members hold to (RFC 9309): a robot that acts unasked leaves alone what a site wants left alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

from agent.web.download import ROBOT
from agent.web.errors import Refused, WebError

if TYPE_CHECKING:
    from agent.web.download import Downloader, Permit

MAX_BYTES = 500 << 10
"""RFC 9309 2.5: at least so much of a file is read."""


class Robots:
    """The rules of each site that was asked for, over one session."""

    def __init__(self, downloader: Downloader) -> None:
        self._downloader = downloader
        self._known: dict[str, RobotFileParser] = {}
        self._lock = asyncio.Lock()

    async def permit(self, url: str, permit: Permit) -> None:
        """Raises Refused where the site's rules say so, or where it can't say (RFC 9309 2.3.1.4: then nothing is allowed)."""
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}".lower()
        async with self._lock:
            if site not in self._known:
                self._known[site] = await self._read(f"{site}/robots.txt", permit)
        if not self._known[site].can_fetch(ROBOT, url):
            raise Refused(f"{parts.hostname} asks robots to leave this page alone (robots.txt); members hold to it")

    async def _read(self, url: str, permit: Permit) -> RobotFileParser:
        rules = RobotFileParser()
        try:
            found = await self._downloader.get(url, permit=permit)
        except Refused:
            raise
        except WebError:
            found = None
        if found is None or found.status >= 500:
            rules.parse(["User-agent: *", "Disallow: /"])
        elif found.status >= 400:
            rules.parse([])
        else:
            rules.parse(found.body[:MAX_BYTES].decode("utf-8-sig", "replace").splitlines())
        return rules
