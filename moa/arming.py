"""What must hold before a panel may be armed: every endpoint known and open, and money that can be bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.errors import UsageError
from agent.llm.request import ModelRef
from agent.plugin import Disclosure

if TYPE_CHECKING:
    from agent.llm.accounting import Cap
    from agent.llm.client import ModelClient
    from moa.plugin import Moa
    from moa.preset import Preset


def check(preset: Preset, client: ModelClient, main: ModelRef | None, caps: Sequence[Cap] = ()) -> None:
    """Raises UsageError, with the preset's file and key and a remedy, where this preset can't be armed.

    `main` is the main model where it is known: an aggregator named `main` is checked as that. `caps` are the user's own (config.toml,
    `--budget`). Nothing is sent.
    """
    unpriced: dict[str, None] = {}
    dollars = [cap.where for cap in caps if cap.nano is not None]
    if preset.turn_usd is not None:
        dollars.insert(0, f"{preset.source}: budget.turn_usd")
    tokens = preset.turn_tokens is not None or any(cap.tokens is not None for cap in caps)
    needed = (
        bool(dollars) and not tokens
    )  # then a price must be known; elsewhere nobody looks it up before the first byte
    for key, model in preset.models(main):
        try:
            endpoint = client.require_key(model.endpoint)
        except UsageError as error:
            where = f"{preset.source}: {key} ({model})"
            raise UsageError(f"{where}: {error.message}", remedy=error.remedy, kind=error.kind) from None
        if needed and not endpoint.free and client.facts(model).price is None:
            unpriced[str(model)] = None
    if unpriced:
        names = ", ".join(unpriced)
        endpoints = " ".join(sorted({name.partition(":")[0] for name in unpriced}))
        raise UsageError(
            f"{dollars[0]} is a dollar cap, but the price of {names} is unknown",
            remedy=(
                f"ask for prices with `moa models list {endpoints}`, give them in config.toml (endpoints.NAME.models), or add a cap in "
                "tokens (turn_tokens under [budget])"
            ),
            kind="unpriced",
        )


def receivers(preset: Preset, client: ModelClient, main: ModelRef | None) -> tuple[str, ...]:
    """The hosts that will receive the conversation, each once, in the order of the seats. `this machine` for a local server."""
    hosts: dict[str, None] = {}
    for _key, model in preset.models(main):
        try:
            endpoint = client.endpoint(model.endpoint)
        except UsageError:
            hosts[f"{model.endpoint} (unknown endpoint)"] = None
            continue
        hosts["this machine" if endpoint.is_loopback else urlsplit(endpoint.base_url).hostname or endpoint.name] = None
    return tuple(hosts)


def disclosure(moa: Moa, line: str) -> Disclosure | None:
    """What is to be agreed to before a line is sent: nothing without a panel, and anew where the panel's receivers change."""
    words = line.split()
    asks = words[:2] == ["/moa", "ask"]
    if line.startswith("!") or (line.startswith("/") and not asks):
        return None  # no turn, or (a path, /goal) not worth a wrong guess: the next message asks
    name = moa.armed
    if asks:
        named = words[2][1:] if len(words) > 2 and words[2].startswith("@") else ""
        name = named or moa.armed or moa.settings.preset
    if name is None:
        return None
    try:
        preset = moa.load(name)
    except UsageError:
        return None  # the turn says so, better
    hosts = ", ".join(receivers(preset, moa.host.client, moa.main()))
    return Disclosure(f"moa {name}: {hosts}", f"/moa quote {name}", "" if asks else "/moa off")
