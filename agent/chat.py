"""A conversation that stays open: what every face that talks with the user stands on.

A face gives `Chat` a listener and calls its verbs; it never touches the loop, the session or a plugin. Everything that happens
comes to the listener as an event, in order: the turn's own events, and those of this page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agent.approval import ApprovalRequest, UserAnswer
from agent.events import AgentEvent
from agent.llm.messages import ImagePart, Message

if TYPE_CHECKING:
    from agent.host import Host, Options
    from agent.views import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A session is open (at the start, after /resume, /fork, /undo, /clear): `history` and `records` are what to show of it."""

    type: Literal["opened"] = "opened"
    session: str
    history: tuple[Message, ...]
    records: tuple[dict[str, object], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A command's answer. `command` is the line that asked for it."""

    type: Literal["shown"] = "shown"
    command: str
    view: View


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """The messages that wait for the turn's end, oldest first."""

    type: Literal["queued"] = "queued"
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The agent waits for the user's approval; answer with `Chat.answer(id, …)`."""

    type: Literal["asked"] = "asked"
    id: str
    request: ApprovalRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An approval is settled, by the user or because the turn was stopped."""

    type: Literal["answered"] = "answered"
    id: str
    answer: UserAnswer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What was typed can't be done; `text` goes back to the composer."""

    type: Literal["refused"] = "refused"
    text: str
    message: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something only a face can do: `copy` (text for the clipboard), `theme` (a name, or empty for a picker), `quit`, `resume` (a picker)."""

    type: Literal["action"] = "action"
    name: Literal["copy", "theme", "quit", "resume"]
    text: str = ""


ChatEvent = AgentEvent | Opened | Shown | Queued | Asked | Answered | Refused | Action


class Chat:
    """INTERFACE; see the brief."""

    host: Host
    busy: bool
    queue: tuple[str, ...]

    def __init__(self, build: Callable[[Options], Host], options: Options, listen: Callable[[ChatEvent], None]) -> None:
        raise NotImplementedError

    def open(self) -> None:
        """Open the session (emits Opened). Raises UsageError, StateError."""

    async def submit(self, text: str, images: Sequence[ImagePart] = ()) -> None:
        """A line was entered: a command, `!` and a shell command, or a message. While a turn runs a message is queued."""

    def steer(self, text: str) -> None:
        """Say something to the running turn: it joins the history before the next call of the main model."""

    def stop(self) -> list[str]:
        """Stop the turn (Esc), keep the partial reply, and take the queued texts back."""
        return []

    def answer(self, id: str, answer: UserAnswer) -> None:
        """Settle an `Asked`."""

    async def aclose(self) -> None:
        """Stop what runs and close the session."""
