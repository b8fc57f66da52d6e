"""A conversation that stays open: what every face that talks with the user stands on.

A face gives `Chat` a listener and calls its verbs; it never touches the loop, the session or a plugin. Everything that happens
comes to the listener as an event, in order: the turn's own events, and those of `agent.chatevents`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agent.chatevents import Action, Answered, Asked, ChatEvent, Opened, Queued, Refused, Shown

if TYPE_CHECKING:
    from agent.approval import UserAnswer
    from agent.host import Host, Options
    from agent.llm.messages import ImagePart

__all__ = ["Action", "Answered", "Asked", "Chat", "ChatEvent", "Opened", "Queued", "Refused", "Shown"]


class Chat:
    """INTERFACE (being made real)."""

    host: Host
    busy: bool
    """Something runs: a turn, a command, or a command of the user's own shell."""
    queue: tuple[str, ...]

    def __init__(self, build: Callable[[Options], Host], options: Options, listen: Callable[[ChatEvent], None]) -> None:
        raise NotImplementedError

    def open(self) -> None:
        """Open the session (emits Opened). Raises UsageError, StateError."""

    async def submit(self, text: str, images: Sequence[ImagePart] = ()) -> None:
        """A line was entered: a command, `!` and a shell command (`!!`: not told to the model), or a message.

        Returns as soon as it is taken, not when it is done (see `idle`). While something runs it is queued, but for commands that may
        run at any time. What a `!` command does comes as tool_started, tool_progress and tool_finished with source `user`.
        """

    def steer(self, text: str) -> None:
        """Say something to the running turn: it joins the history before the next call of the main model (event `steered`).

        Where no turn runs, or it ends before that, it is the next message.
        """

    def stop(self) -> list[str]:
        """Stop what runs (Esc), keep the partial reply, and take everything that waits back. Also empties a queue that waits while idle."""
        return []

    def take_back(self) -> str | None:
        """Take the newest text that waits out of the queue again; None where nothing does."""
        return None

    def answer(self, id: str, answer: UserAnswer) -> None:
        """Settle an `Asked`. An id that is settled already is ignored."""

    async def idle(self) -> None:
        """Wait until nothing runs (line mode, tests)."""

    async def aclose(self) -> None:
        """Stop what runs and close the session."""
