"""What a conversation tells its face, beside the events of its turns. `agent.chat.chat` makes these; every face reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.approval.approval import ApprovalRequest, UserAnswer
from agent.events import AgentEvent, TodoItem
from agent.forms import Form
from agent.llm.messages import ImagePart, Message
from agent.session.seen import PlacedSeen
from agent.session.tree import PlacedRecord
from agent.views import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A session is open (at the start, after /resume, /fork, /undo, /clear): everything that is to be shown of it.

    `history` has the system message first. `records` are what plugins kept (a counsel, say), each with its line, `seen` is what was shown
    beside them, each in its place. `todo` is the agent's list as it stands.
    """

    type: Literal["opened"] = "opened"
    session: str
    history: tuple[Message, ...]
    records: tuple[PlacedRecord, ...] = ()
    todo: tuple[TodoItem, ...] = ()
    seen: tuple[PlacedSeen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A command's answer. `command` is the line that asked for it."""

    type: Literal["shown"] = "shown"
    command: str
    view: View


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """What waits, oldest first: messages that are to steer the running turn and have not reached it yet, then those for after it.

    It comes each time that this changes; empty texts mean that nothing waits any more.
    """

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
    """An approval is settled: by the user, or (None) because the turn was stopped."""

    type: Literal["answered"] = "answered"
    id: str
    answer: UserAnswer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquired:
    """A command asks the user something in the middle of its work; answer with `Chat.reply(id, …)`."""

    type: Literal["inquired"] = "inquired"
    id: str
    form: Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A form is answered, or the command was stopped: it need not be shown any more."""

    type: Literal["settled"] = "settled"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What was typed can't be done; `text` and `images` go back to the composer."""

    type: Literal["refused"] = "refused"
    text: str
    message: str
    remedy: str | None = None
    images: tuple[ImagePart, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something only a face can do.

    `copy`: put `text` on the clipboard. `theme`: use the theme `text`, or with none offer all of them. `resume`: let the user choose a
    session (the list came just before, as a Shown); then submit `/resume ID`. `compose`: put `text` into the composer, to be changed
    and sent again. `setup`: lead to a main model (a key, an address, a local one), then submit `text`. `quit`: end.
    """

    type: Literal["action"] = "action"
    name: Literal["copy", "theme", "quit", "resume", "compose", "setup"]
    text: str = ""


ChatEvent = AgentEvent | Opened | Shown | Queued | Asked | Answered | Inquired | Settled | Refused | Action
