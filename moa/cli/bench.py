"""`moa bench` and `moa worth`: what they do."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from agent.admin.report import Report
from agent.admin.sessions import configuration, ledger
from agent.errors import UsageError
from agent.llm.money import nano_from_usd
from agent.text.numbers import plural
from agent.views import MarkdownView, TableView, TreeView
from moa.bench import arms, runs, stored, suites
from moa.bench import report as reports
from moa.bench.arms import Arm
from moa.bench.items import Item, Suite
from moa.bench.loop import arms as loop_arms
from moa.cli import bench_run
from moa.store import store
from moa.store.reading import read

if TYPE_CHECKING:
    import argparse

    from agent.config.config import Config


def answer(arguments: argparse.Namespace) -> tuple[Report, int]:
    """Do what a verb says; the report, and the exit code. Raises UsageError."""
    return VERBS[arguments.verb](arguments)


def _list(_arguments: argparse.Namespace) -> tuple[Report, int]:
    found = runs.all_runs(bench_run.root(configuration()))
    data, rows = [], []
    for run in found:
        arms, suite = run.asked["arms"], run.asked["suite"]
        try:
            done, whole = run.done
        except UsageError as error:
            data.append({"id": run.id, "suite": suite, "arms": arms, "error": error.message})
            rows.append((run.id, suite, ", ".join(arms), "can't be read"))
            continue
        data.append({"id": run.id, "suite": suite, "arms": arms, "results": done, "of": whole})
        rows.append((run.id, suite, ", ".join(arms), f"{done:,} of {whole:,}"))
    columns = ("run", "suite", "arms", "results")
    view = TableView(columns=columns, rows=tuple(rows)) if rows else MarkdownView(text="No bench run so far.")
    return Report(view, {"runs": data}), 0


def _show(arguments: argparse.Namespace) -> tuple[Report, int]:
    found = reports.report(runs.resume(bench_run.root(configuration()), arguments.id))
    return Report(reports.view(found), found), 0


def _report(arguments: argparse.Namespace) -> tuple[Report, int]:
    found = reports.report(runs.resume(bench_run.root(configuration()), arguments.id))
    if arguments.html:
        from agent.files.own_files import write_atomically
        from moa.bench.page import page

        path = Path(arguments.html).expanduser()
        write_atomically(path, page(found).encode(), mode=0o644)
        return Report(MarkdownView(text=f"Written: `{path}`"), {**found, "html": str(path)}), 0
    return Report(reports.view(found), found), 0


def _card(arguments: argparse.Namespace) -> tuple[Report, int]:
    """One file that another person can run again."""
    run = runs.resume(bench_run.root(configuration()), arguments.id)
    card = runs.card(run, reports.report(run))
    return Report(TreeView(label="", text=json.dumps(card)), card), 0


def _whatif(arguments: argparse.Namespace) -> tuple[Report, int]:
    return asyncio.run(_again(arguments, configuration()))


async def _again(arguments: argparse.Namespace, config: Config) -> tuple[Report, int]:
    """Do turns of a conversation again, with a panel and without."""
    from dataclasses import asdict

    from agent.client import make_client
    from moa.bench.check import Checker
    from moa.bench.own_work import whatif

    source = whatif.Source(config.paths.sessions, arguments.session, config.paths.state, redact=config.redact)
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
        client = make_client(config, books, notice=lambda _code, said: bench_run.say(f"· {said}"))
        try:
            for arm in pair:
                loop_arms.check(client, arm)
            budget = None if arguments.budget is None else nano_from_usd(arguments.budget)
            bench_run.agree(client, suite, pair, arguments, budget, {})
            kept = runs.unlisted(bench_run.root(config), "whatif")
            loops = bench_run.loops_of(config, books, client, kept, arguments.budget)
            found, stopped = await whatif.go(source, turns, loops, main, preset, gates, bench_run.say)
        finally:
            await client.aclose()
    data = {"id": kept.id, "gates": list(gates), "whatif": [asdict(each) for each in found]}
    if stopped is not None:
        bench_run.say(f"stopped: {stopped.message}")
    return Report(whatif.view(found, gates, kept.folder), data, ok=stopped is None), 3 if stopped is not None else 0


def _worth(_arguments: argparse.Namespace) -> tuple[Report, int]:
    from moa.bench.own_work import worth

    found = worth.judge(worth.outcomes(configuration().paths.sessions))
    return Report(worth.view(found), worth.plain(found)), 0


def _export(arguments: argparse.Namespace) -> tuple[Report, int]:
    from moa.bench.inspecting import export

    run = runs.resume(bench_run.root(configuration()), arguments.id)
    asked = run.asked
    try:
        data = Path(asked["data"]) if asked["data"] else None
        suite = suites.load(asked["source"], data=data, limit=asked["limit"], seed=asked["seed"])
        items = {item.id: item for item in suite.items} if suite.digest == asked["digest"] else {}
    except UsageError:  # its data is not here any more
        items = {}
    folder = Path(arguments.inspect).expanduser()
    paths = [str(path) for path in export.export(run, items, reports.report(run), folder)]
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


VERBS = {
    "run": bench_run.run,
    "pilot": bench_run.run,
    "judge-check": bench_run.run,
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
