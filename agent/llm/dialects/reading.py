"""Reading what endpoints send: tolerant JSON, and every known shape of a refusal as a named error."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from agent.llm import errors
from agent.llm.endpoint import Endpoint
from agent.llm.errors import ModelError
from agent.llm.quirks import overflows, refused
from agent.llm.text import whole

# Words that stand where a status should (OpenAI, Anthropic, OpenRouter's `error_type`, gateways), and the status they mean.
_STATUS_OF = {
    "invalid_request_error": 400,
    "bad_request": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "insufficient_quota": 402,
    "payment_required": 402,
    "insufficient_credits": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "timeout_error": 408,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "rate_limited": 429,
    "capacity_exhausted": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "temporarily_unavailable": 503,
    "overloaded_error": 529,
    "provider_overloaded": 529,
}

# Patterns are compiled on first use: most answers need none of them, and this module is loaded before the first request is sent.
_NO_MODEL = (
    r"(?is)model_not_found|not a valid model|model.{0,80}(not found|does not exist|not exist|no longer available)|no such model"
    r"|invalid model|unknown model|no endpoints found for"
)
_BAD_KEY = r"(?i)(invalid|incorrect|missing).{0,10}api.?key|api.?key.{0,10}(not valid|invalid|missing)"
_KEYLIKE = r"(?i)\b(?:sk|gsk|xai|pk|key|tvly|bearer)[-_ ][\w.*-]{8,}|\bAIza[\w-]{10,}"


def as_dict(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """The value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def as_str(value: object) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def as_name(value: object) -> str:
    """The value if it is a string, without halves of characters: an id or a name goes into files and tables."""
    return whole(as_str(value))


def as_count(value: object) -> int:
    """The value if it is a number of tokens, else 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
        return 0
    return int(value)


def as_nano(value: object) -> int | None:
    """An amount in US dollars as nano-dollars; None where it is no amount, or negative (some say -1 for "depends")."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        return None
    from agent.llm.money import nano_from_usd

    return nano_from_usd(value)


def first_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text that may have padding, comments or a `[DONE]` around it; None where there is none."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    for _attempt in range(16):
        if start < 0:
            return None
        try:
            value, _end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        return as_dict(value)
    return None


def is_event_stream(text: str) -> bool:
    """True where a body that should be JSON is a stream of server-sent events after all (the content type lied)."""
    for line in text.split("\n"):
        line = line.strip()
        if line and not line.startswith(":"):
            return line.startswith(("data:", "event:", "id:", "retry:"))
    return False


def events_of(text: str) -> list[tuple[str, str]]:
    """Server-sent events of a whole body: (event name, data). Only `\\n` and `\\r` end a line, as the specification has it."""
    events: list[tuple[str, str]] = []
    name = ""
    data: list[str] = []
    for line in [*re.split(r"\r\n|\n|\r", text), ""]:
        if not line:
            if data:
                events.append((name or "message", "\n".join(data)))
            name, data = "", []
            continue
        field, _colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
    return events


def scrub(text: str, endpoint: Endpoint | None = None) -> str:
    """A message with anything that looks like a key, and this endpoint's own, taken out."""
    if endpoint:
        text = endpoint.redact(text)
    return re.sub(_KEYLIKE, "[key]", text)


def classify(status: int, headers: Mapping[str, str], body: bytes, endpoint: Endpoint | None = None) -> ModelError:
    """A refused request as a named error; its message is the endpoint's, its remedy says what to do."""
    text = body[:100_000].decode("utf-8", "replace")
    payload = first_object(text)
    error = _envelope(payload) if payload else {}
    if not error:
        plain = _plain(text)
        error = {
            "message": plain if any(char.isalnum() for char in plain) and plain != "null" else f"HTTP status {status}"
        }
    if status == 404 and not payload:
        where = endpoint.address if endpoint else "the endpoint"
        return errors.BadRequest(
            f"{where} has no such address (HTTP status 404)",
            status=404,
            remedy="check base_url: it usually ends in /v1",
        )
    if 300 <= status < 400:
        target = scrub(headers.get("location", "elsewhere"), endpoint)
        return errors.BadRequest(f"the endpoint redirects to {target}", status=status, remedy="correct its base_url")
    return error_of(error, status, retry_after=_retry_after(headers), endpoint=endpoint)


def error_in_stream(chunk: dict[str, Any], endpoint: Endpoint | None = None) -> ModelError:
    """An error that arrived with HTTP status 200: its `code` is a status, or a word for one."""
    error = _envelope(chunk) or {"message": "the endpoint reported an error without saying which"}
    return error_of(error, 0, endpoint=endpoint)


def error_of(
    error: dict[str, Any], status: int, *, retry_after: float | None = None, endpoint: Endpoint | None = None
) -> ModelError:
    """An error object `{code, message, type, metadata, availability …}` as a named error. `status` 0: look for it inside."""
    metadata, availability = as_dict(error.get("metadata")), as_dict(error.get("availability"))
    message = as_str(error.get("message")) or as_str(error.get("msg")) or json.dumps(error, ensure_ascii=False)[:300]
    upstream = metadata.get("raw")
    if upstream:
        upstream = upstream if isinstance(upstream, str) else json.dumps(upstream, ensure_ascii=False)
        message = f"{message}: {_plain(upstream)}"
    message = whole(scrub(message, endpoint)[:2000])
    words = [
        word.lower()
        for word in (
            error.get("code"),
            error.get("type"),
            error.get("status"),
            metadata.get("error_type"),
            availability.get("code"),
        )
        if isinstance(word, str)
    ]
    meant = _status_in(error, words)
    if not status or (status == 429 and meant == 402) or (status == 400 and meant == 404):
        status = meant or status
    if retry_after is None:
        waits = (error.get("retry_after"), metadata.get("retry_after"), availability.get("retry_after"))
        retry_after = next((_number(str(wait)) for wait in waits if wait is not None), None)
    return _named(message, status, words, retry_after, endpoint)


def _named(
    message: str, status: int, words: list[str], retry_after: float | None, endpoint: Endpoint | None
) -> ModelError:
    text = " ".join([message, *words])
    name = endpoint.name if endpoint else "ENDPOINT"
    if status in (0, 400, 404, 413, 422, 500, 501) and overflows(text):
        remedy = "shorten the conversation (/compact), or take a model with a larger window"
        return errors.ContextOverflow(message, status=status or None, remedy=remedy)
    # Chat templates that refuse a history, and proxies that refuse a parameter, come back as 500.
    feature = refused(text) if status in (0, 400, 404, 415, 422, 500, 501) else None
    if feature:
        return errors.Unsupported(message, feature=feature, status=status or None)
    if status == 404 or (status in (0, 400, 422) and re.search(_NO_MODEL, text)):
        remedy = f"`moa models list {name}` shows what it offers"
        return errors.ModelNotFound(message, status=status or None, remedy=remedy)
    if status == 403 and re.search(r"moderation|flagged|guardrail", text, re.IGNORECASE):
        remedy = "the provider's moderation refused the content; rephrase it or choose another provider"
        return errors.BadRequest(message, status=status, remedy=remedy)
    if status in (401, 403) or (status == 400 and re.search(_BAD_KEY, text)):  # Gemini refuses a bad key with a 400
        return errors.AuthError(message, status=status, remedy=_key_remedy(endpoint))
    if status == 402:
        remedy = f"add credits at {name}, or lower max_tokens or choose a cheaper model"
        return errors.PaymentRequired(message, status=status, remedy=remedy)
    if status == 429:
        remedy = "wait, or lower max_concurrency of this endpoint"
        return errors.RateLimited(message, status=status, remedy=remedy, retry_after=retry_after)
    if status == 408 or status >= 500:
        remedy = "the provider is down or busy: try again, or choose another model"
        return errors.Overloaded(message, status=status, remedy=remedy, retry_after=retry_after)
    if status:
        return errors.BadRequest(message, status=status)
    return errors.StreamBroken(message, remedy="try again")


def _envelope(payload: dict[str, Any]) -> dict[str, Any]:
    """The error object of any known envelope: `{error: {…}}`, `{error: "…"}`, `{detail: …}`, `{message: …}`, `{errors: […]}`."""
    error = payload.get("error")
    if isinstance(error, dict) and error:
        extra = {key: payload[key] for key in ("availability", "metadata") if key in payload and key not in error}
        return {**error, **extra}
    if isinstance(error, str) and error:
        return {**payload, "message": error if not payload.get("message") else f"{error}: {payload['message']}"}
    for key in ("detail", "errors"):
        if payload.get(key):
            inner = payload[key]
            return {"message": inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)[:1000]}
    return payload if as_str(payload.get("message")) or payload.get("object") == "error" else {}


def _status_in(error: dict[str, Any], words: list[str]) -> int:
    for value in (error.get("code"), error.get("status"), error.get("status_code")):
        number = int(value) if isinstance(value, str) and value.isdigit() else value
        if isinstance(number, int) and 400 <= number < 600:
            return number
    return next((_STATUS_OF[word] for word in words if word in _STATUS_OF), 0)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `Retry-After` as a number or an HTTP date (RFC 9110, 10.2.3), or from `retry-after-ms`."""
    named = {name.lower(): value for name, value in headers.items()}
    if (milliseconds := _number(named.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = named.get("retry-after")
    if value is None:
        return None
    if (seconds := _number(value)) is not None:
        return seconds
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < 1e7 else None


def _key_remedy(endpoint: Endpoint | None) -> str:
    if not endpoint:
        return "check the endpoint's API key"
    if not endpoint.api_key_env:
        return f"set api_key_env under [endpoints.{endpoint.name}] and put the key into that environment variable"
    where = f" (it came from {endpoint.key_source})" if endpoint.key_source else ""
    return f"check the key in the environment variable {endpoint.api_key_env}{where}"


def _plain(text: str) -> str:
    """A body that is no JSON as one short line: markup and white space taken out."""
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())[:300]
