"""/context: what the model's window holds, and what fills it; /compact: making room in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from agent.commands import Command, CommandContext, Result, Said
from agent.errors import UsageError
from agent.llm.accounting import CallContext
from agent.llm.messages import ImagePart, ReasoningPart, TextPart, ToolCallPart
from agent.llm.tokens import IMAGE, estimate_tokens
from agent.loop.window import limit, measure
from agent.slash.arguments import code, nothing, said
from agent.text.numbers import plural
from agent.views import PlotView, TableView, TabsView, View

if TYPE_CHECKING:
    from agent.host import Host
    from agent.llm.messages import Message
    from agent.loop.window import Gauge
    from agent.session.session import Session


def commands(host: Host) -> tuple[Command, ...]:
    """The two of them. Looking is possible at any time."""

    async def look(context: CommandContext, args: str) -> Result:
        nothing("context", args)
        table, plot = _view(host, context.session)
        tabs: list[tuple[str, View]] = [("the window", table), ("as bars", plot)]
        if taken_in := await asyncio.to_thread(_taken_in, host, context.session):
            tabs.append(("instructions", taken_in))
        return Said(TabsView(tabs=tuple(tabs)))

    async def compact(context: CommandContext, args: str) -> Result:
        return await _compact(host, context, args)

    return (
        Command("context", "how full the model's window is, and what fills it", look, busy_ok=True),
        Command(
            "compact", "summarize the conversation so far, to free up context", compact, args_hint="[WHAT TO KEEP]"
        ),
    )


async def _compact(host: Host, context: CommandContext, args: str) -> Result:
    from agent.loop.compaction.compact import compact
    from agent.session.export import fenced

    if host.model_error:
        raise host.model_error
    agent = host.agent
    account = CallContext("compaction", session=context.session.id, run=agent.run, caps=agent.caps)
    done = await compact(agent, account, context.emit, reason="command", keep=args)
    if done is None:
        raise UsageError("there is not enough to summarize yet", remedy="/context says what fills the window")
    who = code(done.model) if done.model else "no model: heads and tails stand in for a summary"
    return said(
        f"About {done.before_tokens:,} tokens became {done.after_tokens:,}: {plural(done.messages, 'message')} summarized (by {who}); your own "
        f"words and the last steps stay. Nothing is lost: /undo still goes back to before it, /export writes it all. The model now reads:\n\n"
        f"{fenced(done.message.text)}"
    )


def shares(host: Host, session: Session) -> dict[str, int]:
    """About how many tokens each part of the next request has; guidance is what plugins said since the last compaction."""
    history = session.history() or (host.agent.opening.system(),)
    found = {
        "system prompt": _texts(history, "system"),
        "tools": sum(
            estimate_tokens(tool.name + tool.description + json.dumps(tool.parameters, ensure_ascii=False))
            for tool in host.agent.tools.specs
        ),
        "your messages": _texts([message for message in history if message.synthetic != "summary"], "user"),
        "summary": _texts([message for message in history if message.synthetic == "summary"], "user"),
        "answers": _texts(history, "assistant"),
        "reasoning": _parts(history, ReasoningPart),
        "tool calls": _parts(history, ToolCallPart),
        "tool results": _texts(history, "tool"),
        "images": IMAGE * sum(isinstance(part, ImagePart) for message in history for part in message.parts),
        "guidance": sum(estimate_tokens(given.sent) for given in session.guidance()),
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


def _view(host: Host, session: Session) -> tuple[TableView, PlotView]:
    found = shares(host, session)
    gauge = measure(host.agent)
    window = gauge.window
    rows = [(name, f"≈ {tokens:,}", _percent(tokens, window)) for name, tokens in found.items()]
    rows.append(("the next call", f"≈ {gauge.used:,}", _percent(gauge.used, window)))
    if window is not None:
        free = max(0, window - gauge.used)
        rows.append(("free", f"≈ {free:,}", _percent(free, window)))
    table = TableView(
        title=_title(host, window),
        columns=("", "tokens", "of the window"),
        rows=tuple(rows),
        align="lrr",
        note="; ".join(filter(None, (_measured(host, session, gauge), _threshold(host, window), _thoughts(host)))),
    )
    bars = tuple((name, float(tokens)) for name, tokens in found.items())
    figures = tuple(f"{tokens:,}" for tokens in found.values())
    return table, PlotView(title="what fills the window", unit="tokens, about", bars=bars, figures=figures)


def _thoughts(host: Host) -> str:
    from agent.loop.main_call import describe_left

    left = host.agent.left
    return f"in the last call {describe_left(left)}" if left else ""


def _threshold(host: Host, window: int | None) -> str:
    agent = host.agent
    if window is None or agent.compact_at >= 1:
        return "compacted when it overflows, or with /compact"
    most = agent.client.facts(agent.model).max_output
    answer = agent.max_tokens if most is None else min(agent.max_tokens, most)
    return f"compacted from {limit(window, compact_at=agent.compact_at, answer=answer):,} tokens on, or with /compact"


def _taken_in(host: Host, session: Session) -> TableView | None:
    """The files that the system prompt has, or does not have and why; None where there are none. Blocking."""
    from agent.context.prompt import heading, instructions

    context, config = host.agent.tools.context, host.config
    prompt = next(
        (message.text for message in session.history() if message.role == "system"), host.agent.opening.system().text
    )
    rows = []
    for source in instructions(context.cwd, user_dir=config.paths.config, deny=context.deny_paths):
        told = source.problem
        if source.text and heading(source.path) not in prompt:
            told = "; ".join(filter(None, (told, "came later: a new conversation will have it")))
        rows.append(("instructions", str(source.path), f"{len(source.text):,}" if source.text else "", told))
    from agent.context import skills

    for skill in skills.discover(config.paths.config, config.trusted_project(context.cwd), deny=context.deny_paths):
        told = skill.problem or skill.description
        if not skill.problem and str(skill.path) not in prompt:
            told = f"came later: a new conversation will have it; {told}"
        rows.append((f"skill {skill.name}", str(skill.path), "", told))
    if not rows:
        return None
    return TableView(columns=("", "file", "characters", ""), rows=tuple(rows), align="llrl")


def _title(host: Host, window: int | None) -> str:
    if host.model_error:
        return "no model"
    return f"{host.agent.model}: " + (f"a window of {window:,} tokens" if window else "its window is not known")


def _percent(tokens: int, window: int | None) -> str:
    return "" if not window else f"{100 * tokens / window:.1f} %"


def _measured(host: Host, session: Session, gauge: Gauge) -> str:
    """The endpoint's own figure for the last call of the main model: it counts, ours is a guess."""
    if not gauge.counted:
        return "estimates: the endpoint has counted no call of this yet"
    since = "" if gauge.used == gauge.counted else f", and ≈ {gauge.used - gauge.counted:,} came since"
    calls = [call for call in host.agent.ledger.calls(session=session.id) if call.purpose == "main"]
    counted = next((call for call in reversed(calls) if call.prompt_tokens is not None), None)
    cached = "" if counted is None else f" ({counted.cached_tokens or 0:,} of them from the cache)"
    return f"the last call came to {gauge.counted:,} tokens{cached}, as the endpoint counted, guidance included{since}"
