"""Run a command that judges: what a model wrote is run with it, so it is confined, and bounded in time, memory and files."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.files.deny_paths import DenyPaths
from agent.process import children
from agent.process.process import Child
from agent.sandbox.sandbox import Sandbox, read_settings

if TYPE_CHECKING:
    from agent.config.config import Config

TIMEOUT_S = 60.0
CPU_S, MEMORY_KB, FILE_KB = 60, 4_000_000, 100_000
MOST_OUTPUT = 20_000
"""Bytes of the output that are kept, from the end."""
NO_SANDBOX = 'install bubblewrap, or run what models write unconfined: [sandbox] mode = "off" in config.toml'


@dataclass(frozen=True, slots=True)
class Checked:
    """How a command ended. `code` None: it was ended after its time. `output` is the end of what it wrote."""

    code: int | None
    output: str

    @property
    def passed(self) -> bool:
        """Whether it ended with 0."""
        return self.code == 0

    @property
    def started(self) -> bool:
        """Whether there was such a command: 126 and 127 are the shell's own words for none."""
        return self.code not in (126, 127)


def settings_of(config: Config) -> Config:
    """The user's settings with the sandbox on, where they have not turned it off: nobody watches what is run."""
    mode = "off" if config.sandbox.get("mode") == "off" else "on"
    return replace(config, sandbox={**config.sandbox, "mode": mode})


class Checker:
    """Runs checks under a configuration's sandbox."""

    def __init__(self, config: Config) -> None:
        self._config = settings_of(config)

    async def ready(self) -> None:
        """Raises UsageError where commands can't be confined, and the user has not said that they may run all the same."""
        sandbox = self._sandbox(Path(tempfile.gettempdir()))
        if sandbox.mode == "on" and (problem := await sandbox.check()):
            raise UsageError(f"what models write can't be run confined here: {problem}", remedy=NO_SANDBOX)

    async def run(
        self,
        command: str,
        files: Mapping[str, str],
        *,
        folder: Path | None = None,
        said: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> Checked:
        """Put `files` into `folder` (None: an empty one of its own) and run a shell command there, with `said` on its standard input.

        Raises UsageError where it can't be confined, OSError where it can't be started.
        """
        if folder is None:
            with tempfile.TemporaryDirectory(prefix="moa-check-", ignore_cleanup_errors=True) as own:
                return await self.run(command, files, folder=Path(own), said=said, timeout_s=timeout_s)
        put(folder, files)
        with (
            tempfile.TemporaryDirectory(prefix="moa-check-", ignore_cleanup_errors=True) as scratch,
            tempfile.TemporaryFile() as stdin,
        ):
            stdin.write(said.encode())
            stdin.seek(0)
            return await self._run(command, folder, Path(scratch), stdin.fileno(), timeout_s)

    async def _run(self, command: str, folder: Path, scratch: Path, stdin: int, timeout_s: float) -> Checked:
        from agent.sandbox.bubblewrap import Unconfined

        limits = f"ulimit -t {CPU_S}; ulimit -f {FILE_KB * 2}; ulimit -v {MEMORY_KB} 2>/dev/null; ulimit -c 0"
        argv = ["/bin/sh", "-c", f"{limits}; exec /bin/sh -c {shlex.quote(command)}"]
        env = children.environment(project=folder)
        # `python3` is the one that runs this program: what else goes by that name may not start in the sandbox.
        env |= {"PATH": os.pathsep.join((str(_python().parent), env["PATH"])), "PYTHONDONTWRITEBYTECODE": "1"}
        sandbox = self._sandbox(folder)
        try:
            confined = await sandbox.confine(argv, env, cwd=folder, scratch=scratch, emit=None)
        except Unconfined as error:
            raise UsageError(str(error), remedy=NO_SANDBOX) from error
        said = bytearray()

        def feed(data: bytes) -> None:
            said.extend(data)
            del said[:-MOST_OUTPUT]

        child = None
        try:
            child = await Child.start(confined.argv, cwd=folder, env=confined.env, feed=feed, stdin=stdin)
            code = await child.wait(timeout_s)
        finally:
            if child is not None:
                await child.end()
            if confined.inside:
                await asyncio.shield(sandbox.ended())
        return Checked(code, said.decode("utf-8", "replace"))

    def _sandbox(self, folder: Path) -> Sandbox:
        config = self._config
        settings = read_settings(config.sandbox, config.paths.config_file)
        settings = settings._replace(read=(*settings.read, sys.base_prefix))
        return Sandbox(
            settings, private=(config.paths.config, config.paths.state), deny_paths=DenyPaths((), folder, file="")
        )


def _python() -> Path:
    """The interpreter that runs this program, outside of any virtual environment."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def put(folder: Path, files: Mapping[str, str]) -> None:
    """Write files below a folder. A path that leads out of it, or a link in its way, is a ValueError."""
    root = folder.resolve()
    for path, text in files.items():
        target = root / path
        if not target.parent.resolve().is_relative_to(root):
            raise ValueError(f"{path} leads out of the folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink():  # what a model made must not have us write elsewhere
            target.unlink()
        target.write_text(text, "utf-8")
