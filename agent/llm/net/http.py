"""Requests over HTTP, the transports made on first use, and httpx's failures as ours."""

from __future__ import annotations

import asyncio
import re
import sys
from base64 import b64encode
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from agent.llm.errors import AnswerTooLong, BadAnswer, ConnectionFailed, ModelError, StreamBroken, TimedOut
from agent.llm.net.limits import LISTING_BYTES

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import ModuleType

    import httpx

    from agent.llm.models.endpoint import Endpoint


IDENTITY = {"user-agent": "moa/0.1.0"}
JSON_PLAIN = {"accept-encoding": "identity", "content-type": "application/json"}
"""Of a call. A compressed stream would wait in the compressor's buffer."""
"""Who asks. Written out, because asking for the version of an installed package takes longer than a whole start may."""


_OF_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})


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
    """One transport for direct connections and one for each proxy of the user's, each made when it is first needed.

    `transport` replaces the network (tests). There is no client of httpx around them: what that adds to a request (its own headers, cookies,
    redirects) is not wanted here, and takes longer than the request.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._given = transport
        self._direct: httpx.AsyncBaseTransport | None = None
        self._proxied: dict[str, httpx.AsyncBaseTransport] = {}

    async def send(
        self, endpoint: Endpoint, method: str, url: str, headers: Mapping[str, str], body: bytes, connect_s: float
    ) -> httpx.Response:
        """The head of the answer to a request, whose body is read with `pieces`. Raises httpx.HTTPError, httpx.InvalidURL, and ModelError
        for a proxy that can't be used."""
        library = load_httpx()
        place, named = _place(url)
        every = {"host": place.netloc.decode("ascii"), "accept": "*/*"}
        if body:
            every["content-length"] = str(len(body))
        raw = [(name.encode("latin-1"), _bytes(value)) for name, value in joined(every, headers, named).items()]
        waits = {"timeout": {"connect": connect_s, "read": None, "write": None, "pool": None}}
        stream = library.ByteStream(body)
        request: httpx.Request = library.Request(method, place, headers=raw, stream=stream, extensions=waits)
        return await self._transport(endpoint, url).handle_async_request(request)

    def _transport(self, endpoint: Endpoint, url: str) -> httpx.AsyncBaseTransport:
        """What leads to a URL of an endpoint. Nothing on this machine is ever reached through a proxy."""
        if self._given is not None:
            return self._given
        if not endpoint.is_loopback and (proxy := proxy_of(url)):
            if proxy not in self._proxied:
                self._proxied[proxy] = _through(proxy)
            return self._proxied[proxy]
        if self._direct is None:
            from agent.llm.net.transport import DirectTransport

            self._direct = DirectTransport(_tls)
        return self._direct

    async def aclose(self) -> None:
        """Close all connections, within a second."""
        transports, self._direct, self._proxied = (self._given, self._direct, *self._proxied.values()), None, {}
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                for transport in transports:
                    if transport is not None:
                        await transport.aclose()


@lru_cache(maxsize=64)
def _place(url: str) -> tuple[httpx.URL, Mapping[str, str]]:
    """An address, read once for all its calls, and the header in which a name and a password in it go out."""
    place = load_httpx().URL(url)
    if not place.userinfo:
        return place, {}
    named = f"{place.username}:{place.password}".encode()
    return place, {"authorization": f"Basic {b64encode(named).decode()}"}


def _bytes(value: str) -> bytes:
    """A header's value; what the client of a server wrote goes out as it came."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")


def pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    """A body as it comes. It has no encoding (`foreign_encoding`), so nothing has to be undone."""
    return aiter(cast("httpx.AsyncByteStream", response.stream))


def joined(*sets: Mapping[str, str]) -> dict[str, str]:
    """Headers as one set in which each name stands once, however it is written; the last one holds."""
    return {name.lower(): value for headers in sets for name, value in headers.items()}


async def post(
    http: Http,
    endpoint: Endpoint,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    connect_s: float,
    charge: Callable[[bool], None],
) -> httpx.Response:
    """A request that may be billed, to a path of an endpoint. `charge` is told that it may have been taken, before it goes out, and that it
    surely was not, where that is known. Raises ModelError where no answer begins."""
    httpx = load_httpx()
    url = endpoint.base_url.rstrip("/") + path
    try:
        charge(True)
        return await http.send(endpoint, "POST", url, headers, body, connect_s)
    except ModelError:  # a proxy that can't be used
        charge(False)
        raise
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        charge(False)
        raise as_model_error(error, endpoint, answered=False) from error
    except httpx.HTTPError as error:
        raise as_model_error(error, endpoint, answered=False) from error


async def get(http: Http, endpoint: Endpoint, own: Mapping[str, str], url: str, connect_s: float) -> httpx.Response:
    """One GET with `own` headers, those of the endpoint's dialect; `connect_s` in seconds.

    Raises ModelError where no answer comes, or one that is too long or in an encoding that was not asked for.
    """
    httpx = load_httpx()
    headers = joined(IDENTITY, {"accept-encoding": "identity"}, own)
    try:
        response = await http.send(endpoint, "GET", url, headers, b"", connect_s)
        try:
            if response.is_success and (encoding := foreign_encoding(response)):
                raise BadAnswer(f"{endpoint.name} answers in {encoding}, which was not asked for")
            body = await beginning(response, LISTING_BYTES + 1, broken=not response.is_success)
        finally:
            await response.aclose()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise as_model_error(error, endpoint, answered=False) from error
    if len(body) > LISTING_BYTES:
        raise AnswerTooLong(f"{endpoint.name} answered with more than {LISTING_BYTES} bytes")
    kept = {name: value for name, value in response.headers.items() if name not in _OF_THE_BODY}
    return httpx.Response(response.status_code, headers=kept, content=body)  # type: ignore[no-any-return]


def foreign_encoding(response: httpx.Response) -> str | None:
    """The encoding of a response's body, where it has one: only the bare text is ever asked for."""
    encoding = str(response.headers.get("content-encoding", "")).strip().lower()
    return None if encoding in ("", "identity") else encoding


async def beginning(response: httpx.Response, limit: int, *, broken: bool = True) -> bytes:
    """A body, or as much of it as `limit` bytes; nothing of one in a foreign encoding.

    With `broken` whatever breaks meanwhile is passed over (of a refusal the status is what counts); without it raises httpx.HTTPError.
    """
    body = bytearray()
    if foreign_encoding(response):
        return b""
    try:
        async for chunk in pieces(response):
            body += chunk
            if len(body) >= limit:
                break
    except load_httpx().HTTPError:
        if not broken:
            raise
    return bytes(body[:limit])


def _tls() -> ssl.SSLContext:
    context: ssl.SSLContext = load_httpx().create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def proxy_of(url: str) -> str | None:
    """The address of the proxy that the environment names for a URL; one for its scheme beats ALL_PROXY."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    scheme, _colon, rest = proxy.rpartition("://")
    # Desktops write socks:// where any SOCKS proxy of today is meant; a bare HOST:PORT is an HTTP proxy.
    scheme = {"": "http", "socks": "socks5"}.get(scheme.lower(), scheme.lower())
    return f"{scheme}://{rest}"


def _through(proxy: str) -> httpx.AsyncBaseTransport:
    """A transport that goes through this proxy. Raises ModelError where it can't."""
    from agent.text.secrets import plain_url

    httpx = load_httpx()
    remedy = "correct HTTPS_PROXY or ALL_PROXY in the environment, or name the endpoint's host in NO_PROXY"
    try:
        return httpx.AsyncHTTPTransport(proxy=proxy, verify=httpx.create_ssl_context(), trust_env=False)  # type: ignore[no-any-return]
    except ImportError:
        problem = "which needs the package socksio"
        remedy = f"pip install socksio, or {remedy}"
    except (ValueError, httpx.InvalidURL) as error:
        problem = f"which can't be used: {error}"
    raise ModelError(f"the environment names the proxy {plain_url(proxy)}, {problem}", remedy=remedy)


def as_model_error(error: httpx.HTTPError | httpx.InvalidURL, endpoint: Endpoint, *, answered: bool) -> ModelError:
    """A transport's failure by its name here. `answered` says whether the endpoint had begun to answer."""
    httpx = load_httpx()
    what = _in_words(endpoint.redact(str(error))) or type(error).__name__
    if isinstance(error, httpx.ConnectTimeout):
        return TimedOut(f"no connection to {endpoint.name} ({endpoint.address}): {what}", clock="connect")
    if answered:
        return StreamBroken(f"the answer of {endpoint.name} broke off: {what}")
    return ConnectionFailed(f"no answer from {endpoint.name} ({endpoint.address}): {what}", remedy=_remedy(endpoint))


def _in_words(cause: str) -> str:
    """What the system says of a failed connection, without its numbers."""
    if re.search("Connect call failed|Connection refused|connection attempts failed", cause):
        return "nothing listens there"
    if re.search("Name or service not known|nodename nor servname|name resolution|getaddrinfo|No address assoc", cause):
        return "the name of the host can't be resolved"
    return re.sub(r"\[Errno -?\d+\] ", "", cause)


def _remedy(endpoint: Endpoint) -> str:
    if endpoint.is_loopback:
        return f"start the server, or correct base_url under [endpoints.{endpoint.name}]"
    return f"check the network, and base_url under [endpoints.{endpoint.name}]"
