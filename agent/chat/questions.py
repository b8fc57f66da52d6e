"""Questions as events: one goes to the face, its answer comes back whenever the user gives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from agent.approval.approval import ApprovalRequest, UserAnswer
from agent.chat.events import Answered, Asked, ChatEvent, Inquired, Settled
from agent.forms import Answer, Form

T = TypeVar("T")


class _Open(Generic[T]):
    """What waits for an answer, by name."""

    def __init__(self, listen: Callable[[ChatEvent], None], letter: str) -> None:
        self._listen = listen
        self._letter = letter
        self._open: dict[str, asyncio.Future[T]] = {}
        self._count = 0

    async def wait(self, told: Callable[[str], ChatEvent], settled: Callable[[str, T | None], ChatEvent]) -> T:
        """Tell of a question, and wait for `answer`. Who is cancelled while it waits settles it with None."""
        self._count += 1
        name = f"{self._letter}{self._count}"
        future = self._open[name] = asyncio.get_running_loop().create_future()
        self._listen(told(name))
        answer: T | None = None
        try:
            answer = await future
        finally:
            del self._open[name]
            self._listen(settled(name, answer))
        return answer

    def answer(self, name: str, answer: T) -> None:
        """Settle a question; one that is settled already is left as it is."""
        future = self._open.get(name)
        if future is not None and not future.done():
            future.set_result(answer)


class Questions:
    """An `agent.approval.approval.Approver` that asks through events."""

    def __init__(self, listen: Callable[[ChatEvent], None]) -> None:
        self._open: _Open[UserAnswer] = _Open(listen, "q")

    async def ask(self, request: ApprovalRequest) -> UserAnswer:
        """Ask, and wait for `answer`. A turn that is stopped while it waits settles the question with None."""
        return await self._open.wait(
            lambda name: Asked(id=name, request=request), lambda name, answer: Answered(id=name, answer=answer)
        )

    def answer(self, name: str, answer: UserAnswer) -> None:
        """Settle a question; one that is settled already is left as it is."""
        self._open.answer(name, answer)


class Inquiries:
    """What commands ask (`agent.forms`), through events."""

    def __init__(self, listen: Callable[[ChatEvent], None]) -> None:
        self._open: _Open[Answer] = _Open(listen, "f")

    async def ask(self, form: Form) -> Answer:
        """Show a form, and wait for its answer; None where the user wants none of it."""
        return await self._open.wait(lambda name: Inquired(id=name, form=form), lambda name, _answer: Settled(id=name))

    def answer(self, name: str, answer: Answer) -> None:
        """Settle a form; one that is settled already is left as it is."""
        self._open.answer(name, answer)
