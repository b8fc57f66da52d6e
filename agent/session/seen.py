"""What a face showed beside messages and records: tools as they ran, notices, ends of turns. Kept, so that a conversation that is opened
again looks as it did. Models are sent none of it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

from agent.events import AgentEvent, Cost, ErrorInfo, Notice, ToolFinished, ToolStarted, TurnFinished, TurnStatus
from agent.llm.stream import Usage
from agent.values import dataclass

ToolOutcome = Literal["ok", "error", "denied", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSeen:
    """How a call ran; what it came to is its message. `id` is the call's; seconds."""

    type: Literal["tool"] = "tool"
    id: str
    title: str
    outcome: ToolOutcome
    diff: str | None
    duration_s: float


Seen = ToolSeen | Notice | TurnFinished


class PlacedSeen(NamedTuple):
    """Something that was shown in the present transcript. `after` counts the messages before it."""

    seen: Seen
    after: int


class Watcher:
    """Picks from a turn's events what is to be kept."""

    def __init__(self) -> None:
        self._titles: dict[str, str] = {}

    def entry(self, event: AgentEvent) -> dict[str, Any] | None:
        """The event as an entry of the session; None where it is not kept: it is a message or a record, or belongs to side work."""
        match event:
            case ToolStarted(source="main"):
                self._titles[event.call.id] = event.title
            case ToolFinished(source="main"):
                title = self._titles.pop(event.call.id, "")
                said = {"id": event.call.id, "title": title, "outcome": event.outcome, "duration_s": event.duration_s}
                return {"event": "tool", **said, **({"diff": event.diff} if event.diff else {})}
            case Notice():
                return {"event": "notice", "level": event.level, "code": event.code, "text": event.text}
            case TurnFinished(source="main"):
                return _end(event)
            case _:
                pass
        return None


def _end(event: TurnFinished) -> dict[str, Any]:
    error = event.error
    told = {} if error is None else {"kind": error.kind, "message": error.message, "remedy": error.remedy}
    return {
        "event": "turn_finished",
        "turn": event.turn,
        "status": event.status,
        "iterations": event.iterations,
        "tokens": [event.usage.prompt, event.usage.completion],
        "usd": event.cost.usd,
        "lower_bound": event.cost.lower_bound,
        "duration_s": event.duration_s,
        **({"error": told} if told else {}),
    }


def read(entry: dict[str, Any]) -> Seen | None:
    """What an entry tells; None where it is one that this version does not know. Raises ValueError, KeyError, TypeError for a broken one."""
    match entry["event"]:
        case "tool":
            outcome: ToolOutcome = entry["outcome"]
            if outcome not in get_args(ToolOutcome):
                raise ValueError("a tool with no outcome")
            diff = entry.get("diff")
            return ToolSeen(
                id=str(entry["id"]),
                title=str(entry["title"]),
                outcome=outcome,
                diff=None if diff is None else str(diff),
                duration_s=float(entry["duration_s"]),
            )
        case "notice":
            level: Literal["info", "warning", "error"] = entry["level"]
            if level not in ("info", "warning", "error"):
                raise ValueError("a notice of no level")
            return Notice(level=level, code=str(entry["code"]), text=str(entry["text"]))
        case "turn_finished":
            return _read_end(entry)
        case _:
            return None


def _read_end(entry: dict[str, Any]) -> TurnFinished:
    status: TurnStatus = entry["status"]
    if status not in get_args(TurnStatus):
        raise ValueError("a turn with no end")
    prompt, completion = entry["tokens"]
    error, usd = entry.get("error"), entry["usd"]
    remedy = error.get("remedy") if error else None
    return TurnFinished(
        turn=str(entry["turn"]),
        status=status,
        text="",
        error=ErrorInfo(kind=str(error["kind"]), message=str(error["message"]), remedy=remedy and str(remedy))
        if error
        else None,
        iterations=int(entry["iterations"]),
        usage=Usage(prompt=int(prompt), completion=int(completion)),
        cost=Cost(usd=None if usd is None else float(usd), lower_bound=bool(entry["lower_bound"])),
        duration_s=float(entry["duration_s"]),
    )
