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

from agent.approval.approval import Approvals, Approver, remember_rule
from agent.commands import CommandTable
from agent.config.config import Config, load_config
from agent.context.opening import Opening
from agent.delegate.tool import delegates
from agent.errors import StateError, UsageError
from agent.files.deny_paths import DenyPaths
from agent.files.fence import Fence
from agent.installed import plugin_makers
from agent.ledger.book import Ledger
from agent.ledger.patient import PatientLedger
from agent.llm.accounting import CallContext, Cap
from agent.llm.client import ModelClient
from agent.llm.models.catalogue import Catalogue
from agent.llm.models.learned_quirks import QuirkMemory
from agent.llm.money import nano_from_usd
from agent.llm.request import Effort
from agent.loop.agent import Agent, refused_now
from agent.loop.hooks import ask_all
from agent.loop.main_model import compact_model, effort_remark, main_model
from agent.loop.tool_runner import ToolRunner
from agent.plugin import Plugin, PluginHost, Registry
from agent.process import depth, leftovers
from agent.process.folder import here
from agent.sandbox.sandbox import Sandbox
from agent.session.session import Session
from agent.tools.base import Tool, ToolContext, ToolResult

if TYPE_CHECKING:
    import httpx

    from agent.approval.approval import Mode
    from agent.commands import Command
    from agent.events import ErrorInfo
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.request import Request
    from agent.llm.stream import Reply
    from agent.local.server import LocalServer
    from agent.local.source import Progress
    from agent.mcp.servers import Servers
    from agent.userhooks import UserHooks
    from agent.web.domains import Domains
    from agent.within import Within


@dataclass(frozen=True, slots=True)
class Options:
    """What a command line (or a test) says; it beats environment and file. `plugins` are options by plugin name."""

    model: str | None = None
    effort: Effort | None = None
    cwd: Path | None = None
    session: str | None = None
    resume_latest: bool = False
    approve: Mode = "deny"
    budget_usd: float | None = None
    max_iterations: int = 90
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chat: bool = False
    """The conversation stays open, before somebody's eyes: the agent keeps a todo list for them."""
    first: str = ""
    """The first line of a chat, sent as soon as it is open."""
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
    found: Sequence[tuple[str, str]] = ()
    """What was found while it was put together and the user should know: (code, text)."""

    def records(self) -> tuple[str, ...]:
        """The kinds of records that plugins make; each is a list in the JSON result."""
        return tuple(kind for plugin in self.plugins for kind in plugin.records)

    def status(self) -> tuple[str, ...]:
        """What the status line says beside the model: whether commands are confined, and plugins' own words."""
        sandbox = self.agent.tools.context.sandbox
        words = (
            sandbox and sandbox.status(),
            *(word for _, word in ask_all(self.plugins, "status", lambda p: p.status())),
        )
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


def build(
    options: Options,
    *,
    env: Mapping[str, str] = os.environ,
    approver: Approver | None = None,
    notice: Callable[[str, str], None] = lambda _code, _text: None,
    progress: Callable[[Progress], None] = lambda _progress: None,
    makers: Mapping[str, Callable[[PluginHost], Plugin]] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    within: Within | None = None,
) -> Host:
    """Put an agent together. `notice(code, text)` takes what happens outside a turn (a model being loaded), `progress` a download.
    `makers` replace the plugins that are installed, `transport` the network; `within` is what it shares with others.

    Raises UsageError for a wrong setting or option, StateError where the state folder can't be used.
    """
    makers = plugin_makers() if makers is None else makers
    config = load_config(env, plugins=frozenset(makers)) if within is None else within.config
    cwd = options.cwd if options.cwd is not None and options.cwd.is_absolute() else here() / (options.cwd or "")
    if not os.path.isdir(cwd):  # noqa: PTH112 - no folder's name is that long, and that is no crash
        raise UsageError(f"--cwd {str(cwd)[:200]} is no folder", remedy="give an existing one")
    ledger = within.ledger if within else Ledger(config.paths.state / "ledger.db", redact=config.redact)
    if not within:
        ledger.sweep()  # what a killed process left open
    found = [("left_running", text) for text in ([] if within else leftovers.sweep(config.paths.state))]
    session = within.session if within else _session(config, options)
    if options.chat:  # told as soon as it is open, not with the next turn
        found += [("session_damaged", text) for text in session.notices]
        session.notices.clear()
    try:
        return _assemble(
            options,
            env,
            config,
            cwd,
            ledger,
            session,
            makers,
            found,
            approver=approver,
            notice=notice,
            progress=progress,
            transport=transport,
            within=within,
        )
    except BaseException:  # its lock must not outlive it
        session.close()
        if not within:
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
    found: list[tuple[str, str]],
    *,
    approver: Approver | None,
    notice: Callable[[str, str], None],
    progress: Callable[[Progress], None],
    transport: httpx.AsyncBaseTransport | None,
    within: Within | None,
) -> Host:
    """The agent around a session that is open."""
    outside: Any = {"notice": notice, "progress": progress, "transport": transport}
    client = within.client if within else make_client(config, ledger, **outside)
    run = within.run if within else f"r{time.time_ns() // 1_000_000:x}{secrets.token_hex(2)}"
    books = within.account if within else session.id
    project = config.trusted_project(cwd)
    if project is None and config.trusted:
        from agent.config.trust import why_not

        found += [("project_changed", changed) for changed in filter(None, (why_not(config, cwd),))]
    if config.trusted:
        from agent.config.trust import gone_silent

        found += [("project_changed", changed) for changed in gone_silent(config, cwd)]
    main = options.model or config.model
    scratch = config.paths.state / "scratch" / session.id
    deny_paths = DenyPaths(
        config.deny_paths,
        cwd,
        file=str(config.paths.config_file),
        fence=Fence.of(cwd, config.paths, config.sandbox, scratch=scratch),
    )
    sandbox = Sandbox.of(config, deny_paths, session)
    running = leftovers.RunningCommands(config.paths.state)
    tool_context = ToolContext(
        cwd=cwd,
        scratch=scratch,
        deny_paths=deny_paths,
        snapshot=partial(_keep_snapshot, config.paths.state / "snapshots" / session.id),
        running=running,
        sandbox=sandbox,
        redact=config.redact,
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
    from agent.tools.builtin import builtin_tools

    builtin = builtin_tools(strip_env=config.secret_names(), secrets=config.secrets())
    side_runner = ToolRunner([tool for tool in builtin if tool.read_only], tool_context, approvals)

    async def run_member(
        request: Request,
        context: CallContext,
        tools: Sequence[str],
        max_calls: int,
        on_event: Any = None,
        *,
        domains: Domains | None = None,
    ) -> Reply:
        from agent.loop.side_loop import SideLoop

        more = [tool for offered in registry.member_tools for tool in offered(context, domains)]
        return await SideLoop(client, side_runner.with_tools(more).only(tools)).run(
            request, context, max_calls=max_calls, on_event=on_event
        )

    async def run_shell(command: str, timeout_s: float) -> ToolResult:
        shell = next(tool for tool in builtin if tool.spec.name == "shell")
        return await shell.run(tool_context, {"command": command, "timeout_s": max(1.0, timeout_s)})

    registry = Registry()
    caps = caps_of(config, options.budget_usd)
    account = CallContext("main", session=books, run=run, caps=caps)
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
                project_dir=project,
                cwd=cwd,
                registry=registry,
                run_member=run_member,
                options=options.plugins.get(name, {}),
                session=session,
                account=account,
                run_shell=run_shell,
                denied=lambda path: deny_paths.match(path) or deny_paths.fence.why_private(path),
                composed=lambda: agent.composed,
                member_tools=lambda: frozenset(
                    tool.spec.name
                    for tool in (
                        *side_runner.tools.values(),
                        *(t for make in registry.member_tools for t in make(account, None)),
                    )
                ),
            )
        )
        for name, maker in makers.items()
    ]
    if user_hooks := _user_hooks(config, project, cwd):
        plugins.insert(0, user_hooks.turns)
        tool_context.guard = user_hooks.tools
    approvals.alone = sandbox.unattended = lambda: any(
        yes for _, yes in ask_all(plugins, "unattended", lambda each: each.unattended())
    )
    sandbox.alone = lambda: approvals.mode == "all" and sandbox.unattended()
    tell = partial(notice, "plugin_failed")
    model, effort, model_error, composed = main_model(
        config, client, session, plugins, model=options.model, effort=options.effort, models=registry.models
    )
    if model_error is None and (text := effort_remark(client, model, effort)):
        found.append(("effort", text))
    if options.chat or model.endpoint != "local":  # small models do better with fewer tools
        from agent.tools.todo import Todo

        builtin = (*builtin, Todo(session))
    tools: list[Tool] = [*builtin]
    for _, offered in ask_all(plugins, "tools", lambda each: each.tools(), tell):
        tools += offered
    tools += delegates(config, model, builtin, lambda: agent, registry.profiles)
    servers = _servers(config, cwd, project, env, notice)
    if servers is not None:
        tools.append(servers.tool)
    opening = Opening(
        cwd,
        user_dir=config.paths.config,
        project_dir=project,
        deny=deny_paths,
        trusts=lambda path: bool(config.trusted) and _speaks(config, path),
        refused=lambda: refused_now(agent),
        late=servers.news if servers is not None else dict,
    )
    found += [("instructions", text) for text in opening.problems()]
    agent = Agent(
        client=client,
        ledger=ledger,
        session=session,
        model=model,
        tools=ToolRunner(tools, tool_context, approvals),
        plugins=plugins,
        opening=opening,
        run=run,
        account=books,
        caps=caps,
        max_iterations=options.max_iterations,
        redaction=config.redaction(),
        crashed=partial(_crashed, config),
        max_tokens=config.max_tokens,
        compact_at=config.compact_at,
        compact_model=compact_model(config, client),
        effort=effort,
        composed=composed,
        models=registry.models,
        servers=servers,
    )
    agent.adopt_tools()
    closers: list[Callable[[], Any]] = [tool.aclose for tool in tools if hasattr(tool, "aclose")]
    if servers is not None:
        servers.attach(agent.tools)
        closers.append(servers.aclose)
    closers += [running.close, session.close] if within else [running.close, client.aclose, session.close, ledger.close]
    commands = CommandTable(
        (command for _, found in ask_all(plugins, "commands", lambda each: each.commands(), tell) for command in found),
        later=lambda: _more_commands(host, notice),
        redact=config.redact,
    )
    host = Host(config, agent, commands, plugins, model_error, closers, found)
    return host


def _servers(
    config: Config, cwd: Path, project: Path | None, env: Mapping[str, str], notice: Callable[[str, str], None]
) -> Servers | None:
    """The foreign MCP servers, none of them started; None where none is configured. Raises UsageError for a wrong setting."""
    if not config.mcp and (project is None or not (project / "config.toml").is_file()):
        return None
    from agent.mcp.settings import configured

    settings = configured(config.mcp, config.paths.config_file, project)
    if not settings.running():
        return None
    from agent.mcp.servers import servers_of

    return servers_of(
        settings.running(),
        cwd=cwd,
        state=config.paths.state,
        env=env,
        start_s=settings.start_s,
        notice=notice,
        redact=config.redact,
    )


def _user_hooks(config: Config, project: Path | None, cwd: Path) -> UserHooks | None:
    """The user's own hooks and those of a trusted project; None where there are none. Raises UsageError for a wrong one."""
    if not config.hooks and (project is None or not (project / "config.toml").is_file()):
        return None
    from agent.userhooks import configured

    return configured(config, project, cwd)


def _speaks(config: Config, path: Path) -> bool:
    from agent.config.trust import speaks

    return speaks(config, path)


def _crashed(config: Config, error: BaseException) -> ErrorInfo:
    from agent.process.crash import crashed

    return crashed(error, config.paths.state, redact=config.redact)


def _more_commands(host: Host, notice: Callable[[str, str], None]) -> Iterable[Command]:
    from agent.slash import user_commands
    from agent.slash.builtin import builtin_commands

    yield from builtin_commands(host)
    context, paths = host.agent.tools.context, host.config.paths
    yield from user_commands.commands(
        paths.config,
        host.config.trusted_project(context.cwd),
        taken=host.commands.commands,
        deny=context.deny_paths,
        notice=notice,
    )


def _keep_snapshot(folder: Path, turn: str, path: Path, data: bytes) -> None:
    from agent.session.snapshots import Snapshots

    Snapshots(folder).keep(turn, path, data)


def make_client(
    config: Config,
    ledger: Ledger,
    *,
    notice: Callable[[str, str], None] = lambda _code, _text: None,
    progress: Callable[[Progress], None] = lambda _progress: None,
    endpoints: Mapping[str, Endpoint] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> ModelClient:
    """The door to the models for a configuration; `endpoints` stand in for its own (servers that were found running elsewhere), `transport`
    for the network."""

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
        PatientLedger(ledger),
        catalogue=Catalogue(config.paths.cache),
        transport=transport,
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
        from agent.session.index import latest

        name = latest(folder)
    if name is not None:
        return Session.open(folder, name, redact=config.redact, claim=True)
    if options.resume_latest:
        raise UsageError(f"there is no session in {folder} yet", remedy="start one without -c", kind="unknown_session")
    session = Session.create(folder, redact=config.redact)
    session.inherit(options.inherit)
    return session


def caps_of(config: Config, budget_usd: float | None = None) -> tuple[Cap, ...]:
    """The user's caps; `budget_usd` is that of the command line, US dollars."""
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
    if budget_usd is not None:
        caps.append(Cap("run", "--budget", nano_from_usd(budget_usd)))
    return tuple(caps)
