"""/context: what the model's window holds, and what fills it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from agent.builtin.arguments import nothing
from agent.commands import Command, CommandContext, Result, Said
from agent.llm.messages import ImagePart, ReasoningPart, TextPart, ToolCallPart
from agent.llm.tokens import IMAGE, estimate_tokens
from agent.views import PlotView, TableView, TabsView, View

if TYPE_CHECKING:
    from agent.host import Host
    from agent.llm.messages import Message
    from agent.session import Session


def commands(host: Host) -> tuple[Command, ...]:
    """The one command. Looking is possible at any time."""

    async def run(context: CommandContext, args: str) -> Result:
        nothing("context", args)
        return Said(_view(host, context.session))

    return (Command("context", "how full the model's window is, and what fills it", run, busy_ok=True),)


def shares(host: Host, session: Session) -> dict[str, int]:
    """About how many tokens each part of the next request has, dearest knowledge last: guidance is that of the last record."""
    history = session.history() or (host.agent.system,)
    found = {
        "system prompt": _texts(history, "system"),
        "tools": sum(
            estimate_tokens(tool.name + tool.description + json.dumps(tool.parameters, ensure_ascii=False))
            for tool in host.agent.tools.specs
        ),
        "your messages": _texts(history, "user"),
        "answers": _texts(history, "assistant"),
        "reasoning": _parts(history, ReasoningPart),
        "tool calls": _parts(history, ToolCallPart),
        "tool results": _texts(history, "tool"),
        "images": IMAGE * sum(isinstance(part, ImagePart) for message in history for part in message.parts),
        "guidance": _guidance(host, session),
    }
    return {name: tokens for name, tokens in found.items() if tokens}


def _texts(history: Sequence[Message], role: str) -> int:
    return sum(
        estimate_tokens(part.text)
        for message in history
        if message.role == role
        for part in message.parts
        if isinstance(part, TextPart)
    )


def _parts(history: Sequence[Message], kind: type[ReasoningPart] | type[ToolCallPart]) -> int:
    parts: Iterable[object] = (part for message in history for part in message.parts)
    total = 0
    for part in parts:
        if isinstance(part, ReasoningPart) and kind is ReasoningPart:
            total += estimate_tokens(part.text)
        elif isinstance(part, ToolCallPart) and kind is ToolCallPart:
            total += estimate_tokens(part.name + part.arguments)
    return total


def _guidance(host: Host, session: Session) -> int:
    """The private text that a plugin's last record says was sent."""
    texts = [record["data"].get("guidance") for record in session.placed_records() if record["kind"] in host.records()]
    return estimate_tokens(texts[-1]) if texts and isinstance(texts[-1], str) else 0


def _view(host: Host, session: Session) -> View:
    found = shares(host, session)
    total = sum(found.values())
    window = None if host.model_error else host.agent.client.facts(host.agent.model).context_window
    rows = [(name, f"≈ {tokens:,}", _percent(tokens, window)) for name, tokens in found.items()]
    rows.append(("all", f"≈ {total:,}", _percent(total, window)))
    if window is not None:
        rows.append(("free", f"≈ {max(0, window - total):,}", _percent(max(0, window - total), window)))
    table = TableView(
        title=_title(host, window),
        columns=("", "tokens", "of the window"),
        rows=tuple(rows),
        align="lrr",
        note=_measured(host, session),
    )
    bars = tuple((name, float(tokens)) for name, tokens in found.items())
    plot = PlotView(title="what fills the window", unit="tokens, about", bars=bars)
    return TabsView(tabs=(("table", table), ("plot", plot)))


def _title(host: Host, window: int | None) -> str:
    if host.model_error:
        return "no model"
    return f"{host.agent.model}: " + (f"a window of {window:,} tokens" if window else "its window is not known")


def _percent(tokens: int, window: int | None) -> str:
    return "" if not window else f"{100 * tokens / window:.1f} %"


def _measured(host: Host, session: Session) -> str:
    """The endpoint's own figure for the last call of the main model: it counts, ours is a guess."""
    calls = [call for call in host.agent.ledger.calls(session=session.id) if call.purpose == "main"]
    counted = [call for call in calls if call.prompt_tokens is not None]
    if not counted:
        return "estimates: no call was counted by the endpoint yet"
    last = counted[-1]
    return f"the last call had {last.prompt_tokens:,} tokens, {last.cached_tokens or 0:,} of them cached, as the endpoint counted"
