"""The server: pages and WebSockets for tabs, each with a chat of its own that a reload comes back to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import textual_serve
from aiohttp import WSCloseCode, web
from aiohttp.http_exceptions import HttpProcessingError
from textual_serve.server import Server

from agent.errors import UsageError
from agent.text.cleaning import harmless
from agent.ui import browser
from agent.ui.web.child import Child
from agent.ui.web.guard import Guard

PORT = 8765
HOST = "127.0.0.1"
NOTE = "MOA_WEB_SESSION"
"""The variable that names the file in which a chat notes the session it has open."""
Command = Callable[[str | None], Sequence[str]]
"""The program to run in a tab, given the session to go on with (None: as the command line says)."""
ASSETS = Path(__file__).parent / "assets"
STATIC = Path(textual_serve.__file__).parent / "static"
SIZES = range(10, 1001)
"""Columns and rows that a browser may ask for."""


@dataclass(slots=True)
class Tab:
    """One tab. `note` says which session its chat has open; `lock` lets one chat end before the next begins."""

    id: str
    note: Path
    socket: web.WebSocketResponse | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class WebChat(Server):
    """textual-serve's server with a lock on the door, tabs, and a page of our own. `folder` is for the tabs' notes."""

    def __init__(self, command: Command, sessions: Path, folder: Path, guard: Guard) -> None:
        super().__init__("moa", host=HOST, title="moa")
        self._start = command
        self._sessions = sessions
        self._folder = folder
        self.guard = guard
        self.tabs: dict[str, Tab] = {}

    async def _make_app(self) -> web.Application:
        place = self.guard.place
        app = web.Application(middlewares=[self.guard.middleware()])
        app.add_routes(
            [
                web.get("/", self._door),
                web.get(f"{place}/", self._new_tab),
                web.get(place + "/tab/{tab}/", self.handle_index),
                web.get(place + "/tab/{tab}/ws", self.handle_websocket),
                web.get("/download/{key}", self.handle_download),
                web.static(f"{place}/assets", ASSETS),
                web.static(f"{place}/static", STATIC),
            ]
        )
        app.on_response_prepare.append(self._seal)
        app.on_shutdown.append(self.on_shutdown)
        return app

    async def _seal(self, request: web.Request, response: web.StreamResponse) -> None:
        self.guard.seal(request, response)

    async def on_shutdown(self, app: web.Application) -> None:
        """Close every tab; their chats end with them."""
        for tab in self.tabs.values():
            if tab.socket is not None:
                await tab.socket.close(code=WSCloseCode.GOING_AWAY)

    # Pages

    async def _door(self, request: web.Request) -> web.Response:
        """The address that was printed: hand out the cookie, and go in."""
        if not self.guard.admits(request.query.get("token", "")):
            return web.Response(status=403, text="open the address that moa web printed\n")
        # A page that leads on, not a redirect: after a click on a foreign page the browser keeps the cookie back from redirects.
        response = self._page("door.html", place=self.guard.place)
        self.guard.hand_out(response)
        return response

    async def _new_tab(self, request: web.Request) -> web.Response:
        tab = Tab(name := secrets.token_urlsafe(9), self._folder / name)
        self.tabs[name] = tab
        raise web.HTTPSeeOther(f"{self.guard.place}/tab/{name}/")

    async def handle_index(self, request: web.Request) -> web.Response:
        """A tab's page."""
        tab = self._tab(request)
        host = request.headers["Host"]
        place = self.guard.place
        return self._page("chat.html", place=place, socket=f"ws://{host}{place}/tab/{tab.id}/ws")

    def _page(self, name: str, **values: str) -> web.Response:
        template = Template((ASSETS / name).read_text("utf-8"))
        return web.Response(text=template.substitute(values), content_type="text/html")

    def _tab(self, request: web.Request) -> Tab:
        tab = self.tabs.get(request.match_info["tab"])
        if tab is None:
            raise web.HTTPNotFound(text="there is no such tab: open the address that moa web printed\n")
        return tab

    # Chats

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """A page has opened its tab: run the chat in it until one of them goes."""
        tab = self._tab(request)
        size = [_size(request, "width", 80), _size(request, "height", 24)]
        websocket = web.WebSocketResponse(heartbeat=15)
        await websocket.prepare(request)
        if tab.socket is not None:  # the same tab a second time: it moves here
            await tab.socket.close(code=WSCloseCode.OK, message=b"open elsewhere")
        tab.socket = websocket
        async with tab.lock:
            if not websocket.closed:
                await self._chat(tab, websocket, size)
        if tab.socket is websocket:
            tab.socket = None
        return websocket

    async def _chat(self, tab: Tab, websocket: web.WebSocketResponse, size: list[int]) -> None:
        child = Child(
            self._start(await asyncio.to_thread(self._session, tab)),
            {NOTE: str(tab.note)},
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=websocket.close,
            download_manager=self.download_manager,
        )
        await child.start(*size)
        heard = asyncio.create_task(self._process_messages(websocket, child))
        ended = asyncio.create_task(child.gone.wait())
        try:
            await asyncio.wait({heard, ended}, return_when=asyncio.FIRST_COMPLETED)
            if child.words:
                print(harmless(child.words), file=sys.stderr, flush=True)
                if not child.drew and not websocket.closed:
                    # The page has a terminal and nothing to show in it: it never got to drawing.
                    await websocket.send_bytes(harmless(child.words).replace("\n", "\r\n").encode())
        finally:
            await child.end()
            await websocket.close()
            heard.cancel()
            ended.cancel()
            with contextlib.suppress(
                asyncio.CancelledError,
                ValueError,
                TypeError,
                LookupError,
                AssertionError,
                AttributeError,
                RecursionError,
            ):
                await heard  # what is no message of the page's ends the tab, and nothing else

    def _session(self, tab: Tab) -> str | None:
        """The session that the tab had open, where anything was said in it."""
        try:
            name = tab.note.read_text("utf-8").strip()
        except OSError:
            return None
        return name if (self._sessions / f"{name}.jsonl").is_file() else None


def _size(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 6 and int(text) in SIZES else default


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether what aiohttp logs is a fault of this program: a request that is none was answered, and is nobody's."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def listen(port: int | None) -> socket.socket:
    """A socket on loopback. Raises UsageError where a port that was asked for is taken."""
    for wanted in [PORT, 0] if port is None else [port]:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, wanted))
        except (OSError, OverflowError):
            listener.close()
            continue
        return listener
    raise UsageError(f"port {port} can't be used", remedy="give another one, or leave --port out", kind="port")


def serve(command: Command, sessions: Path, *, port: int | None, open_browser: bool) -> int:
    """Serve until Ctrl+C or SIGTERM. Returns the exit code. Raises UsageError for a port that is taken."""
    listener = listen(port)
    with tempfile.TemporaryDirectory(prefix="moa-web-") as folder:
        return asyncio.run(_serve(listener, command, sessions, Path(folder), open_browser))


async def _serve(listener: socket.socket, command: Command, sessions: Path, folder: Path, open_browser: bool) -> int:
    port = listener.getsockname()[1]
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    guard = Guard(port)
    chat = WebChat(command, sessions, folder, guard)
    runner = web.AppRunner(await chat._make_app(), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    try:
        await web.SockSite(runner, listener).start()
        print(f"moa is at http://{HOST}:{port}/?token={guard.token}", flush=True)
        print("Whoever has this address can use your agent. Ctrl+C ends it.", flush=True)
        if open_browser:
            await browser.open_page(f"http://{HOST}:{port}/?token={guard.once}")
        await stop.wait()
    finally:
        await runner.cleanup()
    return 0
