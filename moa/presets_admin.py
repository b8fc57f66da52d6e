"""`moa preset …`: list, show, check, new, copy. Each returns a View."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agent.llm.request import ModelRef
from agent.views import MarkdownView, TableView, View
from moa import admin, preset, preset_files

if TYPE_CHECKING:
    from agent.llm.client import ModelClient


def list_all() -> View:
    """Every preset with its description, or with what is wrong with it."""
    config = admin.configuration()
    rows = tuple(
        (found.name, found.origin, f"can't be used: {problem}" if problem else description)
        for found, description, problem in preset_files.descriptions(
            config.paths.config, config.trusted_project(Path.cwd())
        )
    )
    return TableView(columns=("preset", "from", "description"), rows=rows)


def show(name: str) -> View:
    """A preset's file as it stands, comments and all. Raises UsageError where it is unknown or wrong."""
    config = admin.configuration()
    project = config.trusted_project(Path.cwd())
    path, text = preset_files.text_of(name, config_dir=config.paths.config, project_dir=project)
    preset.read(text, name=name, path=path)
    return MarkdownView(text=f"# {path}\n\n{text.rstrip()}")


def new(name: str) -> View:
    """A commented beginning of a preset, in the user's folder."""
    path = preset_files.new(name, config_dir=admin.configuration().paths.config)
    return MarkdownView(text=f"{path} is there; edit it, then: moa preset check {name}")


def copy(source: str, target: str) -> View:
    """A copy of a preset under another name, in the user's folder."""
    config = admin.configuration()
    project = config.trusted_project(Path.cwd())
    path = preset_files.copy(source, target, config_dir=config.paths.config, project_dir=project)
    return MarkdownView(text=f"{path} is there; edit it, then: moa preset check {target}")


async def check(name: str) -> View:
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
        rows = await asyncio.gather(*(_probe(client, where, model) for where, model in seats))
    finally:
        await client.aclose()
        books.close()
    return TableView(
        title=f"{name}: {found.source}",
        columns=("seat", "model", "state", "first token", "cost", "$/M in", "$/M out"),
        rows=tuple(rows),
        align="lllrrrr",
    )


async def _probe(client: ModelClient, where: str, model: ModelRef) -> tuple[str, ...]:
    from agent.errors import UsageError
    from agent.llm.accounting import CallContext
    from agent.llm.errors import EmptyAnswer, ModelError
    from agent.llm.messages import user
    from agent.llm.money import show_usd
    from agent.llm.request import Request

    started = time.monotonic()
    cost: int | None = None
    ttft = ""
    try:
        reply = await client.complete(
            Request(model=model, messages=(user("Answer with the word: ready"),), max_tokens=256), CallContext("probe")
        )
    except EmptyAnswer:
        state = "answers, but spent 256 tokens without a word: give it more max_tokens"
    except (ModelError, UsageError) as error:
        state = f"{error.message}" + (f" ({error.remedy})" if error.remedy else "")
    else:
        served = reply.model_served or model.model
        state = "works" if served == model.model else f"works, served as {served}"
        cost, ttft = reply.cost_nano, f"{reply.ttft_s or time.monotonic() - started:.2f} s"
        price = client.facts(model).price
        rates = ("unknown", "unknown") if price is None else (f"{price.prompt:g}", f"{price.completion:g}")
        return (where, str(model), state, ttft, show_usd(cost), *rates)
    return (where, str(model), state, ttft, "", "", "")


VERBS = {"list": list_all, "show": show, "check": check, "new": new, "copy": copy}
