"""The MCP server over HTTP on this machine, behind a key: whoever reaches it spends the user's money."""

from __future__ import annotations

import hmac
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from agent.errors import StateError, UsageError
from agent.files.own_files import make_folder, write_atomically

HOST = "127.0.0.1"
PATH = "/mcp"
Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


def server_key(state: Path) -> str:
    """The key of the server: MOA_SERVE_KEY, else one that is made once and kept. Raises StateError."""
    if named := os.environ.get("MOA_SERVE_KEY", "").strip():
        return named
    file = state / "mcp-key"
    try:
        if file.is_file() and (kept := file.read_text("utf-8").strip()):
            return kept
        key = f"moa-{secrets.token_urlsafe(24)}"
        make_folder(state)
        write_atomically(file, key.encode())
        file.chmod(0o600)
        return key
    except OSError as error:
        raise StateError(f"{file} can't be used: {error.strerror}", remedy="check its permissions") from error


def guarded(app: App, key: str) -> App:
    """The same application for those alone who send the key (`Authorization: Bearer`, or `x-api-key`)."""

    async def checked(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or _has(scope, key):
            await app(scope, receive, send)
            return
        body = b'{"error": "the key of this server is missing or wrong: send it as Authorization: Bearer KEY"}'
        headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return checked


def _has(scope: Scope, key: str) -> bool:
    for name, value in scope["headers"]:
        given = value.removeprefix(b"Bearer ").strip() if name == b"authorization" else value
        if name in (b"authorization", b"x-api-key") and hmac.compare_digest(given, key.encode()):
            return True
    return False


async def serve_http(port: int, state: Path) -> None:
    """Serve until the process is stopped. Raises UsageError where the port is taken."""
    import socket

    import uvicorn

    from moa.mcp.consulting import Consulting
    from moa.mcp.serve import make_server

    key = server_key(state)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # from here on a client is heard, as the line below says
    except OSError as error:
        listener.close()
        raise UsageError(f"port {port} is not free: {error.strerror}", remedy="give another one, or 0") from error
    address = f"http://{HOST}:{listener.getsockname()[1]}{PATH}"
    consulting = Consulting()
    server, tasks = make_server(consulting)
    app: Any = server.streamable_http_app(streamable_http_path=PATH, host=HOST)
    web = uvicorn.Server(
        uvicorn.Config(guarded(app, key), log_level="error", lifespan="on", timeout_graceful_shutdown=2)
    )
    print(f"listening on {address}", file=sys.stderr)
    print(
        f'claude mcp add --transport http moa {address} --header "Authorization: Bearer {key}"',
        file=sys.stderr,
        flush=True,
    )
    try:
        await web.serve(sockets=[listener])
    finally:
        await tasks.aclose()
        await consulting.aclose()
