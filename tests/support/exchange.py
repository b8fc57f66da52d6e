"""What the scripted endpoint noted of one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support.script import CHARS_PER_TOKEN


@dataclass(slots=True)
class Exchange:
    """One request and what became of it.

    Times are seconds of `time.monotonic()`, which all processes of a machine share on Linux and macOS: `first_byte` when the first
    byte of the request came in, `arrived` when it was whole, `finished` when the last byte of the answer was handed to the
    system, `disconnected` when the client left before that. None: it did not happen (yet).
    """

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    first_byte: float
    arrived: float
    status: int | None = None
    first_token: float | None = None
    finished: float | None = None
    disconnected: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    said: str = ""
    raw: bytes = b""

    @property
    def model(self) -> str:
        """The model that was asked for; empty for requests that name none."""
        return str(self.body.get("model", ""))

    @property
    def is_call(self) -> bool:
        """True where a model was called (not /models or /health)."""
        return self.method == "POST" and not self.path.endswith("/count_tokens")

    @property
    def service_s(self) -> float:
        """Seconds from the request's arrival to the answer's last byte. Raises ValueError while it is open."""
        if self.finished is None:
            raise ValueError(f"request {self.number} ({self.model}) is not finished")
        return self.finished - self.arrived

    @property
    def last_text(self) -> str:
        """The text of the request's last message: where guidance and briefs are."""
        content = self.body["messages"][-1].get("content") or ""
        if isinstance(content, str):
            return content
        return "".join(part.get("text", "") for part in content)

    @property
    def tail_tokens(self) -> int:
        """Length of the last message, in the cache's tokens."""
        from tests.support.prefix_cache import items

        return len(items(self.body)[-1]) // CHARS_PER_TOKEN

    def as_json(self) -> dict[str, Any]:
        """For `/log` and for people: everything but headers that may hold a key."""
        names = ("number", "method", "path", "model", "status", "first_byte", "arrived", "first_token", "finished")
        more = ("disconnected", "prompt_tokens", "cached_tokens", "completion_tokens", "said", "body")
        return {name: getattr(self, name) for name in (*names, *more)}
