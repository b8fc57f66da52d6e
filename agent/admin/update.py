"""`moa doctor --check-update`: the one place that asks whether there is a newer version, and only when it is told to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.text import foreign_json

if TYPE_CHECKING:
    from agent.admin.doctor import Row

INDEX = "https://pypi.org"
ASK_S = 10.0
LONGEST = 20_000_000
"""Bytes of the index's answer, which lists every file of every release."""


async def newest(name: str, index: str = INDEX) -> str:
    """The newest release of a package, no pre-release and none that was withdrawn. Raises ValueError with what went wrong."""
    import httpx

    url = f"{index}/pypi/{name}/json"
    data = bytearray()
    try:
        async with (
            httpx.AsyncClient(timeout=ASK_S, follow_redirects=True) as client,
            client.stream("GET", url, headers={"accept": "application/json", "user-agent": name}) as answer,
        ):
            if answer.status_code == 404:
                raise ValueError(f"{index} knows no package {name}")
            if answer.status_code != 200:
                raise ValueError(f"{index} answered {answer.status_code}")
            async for piece in answer.aiter_bytes():
                data += piece
                if len(data) > LONGEST:
                    raise ValueError(f"{index} sent more than {LONGEST:,} bytes")
    except httpx.HTTPError as error:
        raise ValueError(f"{index} can't be reached: {str(error) or type(error).__name__}") from None
    try:
        releases = foreign_json.loads(bytes(data))["releases"]
        offered = [version for version, files in releases.items() if files and not all(f.get("yanked") for f in files)]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{index} answered something else than a list of releases") from None
    final = [version for version in offered if _numbers(version)]
    if not final:
        raise ValueError(f"{index} has no release of {name}")
    return str(max(final, key=_numbers))


async def check(name: str, current: str, index: str = INDEX) -> Row:
    """A row of the doctor's. A question that fails is a row, too."""
    try:
        found = await newest(name, index)
    except ValueError as problem:
        return "update", f"{name} {current}", f"not known: {problem}", False
    if _numbers(found) > _numbers(current):
        return (
            "update",
            f"{name} {current}",
            f"{found} is there: upgrade with what you installed it with (docs/install.md)",
            True,
        )
    return "update", f"{name} {current}", "the newest release", True


def _numbers(version: str) -> tuple[int, ...]:
    """A final release's numbers; empty for a pre-release and for what is no version."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})*)(?:\.post\d{1,9})?", version)
    return tuple(int(number) for number in found[1].split(".")) if found else ()
