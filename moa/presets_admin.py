"""`moa preset …`: list, show, check, new, copy; and what `moa doctor` says of presets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import admin
from agent.doctor import Row
from agent.llm.money import NANO, show_usd
from agent.llm.request import ModelRef
from agent.report import Report
from agent.views import MarkdownView, TableView
from agent.wire import to_plain
from moa import preset, preset_files

if TYPE_CHECKING:
    from agent.llm.client import ModelClient


PROBE_TOKENS = 256


def list_all() -> Report:
    """Every preset with its description, or with what is wrong with it."""
    found = _described()
    rows = tuple(
        (each.name, each.origin, f"can't be used: {problem}" if problem else description)
        for each, description, problem in found
    )
    data = [
        {"name": each.name, "from": each.origin, "file": str(each.path), "description": description, "problem": problem}
        for each, description, problem in found
    ]
    return Report(TableView(columns=("preset", "from", "description"), rows=rows), {"presets": data})


def examined() -> list[Row]:
    """A row for the presets that can be used, and one for each that can't."""
    found = _described()
    good = ", ".join(each.name for each, _, problem in found if problem is None)
    broken: list[Row] = [
        (f"preset {each.name}", str(each.path), problem, False) for each, _, problem in found if problem
    ]
    return [("presets", good, "moa preset check NAME probes one", True), *broken]


def _described() -> list[tuple[preset_files.Found, str, str | None]]:
    config = admin.configuration()
    return preset_files.descriptions(config.paths.config, config.trusted_project(Path.cwd()))


def show(name: str) -> Report:
    """A preset's file as it stands, comments and all. Raises UsageError where it is unknown or wrong."""
    config = admin.configuration()
    project = config.trusted_project(Path.cwd())
    path, text = preset_files.text_of(name, config_dir=config.paths.config, project_dir=project)
    read = preset.read(text, name=name, path=path)
    return Report(
        MarkdownView(text=f"# {path}\n\n{text.rstrip()}"), {"file": str(path), "text": text, "preset": to_plain(read)}
    )


def new(name: str) -> Report:
    """A commented beginning of a preset, in the user's folder."""
    path = preset_files.new(name, config_dir=admin.configuration().paths.config)
    return _made(path, name)


def copy(source: str, target: str) -> Report:
    """A copy of a preset under another name, in the user's folder."""
    config = admin.configuration()
    project = config.trusted_project(Path.cwd())
    path = preset_files.copy(source, target, config_dir=config.paths.config, project_dir=project)
    return _made(path, target)


def _made(path: Path, name: str) -> Report:
    return Report(MarkdownView(text=f"{path} is there; edit it, then: moa preset check {name}"), {"file": str(path)})


async def check(name: str) -> Report:
    """Ask every member and the aggregator one tiny question: what works, how fast, at what price."""
    from agent.host import make_client

    config = admin.configuration()
    found = preset.load(name, config_dir=config.paths.config, project_dir=config.trusted_project(Path.cwd()))
    named = found.main or config.model
    main = ModelRef.parse(named) if named else None
    books = admin.ledger(config)
    client = make_client(config, books)
    seats = list(found.models(main))
    if main is not None:
        seats.append(("main", main))
    try:
        probes = await asyncio.gather(*(_probe(client, where, model) for where, model in seats))
    finally:
        await client.aclose()
        books.close()
    view = TableView(
        title=f"{name}: {found.source}",
        columns=("seat", "model", "state", "first token", "cost", "$/M in", "$/M out"),
        rows=tuple(_row(probe) for probe in probes),
        align="lllrrrr",
    )
    return Report(view, {"preset": name, "probes": list(probes)}, ok=all(probe["ok"] for probe in probes))


async def _probe(client: ModelClient, where: str, model: ModelRef) -> dict[str, Any]:
    from agent.errors import UsageError
    from agent.llm.accounting import CallContext
    from agent.llm.errors import EmptyAnswer, ModelError
    from agent.llm.messages import user
    from agent.llm.request import Request

    probe: dict[str, Any] = {
        "seat": where,
        "model": str(model),
        "ok": False,
        "ttft_s": None,
        "cost_usd": None,
        "price": None,
    }
    ask = Request(model=model, messages=(user("Answer with the word: ready"),), max_tokens=PROBE_TOKENS)
    try:
        reply = await client.complete(ask, CallContext("probe"))
    except EmptyAnswer:
        return {**probe, "state": f"answers, but spent {PROBE_TOKENS} tokens without a word: give it more max_tokens"}
    except (ModelError, UsageError) as error:
        return {**probe, "state": error.message + (f" ({error.remedy})" if error.remedy else "")}
    served = reply.model_served or model.model
    return {
        **probe,
        "ok": True,
        "state": "works" if served == model.model else f"works, served as {served}",
        "ttft_s": reply.ttft_s,
        "cost_usd": None if reply.cost_nano is None else reply.cost_nano / NANO,
        "price": admin.facts_json(client.facts(model))["price"],
    }


def _row(probe: dict[str, Any]) -> tuple[str, ...]:
    seat = (probe["seat"], probe["model"], probe["state"])
    if not probe["ok"]:
        return (*seat, "", "", "", "")
    first = "" if probe["ttft_s"] is None else f"{probe['ttft_s']:.2f} s"
    cost = None if probe["cost_usd"] is None else round(probe["cost_usd"] * NANO)
    price = probe["price"]
    rates = ("unknown", "unknown") if price is None else (f"{price['prompt']:g}", f"{price['completion']:g}")
    return (*seat, first, show_usd(cost), *rates)


VERBS = {"list": list_all, "show": show, "check": check, "new": new, "copy": copy}
