"""What must hold before a panel may be armed: every endpoint known and open, and money that can be bounded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.errors import UsageError
from agent.llm.request import ModelRef
from moa.aggregate.methods import METHODS
from moa.preset.preset import MAIN, ref

if TYPE_CHECKING:
    from agent.llm.accounting import Cap
    from agent.llm.client import ModelClient
    from moa.preset.preset import Member, Preset


def check(
    preset: Preset,
    client: ModelClient,
    main: ModelRef | None,
    caps: Sequence[Cap] = (),
    tools: Collection[str] | None = None,
) -> None:
    """Raises UsageError, with the preset's file and key and a remedy, where this preset can't be armed.

    `main` is the main model where it is known: who is named `main` is checked as that. `caps` are the user's own (config.toml,
    `--budget`), `tools` what members can be given here (None: not asked). Nothing is sent.
    """
    check_tools(preset, tools)
    _check_family(preset, main)
    unpriced: dict[str, None] = {}
    dollars = [cap.where for cap in caps if cap.nano is not None]
    if preset.turn_usd is not None:
        dollars.insert(0, f"{preset.source}: budget.turn_usd")
    tokens = preset.turn_tokens is not None or any(cap.tokens is not None for cap in caps)
    needed = (
        bool(dollars) and not tokens
    )  # then a price must be known; elsewhere nobody looks it up before the first byte
    for key, model in models(preset, main):
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


def obstacles(
    preset: Preset,
    client: ModelClient,
    main: ModelRef | None,
    caps: Sequence[Cap] = (),
    tools: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Why this preset can't run here with what is configured, in short, each reason once; empty where it can. Nothing is sent."""
    found: dict[str, None] = {}
    if main is None and any(member.reference.model == MAIN for member in preset.members):
        found["there is no main model yet"] = None
    unknown: dict[str, None] = {}
    for _key, model in models(preset, main):
        try:
            client.require_key(model.endpoint)
            if model.endpoint == "local":
                from agent.local.server import require_xllamacpp

                require_xllamacpp()
        except UsageError as error:
            if error.kind == "missing_key":
                found[f"{client.endpoint(model.endpoint).api_key_env} is not set"] = None
            elif error.kind == "unknown_endpoint":
                unknown[model.endpoint] = None
            else:
                found[error.message] = None
    if unknown:
        found[f"no endpoint {', '.join(unknown)} is described in config.toml"] = None
    if programs := _absent(preset, client):
        found[f"{' or '.join(programs)} is not installed"] = None
    if not found:
        try:
            check(preset, client, main, caps, tools)
        except UsageError as error:
            found[error.message] = None
    return tuple(found)


def _absent(preset: Preset, client: ModelClient) -> list[str]:
    """The programs that would be the members, where none of them is here; one that is missing among others is passed over when it is asked."""
    from agent.process import children

    needed: list[str] = []
    for member in preset.members:
        try:
            endpoint = client.endpoint(member.model.endpoint)
        except UsageError:
            return []
        if not endpoint.command or children.program(endpoint.command[0]):
            return []
        needed.append(endpoint.command[0])
    return needed


def models(preset: Preset, main: ModelRef | None) -> tuple[tuple[str, ModelRef], ...]:
    """Every model that counsel may call, as (key in the file, model). With `main` None those named `main` are left out.

    An aggregator that is not named is one of the members.
    """
    named = [(f"references ({member.slot})", member.reference.model) for member in preset.members]
    if METHODS[preset.aggregate].needs_model:
        others = (("model", preset.aggregator.model), ("fallback", preset.fallback), ("deep", preset.deep))
        # The main model receives the conversation anyway, so a `deep` that is nobody else is no further receiver.
        named += [(f"aggregator.{key}", model) for key, model in others if model and (key, model) != ("deep", MAIN)]
    return tuple((key, ref(model, main)) for key, model in named if model != MAIN or main is not None)


def check_tools(preset: Preset, tools: Collection[str] | None) -> None:
    """Raises UsageError where a member is given a tool that is not among `tools`."""
    for member in preset.members:
        missing = [tool for tool in member.reference.tools if tools is not None and tool not in tools]
        if missing:
            raise UsageError(
                f"{preset.source}: references ({member.slot}) names the tool {missing[0]}, which does not exist in this program",
                remedy=f"take it out of tools; there are {', '.join(sorted(tools or ())) or 'none'}",
                kind="preset",
            )


def relatives(preset: Preset, main: ModelRef) -> tuple[Member, ...]:
    """The members that are of the main model's family, where the preset wants none of them (`family = "other"`)."""
    if preset.family == "any":
        return ()
    from moa.panel.names import related

    return tuple(m for m in preset.resolved(main).members if m.model == main or related(str(m.model), str(main)))


def strangers(preset: Preset, main: ModelRef | None) -> tuple[str, ...]:
    """The models whose family nobody knows, where the preset asks for another family than the main model's."""
    if preset.family == "any" or main is None:
        return ()
    from moa.panel.names import known_family

    named = [main, *(member.model for member in preset.resolved(main).members)]
    return tuple(dict.fromkeys(str(model) for model in named if known_family(str(model)) is None))


def _check_family(preset: Preset, main: ModelRef | None) -> None:
    if main is None or not (same := relatives(preset, main)):
        return
    from moa.panel.names import family

    raise UsageError(
        f'{preset.source}: family is "other", but {", ".join(str(member.model) for member in same)} is of the main model\'s family '
        f"({family(str(main))}: {main})",
        remedy='name members of other families, take another main model (/model), or set family = "any"',
        kind="family",
    )


def receivers(
    preset: Preset, client: ModelClient, main: ModelRef | None, lookups: Sequence[str] = ()
) -> tuple[str, ...]:
    """The hosts that will receive the conversation, each once, in the order of the seats. `this machine` for a local server.

    `lookups` are those who read what a member searches for; they are named where a member may search.
    """
    hosts: dict[str, None] = {}
    for _key, model in models(preset, main):
        try:
            endpoint = client.endpoint(model.endpoint)
        except UsageError:
            hosts[f"{model.endpoint} (unknown endpoint)"] = None
            continue
        if endpoint.command:
            hosts[f"whoever {endpoint.command[0]} sends it to"] = None
            continue
        hosts["this machine" if endpoint.is_loopback else urlsplit(endpoint.base_url).hostname or endpoint.name] = None
    if lookups and preset.tools_at != "never" and any("web_search" in m.reference.tools for m in preset.members):
        hosts[f"what members search for: {' or '.join(lookups)}"] = None
    return tuple(hosts)
