"""Making room in a conversation: what was said is summed up, the user's own words and the last steps stay as they are.

It is one entry of the session (see `agent.session.session`): nothing is lost on the disk, and going back behind it undoes it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from agent.errors import UsageError
from agent.events import Compacted, Notice
from agent.hooks import compaction_refused
from agent.llm.errors import BudgetReached, ModelError
from agent.llm.messages import user
from agent.llm.tokens import estimate_tokens
from agent.loop.compaction.plan import plan
from agent.loop.compaction.summary import frame, mechanical, summarise
from agent.loop.window import estimate, measure

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.loop.agent import Agent

__all__ = ["Reason", "compact"]

Reason = Literal["threshold", "overflow", "command"]

WORTH_IT = 0.1
"""Of the window: a compaction that nobody asked for and that frees less would only be followed by the next."""


async def compact(
    agent: Agent, context: CallContext, emit: Emit, *, reason: Reason, keep: str = ""
) -> Compacted | None:
    """Compact the agent's conversation; None where that would free too little. `keep` is what the user wants kept above all.

    The summary is written by `agent.compact_model`, or the main model, at the expense of `context`. Where that fails it is made
    without a model, which is told. A cancelled one leaves the conversation as it was. Raises StateError, and UsageError where a plugin
    refuses what the user asked for.
    """
    session = agent.session
    gauge = measure(agent)
    least = int((gauge.window or 0) * WORTH_IT) if reason == "threshold" else 0
    # Guidance goes with the compaction: what it takes up is gained, too.
    dropped = sum(estimate_tokens(given.sent) for given in session.guidance())
    found = plan(session.steps(), least_gain=least, dropped=dropped)
    if found is None:
        return None
    if (why := await compaction_refused(agent.plugins, session, reason, emit)) is not None and reason != "overflow":
        if reason == "command":
            raise UsageError(f"the conversation is not compacted: {why}", kind="refused")
        emit(Notice(level="warning", code="compaction_refused", text=f"the conversation is not compacted now: {why}"))
        return None
    model = agent.compact_model or agent.model
    written_by: str | None = str(model)
    try:
        text = await summarise(
            agent.client,
            model,
            replace(context, purpose="compaction", slot=None),
            emit,
            found,
            keep=keep,
            used=gauge.used,
        )
    except (ModelError, BudgetReached, UsageError) as problem:
        told = f"{model} could not summarize the conversation ({problem.message}): heads and tails of it stand in for a summary"
        emit(Notice(level="warning", code="compaction_mechanical", text=told))
        text, written_by = await asyncio.to_thread(mechanical, found), None
    before = estimate(session.sent(), agent.tools.specs)
    message = user(frame(text, agent.plugins, session), synthetic="summary")
    session.compact(message, words=found.words, keep_from=found.keep_from)
    await asyncio.to_thread(session.sync)
    after = estimate(session.sent(), agent.tools.specs)
    event = Compacted(
        reason=reason,
        before_tokens=gauge.used,
        # Our estimate errs by the same factor before and after; where the endpoint has counted, we know the factor.
        after_tokens=round(gauge.used * after / max(1, before)),
        messages=len(found.cut),
        model=written_by,
        message=message,
    )
    emit(event)
    return event
