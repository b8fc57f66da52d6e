"""Side calls: requests of a client's own machinery (titles, summaries, safety checks), for which nobody wants counsel."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moa.serve.guidance.anchors import Reading

SHORT_ANSWER = 512
"""A request without tools that wants no more tokens than these is one."""
TOOLS_WITHIN_S = 3600.0
"""So long the requests of a key count as its last."""

LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Shape:
    """A side call of a known client. `client` is how the program's name in its user agent begins; the request has the words of `system` in
    its system text, or of `last` in what was said last. `seen`: the version in which it was."""

    client: str
    what: str
    seen: str
    system: str = ""
    last: str = ""


SHAPES: tuple[Shape, ...] = (
    Shape("claude-cli", "Claude Code's title", "2.1.197", system=r"Generate a concise, sentence-case title"),
    # With all tools, and the whole conversation before it.
    Shape(
        "claude-cli",
        "Claude Code's summary",
        "2.1.197",
        last=r"^CRITICAL: Respond with TEXT ONLY\. Do NOT call any tools",
    ),
    Shape("codex", "Codex's title", "0.169.0", last=r"^Generate a concise, single-line task title"),
    Shape("codex", "Codex's summary", "0.169.0", last=r"^You are performing a CONTEXT CHECKPOINT COMPACTION"),
    Shape("opencode", "opencode's title", "1.18.33", system=r"^You are a title generator"),
    Shape("opencode", "opencode's summary", "1.18.33", system=r"^You are a context summarization agent"),
    # These do not say who they are: their client library does (OpenAI/JS, OpenAI/Python).
    Shape(
        "openai",
        "aider's commit message",
        "0.86.2",
        system=r"^You are an expert software engineer that generates concise, one-line Git commit",
    ),
    Shape("openai", "pi's summary", "0.74.2", system=r"^You are a context summarization assistant"),
    # With the client library's name, too (Python/3.11 aiohttp). An answer from documents begins with "### Task:" as well, and is none.
    Shape("python", "Open WebUI's title", "0.12.4", last=r"^### Task:\s+Generate a concise title summarizing the chat"),
    Shape("python", "Open WebUI's tags", "0.12.4", last=r"^### Task:\s+Generate 1-3 broad tags"),
    Shape("python", "Open WebUI's suggestions", "0.12.4", last=r"^### Task:\s+Predict 3-5 useful messages this user"),
    Shape(
        "python",
        "Open WebUI's search queries",
        "0.12.4",
        last=r"^### Task:\s+Analyze the chat history to determine the necessity of generating search queries",
    ),
    Shape(
        "python",
        "Open WebUI's prompt for an image",
        "0.12.4",
        last=r"^### Task:\s+Generate a detailed prompt for am image generation task",
    ),
)
"""With a recorded request of each as its test (tests/data/side_calls)."""


def why_side_call(body: Mapping[str, Any], reading: Reading, client: str, had_tools: Callable[[], bool]) -> str | None:
    """Why a request is a side call, in words; None where it is none. `client` is its user agent; `had_tools` says whether the key's last
    requests had some."""
    if shape := known_shape(body, reading, client):
        return f"a side call: {shape.what}"
    if has_tools(body):
        return None
    if (limit := _limit(body)) is not None and 0 <= limit <= SHORT_ANSWER:  # some say -1 for none
        return f"a side call: no tools, and an answer of at most {limit} tokens"
    if _wants_json(body):
        return "a side call: no tools, and an answer in JSON"
    if had_tools():
        return "a side call: no tools, although the last requests had some"
    return None


def why_own_shape(body: Mapping[str, Any], reading: Reading, client: str) -> str | None:
    """The same where a request without tools is nothing special (`fuse/PRESET` is there for questions): known clients' own calls alone."""
    shape = known_shape(body, reading, client)
    return None if shape is None else f"a side call: {shape.what}"


def has_tools(body: Mapping[str, Any]) -> bool:
    """Whether a request lists tools."""
    return any(isinstance(body.get(key), list) and body[key] for key in ("tools", "functions"))


def known_shape(body: Mapping[str, Any], reading: Reading, client: str) -> Shape | None:
    """The known side call that this request is."""
    name = program(client)
    own = [shape for shape in SHAPES if name.startswith(shape.client)]
    if not own:
        return None
    system = system_of(body).lstrip()
    last = next((piece.text.lstrip() for piece in reversed(reading.pieces) if piece.kind in ("text", "result")), "")
    for shape in own:
        if (not shape.system or re.search(shape.system, system)) and (not shape.last or re.search(shape.last, last)):
            return shape
    return None


def program(client: str) -> str:
    """The program's name in a user agent: `claude-cli` of `claude-cli/2.1.197 (external, cli)`."""
    return re.split(r"[/\s(]", client.strip(), maxsplit=1)[0].lower()[:40]


def system_of(body: Mapping[str, Any]) -> str:
    """The text that stands before the conversation, on any wire."""
    found = [body.get("system"), body.get("instructions")]
    for key in ("messages", "input"):
        items = body.get(key)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and item.get("role") in ("system", "developer"):
                found.append(item.get("content"))
    return "\n".join(_texts(each) for each in found)


def instructions_of(body: Mapping[str, Any]) -> str:
    """The same for a panel's eyes: without Claude Code's billing line, which is new in each request."""
    return re.sub(r"(?m)^x-anthropic-billing-header:.*\n?", "", system_of(body)).strip()


def _texts(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(_texts(item) for item in value)
    return _texts(value.get("text")) if isinstance(value, dict) else ""


def _limit(body: Mapping[str, Any]) -> int | None:
    return next((body[key] for key in LIMITS if isinstance(body.get(key), int)), None)


def _wants_json(body: Mapping[str, Any]) -> bool:
    """By a format of any wire."""
    places = (
        body.get("response_format"),
        _under(body, "text"),
        _under(body, "output_config"),
        body.get("output_format"),
    )
    return any(isinstance(place, dict) and str(place.get("type", "")).startswith("json") for place in places)


def _under(body: Mapping[str, Any], key: str) -> Any:
    inner = body.get(key)
    return inner.get("format") if isinstance(inner, dict) else None
