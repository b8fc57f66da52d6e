"""Sites on loopback that behave as sites do: a small server whose pages are functions of the request."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

Handler = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Asked:
    """One request."""

    path: str
    headers: dict[str, str]


@dataclass
class Sites:
    """A server. `pages` maps a path to what is done with a request for it; `asked` is what came."""

    pages: Mapping[str, Handler]
    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


def page(body: bytes | str, kind: str = "text/html; charset=utf-8", status: int = 200, **headers: str) -> Handler:
    """A page that is always the same."""
    data = body.encode() if isinstance(body, str) else body

    async def answer(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} x", f"content-type: {kind}", f"content-length: {len(data)}", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    return answer


def goes_to(place: str, status: int = 302) -> Handler:
    """A redirect."""
    return page("", status=status, location=place)


@asynccontextmanager
async def serving(pages: Mapping[str, Handler]) -> AsyncIterator[Sites]:
    """The server while it runs."""
    sites = Sites(pages)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
            asked = Asked(head[0].split(" ")[1], headers)
            sites.asked.append(asked)
            if length := int(headers.get("content-length", 0)):
                asked.headers["body"] = (await reader.readexactly(length)).decode()
            await sites.pages.get(asked.path.split("?")[0], page("no such page", "text/plain", 404))(asked, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    sites.port = server.sockets[0].getsockname()[1]
    try:
        yield sites
    finally:
        server.close()


@contextmanager
def sites_of(pages: Mapping[str, Handler]) -> Iterator[Sites]:
    """The sites in a thread of their own, while a program runs."""
    ready: threading.Event = threading.Event()
    made: list[Any] = []

    async def main() -> None:
        async with serving(pages) as sites:
            stop = asyncio.Event()
            made.extend((sites, asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    ready.wait()
    try:
        yield made[0]
    finally:
        made[1].call_soon_threadsafe(made[2].set)
        thread.join()


@contextmanager
def sites_with_search(article: str) -> Iterator[Sites]:
    """An article at `/river`, and a search that finds it."""
    held: list[Sites] = []
    pages = {
        "/river": page(article),
        "/s/search": _searxng(lambda: held[0]),
        "/robots.txt": page("", "text/plain", 404),
    }
    with sites_of(pages) as running:
        held.append(running)
        yield running


def searching(sites: Sites) -> str:
    """The section of config.toml with which that search is asked."""
    return f'[web]\nsearch = "searxng"\nsearxng_url = "{sites.url("/s")}"\nallow_private = ["127.0.0.1"]\n'


def _searxng(sites: Callable[[], Sites]) -> Handler:
    """A SearXNG server that finds `/river` here, and a page that is nowhere."""

    async def answer(asked: Any, writer: asyncio.StreamWriter) -> None:
        rows = [
            {"title": "A river", "url": sites().url("/river"), "content": "flows west"},
            {"title": "Another", "url": "https://never.example/read", "content": "flows east"},
        ]
        await page(json.dumps({"results": rows}), "application/json")(asked, writer)

    return answer
