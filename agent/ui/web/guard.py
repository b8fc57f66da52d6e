"""Who may come in: the page can run tools, so it opens for nobody but the user's own browser.

Listening on loopback is not enough. Any page that the user visits may send requests to 127.0.0.1, open a WebSocket there (no
same-origin policy holds for those), or make its own name point there (DNS rebinding). So every request needs a cookie that only the
printed address hands out, a Host that is ours, and where a browser names an Origin, ours too; a WebSocket must name one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

COOKIE = "moa"
COOKIE_DOWNLOAD = "moa-download"
DOWNLOAD = "/download/"

# Scripts and styles from here alone. xterm.js makes style elements of its own.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws://{host}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """The secrets of one server and the checks that go with them.

    `place` is the folder that everything is served under. It is in the cookie's path: browsers send cookies to every port of a host,
    and another user's server on this machine must not be given ours. `once` is for opening the browser: command lines can be read
    by other users of the machine, so that token is good for one use. Downloads have a fixed place, so others may be given the cookie for
    those: it has a value of its own, which opens nothing else.
    """

    def __init__(self, port: int) -> None:
        self.hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        self.token = secrets.token_urlsafe(24)
        self.once: str | None = secrets.token_urlsafe(24)
        self.place = "/" + secrets.token_urlsafe(9)
        self._cookie, self._download = secrets.token_urlsafe(32), secrets.token_urlsafe(32)

    def refusal(self, method: str, path: str, headers: Mapping[str, str], cookie: str | None) -> str | None:
        """Why a request is refused; None where it is not."""
        if headers.get("Host", "") not in self.hosts:
            return "this server answers to its own name alone"
        origin = headers.get("Origin")
        socket = headers.get("Upgrade", "").lower() == "websocket"
        if (origin is not None or socket) and origin not in {f"http://{host}" for host in self.hosts}:
            return "another page may not ask"
        if method not in ("GET", "HEAD"):
            return "nothing is sent here but over the WebSocket"
        if path == "/":
            return None  # the door itself: what is needed there is the token
        wanted = self._download if path.startswith(DOWNLOAD) else self._cookie
        if cookie is None or not secrets.compare_digest(cookie.encode("utf-8", "surrogatepass"), wanted.encode()):
            return "open the address that moa web printed"
        return None

    def admits(self, token: str) -> bool:
        """Whether a token opens the door. The browser's own is spent by this."""
        given = token.encode("utf-8", "surrogatepass")
        if secrets.compare_digest(given, self.token.encode()):
            return True
        if self.once is not None and secrets.compare_digest(given, self.once.encode()):
            self.once = None
            return True
        return False

    def hand_out(self, response: web.StreamResponse) -> None:
        """Give the browser its cookie, for the chat and for files that the chat hands over."""
        # Two names, because aiohttp keeps one cookie of a name, whatever its path.
        for name, value, path in ((COOKIE, self._cookie, self.place), (COOKIE_DOWNLOAD, self._download, DOWNLOAD)):
            response.set_cookie(name, value, path=path.rstrip("/"), httponly=True, samesite="Strict")

    def middleware(self) -> Middleware:
        """The checks before every request."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            cookie = request.cookies.get(COOKIE_DOWNLOAD if request.path.startswith(DOWNLOAD) else COOKIE)
            why = self.refusal(request.method, request.path, request.headers, cookie)
            if why is not None:
                return web.Response(status=403, text=f"{why}\n")
            return await handler(request)

        return guard

    def seal(self, request: web.Request, response: web.StreamResponse) -> None:
        """The headers of an answer, set before it goes out."""
        response.headers.update(HEADERS)
        response.headers["Content-Security-Policy"] = POLICY.format(host=request.headers.get("Host", ""))
