"""The one composition root: settings in, a working agent out. Every face and server starts here."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.approval.approval import Approvals, Approver
from agent.client import caps_of, make_client
from agent.commands import CommandTable
from agent.config.config import Config, load_config
from agent.config.edit import add_to_list
from agent.context.opening import Opening
from agent.delegate.tool import delegates
from agent.errors import UsageError
from agent.files.deny_paths import DenyPaths
from agent.files.fence import Fence
from agent.hooks import ask_all
from agent.host import Host, Options
from agent.installed import plugin_makers
from agent.ledger.book import Ledger
from agent.llm.accounting import CallContext
from agent.loop.agent import Agent, refused_now
from agent.loop.main_model import compact_model, effort_remark, main_model
from agent.loop.tool_runner import ToolRunner
from agent.plugin import Plugin, PluginHost, Registry
from agent.process import leftovers
from agent.process.folder import here
from agent.sandbox.sandbox import Sandbox
from agent.session.session import Session
from agent.tools.base import Tool, ToolContext, ToolResult
from agent.tools.builtin import builtin_tools
from agent.values import dataclass

if TYPE_CHECKING:
    import httpx

    from agent.commands import Command
    from agent.config.domains import Domains
    from agent.events import ErrorInfo
    from agent.llm.client import ModelClient
    from agent.llm.request import Request
    from agent.llm.stream import Reply
    from agent.local.source import Progress
    from agent.mcp.servers import Servers
    from agent.userhooks import UserHooks
    from agent.within import Within


@dataclass(frozen=True, slots=True)
class _Given:
    """What `build` was given."""

    options: Options
    env: Mapping[str, str]
    approver: Approver | None
    notice: Callable[[str, str], None]
    progress: Callable[[Progress], None]
    makers: Mapping[str, Callable[[PluginHost], Plugin]]
    transport: httpx.AsyncBaseTransport | None
    client: ModelClient | None
    within: Within | None


def build(
    options: Options,
    *,
    env: Mapping[str, str] = os.environ,
    approver: Approver | None = None,
    notice: Callable[[str, str], None] = lambda _code, _text: None,
    progress: Callable[[Progress], None] = lambda _progress: None,
    makers: Mapping[str, Callable[[PluginHost], Plugin]] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    client: ModelClient | None = None,
    within: Within | None = None,
) -> Host:
    """Put an agent together. `notice(code, text)` takes what happens outside a turn (a model being loaded), `progress` a download.
    `makers` replace the plugins that are installed, `transport` the network, `client` whatever calls models; `within` is what it shares with
    others.

    Raises UsageError for a wrong setting or option, StateError where the state folder can't be used.
    """
    given = _Given(
        options,
        env,
        approver,
        notice,
        progress,
        plugin_makers() if makers is None else makers,
        transport,
        client,
        within,
    )
    config = load_config(env, plugins=frozenset(given.makers)) if within is None else within.config
    cwd = options.cwd if options.cwd is not None and options.cwd.is_absolute() else here() / (options.cwd or "")
    if not os.path.isdir(cwd):  # noqa: PTH112 - no folder's name is that long, and that is no crash
        raise UsageError(f"--cwd {str(cwd)[:200]} is not a folder", remedy="give an existing one")
    ledger = within.ledger if within else Ledger(config.paths.state / "ledger.db", redact=config.redact)
    if not within:
        ledger.sweep()  # what a killed process left open
    found = [("left_running", text) for text in ([] if within else leftovers.sweep(config.paths.state))]
    session = within.session if within else _session(config, options)
    if options.chat:  # told as soon as it is open, not with the next turn
        found += [("session_damaged", text) for text in session.notices]
        session.notices.clear()
    try:
        return _Assembly(given, config, cwd, ledger, session, found).host()
    except BaseException:  # its lock must not outlive it
        session.close()
        if not within:
            ledger.close()
        raise


class _Assembly:
    """An agent that is being put together around a session that is open. Each step needs what those before it have made."""

    def __init__(
        self,
        given: _Given,
        config: Config,
        cwd: Path,
        ledger: Ledger,
        session: Session,
        found: Iterable[tuple[str, str]],
    ) -> None:
        self.given = given
        self.config = config
        self.cwd = cwd
        self.ledger = ledger
        self.session = session
        self.project = config.trusted_project(cwd)
        self.found = [*found, *(("project_changed", text) for text in _not_trusted(config, cwd, self.project))]
        within = given.within
        outside: Any = {"notice": given.notice, "progress": given.progress, "transport": given.transport}
        own = given.client or (within.client if within else None)
        self.client = own or make_client(config, ledger, **outside)
        self.registry = Registry()
        self.run = within.run if within else f"r{time.time_ns() // 1_000_000:x}{secrets.token_hex(2)}"
        self.books = within.account if within else session.id
        self.caps = caps_of(config, given.options.budget_usd, given.options.budget_name)
        self.account = CallContext("main", session=self.books, run=self.run, caps=self.caps)

    def host(self) -> Host:
        """All of it, in the order in which each part needs the others."""
        self._confine()
        self._make_plugins()
        self._choose_model()
        self._make_tools()
        self._make_agent()
        return self._make_host()

    def _confine(self) -> None:
        """What tools may see and do, before there are any."""
        config, cwd, paths = self.config, self.cwd, self.config.paths
        scratch = paths.state / "scratch" / self.session.id
        self.deny_paths = DenyPaths(
            config.deny_paths,
            cwd,
            file=str(paths.config_file),
            fence=Fence.of(cwd, paths, config.sandbox, scratch=scratch),
        )
        self.sandbox = Sandbox.of(config, self.deny_paths, self.session)
        self.running = leftovers.RunningCommands(paths.state)
        self.context = ToolContext(
            cwd=cwd,
            scratch=scratch,
            deny_paths=self.deny_paths,
            snapshot=partial(_keep_snapshot, paths.state / "snapshots" / self.session.id),
            running=self.running,
            sandbox=self.sandbox,
            redact=config.redact,
        )
        self.approvals = Approvals(
            self.given.options.approve,
            config.allow,
            deny_paths=self.deny_paths,
            approver=self.given.approver,
            remember=partial(add_to_list, paths.config_file, ("approve", "allow")),
            protected=(paths.config, paths.state),
            file=str(paths.config_file),
        )

    def _make_plugins(self) -> None:
        """The plugins, each with what it may use; the user's own hooks stand before them."""
        self.builtin = builtin_tools(strip_env=self.config.secret_names(), secrets=self.config.secrets())
        self.looking = ToolRunner([tool for tool in self.builtin if tool.read_only], self.context, self.approvals)
        self.plugins = [maker(self._plugin_host(name)) for name, maker in self.given.makers.items()]
        if user_hooks := _user_hooks(self.config, self.project, self.cwd):
            self.plugins.insert(0, user_hooks.turns)
            self.context.guard = user_hooks.tools
        self.approvals.alone = self.sandbox.unattended = lambda: any(
            yes for _, yes in ask_all(self.plugins, "unattended", lambda each: each.unattended())
        )
        self.sandbox.alone = lambda: self.approvals.mode == "all" and self.sandbox.unattended()
        self.tell = partial(self.given.notice, "plugin_failed")

    def _plugin_host(self, name: str) -> PluginHost:
        config, options = self.config, self.given.options
        return PluginHost(
            client=self.client,
            ledger=self.ledger,
            settings=config.plugins.get(name, {}),
            config_file=config.paths.config_file,
            main_model=options.model or config.model,
            single_model=config.single_model,
            config_dir=config.paths.config,
            state_dir=config.paths.state,
            project_dir=self.project,
            cwd=self.cwd,
            registry=self.registry,
            run_member=self._run_member,
            options=options.plugins.get(name, {}),
            session=self.session,
            account=self.account,
            run_shell=self._run_shell,
            approvals=self.approvals,
            denied=lambda path: self.deny_paths.match(path) or self.deny_paths.fence.why_private(path),
            composed=lambda: self.agent.composed,
            member_tools=self._member_tools,
            env=self.given.env,
        )

    async def _run_member(
        self,
        request: Request,
        context: CallContext,
        tools: Sequence[str],
        max_calls: int,
        on_event: Any = None,
        *,
        domains: Domains | None = None,
    ) -> Reply:
        """See `agent.plugin.MemberRunner`."""
        from agent.loop.side_loop import SideLoop

        more = [tool for offered in self.registry.member_tools for tool in offered(context, domains)]
        return await SideLoop(self.client, self.looking.with_tools(more).only(tools)).run(
            request, context, max_calls=max_calls, on_event=on_event
        )

    def _member_tools(self) -> frozenset[str]:
        more = [tool for offered in self.registry.member_tools for tool in offered(self.account, None)]
        return frozenset(tool.spec.name for tool in (*self.looking.tools.values(), *more))

    async def _run_shell(self, command: str, timeout_s: float) -> ToolResult:
        from agent.tools.shell import Shell

        shell = next(tool for tool in self.builtin if isinstance(tool, Shell))
        return await shell.run(self.context, {"command": command, "timeout_s": max(1.0, timeout_s)})

    def _choose_model(self) -> None:
        options = self.given.options
        self.main = main_model(
            self.config,
            self.client,
            self.session,
            self.plugins,
            model=options.model,
            effort=options.effort,
            models=self.registry.models,
        )
        if self.main.error is None and (text := effort_remark(self.client, self.main.model, self.main.effort)):
            self.found.append(("effort", text))

    def _make_tools(self) -> None:
        """The tools of the main model, in the order in which they are listed to it."""
        builtin = self.builtin
        if self.given.options.chat or self.main.model.endpoint != "local":  # small models do better with fewer tools
            from agent.tools.todo import Todo

            builtin = (*builtin, Todo(self.session))
        self.tools: list[Tool] = [*builtin]
        for _, offered in ask_all(self.plugins, "tools", lambda each: each.tools(), self.tell):
            self.tools += offered
        self.tools += delegates(self.config, self.main.model, builtin, lambda: self.agent, self.registry.profiles)
        self.servers = _servers(self.config, self.cwd, self.project, self.given.env, self.given.notice)
        if self.servers is not None:
            self.tools.append(self.servers.tool)

    def _make_agent(self) -> None:
        config, servers = self.config, self.servers
        opening = Opening(
            self.cwd,
            user_dir=config.paths.config,
            project_dir=self.project,
            deny=self.deny_paths,
            trusts=lambda path: bool(config.trusted) and _speaks(config, path),
            refused=lambda: refused_now(self.agent),
            late=servers.news if servers is not None else dict,
        )
        self.found += [("instructions", text) for text in opening.problems()]
        self.agent = Agent(
            client=self.client,
            ledger=self.ledger,
            session=self.session,
            model=self.main.model,
            tools=ToolRunner(self.tools, self.context, self.approvals),
            plugins=self.plugins,
            opening=opening,
            run=self.run,
            account=self.books,
            caps=self.caps,
            max_iterations=self.given.options.max_iterations,
            redaction=config.redaction(),
            crashed=partial(_crashed, config),
            max_tokens=config.max_tokens,
            compact_at=config.compact_at,
            compact_model=compact_model(config, self.client),
            effort=self.main.effort,
            composed=self.main.composed,
            models=self.registry.models,
            late_tools=servers,
        )
        self.agent.adopt_tools()
        if servers is not None:
            servers.attach(self.agent.tools)

    def _make_host(self) -> Host:
        closers: list[Callable[[], Any]] = [tool.aclose for tool in self.tools if hasattr(tool, "aclose")]
        if self.servers is not None:
            closers.append(self.servers.aclose)
        shared = self.given.within is not None
        closers += [self.running.close, *(() if shared else (self.client.aclose,)), self.session.close]
        closers += () if shared else (self.ledger.close,)
        offered = ask_all(self.plugins, "commands", lambda each: each.commands(), self.tell)
        commands = CommandTable(
            (command for _, each in offered for command in each),
            later=lambda: _more_commands(host, self.given.notice),
            redact=self.config.redact,
        )
        host = Host(self.config, self.agent, commands, self.plugins, self.main.error, closers, self.found, self.servers)
        return host


def _not_trusted(config: Config, cwd: Path, project: Path | None) -> Iterable[str]:
    """What of this project was trusted and is no longer, because it has changed."""
    if not config.trusted:
        return
    from agent.config.trust import gone_silent, why_not

    if project is None and (changed := why_not(config, cwd)):
        yield changed
    yield from gone_silent(config, cwd)


def _servers(
    config: Config, cwd: Path, project: Path | None, env: Mapping[str, str], notice: Callable[[str, str], None]
) -> Servers | None:
    """The foreign MCP servers, none of them started; None where none is configured. Raises UsageError for a wrong setting, and where
    the extra is not installed."""
    if not config.mcp and (project is None or not (project / "config.toml").is_file()):
        return None
    from agent.config.mcp import configured, require_sdk

    settings = configured(config.mcp, config.paths.config_file, project)
    if not settings.running():
        return None
    require_sdk()
    from agent.config.trust import why_changed
    from agent.mcp.servers import servers_of

    return servers_of(
        settings.running(),
        cwd=cwd,
        state=config.paths.state,
        env=env,
        start_s=settings.start_s,
        notice=notice,
        redact=config.redact,
        changed=lambda: why_changed(config, project),
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
    from agent.loop.crash import crashed

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
