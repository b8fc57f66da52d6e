"""The sandbox: when shell commands run under bubblewrap, and what is said about it.

This page decides and tells; how a command is wrapped is in `agent.bubblewrap`, loaded with the first one. docs/sandbox.md says what
it keeps out and what it does not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, get_args

from agent.toml import Table

if TYPE_CHECKING:
    from pathlib import Path

    from agent.config import Config
    from agent.denied import DenyPaths
    from agent.plugin import Emit
    from agent.session import Session

Mode = Literal["auto", "on", "off"]
STATE = "sandbox"
"""The name of what a session keeps of `/sandbox`."""

MODES: Mapping[Mode, str] = {
    "auto": "Commands are confined where nobody watches: in a goal that runs with `--approve all`.",
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


class Unconfined(Exception):
    """The command can't be confined and must not run without; the message says why and what to do."""


class Confined(NamedTuple):
    """A command as it is to be started."""

    argv: Sequence[str]
    env: Mapping[str, str]
    inside: bool
    """Whether it runs in the sandbox."""


class Sandbox:
    """One session's sandbox. `mode` and `network` may be changed at any time (`/sandbox`); they hold from the next command on.

    `private` are the program's own folders (settings, state), hidden from every confined command. `alone` says whether nobody watches
    what is run; the host sets it. `session` keeps what `/sandbox` changed, so that a conversation that is resumed is confined as before.
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
        self.problem: str | None = None
        """Why it does not work here; None where it does, or nobody has tried yet."""
        self._tried: asyncio.Task[str | None] | None = None
        self._told = False
        self._session = session
        kept = (session.get_state(STATE) if session else None) or {}
        if kept.get("mode") in MODES:
            self.mode = kept["mode"]
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
        """Whether the next command is to be confined."""
        return self.mode == "on" or (self.mode == "auto" and self.alone())

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
            from agent.bubblewrap import probe

            self._tried = asyncio.create_task(probe())
        self.problem = await asyncio.shield(self._tried)
        return self.problem

    async def confine(
        self, argv: Sequence[str], env: Mapping[str, str], *, cwd: Path, scratch: Path, emit: Emit | None
    ) -> Confined:
        """A command as it is to be started now. Raises Unconfined where it must not run.

        In mode `on` a command that can't be confined does not run. In mode `auto` it runs open where bubblewrap does not work, which
        is told once, where there is somebody to tell (`emit`).
        """
        if not self.wanted:
            return Confined(argv, env, inside=False)
        if problem := await self.check():
            if self.mode == "on":
                raise Unconfined(f"the command was not run: the sandbox is on and {problem}")
            self._tell(emit, "warning", "sandbox_missing", f"commands run WITHOUT the sandbox: {problem}")
            return Confined(argv, env, inside=False)
        from agent import bubblewrap

        text = f"shell commands run in the sandbox: {self.told()}; /sandbox shows and changes it"
        self._tell(emit, "info", "sandbox", text)
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
        )
        return Confined([*wrapped, *argv], bubblewrap.environment(env, scratch), inside=True)

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
