"""What may run without asking: modes, remembered rules, and the question to the user."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast, get_args

from agent.approval.rules import Rule, suggest_rule
from agent.config.named_by_us import why_named_by_us
from agent.errors import UsageError
from agent.files.deny_paths import BUILT_IN, DenyPaths, denial
from agent.files.protected import why_protected
from agent.process.named_by_git import why_named_by_git
from agent.tools.base import Place, Subject, Tool, ToolContext, ToolError, place_of
from agent.tools.lib.files import content_mark
from agent.values import dataclass

if TYPE_CHECKING:
    from agent.llm.messages import ToolCallPart

__all__ = [
    "MODES",
    "ApprovalRequest",
    "Approvals",
    "Approver",
    "Decision",
    "DenyPaths",
    "Mode",
    "Rule",
    "UserAnswer",
    "next_mode",
    "parse_mode",
    "suggest_rule",
]

Mode = Literal["deny", "ask", "edits", "plan", "all"]
"""deny: read-only tools alone, and those stay on this machine. ask: the rest asks. edits: write and edit inside the working folder don't ask. plan: nothing is changed until the user has approved a plan. all: nothing asks but
changes of protected files (`agent.files.protected`), which ask in every mode."""

MODES: Mapping[Mode, str] = {
    "deny": "Only tools that change nothing run; the others are refused.",
    "ask": "What changes something is asked about first.",
    "edits": "Files inside the working folder are changed without asking; the rest is asked about.",
    "plan": "Nothing is changed until you have approved a plan.",
    "all": "Everything runs without asking.",
}
"""What each mode does, for the user, in the order in which a key goes through them."""


def parse_mode(text: str, *, source: str = "--approve") -> Mode:
    """A mode by its word. Raises UsageError naming `source` (an option, or file and key)."""
    if text not in get_args(Mode):
        raise UsageError(f"{source}: there is no approval mode {text!r}", remedy=f"use {', '.join(MODES)}")
    return cast("Mode", text)


def next_mode(mode: Mode) -> Mode:
    """The mode after this one; the first after the last."""
    order = list(MODES)
    return order[(order.index(mode) + 1) % len(order)]


class ApprovalRequest(NamedTuple):
    """A question to the user: may this call run? `rule` is what "session" and "always" would allow; `diff` what a file change would do;
    `why` what is special about it (empty: the mode alone asks)."""

    call: ToolCallPart
    title: str
    rule: str
    diff: str | None = None
    why: str = ""


class UserAnswer(NamedTuple):
    """The user's answer. `reason` goes to the model with a no. `rule` replaces the suggested one where the user changed it."""

    verdict: Literal["once", "session", "always", "no"]
    reason: str = ""
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a call may run. `reason` is for the model where it may not; `by` says what decided: a mode, a rule, the user, deny_paths.

    `told` is what the user is to know of a call that nobody was asked about. `place` is what the call is held to (`ToolContext.allowed`).
    """

    allowed: bool
    by: str
    reason: str = ""
    told: str = ""
    place: Place | None = field(default=None, compare=False)


class Approver(Protocol):
    """A face that can ask the user."""

    async def ask(self, request: ApprovalRequest) -> UserAnswer:
        """Wait for the user's answer. Cancelled with the turn."""
        ...


class Approvals:
    """Decides about tool calls, over a session. `mode` may be changed at any time (`/approve`).

    `rules` are the remembered ones, as text (`[approve] allow`); a wrong one raises UsageError naming `file`. `remember` is called with
    a rule that the user answered "always" to (normally it is put into the config file); without it "always" holds for the session.
    `protected` are folders of the program's own (settings, state): changing them asks, too. `alone` says whether work goes on that nobody
    watches; the host sets it.
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
        self.alone: Callable[[], bool] = lambda: False
        self.asked_s = 0.0
        """Seconds that questions have stood so far: they are the user's, not the turn's."""
        self._protected = tuple(folder.resolve() for folder in protected)
        self._asking = asyncio.Lock()

    async def decide(self, tool: Tool, call: ToolCallPart, arguments: dict[str, Any], context: ToolContext) -> Decision:
        """May this call run? Asks the user where the mode says so. `arguments` are the validated ones."""
        # Looked up once: all is asked of the place that the call is held to, since a link may lead elsewhere each moment.
        place = place_of(tool, arguments, context.cwd)
        if place is None and (asked := tool.path(arguments)) is not None:
            return Decision(False, "no path", f"{asked[:200]!r} is not a usable path; nothing was done")
        if denied := await self._denied(tool.subject(arguments), context.cwd, place):
            return Decision(False, "deny_paths", denied)
        if tool.reads_only(arguments) and not tool.reaches_out:
            decision = await self._look(tool, call, arguments, context, place)
        else:
            decision = await self._change(tool, call, arguments, context, place)
        return decision if decision.place is not None else replace(decision, place=place)

    async def _change(
        self, tool: Tool, call: ToolCallPart, arguments: dict[str, Any], context: ToolContext, place: Place | None
    ) -> Decision:
        """May a call run that changes something?"""
        subject = tool.subject(arguments)
        name, protected = subject.tool, await self._why_protected(subject, context.cwd, place)
        if self.mode == "all" and protected is None:
            return Decision(True, "mode all")
        if self.mode == "deny":
            return Decision(
                False,
                "mode deny",
                f"{name} was not run: only tools that change nothing and reach nobody are allowed here (approval mode deny). Don't try again; go on without it, or "
                "say what you would have done. The user can allow it with --approve edits, --approve all, or --approve ask in a terminal.",
            )
        if self.mode == "plan" and not tool.reads_only(arguments):
            return Decision(
                False,
                "mode plan",
                f"{name} was not run: nothing is changed until the user has approved a plan. Don't try again; look around with the tools "
                "that only read, and answer with the plan. The user allows it by approving the plan, or with /plan off.",
            )
        if allowed := self._settled(subject, context.cwd, place, sensitive=protected is not None):
            return allowed
        if tool.named_by_user(arguments):
            return Decision(True, "the user's words")
        if protected is not None and (self.approver is None or (self.mode == "all" and self.alone())):
            by = "nobody to ask" if self.approver is None else "protected"
            return Decision(False, by, _unasked(name, protected))

        async def settled() -> Decision | None:
            now = await self._why_protected(subject, context.cwd, place)
            return self._settled(subject, context.cwd, place, sensitive=now is not None)

        return await self._ask(tool, call, arguments, context, settled, protected or "")

    async def _look(
        self, tool: Tool, call: ToolCallPart, arguments: dict[str, Any], context: ToolContext, place: Place | None
    ) -> Decision:
        """May a call run that only looks? What holds keys as often as not, and what lies outside of the project, is asked about.

        Where nobody can be asked the former is refused, and the latter told.
        """
        fence = self.deny_paths.fence
        if place is None:
            return Decision(True, "read-only")
        private = fence.why_private(place.path) or fence.why_private(place.name(context.cwd))
        if private is None and not fence.is_outside(place.path):
            return Decision(True, "read-only")
        looked = {**arguments, "path": place.asked}
        subject = tool.subject(looked)
        name = subject.tool

        async def settled() -> Decision | None:
            if private is not None and subject.path is None:
                return None  # a rule on a server's tool names no file
            return self._by_rule(subject, context.cwd, place, exactly=private is not None)

        if allowed := await settled():
            return allowed
        if self.approver is None or self.alone() or (self.mode == "all" and private is None):
            if private is not None:
                return Decision(False, "private", _unread(name, place.asked, private))
            if context.why_out_of_bounds(place.path) is not None:
                return Decision(True, "read-only")  # the tool refuses, and there is nothing to tell
            return Decision(True, "read-only", told=f"{name}: {place.path} lies outside of the project")
        return await self._ask(tool, call, looked, context, settled, private or "it lies outside of the project")

    def _by_rule(self, subject: Subject, cwd: Path, place: Place | None, *, exactly: bool) -> Decision | None:
        """A yes by a remembered rule; `exactly`: by one without a star, which says what it means."""
        for rule in (*self.session_rules, *self.rules):
            if exactly and (rule.pattern is None or re.search(r"(?<!\[)\*", rule.pattern)):
                continue
            if rule.covers(subject, cwd, place and place.path):
                return Decision(True, f"rule {rule}")
        return None

    async def _why_protected(self, subject: Subject, cwd: Path, place: Place | None) -> str | None:
        """Why a file that is to be changed runs later, or what a command names that no tool reads; None for other calls."""
        if subject.sort == "command":
            named = await asyncio.to_thread(self.deny_paths.match_command, subject.value or "", cwd, built_in=True)
            return f"it names {named[0]} ({named[1].removeprefix(BUILT_IN)})" if named else None
        if subject.sort != "change" or place is None:
            return None
        # What settings name is looked up on the disk, and whoever wrote them has chosen how long that takes.
        return await asyncio.to_thread(self._why_change_protected, subject, cwd, place)

    def _why_change_protected(self, subject: Subject, cwd: Path, place: Place) -> str | None:
        try:
            # What a failed change says of a file is a way to read it.
            if subject.reveals and (private := self.deny_paths.fence.why_private(place.path)):
                return private
            # By the name that was asked for, too: what a link called .envrc leads to runs as .envrc.
            for path in dict.fromkeys((place.path, place.name(cwd))):
                if found := (
                    why_protected(path, cwd, self._protected)
                    or why_named_by_us(path, cwd.resolve())
                    or why_named_by_git(path, cwd.resolve())
                ):
                    return found
            return None
        except (OSError, RuntimeError, ValueError) as error:
            return f"it can't be told whether something runs it ({error})"

    async def _denied(self, subject: Subject, cwd: Path, place: Place | None) -> str | None:
        if subject.sort == "command":
            found = await asyncio.to_thread(self.deny_paths.match_command, subject.value or "", cwd)
            return f"the command names a denied file: {denial(*found)}" if found else None
        if place is None:
            return None
        found_by = self.deny_paths.match_name(place.name(cwd)) or self.deny_paths.match_name(place.path)
        return denial(place.asked, found_by) if found_by else None

    def _settled(self, subject: Subject, cwd: Path, place: Place | None, *, sensitive: bool) -> Decision | None:
        """A yes that needs no question."""
        inside = subject.sort == "change" and place is not None and place.path.is_relative_to(cwd.resolve())
        if self.mode == "edits" and inside and not sensitive:
            return Decision(True, "mode edits")
        return self._by_rule(subject, cwd, place, exactly=sensitive)

    async def _ask(
        self,
        tool: Tool,
        call: ToolCallPart,
        arguments: dict[str, Any],
        context: ToolContext,
        settled: Callable[[], Awaitable[Decision | None]],
        why: str,
    ) -> Decision:
        subject = tool.subject(arguments)
        name = subject.tool
        if self.approver is None:
            reason = (
                f"{name} was not run: it needs the user's approval and nobody can be asked here. Don't try again; go on without it, or say "
                "what you would have done. The user can allow it with --approve edits or all, or a rule under [approve] in config.toml."
            )
            return Decision(False, "nobody to ask", reason)
        async with self._asking:
            # Somebody may have answered for this one, too, while it waited.
            if allowed := await settled():
                return allowed
            suggested = suggest_rule(subject, context.cwd)
            # Looked up here: what was shown is what runs.
            place = place_of(tool, arguments, context.cwd)
            diff, digest = await _preview(tool, context, arguments, place)
            title = tool.title(arguments) + _leads_to(place, context.cwd)
            since = time.monotonic()
            try:
                answer = await self.approver.ask(ApprovalRequest(call, title, suggested, diff, why))
            finally:
                self.asked_s += time.monotonic() - since
        if answer.verdict == "no":
            said = f" and said: {answer.reason}" if answer.reason else ""
            return Decision(False, "user", f"the user did not allow this call of {name}{said}")
        told = ""
        if answer.verdict != "once":
            try:
                self._keep(Rule.parse(answer.rule or suggested, file="your answer", key="rule"), answer.verdict)
            except UsageError as error:  # the call is allowed all the same
                told = f"this call alone is allowed, since no rule was kept: {error}"
        return Decision(True, "user", told=told, place=place and place._replace(shown=digest))

    def _keep(self, rule: Rule, verdict: str) -> None:
        self.session_rules.append(rule)
        if verdict == "always" and self.remember is not None:
            self.remember(str(rule))


def _unasked(name: str, why: str) -> str:
    return (
        f"{name} was not run: this is done only with the user's own word, in every approval mode, because {why}; and nobody can be "
        "asked now. Don't try again or another way; go on without it, or say what you would have done. The user can allow this very call "
        "with a rule under [approve] in config.toml that names it without a star."
    )


def _unread(name: str, asked: str, why: str) -> str:
    return (
        f"{name} was not run: {asked} is read only with the user's own word, because {why}; and nobody can be asked now. Don't try another "
        f"way; go on without it, or say what you need from it. The user can allow it with a rule that names it: {name}({asked})"
    )


def _leads_to(place: Place | None, cwd: Path) -> str:
    """Where a path leads, where its name does not say so."""
    if place is None or place.name(cwd.resolve()) == place.path:
        return ""
    return f" (leads to {place.path})"


async def _preview(
    tool: Tool, context: ToolContext, arguments: dict[str, Any], place: Place | None
) -> tuple[str | None, str | None]:
    """The change as a diff, from a tool that can show it without doing it (`preview`), and the digest of what it would change."""
    changes = place is not None and tool.subject(arguments).sort == "change"
    digest = await asyncio.to_thread(content_mark, place.path) if place is not None and changes else None
    try:
        return await tool.preview(context, arguments), digest
    except ToolError:
        return None, digest  # the call will fail by itself, and tell the model why
