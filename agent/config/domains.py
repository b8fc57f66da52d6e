"""Which sites may be reached, one rule for search and for fetch; and when two addresses are the same page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from agent.values import dataclass

_URL = re.compile(r"https?://[^\s<>\"'`\\^{}|]+", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
_DOMAIN = re.compile(r"(?:\*\.)?[\w-]+(?:\.[\w-]+)*\.?")


@dataclass(frozen=True, slots=True)
class Domains:
    """A policy. A name stands for its subdomains, too; where both lists speak of a host, `excluded` holds. Empty `allowed`: every site."""

    excluded: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()

    def refusal(self, host: str) -> str | None:
        """Why a host may not be reached; None where it may."""
        if name := _among(host, self.excluded):
            return f"{host} is excluded ({name} is in excluded_domains)"
        if self.allowed and not _among(host, self.allowed):
            return f"{host} is not among allowed_domains ({', '.join(self.allowed)})"
        return None

    def joined(self, other: Domains | None) -> Domains:
        """Both policies at once: what either refuses is refused."""
        if other is None:
            return self
        excluded = tuple(dict.fromkeys((*self.excluded, *other.excluded)))
        if not (self.allowed and other.allowed):
            return Domains(excluded, self.allowed or other.allowed)
        common = [name for name in other.allowed if _among(name.removeprefix("*."), self.allowed)]
        common += [name for name in self.allowed if _among(name.removeprefix("*."), other.allowed)]
        return Domains(excluded, tuple(dict.fromkeys(common)) or ("none.invalid",))


def check_domain(name: str) -> str | None:
    """What is wrong with a name in a list of domains; None where nothing is."""
    if "/" in name or ":" in name:
        return "which is an address, not a domain"
    return None if _DOMAIN.fullmatch(name) else "which is not a domain"


def _among(host: str, names: Iterable[str]) -> str | None:
    host = _ascii(host)
    for name in names:
        wanted = _ascii(name.removeprefix("*."))
        if host == wanted or host.endswith(f".{wanted}"):
            return name
    return None


def _ascii(host: str) -> str:
    host = host.strip().rstrip(".").lower()
    if host.isascii():
        return host
    try:
        import idna

        return idna.encode(host, uts46=True).decode("ascii")
    except (UnicodeError, ValueError):
        return host


def canonical(url: str) -> str:
    """An address by which a page is known: the host in lower case, without the default port, fragment, final slash and tracking marks."""
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return url.strip()
    scheme = parts.scheme.lower()
    place = _ascii(host) if ":" not in host else f"[{host}]"
    if port is not None and port != _PORTS.get(scheme):
        place += f":{port}"
    marks = re.compile(r"(?:utm_\w+|fbclid|gclid|msclkid|mc_eid)=", re.IGNORECASE)
    query = "&".join(each for each in parts.query.split("&") if each and not marks.match(each))
    path = parts.path.rstrip("/")
    return f"{scheme}://{place}{path}{f'?{query}' if query else ''}"


def urls_in(text: str) -> list[str]:
    """The addresses that stand in a text, each once, without the punctuation behind them."""
    found: dict[str, None] = {}
    for match in _URL.finditer(text):
        url = match[0].rstrip(".,;:!?*_~")
        while url.endswith((")", "]")) and url.count("(") + url.count("[") < url.count(")") + url.count("]"):
            url = url[:-1].rstrip(".,;:!?*_~")
        if len(url) > len("https://"):
            found[url] = None
    return list(found)


def host_of(url: str) -> str:
    """The host of an address; empty where it has none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return ""
