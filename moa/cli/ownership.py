"""Whether the packages `agent` and `moa` are the ones that we ship.

Another distribution may ship a package of the same name (Hermes Agent ships an `agent`, and there is another `moa`): whichever is installed last writes over the
files of the other, and whichever is removed takes them along. Nothing that is loaded here may come from `agent`.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as typing's, whose import takes long enough for a Ctrl+C to fall into it
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

DISTRIBUTION = "moa-agent"
PACKAGES = ("agent", "moa")
SUSPICIOUS = (ImportError, AttributeError, TypeError, NameError, SyntaxError)
"""What code that lacks its other half ends with."""
REMEDY = f"give moa an environment of its own (uv tool install {DISTRIBUTION}, or pipx install {DISTRIBUTION})"


def lost() -> str | None:
    """Who has taken a package of ours, in words; None where both are ours. One look at a name in each: it is asked at every start."""
    try:
        import agent
        import moa
    except ImportError:
        return _told(_records(), "")
    if getattr(moa, "DISTRIBUTION", None) == getattr(agent, "DISTRIBUTION", None) == DISTRIBUTION:
        return None
    return _told(_records(), os.path.dirname(next(iter(getattr(agent, "__path__", ())), "")))  # noqa: PTH120 - a start


def broken_by(error: BaseException) -> str | None:
    """Whether an error comes from files of ours that are gone or another's: who has them, in words; else None.

    Reads every file that we have installed: to be asked when something has gone wrong already.
    """
    causes = [each for each in (error, error.__cause__, error.__context__) if each is not None]
    if not any(isinstance(each, SUSPICIOUS) for each in causes):
        return None
    records = list(_records())
    ours = next((record for record in records if record[0] == DISTRIBUTION), None)
    if ours is None or all(_is_whole(ours[1], *line) for line in ours[2]):
        return None
    return _told(records, ours[1])


def tell(why: str, words: Sequence[str]) -> int:
    """Say it in one line, or as the JSON object that was asked for. Returns the exit code."""
    from moa.cli import outputs

    if outputs.asked_format(words) != "text":
        import json

        # The shape of `agent.ui.run.result`, which may be somebody else's now.
        counted = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
        result: dict[str, object] = {
            "schema": 1,
            "session": None,
            "status": "failed",
            "error": {"kind": "overwritten", "message": why, "remedy": REMEDY},
            "text": "",
            "usage": dict.fromkeys(counted, 0),
            "cost": {"usd": 0.0, "lower_bound": False},
            "calls": [],
            **{kind: [] for kind in outputs.RECORDS},
        }
        print(json.dumps(result))
    else:
        print(f"moa: {why}; {REMEDY}", file=sys.stderr)
    return 1


def _told(records: Iterable[Record], place: str) -> str:
    """`place`: the folder that has the packages, empty where there is none. Only who is installed there can have written over them."""
    others = sorted({name for name, where, _ in records if name != DISTRIBUTION and (where == place or not place)})
    at = f" in {place}" if place else ""
    if others:
        return f"files of moa's packages{at} were overwritten or removed by another distribution, {', '.join(others)}"
    return f"files of moa's packages{at} are missing or another's"


Record = tuple[str, str, "list[tuple[str, str]]"]
"""A distribution that is installed: its name, where, and each file of packages named like ours with its hash."""


def _records() -> Iterator[Record]:
    """Distributions with packages named like ours, as their RECORD files have them (packaging.python.org, "Recording installed projects")."""
    import csv
    from contextlib import suppress

    for place in dict.fromkeys(sys.path):
        names: list[str] = []
        with suppress(OSError):
            names = sorted(name for name in os.listdir(place or ".") if name.endswith(".dist-info"))  # noqa: PTH208
        for name in names:
            with (
                suppress(OSError, csv.Error),
                open(os.path.join(place, name, "RECORD"), encoding="utf-8", errors="replace") as opened,  # noqa: PTH118, PTH123
            ):
                rows = [(row[0], row[1]) for row in csv.reader(opened) if len(row) > 1]
                files = [row for row in rows if row[0].split("/")[0] in PACKAGES and row[0].endswith(".py")]
                if files:
                    yield name.partition("-")[0].lower().replace("_", "-"), place, files


def _is_whole(place: str, name: str, digest: str) -> bool:
    if not digest.startswith("sha256="):
        return True
    import base64
    import hashlib

    try:
        with open(os.path.join(place, name), "rb") as opened:  # noqa: PTH118, PTH123
            found = base64.urlsafe_b64encode(hashlib.sha256(opened.read()).digest())
    except OSError:
        return False
    return found.decode().rstrip("=") == digest.removeprefix("sha256=")
