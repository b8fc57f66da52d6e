"""Where a request stands: its turn, its step, what has been given on its path, and what has happened since. From the request and the rows
alone, never from a process's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.llm.messages import ImagePart, Message, Part, TextPart, ToolCallPart
from agent.llm.tokens import estimate_tokens
from agent.loop.stuck import Watch
from agent.session.clean import clean_message
from moa.counsel import in_force
from moa.counsel.delivery import InForce
from moa.counsel.turn import REPEATS

if TYPE_CHECKING:
    from moa.counsel.cadence import Trigger
    from moa.serve.guidance.anchors import Reading
    from moa.serve.guidance.path import Path, Step
    from moa.serve.guidance.pieces import Piece
    from moa.serve.guidance.rows import Row


@dataclass(frozen=True, slots=True)
class Standing:
    """What the cadence decides by (see `moa.counsel.cadence.decide`): `turn` and `step` count from 1."""

    turn: int
    step: int
    first: bool
    since: int
    signals: tuple[Trigger, ...]
    quiet: int


def standing(reading: Reading, path: Path, preset: str) -> Standing:
    """Where the next reply of this path stands. `preset`: whose counsels count as silent."""
    return _Replay(preset).run(reading, path)


class _Replay:
    """Goes through a conversation as `moa.counsel.turn.TurnCounsel` goes through a turn."""

    def __init__(self, preset: str) -> None:
        self._preset = preset
        self._turn = 0
        self._quiet = 0
        self._begin_turn()
        self._turn = 0

    def _begin_turn(self) -> None:
        self._turn += 1
        self._step = 0
        self._since = 0
        self._begun = False
        self._signals: list[Trigger] = []
        self._watch = Watch()

    def run(self, reading: Reading, path: Path) -> Standing:
        steps = {step.at: step for step in path.steps}
        calls = {piece.id: piece for piece in reading.pieces if piece.kind == "call"}
        answered = True
        for piece in reading.pieces:
            if (step := steps.pop(piece.at, None)) is not None:
                self._step += bool(step.items)
                self._since += bool(step.items)
                self._counselled(step.row)
            if piece.role == "assistant":
                answered = True
            elif piece.kind == "result":
                self._result(piece, calls.get(piece.id))
            elif answered and piece.kind in ("text", "image") and not piece.is_reminder:
                self._begin_turn()
                answered = False
        turn, step_number = max(1, self._turn), self._step + 1
        return Standing(turn, step_number, not self._begun, self._since, tuple(self._signals), self._quiet)

    def _counselled(self, row: Row | None) -> None:
        counsel: Mapping[str, Any] = (row.counsel if row is not None else None) or {}
        if counsel.get("begun"):
            self._since = 1
            self._begun = True
            self._signals.clear()
        if counsel.get("taken") and counsel.get("preset") == self._preset:
            self._quiet = self._quiet + 1 if counsel.get("withheld") in in_force.QUIET else 0

    def _result(self, piece: Piece, call: Piece | None) -> None:
        if piece.is_error and "tool_error" not in self._signals:
            self._signals.append("tool_error")
        if call is not None:
            sign = self._watch.saw(call.name, call.text, piece.text, is_error=piece.is_error)
            circle = sign is not None and (sign.kind != "same_result" or sign.times >= REPEATS)
            if sign is not None and circle and sign.kind not in self._signals:
                self._signals.append(sign.kind)
        if self._signals:
            self._quiet = 0  # something happened: the panel is asked at each step again


def given(
    steps: Sequence[Step], history: Sequence[Message], starts: Mapping[int, int], *, bound: int, window: int | None
) -> InForce:
    """The guidance in force on a path of these steps. `starts`: of each item the number of messages before it (none: all of them); `bound`
    and `window` as in `moa.counsel.in_force.read`."""
    steps = [step for step in steps if step.row is not None and step.row.guidance is not None]
    rows = [step.row for step in steps if step.row is not None]
    tokens = sum(estimate_tokens(row.guidance.sent) for row in rows if row.guidance is not None)
    said = [point for row in rows for point in _points(row)]
    placed = ((step.row.counsel or {}, starts.get(step.at, len(history))) for step in steps if step.row is not None)
    used = frozenset(call.name for message in history for call in message.tool_calls)
    last = in_force.open_blocker(placed, history, used)
    return InForce(tuple(said), tokens, in_force.room_for(bound, window, tokens), last)


def _points(row: Row) -> list[str]:
    points = (row.counsel or {}).get("points")
    if isinstance(points, list) and points:
        return [str(point) for point in points]
    return in_force.lines(row.guidance.text) if row.guidance is not None else []


def history(reading: Reading, redact: Callable[[str], str]) -> tuple[list[Message], dict[int, int]]:
    """The conversation as members see it, and of each item how many messages stand before it. Configured keys are taken out."""
    names = {piece.id: piece.name for piece in reading.pieces if piece.kind == "call" and piece.id}
    messages: list[Message] = []
    starts: dict[int, int] = {}
    for at, pieces in _by_item(reading.pieces):
        starts[at] = len(messages)
        messages += [clean_message(message, redact) for message in _messages(pieces, names)]
    return messages, starts


def _by_item(pieces: Sequence[Piece]) -> Iterator[tuple[int, list[Piece]]]:
    from itertools import groupby

    for at, own in groupby(pieces, lambda piece: piece.at):
        yield at, list(own)


def _messages(pieces: Sequence[Piece], names: Mapping[str, str]) -> Iterator[Message]:
    if pieces[0].role == "assistant":
        parts: list[Part] = [part for piece in pieces if (part := _part(piece)) is not None]
        if parts:
            yield Message(role="assistant", parts=tuple(parts))
        return
    said: list[Part] = []
    for piece in pieces:
        if piece.kind == "result":
            yield Message(
                role="tool",
                parts=(TextPart(text=piece.text),),
                tool_call_id=piece.id,
                tool_name=piece.name or names.get(piece.id, "a tool"),
                is_error=piece.is_error,
            )
        elif piece.is_reminder:
            yield Message(role="user", parts=(TextPart(text=piece.text),), synthetic="notice")
        elif (part := _part(piece)) is not None:
            said.append(part)
    if said:
        yield Message(role="user", parts=tuple(said))


def _part(piece: Piece) -> Part | None:
    match piece.kind:
        case "text":
            return TextPart(text=piece.text) if piece.text else None
        case "call":
            return ToolCallPart(id=piece.id, name=piece.name, arguments=piece.text)
        case "image":
            return ImagePart(media_type="any kind", data="")
        case "thought":
            return None
        case _:
            return TextPart(text=f"[{piece.name}, not shown]")
