"""What the user has agreed to: each disclosure of a plugin is shown once, and remembered in the state folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from agent.files.own_files import make_folder, open_to_append, read_bytes
from agent.hooks import ask_all
from agent.plugin import Disclosure, Plugin


def pending(plugins: Iterable[Plugin], line: str, state: Path) -> Disclosure | None:
    """The first disclosure that a line needs and the user has not seen; None where there is none."""
    asked = ask_all(plugins, "disclosure", lambda plugin: plugin.disclosure(line))
    wanted = [found for _, found in asked if found is not None]
    if not wanted:
        return None
    seen = _seen(state)
    return next((one for one in wanted if _line(one) not in seen), None)


def agree(disclosure: Disclosure, state: Path) -> None:
    """Remember it. A folder that can't be written costs no more than being asked again."""
    try:
        make_folder(state)
        with os.fdopen(open_to_append(_file(state)), "a", encoding="utf-8") as file:
            file.write(_line(disclosure) + "\n")
    except OSError:
        return


def _line(disclosure: Disclosure) -> str:
    return " ".join(disclosure.key.split())


def _file(state: Path) -> Path:
    return state / "agreed"


def _seen(state: Path) -> frozenset[str]:
    try:
        return frozenset(read_bytes(_file(state)).decode().splitlines())
    except (OSError, UnicodeDecodeError):
        return frozenset()
