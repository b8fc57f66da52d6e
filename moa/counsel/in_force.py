"""What the main model has been told and has before it now: read from the session, never from a process's memory.

So it is right after `/compact`, undo, a fork and another start: what `Session.guidance()` no longer gives is no longer in force, and may be
said again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.llm.tokens import estimate_tokens
from moa.counsel import points
from moa.counsel.cadence import KIND
from moa.counsel.delivery import InForce, Open

if TYPE_CHECKING:
    from agent.llm.messages import Message
    from agent.session.session import Session

SHARE_OF_WINDOW = 10
"""Guidance in force never takes more than this part of the main model's window."""
FOLLOW_CALLS = 2
"""A step is followed if one of so many next calls of the main model does what it names."""


QUIET = ("silent", "repeat")
"""A counsel of which nothing was sent for one of these reasons counts as silent."""


def quiet(session: Session, preset: str) -> int:
    """How many counsels in a row had nothing to say, the newest included."""
    count = 0
    for placed in reversed(session.placed_records()):
        data = placed["data"]
        if (
            placed["kind"] != KIND
            or data.get("preset") != preset
            or data.get("trigger") in ("consult", "again", "replayed")
        ):
            continue
        if data.get("withheld") not in QUIET:
            break
        count += 1
    return count


def read(session: Session, plugin: str, *, guidance_tokens: int, window: int | None) -> InForce:
    """The guidance of `plugin` in force. `guidance_tokens` is the preset's bound (0: none), `window` the main model's, in tokens."""
    given = [each for each in session.guidance() if each.plugin == plugin]
    tokens = sum(estimate_tokens(each.sent) for each in given)
    room = room_for(guidance_tokens, window, tokens)
    if not given:
        return InForce(room=room)
    records = {key(data): data for data in session.records(KIND) if delivered(data)}
    said: list[str] = []
    for each in given:
        data = records.get((each.turn, each.iteration))
        said += [str(text) for text in data["points"]] if data and data.get("points") else lines(each.text)
    return InForce(tuple(said), tokens, room, _open(session, records.values(), {(g.turn, g.iteration) for g in given}))


def room_for(bound: int, window: int | None, tokens: int) -> int | None:
    """How many more tokens of guidance there may be, where `tokens` are in force; None: any number, because the preset says so."""
    if not bound:
        return None
    most = bound if window is None else min(bound, window // SHARE_OF_WINDOW)
    return max(0, most - tokens)


def delivered(data: Mapping[str, Any]) -> bool:
    """Whether a counsel's guidance went to the main model before a call: it was asked for by no tool, and is no new analysis of an old one."""
    return bool(data.get("guidance")) and data.get("trigger") not in ("consult", "again", "replayed")


def key(data: Mapping[str, Any]) -> tuple[str, int]:
    """The turn and the call that a counsel's guidance went out with."""
    return str(data.get("id", "")).rpartition("/")[0], int(data.get("iteration") or 0)


def lines(text: str) -> list[str]:
    """The points of a guidance whose record is not there: its lines, without the frame around them."""
    return [line[2:].strip() for line in text.splitlines() if line.startswith("- ")]


def _open(session: Session, records: Iterable[Mapping[str, Any]], in_force: set[tuple[str, int]]) -> Open | None:
    """The last blocker in force that was not followed, and how many calls ago it was said, or said again."""
    places = {id(placed["data"]): placed["after"] for placed in session.placed_records() if placed["kind"] == KIND}
    given = ((data, places[id(data)]) for data in records if id(data) in places and key(data) in in_force)
    return open_blocker(given, session.transcript(), tools_of(session))


def tools_of(session: Session) -> frozenset[str]:
    """The names of the tools that the main model has, which its advisers may name: those that its requests list."""
    return frozenset(str(tool["name"]) for tool in (session.kept("tools") or {}).get("list", ()))


def open_blocker(
    given: Iterable[tuple[Mapping[str, Any], int]], transcript: Sequence[Message], tools: frozenset[str]
) -> Open | None:
    """The last blocker that was not followed. `given` are counsels in force, oldest first, each with how many messages stood before it."""
    found: Open | None = None
    for data, at in given:
        if (again := data.get("reminds")) is not None and found is not None and found.id == again:
            found = Open(found.id, found.text, found.turn, found.step, _calls_since(transcript, at))
        elif data.get("severity") == "blocker" and data.get("points"):
            if outcome(data, transcript, at, tools) is True:
                found = None
            else:
                text = str(data["points"][0])
                found = Open(
                    str(data["id"]),
                    text,
                    int(data.get("turn") or 1),
                    int(data.get("step") or 0),
                    _calls_since(transcript, at),
                )
    return found


def _calls_since(transcript: Sequence[Message], at: int) -> int:
    return sum(message.role == "assistant" for message in transcript[at:])


def outcome(data: Mapping[str, Any], transcript: Sequence[Message], at: int, tools: frozenset[str]) -> bool | None:
    """Whether the advice of a counsel that stands before message number `at` was followed; None: not to be told. `tools` are the main model's.

    A next step that names a tool or a path is followed if one of the next two calls of the main model has it. Of advice that nobody
    compared each point counts as a step.
    """
    analysis = data.get("analysis")
    steps = analysis.get("next_steps", ()) if isinstance(analysis, dict) else data.get("points", ())
    made: list[tuple[str, str]] = []
    replies = 0
    for message in transcript[at:]:
        if message.role != "assistant":
            continue
        replies += 1
        made += [(call.name, call.arguments) for call in message.tool_calls]
        if replies == FOLLOW_CALLS:
            break
    if replies < FOLLOW_CALLS and not points.followed([str(step) for step in steps], made, tools):
        # It may still be followed; and where the turn has ended nobody can tell.
        return None
    return points.followed([str(step) for step in steps], made, tools)
