"""How a child of ours starts: git, ripgrep, an editor, the clipboard's tool, the browser, pip, the local server, a tab's chat, bubblewrap,
command-line agents on the panel.

One place, so that three things hold for each of them. The environment is an allow-list with no key in it. The program is the one that the
user installed, never one that lies in the project: a folder that somebody else filled may be on PATH (`.`, `node_modules/.bin`, the `bin` of
an environment). And what a child needs more (`Needs`) is written down here, where it can be read. Commands of the model and of the user
are no children of ours: `agent.tools.shell` says what those get.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from agent.files.project import roots_around
from agent.process.depth import VARIABLE as DEPTH

Stream = IO[bytes] | int | None

# What every child gets. A name that ends with * stands for all that begin so.
BASE = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "TERMINFO", "TERMINFO_DIRS", "COLORTERM"),
    *("TMPDIR", "TMP", "TEMP", "SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "APPDATA", "LOCALAPPDATA", "USERPROFILE"),
    *(DEPTH, "MOA_CHILD"),
)  # fmt: skip
Needs = Literal["agent", "desktop", "editor", "fetch", "model", "python", "own"]
MORE: Mapping[Needs, Sequence[str]] = {
    # Command-line agents as members: where their own login and settings are.
    "agent": ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "GEMINI_CLI_HOME", "XDG_*", "DBUS_SESSION_BUS_ADDRESS", "NODE_EXTRA_CA_CERTS"),
    "desktop": (
        *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_*", "DBUS_SESSION_BUS_ADDRESS", "DESKTOP_SESSION", "KDE_*", "GNOME_*"),
        *("TMUX", "TMUX_PANE", "TMUX_TMPDIR", "STY", "WSL_*", "WSLENV", "BROWSER"),
    ),
    "editor": ("EDITOR", "VISUAL", "VIM", "VIMINIT", "VIMRUNTIME", "MYVIMRC", "NVIM_*", "EMACS*", "ALTERNATE_EDITOR", "COLORFGBG", "TERM_PROGRAM*"),
    "fetch": (
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("PIP_*", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"),
    ),
    "model": ("LD_LIBRARY_PATH", "DYLD_*", "CUDA_*", "NVIDIA_*", "HIP_*", "ROCR_*", "HSA_*", "GGML_*", "LLAMA_*", "OMP_*", "MKL_*", "VK_*"),
    "python": ("PYTHON*",),
    "own": ("MOA_*",),
}  # fmt: skip
SECRET = ("KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL")
"""A variable with one of these in its name holds no setting that a child of ours needs, whatever list it is on."""


def environment(*needs: Needs, project: Path | None = None, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a child of ours: what is on the list, without what is a secret by its name or has the value of one.

    PATH is without what lies in the project (default: around the current folder): a child may be a script that looks for others.
    """
    wanted = (*BASE, *(name for need in needs for name in MORE[need]))
    exact = {name for name in wanted if not name.endswith("*")}
    starts = tuple(name[:-1] for name in wanted if name.endswith("*"))
    secrets = {value for name, value in env.items() if is_secret(name) and len(value) >= 8}
    kept = {
        name: value
        for name, value in env.items()
        if (name in exact or name.startswith(starts)) and not is_secret(name) and value not in secrets
    }
    return kept | {"PATH": os.pathsep.join(program_path(project, env))}


def is_secret(name: str) -> bool:
    """Whether a variable holds a key, by its name."""
    return any(word in name.upper() for word in SECRET)


def program(name: str, *, project: Path | None = None, env: Mapping[str, str] = os.environ) -> str | None:
    """The path of an installed program; None where there is none. What lies in the project (default: around the current folder) is none."""
    if os.sep in name:
        return name if os.path.isabs(name) and os.access(name, os.X_OK) else None  # noqa: PTH117
    return shutil.which(name, path=os.pathsep.join(program_path(project, env))) or None


def program_path(project: Path | None = None, env: Mapping[str, str] = os.environ) -> list[str]:
    """The folders of PATH that have a place of their own, outside of the project."""
    roots = {root for start in (project, None) for root in roots_around(start)}
    folders = (folder for folder in env.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(folder))  # noqa: PTH117
    return [folder for folder in folders if roots.isdisjoint((real := Path(os.path.realpath(folder)), *real.parents))]


async def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    project: Path | None = None,
    stdin: Stream = asyncio.subprocess.DEVNULL,
    stdout: Stream = asyncio.subprocess.DEVNULL,
    stderr: Stream = asyncio.subprocess.DEVNULL,
    new_session: bool = True,
    pass_fds: Collection[int] = (),
) -> asyncio.subprocess.Process:
    """Start a program, looked up by `program`. `env` is `environment(…)`, or what a command of the model or the user gets.

    Cancelled while it begins, it is killed with all that it has started. Raises FileNotFoundError where there is no such program, OSError
    where it can't be started.
    """
    found = await asyncio.to_thread(program, argv[0], project=project or cwd, env=env)
    if found is None:
        raise FileNotFoundError(2, "no such program", argv[0])
    beginning = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            found,
            *argv[1:],
            env=dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=new_session,
            pass_fds=tuple(pass_fds),
        )
    )
    try:
        return await asyncio.shield(beginning)
    except asyncio.CancelledError:
        # The program may run already, and have started others; asyncio itself would kill the first process alone.
        while not beginning.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({beginning})
        if beginning.exception() is None:
            _kill(beginning.result(), group=new_session)
        raise


def _kill(process: asyncio.subprocess.Process, *, group: bool) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def run(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None, timeout_s: float, **more: Any
) -> subprocess.CompletedProcess[bytes] | None:
    """Run a program to its end, without input, and return it with its output; None where it can't be run or takes too long. Blocking."""
    found = program(argv[0], project=cwd, env=env)
    if found is None:
        return None
    try:
        return subprocess.run(
            [found, *argv[1:]],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            start_new_session=True,
            **more,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
