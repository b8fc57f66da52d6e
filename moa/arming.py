"""What must hold before a panel may be armed: every endpoint known and open, and money that can be bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.errors import UsageError
from agent.llm.request import ModelRef
from agent.plugin import Disclosure

if TYPE_CHECKING:
    from agent.llm.client import ModelClient
    from moa.plugin import Moa
    from moa.preset import Preset


def check(preset: Preset, client: ModelClient, main: ModelRef | None) -> None:
    """Raises UsageError, with the preset's file and key and a remedy, where this preset can't be armed.

    `main` is the main model where it is known: an aggregator named `main` is checked as that. Nothing is sent.
    """
    unpriced: list[str] = []
    capped = preset.turn_usd is not None and preset.turn_tokens is None
    for key, model in preset.models(main):
        try:
            endpoint = client.require_key(model.endpoint)
        except UsageError as error:
            where = f"{preset.source}: {key} ({model})"
            raise UsageError(f"{where}: {error.message}", remedy=error.remedy, kind=error.kind) from None
        if capped and not endpoint.free and client.facts(model).price is None:
            unpriced.append(str(model))
    if unpriced:
        raise UsageError(
            f"{preset.source}: budget.turn_usd is a dollar cap, but the price of {', '.join(unpriced)} is unknown",
            remedy="add turn_tokens under [budget], or give the price in config.toml (endpoints.NAME.models)",
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
