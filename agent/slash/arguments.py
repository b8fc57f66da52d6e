"""What reading a command's arguments has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agent.commands import Said
from agent.errors import UsageError
from agent.text.nearest import nearest
from agent.views import MarkdownView


def nothing(command: str, args: str) -> None:
    """Raises UsageError where something stands after a command that takes nothing."""
    if args:
        raise UsageError(f"/{command} takes no argument, but got {args!r}", remedy=f"/{command}")


def one_of(command: str, word: str, choices: Iterable[str]) -> str:
    """The word, where it is one of the choices. Raises UsageError with the nearest of them."""
    known = list(choices)
    if word in known:
        return word
    near, listed = nearest(word, known, cutoff=0.5), "one of: " + ", ".join(known)
    remedy = f"did you mean /{command} {near}? ({listed})" if near else listed
    raise UsageError(f"/{command} {word}: unknown argument", remedy=remedy)


def completing(choices: Iterable[str]) -> Callable[[str], Iterable[str]]:
    """A `Command.complete` that offers fixed words."""
    words = tuple(choices)
    return lambda typed: [word for word in words if word.startswith(typed)]


def said(text: str) -> Said:
    """Our own words, as Markdown."""
    return Said(MarkdownView(text=text))


def code(text: str) -> str:
    """A name that is not ours (a path, a model) within our Markdown: literal, whatever is in it."""
    flat = " ".join(text.split())
    fence = "`"
    while fence in flat:
        fence += "`"
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{pad}{flat}{pad}{fence}"
