"""`[[hooks]]`: commands of the user's own at events of a conversation.

A hook reads one JSON object on its standard input and answers by its exit code: 0 goes on, 2 refuses and its standard error goes to the
model (or, where no model is asked, to the user), anything else is told and passed over. docs/hooks.md has the fields of each event.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.approval.rules import Rule, is_simple
from agent.config import trust
from agent.config.toml import Table
from agent.errors import UsageError
from agent.events import Notice
from agent.llm.messages import user
from agent.plugin import Continue, Contribution, Plugin
from agent.process.own_env import without_keys
from agent.process.pipe_tail import PipeTail
from agent.process.process import Child
from agent.text.cleaning import harmless, visible

if TYPE_CHECKING:
    from agent.config.config import Config
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.messages import ToolCallPart
    from agent.plugin import ModelCall, TurnState
    from agent.session.session import Session
    from agent.tools.base import Subject, ToolContext, ToolResult

EVENTS = ("session_start", "before_turn", "before_tool", "after_tool", "before_stop", "turn_end", "compaction")
OF_TOOLS = ("before_tool", "after_tool")
SPEAKS = ("session_start", "before_turn")
"""Where a hook's standard output goes to the model: it knows something that belongs at the beginning."""
TIMEOUT_S = 10.0
LONGEST_S = 3600.0
REFUSES = 2
MOST_SAID = 8_000
"""Characters of what a hook says that go to the model; and bytes of its output that are kept, times four."""
MOST_HOLDS = 5
"""So often in a row `before_stop` hooks may keep a turn from ending."""
AFTER_S = 0.2


@dataclass(frozen=True, slots=True)
class Hook:
    """One of them. `folder` is where it runs; `match` is a rule on tool calls; seconds."""

    event: str
    command: str
    match: Rule | None
    timeout_s: float
    folder: Path
    source: str
    project: Path | None = None
    """The `.moa` folder that it is from."""

    def __str__(self) -> str:
        on = f" ({self.match})" if self.match else ""
        return f"{self.event}{on}: {self.command}"


class Said(NamedTuple):
    """How a hook ended: its exit code (None: it did not end in time), its output and its standard error."""

    code: int | None
    out: str
    err: str


def read(rows: list[Table], folder: Path) -> list[Hook]:
    """The hooks of a file's `[[hooks]]`. Raises UsageError naming file, key and remedy."""
    hooks = []
    for row in rows:
        event = row.text("event", choices=EVENTS)
        if event is None:
            raise row.error("event", "is missing", f"use one of {', '.join(EVENTS)}")
        command = (row.text("command") or "").strip()
        if not command or "\0" in command:
            raise row.error("command", "is missing", 'give a shell command, for example command = "./check.sh"')
        match = row.text("match")
        if match is not None and event not in OF_TOOLS:
            raise row.error(
                "match", f"is given for {event}", f"only {' and '.join(OF_TOOLS)} are about a tool: take it out"
            )
        timeout_s = row.number("timeout_s", TIMEOUT_S) or TIMEOUT_S
        if timeout_s > LONGEST_S:
            raise row.error("timeout_s", f"is {timeout_s:g}", f"use at most {LONGEST_S:g} seconds")
        rule = None if match is None else Rule.parse(match, file=str(row.file), key=f"{row.name}.match")
        hooks.append(Hook(event, command, rule, timeout_s, folder, str(row.file)))
        row.done()
    return hooks


def project_hooks(project: Path) -> list[Hook]:
    """The hooks of a project's `.moa/config.toml`; they run in the project's folder. Raises UsageError."""
    from agent.config import project_settings

    return [replace(hook, project=project) for hook in read(project_settings.read(project).hooks, project.parent)]


class UserHooks(NamedTuple):
    """All hooks of a conversation: those of its turns as a plugin, those of tools as the guard of every call."""

    turns: TurnHooks
    tools: ToolHooks


def configured(config: Config, project: Path | None, cwd: Path) -> UserHooks | None:
    """The user's hooks, then those of a trusted project; None where there are none. Raises UsageError."""
    file = config.paths.config_file
    hooks = read(Table({"hooks": list(config.hooks)}, file).rows("hooks"), cwd)
    if project is not None:
        hooks += project_hooks(project)
    if not hooks:
        return None
    runner = Runner(hooks, config, cwd)
    return UserHooks(TurnHooks(runner), ToolHooks(runner))


class TurnHooks(Plugin):
    """`session_start`, `before_turn`, `before_stop`, `turn_end` and `compaction`."""

    name = "hooks"

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._notes: list[str] = []
        self._emit: Emit = lambda _event: None
        self._begun = False
        self._holds = 0

    def advises(self) -> bool:
        """What hooks have said is told with the next call."""
        return bool(self._notes)

    async def before_turn(self, turn: TurnState, emit: Emit) -> None:
        """`session_start`, once a session, and `before_turn`; a refusal ends the turn before it has begun."""
        self._holds, self._notes, self._emit, self._begun = 0, [], emit, False
        if self._runner.session != turn.session.id:
            self._runner.session = turn.session.id
            await self._gate("session_start", {"resumed": turn.session.turn_count() > 0}, emit)
        await self._gate("before_turn", {"prompt": turn.prompt.text}, emit)
        self._begun = True

    async def _gate(self, event: str, about: Mapping[str, Any], emit: Emit) -> None:
        for hook in self._runner.of(event):
            said = await self._runner.run(hook, about, emit)
            if said.code == REFUSES:
                if event == "session_start":
                    self._runner.session = ""  # asked again before the next turn
                raise UsageError(
                    f"a hook of yours refused this turn ({hook.command}): {_words(said)}",
                    remedy=f"do what it says, or change it in {hook.source}",
                    kind="hook_refused",
                )
            if said.code == 0 and said.out.strip():
                self._notes.append(f"The user's own hook ({hook.command}) says at {event}:\n{_cut(said.out)}")

    async def before_model(self, call: ModelCall, emit: Emit) -> Contribution | None:
        """What hooks had to say since the last call."""
        notes, self._notes = self._notes, []
        return Contribution("\n\n".join(notes)) if notes else None

    async def before_stop(self, turn: TurnState, context: CallContext, emit: Emit) -> Continue | None:
        """A refusal asks the model to go on, with the hook's words."""
        reply = "" if turn.reply is None else turn.reply.text
        for hook in self._runner.of("before_stop"):
            said = await self._runner.run(hook, {"text": reply, "holds": self._holds}, emit)
            if said.code != REFUSES:
                continue
            if self._holds >= MOST_HOLDS:
                tell(emit, hook, f"has kept this turn from ending {MOST_HOLDS} times in a row; now it ends")
                return None
            self._holds += 1
            words = f"A check that the user has set up ({hook.command}) does not let this turn end yet:\n{_words(said)}"
            return Continue(message=user(words, synthetic="continuation"))
        return None

    async def after_turn(self, turn: TurnState) -> None:
        """`turn_end`: nothing is left to refuse. Not where the turn was refused before it began."""
        if not self._begun or turn.ending is None:
            return
        self._begun = False
        error = turn.ending.error
        about = {
            "status": turn.ending.status,
            "text": "" if turn.reply is None else turn.reply.text,
            "error": None if error is None else error.message,
        }
        for hook in self._runner.of("turn_end"):
            said = await self._runner.run(hook, about, self._emit)
            if said.code == REFUSES:
                tell(self._emit, hook, f"says: {_words(said)}")

    async def before_compaction(self, session: Session, reason: str, emit: Emit) -> str | None:
        """A refusal leaves the conversation as it is."""
        for hook in self._runner.of("compaction"):
            said = await self._runner.run(hook, {"reason": reason}, emit, session=session.id)
            if said.code == REFUSES:
                return f"a hook of yours refused it ({hook.command}): {_words(said)}"
        return None


class ToolHooks:
    """`before_tool` and `after_tool`, for every agent's calls (`agent.tools.base.ToolGuard`)."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def before_tool(self, call: ToolCallPart, subject: Subject, context: ToolContext, emit: Emit) -> str | None:
        """The first refusal."""
        about = {"tool": call.name, "arguments": dict(subject.arguments), "call": call.id}
        for hook in self._of("before_tool", subject, context):
            said = await self._runner.run(hook, about, emit)
            if said.code == REFUSES:
                return f"Refused by a check that the user has set up: {_words(said)}"
        return None

    async def after_tool(
        self, call: ToolCallPart, subject: Subject, result: ToolResult, context: ToolContext, emit: Emit
    ) -> str:
        """What refusing hooks say of a result, to stand behind it."""
        told = {"text": result.text, "is_error": result.is_error, "exit_code": result.exit_code, "diff": result.diff}
        about = {"tool": call.name, "arguments": dict(subject.arguments), "call": call.id, "result": told}
        words = []
        for hook in self._of("after_tool", subject, context):
            said = await self._runner.run(hook, about, emit)
            if said.code == REFUSES:
                words.append(f"[A check that the user has set up says: {_words(said)}]")
        return "\n".join(words)

    def _of(self, event: str, subject: Subject, context: ToolContext) -> list[Hook]:
        return [hook for hook in self._runner.of(event) if _matches(hook.match, subject, context.cwd)]


class Runner:
    """Runs hooks: `session` is the conversation that they are told of."""

    def __init__(self, hooks: list[Hook], config: Config, cwd: Path) -> None:
        self.session = ""
        self._hooks = hooks
        self._config = config
        self._cwd = cwd
        self._told: set[str] = set()

    def of(self, event: str) -> list[Hook]:
        """Those of an event, in the order of the files."""
        return [hook for hook in self._hooks if hook.event == event]

    async def run(self, hook: Hook, about: Mapping[str, Any], emit: Emit, *, session: str = "") -> Said:
        """Run one to its end. A failure that is no refusal is told. When cancelled, all that it started is ended within a second."""
        if hook.project is not None and (
            changed := await asyncio.to_thread(trust.why_changed, self._config, hook.project)
        ):
            if changed not in self._told:
                self._told.add(changed)
                tell(emit, hook, f"is passed over: {changed}")
            return Said(0, "", "")
        given = {"schema": 1, "event": hook.event, "session": session or self.session, "cwd": str(self._cwd), **about}
        text = self._config.redact(json.dumps(given, ensure_ascii=False, default=str))
        try:
            said = await self._ended(hook, text.encode("utf-8", "replace"))
        except OSError as error:
            said = Said(127, "", f"it can't be started: {error.strerror or error}")
        said = said._replace(out=self._config.redact(said.out), err=self._config.redact(said.err))
        if said.code is None:
            tell(emit, hook, f"did not end within {hook.timeout_s:g} s and was ended; it is passed over")
        elif said.code not in (0, REFUSES):
            last = _cut(said.err.strip() or said.out.strip(), 300)
            tell(emit, hook, f"failed with exit code {said.code} and is passed over" + (f": {last}" if last else ""))
        return said

    async def _ended(self, hook: Hook, given: bytes) -> Said:
        out, err = bytearray(), PipeTail(4 * MOST_SAID)

        def feed(data: bytes) -> None:
            out.extend(data[: max(0, 4 * MOST_SAID - len(out))])

        try:
            try:
                # A file without a name: input of any length, and no pipe that a hook could leave unread.
                with tempfile.TemporaryFile() as words:
                    words.write(given)
                    words.seek(0)
                    child = await Child.start(
                        ["/bin/sh", "-c", hook.command],
                        cwd=hook.folder,
                        feed=feed,
                        env=without_keys(self._config.secret_names(), self._config.secrets()),
                        stdin=words,
                        stderr=err.write_end,
                    )
            finally:
                err.started()
            try:
                code = await child.wait(hook.timeout_s)
                if code is not None:
                    await child.settle(AFTER_S)
            finally:
                await child.end()
            return Said(code, bytes(out).decode("utf-8", "replace"), err.text)
        finally:
            err.close()


def tell(emit: Emit, hook: Hook, what: str) -> None:
    """A notice about a hook."""
    emit(Notice(level="warning", code="hook", text=f"your hook at {hook.event} ({visible(hook.command)}) {what}"))


def _matches(rule: Rule | None, subject: Subject, cwd: Path) -> bool:
    """Whether a hook wants to see a call. Of a command that has more than one in it nobody can say what it is: the hook sees it."""
    if rule is None or rule.covers(subject, cwd):
        return True
    return subject.tool == rule.tool and subject.sort == "command" and not is_simple(subject.value or "")


def _words(said: Said) -> str:
    return _cut(said.err.strip() or said.out.strip()) or "it does not say why"


def _cut(text: str, most: int = MOST_SAID) -> str:
    text = harmless(text).strip()
    return text if len(text) <= most else f"{text[: most // 2]}\n…\n{text[-most // 2 :]}"
