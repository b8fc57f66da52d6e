"""A tiny question to every member of a preset: what works, how fast, at what price."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent.admin import sessions
from agent.admin.report import Report
from agent.llm.money import NANO, show_usd
from agent.views import TableView
from moa import preflight
from moa.admin import exchange
from moa.aggregate import comparer
from moa.aggregate.methods import METHODS

if TYPE_CHECKING:
    from agent.llm.client import ModelClient
    from agent.llm.request import ModelRef
    from moa.preset.preset import Preset

PROBE_TOKENS = 256
PROBE_S = 45.0
"""Seconds that a member has for its tiny question: a program that waits for a login would wait for ever."""


async def probed(name: str, preset: Preset, client: ModelClient, main: ModelRef | None) -> Report:
    """Ask every member, the aggregator and the main model. Raises UsageError for tools that can't run here."""
    preflight.check_tools(preset, exchange.member_tools())
    seats = list(preflight.models(preset, main))
    if METHODS[preset.aggregate].needs_model and not preset.aggregator.model:
        chosen, _seat = comparer.seat(preset, client, main)
        seats = [(f"{key}, aggregator" if model == chosen else key, model) for key, model in seats]
    if main is not None:
        seats.append(("main", main))
    probes = await asyncio.gather(*(_probe(client, where, model) for where, model in seats))
    view = TableView(
        title=f"{name}: {preset.source}",
        columns=("who", "model", "state", "first token", "cost", "$/M in", "$/M out"),
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
        async with asyncio.timeout(PROBE_S):
            reply = await client.complete(ask, CallContext("probe"))
    except TimeoutError:
        return {**probe, "state": _no_answer(client, model)}
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
        "price": sessions.facts_json(client.facts(model))["price"],
    }


def _no_answer(client: ModelClient, model: ModelRef) -> str:
    """What to do about a member that says nothing."""
    told = f"no answer within {PROBE_S:g} s, stopped"
    if command := client.endpoint(model.endpoint).command:
        return f"{told}: start {command[0]} once by itself; it may be waiting for you to log in"
    return f"{told}: is the server busy, or loading a model?"


def _row(probe: dict[str, Any]) -> tuple[str, ...]:
    seat = (probe["seat"], probe["model"], probe["state"])
    if not probe["ok"]:
        return (*seat, "", "", "", "")
    first = "" if probe["ttft_s"] is None else f"{probe['ttft_s']:.2f} s"
    cost = None if probe["cost_usd"] is None else round(probe["cost_usd"] * NANO)
    price = probe["price"]
    rates = ("unknown", "unknown") if price is None else (f"{price['prompt']:g}", f"{price['completion']:g}")
    return (*seat, first, show_usd(cost), *rates)
