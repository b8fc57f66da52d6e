"""`[web]` of config.toml, and the search keys of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from agent.config.domains import Domains, check_domain
from agent.config.toml import Table
from agent.values import dataclass

Engine = Literal["exa", "tavily", "brave", "searxng", "ddgs", "native"]
Choice = Literal["auto", "exa", "tavily", "brave", "searxng", "ddgs", "native"]

KEYS: Mapping[str, tuple[str, ...]] = {
    "exa": ("EXA_API_KEY",),
    "tavily": ("TAVILY_API_KEY",),
    "brave": ("BRAVE_API_KEY", "BRAVE_SEARCH_API_KEY"),
}
"""The environment variables that hold each engine's key; the first that is set counts."""
ADDRESSES: Mapping[str, str] = {
    "exa": "https://api.exa.ai",
    "tavily": "https://api.tavily.com",
    "brave": "https://api.search.brave.com",
}


@dataclass(frozen=True, slots=True)
class WebSettings:
    """What the user has set. `search` is the engine, `addresses` where each one is, `keys` what opens it, `allow_private` the hosts on
    private addresses that may be fetched (HOST or HOST:PORT)."""

    search: Choice = "auto"
    searxng_url: str = ""
    domains: Domains = Domains()
    allow_private: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=lambda: dict(ADDRESSES))
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    def engines(self) -> tuple[Engine, ...]:
        """The engines to ask, in order: the named one alone, or with `auto` each that is set up, the one without a key last."""
        if self.search != "auto":
            return (self.search,)
        keyed = [cast("Engine", name) for name in KEYS if name in self.keys]
        own: list[Engine] = ["searxng"] if self.searxng_url else []
        return (*keyed, *own, "ddgs")


def read(section: Mapping[str, Any], file: Path, env: Mapping[str, str]) -> WebSettings:
    """The settings, checked. Raises UsageError that names file, key and remedy."""
    table = Table(dict(section), file, "web")
    search = table.text("search", "auto", choices=get_args(Choice))
    searxng = _address(table, "searxng_url", "")
    if search == "searxng" and not searxng:
        raise table.error("search", 'is "searxng", but no address is given', 'add searxng_url = "https://…"')
    excluded, allowed = table.texts("excluded_domains"), table.texts("allow_private")
    for name in excluded:
        if problem := check_domain(name):
            raise table.error("excluded_domains", f"has {name!r} in it, {problem}", 'write a name alone: "example.org"')
    for name in allowed:
        if "/" in name or not name.strip():
            raise table.error(
                "allow_private", f"has {name!r} in it", 'write HOST or HOST:PORT, for example "localhost:8080"'
            )
    addresses = {name: _address(table, f"{name}_url", default) for name, default in ADDRESSES.items()}
    table.done()
    keys = {
        name: key
        for name, variables in KEYS.items()
        if (key := next((env[each].strip() for each in variables if env.get(each, "").strip()), ""))
    }
    return WebSettings(
        search=cast("Choice", search),
        searxng_url=searxng,
        domains=Domains(excluded=excluded),
        allow_private=tuple(name.lower() for name in allowed),
        addresses=addresses,
        keys=keys,
    )


def _address(table: Table, key: str, default: str) -> str:
    value = table.text(key, default) or ""
    if value and not value.startswith(("http://", "https://")):
        raise table.error(key, f"is {value!r}", "use an address that starts with http:// or https://")
    return value.rstrip("/")
