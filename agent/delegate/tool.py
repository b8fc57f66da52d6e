"""delegate: hand a bounded task to a sub-agent with a model of its own, and get its report."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from agent.config.toml import Table
from agent.files.own_files import make_folder
from agent.llm.accounting import CallContext, Cap
from agent.llm.request import ModelRef, ToolSpec
from agent.process.depth import depth
from agent.text.numbers import plural
from agent.tools.base import Kind, Tool, ToolContext, ToolError, ToolResult

if TYPE_CHECKING:
    from pathlib import Path

    from agent.config.config import Config
    from agent.delegate.subagent import Work
    from agent.loop.agent import Agent
    from agent.plugin import Offers, Profile

SHARE = "delegate"
MOST_TEXT = 24_000
"""Characters of a report that go to the leader; the whole is in the scratch folder."""


class Settings(NamedTuple):
    """The `[delegate]` section. `model` is who works where the leader names nobody, `models` who else it may name: ENDPOINT:MODEL, or
    what a plugin offers (a preset, or `PRESET/N` for one of its members). Seconds; US dollars and tokens a turn for all of them."""

    enabled: bool = True
    model: str | None = None
    models: tuple[str, ...] = ()
    max_steps: int = 25
    timeout_s: float = 900.0
    parallel: int = 4
    turn_usd: float | None = None
    turn_tokens: int | None = None


def read_settings(section: Mapping[str, Any], file: Path) -> Settings:
    """The section, checked. Raises UsageError naming file, key and remedy."""
    default = Settings()
    if not section:
        return default
    table = Table(dict(section), file, "delegate")
    settings = Settings(
        enabled=table.flag("enabled", default.enabled),
        model=table.text("model"),
        models=table.texts("models"),
        max_steps=table.integer("max_steps", default.max_steps, least=1) or default.max_steps,
        timeout_s=table.number("timeout_s", default.timeout_s) or default.timeout_s,
        parallel=table.integer("parallel", default.parallel, least=1) or default.parallel,
        turn_usd=table.number("turn_usd"),
        turn_tokens=table.integer("turn_tokens", least=1),
    )
    table.done()
    return settings


def delegates(
    config: Config, model: ModelRef, tools: Sequence[Tool], leader: Callable[[], Agent], profiles: Offers[Profile]
) -> tuple[Tool, ...]:
    """The tool, where there is one: not inside of a panel or of another agent's shell, and not for the small models that this program
    runs itself, since they answer one question at a time. Raises UsageError for a wrong section."""
    file = config.paths.config_file
    settings = read_settings(config.delegate, file)
    if not settings.enabled or depth() or (model.endpoint == "local" and settings.model is None):
        return ()
    given = [tool for tool in tools if not tool.of_session]
    return (Delegate(settings, file, leader=leader, tools=given, profiles=profiles),)


class Delegate(Tool):
    """Hands a task to a sub-agent.

    `leader` is the agent whose tool this is, `tools` what a sub-agent may be given, `profiles` who plugins offer. It counts as
    read-only itself, so that several work side by side: each call that changes something inside is asked about like any other, and
    sub-agents that may write take turns.

    Only a model that the user has named can be asked for: the leader's own, those of `[delegate]`, and a preset that is armed.
    """

    kind: ClassVar[Kind] = "other"
    read_only: ClassVar[bool] = True
    spec: ClassVar[ToolSpec] = ToolSpec(
        name="delegate",
        description=(
            "Hand one bounded task to a helper with a fresh mind, and get its report. The helper sees this folder and has tools to look "
            "around, but sees nothing of this conversation: put into the task all that it must know, and what you want back. For "
            "searching through much text, for a question that stands by itself, or for several such at once (call it several times in "
            "one reply). Not for what a call or two of your own would settle."
        ),
        parameters={
            "type": "object",
            "properties": {
                "task": {"type": "string", "minLength": 1, "description": "The task, complete in itself."},
                "preset": {
                    "type": "string",
                    "description": "Who is to do it, by a name that the user has told you; normally left out.",
                },
                "may_write": {
                    "type": "boolean",
                    "description": "True: it may change files and run commands, too. False, if not given: it only looks.",
                },
            },
            "required": ["task"],
            "additionalProperties": False,
        },
    )

    def __init__(
        self,
        settings: Settings,
        file: Path,
        *,
        leader: Callable[[], Agent],
        tools: Sequence[Tool],
        profiles: Offers[Profile],
    ) -> None:
        self._settings = settings
        self._file = file
        self._leader = leader
        self._tools = tuple(tools)
        self._profiles = profiles
        self._writing = asyncio.Lock()
        self._room = asyncio.Semaphore(settings.parallel)
        self._group = ""
        self._at_work = 0

    def may_change(self, arguments: dict[str, Any]) -> bool:
        """A helper that may write: each of its own calls was approved, but something may be different now."""
        return bool(arguments.get("may_write"))

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people."""
        who = f" to {preset}" if (preset := arguments.get("preset")) else ""
        return f"delegate{who}: {_line(str(arguments.get('task', '')), 160)}"

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """The report. Raises ToolError where nobody can do it."""
        task, may_write = arguments["task"].strip(), bool(arguments.get("may_write"))
        if not task:
            raise ToolError("the task is empty")
        leader = self._leader()
        if may_write and (mode := leader.tools.approvals.mode) in ("deny", "plan"):
            raise ToolError(f"nobody may change anything here (approval mode {mode}); ask without may_write")
        profile = await asyncio.to_thread(self.profile, arguments.get("preset"))
        if may_write:
            async with self._writing, self._room:
                return await self._delegate(leader, context, task, profile, self._tools)
        async with self._room:
            return await self._delegate(leader, context, task, profile, [one for one in self._tools if one.read_only])

    def profile(self, name: str | None) -> Profile:
        """Who is meant by a name, or without one. May read a file. Raises ToolError for who must not be asked, or is not there."""
        from agent.errors import UsageError
        from agent.plugin import Profile

        main, settings = self._leader().model, self._settings
        name = (name or "").strip() or settings.model
        if name is None or name in (str(main), "main"):
            return Profile(main)
        named = {settings.model, *settings.models}
        try:
            found = self._profiles.find(name)
        except UsageError as problem:
            raise ToolError(f"{name!r} can't be used: {problem.message}") from None
        if found is not None and (found.agreed or not named.isdisjoint((name, name.partition("/")[0]))):
            return found
        if found is None and name in named:
            try:
                return Profile(ModelRef.parse(name))
            except ValueError as problem:
                raise ToolError(f"[delegate] in {self._file} names nobody that there is: {problem}") from None
        others = ", ".join(sorted(one for one in named if one)) or "nobody but yourself"
        raise ToolError(
            f"{name!r} is nobody that the user has named for this. There are: {others}. Leave preset out, or let the user add the name to "
            f"[delegate] models in {self._file}."
        )

    async def _delegate(
        self, leader: Agent, context: ToolContext, task: str, profile: Profile, tools: Sequence[Tool]
    ) -> ToolResult:
        from agent.delegate.subagent import SubAgent
        from agent.loop.tool_runner import ToolRunner

        # What this model has seen of the files is not what the leader has seen, and the other way round.
        inside = replace(context, seen={}, progress=lambda _text: None)
        id = f"{SHARE}-{secrets.token_hex(4)}"
        if not self._at_work:
            self._group = id  # named after the first of those that work side by side
        agent = SubAgent(
            id=id,
            group=self._group,
            label=_line(task, 60),
            client=leader.client,
            tools=ToolRunner(tools, inside, leader.tools.approvals),
            profile=profile,
            emit=context.emit,
            max_steps=self._settings.max_steps,
            timeout_s=self._settings.timeout_s,
            max_tokens=leader.max_tokens,
        )
        self._at_work += 1
        try:
            work = await agent.run(leader.session.history()[0].text, task, self._account(leader, context))
        finally:
            self._at_work -= 1
        return await asyncio.to_thread(_result, work, profile, context.scratch / f"{agent.id}.md")

    def _account(self, leader: Agent, context: ToolContext) -> CallContext:
        """Who pays: the turn, under all its caps, and the share of the sub-agents in it."""
        caps, settings = leader.caps, self._settings
        if settings.turn_usd is not None or settings.turn_tokens is not None:
            nano = None if settings.turn_usd is None else round(settings.turn_usd * 1e9)
            caps = (*caps, Cap("share", f"[delegate] in {self._file}", nano, settings.turn_tokens))
        return CallContext("delegate", session=leader.books, run=leader.run, turn=context.turn, share=SHARE, caps=caps)


def _result(work: Work, profile: Profile, path: Path) -> ToolResult:
    """The report as the leader gets it: what was said, and in one line who, how long and for how much."""
    text, full = work.text, None
    if len(text) > MOST_TEXT:
        half, full = MOST_TEXT // 2, path
        try:
            make_folder(path.parent)
            path.write_text(text, "utf-8", "replace")
            where = f"; the whole in {path}"
        except OSError as problem:
            where, full = f"; the whole could not be kept: {problem.strerror or problem}", None
        text = f"{text[:half]}\n\n… {len(text) - 2 * half:,} characters left out{where} …\n\n{text[-half:]}"
    steps = f"{plural(work.steps, 'step')}, {plural(work.tool_calls, 'tool call')}"
    foot = f"[{work.model_served or profile.model.model}, {steps}, {work.cost}]"
    if work.error is not None:
        had = f"\nWhat it had until then:\n\n{text}" if text else ""
        return ToolResult(
            f"The helper broke off ({work.error.kind}): {work.error.message}{had}\n{foot}",
            is_error=True,
            full_output=full,
        )
    if work.ended == "steps":
        foot = f"[it had used up its steps: this may not be all]\n{foot}"
    return ToolResult(f"{text}\n\n{foot}", full_output=full)


def _line(text: str, most: int) -> str:
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"
