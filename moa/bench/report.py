"""From a run's lines to its report: arms, pairs, the vote and what a perfect choice would have made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, quantiles
from typing import Any

from agent.llm.money import NANO, show_cost
from agent.text.numbers import plural
from agent.views import MarkdownView, StackView, TableView, TreeView, View
from moa.bench import compliance, plot
from moa.bench.arms import Result
from moa.bench.cells import RIGHT, Cells, compare
from moa.bench.pilot import Verdict, judge
from moa.bench.runs import Run
from moa.bench.stats.agreement import kappa, kappa_interval
from moa.bench.stats.bootstrap import mean_interval
from moa.bench.stats.intervals import Interval, wilson

BASE = "solo"


def report(run: Run) -> dict[str, Any]:
    """The report of contracts.md, made from the run's lines alone: the same lines give the same report, to the last digit."""
    names: list[str] = run.asked["arms"]
    order = {item: at for at, item in enumerate(run.asked["items"])}
    by_arm: dict[str, dict[str, Result]] = {name: {} for name in names}
    for result in run.results():
        if result.arm in by_arm and result.item in order:
            by_arm[result.arm][result.item] = result  # of what was asked again the last one counts
    for name, results in by_arm.items():
        by_arm[name] = dict(sorted(results.items(), key=lambda entry: order[entry[0]]))
    seed = run.asked["seed"]
    pilot = verdict(run) if run.asked.get("pilot") else None
    scores = {name: {item: r.score for item, r in results.items()} for name, results in by_arm.items()}
    base = BASE if BASE in names else names[0]
    pairs = [
        compare(name, base, scores[name], _beside(run, scores, name, base), seed=seed) for name in names if name != base
    ]
    solos = [name for name in names if name.startswith("solo")]
    return {
        "schema": 1,
        "id": run.id,
        "suite": run.asked["suite"],
        "preset": (run.asked.get("preset") or {}).get("name"),
        "model": run.asked.get("model"),
        "digest": run.asked["digest"],
        "date": run.asked["date"],
        "seed": seed,
        "items": len(order),
        "simulated": any(r.simulated for results in by_arm.values() for r in results.values()),
        "arms": [_arm(name, list(by_arm[name].values()), seed, by_arm[base]) for name in names],
        "pairs": [_pair(cells) for cells in pairs],
        "oracle": _oracle([scores[name] for name in solos]),
        "vote": fmean(scores["vote"].values()) if scores.get("vote") else None,
        "best": max((fmean(scores[name].values()) for name in solos if scores[name]), default=None),
        "pilot": None if pilot is None else {"word": pilot.word, "wrong": pilot.chance, "why": pilot.why},
        "alone": _alone({name: scores[name] for name in solos}),
        "disagree": _disagree([scores[name] for name in solos]),
        "judging": _judging([result for results in by_arm.values() for result in results.values()], run.asked),
        "card": run.asked.get("card"),
        "groups": _groups(by_arm, run.asked.get("groups") or {}),
    }


def _beside(run: Run, scores: Mapping[str, Mapping[str, float]], name: str, base: str) -> Mapping[str, float]:
    """The scores that an arm is compared with. Where answers were compared in pairs, what one has the other has not."""
    if not run.asked.get("pairwise"):
        return scores[base]
    return {item: 1 - score for item, score in scores[name].items() if item in scores[base]}


def _judging(results: Sequence[Result], asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """What judges did, and what it cost; None where there were none."""
    if not asked.get("judges"):
        return None
    unknown = sum(result.judge_unknown for result in results)
    return {
        "judges": asked["judges"],
        "passes": asked.get("passes", 1),
        "warnings": asked.get("warnings", []),
        "calls": sum(len(result.judge_calls) for result in results),
        "cost": {"usd": sum(result.judge_nano for result in results) / NANO, "lower_bound": unknown > 0},
        "unverified": sum(result.unverified for result in results),
        "swayed": sum(result.swayed for result in results),
        "verdicts": sum(result.verdicts for result in results),
        "soft": sum(result.soft for result in results),
    }


def _agreement(results: Sequence[Result], seed: int) -> dict[str, Any] | None:
    """Of an arm that judges what was judged before: how far both agree; None for other arms."""
    said = [result for result in results if result.text in ("met", "unmet")]
    if not said or len(said) < sum(result.status == "done" for result in results):
        return None
    pairs = [(result.text == "met", (result.text == "met") == (result.score >= RIGHT)) for result in said]
    interval = kappa_interval(pairs, seed=seed)
    return {
        "kappa": kappa(pairs),
        "ci95": None if interval is None else list(interval),
        "met": fmean(one for one, _other in pairs),
        "stored_met": fmean(other for _one, other in pairs),
        "unverified": sum(result.unverified for result in said),
    }


def verdict(run: Run) -> Verdict:
    """What a pilot says by now: its pairs in the order of the items, up to the first that is not whole."""
    bare, counselled = run.asked["arms"]
    scores = {(result.arm, result.item): result.score for result in run.results()}
    differences = []
    for item in run.asked["items"]:
        if (bare, item) not in scores or (counselled, item) not in scores:
            break
        differences.append(scores[counselled, item] - scores[bare, item])
    return judge(differences, most=len(run.asked["items"]))


def _arm(name: str, results: Sequence[Result], seed: int, bare: Mapping[str, Result]) -> dict[str, Any]:
    scores = [result.score for result in results]
    graded = any(score not in (0.0, 1.0) for score in scores)
    interval: Interval = mean_interval(scores, seed=seed) if graded else wilson(int(sum(scores)), len(scores))
    seconds = [result.seconds for result in results if result.seconds is not None]
    unknown = sum(result.unknown for result in results)
    return {
        "name": name,
        "n": len(results),
        "failed": sum(result.status == "failed" for result in results),
        "refused": sum(result.status == "refused" for result in results),
        "blocked": sum(result.status == "blocked" for result in results),
        "retried": sum(result.tried > 0 for result in results),
        "score": fmean(scores) if scores else None,
        "ci95": list(interval),
        "cost": {"usd": sum(result.cost_nano for result in results) / NANO, "lower_bound": unknown > 0},
        "tokens": sum(result.tokens for result in results),
        "p50_s": _quantile(seconds, 50),
        "p95_s": _quantile(seconds, 95),
        "calls": sum(len(result.calls) for result in results),
        "served": sorted({model for result in results for model in result.served}),
        "stopped_early": sum(result.stopped for result in results),
        "loop": _loop(results, bare),
        "agreement": _agreement(results, seed),
    }


def _loop(results: Sequence[Result], bare: Mapping[str, Result]) -> dict[str, Any] | None:
    """Of tasks: the main model's calls, and what became of the counsels; None of questions. `bare` are the base arm's, by item."""
    if not any(result.steps for result in results):
        return None
    kinds = ("taken", "sent", "followed", "ignored", "untold")
    counted = {kind: sum(result.counsel.get(kind, 0) for result in results) for kind in kinds}
    return {"steps": sum(result.steps for result in results), **counted, "beside": compliance.beside(results, bare)}


def _groups(by_arm: Mapping[str, Mapping[str, Result]], groups: Mapping[str, str]) -> list[dict[str, Any]]:
    """The score of each arm in each group of items, where a suite has some."""
    found = []
    for group in dict.fromkeys(groups.values()):
        items = [item for item, name in groups.items() if name == group]
        scores = {name: [results[item].score for item in items if item in results] for name, results in by_arm.items()}
        shares = {name: fmean(each) if each else None for name, each in scores.items()}
        found.append({"group": group, "items": len(items), "scores": shares})
    return found


def _pair(cells: Cells) -> dict[str, Any]:
    return {
        "arm": cells.arm,
        "against": cells.against,
        "right_right": cells.right_right,
        "right_wrong": cells.right_wrong,
        "wrong_right": cells.wrong_right,
        "wrong_wrong": cells.wrong_wrong,
        "p": cells.p,
        "delta": cells.delta,
        "ci95": list(cells.ci95),
    }


def _oracle(solos: Sequence[Mapping[str, float]]) -> float | None:
    """The mean of each item's best solo score, on the items that all have: what a perfect choice among them would score."""
    items = [item for item in solos[0] if all(item in scores for scores in solos)] if solos else []
    return fmean(max(scores[item] for scores in solos) for item in items) if items else None


def _alone(solos: Mapping[str, Mapping[str, float]]) -> dict[str, int]:
    """How often each solo arm was right where all others were wrong."""
    found = dict.fromkeys(solos, 0)
    if len(solos) < 2:
        return {}
    for item in {item for scores in solos.values() for item in scores}:
        right = [name for name, scores in solos.items() if scores.get(item, 0.0) >= RIGHT]
        if len(right) == 1:
            found[right[0]] += 1
    return found


def _disagree(solos: Sequence[Mapping[str, float]]) -> float | None:
    """The share of items on which some solo arms were right and others were not, of those that all have."""
    items = [item for item in solos[0] if all(item in scores for scores in solos)] if len(solos) > 1 else []
    return fmean(len({scores[item] >= RIGHT for scores in solos}) > 1 for item in items) if items else None


def _quantile(values: Sequence[float], percent: int) -> float | None:
    if not values:
        return None
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]


def view(found: Mapping[str, Any]) -> View:
    """The report for people."""
    rows = [_arm_row(arm) for arm in found["arms"]]
    blocks: list[View] = [
        MarkdownView(
            text=f"**{found['suite']}** · {plural(found['items'], 'item')} · seed {found['seed']} · run `{found['id']}`{about(found)}"
        ),
        TableView(
            columns=("arm", "score", "95 %", "items", "failed", "cost", "tokens", "p50", "p95"),
            rows=tuple(rows),
            align="lllrrrrrr",
        ),
    ]
    if (pilot := found["pilot"]) is not None:
        text = f"**{pilot['word']}** (chance of being wrong: {_percent(pilot['wrong'])}): {pilot['why']}."
        cells = ("right_right", "right_wrong", "wrong_right", "wrong_wrong")
        paired = any(pair[cell] for pair in found["pairs"] for cell in cells)
        blocks.insert(0, MarkdownView(text=text if paired else "**No word yet**: no pair was answered."))
    if found["simulated"]:
        blocks.append(MarkdownView(text="Stored answers: tokens and times that nobody recorded are simulated."))
    blocks += [MarkdownView(text=line) for line in (card_line(found), retried_line(found)) if line]
    if found["pairs"]:
        blocks.append(
            TableView(
                columns=("arm", "against", "both right", "harm", "help", "both wrong", "difference", "95 %", "p"),
                rows=tuple(_pair_row(pair) for pair in found["pairs"]),
                align="llrrrrlll",
            )
        )
    if len((drawing := plot.of(found["arms"])).points) > 1:
        blocks.append(TreeView(label="What quality costs: score over cost an item", text=plot.drawn(drawing)))
        blocks += [MarkdownView(text=plot.hidden(drawing))] if drawing.hidden else []
    blocks += tables_of_tasks(found)
    blocks += _of_judges(found)
    if lines := solo_lines(found):
        blocks.append(MarkdownView(text="\n\n".join(lines)))
    return StackView(views=tuple(blocks))


def card_line(found: Mapping[str, Any]) -> str | None:
    """What the card says of which this is a repetition; None where it is none."""
    if (card := found["card"]) is None:
        return None
    arms = (
        f"{arm['name']} {_percent(arm['score'])} ({' to '.join(map(_percent, arm['ci95']))})" for arm in card["arms"]
    )
    return f"The same items as in run {card['id']} of {card['date']}, which had: {'; '.join(arms)}."


def retried_line(found: Mapping[str, Any]) -> str | None:
    """How many items were asked again because they had failed, by arm; None where none were."""
    again = [f"{arm['name']} {arm['retried']}" for arm in found["arms"] if arm["retried"]]
    return (
        f"Asked again after a failure: {', '.join(again)}. What the failed attempts cost is in these figures."
        if again
        else None
    )


MOST_NAMED = 6


def about(found: Mapping[str, Any]) -> str:
    """The preset, and who answered as their endpoints name them; what follows the name of a run."""
    text = f" · preset {found['preset']}" if found["preset"] else ""
    served = sorted({model for arm in found["arms"] for model in arm["served"]})
    if not served:
        return text
    more = len(served) - MOST_NAMED
    return f"{text} · answered by {', '.join(served[:MOST_NAMED])}" + (f" and {more} more" if more > 0 else "")


def no_answer(arm: Mapping[str, Any]) -> str:
    """How many items of an arm count as wrong because there is no answer, or nobody could judge it: those that failed, and the others by name."""
    apart = [f"{arm[kind]} {kind}" for kind in ("refused", "blocked") if arm[kind]]
    return ", ".join([*([str(arm["failed"])] if arm["failed"] or apart else []), *apart])


def solo_lines(found: Mapping[str, Any]) -> list[str]:
    """What a perfect choice among the solo arms would make, what the vote makes of it, and who was right alone."""
    if found["oracle"] is None or len(found["alone"]) < 2:
        return []
    text = f"Best single {_percent(found['best'])} · at least one right {_percent(found['oracle'])}"
    if found["vote"] is not None:
        text += f" · vote {_percent(found['vote'])}, {100 * (found['oracle'] - found['vote']):.1f} points below"
    if found.get("disagree") is not None:
        text += f" · they disagree on {_percent(found['disagree'])} of the items"
    alone = [f"{name} {count}" for name, count in found["alone"].items() if count]
    return [text, *([f"Right where all others were wrong: {', '.join(alone)}"] if alone else [])]


def tables_of_tasks(found: Mapping[str, Any]) -> list[TableView]:
    """What there is to say of tasks alone."""
    blocks: list[TableView] = []
    if any(arm["loop"] for arm in found["arms"]):
        rows = []
        for arm in found["arms"]:
            loop = arm["loop"] or {}
            sent, told = loop.get("sent", 0), loop.get("followed", 0) + loop.get("ignored", 0)
            share = _percent(loop["followed"] / told) if told else ""
            cells = [loop.get("steps", 0) / max(1, arm["n"]), loop.get("taken", 0), sent, loop.get("followed", 0)]
            beside = loop.get("beside")
            anyway = _percent(beside["anyway"] / beside["told"]) if beside else ""
            shown = (f"{cells[0]:.1f}", *map(str, cells[1:]), share, anyway, str(loop.get("untold", 0)))
            rows.append((arm["name"], *shown))
        columns = (
            "arm",
            "steps a task",
            "counsels",
            "sent",
            "followed",
            "of those to be told",
            "done without",
            "not to be told",
        )
        blocks.append(TableView(columns=columns, rows=tuple(rows), align="lrrrrrrr"))
    if found["groups"]:
        names = [arm["name"] for arm in found["arms"]]
        rows = [
            (each["group"], str(each["items"]), *(_percent(each["scores"][name]) for name in names))
            for each in found["groups"]
        ]
        blocks.append(TableView(columns=("kind", "items", *names), rows=tuple(rows), align="lr" + "r" * len(names)))
    return blocks


def _of_judges(found: Mapping[str, Any]) -> list[View]:
    blocks: list[View] = []
    rows = []
    for arm in found["arms"]:
        if (agreed := arm["agreement"]) is not None:
            shown = "" if agreed["kappa"] is None else f"{agreed['kappa']:.2f}"
            ends = "" if agreed["ci95"] is None else "{:.2f} to {:.2f}".format(*agreed["ci95"])
            shares = (_percent(arm["score"]), shown, ends, _percent(agreed["met"]), _percent(agreed["stored_met"]))
            rows.append((arm["name"], *shares, str(agreed["unverified"])))
    if rows:
        columns = ("judge", "agrees", "kappa", "95 %", "says met", "stored: met", "quotes not in the text")
        blocks.append(TableView(columns=columns, rows=tuple(rows), align="lrrlrrr"))
    if lines := judging_lines(found):
        blocks.append(MarkdownView(text="\n\n".join(lines)))
    return blocks


def judging_lines(found: Mapping[str, Any]) -> list[str]:
    """Who judged, at what cost, and what is to be known of it."""
    if (judging := found["judging"]) is None:
        return []
    cost = show_cost(judging["cost"]["usd"], judging["cost"]["lower_bound"])
    text = f"Judged by {', '.join(judging['judges'])}"
    # Where judges are what is compared, their calls are the arms'.
    text += f": {plural(judging['calls'], 'call')}, {cost}" if judging["calls"] else ""
    text += f" · quotes not in the text: {judging['unverified']}" if judging["unverified"] else ""
    if judging["verdicts"]:
        text += f" · weighed by log-probabilities: {judging['soft']} of {plural(judging['verdicts'], 'verdict')}"
    text += f" · preferences that changed with the order: {judging['swayed']}" if judging["swayed"] else ""
    return [text, *judging["warnings"]]


def _arm_row(arm: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        arm["name"],
        _percent(arm["score"]),
        f"{_percent(arm['ci95'][0])} to {_percent(arm['ci95'][1])}",
        str(arm["n"]),
        no_answer(arm),
        show_cost(arm["cost"]["usd"], arm["cost"]["lower_bound"]),
        f"{arm['tokens']:,}",
        *("" if arm[key] is None else f"{arm[key]:.1f} s" for key in ("p50_s", "p95_s")),
    )


def _pair_row(pair: Mapping[str, Any]) -> tuple[str, ...]:
    cells = (str(pair[key]) for key in ("right_right", "right_wrong", "wrong_right", "wrong_wrong"))
    lo, hi = pair["ci95"]
    return (
        pair["arm"],
        pair["against"],
        *cells,
        f"{100 * pair['delta']:+.1f} points",
        f"{100 * lo:+.1f} to {100 * hi:+.1f}",
        f"{pair['p']:.3g}",
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
