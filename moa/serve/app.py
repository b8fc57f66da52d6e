"""The application: which route is served by what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agent.llm.errors import BadRequest
from moa.serve import info
from moa.serve.calls import Calls, headers_of
from moa.serve.info import Info
from moa.serve.reply import Reply
from moa.serve.wires.registry import wire_named

if TYPE_CHECKING:
    from moa.serve.server import Server


class Front:
    """What stands before the application: calls go straight to their routes. What a browser asks before it asks (CORS) is answered for
    configured pages alone; everything else that comes with OPTIONS is refused."""

    def __init__(self, server: Server, calls: Mapping[str, Calls], app: Starlette) -> None:
        self.server = server
        self.calls = calls
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            is_call = scope["type"] == "http" and scope["method"] == "POST"
            await (self.calls.get(scope["path"], self.app) if is_call else self.app)(scope, receive, send)
            return
        headers = headers_of(scope)
        told = self.server.door.cors(headers)
        await Reply(send).body(204 if told else 403, b"", told)


class Unknown:
    """A path that leads nowhere, or a method that a path does not take."""

    def __init__(self, status: int) -> None:
        self.status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say so."""
        wire = "messages" if "anthropic-version" in headers_of(scope) else "chat"
        what = f"there is nothing at {scope['method']} {scope['path'][:200]}"
        status, body, headers = wire_named(wire).error(BadRequest(what, status=self.status, remedy="see /openapi.json"))
        await Reply(send).whole(status, body, headers)


def make_app(server: Server) -> Front:
    """The ASGI application of a server."""
    calls = {
        "/v1/chat/completions": Calls(server, "chat"),
        "/v1/responses": Calls(server, "responses"),
        "/v1/messages": Calls(server, "messages"),
        "/v1/messages/count_tokens": Calls(server, "messages", counting=True),
    }
    # With another method they are refused as paths of the application are.
    routes = [Route(path, endpoint, methods=["POST"]) for path, endpoint in calls.items()]
    pages = {
        "/": Info(server, info.root, free=True),
        "/health": Info(server, info.health, free=True),
        "/v1/models": Info(server, info.models),
        "/v1/models/{name:path}": Info(server, info.model),
        "/v1/activity": Info(server, info.activity),
        "/metrics": Info(server, info.metrics),
        "/openapi.json": Info(server, info.openapi),
    }
    routes += [Route(path, page, methods=["GET", "HEAD"]) for path, page in pages.items()]
    app = Starlette(routes=routes)
    app.router.default = Unknown(404)
    app.router.redirect_slashes = False
    return Front(server, calls, app)
