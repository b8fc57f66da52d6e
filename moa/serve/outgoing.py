"""What goes out of a passed-on request: its bytes, as they came but for the model's name and what was inserted, and the headers with it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.llm.accounting import Bound
from agent.llm.body import encode_json
from agent.llm.dialects.registry import dialect_named
from agent.llm.models.prices import bound_nano
from agent.llm.relay import Outgoing
from agent.llm.tokens import IMAGE, SAFETY, estimate_tokens
from agent.process import depth
from agent.text import foreign_json
from agent.text.secrets import MASK, redact
from moa.serve.counsel.side_calls import LIMITS
from moa.serve.wires.media import media_in
from moa.serve.wires.registry import wire_named

if TYPE_CHECKING:
    from agent.llm.models.endpoint import Endpoint
    from moa.serve.server import Call

VERSION = "2023-06-01"
UNBOUNDED = 128_000
"""Tokens that an answer may have where nobody names a limit."""
UNKNOWN_WINDOW = 1_000_000
"""Tokens that a prompt may have where nobody knows the model's window."""
MOST = 10**12
"""Tokens: what is beyond is no number that could be kept."""
GUIDANCE = 1_000
"""Tokens that a new guidance may add."""

_PASSED = (
    "anthropic-",
    "openai-beta",
    "x-session-id",
    "session_id",
    "session-id",
    "conversation_id",
    "http-referer",
    "x-title",
)
"""How the headers begin that go through unchanged."""
_KEPT = (
    "anthropic-", "openai-", "x-ratelimit-", "x-codex-", "request-id", "x-request-id", "x-generation-id", "retry-after", "x-should-retry",
)  # fmt: skip
"""The same of an answer."""
_NOT_KEPT = frozenset({"openai-organization", "openai-project", "anthropic-organization-id"})

_MODEL = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
"""No client needs one: what has it may spell a name in a way that is not found."""
_ASKS = b'"stream_options":{"include_usage":true},'


def outgoing(call: Call, body: dict[str, Any], endpoint: Endpoint, *, path: str | None = None) -> Outgoing:
    """A request of the client's own wire. `body` is what `Served.body` made of it; `endpoint` has the key: one that is started for the request
    (a local model) has none before."""
    where = path or dialect_named(wire_named(call.wire).dialect).path
    query = f"?{call.query}" if call.query else ""
    return Outgoing(where + query, _headers(call, endpoint), _bytes(call, body))


def asks_for_usage(call: Call) -> bool:
    """Whether a chat stream is told to report its usage, which the client did not ask for: without it nothing could be counted."""
    if call.wire != "chat" or not call.stream:
        return False
    options = call.body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        return False
    quirks = call.server.client.quirks(call.endpoint, call.named.main.model)
    return "no_stream_options" not in quirks


def _bytes(call: Call, body: dict[str, Any]) -> bytes:
    name = call.named.main.model
    options = call.body.get("stream_options")
    asks = asks_for_usage(call)
    if call.body.get("tools") == [] and call.wire == "chat":  # refused by most, and the same as none
        body = {key: value for key, value in body.items() if key not in ("tools", "tool_choice")}
    elif body is call.body and not (asks and "stream_options" in body):
        spliced = _spliced(call.raw, body["model"], name, _ASKS if asks else b"")
        if spliced is not None:
            return spliced
    more = {"stream_options": {**(options if isinstance(options, dict) else {}), "include_usage": True}} if asks else {}
    return encode_json({**body, "model": name, **more})


def _spliced(raw: bytes, old: str, name: str, more: bytes) -> bytes | None:
    """The client's very bytes with another model's name, and with `more` before all other fields; None where it can't be told which one the
    name is."""
    found = list(_MODEL.finditer(raw))
    if len(found) != 1 or _ESCAPED_LETTER.search(raw) or foreign_json.loads(found[0][1]) != old:
        return None
    start, end = found[0].span(1)
    first = raw.index(b"{") + 1
    return b"".join((raw[:first], more, raw[first:start], json.dumps(name, ensure_ascii=False).encode(), raw[end:]))


def _headers(call: Call, endpoint: Endpoint) -> dict[str, str]:
    """What the client says to the endpoint, the endpoint's key, and how deep in panels this is."""
    headers = {name: value for name, value in call.headers.items() if name.startswith(_PASSED)}
    headers["accept"] = "text/event-stream" if call.stream else "application/json"
    if call.wire == "messages":
        headers.setdefault("anthropic-version", VERSION)
    headers |= key_headers(endpoint, call.wire)
    if call.served.asked.depth:
        headers |= depth.headers(call.served.asked.depth)
    return headers


def key_headers(endpoint: Endpoint, wire: str) -> dict[str, str]:
    """The endpoint's key, as its dialect wants it."""
    if not endpoint.api_key:
        return {}
    if wire == "messages" and endpoint.dialect == "anthropic":
        return {"x-api-key": endpoint.api_key}
    return {"authorization": f"Bearer {endpoint.api_key}"}


def kept_headers(headers: Mapping[str, str], endpoint: Endpoint) -> dict[str, str]:
    """The headers of an answer that the client gets, without the endpoint's key."""
    spelled = endpoint.spelled()
    return {
        name.lower(): redact(value, spelled)
        for name, value in headers.items()
        if name.lower().startswith(_KEPT) and name.lower() not in _NOT_KEPT
    }


def without(data: bytes, endpoint: Endpoint) -> bytes:
    """What an endpoint said, in whole events, without its key."""
    for secret in endpoint.spelled():
        if (key := secret.encode("utf-8", "replace")) in data:
            data = data.replace(key, MASK.encode())
    return data


def bound_of(call: Call) -> Bound:
    """The most that the answer can cost."""
    facts = call.server.client.facts(call.named.main)
    window = facts.context_window
    media = media_in(call.wire, call.body)
    if media.unbounded and not call.account.is_own:
        prompt = UNKNOWN_WINDOW if window is None else window
    else:
        text = estimate_tokens(call.raw.decode("utf-8", "replace")) - media.letters // 4
        prompt = int(max(0, text) * SAFETY) + IMAGE * media.pictures + 64
    preset = call.named.preset
    if preset is not None:
        prompt += GUIDANCE + (preset.guidance_tokens or 0)
    # Who names several limits may get the largest, and `n` answers are as many times as dear.
    named = [_limit(call.body[key]) for key in LIMITS if call.body.get(key) is not None]
    largest = None if None in named else max((limit for limit in named if limit), default=None)
    limits = [limit for limit in (largest, facts.max_output, window) if limit is not None]
    answers = max(1, *(_whole(call.body.get(key)) or 1 for key in ("n", "best_of")))
    completion = min(min(limits, default=UNBOUNDED) * answers, MOST)
    if window is not None:
        prompt = min(prompt, window)
    if call.endpoint.free:
        return Bound(prompt, completion, 0)
    return Bound(prompt, completion, None if facts.price is None else bound_nano(prompt, completion, facts.price))


def _limit(value: Any) -> int | None:
    """The limit that a value names; None where it is none: some take -1 for no limit."""
    limit = _whole(value)
    return None if limit is None or limit < 0 else limit


def _whole(value: Any) -> int | None:
    """The number that an endpoint may read in a value: some take 100.0 and "100", too."""
    try:
        return math.ceil(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
