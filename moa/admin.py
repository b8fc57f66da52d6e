"""What the commands beside `run` do: each returns a View or plain rows; the command line renders them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from agent.config import Config, Paths, load_config, project_folder
from agent.errors import StateError, UsageError
from agent.ledger import Ledger
from agent.session import Session
from agent.sessionlist import line, summaries
from agent.sessionlist import search as find_text
from agent.views import TableView, TreeView, View
from moa.settings import SECTION

SEARCH_LIMIT = 200
"""Messages that a search shows at most."""


def configuration() -> Config:
    """The user's settings. Raises UsageError."""
    return load_config(os.environ, plugins=frozenset({SECTION}))


def ledger(config: Config) -> Ledger:
    """The books, with what a killed process left open closed."""
    books = Ledger(config.paths.state / "ledger.db", redact=config.redact)
    books.sweep()
    return books


async def list_models(name: str | None) -> View:
    """What one endpoint offers, or all that can be asked: those with a key, and the servers that run on this machine.

    Raises UsageError for an unknown endpoint.
    """
    from agent.host import make_client
    from agent.llm.errors import ModelError

    config = configuration()
    books = ledger(config)
    client = make_client(config, books)
    found = {} if name else {server.endpoint.name: server for server in await _running()}
    names = (
        [name] if name else [n for n, e in config.endpoints.items() if e.api_key or n in found or _is_own(n, config)]
    )
    rows: list[tuple[str, ...]] = []
    problems: list[str] = []
    if name in (None, "local"):
        rows += local_models(config.paths)
    try:
        for each in names:
            if each == "local":
                continue
            try:
                rows += [_model_row(each, model) for model in await client.models(each)]
            except (ModelError, UsageError) as error:
                problems.append(f"{each}: {error.message}")
    finally:
        await client.aclose()
        books.close()
    if name and problems:
        raise UsageError(problems[0], remedy="moa doctor says what is reachable", kind="endpoint")
    return TableView(
        columns=("model", "window", "$/M in", "$/M out"), rows=tuple(rows), align="lrrr", note="\n".join(problems)
    )


def _is_own(name: str, config: Config) -> bool:
    """An endpoint of the user's own making."""
    from agent.llm.endpoint import WELL_KNOWN

    return name not in WELL_KNOWN


async def _running() -> list[Any]:
    from agent.local.discover import discover

    return await discover()


def local_models(paths: Paths) -> list[tuple[str, ...]]:
    """The models that `moa models fetch` knows, and whether they are here."""
    from agent.local.catalogue import FETCHABLE
    from agent.local.fetch import cached

    rows: list[tuple[str, ...]] = []
    for name, model in FETCHABLE.items():
        here = "here" if cached(model, paths.cache / "models") else f"{model.size / 1e6:.0f} MB to fetch"
        rows.append((f"local:{name}", here, "0", "0"))
    return rows


def _model_row(endpoint: str, model: Any) -> tuple[str, ...]:
    facts = model.facts
    window = "" if facts.context_window is None else f"{facts.context_window:,}"
    price = facts.price
    return (
        f"{endpoint}:{model.id}",
        window,
        "unknown" if price is None else f"{price.prompt:g}",
        "unknown" if price is None else f"{price.completion:g}",
    )


def sessions(config: Config) -> View:
    """All conversations, newest first."""
    rows = tuple(
        (each.id, _when(each.changed), str(each.messages), line(each.first, 60))
        for each in summaries(config.paths.sessions)
    )
    return TableView(columns=("session", "last change", "messages", "first words"), rows=rows, align="llrl")


def search(config: Config, text: str) -> View:
    """Messages with a text in them, in all conversations, the last changed first. Raises UsageError for an empty text."""
    if not text.strip():
        raise UsageError("there is nothing to look for", remedy="moa session search TEXT")
    hits = find_text(config.paths.sessions, text, at_most=SEARCH_LIMIT)
    rows = tuple((hit.session, _when(hit.changed), str(hit.number), hit.role, hit.excerpt) for hit in hits)
    note = "" if hits else "nothing found"
    if len(hits) == SEARCH_LIMIT:
        note = f"the first {SEARCH_LIMIT}; a longer text finds fewer"
    return TableView(columns=("session", "last change", "message", "who", "words"), rows=rows, align="llrll", note=note)


def export(config: Config, name: str, form: str) -> str:
    """A conversation as a document (md, json, html), secrets masked. Raises UsageError."""
    from agent.export import export, parse_format

    return export(Session.open(config.paths.sessions, name), parse_format(form), redact=config.redact)


def session(config: Config, name: str) -> View:
    """One conversation as a tree of its messages."""
    opened = Session.open(config.paths.sessions, name)
    children = []
    for message in opened.history():
        label = message.role + (" (incomplete)" if message.incomplete else "")
        calls = "\n".join(f"→ {call.name} {call.arguments}" for call in message.tool_calls)
        children.append(TreeView(label=label, text="\n".join(filter(None, (message.text, calls)))))
    return TreeView(label=f"session {opened.id}", children=tuple(children))


def trust(folder: Path) -> str:
    """Let a project's `.moa` folder take effect; returns what to say. Raises UsageError where there is none."""
    import tomlkit

    paths = Paths.from_env(os.environ)
    project = project_folder(folder.resolve())
    if project is None:
        raise UsageError(f"there is no .moa folder at or above {folder}", remedy="give the project's folder")
    configuration()  # a broken file is reported, not rewritten
    file = paths.config_file
    document = tomlkit.parse(file.read_text("utf-8") if file.exists() else "")
    table = document.setdefault("trust", tomlkit.table())
    trusted = table.setdefault("folders", tomlkit.array())
    root = str(project.parent)
    if root in trusted:
        return f"{root} is trusted already ({file})"
    trusted.append(root)
    from agent.tools.files import write_atomically

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, tomlkit.dumps(document).encode())
    except OSError as error:
        raise StateError(f"{file} can't be written: {error.strerror}", remedy="check its permissions") from error
    return f"{root} is trusted from now on ({file}); its presets can name only endpoints that you have opened yourself"


async def doctor() -> View:
    """Where each setting came from, what works, what to do about the rest. Shows no key's value."""
    from moa.preset_files import find

    config = configuration()
    rows: list[tuple[str, ...]] = [
        (
            "config",
            str(config.paths.config_file),
            "read" if config.paths.config_file.exists() else "not there (defaults hold)",
        ),
        ("state", str(config.paths.state), _writable(config.paths.state)),
        ("cache", str(config.paths.cache), _writable(config.paths.cache)),
        ("model", config.model or "none", config.sources.get("model", "set a key, a URL, or use --preset local")),
    ]
    running = {server.endpoint.name: server for server in await _running()}
    for name, endpoint in config.endpoints.items():
        if endpoint.key_source:
            state = f"key from {endpoint.key_source}"
        elif endpoint.api_key_env:
            state = f"no key: export {endpoint.api_key_env}=…"
        else:
            state = (
                f"running, {len(running[name].models)} models"
                if name in running
                else "no key needed; moa models list " + name
            )
        rows.append((f"endpoint {name}", endpoint.base_url if name != "local" else "starts by itself", state))
    project = project_folder(Path.cwd())
    if project is not None:
        trusted = config.trusted_project(Path.cwd()) is not None
        rows.append(
            ("project", str(project), "trusted" if trusted else f"inert until trusted: moa trust {project.parent}")
        )
    presets = find(config.paths.config, config.trusted_project(Path.cwd()))
    rows.append(("presets", ", ".join(presets), "moa preset check NAME probes one"))
    return TableView(columns=("what", "value", "state"), rows=tuple(rows))


def _writable(folder: Path) -> str:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(existing, os.W_OK):
        return "can be written"
    return f"{existing} can't be written: check its permissions"


def _when(changed: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(changed))
