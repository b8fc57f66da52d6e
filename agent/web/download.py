"""One page from the network: each hop checked and pinned, nothing kept between two fetches, bounded in bytes, seconds and redirects."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from agent.config.domains import canonical, host_of
from agent.llm.net.http import load_httpx, proxy_of
from agent.web.addresses import Guard
from agent.web.errors import BadPage, Refused, TooLong, Unreachable

if TYPE_CHECKING:
    import httpx

    from agent.web.addresses import Target

MAX_BYTES = 8 << 20
"""Bytes of a page, unpacked. Of a longer text the beginning is read; a longer file of another kind is not."""
TOTAL_S = 30.0
CONNECT_S = 10.0
MAX_REDIRECTS = 5
AGENT = "moa/0.1.0 (a terminal chat agent)"
ROBOT = "moa"
"""Our name in a robots.txt."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})

Permit = Callable[[str], Awaitable[None]]
"""`permit(url)`: raises Refused for a hop that may not be followed."""


@dataclass(frozen=True, slots=True)
class Download:
    """What came. `url` is where it was at last, `cut` that there is more of it, `status` 304 where it has not changed."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False
    hops: tuple[str, ...] = field(default=())

    @property
    def media_type(self) -> str:
        """`text/html` and the like; empty where the server does not say."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        """The encoding that the server names, or nothing."""
        found = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", self.headers.get("content-type", ""), re.IGNORECASE)
        return found[1] if found else ""


class Downloader:
    """Fetches. `transport` replaces the network, `guard` says what may be reached. One instance keeps nothing from one fetch to the next."""

    def __init__(
        self,
        guard: Guard,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        total_s: float = TOTAL_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.guard = guard
        self._transport = transport
        self._total_s = total_s
        self._max_bytes = max_bytes

    async def get(
        self,
        url: str,
        *,
        permit: Permit,
        validators: Mapping[str, Mapping[str, str]] | None = None,
        stay: bool = False,
    ) -> Download:
        """One page, redirects followed. `validators` are the conditional headers of addresses that are known already; `stay`: a redirect
        to another host is not followed. Raises WebError."""
        try:
            async with asyncio.timeout(self._total_s):
                return await self._get(url, permit, validators or {}, stay)
        except TimeoutError:
            raise TooLong(
                f"{host_of(url) or url} took longer than {self._total_s:g} s; nothing of it was kept"
            ) from None

    async def _get(self, url: str, permit: Permit, validators: Mapping[str, Mapping[str, str]], stay: bool) -> Download:
        cookies = _Cookies()
        hops: list[str] = []
        while True:
            await permit(url)
            target = await self.guard.check(url)
            found = await self._hop(target, validators.get(canonical(url), {}), cookies, tuple(hops))
            place = found.headers.get("location")
            if found.status not in REDIRECTS or not place:
                return found
            hops.append(url)
            if len(hops) > MAX_REDIRECTS:
                raise BadPage(f"more than {MAX_REDIRECTS} redirects, the last to {place[:200]}")
            httpx = load_httpx()
            try:
                onward = str(target.url.join(place))
            except (httpx.InvalidURL, ValueError, UnicodeError) as error:
                raise BadPage(f"it redirects to what is not an address: {place[:200]!r}") from error
            if stay and not _same_site(url, onward):
                raise Refused(
                    f"it redirects to another site, {onward}", remedy="call web_fetch with that address to go there"
                )
            url = onward

    async def _hop(
        self, target: Target, conditions: Mapping[str, str], cookies: _Cookies, hops: tuple[str, ...]
    ) -> Download:
        httpx = load_httpx()
        url = target.url
        headers = {
            "user-agent": AGENT,
            "accept": "text/html, text/*;q=0.9, application/pdf;q=0.8, application/json;q=0.8, */*;q=0.1",
            "accept-encoding": "gzip, deflate",
            "accept-language": "en, *;q=0.5",
            **cookies.header(url.host),
            **conditions,
        }
        try:
            async with self._client(str(url)) as client:
                request = client.build_request(
                    "GET", url, headers=headers, timeout=httpx.Timeout(self._total_s, connect=CONNECT_S)
                )
                request.extensions["address"] = target.address
                response = await client.send(request, stream=True, follow_redirects=False)
                try:
                    cookies.keep(url.host, response.headers.get_list("set-cookie"))
                    kept = {name.lower(): value for name, value in response.headers.items()}
                    if response.status_code in REDIRECTS or response.status_code == 304:
                        return Download(str(url), response.status_code, kept, b"", hops=hops)
                    body, cut = await self._body(response)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{url.host} gave no whole answer: {error or type(error).__name__}") from error
        return Download(str(url), response.status_code, kept, body, cut, hops)

    def _client(self, url: str) -> httpx.AsyncClient:
        httpx = load_httpx()
        transport, proxy = self._transport, None
        if transport is None and (proxy := proxy_of(url)) is None:
            from agent.llm.net.http import _tls
            from agent.llm.net.transport import DirectTransport

            transport = DirectTransport(_tls)
        # A proxy looks names up itself; what this machine's own look-up says was refused before, if it is private.
        return httpx.AsyncClient(transport=transport, proxy=proxy, trust_env=False)  # type: ignore[no-any-return]

    async def _body(self, response: httpx.Response) -> tuple[bytes, bool]:
        """The body, unpacked here so that a small file that unpacks to a huge one ends at the bound."""
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise BadPage(f"it comes packed as {encoding}, which was not asked for")
        body = bytearray()
        async for chunk in _unpacked(response.aiter_raw(), encoding, self._max_bytes + 1):
            body += chunk
            if len(body) > self._max_bytes:
                return bytes(body[: self._max_bytes]), True
        return bytes(body), False


async def _unpacked(chunks: AsyncIterator[bytes], encoding: str, limit: int) -> AsyncIterator[bytes]:
    if encoding in ("", "identity"):
        async for chunk in chunks:
            yield chunk
        return
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    first, room = True, limit
    async for chunk in chunks:
        while chunk and room > 0:
            try:
                data = unpack.decompress(chunk, min(room, 1 << 20))
            except zlib.error as error:
                if not (first and encoding == "deflate"):
                    raise BadPage(f"its packing is broken: {error}") from error
                unpack, first = (
                    zlib.decompressobj(-zlib.MAX_WBITS),
                    False,
                )  # deflate without its head, as many servers send it
                continue
            first = False
            room -= len(data)
            chunk = unpack.unconsumed_tail
            if data:
                yield data
            elif not chunk:
                break


class _Cookies:
    """Cookies of one fetch: some sites only answer who brings back what they have just set. Gone afterwards; no other host gets them."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, str]] = {}

    def keep(self, host: str, lines: list[str]) -> None:
        for line in lines[:50]:
            if len(line) > 4_096:
                continue
            try:
                found = SimpleCookie(line)
            except CookieError:
                continue
            for name, morsel in found.items():
                self._kept.setdefault(host, {})[name] = morsel.coded_value

    def header(self, host: str) -> dict[str, str]:
        found = self._kept.get(host)
        return {"cookie": "; ".join(f"{name}={value}" for name, value in found.items())} if found else {}


def _same_site(one: str, other: str) -> bool:
    first, second = (host_of(each).removeprefix("www.") for each in (one, other))
    return first == second
