"""`moa bench run`, `pilot` and `judge-check`: what is asked, what it costs, and who does it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.admin.report import Report
from agent.admin.sessions import configuration, ledger
from agent.errors import UsageError
from agent.llm.money import nano_from_usd, show_usd
from agent.llm.request import ModelRef
from agent.text.numbers import plural
from moa.bench import arms, engine, judged, runs, suites
from moa.bench import report as reports
from moa.bench.arms import Arm
from moa.bench.inspecting import tasks as inspect_tasks
from moa.bench.items import Suite
from moa.bench.loop import arms as loop_arms
from moa.store import store
from moa.store.reading import read

if TYPE_CHECKING:
    import argparse

    from agent.config.config import Config
    from agent.ledger.book import Ledger
    from agent.llm.client import ModelClient
    from agent.llm.errors import BudgetReached
    from moa.bench.loop.runner import Loops
    from moa.bench.marking import Marker
    from moa.bench.runs import Run
    from moa.preset.preset import Preset
    from moa.serve.counsel.lookups import Lookups


def root(config: Config) -> Path:
    """The folder of all runs."""
    return config.paths.state / "bench"


def run(arguments: argparse.Namespace) -> tuple[Report, int]:
    """Begin a run, or go on with one; the report, and the exit code. Raises UsageError."""
    config = configuration()
    kept = runs.resume(root(config), arguments.resume, redact=config.redact) if arguments.resume else None
    if kept is None and not (arguments.suite or arguments.card):
        raise UsageError(
            "which suite?", remedy=f"name one of {', '.join(suites.NAMES)}, or the path of a JSON Lines file"
        )
    asked = kept.asked if kept is not None else _asked(arguments, config)
    if kept is None and arguments.go_on and (kept := runs.begun(root(config), asked, redact=config.redact)) is not None:
        asked = kept.asked
    if arguments.retry_failed and (asked.get("pilot") or not (kept or arguments.go_on)):
        raise UsageError(
            "--retry-failed asks again what failed in a run that was begun"
            + (", and a pilot counts what failed: it looks at each pair once" if asked.get("pilot") else ""),
            remedy="name the run with --resume ID (`moa bench list` shows all)",
        )
    data = Path(asked["data"]) if asked["data"] else None
    suite = suites.load(asked["source"], data=data, limit=asked["limit"], seed=asked["seed"])
    if kept is None:
        asked |= {"digest": suite.digest, "suite": suite.name, "items": [item.id for item in suite.items]}
        asked["pairwise"] = suite.pairwise
        asked["groups"] = {item.id: item.group for item in suite.items if item.group}
        if asked.get("card") and suite.digest != asked["card"]["digest"]:
            raise UsageError(
                f"the items of {suite.name} here are not those of the card",
                remedy="take the same data; for a suite in a file name the file: moa bench run FILE --card CARD",
            )
    elif suite.digest != asked["digest"]:
        raise UsageError("the suite's items are others than when this run began", remedy="begin a new run")
    preset = _preset(asked)
    main = ModelRef.parse(asked["model"]) if asked["model"] else None
    if suite.name == judged.VERDICTS:
        chosen = [Arm(f"solo:{model}", "judge", model) for model in _judges(asked)]
    else:
        of_suite = inspect_tasks if suite.of_inspect else loop_arms if suite.tasks else arms
        chosen = of_suite.parse(asked["wanted"], main=main, preset=preset)
    asked["arms"] = [arm.name for arm in chosen]
    judging = suite.name == judged.VERDICTS or any(item.scorer in ("rubric", "pairwise") for item in suite.items)
    if judging and not asked.get("judges"):
        raise UsageError(
            f"{'judge-check' if suite.name == judged.VERDICTS else suite.name} needs a model as the judge",
            remedy="name one with --judge ENDPOINT:MODEL[,ENDPOINT:MODEL]",
        )
    if suite.of_inspect:
        return asyncio.run(_in_inspect(arguments, config, suite, chosen, asked, kept))
    return asyncio.run(_go(arguments, config, suite, chosen, asked, kept))


def _asked(arguments: argparse.Namespace, config: Config) -> dict[str, Any]:
    """What a run is, so that it can be gone on with: nothing of the command line or of a preset's file is asked again."""
    if arguments.card:
        return _as_card(arguments, runs.read_card(Path(arguments.card).expanduser()))
    text = path = None
    if arguments.preset:
        path, text = store.text_of(arguments.preset, config_dir=config.paths.config)
    asked: dict[str, Any] = {
        "schema": 1,
        "source": _source(arguments.suite),
        "data": _data(arguments),
        "limit": arguments.limit,
        "seed": arguments.seed,
        "wanted": [name for name in arguments.arms.split(",") if name.strip()],
        "preset": {"name": arguments.preset, "path": str(path), "text": text} if text is not None else None,
        "pilot": arguments.verb == "pilot",
        "judges": [name.strip() for name in (arguments.judge or "").split(",") if name.strip()],
        "passes": arguments.passes,
        "date": time.strftime("%Y-%m-%d"),
    }
    preset = _preset(asked)
    asked["model"] = arguments.model or (preset.main if preset is not None else None) or config.single_model
    return _placed(arguments, asked)


def _as_card(arguments: argparse.Namespace, card: dict[str, Any]) -> dict[str, Any]:
    """The same as a card says it; its suite may be a file that is elsewhere here, and its model may have another name."""
    said = {"--preset": arguments.preset, "--limit": arguments.limit, "--judge": arguments.judge}
    said |= {"--arms": arguments.arms != "solo", "--seed": arguments.seed != 7, "--passes": arguments.passes != 1}
    if beside := [name for name, value in said.items() if value]:
        raise UsageError(
            f"{', '.join(beside)} is what a card says", remedy="leave it out, or run without --card: it is another run"
        )
    asked = {
        "schema": 1,
        "source": _source(arguments.suite or card.pop("suite")),
        "data": _data(arguments),
        "pilot": False,
        "date": time.strftime("%Y-%m-%d"),
        **{key: value for key, value in card.items() if key != "suite"},
    }
    asked["model"] = arguments.model or asked["model"]
    return _placed(arguments, asked)


def _placed(arguments: argparse.Namespace, asked: dict[str, Any]) -> dict[str, Any]:
    """With the engine that does it. Raises UsageError for what is no model."""
    if arguments.engine == "ray":
        asked |= {"engine": "ray", "store": arguments.store}
    elif arguments.store:
        raise UsageError("--store is where the machines of a cluster write", remedy="add --engine ray, or leave it out")
    if asked["model"] is not None:
        try:
            ModelRef.parse(asked["model"])
        except ValueError as error:
            raise UsageError(str(error), remedy="write --model ENDPOINT:MODEL") from error
    return asked


def _data(arguments: argparse.Namespace) -> str | None:
    return str(Path(arguments.data).expanduser().absolute()) if arguments.data else None


def _source(name: str) -> str:
    """The suite as it can be found from any folder."""
    before, colon, path = name.partition(":") if name.startswith(inspect_tasks.PREFIX) else ("", "", name)
    file, at, task = path.partition("@")
    if Path(path).is_file():
        return f"{before}{colon}{Path(path).absolute()}"
    return f"{before}{colon}{Path(file).absolute()}{at}{task}" if before and Path(file).is_file() else name


def _preset(asked: dict[str, Any]) -> Preset | None:
    kept = asked["preset"]
    return None if kept is None else read(kept["text"], name=kept["name"], path=Path(kept["path"]))


async def _go(
    arguments: argparse.Namespace,
    config: Config,
    suite: Suite,
    chosen: list[Arm],
    asked: dict[str, Any],
    kept: Run | None,
) -> tuple[Report, int]:
    from agent.client import make_client
    from moa.bench.counselled import lookups_for
    from moa.bench.marking import marker_for

    with closing(ledger(config)) as books:
        client = make_client(config, books, notice=lambda _code, text: say(f"· {text}"))
        try:
            budget = None if arguments.budget is None else nano_from_usd(arguments.budget)
            if kept is None:
                await _check(client, config, suite, chosen)
                asked["warnings"] = _kin(client, suite, chosen, asked)
                agree(client, suite, chosen, arguments, budget, asked)
                kept = runs.begin(root(config), asked, redact=config.redact)
            say(
                f"· run {kept.id}: {plural(len(suite.items), 'item')}, {plural(len(chosen), 'arm')}; resume with: moa bench run --resume {kept.id}"
            )
            if asked.get("engine") == "ray":
                stopped = await _on_ray(client, books, suite, chosen, asked, kept, budget)
                if stopped is not None or not arguments.retry_failed:
                    return _reported(kept, stopped)
                say("· what failed is asked again by this machine")
            loops = loops_of(config, books, client, kept, arguments.budget) if suite.tasks else None
            marker = marker_for(suite.items, config, client, asked.get("judges", ()), asked.get("passes", 1))
            lookups = None if suite.tasks else lookups_for([arm.preset for arm in chosen], config, client)
            if asked.get("pilot"):
                stopped = await pairs(client, suite, chosen, kept, budget, loops, marker, lookups, books)
            else:
                if arguments.retry_failed and (failed := _failed(kept)):
                    agree(client, suite, chosen, arguments, budget, asked, failed)
                stopped = await engine.run(
                    client,
                    suite,
                    chosen,
                    kept,
                    loops=loops,
                    marker=marker,
                    lookups=lookups,
                    budget_nano=budget,
                    ledger=books,
                    retry=arguments.retry_failed,
                    progress=_progress,
                )
        finally:
            await client.aclose()
    return _reported(kept, stopped)


async def _in_inspect(
    arguments: argparse.Namespace,
    config: Config,
    suite: Suite,
    chosen: list[Arm],
    asked: dict[str, Any],
    kept: Run | None,
) -> tuple[Report, int]:
    """A task of Inspect, done by Inspect, with the arms as its models."""
    from moa.bench.inspecting import serving

    if asked.get("pilot") or asked.get("engine") == "ray":
        raise UsageError("a task of Inspect is run as a bench on this machine", remedy="moa bench run inspect:TASK")
    budget = None if arguments.budget is None else nano_from_usd(arguments.budget)
    try:
        fresh = kept is None
        if kept is None:
            quote = f"{plural(len(suite.items), 'sample')} in {plural(len(chosen), 'arm')}, with as many calls as the task makes"
            _agreed(arguments, quote + ("" if budget is None else f", capped at {show_usd(budget)}"))
            asked["warnings"] = []
            kept = runs.begin(root(config), asked, redact=config.redact)
        elif arguments.retry_failed and (failed := _failed(kept)):
            _agreed(arguments, f"{plural(len(failed), 'failed sample')} asked again")
        try:
            server = inspect_tasks.open_server(config, chosen, kept.id, budget)
        except UsageError:
            if fresh:  # nothing was asked: no run was begun
                (kept.folder / "run.json").unlink()
                kept.folder.rmdir()
            raise
        say(f"· run {kept.id}: resume with: moa bench run --resume {kept.id}")
        stopped = await inspect_tasks.run(
            server,
            asked["source"],
            suite,
            chosen,
            kept,
            judges=asked.get("judges", ()),
            budget_nano=budget,
            retry=arguments.retry_failed,
            progress=_progress,
        )
    finally:
        await serving.leave()
    return _reported(kept, stopped)


def _failed(kept: Run) -> set[tuple[str, str]]:
    """Items and arms that have failed so far."""
    last = {(result.item, result.arm): result.status for result in kept.results()}
    return {key for key, status in last.items() if status == "failed"}


def _reported(kept: Run, stopped: BudgetReached | None) -> tuple[Report, int]:
    found = reports.report(kept)
    kept.report(found)
    if stopped is not None:
        say(f"stopped: {stopped.message}")
    return Report(reports.view(found), found, ok=stopped is None), 3 if stopped is not None else 0


async def _on_ray(
    client: ModelClient,
    books: Ledger,
    suite: Suite,
    chosen: list[Arm],
    asked: dict[str, Any],
    kept: Run,
    budget: int | None,
) -> BudgetReached | None:
    """The same on a Ray cluster."""
    from moa.bench.cluster import driver
    from moa.bench.cluster.store import Store

    with driver.connected() as ray:
        cluster = driver.Cluster(
            ray,
            client,
            books,
            suite,
            chosen,
            kept,
            Store(asked["store"] or str(kept.folder / "store"), kept.id),
            asked.get("judges", ()),
            asked.get("passes", 1),
            budget,
            _progress,
        )
        return await cluster.run()


async def _check(client: ModelClient, config: Config, suite: Suite, chosen: list[Arm]) -> None:
    """Raises UsageError for what would end the run later."""
    if any(item.scorer in ("command", "python") for item in suite.items):
        from moa.bench.check import Checker

        await Checker(config).ready()
    if not suite.tasks:
        arms.check(client, chosen, suite.items[0])
        return
    for arm in chosen:
        loop_arms.check(client, arm)


def _judges(asked: dict[str, Any]) -> list[ModelRef]:
    return [arms.ref_of(name) for name in asked.get("judges", ())]


def _kin(client: ModelClient, suite: Suite, chosen: list[Arm], asked: dict[str, Any]) -> list[str]:
    """Warnings about the judges of a run, which are told now and in its report. Raises UsageError for one that can't be asked."""
    models = _judges(asked)
    for model in models:
        client.require_key(model.endpoint)
    if not models or suite.name == judged.VERDICTS:
        return []
    from moa.bench.judge.judge import Judges

    warnings = Judges(client, models).kin(arm.model for arm in chosen)
    for warning in warnings:
        say(f"· {warning}")
    return warnings


def loops_of(config: Config, books: Ledger, client: ModelClient, kept: Run, budget_usd: float | None) -> Loops:
    """The loops of a run, or of what has a folder like one."""
    from moa.bench.loop.runner import Loops

    return Loops(config, books, client, kept.folder, kept.id, engine.session_of(kept.id), budget_usd)


async def pairs(
    client: ModelClient,
    suite: Suite,
    chosen: list[Arm],
    kept: Run,
    budget: int | None,
    loops: Loops | None = None,
    marker: Marker | None = None,
    lookups: Lookups | None = None,
    books: Ledger | None = None,
) -> BudgetReached | None:
    """One pair after the other, until the pilot's word is final."""
    for number, item in enumerate(suite.items, 1):
        pair = Suite(suite.name, (item,))
        stopped = await engine.run(
            client,
            pair,
            chosen,
            kept,
            loops=loops,
            marker=marker,
            lookups=lookups,
            ledger=books,
            budget_nano=budget,
        )
        if stopped is not None or reports.verdict(kept).final:
            return stopped
        _progress(number, len(suite.items))
    return None


def agree(
    client: ModelClient,
    suite: Suite,
    chosen: list[Arm],
    arguments: argparse.Namespace,
    budget: int | None,
    asked: dict[str, Any],
    only: Collection[tuple[str, str]] | None = None,
) -> None:
    """Quote the run before anything is spent, or of one that was begun these items and arms. Raises UsageError where nobody agreed."""
    judges = [] if suite.name == judged.VERDICTS else _judges(asked)
    total = engine.bound(client, suite, chosen, judges, asked.get("passes", 1), only)
    calls = plural(total.known + total.unknown, "call")
    if total.unknown and budget is not None:
        raise UsageError(
            f"--budget can't be kept: the price of {total.unknown:,} of at most {calls} is not known",
            remedy="give the models' prices in config.toml (endpoints.NAME.models), or leave --budget out",
            kind="unpriced",
        )
    quote = "" if only is None else f"{plural(len(only), 'failed answer')} asked again: "
    quote += f"at most {calls}"
    if not total.unknown:
        quote += f", for at most {show_usd(total.nano)}"
    elif total.known:
        quote += f", {total.known:,} of them for at most {show_usd(total.nano)}; what the others cost is not known"
    else:
        quote += "; what they cost is not known"
    if budget is not None:
        quote += f", capped at {show_usd(budget)}"
    _agreed(arguments, quote, free=total.nano == 0 and total.unknown == 0)


def _agreed(arguments: argparse.Namespace, quote: str, *, free: bool = False) -> None:
    """Raises UsageError where nobody agreed to a price."""
    say(f"· {quote}")
    if arguments.yes or free:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        sys.stderr.write("Continue? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
        raise UsageError("not begun", remedy="--limit and --budget make a run smaller")
    raise UsageError(f"this run takes {quote}", remedy="--yes agrees; --budget USD and --limit N bound it")


def _progress(done: int, whole: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r· {done:,} of {whole:,} " + ("\n" if done == whole else ""))
        sys.stderr.flush()


def say(text: str) -> None:
    """Tell the user, beside the report."""
    print(text, file=sys.stderr)
