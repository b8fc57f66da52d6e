"""The HTTP clients, made on first use, and httpx's failures as ours."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.llm.errors import ConnectionFailed, ModelError, StreamBroken, TimedOut

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from types import ModuleType

    import httpx

    from agent.llm.dialects.base import Dialect
    from agent.llm.endpoint import Endpoint


IDENTITY = {"user-agent": "moa/0.1.0"}
"""Who asks. Written out, because asking for the version of an installed package takes longer than a whole start may."""


def load_httpx() -> ModuleType:
    """Import httpx without its command line.

    `httpx/__init__` imports `httpx._main`, which pulls in click, rich and pygments where they are installed (50 to 60 ms) for a program
    that nobody here runs. httpx handles the ImportError that a blocked module raises, as it must where they are not installed.
    """
    if "httpx" not in sys.modules:
        sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    import httpx

    return httpx


class Http:
    """One client for direct connections and one for those that go through the user's proxy, each made when it is first needed.

    `transport` replaces the network (tests).
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._direct: httpx.AsyncClient | None = None
        self._proxied: httpx.AsyncClient | None = None

    def client(self, endpoint: Endpoint, url: str) -> httpx.AsyncClient:
        """The client for a URL of an endpoint. Nothing on this machine is ever reached through a proxy."""
        httpx = load_httpx()
        if self._transport is None and not endpoint.is_loopback and _proxied(url):
            if self._proxied is None:
                self._proxied = httpx.AsyncClient(timeout=None)
            return self._proxied
        if self._direct is None:
            transport = self._transport
            if transport is None:
                from agent.llm.transport import DirectTransport

                transport = DirectTransport(_tls)
            self._direct = httpx.AsyncClient(transport=transport, trust_env=False, timeout=None)
        return self._direct

    async def aclose(self) -> None:
        """Close all connections, within a second."""
        clients, self._direct, self._proxied = (self._direct, self._proxied), None, None
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                for client in clients:
                    if client is not None:
                        await client.aclose()


def joined(*sets: Mapping[str, str]) -> dict[str, str]:
    """Headers as one set in which each name stands once, however it is written; the last one holds."""
    return {name.lower(): value for headers in sets for name, value in headers.items()}


async def get(http: Http, endpoint: Endpoint, dialect: Dialect, url: str, connect_s: float) -> httpx.Response:
    """One GET with the endpoint's own headers; `connect_s` in seconds. Raises ModelError where no answer comes."""
    httpx = load_httpx()
    try:
        return await http.client(endpoint, url).get(
            url, headers=joined(IDENTITY, dialect.headers(endpoint)), timeout=httpx.Timeout(None, connect=connect_s)
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise as_model_error(error, endpoint, answered=False) from error


def _tls() -> ssl.SSLContext:
    context: ssl.SSLContext = load_httpx().create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _proxied(url: str) -> bool:
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    proxies = getproxies()
    return (parts.scheme in proxies or "all" in proxies) and not proxy_bypass(parts.netloc)


def as_model_error(error: httpx.HTTPError | httpx.InvalidURL, endpoint: Endpoint, *, answered: bool) -> ModelError:
    """A transport's failure by its name here. `answered` says whether the endpoint had begun to answer."""
    httpx = load_httpx()
    what = endpoint.redact(str(error)) or type(error).__name__
    if isinstance(error, httpx.ConnectTimeout):
        return TimedOut(f"no connection to {endpoint.name} ({endpoint.address}): {what}", clock="connect")
    if answered:
        return StreamBroken(f"the answer of {endpoint.name} broke off: {what}")
    return ConnectionFailed(f"no answer from {endpoint.name} ({endpoint.address}): {what}", remedy=_remedy(endpoint))


def _remedy(endpoint: Endpoint) -> str:
    if endpoint.is_loopback:
        return f"start the server, or correct base_url under [endpoints.{endpoint.name}]"
    return f"check the network, and base_url under [endpoints.{endpoint.name}]"
