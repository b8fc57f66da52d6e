"""How foreign text is put into a prompt so that it stays a quotation: cleaned, clipped, flattened, fenced."""

from __future__ import annotations

import re

_BACKTICKS = re.compile("`+")
_LONGEST_RUN = 12


def clean(text: str) -> str:
    """The text without lone surrogates, which JSON may spell and UTF-8 can't carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


def flat(text: str, limit: int) -> str:
    """One line of at most `limit` characters: every kind of line break and white space becomes one space."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else line[: max(0, limit - 1)].rstrip() + "…"


def head_and_tail(text: str, limit: int) -> str:
    """About `limit` characters of a text: its head and its tail, with the number of characters left out between them.

    The end of an output matters as much as its beginning (an error's last line, a test run's summary).
    """
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head
    omitted = len(text) - head - tail
    return f"{text[:head]}\n[… {omitted} characters omitted …]\n{text[len(text) - tail :]}"


def fence(text: str) -> str:
    """The text between two bars of backticks that are longer than any run of backticks in it, so it can't close them.

    The rule is CommonMark's for fenced code. Unusual line separators become newlines, and runs of more than twelve backticks are
    shortened, because else a hostile text could make the bars as long as itself.
    """
    body = "\n".join(clean(text).splitlines())
    body = _BACKTICKS.sub(lambda run: run.group()[:_LONGEST_RUN], body)
    longest = max((len(run) for run in _BACKTICKS.findall(body)), default=0)
    bar = "`" * max(3, longest + 1)
    return f"{bar}\n{body}\n{bar}"
