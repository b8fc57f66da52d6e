"""Approvals as events: a question goes to the face, its answer comes back whenever the user gives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent.approval import ApprovalRequest, UserAnswer
from agent.chatevents import Answered, Asked, ChatEvent


class Questions:
    """An `agent.approval.Approver` that asks through events."""

    def __init__(self, listen: Callable[[ChatEvent], None]) -> None:
        self._listen = listen
        self._open: dict[str, asyncio.Future[UserAnswer]] = {}
        self._count = 0

    async def ask(self, request: ApprovalRequest) -> UserAnswer:
        """Ask, and wait for `answer`. A turn that is stopped while it waits settles the question with None."""
        self._count += 1
        name = f"q{self._count}"
        future = self._open[name] = asyncio.get_running_loop().create_future()
        self._listen(Asked(id=name, request=request))
        answer: UserAnswer | None = None
        try:
            answer = await future
        finally:
            del self._open[name]
            self._listen(Answered(id=name, answer=answer))
        return answer

    def answer(self, name: str, answer: UserAnswer) -> None:
        """Settle a question; one that is settled already is left as it is."""
        future = self._open.get(name)
        if future is not None and not future.done():
            future.set_result(answer)
