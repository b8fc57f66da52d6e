"""Fusion and server tools over scripted models: the model that answers is `OUTER`, and what runs beside it asks `one`, `two` and `judge`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from agent.llm.accounting import CallContext
from agent.llm.messages import user
from agent.llm.request import ModelRef, Request
from agent.llm.stream import Finished, Reply
from moa.preset.preset import Preset, Reference
from moa.serve.fusion.execute import ServerTools
from moa.serve.fusion.loop import Served, stream
from moa.serve.fusion.prepare import Prepared, conversation_of, prepare
from tests.support.chatbench import calls
from tests.support.script import ANALYSIS
from tests.support.scripted import Line, ScriptedClient

OUTER = ModelRef("fake", "outer")
PRESET = Preset(
    "p", "p.toml", (Reference("fake:one"), Reference("fake:two")), Reference("fake:judge"), deep="fake:judge"
)
ASKS = calls(("openrouter_fusion", {"prompt": "Why?"}))
ADVISED = calls(("advisor", {}))
FUSION = {
    "type": "openrouter:fusion",
    "parameters": {"analysis_models": ["fake:one", "fake:two"], "model": "fake:judge"},
}
ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": "claude-x", "max_uses": 1}


class FusionBench:
    """`outer` is what the model that answers says, `script` what others say. `events` are those of the answer."""

    def __init__(self, outer: Sequence[Line], script: Mapping[str, Any] | None = None) -> None:
        lines = {"fake:one": "One says.", "fake:two": "Two says.", "fake:judge": json.dumps(ANALYSIS), **(script or {})}
        self.client = ScriptedClient({**lines, str(OUTER): list(outer)})
        self.tools = ServerTools(self.client, load=lambda _name: PRESET, endpoints=("fake",), preset="p")
        self.served = Served()
        self.events: list[Any] = []

    def prepared(self, *tools: Mapping[str, Any], wire: str = "chat", **more: Any) -> Prepared:
        """A client's request with these tools."""
        words = {"role": "user", "content": "Should we?"}
        body = {"messages": [{"role": "system", "content": "Be kind."}, words], "tools": list(tools), **more}
        return prepare(wire, body, model="x", load=lambda _name: PRESET, endpoints=("fake",), presets=lambda: ("p",))

    def run(self, prepared: Prepared, *, required: bool = False) -> Reply:
        """Answer it."""
        asyncio.run(self.answer(prepared, required=required))
        assert isinstance(self.events[-1], Finished)
        return self.events[-1].reply

    async def answer(self, prepared: Prepared, *, required: bool = False) -> None:
        """The same, beside other tasks."""
        conversation = conversation_of("chat", prepared, OUTER)
        request = Request(model=OUTER, messages=(user("Should we?"),), tool_choice="required" if required else "auto")
        context = CallContext("main", run="r", turn="t")
        self.tools.check(prepared.lowered.tools, conversation, context)
        async for event in stream(
            self.client, request, context, tools=self.tools, offered=prepared.lowered.tools, conversation=conversation,
            limits=prepared.lowered.limits, served=self.served,
        ):  # fmt: skip
            self.events.append(event)

    def to(self, model: str) -> list[Request]:
        """What one model was asked."""
        return [request for request in self.client.requests if request.model.model == model]

    def of(self, *kinds: type[Any]) -> list[Any]:
        """The events of these kinds."""
        return [event for event in self.events if isinstance(event, kinds)]
