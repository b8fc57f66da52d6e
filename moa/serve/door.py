"""Who may come in: with a key always, under the server's own name, and no page of a browser that was not configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from agent.llm.errors import AuthError
from moa.serve.keys.account import ANYBODY, Account
from moa.serve.keys.own_key import ServeKey
from moa.serve.keys.ring import Ring

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Door:
    """The checks before each request. `key` is the server's own (None: everybody on this machine may come in), `ring` has those of a team.
    `host` is where it listens."""

    key: ServeKey | None
    host: str
    port: int
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    ring: Ring | None = None

    async def refresh(self) -> None:
        """Know the keys of this moment; to be called before `check`."""
        if self.ring is not None and self.key is not None:
            await self.ring.refresh()

    def check(self, headers: Mapping[str, str], *, free: bool = False) -> Account:
        """Whose key a request came with; `free`: none is needed. Raises AuthError."""
        self._check_host(headers.get("host", ""))
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins:
            raise AuthError(
                "a page of a browser may not ask this server",
                status=403,
                remedy=f'to let it, add "{_short(origin)}" to origins under [serve] in config.toml',
            )
        if self.key is None:
            return Account(ANYBODY, ANYBODY, is_own=True)
        given = given_key(headers)
        if free or self.key.opens(given):
            return Account(self.key.name, "the server's own", is_own=True)
        if self.ring is not None and (account := self.ring.find(given)) is not None:
            return account
        raise AuthError(
            "this server's key is missing or wrong",
            status=401,
            remedy=f"send it as Authorization: Bearer KEY or x-api-key: KEY; it is in {self.key.source} on the server's machine",
        )

    def cors(self, headers: Mapping[str, str]) -> dict[str, str]:
        """What a configured page is told."""
        origin = headers.get("origin")
        if origin is None or origin not in self.origins:
            return {}
        return {
            "access-control-allow-origin": origin,
            "access-control-allow-headers": headers.get(
                "access-control-request-headers", "authorization, content-type"
            ),
            "access-control-allow-methods": "GET, POST",
            "access-control-expose-headers": "x-moa-run, x-moa-counsel, x-moa-thoughts",
            "vary": "origin",
        }

    def _check_host(self, host: str) -> None:
        name, _colon, port = host.rpartition(":") if _has_port(host) else (host, "", "")
        name = name.strip("[]").lower()
        if name in self.hosts or host in self.hosts:
            return
        if self.host in LOOPBACK:
            # Another name leads here only from a page that has made its own name point to this machine.
            fits = name in LOOPBACK and port in ("", str(self.port))
        else:
            fits = name in LOOPBACK or name == self.host.lower() or _is_address(name)
        if not fits:
            raise AuthError(
                f"this server does not answer to the name {_short(host)!r}",
                status=403,
                remedy="use the address that it printed, or add the name to hosts under [serve] in config.toml",
            )


def given_key(headers: Mapping[str, str]) -> str | None:
    """The key of a request: `Authorization: Bearer` or `x-api-key`."""
    kind, _space, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-api-key", "").strip() or None


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdecimal() and not host.endswith("]")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _short(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() and letter != '"')[:100]
