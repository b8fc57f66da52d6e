"""What may run without asking: modes, remembered rules, and the question to the user."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast, get_args

from agent.denied import DenyPaths
from agent.errors import StateError, UsageError
from agent.rules import Rule, suggest_rule
from agent.tools.base import Tool, ToolContext, ToolError, is_read_only

if TYPE_CHECKING:
    from agent.llm.messages import ToolCallPart

__all__ = [
    "ApprovalRequest",
    "Approvals",
    "Approver",
    "Decision",
    "DenyPaths",
    "Mode",
    "Rule",
    "UserAnswer",
    "parse_mode",
    "remember_rule",
    "suggest_rule",
]

Mode = Literal["deny", "ask", "edits", "all"]
"""deny: read-only tools alone. ask: the rest asks. edits: write and edit inside the working folder don't ask. all: nothing asks."""

WRITERS = frozenset({"write", "edit"})
# Writing here decides what runs later, without anybody seeing it: the user is asked even in mode edits and whatever a pattern covers.
SENSITIVE = frozenset({".git", ".moa"})


def parse_mode(text: str, *, source: str = "--approve") -> Mode:
    """A mode by its word. Raises UsageError naming `source` (an option, or file and key)."""
    if text not in get_args(Mode):
        raise UsageError(f"{source}: there is no approval mode {text!r}", remedy="use deny, ask, edits or all")
    return cast("Mode", text)


class ApprovalRequest(NamedTuple):
    """A question to the user: may this call run? `rule` is what "session" and "always" would allow; `diff` what a file change would do."""

    call: ToolCallPart
    title: str
    rule: str
    diff: str | None = None


class UserAnswer(NamedTuple):
    """The user's answer. `reason` goes to the model with a no. `rule` replaces the suggested one where the user changed it."""

    verdict: Literal["once", "session", "always", "no"]
    reason: str = ""
    rule: str | None = None


class Decision(NamedTuple):
    """Whether a call may run. `reason` is for the model where it may not; `by` says what decided: a mode, a rule, the user, deny_paths."""

    allowed: bool
    by: str
    reason: str = ""


class Approver(Protocol):
    """A face that can ask the user."""

    async def ask(self, request: ApprovalRequest) -> UserAnswer:
        """Wait for the user's answer. Cancelled with the turn."""
        ...


class Approvals:
    """Decides about tool calls, over a session. `mode` may be changed at any time (`/approve`).

    `rules` are the remembered ones, as text (`[approve] allow`); a wrong one raises UsageError naming `file`. `remember` is called with
    a rule that the user answered "always" to (normally `remember_rule` on the config file); without it "always" holds for the session.
    `protected` are folders of the program's own (settings, state): changing them asks, too.
    """

    def __init__(
        self,
        mode: Mode,
        rules: Iterable[str] = (),
        *,
        deny_paths: DenyPaths,
        approver: Approver | None = None,
        remember: Callable[[str], None] | None = None,
        protected: Iterable[Path] = (),
        file: str = "config.toml",
    ) -> None:
        self.mode: Mode = mode
        self.deny_paths = deny_paths
        self.approver = approver
        self.remember = remember
        self.rules = [Rule.parse(text, file=file, key=f"approve.allow[{at}]") for at, text in enumerate(rules, 1)]
        self.session_rules: list[Rule] = []
        self._protected = tuple(folder.resolve() for folder in protected)
        self._asking = asyncio.Lock()

    async def decide(self, tool: Tool, call: ToolCallPart, arguments: dict[str, Any], context: ToolContext) -> Decision:
        """May this call run? Asks the user where the mode says so. `arguments` are the validated ones."""
        name = tool.spec.name
        if denied := self._denied(name, arguments, context.cwd):
            return Decision(False, "deny_paths", denied)
        if is_read_only(tool, arguments):
            return Decision(True, "read-only")
        if self.mode == "all":
            return Decision(True, "mode all")
        if self.mode == "deny":
            return Decision(
                False,
                "mode deny",
                f"{name} was not run: only read-only tools are allowed here (approval mode deny). Don't try again; go on without it, or "
                "say what you would have done. The user can allow it with --approve edits, --approve all, or --approve ask in a terminal.",
            )
        if allowed := self._settled(name, arguments, context.cwd):
            return allowed
        return await self._ask(tool, call, arguments, context)

    def _denied(self, name: str, arguments: Mapping[str, Any], cwd: Path) -> str | None:
        if name == "shell":
            found = self.deny_paths.match_command(str(arguments.get("command", "")), cwd)
            return (
                f"the command names {found[0]}, which the user's settings deny (deny_paths: {found[1]})"
                if found
                else None
            )
        path = arguments.get("path")
        if not isinstance(path, str):
            return None
        try:
            pattern = self.deny_paths.match(cwd / Path(path).expanduser())
        except (RuntimeError, ValueError):
            return None  # no path at all; the tool says so
        return f"{path} is denied by the user's settings (deny_paths: {pattern})" if pattern else None

    def _settled(self, name: str, arguments: Mapping[str, Any], cwd: Path) -> Decision | None:
        """A yes that needs no question."""
        inside = sensitive = False
        if name in WRITERS:
            try:
                target = (cwd / Path(str(arguments.get("path", ""))).expanduser()).resolve()
            except (OSError, RuntimeError, ValueError):
                return None
            inside = target.is_relative_to(folder := cwd.resolve())
            parts = target.relative_to(folder).parts if inside else target.parts
            sensitive = not SENSITIVE.isdisjoint(map(str.casefold, parts)) or any(
                map(target.is_relative_to, self._protected)
            )
        if self.mode == "edits" and inside and not sensitive:
            return Decision(True, "mode edits")
        for rule in (*self.session_rules, *self.rules):
            if sensitive and (rule.pattern is None or re.search(r"(?<!\[)\*", rule.pattern)):
                continue
            if rule.covers(name, arguments, cwd):
                return Decision(True, f"rule {rule}")
        return None

    async def _ask(self, tool: Tool, call: ToolCallPart, arguments: dict[str, Any], context: ToolContext) -> Decision:
        name = tool.spec.name
        if self.approver is None:
            reason = (
                f"{name} was not run: it needs the user's approval and nobody can be asked here. Don't try again; go on without it, or say "
                "what you would have done. The user can allow it with --approve edits or all, or a rule under [approve] in config.toml."
            )
            return Decision(False, "nobody to ask", reason)
        async with self._asking:
            # Somebody may have answered for this one, too, while it waited.
            if allowed := self._settled(name, arguments, context.cwd):
                return allowed
            suggested = suggest_rule(name, arguments, context.cwd)
            diff = await _preview(tool, context, arguments)
            answer = await self.approver.ask(ApprovalRequest(call, tool.title(arguments), suggested, diff))
        if answer.verdict == "no":
            said = f" and said: {answer.reason}" if answer.reason else ""
            return Decision(False, "user", f"the user did not allow this call of {name}{said}")
        if answer.verdict != "once":
            rule = Rule.parse(answer.rule or suggested, file="your answer", key="rule")
            self.session_rules.append(rule)
            if answer.verdict == "always" and self.remember is not None:
                self.remember(str(rule))
        return Decision(True, "user")


async def _preview(tool: Tool, context: ToolContext, arguments: dict[str, Any]) -> str | None:
    """The change as a diff, from a tool that can show it without doing it (`preview`)."""
    preview: Callable[[ToolContext, dict[str, Any]], Awaitable[str | None]] | None = getattr(tool, "preview", None)
    if preview is None:
        return None
    try:
        return await preview(context, arguments)
    except ToolError:
        return None  # the call will fail by itself, and tell the model why


def remember_rule(config_file: Path, rule: str) -> None:
    """Add a rule to `[approve] allow` in a config file, keeping its comments and order; the file is made where there is none.

    Raises UsageError where the file is not TOML or the key is something else, StateError where it can't be written.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    from agent.tools.files import write_atomically

    target = config_file.resolve()
    try:
        document = tomlkit.parse(target.read_text("utf-8") if target.exists() else "")
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise UsageError(f"{config_file}: {error}", remedy="mend the file; the rule was not remembered") from error
    except OSError as error:
        raise StateError(f"{config_file} can't be read: {error.strerror}", remedy="check its permissions") from error
    approve = document.setdefault("approve", tomlkit.table())
    allow = approve.setdefault("allow", tomlkit.array()) if isinstance(approve, dict) else None
    if not isinstance(allow, list):
        raise UsageError(f"{config_file}: approve.allow is not a list", remedy='write allow = ["…"] under [approve]')
    if rule in allow:
        return
    allow.append(rule)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, tomlkit.dumps(document).encode())
    except OSError as error:
        raise StateError(f"{config_file} can't be written: {error.strerror}", remedy="check its permissions") from error
