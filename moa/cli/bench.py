"""`moa bench` and `moa worth`: what they do."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.admin.report import Report
from agent.admin.sessions import configuration, ledger
from agent.errors import UsageError
from agent.llm.money import nano_from_usd, show_usd
from agent.llm.request import ModelRef
from agent.text.numbers import plural
from agent.views import MarkdownView, TableView
from moa.bench import arms, engine, judged, runs, stored, suites
from moa.bench import report as reports
from moa.bench.arms import Arm
from moa.bench.items import Item, Suite
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


def answer(arguments: argparse.Namespace) -> tuple[Report, int]:
    """Do what a verb says; the report, and the exit code. Raises UsageError."""
    return VERBS[arguments.verb](arguments)


def _root(config: Config) -> Path:
    return config.paths.state / "bench"


def _list(_arguments: argparse.Namespace) -> tuple[Report, int]:
    found = runs.all_runs(_root(configuration()))
    data = [{"id": run.id, "suite": run.asked.get("suite"), "arms": run.asked.get("arms")} for run in found]
    rows = tuple((run.id, str(run.asked.get("suite")), ", ".join(run.asked.get("arms", ()))) for run in found)
    view = TableView(columns=("run", "suite", "arms"), rows=rows) if rows else MarkdownView(text="No bench run so far.")
    return Report(view, {"runs": data}), 0


def _show(arguments: argparse.Namespace) -> tuple[Report, int]:
    found = reports.report(runs.resume(_root(configuration()), arguments.id))
    return Report(reports.view(found), found), 0


def _report(arguments: argparse.Namespace) -> tuple[Report, int]:
    found = reports.report(runs.resume(_root(configuration()), arguments.id))
    if arguments.html:
        from agent.files.own_files import write_atomically
        from moa.bench.page import page

        path = Path(arguments.html).expanduser()
        write_atomically(path, page(found).encode(), mode=0o644)
        return Report(MarkdownView(text=f"Written: `{path}`"), {**found, "html": str(path)}), 0
    return Report(reports.view(found), found), 0


def _card(arguments: argparse.Namespace) -> tuple[Report, int]:
    """One file that another person can run again: what was asked, with the preset's text, and what came of it."""
    run = runs.resume(_root(configuration()), arguments.id)
    found = reports.report(run)
    served = sorted({model for result in run.results() for model in result.served})
    card = {
        "card": 1,
        **{key: run.asked[key] for key in ("preset", "model", "wanted", "limit")},
        "judges": run.asked.get("judges", []),
        "passes": run.asked.get("passes", 1),
        "served": served,
        "report": found,
    }
    return Report(MarkdownView(text=f"```json\n{json.dumps(card, indent=1, ensure_ascii=False)}\n```"), card), 0


def _whatif(arguments: argparse.Namespace) -> tuple[Report, int]:
    return asyncio.run(_again(arguments, configuration()))


async def _again(arguments: argparse.Namespace, config: Config) -> tuple[Report, int]:
    """Do turns of a conversation again, with a panel and without."""
    from dataclasses import asdict

    from agent.client import make_client
    from moa.bench.check import Checker
    from moa.bench.own_work import whatif

    source = whatif.Source(config.paths.sessions, arguments.session, config.paths.state)
    path, text = store.text_of(arguments.preset, config_dir=config.paths.config)
    preset = read(text, name=arguments.preset, path=Path(path))
    main = arms.ref_of(arguments.model or preset.main or source.model or config.model or "")
    turns = source.turns()
    if arguments.turn is not None:
        turns = [turn for turn in turns if turn.number == arguments.turn]
    if not (turns := turns[-arguments.limit :]):
        raise UsageError("there is no such turn in this session", remedy=f"moa session show {source.session.id}")
    gates = (*source.gates, *arguments.gate)
    await Checker(config).ready()
    pair = [Arm("solo", "loop", main), Arm("counsel", "loop", main, preset=preset)]
    suite = Suite(
        "whatif", tuple(Item(str(turn.number), turn.prompt, "", "command", files=(("", ""),)) for turn in turns)
    )
    with closing(ledger(config)) as books:
        client = make_client(config, books, notice=lambda _code, said: _say(f"· {said}"))
        try:
            for arm in pair:
                loop_arms.check(client, arm)
            budget = None if arguments.budget is None else nano_from_usd(arguments.budget)
            _agree(client, suite, pair, arguments, budget, {})
            kept = runs.unlisted(_root(config), "whatif")
            loops = _loops(config, books, client, kept, arguments.budget)
            found, stopped = await whatif.go(source, turns, loops, main, preset, gates, _say)
        finally:
            await client.aclose()
    data = {"id": kept.id, "gates": list(gates), "whatif": [asdict(each) for each in found]}
    if stopped is not None:
        _say(f"stopped: {stopped.message}")
    return Report(whatif.view(found, gates, kept.folder), data, ok=stopped is None), 3 if stopped is not None else 0


def _worth(_arguments: argparse.Namespace) -> tuple[Report, int]:
    from moa.bench.own_work import worth

    found = worth.judge(worth.outcomes(configuration().paths.sessions))
    return Report(worth.view(found), worth.plain(found)), 0


def _export(arguments: argparse.Namespace) -> tuple[Report, int]:
    from moa.bench import inspect_log

    run = runs.resume(_root(configuration()), arguments.id)
    asked = run.asked
    try:
        data = Path(asked["data"]) if asked["data"] else None
        suite = suites.load(asked["source"], data=data, limit=asked["limit"], seed=asked["seed"])
        items = {item.id: item for item in suite.items} if suite.digest == asked["digest"] else {}
    except UsageError:  # its data is not here any more
        items = {}
    folder = Path(arguments.inspect).expanduser()
    paths = [str(path) for path in inspect_log.export(run, items, reports.report(run), folder)]
    text = f"{len(paths)} log{'' if len(paths) == 1 else 's'} in `{folder}`. To look at them: `inspect view --log-dir {folder}`"
    return Report(MarkdownView(text=text), {"logs": paths}), 0


def _advise(_arguments: argparse.Namespace) -> tuple[Report, int]:
    from moa.bench.own_work import advice

    config = configuration()
    found = advice.advise(config.paths.state, config.paths.sessions)
    rows = [{"about": each.about, "advice": each.word, "why": each.why} for each in found]
    return Report(advice.view(found), {"advice": rows}), 0


def _replay(arguments: argparse.Namespace) -> tuple[Report, int]:
    from moa.bench import replays

    if arguments.suite not in stored.FILES:
        raise UsageError(
            f"there are no stored answers to {arguments.suite!r}", remedy=f"use one of {', '.join(stored.FILES)}"
        )
    out = Path(arguments.out).expanduser()
    models, count = replays.write(arguments.suite, out, _data(arguments))
    text = f'{plural(count, "answer")} of {plural(models, "model")}: `{out}`. Name it as `answers` of an endpoint with `dialect = "replay"`.'
    return Report(MarkdownView(text=text), {"models": models, "answers": count, "file": str(out)}), 0


def _data(arguments: argparse.Namespace) -> Path | None:
    return Path(arguments.data).expanduser() if arguments.data else None


def _run(arguments: argparse.Namespace) -> tuple[Report, int]:
    config = configuration()
    kept = runs.resume(_root(config), arguments.resume) if arguments.resume else None
    if kept is None and not arguments.suite:
        raise UsageError(
            "which suite?", remedy=f"name one of {', '.join(suites.NAMES)}, or the path of a JSON Lines file"
        )
    asked = kept.asked if kept is not None else _asked(arguments, config)
    if kept is None and arguments.go_on and (kept := runs.begun(_root(config), asked)) is not None:
        asked = kept.asked
    data = Path(asked["data"]) if asked["data"] else None
    suite = suites.load(asked["source"], data=data, limit=asked["limit"], seed=asked["seed"])
    if kept is None:
        asked |= {"digest": suite.digest, "suite": suite.name, "items": [item.id for item in suite.items]}
        asked["pairwise"] = suite.pairwise
        asked["groups"] = {item.id: item.group for item in suite.items if item.group}
    elif suite.digest != asked["digest"]:
        raise UsageError("the suite's items are others than when this run began", remedy="begin a new run")
    preset = _preset(asked)
    main = ModelRef.parse(asked["model"]) if asked["model"] else None
    if suite.name == judged.VERDICTS:
        chosen = [Arm(f"solo:{model}", "judge", model) for model in _judges(asked)]
    else:
        chosen = (loop_arms if suite.tasks else arms).parse(asked["wanted"], main=main, preset=preset)
    asked["arms"] = [arm.name for arm in chosen]
    judging = suite.name == judged.VERDICTS or any(item.scorer in ("rubric", "pairwise") for item in suite.items)
    if judging and not asked.get("judges"):
        raise UsageError(
            f"{'judge-check' if suite.name == judged.VERDICTS else suite.name} needs a model as the judge",
            remedy="name one with --judge ENDPOINT:MODEL[,ENDPOINT:MODEL]",
        )
    return asyncio.run(_go(arguments, config, suite, chosen, asked, kept))


def _asked(arguments: argparse.Namespace, config: Config) -> dict[str, Any]:
    """What a run is, so that it can be gone on with: nothing of the command line or of a preset's file is asked again."""
    text = path = None
    if arguments.preset:
        path, text = store.text_of(arguments.preset, config_dir=config.paths.config)
    asked: dict[str, Any] = {
        "schema": 1,
        "source": str(Path(arguments.suite).absolute()) if Path(arguments.suite).is_file() else arguments.suite,
        "data": str(Path(arguments.data).expanduser().absolute()) if arguments.data else None,
        "limit": arguments.limit,
        "seed": arguments.seed,
        "wanted": [name for name in arguments.arms.split(",") if name.strip()],
        "preset": {"name": arguments.preset, "path": str(path), "text": text} if text is not None else None,
        "pilot": arguments.verb == "pilot",
        "judges": [name.strip() for name in (arguments.judge or "").split(",") if name.strip()],
        "passes": arguments.passes,
        "date": time.strftime("%Y-%m-%d"),
    }
    if arguments.engine == "ray":
        asked |= {"engine": "ray", "store": arguments.store}
    elif arguments.store:
        raise UsageError("--store is where the machines of a cluster write", remedy="add --engine ray, or leave it out")
    preset = _preset(asked)
    asked["model"] = arguments.model or (preset.main if preset is not None else None) or config.single_model
    if asked["model"] is not None:
        try:
            ModelRef.parse(asked["model"])
        except ValueError as error:
            raise UsageError(str(error), remedy="write --model ENDPOINT:MODEL") from error
    return asked


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
    from moa.bench.marking import marker_for

    with closing(ledger(config)) as books:
        client = make_client(config, books, notice=lambda _code, text: _say(f"· {text}"))
        try:
            budget = None if arguments.budget is None else nano_from_usd(arguments.budget)
            if kept is None:
                await _check(client, config, suite, chosen)
                asked["warnings"] = _kin(client, suite, chosen, asked)
                _agree(client, suite, chosen, arguments, budget, asked)
                kept = runs.begin(_root(config), asked)
            _say(
                f"· run {kept.id}: {plural(len(suite.items), 'item')}, {plural(len(chosen), 'arm')}; resume with: moa bench run --resume {kept.id}"
            )
            if asked.get("engine") == "ray":
                stopped = await _on_ray(client, books, suite, chosen, asked, kept, budget)
                return _reported(kept, stopped)
            loops = _loops(config, books, client, kept, arguments.budget) if suite.tasks else None
            marker = marker_for(suite.items, config, client, asked.get("judges", ()), asked.get("passes", 1))
            if asked.get("pilot"):
                stopped = await _pairs(client, suite, chosen, kept, budget, loops, marker)
            else:
                stopped = await engine.run(
                    client, suite, chosen, kept, loops=loops, marker=marker, budget_nano=budget, progress=_progress
                )
        finally:
            await client.aclose()
    return _reported(kept, stopped)


def _reported(kept: Run, stopped: BudgetReached | None) -> tuple[Report, int]:
    found = reports.report(kept)
    kept.report(found)
    if stopped is not None:
        _say(f"stopped: {stopped.message}")
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
        _say(f"· {warning}")
    return warnings


def _loops(config: Config, books: Ledger, client: ModelClient, kept: Run, budget_usd: float | None) -> Loops:
    from moa.bench.loop.runner import Loops

    return Loops(config, books, client, kept.folder, kept.id, engine.session_of(kept.id), budget_usd)


async def _pairs(
    client: ModelClient,
    suite: Suite,
    chosen: list[Arm],
    kept: Run,
    budget: int | None,
    loops: Loops | None = None,
    marker: Marker | None = None,
) -> BudgetReached | None:
    """One pair after the other, until the pilot's word is final."""
    for number, item in enumerate(suite.items, 1):
        pair = Suite(suite.name, (item,))
        stopped = await engine.run(client, pair, chosen, kept, loops=loops, marker=marker, budget_nano=budget)
        if stopped is not None or reports.verdict(kept).final:
            return stopped
        _progress(number, len(suite.items))
    return None


def _agree(
    client: ModelClient,
    suite: Suite,
    chosen: list[Arm],
    arguments: argparse.Namespace,
    budget: int | None,
    asked: dict[str, Any],
) -> None:
    """Quote the run before anything is spent. Raises UsageError where nobody agreed."""
    judges = [] if suite.name == judged.VERDICTS else _judges(asked)
    total = engine.bound(client, suite, chosen, judges, asked.get("passes", 1))
    calls = total.known + total.unknown
    price = (
        show_usd(total.nano)
        if not total.unknown
        else "a price that nobody knows"
        if not total.nano
        else f"more than {show_usd(total.nano)}"
    )
    quote = f"at most {plural(calls, 'call')}, for {'' if total.unknown else 'at most '}{price}"
    if budget is not None:
        quote += f", capped at {show_usd(budget)}"
    _say(f"· {quote}")
    if arguments.yes or (total.nano == 0 and total.unknown == 0):
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


def _say(text: str) -> None:
    print(text, file=sys.stderr)


VERBS = {
    "run": _run,
    "pilot": _run,
    "judge-check": _run,
    "list": _list,
    "show": _show,
    "report": _report,
    "replay": _replay,
    "card": _card,
    "advise": _advise,
    "worth": _worth,
    "export": _export,
    "whatif": _whatif,
}
