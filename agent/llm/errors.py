"""Everything that can go wrong when a model is called.

ModelError
├── BadRequest              the endpoint refused the request (400, 404, 412, 413, 422); never retried blindly
│   ├── ModelNotFound       no such model at this endpoint
│   ├── ContextOverflow     the request is longer than the model's window
│   ├── OutputRefused       the provider could not use what its own model wrote (a malformed tool call)
│   ├── ThinkingBound       a thought that was sent back does not belong to this conversation, by its signature
│   └── Unsupported         a named feature (tools, json_schema, trailing user message …) is refused; adapted once
├── AuthError               401, 403: key missing, wrong or not allowed
├── PaymentRequired         402: no credits; the run stops
├── RateLimited             429; may carry retry_after
├── Overloaded              408, 5xx, 529: the provider is down or busy
├── ConnectionFailed        no connection, or it broke before the first byte of an answer
├── TimedOut                one of the three clocks ran out (which: connect, silence, ceiling)
├── StreamBroken            the answer began and did not end: cut stream, error chunk, no finish reason
├── BadAnswer               what came is no answer that can be taken: an encoding that was not asked for
│   └── AnswerTooLong       the answer, one line of it or its body goes on beyond every bound
├── ProgramFailed           a program that stands in for a model (dialect `command`) can't be started, crashed or reported a fault
├── Refused                 the model or the provider's filter declined: in words, without, or in the middle of a text
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
    `usage` and `cost_nano` what the endpoint reported before it failed. `remedy` says what the user can do. `retryable` says whether the same
    request may work later (exit code 75). `billed` is False where nobody bills for it: it was refused, or nothing was ever generated.
    """

    kind = "model_error"
    retryable = False
    billed = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        remedy: str | None = None,
        retry_after: float | None = None,
        partial: Message | None = None,
        usage: Usage | None = None,
        cost_nano: int | None = None,
        call_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.remedy = remedy
        self.retry_after = retry_after
        self.partial = partial
        self.usage = usage
        self.cost_nano = cost_nano
        self.call_id = call_id
        self.note: Message | None = None
        """A message that joined the end of the request on the way; what was sent stays sent."""


class BadRequest(ModelError):
    """The endpoint refused the request as it stands."""

    kind = "bad_request"
    billed = False


class ModelNotFound(BadRequest):
    """The endpoint has no such model, or no route to it."""

    kind = "model_not_found"


class ContextOverflow(BadRequest):
    """The request does not fit the model's context window."""

    kind = "context_overflow"


class ThinkingBound(BadRequest):
    """A signed thought in the request fails its check: it is bound to another conversation, model or account, or it is damaged.

    It teaches nothing of what the endpoint can do: the same request without this model's thoughts is always allowed.
    """

    kind = "thinking_bound"


class OutputRefused(BadRequest):
    """The provider could not use what its own model wrote: a malformed tool call, JSON against the schema. `written` is that, where it is said."""

    kind = "output_refused"
    billed = True
    written = ""


class Unsupported(BadRequest):
    """The endpoint refused one named feature. `feature` is a key of the quirk table, `features` has what is refused along with it."""

    kind = "unsupported"

    def __init__(
        self, message: str, *, feature: str, also: frozenset[str] = frozenset(), status: int | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.feature = feature
        self.features = also | {feature}


class AuthError(ModelError):
    """The key is missing, wrong, or not allowed to do this."""

    kind = "auth"
    billed = False


class PaymentRequired(ModelError):
    """The account has no credits left."""

    kind = "payment_required"
    billed = False


class RateLimited(ModelError):
    """Too many requests; `retry_after` in seconds where the endpoint said so."""

    kind = "rate_limited"
    billed = False
    retryable = True


class Overloaded(ModelError):
    """The provider is down, busy, or failed internally."""

    kind = "overloaded"
    billed = False
    retryable = True


class ConnectionFailed(ModelError):
    """No connection to the endpoint."""

    kind = "connection_failed"
    billed = False
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


class BadAnswer(ModelError):
    """What came can't be taken for an answer, and asking again would bring the same."""

    kind = "bad_answer"


class AnswerTooLong(BadAnswer):
    """The answer goes on beyond a multiple of what was asked for. What came until then is in `partial`."""

    kind = "answer_too_long"


class ProgramFailed(ModelError):
    """A program that stands in for a model can't be started, ended with an error, or reported one."""

    kind = "program_failed"


class Refused(ModelError):
    """The model, or a filter in front of it, declined. The message has its words.

    `cut` is True where that ended an answer in the middle; what came until then is in `partial`.
    """

    kind = "refusal"
    cut = False


class EmptyAnswer(ModelError):
    """The call ended in order and said nothing: no text, no tool call, no refusal."""

    kind = "empty_answer"
    retryable = True
    cut_off = False
    """The limit of tokens was used up before a word was said."""


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
