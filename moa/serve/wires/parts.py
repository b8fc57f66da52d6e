"""An answer's events put in the order that strict wires ask for: one part after the other, each begun, written and ended.

Upstreams mix them: two calls at once, words in the middle of a call, a call without an id until its end. Nothing of a part is sent before
its turn, and no call is ended before it is whole.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from agent.llm.answers.calls import is_whole
from agent.llm.errors import StreamBroken
from agent.llm.messages import ReasoningPart, TextPart, ToolCallPart
from agent.llm.stream import ReasoningDelta, Reply, Retrying, StreamEvent, TextDelta, ToolCallDelta

Kind = Literal["text", "reasoning", "call"]
BEGAN_TWICE = "the provider could not use what its model wrote, and the answer began again when part of it was sent"


@dataclass(slots=True)
class Open:
    """A part as it is written. `written` is what has come of it, `sent` how many characters of that were given out."""

    kind: Kind
    call: int = -1
    id: str = ""
    name: str = ""
    written: str = ""
    sent: int = 0
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Begin:
    """A part begins: a call has its id and its name."""

    at: int
    part: Open


@dataclass(frozen=True, slots=True)
class More:
    """More of the part that was begun last."""

    at: int
    part: Open
    text: str


@dataclass(frozen=True, slots=True)
class End:
    """The part that was begun last comes to its end. `whole` False: a call that was cut, which no client may run."""

    at: int
    part: Open
    whole: bool = True


Step = Begin | More | End


class Sequence:
    """Turns events into steps. `at` counts the parts from 0."""

    def __init__(self) -> None:
        self._queue: deque[Open] = deque()
        self._calls: dict[int, Open] = {}
        self._ended: list[Open] = []
        self._restarted = False

    def feed(self, event: StreamEvent) -> list[Step]:
        """The steps that an event allows."""
        if isinstance(event, TextDelta):
            self._words("text", event.text)
        elif isinstance(event, ReasoningDelta):
            self._words("reasoning", event.text)
        elif isinstance(event, ToolCallDelta):
            self._call(event)
        elif isinstance(event, Retrying):
            self._restarted = self._restarted or bool(self._queue or self._ended)
            return []
        else:
            return []
        return self._steps()

    def finish(self, reply: Reply) -> list[Step]:
        """What of a whole answer has not been given out, up to its last end. Raises StreamBroken where the answer is not what was sent
        of it: a client that has the one must not be told that it is the other."""
        if self._restarted:
            raise StreamBroken(BEGAN_TWICE)
        if not self._queue and not self._ended:  # it came as a whole
            return self._all(reply)
        calls = reply.message.tool_calls
        known = [self._calls[index] for index in sorted(self._calls)]
        if any(part.begun and part.id not in {call.id for call in calls} for part in known):
            raise StreamBroken("the provider's tool calls came mixed up, and were in part sent already")
        for call, part in zip(calls, known, strict=False):
            self._complete(part, call)
        for call in calls[len(known) :]:
            if reply.finish == "length" and not is_whole(call.arguments):
                continue
            self._queue.append(Open("call", id=call.id, name=call.name, written=call.arguments))
        said = "".join(part.written for part in (*self._ended, *self._queue) if part.kind == "text")
        text = reply.message.text
        if not said and text:
            self._queue.append(Open("text", written=text))
        elif text.startswith(said) and len(text) > len(said):
            last = self._queue[-1] if self._queue else None
            if last is not None and last.kind == "text":
                last.written += text[len(said) :]
            else:
                self._queue.append(Open("text", written=text[len(said) :]))
        self._queue = deque(part for part in self._queue if part.kind != "call" or part.id)
        return self._steps(last=True, cut=reply.finish == "length")

    def _all(self, reply: Reply) -> list[Step]:
        cut = reply.finish == "length"
        for part in reply.message.parts:
            if isinstance(part, ToolCallPart) and not (cut and not is_whole(part.arguments)):
                self._queue.append(Open("call", id=part.id, name=part.name, written=part.arguments))
            elif isinstance(part, TextPart | ReasoningPart) and part.text.strip():
                self._queue.append(Open(part.type, written=part.text))
        return self._steps(last=True, cut=cut)

    def close(self) -> list[Step]:
        """The end of the part that is open, and what words wait behind it: for an answer that was cut by a refusal. Calls that were not
        begun by then are left out."""
        self._queue = deque(part for part in self._queue if part.begun or part.kind != "call")
        return self._steps(last=True, cut=True)

    @property
    def count(self) -> int:
        """How many parts have been begun."""
        return len(self._ended) + sum(part.begun for part in self._queue)

    def _complete(self, part: Open, call: ToolCallPart) -> None:
        if part.begun and (part.id != call.id or not call.arguments.startswith(part.written[: part.sent])):
            if part.written[: part.sent].strip() == call.arguments.strip():
                return
            raise StreamBroken("the provider's tool calls came mixed up, and were in part sent already")
        part.id, part.name, part.written = call.id, call.name, call.arguments

    def _words(self, kind: Kind, text: str) -> None:
        # A call that is running may go on after these words; a call that is whole does not.
        last = self._queue[-1] if self._queue else None
        if not text:
            return
        if last is None or last.kind != kind:
            last = Open(kind)
            self._queue.append(last)
        last.written += text

    def _call(self, event: ToolCallDelta) -> None:
        part = self._calls.get(event.index)
        if part is None:
            part = self._calls[event.index] = Open("call", event.index)
            self._queue.append(part)
        part.id = part.id or event.id or ""
        part.name = part.name or event.name or ""
        part.written += event.arguments

    def _steps(self, *, last: bool = False, cut: bool = False) -> list[Step]:
        steps: list[Step] = []
        while self._queue:
            part, at = self._queue[0], len(self._ended)
            if part.kind == "call" and not (part.id and part.name):
                return steps
            if not part.begun:
                part.begun = True
                steps.append(Begin(at, part))
            if fresh := part.written[part.sent :]:
                part.sent = len(part.written)
                steps.append(More(at, part, fresh))
            if not last and (len(self._queue) == 1 or not self._may_end(part)):
                return steps
            self._ended.append(self._queue.popleft())
            steps.append(End(at, part, whole=not cut or self._may_end(part)))
        return steps

    @staticmethod
    def _may_end(part: Open) -> bool:
        return part.kind != "call" or is_whole(part.written)
