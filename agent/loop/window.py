"""How full the main model's window is: what the endpoint counted with the last call, and estimates for what came since."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.llm.tokens import estimate_message, estimate_tool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.llm.messages import Message
    from agent.llm.request import ToolSpec
    from agent.llm.stream import Reply
    from agent.loop.agent import Agent


class Gauge(NamedTuple):
    """Tokens of the next request to the main model. `counted` of them the endpoint has counted itself (0: all is estimated)."""

    used: int
    window: int | None
    counted: int = 0

    @property
    def share(self) -> float | None:
        """How full the window is, from 0 to 1 and beyond; None where it is not known."""
        return self.used / self.window if self.window else None


def estimate(messages: Iterable[Message], tools: Iterable[ToolSpec] = ()) -> int:
    """About how many tokens messages and tools have together."""
    return sum(map(estimate_message, messages)) + sum(map(estimate_tool, tools))


def measure(agent: Agent) -> Gauge:
    """What the next request will have, guidance that was given so far included.

    The last call's own count holds everything up to then. Where no call of the present history was counted (a new conversation, a
    compacted one), all is estimated.
    """
    window = agent.client.facts(agent.model).context_window if agent.model.model else None
    found = agent.session.measured()
    if found is not None:
        counted, since = found
        return Gauge(counted + estimate(since), window, counted)
    messages = agent.session.sent() or (agent.opening.system(),)
    return Gauge(estimate(messages, agent.tools.specs), window)


def counted(reply: Reply) -> int | None:
    """What a request and its answer came to, as the endpoint counted; None where it did not.

    Reasoning that the answer does not carry is not sent again, and does not count.
    """
    usage = reply.usage
    if usage is None or not usage.prompt:
        return None
    hidden = 0 if reply.message.reasoning or reply.message.extra else usage.reasoning
    return usage.prompt + max(0, usage.completion - hidden)


def nearly_full(agent: Agent) -> bool:
    """Whether the conversation is to be compacted before the next call. Where the window is not known there is no telling."""
    if agent.compact_at >= 1:
        return False
    facts = agent.client.facts(agent.model)
    if facts.context_window is None:
        return False
    answer = agent.max_tokens if facts.max_output is None else min(agent.max_tokens, facts.max_output)
    return measure(agent).used >= limit(facts.context_window, compact_at=agent.compact_at, answer=answer)


def limit(window: int, *, compact_at: float, answer: int) -> int:
    """The tokens from which on a conversation is to be compacted.

    A share of the window, and less where an answer of its full length (`answer` tokens) would not fit behind it; but never less than
    half, however long an answer may be.
    """
    return min(int(window * compact_at), max(window // 2, window - answer))
