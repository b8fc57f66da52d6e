"""What one turn has looked up: its sources, each page once and numbered, and the log of every search and every page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from agent.config.domains import canonical, host_of, urls_in
from agent.text.numbers import plural
from agent.values import dataclass

MAIN = "main"
KIND = "sources"


@dataclass(slots=True)
class Source:
    """A page. `by` are those who met it (`main`, or a member's slot), `fetched` whether its text was read, `copies` whether the user's own
    question stands in it word for word."""

    n: int
    url: str
    title: str = ""
    by: list[str] = field(default_factory=list)
    found: bool = False
    fetched: bool = False
    cited: bool = False
    copies: bool = False

    def plain(self) -> dict[str, Any]:
        """The JSON: contracts of the result's `sources`."""
        return {
            "n": self.n,
            "url": self.url,
            "title": self.title,
            "by": list(self.by),
            "found": self.found,
            "fetched": self.fetched,
            "cited": self.cited,
            "verified": self.fetched or not self.cited,
            "copies_question": self.copies,
        }


@dataclass(slots=True)
class Sources:
    """Those of one turn, in the order in which they were met. Their numbers stand in the tools' results, so that an answer can name them."""

    prompt: str = ""
    by_url: dict[str, Source] = field(default_factory=dict)
    searches: list[dict[str, Any]] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)

    def meet(self, url: str, by: str, *, title: str = "") -> Source:
        """The source of that address, new or known."""
        key = canonical(url)
        source = self.by_url.get(key)
        if source is None:
            source = self.by_url[key] = Source(len(self.by_url) + 1, url)
        source.title = source.title or title
        if by not in source.by:
            source.by.append(by)
        return source

    def same(self, url: str, source: Source) -> None:
        """`url` led to `source`: both addresses are that page."""
        self.by_url.setdefault(canonical(url), source)

    def cite(self, text: str) -> None:
        """Mark what an answer names: by address, or by `[number]`. An address that no tool brought becomes a source of its own."""
        prose = re.sub(r"```.*?(```|\Z)", "", text, flags=re.DOTALL)
        for url in urls_in(prose):
            source = self.by_url.get(canonical(url))
            if source is None and (self.searches or self.pages):
                source = self.meet(url, MAIN)
            if source is not None:
                source.cited = True
        numbered = {source.n: source for source in self.by_url.values()}
        for found in re.findall(
            r"(?<![\w\])])\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\](?![\w(\[])", re.sub(r"`[^`\n]*`", "", prose)
        ):
            for number in re.findall(r"\d+", found):
                if source := numbered.get(int(number)):
                    source.cited = True

    @property
    def all(self) -> list[Source]:
        """Each source once, by number."""
        return sorted({source.n: source for source in self.by_url.values()}.values(), key=lambda source: source.n)

    @property
    def shown(self) -> list[Source]:
        """Those that an answer rests on: read, or named in it."""
        return [source for source in self.all if source.fetched or source.cited]

    def plain(self, turn: str) -> dict[str, Any]:
        """The record's data."""
        return {
            "turn": turn,
            "sources": [source.plain() for source in self.all],
            "searches": self.searches,
            "pages": self.pages,
        }

    def line(self) -> str:
        """The list under an answer, on one line; the count alone where nothing was read or named."""
        if not self.shown:
            searches = plural(len(self.searches), "search", "searches")
            return f"no page was read or named ({searches})" if self.searches else ""
        return "sources: " + " · ".join(_shown(source.plain()) for source in self.shown)


def _shown(source: dict[str, Any]) -> str:
    marks = []
    if source.get("cited") and not source.get("fetched"):
        marks.append("named, never read")
    if source.get("copies_question"):
        marks.append("has the question in it")
    who = [each for each in source.get("by") or () if each != MAIN]
    if who and MAIN not in (source.get("by") or ()):
        marks.append(f"member {', '.join(who)}")
    about = f" ({'; '.join(marks)})" if marks else ""
    return f"[{source.get('n')}] {source.get('url')}{about}"


def table(data: dict[str, Any]) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """The record as columns and rows, for people."""
    rows: list[tuple[str, ...]] = []
    for source in data.get("sources") or ():
        if not isinstance(source, dict):
            continue
        state = "read" if source.get("fetched") else "named, never read" if source.get("cited") else "found"
        if source.get("copies_question"):
            state += ", has the question in it"
        by = ", ".join(map(str, source.get("by") or ()))
        title = source.get("title") or host_of(str(source.get("url")))
        rows.append((f"[{source.get('n')}]", str(title), str(source.get("url")), state, by))
    return ("", "title", "address", "state", "by"), rows


def log(data: dict[str, Any]) -> list[tuple[str, ...]]:
    """Every search and every page of the record, as rows."""
    rows: list[tuple[str, ...]] = [
        ("search", str(each.get("query")), str(each.get("engine") or "none"), _result(each), str(each.get("by")))
        for each in data.get("searches") or ()
        if isinstance(each, dict)
    ]
    rows += [
        ("page", str(each.get("url")), "", _result(each), str(each.get("by")))
        for each in data.get("pages") or ()
        if isinstance(each, dict)
    ]
    return rows


def _result(entry: dict[str, Any]) -> str:
    if entry.get("error"):
        return str(entry["error"])
    return (
        plural(len(entry["results"]), "result") if "results" in entry else f"{entry.get('characters', 0):,} characters"
    )
