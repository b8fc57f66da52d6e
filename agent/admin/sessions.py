"""What is there, from outside of a conversation: settings, books, conversations."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import Any

from agent.admin.report import Report
from agent.config.config import Config, load_config
from agent.errors import UsageError
from agent.ledger.book import Ledger
from agent.session.index import line, summaries
from agent.session.index import search as find_text
from agent.session.session import Session
from agent.views import TableView, TreeView

SEARCH_LIMIT = 200
"""Messages that a search shows at most."""


def configuration() -> Config:
    """The user's settings. Raises UsageError."""
    from agent.installed import plugin_names

    return load_config(os.environ, plugins=frozenset(plugin_names()))


def ledger(config: Config, database: str | None = None) -> Ledger:
    """The books, with what a killed process left open closed. `database`: the address of those that servers share."""
    books = Ledger(database or config.paths.state / "ledger.db", redact=config.redact)
    books.sweep()
    return books


def sessions(config: Config) -> Report:
    """All conversations, newest first."""
    found = summaries(config.paths.sessions)
    rows = tuple((each.id, each.name, _when(each.changed), str(each.messages), line(each.first, 60)) for each in found)
    view = TableView(
        columns=("session", "name", "last change", "messages", "first words"),
        rows=rows,
        align="llrrl",
        spare=("messages",),
    )
    return Report(view, {"sessions": [each._asdict() for each in found]})


def search(config: Config, text: str) -> Report:
    """Messages with a text in them, in all conversations, the last changed first. Raises UsageError for an empty text."""
    if not text.strip():
        raise UsageError("there is nothing to look for", remedy="moa session search TEXT")
    hits = find_text(config.paths.sessions, text, at_most=SEARCH_LIMIT)
    rows = tuple((hit.session, _when(hit.changed), str(hit.number), hit.role, hit.excerpt) for hit in hits)
    note = "" if hits else "nothing found"
    if len(hits) == SEARCH_LIMIT:
        note = f"the first {SEARCH_LIMIT}; a longer text finds fewer"
    view = TableView(columns=("session", "last change", "message", "who", "words"), rows=rows, align="lrrll", note=note)
    return Report(view, {"hits": [hit._asdict() for hit in hits], "cut": len(hits) == SEARCH_LIMIT})


def session(config: Config, name: str) -> Report:
    """One conversation as a tree of its messages, and of what plugins say of what they kept."""
    from agent.events import Record
    from agent.serialize import to_plain

    opened = Session.open(config.paths.sessions, name, redact=config.redact)
    children = []
    for message in opened.with_records():
        if isinstance(message, Record):
            children.append(TreeView(label=f"◆ {message.line}"))
            continue
        label = message.role + (" (incomplete)" if message.incomplete else "")
        calls = "\n".join(f"→ {call.name} {call.arguments}" for call in message.tool_calls)
        children.append(TreeView(label=label, text="\n".join(filter(None, (message.text, calls)))))
    lost = opened.unrecorded()
    if lost:
        answers = tuple(TreeView(label=str(side.get("outcome")), text=str(side.get("text"))) for side in lost)
        label = "answers of side work whose request never ended: the program was killed"
        children.append(TreeView(label=label, children=answers))
    label = f"session {opened.id}" + (f" ({opened.name})" if opened.name else "")
    if opened.origin:
        label += f", a copy of {opened.origin}"
    view = TreeView(label=label, text="\n".join(opened.notices), children=tuple(children))
    data = {
        "session": opened.id,
        "name": opened.name,
        "origin": opened.origin,
        "messages": to_plain(opened.transcript()),
        "records": to_plain(opened.placed_records(private=False)),
        "unrecorded": list(lost),
        "notices": list(opened.notices),
    }
    return Report(view, data)


def export(config: Config, name: str, form: str, *, raw: bool = False) -> str:
    """A conversation as a document (md, json, html), secrets masked; `raw` with what steers a terminal. Raises UsageError."""
    from agent.session.export import export, parse_format

    return export(Session.open(config.paths.sessions, name), parse_format(form), redact=config.redact, raw=raw)


def facts_json(facts: Any) -> dict[str, Any]:
    """What is known of a model, as plain JSON."""
    data = asdict(facts)
    data["price"] = (
        None if facts.price is None else {key: value for key, value in data["price"].items() if key != "tiers"}
    )
    return data


def _when(changed: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(changed))
