"""What must never be shown of an endpoint, and taking it out of a text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from agent.text.cleaning import STEERING, harmless, steers

SHORTEST = 8
"""Characters. What is shorter is not a key of any provider, and would be found in ordinary words."""

MASK = "[key]"

# Headers that say who we are or what we speak; their values are ordinary words.
_PUBLIC = frozenset(
    {
        *("accept", "accept-language", "anthropic-beta", "anthropic-version", "content-type", "http-referer"),
        *("openai-beta", "referer", "user-agent", "x-title"),
    }
)


_LEFT_OUT = re.compile(f"{STEERING}*")


def secrets_of(api_key: str | None, base_url: str, headers: Mapping[str, str]) -> Iterator[str]:
    """Whatever opens an endpoint: its key, the values of its headers, and what its address carries beside host and path."""
    if api_key:
        yield api_key
    for name, value in headers.items():
        if name.lower() not in _PUBLIC:
            yield value
            # `Authorization: Bearer …`: the part behind the scheme is the secret.
            yield value.rpartition(" ")[2]
    if "@" in base_url or "?" in base_url:
        yield from _secrets_of_url(base_url)


def _secrets_of_url(base_url: str) -> Iterator[str]:
    parts = urlsplit(base_url)
    userinfo, at, _host = parts.netloc.rpartition("@")
    if at:
        for piece in (userinfo, *userinfo.split(":", 1)):
            yield piece
            yield unquote(piece)
        import base64

        user, _colon, password = userinfo.partition(":")
        yield base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    if parts.query:
        yield parts.query
        for _name, value in parse_qsl(parts.query):
            yield value
        for pair in parts.query.split("&"):
            yield pair.partition("=")[2]


def plain_url(url: str) -> str:
    """The address as it may be shown: without user, password and query."""
    if "@" not in url and "?" not in url and "#" not in url:
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secrets that can be looked for, each as it is and as it stands within JSON or a Python literal; the longest first."""
    found: set[str] = set()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            inside = json.dumps(secret)[1:-1]
            found |= {secret, inside, inside.replace("/", "\\/"), repr(secret)[1:-1]}  # PHP escapes slashes
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


def unfinished(text: str, spelled: Sequence[str]) -> int:
    """How many characters at the end of a text may be the beginning of one of these `spellings`, the rest of which is still to come."""
    bare = harmless(text) if steers(text) else text
    longest = 0
    for secret in spelled:
        for size in range(min(len(secret) - 1, len(bare)), longest, -1):
            if bare.endswith(secret[:size]):
                longest = size
                break
    if bare is text or not longest:
        return longest
    backwards, at = text[::-1], 0
    for _letter in range(longest):  # what is between them belongs to them
        at = _LEFT_OUT.match(backwards, at).end() + 1  # type: ignore[union-attr]
    return at


def redact(text: str, spelled: Sequence[str]) -> str:
    """The text without any of these `spellings` in it, nor one that comes about where what steers a terminal is taken out of the text later."""
    text = _without(text, spelled)
    if steers(text):
        bare = harmless(text)
        clean = _without(bare, spelled)
        text = text if clean == bare else clean
    return text


def _without(text: str, spelled: Sequence[str]) -> str:
    for secret in spelled:
        if secret in text:
            text = text.replace(secret, MASK)
    return text
