"""A request that has to do with Fusion or server tools, made ready: which model answers, with which body, and which tools run here.

found = prepare("chat", body, model="openrouter/fusion", …)     # None-like where there is nothing: `found.is_served` is False
request = wire.read(found.body, target).request                 # the target's model is `found.main`, where that is named
events = loop.stream(client, request, context, tools=…, offered=found.tools, conversation=…, limits=found.limits, served=served)
encoder = encoder_for("chat", wire.encoder(name, body), served)
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from moa.preset.preset import MAIN
from moa.serve.counsel.side_calls import instructions_of
from moa.serve.counsel.standing import history
from moa.serve.fusion.execute import Conversation, fusions_in
from moa.serve.fusion.lower import Lowered, lower
from moa.serve.fusion.offered import FUSION
from moa.serve.fusion.panel import FLASH, QUALITY, writer
from moa.serve.fusion.parameters import Fusion
from moa.serve.guidance import anchors
from moa.serve.guidance.wires import wire_of

if TYPE_CHECKING:
    from agent.llm.request import ModelRef
    from moa.preset.preset import Preset

ROUTERS = {"openrouter/fusion": QUALITY, "openrouter/fusion-flash": FLASH}
"""Fusion's own models, and the presets that stand behind them."""


def router_preset(model: str) -> str | None:
    """The preset of one of Fusion's own models, whatever its suffix (`:free`); None for every other model."""
    return ROUTERS.get(model.partition(":")[0])


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be done. `main` is ENDPOINT:MODEL of who answers, or `main` for the configured one; None: who the request names."""

    lowered: Lowered
    main: str | None = None
    routed: bool = False

    @property
    def body(self) -> dict[str, Any]:
        """What is read and sent on."""
        return self.lowered.body

    @property
    def is_served(self) -> bool:
        """Whether the reply goes through the loop of server tools."""
        return self.lowered.is_served


def prepare(
    wire: str,
    body: dict[str, Any],
    *,
    model: str,
    load: Callable[[str], Preset],
    endpoints: Collection[str],
    presets: Callable[[], Collection[str]] = tuple,
    inside: bool = False,
) -> Prepared:
    """`model` is what the request names, `presets` lists the user's. `inside`: the request comes from inside of a panel, where nothing fans
    out: its server tools are taken out. Raises UsageError for what can't be."""
    pinned = router_preset(model)
    lowered = lower(wire, body, fused=pinned is not None, presets=presets, inside=inside)
    if pinned is None:
        return Prepared(lowered)
    own = next((tool.fusion for tool in lowered.tools if tool.type == FUSION), lowered.plugin or Fusion())
    fusion = own.over(Fusion(preset=pinned, given=frozenset({"preset"}))) if pinned != QUALITY else own
    tools = tuple(replace(tool, fusion=fusion) if tool.type == FUSION else tool for tool in lowered.tools)
    main = writer(fusion, load=load, endpoints=endpoints)
    return Prepared(replace(lowered, tools=tools), main or MAIN, routed=True)


def conversation_of(
    wire: str,
    prepared: Prepared,
    main: ModelRef,
    *,
    preset: str = "",
    redact: Callable[[str], str] = lambda text: text,
) -> Conversation:
    """What panels see of the request. Configured keys are taken out by `redact`."""
    bodies = wire_of(wire)
    reading = anchors.read(bodies, bodies.items(prepared.body))
    messages, _starts = history(reading, redact)
    turn = sum(message.role == "user" and message.synthetic is None for message in messages)
    return Conversation(
        history=tuple(messages),
        brief=redact(instructions_of(prepared.body)),
        main=main,
        preset=preset,
        fusions=fusions_in(messages),
        routed=prepared.routed,
        turn=max(1, turn),
    )
