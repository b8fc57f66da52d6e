"""What was sent stays sent: guidance as entries of a session, and the one place where requests get it.

Models sign their thoughts together with everything before them, and caches live on an unchanged beginning. So what a plugin told the
main model stays in every later request, at its place, to the byte. It hangs off the message that it was given after, as records do,
and is not on the path: whoever reads the conversation (faces, members, summaries, search, export) never meets it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from agent.llm.identity_cache import Kind
from agent.llm.messages import Message, Role, TextPart, user
from agent.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

Form = Literal["result", "joined", "message"]
"""`result`: the end of the last tool result. `joined`: the end of the user's message before it. `message`: a user message of its own.

Chat templates of open reasoning models show a reply's reasoning only behind the last user message, so a user message at each step would
cost them all of it; and text behind tool results is a known cause of empty replies. So it stands inside the last result where it can.
"""

_NAME = "private" + "-guidance"
OPEN, CLOSE = f"<{_NAME}>\n", f"\n</{_NAME}>"
# As a model reads it, which is more than as it is spelt: with characters that nobody sees, other brackets, another hyphen. Each star has
# what it can't match behind it: in a text made for it the search must stay as quick as its length allows.
_UNSEEN = (
    "\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_LETTERS = f"[{_UNSEEN}]*".join(
    "[-_\u2010-\u2015\u2043\u2212\ufe58\ufe63\uff0d]" if char == "-" else char for char in _NAME
)
_BRACKETS = "<\uff1c\ufe64\u2039\u3008\u27e8\u02c2\u2329\u276e"

NO_OUTPUT = "(no output)"


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Guidance:
    """What one plugin told the main model before one call. `text` is the plugin's; `open` and `close` are the marks it went out between.

    `after` is the entry that it hangs off, `place` counts the session's lines before it: it is in force for what came later.
    """

    entry: str
    after: str
    place: int
    plugin: str
    turn: str
    iteration: int
    text: str
    form: Form
    open: str = OPEN
    close: str = CLOSE

    @property
    def sent(self) -> str:
        """The bytes as they stand in requests."""
        return f"{self.open}{unmarked(self.text)}{self.close}"

    @property
    def joint(self) -> str:
        """The same as the end of something that was said."""
        return f"\n\n{self.sent}"

    def plain(self) -> dict[str, Any]:
        """The session's entry."""
        return {
            "type": "guidance",
            "plugin": self.plugin,
            "turn": self.turn,
            "iteration": self.iteration,
            "form": self.form,
            "open": self.open,
            "text": self.text,
            "close": self.close,
        }

    @classmethod
    def read(cls, entry: str, after: str, place: int, data: Mapping[str, Any]) -> Guidance:
        """From a session's entry. Raises KeyError, ValueError or TypeError where it is none."""
        form = data["form"]
        if form not in ("result", "joined", "message"):
            raise ValueError(f"no form of guidance: {form!r}")
        texts = [data["text"], data["open"], data["close"], data["plugin"]]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("no text")
        return cls(
            entry=entry,
            after=after,
            place=place,
            plugin=data["plugin"],
            turn=str(data.get("turn", "")),
            iteration=int(data.get("iteration", 0)),
            text=data["text"],
            form=form,
            open=data["open"],
            close=data["close"],
        )


def form_of(last: Role, *, fresh: bool, alternate: bool) -> Form:
    """Where guidance goes, once and for all, behind a message of the role `last`.

    `fresh`: that was never sent without it. `alternate`: the endpoint insists that roles take turns.
    """
    if fresh and last == "tool":
        return "result"
    return "joined" if fresh and alternate and last == "user" else "message"


def unmarked(text: str) -> str:
    """What a tool or a plugin brought, without the marks that guidance stands between: nobody else can write some."""
    if frozenset(_BRACKETS).isdisjoint(text):
        return text
    return _mark().sub(r"\1 \2", text)


@cache
def _mark() -> re.Pattern[str]:
    """Made where it is needed first: that takes 5 ms, and most texts have no bracket."""
    return re.compile(rf"([{_BRACKETS}])([\s/{_UNSEEN}]*{_LETTERS})", re.IGNORECASE)


@dataclass(slots=True)
class Given:
    """All guidance of a session, and the place of each of its lines."""

    places: dict[str, int] = field(default_factory=dict)
    """Of each message, how many lines were taken before it."""
    _by_head: dict[str, list[Guidance]] = field(default_factory=dict)
    _by_entry: dict[str, Guidance] = field(default_factory=dict)
    _lines: int = 0

    def line(self) -> int:
        """One more line of the session: its place."""
        self._lines += 1
        return self._lines

    @property
    def texts(self) -> frozenset[str]:
        """All of it, as plugins gave it."""
        return frozenset(each.text for each in self._by_entry.values())

    def add(self, guidance: Guidance) -> None:
        """It was written, or read."""
        self._by_head.setdefault(guidance.after, []).append(guidance)
        self._by_entry[guidance.entry] = guidance

    def find(self, entry: str) -> Guidance | None:
        """The one of this entry."""
        return self._by_entry.get(entry)

    def in_force(self, path: Sequence[str], is_compaction: Callable[[str], bool]) -> list[Guidance]:
        """What hangs off a path since its last compaction, in order. It counts for a continuation only if it was there before that."""
        if not self._by_head:
            return []
        start = next((at for at in range(len(path) - 1, -1, -1) if is_compaction(path[at])), 0)
        found: list[Guidance] = []
        for at in range(start, len(path)):
            given = self._by_head.get(path[at])
            if given:
                until = self.places.get(path[at + 1]) if at + 1 < len(path) else None
                found += [each for each in given if until is None or each.place < until]
        return found


Step = tuple["str | None", Message]


def with_guidance(steps: Sequence[Step], guidance: Iterable[Guidance], kept_until: Mapping[str, int]) -> list[Step]:
    """The messages that are sent, with guidance in its places. Pure, and the same each time.

    `kept_until`: for a compaction's entry, the index of the last message that it kept, since what was given after it stands behind.
    """
    where = {entry: index for index, (entry, _) in enumerate(steps) if entry is not None} | dict(kept_until)
    behind: dict[int, list[Guidance]] = {}
    for each in guidance:
        at = where.get(each.after)
        if at is None:
            continue
        while at + 1 < len(steps) and steps[at][1].role == "tool" and steps[at + 1][1].role == "tool":
            at += 1  # results are written as they come, and sent in the order of their calls: it stands behind the last
        behind.setdefault(at, []).append(each)
    if not behind:
        return list(steps)
    # The same objects each time: what is made of a message for a request is kept by its identity.
    alone, joined = Kind("guidance alone", _alone), Kind("guidance joined", _ended_with)
    placed: list[Step] = []
    for index, (entry, message) in enumerate(steps):
        own: list[Step] = []
        for each in behind.get(index, ()):
            if each.form == "message" or message.role not in ("tool", "user"):
                own.append((each.entry, alone.of(each)))
            else:
                message = joined.of(message, each)
        placed += [(entry, message), *own]
    return placed


def _alone(guidance: Guidance) -> Message:
    return user(guidance.sent, synthetic="guidance")


def _ended_with(message: Message, guidance: Guidance) -> Message:
    """The message with guidance of its own behind what it says."""
    said = (
        message.parts if message.text.strip() or message.role != "tool" else (*message.parts, TextPart(text=NO_OUTPUT))
    )
    return replace(message, parts=(*said, TextPart(text=guidance.joint)))
