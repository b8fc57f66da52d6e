"""Errors as objects: every envelope in which servers send them, and the status and the wait that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from agent.llm.answers.reading import as_dict, as_list, as_str
from agent.text.numbers import whole_number

# Words that stand where a status should (OpenAI, Anthropic, OpenRouter's `error_type`, gateways), and the status they mean.
_STATUS_OF = {
    "invalid_request_error": 400,
    "bad_request": 400,
    "invalid_argument": 400,
    "validationexception": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "invalidapikey": 401,
    "unauthorized": 401,
    "unauthenticated": 401,
    "billing_error": 402,
    "insufficient_quota": 402,
    "insufficient_user_quota": 402,
    "insufficient_balance": 402,
    "exceeded_current_quota_error": 402,
    "arrearage": 402,
    "payment_required": 402,
    "insufficient_credits": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "forbidden": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "timeout_error": 408,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_reached_error": 429,
    "resource_exhausted": 429,
    "throttlingexception": 429,
    "too_many_requests": 429,
    "rate_limited": 429,
    "capacity_exhausted": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "temporarily_unavailable": 503,
    "engine_overloaded_error": 503,
    "unavailable": 503,
    "overloaded_error": 529,
    "provider_overloaded": 529,
}

# Where the words stand, the most telling first.
_MESSAGES = (
    "message",
    "msg",
    "error_msg",
    "error_message",
    "errorMessage",
    "status_msg",
    "Message",
    "errmsg",
    "detail",
    "title",
)
_CODES = ("code", "type", "status", "error_code", "errorCode", "status_code", "Code", "__type", "err_code")
_FINE = (None, "", 0, "0", 200, "200", "ok", "OK", "success", "Success", True)
_WAIT = (
    r"(?i)(?:try again|retry|wait)(?: again)?(?: in| after|:)? *(?:(\d{1,4})m(?:in\w*)?)? *(\d{1,6}(?:\.\d{1,6})?) ?s"
)


def envelope(payload: dict[str, Any]) -> dict[str, Any]:
    """The error object of any known envelope, its words under `message`; {} where there is none.

    Known are `{error: {…}}`, `{error: "…"}`, `{detail: …}`, `{message: …}`, `{errors: […]}`, `{base_resp: {…}}` (MiniMax), `{code, msg}`,
    `{error_code, error_msg}` (Qianfan), `{header: {code, message}}` (iFlytek), `{__type, message}` (AWS) and `{object: "error"}` (FastChat).
    """
    error = payload.get("error")
    if isinstance(error, dict) and error:
        extra: dict[str, Any] = {
            key: payload[key] for key in ("availability", "metadata") if key in payload and key not in error
        }
        return _worded({**error, **extra})
    if isinstance(error, str) and error:
        beside = as_str(payload.get("message"))
        return {**payload, "message": f"{error}: {beside}" if beside else error}
    for key in ("base_resp", "header", "Error"):
        inner = as_dict(payload.get(key))
        if _names_fault(inner):
            return _worded(inner)
    for key in ("detail", "errors"):
        if payload.get(key):
            return _inner(payload[key])
    return _worded(payload) if _words(payload) or payload.get("object") == "error" else {}


def is_error(payload: dict[str, Any]) -> bool:
    """True for an error that stands where an answer should, under a status of 200. A payload with an answer in it is none."""
    if payload.get("error"):
        return True
    if any(payload.get(key) for key in ("choices", "content", "output", "delta", "usage", "candidates")):
        return False
    if any(_names_fault(as_dict(payload.get(key))) for key in ("base_resp", "header", "Error")):
        return True
    if payload.get("success") is False or payload.get("object") == "error" or payload.get("errors"):
        return True
    return bool(_words(payload)) and (
        _names_fault(payload) or set(payload) <= {*_MESSAGES, *_CODES, "request_id", "id"}
    )


def status_in(error: dict[str, Any], words: list[str]) -> int:
    """The HTTP status that an error object means, by number or by word; 0 where it names none."""
    for name in (*_CODES, "http_status"):
        value = error.get(name)
        number = whole_number(value) if isinstance(value, str) else value
        if isinstance(number, int) and 400 <= number < 600:
            return number
    return next((_STATUS_OF[word] for word in words if word in _STATUS_OF), 0)


def codes_of(error: dict[str, Any]) -> list[str]:
    """The words, in lower case, that an error object has for its kind."""
    metadata, availability = as_dict(error.get("metadata")), as_dict(error.get("availability"))
    found = [*(error.get(name) for name in _CODES), metadata.get("error_type"), availability.get("code")]
    return [word.lower()[:200] for word in found if isinstance(word, str)]


def wait_in(error: dict[str, Any], message: str) -> float | None:
    """Seconds to wait, where an error object or its words name them."""
    named = [as_dict(error.get(key)).get("retry_after") for key in ("metadata", "availability")]
    for value in (error.get("retry_after"), *named):
        if value is not None and (seconds := seconds_of(str(value))) is not None:
            return seconds
    for item in map(as_dict, as_list(error.get("details"))):  # Gemini: "33s"
        if (seconds := seconds_of(as_str(item.get("retryDelay")).removesuffix("s"))) is not None:
            return seconds
    if found := re.search(_WAIT, message):
        return float(found[1] or 0) * 60 + float(found[2])
    return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `Retry-After` as a number or an HTTP date (RFC 9110, 10.2.3), or from `retry-after-ms`."""
    named = {name.lower(): value for name, value in headers.items()}
    if (milliseconds := seconds_of(named.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = named.get("retry-after")
    if value is None:
        return None
    if (seconds := seconds_of(value)) is not None:
        return seconds
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def seconds_of(value: str | None) -> float | None:
    """A number of seconds that may be waited for; None for anything else."""
    try:
        number = float((value or "")[:40])
    except ValueError:
        return None
    return number if 0 <= number < 1e7 else None


def _names_fault(error: dict[str, Any]) -> bool:
    named = [error[name] for name in _CODES if name in error and name != "type"]
    return any(not isinstance(value, dict | list) and value not in _FINE for value in named)


def _words(error: dict[str, Any]) -> str:
    return next((found for name in _MESSAGES if (found := as_str(error.get(name)).strip())), "")


def _worded(error: dict[str, Any]) -> dict[str, Any]:
    words = _words(error)
    return {**error, "message": words} if words else error


def _inner(value: Any) -> dict[str, Any]:
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, dict) and _words(first):
        return _worded(first)
    return {"message": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)[:1000]}
