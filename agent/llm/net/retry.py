"""When a failed attempt goes out again by itself, and after how long.

A *blind* retry sends the same bytes once more. It happens only before the first token, and only where the failed attempt has most likely
cost nothing: a refused or overloaded request, a connection that never stood, a stream that broke before it said anything. A request that
was accepted and then stayed silent for the whole silence clock is not sent again: it may be running, and it would double both bill and wait.
(What to do with each status: openrouter.ai/docs, "Errors"; waiting with full jitter: AWS Architecture Blog, "Exponential Backoff And Jitter".)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.llm.errors import BadRequest, ModelError, TimedOut
from agent.values import dataclass

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` in all; waits in seconds. A Retry-After above `longest_s` is not waited for: the user should hear of it at once."""

    attempts: int = 3
    base_s: float = 0.5
    cap_s: float = 8.0
    longest_s: float = 60.0
    seed: int | None = None

    def random(self) -> Random:
        """The generator of the jitter (imported on the first retry: no call that goes well needs it)."""
        from random import Random

        return Random(self.seed)

    def wait(self, error: ModelError, attempt: int, random: Random) -> float | None:
        """Seconds until attempt number `attempt + 1`; None where `error` is final. `attempt` counts from 1."""
        if attempt >= self.attempts or not repeatable(error):
            return None
        if error.retry_after is not None:
            if error.retry_after > self.longest_s:
                return None
            # Never earlier than asked, and not all members of a panel in the same instant.
            return max(0.0, error.retry_after) + random.uniform(0, self.base_s)
        return random.uniform(0, min(self.cap_s, self.base_s * 2.0**attempt))


def repeatable(error: ModelError) -> bool:
    """True where the same request may be sent again without asking anybody."""
    if not error.retryable or isinstance(error, BadRequest):
        return False
    if isinstance(error, TimedOut) and error.clock != "connect":
        return False
    # What was billed once is not bought again behind the user's back.
    return error.usage is None or error.usage.total == 0
