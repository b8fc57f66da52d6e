"""Every error that a served request can end with, in the words of each wire, and typed so that official clients retry what can be retried.

Those of Anthropic and OpenAI retry 408, 409, 429 and all from 500 on, unless `x-should-retry` says otherwise; both obey `retry-after`.
Vendors' own words stand where clients look for them: Claude Code compacts on "prompt is too long", Codex on `context_length_exceeded`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from agent.errors import StateError, UsageError
from agent.ledger.store import Locked
from agent.llm.errors import (
    AuthError,
    BadRequest,
    BudgetReached,
    ConnectionFailed,
    ContextOverflow,
    EmptyAnswer,
    ModelError,
    ModelNotFound,
    Overloaded,
    PaymentRequired,
    RateLimited,
    Refused,
    TimedOut,
)
from moa.serve.wires.wire import Unsayable


@dataclass(frozen=True, slots=True)
class Fault:
    """One error. `kind` is the Messages API's type, `type` and `code` are OpenAI's. `retry_after` in seconds."""

    status: int
    message: str
    kind: str
    type: str
    code: str | None = None
    param: str | None = None
    retryable: bool = False
    retry_after: float | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What tells a client whether to ask again, and when."""
        headers = {"x-should-retry": "true" if self.retryable else "false"}
        if self.retry_after is not None and self.retryable:
            headers["retry-after"] = str(max(0, math.ceil(self.retry_after)))
        return headers

    @property
    def messages(self) -> dict[str, Any]:
        """The Messages API's envelope."""
        return {"type": "error", "error": {"type": self.kind, "message": self.message}}

    @property
    def openai(self) -> dict[str, Any]:
        """The envelope of Chat Completions and Responses."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


# By class, the nearest first: the status where the upstream gave none, and the words.
_TABLE: tuple[tuple[type[BaseException], int, str, str, str | None], ...] = (
    (ContextOverflow, 400, "invalid_request_error", "invalid_request_error", "context_length_exceeded"),
    (ModelNotFound, 404, "not_found_error", "invalid_request_error", "model_not_found"),
    (BadRequest, 400, "invalid_request_error", "invalid_request_error", None),
    (AuthError, 401, "authentication_error", "authentication_error", "invalid_api_key"),
    (PaymentRequired, 402, "billing_error", "insufficient_quota", "insufficient_quota"),
    (RateLimited, 429, "rate_limit_error", "rate_limit_error", "rate_limit_exceeded"),
    (Overloaded, 503, "overloaded_error", "server_error", "server_is_overloaded"),
    (ConnectionFailed, 502, "api_error", "server_error", "server_error"),
    (TimedOut, 504, "timeout_error", "server_error", "timeout"),
    (Refused, 400, "invalid_request_error", "invalid_request_error", "content_filter"),
    (EmptyAnswer, 502, "api_error", "server_error", "empty_answer"),
    (ModelError, 502, "api_error", "server_error", "server_error"),
    (BudgetReached, 402, "billing_error", "insufficient_quota", "budget_reached"),
    (UsageError, 400, "invalid_request_error", "invalid_request_error", None),
    (Locked, 503, "overloaded_error", "server_error", "server_is_overloaded"),
    (StateError, 500, "api_error", "server_error", "state"),
)
_INSIDE = "the server failed inside; its log says how"
_OF_STATUS = {403: "permission_error", 404: "not_found_error", 413: "request_too_large", 500: "api_error"}


def fault_of(error: BaseException) -> Fault:
    """The fault that an error is. An exception that is none of ours says nothing of the inside."""
    if isinstance(error, Unsayable):
        words = f"{error.param}: {error.message}"
        kind = "invalid_request_error"
        return Fault(error.status, words, kind, kind, code="unsupported_parameter", param=error.param)
    row = next((row for row in _TABLE if isinstance(error, row[0])), None)
    if row is None:
        return Fault(500, _INSIDE, "api_error", "server_error", "internal_error")
    _class, default, kind, type, code = row
    given = error.status if isinstance(error, ModelError) else None
    status = given if given is not None and given >= 400 else default
    retryable = isinstance(error, Locked) or (isinstance(error, ModelError) and error.retryable)
    if status in _OF_STATUS and kind != "overloaded_error":
        kind = _OF_STATUS[status]
    if status == 403 and code == "invalid_api_key":  # the key is right: clients would ask for another
        type, code = "permission_error", "permission_denied"
    return Fault(
        status,
        _words(error),
        kind,
        type,
        code,
        retryable=retryable,
        retry_after=error.retry_after if isinstance(error, ModelError) else 1 if retryable else None,
    )


def _words(error: BaseException) -> str:
    if isinstance(error, StateError):  # where its database and its files are is nobody's business who has a key
        return "the server can't reach its database now; ask again" if isinstance(error, Locked) else _INSIDE
    words = str(getattr(error, "message", "")) or type(error).__name__
    if isinstance(error, ContextOverflow) and "prompt is too long" not in words.lower():
        words = f"prompt is too long: {words}"
    remedy = getattr(error, "remedy", None)
    return f"{words} ({remedy})" if remedy else words


def unusable(what: str, error: UsageError) -> UsageError:
    """A fault of a preset, in front of who can't mend it: where its file is and whom it names is not for everybody who has a key."""
    return UsageError(f"{what} can't be used now", remedy="the server's own key is told why", kind=error.kind)


def ending(error: BaseException) -> Literal["refusal", "length"] | None:
    """How an answer ends, where the error is one for which every wire has an ending of its own."""
    if isinstance(error, Refused):
        return "refusal"
    return "length" if isinstance(error, EmptyAnswer) and error.cut_off else None
