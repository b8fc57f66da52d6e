"""`fuse/PRESET`: a panel answers the question, its answers are compared, and the main model writes the final one.

As a model of the chat and of `moa run` it lives in one turn: the panel is asked before the turn's first call of the main model, once, and
the main model answers without tools. What it is given of the panel is kept in the conversation as guidance is (see `agent.session.sent`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agent.llm.tokens import estimate_tokens
from agent.plugin import Contribution
from moa.aggregate.methods import came_by
from moa.counsel import keep
from moa.counsel.cadence import Decision
from moa.counsel.delivery import Delivery
from moa.panel import prompts, tasks
from moa.panel.names import display_names
from moa.panel.quoting import fence, within
from moa.preset.preset import FUSE

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.messages import ToolCallPart
    from agent.plugin import Continue, ModelCall, TurnState
    from agent.tools.base import ToolResult
    from moa.counsel.cadence import Receipts
    from moa.counsel.counsel import Counsel
    from moa.counsel.take import Council

WINDOW_SHARE = 3
"""The panel's answers take at most this part of the final model's window (a third)."""
LEAST_ANSWER = 200


class FuseTurn:
    """The panel over one turn of `fuse/PRESET`. It stands where a turn's counsel stands, and is asked the same."""

    def __init__(self, council: Council, receipts: Receipts, turn: TurnState, emit: Emit) -> None:
        self.council = council
        self.latest: Counsel | None = None
        self._receipts = receipts
        self._turn = turn
        self._emit = emit

    async def before_model(self, call: ModelCall) -> Contribution:
        """Before the first call the panel's answers; before a later one (the user said something meanwhile) nothing more."""
        if self.latest is not None:
            return Contribution(None, answers=True)
        council = self.council
        counsel = await council.take(
            call.turn.history,
            main=call.model,
            context=call.context,
            decision=Decision(True, "fuse", f"the model is {FUSE}{council.preset.name}"),
            emit=self._emit,
            tools=council.preset.tools_at != "never",
            task=tasks.ANSWER,
        )
        self.latest = counsel
        text = material(counsel, window=council.window(call.model), turn=self._turn.number)
        found = Delivery(withheld=None if text else "failed")
        entry = keep.in_turn(
            counsel, self._turn, self._receipts, iteration=call.iteration, guidance=text, delivery=found
        )
        return Contribution(text, entry, answers=True)

    def after_tool(self, call: ToolCallPart, result: ToolResult) -> None:
        """The final model has no tools to use."""

    async def before_stop(self, turn: TurnState, context: CallContext) -> Continue | None:
        """What it writes is the answer."""
        return None

    async def close(self) -> None:
        """The turn is over: what still runs is cancelled, and what was paid for and never sent is recorded."""
        await self.council.close()
        counsel, self.council.broken_off = self.council.broken_off, None
        if counsel is not None:
            keep.unsent(counsel, self._turn, self._receipts, Delivery(withheld="failed"), self._emit)


def material(counsel: Counsel, *, window: int | None, turn: int) -> str | None:
    """What the final model gets: the comparison, in Fusion's keys and with ours (or what the method made of the answers), and the answers, each fenced; None where nobody answered.

    The answers are cut, each to an even share, where all of them would take more than a third of its `window` (tokens; None: unknown).
    It stays in the conversation, so it says in which turn it was written.
    """
    if not counsel.answers:
        return None
    parts = [prompts.FUSED, f"Written in turn {turn}, for the user's last words before it."]
    found = counsel.aggregation
    if found is not None and found.analysis is not None:
        shown = {**found.analysis.to_fusion(), "next_steps": list(found.analysis.next_steps)}
        parts += [prompts.FUSED_ANALYSIS, fence(json.dumps(shown, ensure_ascii=False, indent=1))]
    elif found is not None and found.results:
        made = fence("\n".join(f"- {each.text}" for each in found.results))
        parts.append(f"{came_by(found.rung).lead}\n{made}".strip())
    room = None if window is None else window // WINDOW_SHARE - sum(estimate_tokens(part) for part in parts)
    answers = counsel.chosen or counsel.answers
    texts = [answer.text.strip() for answer in answers]
    each = None if room is None else max(LEAST_ANSWER, room // len(texts))
    parts.append(prompts.FUSED_ANSWERS)
    for name, answer, text in zip(display_names(answers), answers, texts, strict=True):
        about = f"{name} (cut off)" if answer.incomplete else name
        parts.append(f"{about}:\n{fence(text if each is None else within(text, each))}")
    missing = [f"{failure.model_requested.rpartition('/')[2]}: {failure.kind}" for failure in counsel.failures]
    if missing:
        parts.append(f"No answer from {', '.join(missing)}.")
    return "\n\n".join(parts)
