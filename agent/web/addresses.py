"""Where a page lies, and whether it may be asked for it: decided by the address that its name leads to, which the connection then goes to."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from agent.llm.net.http import load_httpx
from agent.web.errors import Refused, Unreachable

if TYPE_CHECKING:
    import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""`resolve(host, port)`: the addresses of a name, as text. Raises OSError."""

LONGEST = 8_000
"""Characters of an address."""
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_CLOSED = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10"),
        *("fec0::/10", "ff00::/8"),
    )
)  # fmt: skip
"""IANA's special-purpose registries, written out: what `is_global` says changes from one Python to the next."""


class Target(NamedTuple):
    """A checked address of a page, and where the connection goes to."""

    url: httpx.URL
    address: str


class Guard:
    """Decides which hosts may be reached. `allowed` are the user's own exceptions (HOST or HOST:PORT), `resolve` replaces the look-up."""

    def __init__(self, allowed: Sequence[str] = (), resolve: Resolve | None = None) -> None:
        self._allowed = frozenset(name.lower().strip("[]") for name in allowed)
        self._resolve = resolve or look_up

    async def check(self, text: str) -> Target:
        """An address, parsed once and looked up once. Raises Refused for one that may not be reached, Unreachable for one that nobody knows."""
        url = parse(text)
        host, port = url.host.rstrip("."), url.port or (443 if url.scheme == "https" else 80)
        try:
            found = list(await self._resolve(host, port))
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{host} is not known: {error}") from error
        if not found:
            raise Unreachable(f"{host} has no address")
        if not self._is_allowed(host.lower(), port):
            # One private address among several is enough: which of them is taken is the resolver's choice.
            for each in found:
                if why := why_closed(each):
                    raise Refused(
                        f"{host} is at {each}, {why}, which pages are never fetched from",
                        remedy=f'the user can allow it: allow_private = ["{host}"] under [web] in config.toml',
                    )
        return Target(url, found[0])

    def _is_allowed(self, host: str, port: int) -> bool:
        return host in self._allowed or f"{host}:{port}" in self._allowed


def parse(text: str) -> httpx.URL:
    """An address of the web, by the parser that the request is made with. Raises Refused."""
    httpx = load_httpx()
    text = text.strip()
    if len(text) > LONGEST:
        raise Refused(f"the address has {len(text):,} characters")
    if re.search(r"[\s\\\x00-\x1f\x7f]", text):
        raise Refused("the address has a space, a backslash or a control character in it")
    try:
        url = httpx.URL(text)
        host, port = url.host, url.port
    except (httpx.InvalidURL, ValueError, UnicodeError) as error:
        raise Refused(f"that is not an address: {error}") from error
    if url.scheme not in ("http", "https"):
        raise Refused(
            f"only http:// and https:// are fetched, not {url.scheme or 'what has neither'}",
            remedy="give the whole address",
        )
    if not host:
        raise Refused("the address names no host")
    if url.userinfo or "@" in text.split("//", 1)[-1].split("/", 1)[0].split("?", 1)[0].split("#", 1)[0]:
        raise Refused("the address has a user name or a password in it, which are never sent")
    if port == 0 or "%" in host:
        raise Refused("the address names no usable host and port")
    return url.copy_with(fragment=None)  # type: ignore[no-any-return]


def why_closed(text: str) -> str | None:
    """What kind of closed address this is; None for one of the open internet. One address inside another counts, too."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return "which is not an address"
    for each in (address, *_inside(address)):
        if each.is_loopback:
            return "which is this machine"
        if each.is_link_local:
            return "a link-local address"
        if any(each in network for network in _CLOSED if network.version == each.version):
            return "a private or reserved address"
    return None


def _inside(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 one leads to: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _NAT64):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]


async def look_up(host: str, port: int) -> list[str]:
    """The system's own look-up. Raises OSError."""
    rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))
