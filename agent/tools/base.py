"""What a tool is, and what it is given when it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from agent.llm.request import ToolSpec

if TYPE_CHECKING:
    from agent.approval import DenyPaths
    from agent.events import AgentEvent
    from agent.sandbox import Sandbox


class ToolError(Exception):
    """The tool could not do it. The message goes to the model, which can do something about it."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`text` goes to the model; `diff` (unified) and `full_output` are for the user."""

    text: str
    is_error: bool = False
    diff: str | None = None
    full_output: Path | None = None


@dataclass(slots=True)
class ToolContext:
    """What tools share over a session.

    `seen` remembers, for each file that was read or written, a digest of what the model last saw, so that an edit of a file that
    has changed since is refused. `scratch` is a folder for outputs that are too long. `progress` shows output while a tool runs.
    """

    cwd: Path
    scratch: Path
    deny_paths: DenyPaths
    seen: dict[Path, str] = field(default_factory=dict)
    progress: Callable[[str], None] = lambda _text: None
    snapshot: Callable[[str, Path, bytes], None] = lambda _turn, _path, _data: None
    """Called with a turn, a path and what is about to be written there, so that an undo can restore it. Raises OSError."""
    turn: str = ""
    """The turn that the call belongs to; empty for a helper's and the user's own."""
    emit: Callable[[AgentEvent], None] = lambda _event: None
    """Puts an event into the stream of the turn."""
    sandbox: Sandbox | None = None
    """What confines the commands of the shell tool; None: nothing does (the user's own)."""

    def resolve(self, path: str) -> Path:
        """An argument as an absolute path, `~` and symlinks resolved. Raises ToolError for a denied one, and for one that is no path."""
        try:
            asked = self.cwd / Path(path).expanduser()
            resolved = asked.resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown ~user, a NUL
            raise ToolError(f"{path!r} is no usable path: {error}") from error
        # Before links are followed, too: a denied name stays denied wherever it leads. `match` looks at both.
        if pattern := self.deny_paths.match(asked):
            raise ToolError(f"{path} is denied by the user's settings (deny_paths: {pattern})")
        return resolved

    def show(self, path: Path) -> str:
        """A path as models and people are shown it: from the working folder where it lies inside, else absolute."""
        cwd = self.cwd.resolve()
        return encodable(path.relative_to(cwd).as_posix() if path.is_relative_to(cwd) else str(path))


def encodable(text: str) -> str:
    """Text that can go on any wire and into any file: what is left of bytes or escapes that were no text becomes a replacement character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def is_read_only(tool: Tool, arguments: dict[str, Any]) -> bool:
    """Whether this very call changes nothing. A tool whose calls differ (`shell` with `:jobs`) has a method `reads_only(arguments)`."""
    reads_only: Callable[[dict[str, Any]], bool] | None = getattr(tool, "reads_only", None)
    return tool.read_only or (reads_only is not None and reads_only(arguments))


class Tool(Protocol):
    """One tool: a file of its own in this folder.

    `read_only` tools run in parallel and need no approval. `run` takes arguments that were validated against `spec.parameters`,
    raises ToolError for what the model can mend, and must end its children when its task is cancelled.
    """

    read_only: ClassVar[bool]
    spec: ClassVar[ToolSpec]

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people: what this call does."""
        ...

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """Do it."""
        ...
