"""The sandbox: when shell commands run under bubblewrap, and what is said about it.

This page decides and tells; how a command is wrapped is in `agent.sandbox.bubblewrap`, loaded with the first one. docs/sandbox.md says what
it keeps out and what it does not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, get_args

from agent.config.toml import Table

if TYPE_CHECKING:
    from pathlib import Path

    from agent.config.config import Config
    from agent.events import Emit
    from agent.files.deny_paths import DenyPaths
    from agent.sandbox.planted import Survey
    from agent.session.session import Session

Mode = Literal["auto", "on", "off"]
STATE = "sandbox"
"""The name of what a session keeps of `/sandbox`."""

MODES: Mapping[Mode, str] = {
    "auto": "Commands are confined where nobody watches: in a goal, but for those that you have allowed one by one.",
    "on": "Every command is confined; where that can't be done, none runs.",
    "off": "No command is confined.",
}

# What a command that needed more than it has says of it, in the words of the C library, Node, Rust, Go and Python.
_MISSED = (
    r"read-only file system|EROFS|network is unreachable|ENETUNREACH|name resolution|could not resolve|couldn't resolve|"
    r"name or service not known|ENOTFOUND|EAI_AGAIN|getaddrinfo|no such host|dns error|failed to lookup address"
)


class Settings(NamedTuple):
    """The `[sandbox]` section. `read` and `write` are folders that a confined command has beside the working folder."""

    mode: Mode = "auto"
    network: bool = False
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


def read_settings(section: Mapping[str, Any], file: Path) -> Settings:
    """The section, checked. Raises UsageError naming file, key and remedy."""
    if not section:
        return Settings()
    table = Table(dict(section), file, "sandbox")
    mode = table.text("mode", "auto", choices=get_args(Mode))
    settings = Settings(
        cast("Mode", mode), table.flag("network", False), _folders(table, "read"), _folders(table, "write")
    )
    table.done()
    return settings


def _folders(table: Table, key: str) -> tuple[str, ...]:
    folders = table.texts(key)
    for folder in folders:
        if not folder.startswith(("/", "~")):
            raise table.error(key, f"has {folder!r} in it", "name folders from / or ~ on")
    return folders


class Confined(NamedTuple):
    """A command as it is to be started."""

    argv: Sequence[str]
    env: Mapping[str, str]
    inside: bool
    """Whether it runs in the sandbox. Then `Sandbox.ended` is to be called as soon as nothing of it runs any more."""


class Sandbox:
    """One session's sandbox. `mode` and `network` may be changed at any time (`/sandbox`); they hold from the next command on.

    `private` are the program's own folders (settings, state), hidden from every confined command. `unattended` says whether work goes on
    that nobody watches, `alone` whether nothing of it is asked about either; the host sets them. `session` keeps what `/sandbox` changed, so that a conversation that is resumed is confined as before.
    """

    def __init__(
        self, settings: Settings, *, private: Sequence[Path], deny_paths: DenyPaths, session: Session | None = None
    ) -> None:
        self.settings = settings
        self.mode: Mode = settings.mode
        self.network = settings.network
        self.private = tuple(private)
        self.deny_paths = deny_paths
        self.alone: Callable[[], bool] = lambda: False
        self.unattended: Callable[[], bool] = lambda: False
        self.problem: str | None = None
        """Why it does not work here; None where it does, or nobody has tried yet."""
        self._tried: asyncio.Task[str | None] | None = None
        self._told = False
        self._survey: Survey | None = None
        self._running = 0
        self._session = session
        kept = (session.get_state(STATE) if session else None) or {}
        if isinstance(mode := kept.get("mode"), str) and mode in MODES:
            self.mode = cast("Mode", mode)
        if isinstance(kept.get("network"), bool):
            self.network = kept["network"]

    @classmethod
    def of(cls, config: Config, deny_paths: DenyPaths, session: Session) -> Sandbox:
        """The sandbox of a session under these settings. Raises UsageError for a wrong section."""
        settings = read_settings(config.sandbox, config.paths.config_file)
        private = (config.paths.config, config.paths.state)
        return cls(settings, private=private, deny_paths=deny_paths, session=session)

    def change(self, *, mode: Mode | None = None, network: bool | None = None) -> None:
        """What the user wants from now on, in this session."""
        self.mode = mode or self.mode
        self.network = self.network if network is None else network
        if self._session is not None:
            self._session.set_state(STATE, {"mode": self.mode, "network": self.network})

    @property
    def wanted(self) -> bool:
        """Whether the next command is to be confined, whatever the user says of it."""
        return self.mode == "on" or (self.mode == "auto" and self.alone())

    def confines(self, *, seen: bool) -> bool:
        """Whether this command is to be confined. `seen`: the user has read it and allowed it."""
        return self.wanted or (self.mode == "auto" and self.unattended() and not seen)

    def out_of_bounds(self, path: Path, cwd: Path, scratch: Path, *, writes: bool) -> str | None:
        """Why a file tool may not touch a path (absolute, links resolved) while nobody watches; None where it may.

        The bounds are those of a confined command, in every mode: approval bounds what is asked about, and nobody is there to be asked.
        """
        if not self.unattended():
            return None
        from agent.sandbox.bounds import Bounds

        bounds = Bounds(cwd, scratch, self.settings.read, self.settings.write)
        return bounds.why_not_written(path) if writes else bounds.why_not_read(path)

    def status(self) -> str | None:
        """A few words for the status line; None where commands run as ever and are meant to."""
        if not self.wanted:
            return None
        if self.problem:
            return "sandbox missing" if self.mode == "on" else "NO sandbox"
        return "sandbox, network on" if self.network else "sandbox"

    async def check(self) -> str | None:
        """Why it does not work on this machine, with what to do about it; None where it does. Tried once."""
        if self._tried is None or self._tried.cancelled():
            from agent.sandbox.bubblewrap import probe

            self._tried = asyncio.create_task(probe())
        self.problem = await asyncio.shield(self._tried)
        return self.problem

    async def confine(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        cwd: Path,
        scratch: Path,
        emit: Emit | None,
        seen: bool = False,
    ) -> Confined:
        """A command as it is to be started now. Raises Unconfined where it must not run.

        In mode `on` a command that can't be confined does not run. In mode `auto` it runs open where bubblewrap does not work, which
        is told once, where there is somebody to tell (`emit`).
        """
        from agent.sandbox import bubblewrap

        if not self.confines(seen=seen):
            return Confined(argv, env, inside=False)
        if problem := await self.check():
            if self.mode == "on":
                raise bubblewrap.Unconfined(f"the command was not run: the sandbox is on and {problem}")
            self._tell(emit, "warning", "sandbox_missing", f"commands run WITHOUT the sandbox: {problem}")
            return Confined(argv, env, inside=False)

        text = f"shell commands run in the sandbox: {self.told()}; /sandbox shows and changes it"
        self._tell(emit, "info", "sandbox", text)
        self._running += 1
        try:
            if self._running == 1 or self._survey is None:
                # While something of ours runs, what is new is its work; only when nothing does, what is there is the user's.
                self._survey = await asyncio.to_thread(bubblewrap.look, cwd, self.settings.write)
            else:
                await self.sweep(emit)  # what is read-only for this one has to be looked for where it is now
            wrapped = await asyncio.to_thread(
                bubblewrap.wrap,
                cwd=cwd,
                scratch=scratch,
                network=self.network,
                read=self.settings.read,
                write=self.settings.write,
                private=self.private,
                deny_paths=self.deny_paths,
                env=env,
                survey=self._survey,
            )
        except BaseException:
            self._running -= 1
            raise
        return Confined([*wrapped, *argv], bubblewrap.environment(env, scratch), inside=True)

    async def sweep(self, emit: Emit | None = None) -> list[str]:
        """Take away what confined commands have made that would run later, outside; returns where it is now."""
        if self._survey is None:
            return []
        taken = await asyncio.to_thread(self._survey.sweep)
        if taken and emit is not None:
            from agent.events import Notice

            emit(Notice(source=STATE, level="warning", code="sandbox_taken_away", text=told_taken(taken)))
        return taken

    async def ended(self, emit: Emit | None = None) -> list[str]:
        """Nothing of a confined command runs any more: `sweep` for the last time."""
        try:
            return await self.sweep(emit)
        finally:
            self._running -= 1

    def told(self) -> str:
        """What it comes to, in one line."""
        net = "the network is open" if self.network else "no network"
        return f"{net}, writing only in the working folder and a private /tmp, no home folder"

    def hint(self, output: str) -> str | None:
        """What the model is told where a confined command seems to have failed for want of what it is kept from."""
        if not re.search(_MISSED, output[-20_000:], re.IGNORECASE):
            return None
        return (
            f"[it ran in a sandbox: {self.told()}. Do without; if that can't be, say so: the user can open it with "
            "`/sandbox network on` or `/sandbox off`]"
        )

    def _tell(self, emit: Emit | None, level: Literal["info", "warning"], code: str, text: str) -> None:
        if self._told or emit is None:
            return
        self._told = True
        from agent.events import Notice

        emit(Notice(source=STATE, level=level, code=code, text=text))


def told_taken(taken: Sequence[str]) -> str:
    """What the model and the user are told of it."""
    more = f" and {len(taken) - 5} more" if len(taken) > 5 else ""
    return (
        f"taken away, since it would run later outside of the sandbox: {', '.join(taken[:5])}{more}. Do without; the user can rename it back, "
        "or do it with a command of their own (!COMMAND)"
    )
