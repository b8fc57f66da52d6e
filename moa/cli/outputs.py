"""Where the words of a command go: one output for a whole process, so that what ends it is said once, and in the format asked for."""

from __future__ import annotations

import sys

from moa.cli import console

TYPE_CHECKING = False  # as typing's, whose import takes long enough for a Ctrl+C to fall into it
if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.events import ErrorInfo, TurnStatus
    from agent.outgoing import Redaction
    from agent.ui.run.headless import Output

RECORDS = ("counsel", "goal", "sources")

_made: list[Output] = []


def forget() -> None:
    """Another command begins in this process."""
    _made.clear()


def output(format_name: str, *, quiet: bool = False, raw: bool = False) -> Output:
    """The one output of this command, in the format that was first asked for."""
    from agent.ui.run.commentary import commentary
    from agent.ui.run.headless import Output

    if not _made:
        live = format_name == "text" and sys.stdout.isatty()
        err = commentary(sys.stderr)
        _made.append(
            Output(format=format_name, quiet=quiet, live=live, raw=raw, kinds=RECORDS, err=err)  # type: ignore[arg-type]
        )
    return _made[0]


def finish() -> None:
    """Wait for who reads standard error, as the command ends: standard output is closed to them before, so that they come to it."""
    if _made and getattr(_made[0].err, "pending", False):
        from agent.ui.run import commentary

        console.let_go(sys.stdout)
        commentary.finish(_made[0].err)


def fail(status: TurnStatus, error: ErrorInfo, words: Sequence[str]) -> int:
    """Tell a failure in the format that the command line asks for. Returns the exit code."""
    from agent.ui.run import headless

    made = output(asked_format(words))
    made.redaction = redaction()
    return headless.fail(status, error, made)


def redaction() -> Redaction:
    """What takes configured keys out of what is said; nothing where the settings can't be read, since then no key was."""
    import os

    from agent.config.config import load_config
    from agent.errors import UsageError
    from agent.outgoing import Redaction

    try:
        return load_config(os.environ, plugins=frozenset({"goal", "moa"})).redaction()
    except (UsageError, OSError):
        return Redaction()


def failed(error: Exception, words: Sequence[str]) -> int:
    """Tell what has ended the command: a known error as what it is, anything else as a mistake of ours. Returns the exit code."""
    from agent.errors import StateError, UsageError
    from agent.events import ErrorInfo

    if isinstance(error, UsageError | StateError):  # without loading what knows of models
        status: TurnStatus = "usage" if isinstance(error, UsageError) else "failed"
        return fail(status, ErrorInfo(kind=error.kind, message=error.message, remedy=error.remedy), words)
    from agent.loop.ending import ending_of

    ending = ending_of(error, lambda _problem: internal(error))
    assert ending.error is not None
    return fail(ending.status, ending.error, words)


def internal(error: Exception) -> ErrorInfo:
    """A mistake of ours: the traceback goes to a file, one line to the user."""
    import os

    from agent.config.paths import Paths
    from agent.loop.crash import crashed

    return crashed(error, Paths.from_env(os.environ).state, redact=redaction().whole)


def asked_format(words: Sequence[str]) -> str:
    """The output format in a command line that may not have been understood."""
    if words[:1] != ["run"] and "--json" in words:
        return "json"
    for index, word in enumerate(words):
        value = word.partition("=")[2] if word.startswith("--output-format=") else ""
        if word == "--output-format" and index + 1 < len(words):
            value = words[index + 1]
        if value in ("json", "stream-json"):
            return value
    return "text"
