"""`moa preset …`: its verbs in one table, and list, show, check, new and copy themselves; and what `moa doctor` says of presets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.admin import sessions
from agent.admin.doctor import Row
from agent.admin.report import Report
from agent.llm.request import ModelRef
from agent.process.folder import here
from agent.serialize import to_plain
from agent.views import MarkdownView
from moa import preflight
from moa.admin import exchange
from moa.store import listing, reading, store

if TYPE_CHECKING:
    from agent.config.config import Config


def list_all() -> Report:
    """Every preset with its description and whether it can run here, or with what is wrong with it."""
    found = sorted(_examined(), key=lambda each: bool(each.problem or each.obstacles))
    view = listing.grouped(
        (
            (f"{each.file.name} can't be used: {each.problem}",) if each.problem else each.obstacles,
            (each.file.name, each.file.origin, each.description),
        )
        for each in found
    )
    data = [
        {
            "name": each.file.name,
            "from": each.file.origin,
            "file": str(each.file.path),
            "description": each.description,
            "problem": each.problem,
            "runs_here": not each.problem and not each.obstacles,
            "why_not": list(each.obstacles),
        }
        for each in found
    ]
    return Report(view, {"presets": data})


def examined() -> list[Row]:
    """A row for the presets that can run here, one for each reason why others can't, and one for each that is wrong."""
    found = _examined()
    able = ", ".join(each.file.name for each in found if not each.problem and not each.obstacles)
    rows: list[Row] = [("presets", able or "none", "run here; moa preset check NAME probes one", True)]
    reasons: dict[str, list[str]] = {}
    for each in found:
        if each.obstacles:
            reasons.setdefault("; ".join(each.obstacles), []).append(each.file.name)
    rows += [("presets, not here", ", ".join(names), why, None) for why, names in reasons.items()]
    return rows + [
        (f"preset {each.file.name}", str(each.file.path), each.problem, False) for each in found if each.problem
    ]


def of_project(folder: Path) -> list[str]:
    """A line for each preset of a project's `.moa` folder, trusted or not: what it is, and whose place it takes."""
    config_dir = sessions.configuration().paths.config
    lines = []
    for found, description, problem in store.descriptions(config_dir, folder):
        place = ""
        if found.origin == "user" and "project" in found.shadowed:
            place = " (your own of that name is used)"
        elif found.origin != "project":
            continue
        elif "shipped" in found.shadowed:
            place = " (it TAKES THE PLACE of the one that ships)"
        lines.append(f"preset {found.name}{place}: {problem or description}")
    return lines


class Examined(NamedTuple):
    """A preset's file, what is wrong with it, and else why it can't run here."""

    file: store.Found
    description: str
    problem: str | None
    obstacles: tuple[str, ...] = ()


def _examined() -> list[Examined]:
    return asyncio.run(_examine(sessions.configuration()))


async def _examine(config: Config) -> list[Examined]:
    """Each preset against what is configured. Nothing is sent."""
    from agent.client import make_client
    from agent.ledger.book import Ledger

    rows = []
    given = exchange.member_tools()
    with TemporaryDirectory() as spare:  # no call is made, so these books stay empty
        books = Ledger(Path(spare) / "ledger.db")
        client = make_client(config, books)
        try:
            for found, read, problem in store.read_all(config.paths.config, config.trusted_project(here())):
                if read is None:
                    rows.append(Examined(found, "", problem))
                    continue
                named = read.main or config.single_model
                main = ModelRef.parse(named) if named else None
                rows.append(
                    Examined(found, read.description, None, preflight.obstacles(read, client, main, tools=given))
                )
        finally:
            await client.aclose()
            books.close()
    return rows


def show(name: str) -> Report:
    """A preset's file as it stands, comments and all. Raises UsageError where it is unknown or wrong."""
    config = sessions.configuration()
    project = config.trusted_project(here())
    path, text = store.text_of(name, config_dir=config.paths.config, project_dir=project)
    read = reading.read(text, name=name, path=path)
    return Report(
        MarkdownView(text=f"# {path}\n\n{text.rstrip()}"), {"file": str(path), "text": text, "preset": to_plain(read)}
    )


def new(name: str) -> Report:
    """A commented beginning of a preset, in the user's folder."""
    path = store.new(name, config_dir=sessions.configuration().paths.config)
    return _made(path, name)


def copy(source: str, target: str) -> Report:
    """A copy of a preset under another name, in the user's folder."""
    config = sessions.configuration()
    project = config.trusted_project(here())
    path = store.copy(source, target, config_dir=config.paths.config, project_dir=project)
    return _made(path, target)


def _made(path: Path, name: str) -> Report:
    return Report(MarkdownView(text=f"{path} created; edit it, then: moa preset check {name}"), {"file": str(path)})


async def check(name: str) -> Report:
    """Ask every member and the aggregator one tiny question: what works, how fast, at what price."""
    from agent.client import make_client
    from moa.admin.probing import probed

    config = sessions.configuration()
    found = store.load(name, config_dir=config.paths.config, project_dir=config.trusted_project(here()))
    named = found.main or config.single_model
    books = sessions.ledger(config)
    client = make_client(config, books)
    try:
        return await probed(name, found, client, ModelRef.parse(named) if named else None)
    finally:
        await client.aclose()
        books.close()


VERBS = {
    "list": list_all,
    "show": show,
    "check": check,
    "new": new,
    "copy": copy,
    "edit": exchange.edit,
    "remove": exchange.remove,
    "import": exchange.take_over,
    "export": exchange.export,
}


def answer(verb: str, *names: str) -> Report:
    """What `moa preset VERB` answers. Raises UsageError, StateError."""
    action: Any = VERBS[verb]
    report = action(*names)
    found: Report = asyncio.run(report) if asyncio.iscoroutine(report) else report
    return found
