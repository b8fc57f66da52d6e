"""Which of the things that are asked a line answers, and whether it could have been meant for it."""

from __future__ import annotations

from collections.abc import Callable

from agent.approval.approval import UserAnswer
from agent.chat.events import Asked
from agent.ui.asking import SILENCE_S, read_answer, too_long

TOO_SOON = "that came too soon to be an answer; once more:"


class LineQuestions:
    """Questions whether a tool may run, oldest first, beside what the program itself asks (a form, a choice). `clock` tells seconds.

    What was asked last stands lowest on the screen, and is what a line answers.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.asked: list[Asked] = []
        self._clock = clock
        self._since = 0.0
        self._typing = False
        self._above: tuple[str, ...] = ()

    @property
    def last(self) -> bool:
        """Whether a question stands below whatever else is asked."""
        return bool(self.asked) and self.asked[0].id not in self._above

    def ask(self, event: Asked, *, typing: bool) -> None:
        """One more. `typing`: somebody was, when it came."""
        if not self.asked:
            self._typing, self._since = typing, self._clock()
        self.asked.append(event)

    def settle(self, id: str) -> None:
        """One needs no answer any more."""
        self.asked = [asked for asked in self.asked if asked.id != id]
        self._since = self._clock()

    def step_back(self) -> None:
        """Something else is asked, below them."""
        self._above = tuple(asked.id for asked in self.asked)
        self._since = self._clock()

    def come_back(self) -> None:
        """That is over."""
        self._above = ()
        self._since = self._clock()

    def too_soon(self) -> bool:
        """Whether a line may have been on its way before anybody could have read what stands lowest."""
        now = self._clock()
        soon = now - self._since < SILENCE_S
        if soon:
            self._since = now
        return soon

    def read(self, line: str) -> tuple[UserAnswer | None, str]:
        """The answer to the oldest question: a number, and after a no the reason. None, and what to say, for what is none; it is never
        taken for a yes."""
        request = self.asked[0].request
        answer = read_answer(line, request)
        # A word may have been on its way before anybody could have read the question; what begins with a number only where somebody typed.
        quick = line.strip()[:1].isdigit()
        if self._typing and answer is not None and answer.verdict != "no":
            quick = False
        soon = f"{TOO_SOON}\n" if answer is not None and not quick and self.too_soon() else ""
        if answer is not None and not soon:
            return answer, ""
        only = "not all of it is shown, so a number alone is a yes: " if too_long(request) else ""
        return None, f"{soon}{only}1, 2, 3 or 4; with a 4 you can say why: 4 because …"
