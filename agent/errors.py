"""Errors that every part of the program may raise."""

from __future__ import annotations


class UsageError(Exception):
    """The user asked for something that can't be done as asked, or a setting is wrong (exit code 2).

    `message` names the file and the key where there is one, `remedy` says what to do, `kind` is a stable word for JSON.
    """

    def __init__(self, message: str, *, remedy: str | None = None, kind: str = "usage") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.kind = kind


class StateError(Exception):
    """A folder or file of the program's own state can't be read or written: full disk, no permission, damage (exit code 1)."""

    kind = "state"

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
