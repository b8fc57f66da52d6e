"""Refusals as named errors: what an envelope, a status and the words of a server mean together."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from agent.llm import errors
from agent.llm.answers.reading import as_dict, as_str, first_object
from agent.llm.errors import ModelError
from agent.llm.models.endpoint import Endpoint
from agent.llm.models.quirks import implied, refused
from agent.llm.refusals import wordings
from agent.llm.refusals.envelope import codes_of, envelope, retry_after, status_in, wait_in
from agent.text.encodable import whole

# Patterns are compiled on first use: most answers need none of them, and this module is loaded before the first request is sent.
_NO_MODEL = (
    r"(?is)model_not_found|not a valid model|model.{0,80}(not found|does not exist|not exist|no longer available)|no such model"
    r"|invalid model|unknown model|no endpoints found for"
)
_BAD_KEY = r"(?i)(invalid|incorrect|missing).{0,10}api.?key|api.?key.{0,10}(not valid|invalid|missing)"
_KEYLIKE = r"(?i)\b(?:sk|gsk|xai|pk|key|tvly|bearer)[-_ ][\w.*-]{8,}|\bAIza[\w-]{10,}"

MOST_TEXT = 100_000
"""Characters of a refusal's body that are looked at."""


def scrub(text: str, endpoint: Endpoint | None = None) -> str:
    """A message with anything that looks like a key, and this endpoint's own, taken out."""
    if endpoint:
        text = endpoint.redact(text)
    return re.sub(_KEYLIKE, "[key]", text)


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    endpoint: Endpoint | None = None,
    sent: Mapping[str, Any] | None = None,
) -> ModelError:
    """A refused request as a named error; its message is the endpoint's, its remedy says what to do.

    `sent` is the request's body: only a feature that it carried can have been refused.
    """
    text = body[:MOST_TEXT].decode("utf-8", "replace").removeprefix("\ufeff")
    payload = first_object(text)
    error = envelope(payload) if payload else {}
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
    return error_of(error, status, retry_after_s=retry_after(headers), endpoint=endpoint, sent=sent)


def error_in_stream(chunk: dict[str, Any], endpoint: Endpoint | None = None) -> ModelError:
    """An error that arrived with HTTP status 200: its `code` is a status, or a word for one."""
    error = envelope(chunk) or {"message": "the endpoint reported an error without saying which"}
    return error_of(error, 0, endpoint=endpoint)


def error_of(
    error: dict[str, Any],
    status: int,
    *,
    retry_after_s: float | None = None,
    endpoint: Endpoint | None = None,
    sent: Mapping[str, Any] | None = None,
) -> ModelError:
    """An error object `{code, message, type, metadata, availability …}` as a named error. `status` 0: look for it inside."""
    message = as_str(error.get("message")) or as_str(error.get("msg")) or json.dumps(error, ensure_ascii=False)[:300]
    upstream = as_dict(error.get("metadata")).get("raw")
    if upstream:
        upstream = upstream if isinstance(upstream, str) else json.dumps(upstream, ensure_ascii=False)
        message = f"{message}: {_plain(upstream)}"
    message = whole(scrub(message[:10_000], endpoint)[:2000])
    words = codes_of(error)
    meant = status_in(error, words)
    if not status or (status == 400 and meant == 404):
        status = meant or status
    wait = wait_in(error, message) if retry_after_s is None else retry_after_s
    text = " ".join([message, *words])
    found = (
        _by_words(message, text, status, error, endpoint)
        or _unsupported(message, text, status, sent)
        or _by_status(message, text, status, endpoint)
    )
    found.retry_after = wait if found.retryable else None
    return found


def _by_words(
    message: str, text: str, status: int, error: dict[str, Any], endpoint: Endpoint | None
) -> ModelError | None:
    """What a status does not tell, or tells wrongly."""
    if status in (0, 400, 422, 500) and wordings.bound(text):
        remedy = "begin a new session, or take another model: this one's earlier thoughts can't be sent back"
        return errors.ThinkingBound(message, status=status or None, remedy=remedy)
    if status in (0, 400, 422, 500) and wordings.refuses_output(text):
        refused_output = errors.OutputRefused(message, status=status or None, remedy="try again, or another model")
        refused_output.written = whole(as_str(error.get("failed_generation"))[:4000])
        return refused_output
    if (status in (0, 402) or 400 <= status < 600) and wordings.account_is_empty(f"{text} {_details(error)}"):
        return _unpaid(message, status, endpoint)
    # What a proxy refuses for its length alone (413) is told by its status, whatever it says.
    if status == 413 or (status in (0, 400, 404, 422, 500, 501, 502) and wordings.overflows(text)):
        remedy = "shorten the conversation (/compact), or take a model with a larger window"
        return errors.ContextOverflow(message, status=status or None, remedy=remedy)
    if status in (0, 400, 403, 422, 451) and wordings.declines(text):
        remedy = "the provider's filter refused the content: rephrase it, or choose another provider"
        return errors.Refused(message, status=status or None, remedy=remedy)
    if status in (0, 400, 403, 500, 503) and wordings.limits_rate(text):
        return _limited(message, status)
    return None


def _unsupported(message: str, text: str, status: int, sent: Mapping[str, Any] | None) -> ModelError | None:
    """A feature that was refused. Chat templates that refuse a history, and proxies that refuse a parameter, come back as 500."""
    feature = refused(text, sent) if status in (0, 400, 404, 415, 422, 500, 501) else None
    if feature is None:
        return None
    return errors.Unsupported(message, feature=feature, also=implied(feature, text), status=status or None)


def _by_status(message: str, text: str, status: int, endpoint: Endpoint | None) -> ModelError:
    name = endpoint.name if endpoint else "ENDPOINT"
    if status == 404 or (status in (0, 400, 422) and re.search(_NO_MODEL, text)):
        remedy = f"`moa models list {name}` shows what it offers"
        return errors.ModelNotFound(message, status=status or None, remedy=remedy)
    if status in (401, 403) or (status == 400 and re.search(_BAD_KEY, text)):  # Gemini refuses a bad key with a 400
        return errors.AuthError(message, status=status, remedy=_key_remedy(endpoint))
    if status == 402:
        return _unpaid(message, status, endpoint)
    if status == 429:
        return _limited(message, status)
    if status == 408 or status >= 500:
        remedy = "the provider is down or busy: try again, or choose another model"
        return errors.Overloaded(message, status=status, remedy=remedy)
    if status:
        return errors.BadRequest(message, status=status)
    return errors.StreamBroken(message, remedy="try again")


def _unpaid(message: str, status: int, endpoint: Endpoint | None) -> ModelError:
    name = endpoint.name if endpoint else "ENDPOINT"
    remedy = f"add credits at {name}, or lower max_tokens or choose a cheaper model"
    return errors.PaymentRequired(message, status=status or None, remedy=remedy)


def _limited(message: str, status: int) -> ModelError:
    remedy = "wait, or lower max_concurrency of this endpoint"
    return errors.RateLimited(message, status=status or None, remedy=remedy)


def _details(error: dict[str, Any]) -> str:
    """The kinds of an error's details: Gemini's say there whether a quota is one of a time."""
    details = error.get("details")
    return json.dumps(details, ensure_ascii=False)[:2000] if isinstance(details, list) else ""


def _key_remedy(endpoint: Endpoint | None) -> str:
    if not endpoint:
        return "check the endpoint's API key"
    if not endpoint.api_key_env:
        return f"set api_key_env under [endpoints.{endpoint.name}] and put the key into that environment variable"
    where = f" (it came from {endpoint.key_source})" if endpoint.key_source else ""
    return f"check the key in the environment variable {endpoint.api_key_env}{where}"


def _plain(text: str) -> str:
    """A body that is not JSON as one short line: markup and white space taken out."""
    return " ".join(re.sub(r"<[^<>]{0,1000}>", " ", text[:10_000]).split())[:300]
