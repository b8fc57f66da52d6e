"""What stands after `/goal`: a verb in one of its exact forms, or a goal. Never a goal that is taken for a verb.

A text that begins with a verb and is none of its forms (`/goal gate keepers`) could be either, so it is asked about instead.
"""

from __future__ import annotations

from typing import NamedTuple

from agent.errors import UsageError
from agent.goal.budget import Budget, parse

ALONE = ("status", "pause", "resume", "clear", "history")
"""Verbs that take nothing."""
LISTS = ("gate", "criteria")
"""Verbs of a list: alone or `list`, `add TEXT`, `remove N`."""
VERBS = (*ALONE, *LISTS, "budget", "judge", "set")
_EXAMPLES = {
    "gate": "/goal gate [list | add COMMAND | remove N]",
    "criteria": "/goal criteria [list | add TEXT | remove N]",
    "budget": "/goal budget [20 turns | 30m | 200k tokens | $2 | off]",
    "judge": "/goal judge [main | ENDPOINT:MODEL | PRESET]",
}
START = frozenset({"set", "resume"})
"""What begins a turn, and so waits for the end of the one that runs."""


class Asked(NamedTuple):
    """A verb and what stands after it: for lists the verb is `gate add`, `criteria remove` and the like."""

    verb: str
    rest: str = ""


def read(args: str) -> Asked:
    """Raises UsageError, with both ways to say it, for what could be a verb or a goal."""
    text = args.strip()
    if not text:
        return Asked("status")
    word, _, rest = text.partition(" ") if " " in text.split("\n")[0] else text.partition("\n")
    rest = rest.strip()
    if word not in VERBS:
        return Asked("set", text)
    if word == "set":
        if not rest:
            raise UsageError("/goal set needs a text", remedy="/goal set TEXT")
        return Asked("set", rest)
    found = _exact(word, rest)
    if found is None:
        command = _EXAMPLES.get(word, f"/goal {word}")
        raise UsageError(
            f"is that a goal, or the command /goal {word}?",
            remedy=f"the goal: /goal set {text} · the command: {command}",
            kind="ambiguous_goal",
        )
    return found


def may_run_busy(args: str) -> bool:
    """Whether it may run while the agent works. What is to be refused needs no waiting either."""
    try:
        return read(args).verb not in START
    except UsageError:
        return True


def _exact(word: str, rest: str) -> Asked | None:
    if word in ALONE:
        return None if rest else Asked(word)
    if word == "budget":
        return Asked(word, rest) if not rest or parse(rest, Budget()) is not None else None
    if word == "judge":
        return Asked(word, rest) if len(rest.split()) <= 1 else None
    verb, _, more = rest.partition(" ")
    more = more.strip()
    if verb in ("", "list") and not more:
        return Asked(f"{word} list")
    if verb == "add" and more:
        return Asked(f"{word} add", more)
    if verb == "remove" and more.isascii() and more.isdigit():
        return Asked(f"{word} remove", more)
    return None
