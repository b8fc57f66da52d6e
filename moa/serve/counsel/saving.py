"""`moa serve --save`: each counsel is kept as the chat keeps its own, so that `moa session` shows it and it can be judged anew.

A client's conversation becomes a session of the same name as in the ledger: the messages as the panel saw them, and behind them the record of
the counsel. A branch goes back in the session to where it left the other. The last answer joins with the request that follows it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import StateError, UsageError

if TYPE_CHECKING:
    from agent.events import Record
    from agent.llm.accounting import CallContext
    from agent.llm.messages import Message
    from agent.session.session import Session


@dataclass(slots=True)
class Saving:
    """Of one process. `folder` is that of the sessions; `tell` is told once where nothing can be kept."""

    folder: Path
    redact: Callable[[str], str] = lambda text: text
    tell: Callable[[str, str], None] = lambda _code, _text: None
    _one: threading.Lock = field(default_factory=threading.Lock)
    _failed: bool = False

    async def keep(self, messages: Sequence[Message], record: Record, context: CallContext) -> bool:
        """Keep a counsel on `messages`. Whether it is kept: an answer never fails for it."""
        try:
            await asyncio.to_thread(self._keep, tuple(messages), record, context)
        except (OSError, StateError, UsageError) as error:
            if not self._failed:
                self._failed = True
                self.tell("not_saved", f"counsels are not kept: {error}")
            return False
        return True

    def _keep(self, messages: tuple[Message, ...], record: Record, context: CallContext) -> None:
        from agent.session.session import Session

        name = context.session
        path = self.folder / f"{name}.jsonl"
        with self._one:  # a thread goes on where its request is stopped
            if path.exists():
                session = Session.open(self.folder, name, redact=self.redact, claim=True)
            else:
                session = Session(path, redact=self.redact)
            try:
                _go_to(session, messages, context)
                session.add_record(record, turn=context.turn, iteration=context.iteration)
            finally:
                session.close()


def _go_to(session: Session, messages: Sequence[Message], context: CallContext) -> None:
    """Make the session's present path the conversation: what is there stays, the rest joins."""
    known = session.steps()
    common = 0
    for (_entry, old), new in zip(known, messages, strict=False):
        if old != new:
            break
        common += 1
    if common < len(known):
        session.rewind(known[common - 1][0] if common else None, reason="fork")
    for at, message in enumerate(messages[common:], common):
        newest = at == len(messages) - 1 and message.role == "user"
        session.add(message, turn=context.turn if newest else None)
