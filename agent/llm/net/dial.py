"""A connection to a host that may have several addresses, on any event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import ssl

STAGGER_S = 0.25
"""So long one address has before the next is tried as well: a dead IPv6 route must not eat the connect clock (RFC 8305)."""


P = TypeVar("P", bound=asyncio.Protocol)


async def dial(
    make: Callable[[], P], host: str, port: int, tls: ssl.SSLContext | None, *, name: str | None = None
) -> P:
    """What `make` gives, at the first connection that stands, with TLS where there is a context. `name` is whom the certificate is for, where
    `host` is an address.

    Raises OSError.
    """
    secured: dict[str, Any] = {"ssl": tls, "server_hostname": name or host} if tls is not None else {}
    loop = asyncio.get_running_loop()
    if isinstance(loop, asyncio.BaseEventLoop):
        _transport, made = await loop.create_connection(make, host, port, happy_eyeballs_delay=STAGGER_S, **secured)
        return made
    # uvloop tries one address after the other, and does not know the argument.
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if len({family for family, *_rest in found}) < 2:
        return (await loop.create_connection(make, host, port, **secured))[1]
    return (await loop.create_connection(make, sock=await _race(found), **secured))[1]


async def _race(found: list[Any]) -> socket.socket:
    """The families in turn, each address a little after the one before it; the first that answers wins."""
    from asyncio.staggered import staggered_race

    first = [info for info in found if info[0] == found[0][0]]
    others = [info for info in found if info[0] != found[0][0]]
    turns = [info for pair in zip(first, others, strict=False) for info in pair]
    turns += [*first[len(others) :], *others[len(first) :]]
    won: socket.socket | None
    won, _index, errors = await staggered_race([lambda info=info: _connected(info) for info in turns], STAGGER_S)  # type: ignore[misc]
    if won is None:
        raise next((error for error in errors if isinstance(error, OSError)), OSError("no address answers"))
    return won


async def _connected(info: Any) -> socket.socket:
    family, kind, protocol, _name, address = info
    connection = socket.socket(family, kind, protocol)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection
