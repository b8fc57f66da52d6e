"""What a turn needs, put together once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.events import ErrorInfo
    from agent.ledger import Ledger
    from agent.llm.accounting import Cap
    from agent.llm.client import ModelClient
    from agent.llm.messages import Message
    from agent.llm.request import ModelRef
    from agent.plugin import Plugin
    from agent.session import Session
    from agent.tools.runner import ToolRunner


def _crashed(error: BaseException) -> ErrorInfo:
    from agent.crash import crashed

    return crashed(error, None)


@dataclass(slots=True)
class Agent:
    """What a turn needs: built once by `agent.host`, used by every face."""

    client: ModelClient
    ledger: Ledger
    session: Session
    model: ModelRef
    tools: ToolRunner
    system: Message
    """Opens a new conversation; one that goes on keeps its own, to the byte."""
    plugins: Sequence[Plugin] = ()
    run: str = ""
    caps: tuple[Cap, ...] = ()
    max_iterations: int = 90
    max_tokens: int = 16_000
    compact_at: float = 0.8
    """How full the window may be before the conversation is compacted (`agent.compaction`); 1: not before it overflows."""
    compact_model: ModelRef | None = None
    """Who sums it up; None: the main model."""
    crashed: Callable[[BaseException], ErrorInfo] = _crashed
    """Keeps the traceback of a mistake of ours and says what to tell the user (`agent.crash`)."""

    def begin(self) -> None:
        """Open the conversation, where nothing was said in it yet."""
        if self.session.head is None:
            self.session.note("opened", cwd=str(self.tools.context.cwd), model=str(self.model))
            self.session.add(self.system)
