"""What the program can do only with an extra of its own installed (`pip install 'moa-agent[EXTRA]'`), and how that is said."""

from __future__ import annotations

from agent.errors import UsageError


def install(extra: str) -> str:
    """What to do about an extra that is not installed."""
    return f"pip install 'moa-agent[{extra}]' (uv tool install 'moa-agent[{extra}]')"


def missing(extra: str, who: str, package: str) -> UsageError:
    """The error for `who` needs a `package` of an extra that is not installed."""
    return UsageError(f"{who} needs {package}, which is not installed", remedy=install(extra), kind="not_installed")


def require(extra: str, who: str, package: str, module: str | None = None) -> None:
    """Raises UsageError where the module (None: of the package's name) is not installed. Imports nothing of it."""
    from importlib.util import find_spec

    if find_spec(module or package) is None:
        raise missing(extra, who, package)
