"""Everything that can go wrong when a model is called.

ModelError
├── BadRequest              the endpoint refused the request (400, 404, 412, 413, 422); never retried blindly
│   ├── ModelNotFound       no such model at this endpoint
│   ├── ContextOverflow     the request is longer than the model's window
│   └── Unsupported         a named feature (tools, json_schema, trailing user message …) is refused; adapted once
├── AuthError               401, 403: key missing, wrong or not allowed
├── PaymentRequired         402: no credits; the run stops
├── RateLimited             429; may carry retry_after
├── Overloaded              408, 5xx, 529: the provider is down or busy
├── ConnectionFailed        no connection, or it broke before the first byte of an answer
├── TimedOut                one of the three clocks ran out (which: connect, silence, ceiling)
├── StreamBroken            the answer began and did not end: cut stream, error chunk, no finish reason
└── EmptyAnswer             a finish reason, but no text, no tool call and no refusal
BudgetReached               a cap leaves no room for this call; it was not sent
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.llm.messages import Message
    from agent.llm.stream import Usage


class ModelError(Exception):
    """A model call failed.

    `kind` is a stable word for JSON and the ledger, `status` the HTTP status where there is one, `partial` what had arrived,
    `usage` what the endpoint reported before it failed. `remedy` says what the user can do. `retryable` says whether the same
    request may work later (exit code 75).
    """

    kind = "model_error"
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        remedy: str | None = None,
        retry_after: float | None = None,
        partial: Message | None = None,
        usage: Usage | None = None,
        call_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.remedy = remedy
        self.retry_after = retry_after
        self.partial = partial
        self.usage = usage
        self.call_id = call_id


class BadRequest(ModelError):
    """The endpoint refused the request as it stands."""

    kind = "bad_request"


class ModelNotFound(BadRequest):
    """The endpoint has no such model, or no route to it."""

    kind = "model_not_found"


class ContextOverflow(BadRequest):
    """The request does not fit the model's context window."""

    kind = "context_overflow"


class Unsupported(BadRequest):
    """The endpoint refused one named feature. `feature` is a key of the quirk table."""

    kind = "unsupported"

    def __init__(self, message: str, *, feature: str, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.feature = feature


class AuthError(ModelError):
    """The key is missing, wrong, or not allowed to do this."""

    kind = "auth"


class PaymentRequired(ModelError):
    """The account has no credits left."""

    kind = "payment_required"


class RateLimited(ModelError):
    """Too many requests; `retry_after` in seconds where the endpoint said so."""

    kind = "rate_limited"
    retryable = True


class Overloaded(ModelError):
    """The provider is down, busy, or failed internally."""

    kind = "overloaded"
    retryable = True


class ConnectionFailed(ModelError):
    """No connection to the endpoint."""

    kind = "connection_failed"
    retryable = True


class TimedOut(ModelError):
    """A clock ran out. `clock` is connect, silence or ceiling."""

    kind = "timed_out"
    retryable = True

    def __init__(self, message: str, *, clock: str, partial: Message | None = None, usage: Usage | None = None) -> None:
        super().__init__(message, partial=partial, usage=usage)
        self.clock = clock


class StreamBroken(ModelError):
    """The answer began and did not come to its end."""

    kind = "stream_broken"
    retryable = True


class EmptyAnswer(ModelError):
    """The call ended in order and said nothing: no text, no tool call, no refusal."""

    kind = "empty_answer"
    retryable = True


class BudgetReached(Exception):
    """No room for this call under a cap; nothing was sent.

    `cap` names the cap and where it is set, `spent` and `needed` are for people.
    """

    kind = "budget"

    def __init__(self, message: str, *, cap: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.cap = cap
        self.remedy = remedy
