"""What goes wrong on the web. All of them are told to the model as they are."""

from __future__ import annotations


class WebError(Exception):
    """The root. `kind` is a stable word, `remedy` what to do."""

    kind = "failed"

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class Refused(WebError):
    """It may not be reached: private, excluded, not supplied, against robots.txt."""

    kind = "refused"


class Unreachable(WebError):
    """No answer, or one that broke off."""

    kind = "unreachable"


class TooLong(WebError):
    """More bytes or seconds than are spent on a page."""

    kind = "too_long"


class BadPage(WebError):
    """An answer that is no readable page: an error status, an unknown kind, a broken file."""

    kind = "bad_page"


class SearchFailed(WebError):
    """An engine gave no results. `kind`: no_key, auth, rate_limited, empty, bad_answer, unreachable, timed_out, not_installed, unsupported."""

    def __init__(self, engine: str, kind: str, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{engine}: {message}", remedy=remedy)
        self.engine = engine
        self.kind = kind
