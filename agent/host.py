"""The one composition root: settings in, a working agent out. Every face and door starts here."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import depth
from agent.approval import Approvals, Approver, DenyPaths, remember_rule
from agent.commands import CommandTable
from agent.config import Config, load_config, require_model
from agent.context import system_prompt
from agent.denied import own_secrets
from agent.errors import StateError, UsageError
from agent.ledger import Ledger
from agent.llm.accounting import CallContext, Cap
from agent.llm.catalogue import Catalogue
from agent.llm.client import ModelClient
from agent.llm.memory import QuirkMemory
from agent.llm.messages import system
from agent.llm.money import nano_from_usd
from agent.llm.request import ModelRef
from agent.loop import Agent
from agent.plugin import Plugin, PluginHost, Registry
from agent.sandbox import Sandbox
from agent.session import Session
from agent.tools.base import Tool, ToolContext, ToolResult
from agent.tools.delegate import delegates
from agent.tools.runner import ToolRunner

if TYPE_CHECKING:
    from agent.approval import Mode
    from agent.commands import Command
    from agent.events import ErrorInfo
    from agent.llm.endpoint import Endpoint
    from agent.llm.request import Request
    from agent.llm.stream import Reply
    from agent.local.fetch import Progress
    from agent.local.server import LocalServer

ENTRY_POINTS = "agent.plugins"


@dataclass(frozen=True, slots=True)
class Options:
    """What a command line (or a test) says; it beats environment and file. `plugins` are options by plugin name."""

    model: str | None = None
    cwd: Path | None = None
    session: str | None = None
    resume_latest: bool = False
    approve: Mode = "deny"
    budget_usd: float | None = None
    max_iterations: int = 90
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chat: bool = False
    """The conversation stays open, before somebody's eyes: the agent keeps a todo list for them."""
    inherit: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """State (the model, what is armed) with which a new session begins, by name."""


@dataclass(slots=True)
class Host:
    """An agent with everything around it."""

    config: Config
    agent: Agent
    commands: CommandTable
    plugins: Sequence[Plugin]
    model_error: UsageError | None
    """Why there is no main model, where there is none: commands work all the same, a turn does not."""
    _closers: list[Callable[[], Any]]

    def records(self) -> tuple[str, ...]:
        """The kinds of records that plugins make; each is a list in the JSON result."""
        return tuple(kind for plugin in self.plugins for kind in plugin.records)

    def status(self) -> tuple[str, ...]:
        """What the status line says beside the model: whether commands are confined, and plugins' own words."""
        sandbox = self.agent.tools.context.sandbox
        words = (sandbox and sandbox.status(), *(plugin.status() for plugin in self.plugins))
        return tuple(word for word in words if word)

    async def reconcile(self) -> None:
        """Ask providers what calls have cost that a killed process left open. Meant to run beside a turn; failing does no harm."""
        await self.agent.ledger.reconcile(self.agent.client.generation)

    async def aclose(self) -> None:
        """End children, connections and files, whatever fails on the way."""
        for close in self._closers:
            try:
                result = close()
                if result is not None:
                    await result
            except (OSError, StateError):
                continue


def plugin_names() -> tuple[str, ...]:
    """The names of the installed plugins, without importing one: each may have a section in config.toml."""
    from importlib.metadata import entry_points

    return tuple(entry.name for entry in entry_points(group=ENTRY_POINTS))


def plugin_makers() -> dict[str, Callable[[PluginHost], Plugin]]:
    """Plugins by name, as installed packages offer them. Raises UsageError for one that can't be imported."""
    from importlib.metadata import entry_points

    makers: dict[str, Callable[[PluginHost], Plugin]] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            makers[entry.name] = entry.load()
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"the plugin {entry.name} ({entry.value}) can't be loaded: {error}",
                remedy="reinstall or remove its package",
            ) from error
    return makers


def build(
    options: Options,
    *,
    env: Mapping[str, str] = os.environ,
    approver: Approver | None = None,
    notice: Callable[[str, str], None] = lambda _code, _text: None,
    progress: Callable[[Progress], None] = lambda _progress: None,
    makers: Mapping[str, Callable[[PluginHost], Plugin]] | None = None,
) -> Host:
    """Put an agent together. `notice(code, text)` takes what happens outside a turn (a model being loaded), `progress` a download.

    Raises UsageError for a wrong setting or option, StateError where the state folder can't be used.
    """
    makers = plugin_makers() if makers is None else makers
    config = load_config(env, plugins=frozenset(makers))
    cwd = (options.cwd or Path.cwd()).absolute()
    if not cwd.is_dir():
        raise UsageError(f"--cwd {cwd} is no folder", remedy="give an existing one")
    ledger = Ledger(config.paths.state / "ledger.db", redact=config.redact)
    ledger.sweep()  # what a killed process left open
    session = _session(config, options)
    try:
        return _assemble(
            options, env, config, cwd, ledger, session, makers, approver=approver, notice=notice, progress=progress
        )
    except BaseException:  # its lock must not outlive it
        session.close()
        ledger.close()
        raise


def _assemble(
    options: Options,
    env: Mapping[str, str],
    config: Config,
    cwd: Path,
    ledger: Ledger,
    session: Session,
    makers: Mapping[str, Callable[[PluginHost], Plugin]],
    *,
    approver: Approver | None,
    notice: Callable[[str, str], None],
    progress: Callable[[Progress], None],
) -> Host:
    """The agent around a session that is open."""
    client = make_client(config, ledger, notice=notice, progress=progress)
    main = options.model or config.model
    deny_paths = DenyPaths((*config.deny_paths, *own_secrets(config.paths)), cwd, file=str(config.paths.config_file))
    scratch = config.paths.state / "scratch" / session.id
    snapshots = config.paths.state / "snapshots" / session.id
    sandbox = Sandbox.of(config, deny_paths, session)
    tool_context = ToolContext(
        cwd=cwd, scratch=scratch, deny_paths=deny_paths, snapshot=partial(_keep_snapshot, snapshots), sandbox=sandbox
    )
    approvals = Approvals(
        options.approve,
        config.allow,
        deny_paths=deny_paths,
        approver=approver,
        remember=partial(remember_rule, config.paths.config_file),
        protected=(config.paths.config, config.paths.state),
        file=str(config.paths.config_file),
    )
    from agent.tools import builtin_tools

    builtin = builtin_tools(strip_env=config.secret_names())
    side_runner = ToolRunner([tool for tool in builtin if tool.read_only], tool_context, approvals)

    async def run_member(
        request: Request, context: CallContext, tools: Sequence[str], max_calls: int, on_event: Any = None
    ) -> Reply:
        from agent.sideloop import SideLoop

        return await SideLoop(client, side_runner.only(tools)).run(
            request, context, max_calls=max_calls, on_event=on_event
        )

    async def run_shell(command: str, timeout_s: float) -> ToolResult:
        shell = next(tool for tool in builtin if tool.spec.name == "shell")
        return await shell.run(tool_context, {"command": command, "timeout_s": max(1.0, timeout_s)})

    registry = Registry()
    run = f"r{time.time_ns() // 1_000_000:x}{secrets.token_hex(2)}"
    caps = _caps(config, options)
    account = CallContext("main", session=session.id, run=run, caps=caps)
    plugins = [
        maker(
            PluginHost(
                client=client,
                ledger=ledger,
                settings=config.plugins.get(name, {}),
                config_file=config.paths.config_file,
                main_model=main,
                config_dir=config.paths.config,
                state_dir=config.paths.state,
                project_dir=config.trusted_project(cwd),
                registry=registry,
                run_member=run_member,
                options=options.plugins.get(name, {}),
                session=session,
                account=account,
                run_shell=run_shell,
            )
        )
        for name, maker in makers.items()
    ]
    sandbox.alone = lambda: approvals.mode == "all" and any(plugin.unattended() for plugin in plugins)
    if options.chat:
        from agent.tools.todo import Todo

        builtin = (*builtin, Todo(session))
    tools: list[Tool] = [*builtin, *(tool for plugin in plugins for tool in plugin.tools())]
    brought = next((name for plugin in plugins if (name := plugin.main_model())), None)
    model, model_error = _main_model(config, client, options.model or brought or _chosen(config, session))
    tools += delegates(config, model, builtin, lambda: agent, registry.profiles)
    agent = Agent(
        client=client,
        ledger=ledger,
        session=session,
        model=model,
        tools=ToolRunner(tools, tool_context, approvals),
        plugins=plugins,
        system=system(
            system_prompt(cwd, user_dir=config.paths.config, project_dir=config.trusted_project(cwd), deny=deny_paths)
        ),
        run=run,
        caps=caps,
        max_iterations=options.max_iterations,
        crashed=partial(_crashed, config),
        max_tokens=config.max_tokens,
        compact_at=config.compact_at,
        compact_model=_compact_model(config, client),
    )
    closers: list[Callable[[], Any]] = [tool.aclose for tool in tools if hasattr(tool, "aclose")]
    closers += [client.aclose, session.close, ledger.close]
    commands = CommandTable(
        (command for plugin in plugins for command in plugin.commands()), later=lambda: _more_commands(host, notice)
    )
    host = Host(config, agent, commands, plugins, model_error, closers)
    return host


def _crashed(config: Config, error: BaseException) -> ErrorInfo:
    from agent.crash import crashed

    return crashed(error, config.paths.state, redact=config.redact)


def _more_commands(host: Host, notice: Callable[[str, str], None]) -> Iterable[Command]:
    from agent import usercommands
    from agent.builtin import builtin_commands

    yield from builtin_commands(host)
    context, paths = host.agent.tools.context, host.config.paths
    yield from usercommands.commands(
        paths.config,
        host.config.trusted_project(context.cwd),
        taken=host.commands.commands,
        deny=context.deny_paths,
        notice=notice,
    )


def _compact_model(config: Config, client: ModelClient) -> ModelRef | None:
    """Who sums up conversations. Raises UsageError for an endpoint that there is not."""
    if config.compact_model is None:
        return None
    try:
        model = ModelRef.parse(config.compact_model)
        client.endpoint(model.endpoint)
    except (ValueError, UsageError) as error:
        remedy = getattr(error, "remedy", None) or "write ENDPOINT:MODEL"
        raise UsageError(f"{config.paths.config_file}: context.model: {error}", remedy=remedy, kind="config") from None
    return model


def _keep_snapshot(folder: Path, turn: str, path: Path, data: bytes) -> None:
    from agent.snapshots import Snapshots

    Snapshots(folder).keep(turn, path, data)


def _chosen(config: Config, session: Session) -> str | None:
    """The model that /model chose in this session, where its endpoint is still there."""
    name = (session.get_state("model") or {}).get("model", "")
    return name if str(name).partition(":")[0] in config.endpoints else None


def make_client(
    config: Config,
    ledger: Ledger,
    *,
    notice: Callable[[str, str], None] = lambda _code, _text: None,
    progress: Callable[[Progress], None] = lambda _progress: None,
    endpoints: Mapping[str, Endpoint] | None = None,
) -> ModelClient:
    """The door to the models for a configuration; `endpoints` stand in for its own (servers that were found running elsewhere)."""

    async def launch_local(model: str) -> Endpoint:
        from agent.local.server import LocalServer

        if "server" not in started:
            started["server"] = LocalServer(
                config.paths.cache / "models",
                config.paths.state / "local-server.log",
                notice=lambda text: notice("local", text),
                progress=progress,
            )
        return await started["server"].launch(model)

    async def stop_local() -> None:
        if server := started.get("server"):
            await server.aclose()

    started: dict[str, LocalServer] = {}
    return ModelClient(
        endpoints or config.endpoints,
        ledger,
        catalogue=Catalogue(config.paths.cache),
        launchers={"local": launch_local},
        on_close=stop_local,
        notice=notice,
        memory=QuirkMemory(config.paths.cache / "quirks.json"),
        depth_headers=lambda panel: depth.headers(depth.depth() + panel),
    )


def _session(config: Config, options: Options) -> Session:
    folder = config.paths.sessions
    name = options.session
    if name is None and options.resume_latest:
        from agent.sessionlist import latest

        name = latest(folder)
    if name is not None:
        return Session.open(folder, name, redact=config.redact, claim=True)
    if options.resume_latest:
        raise UsageError(f"there is no session in {folder} yet", remedy="start one without -c", kind="unknown_session")
    session = Session.create(folder, redact=config.redact)
    session.inherit(options.inherit)
    return session


def _main_model(config: Config, client: ModelClient, named: str | None) -> tuple[ModelRef, UsageError | None]:
    try:
        text = require_model(config, named)
        try:
            model = ModelRef.parse(text)
        except ValueError as error:
            raise UsageError(str(error), remedy="write ENDPOINT:MODEL", kind="model_ref") from None
        client.endpoint(model.endpoint)
    except UsageError as error:
        return ModelRef("", ""), error
    return model, None


def _caps(config: Config, options: Options) -> tuple[Cap, ...]:
    budget, file = config.budget, config.paths.config_file
    caps = []
    for scope in ("turn", "session", "day"):
        usd, tokens = getattr(budget, f"{scope}_usd"), getattr(budget, f"{scope}_tokens")
        if usd is not None or tokens is not None:
            nano = None if usd is None else nano_from_usd(usd)
            keys = " and ".join(
                key for key, value in ((f"{scope}_usd", usd), (f"{scope}_tokens", tokens)) if value is not None
            )
            caps.append(Cap(scope, f"[budget] {keys} in {file}", nano, tokens))
    if options.budget_usd is not None:
        caps.append(Cap("run", "--budget", nano_from_usd(options.budget_usd)))
    return tuple(caps)
