"""A command line under bubblewrap (bwrap): what a confined command sees of this machine.

The whole disk read-only, less the home folders, /run and /tmp; then, deeper mounts over shallower ones: toolchains in the home folder
read-only, the working folder to write in, and hidden again whatever holds keys. New namespaces for processes, network and IPC.
"""

# os.path rather than Path to ask whether something is there: what lies in a folder that is closed to the user is not there, and no error.
# ruff: noqa: PTH110, PTH112

from __future__ import annotations

import asyncio
import glob
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from agent.files.deny_paths import DenyPaths
from agent.files.fence import HOME_PLACES, PLACES
from agent.files.own_files import read_bytes
from agent.files.run_by import TooMuch
from agent.process import children
from agent.sandbox import planted
from agent.sandbox.planted import Survey

PROGRAM = "bwrap"
PROBE_S = 10.0
MOST_LOOKED_AT = 300_000
"""Files that are looked at for `deny_paths`; in a working folder with more, nothing runs confined."""

PRIVATE = ("/home", "/root", "/run", "/var/tmp")
"""Replaced by empty folders. In /run are sockets (Docker, D-Bus, the SSH agent): each would be a way out."""
KEPT_IN_RUN = ("/run/current-system", "/run/wrappers", "/run/systemd/resolve", "/run/NetworkManager/resolv.conf")

# Where programs that people install for themselves live; nothing that they are kept for writing in.
TOOLCHAINS = (
    *(
        ".cargo",
        ".rustup",
        ".nvm",
        ".pyenv",
        ".rbenv",
        ".asdf",
        ".sdkman",
        ".volta",
        ".bun",
        ".deno",
        ".ghcup",
        ".opam",
    ),
    *(".nix-profile", ".m2/repository", ".gradle", "go", "miniconda3", "miniforge3", "anaconda3"),
    *(".local/bin", ".local/lib", ".local/share/uv", ".local/share/pipx", ".local/share/mise", ".local/share/pnpm"),
    *(".gitconfig", ".config/git/config", ".config/git/ignore"),
)
# Hidden wherever they come into view again: a working folder that is the home folder, a toolchain with a token in it. What file tools
# never read, and whole folders around it.
KEYS = (*HOME_PLACES, ".docker", ".local/share/kwalletd")
SYSTEM_KEYS = (*PLACES, "/etc/ssh/ssh_host_*_key")
# Doors to processes outside.
DOORS = ("SSH_AUTH_SOCK", "SSH_AGENT_PID", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY")

KERNEL = ("sys", "sysrq-trigger", "irq", "bus", "acpi", "scsi", "fs", "driver", "tty", "mtrr")

_REMEDY = "install bubblewrap (apt install bubblewrap, dnf install bubblewrap), or turn it off: /sandbox off"
_USERNS = (
    "this kernel or container allows no user namespaces: allow them (sysctl kernel.unprivileged_userns_clone=1, an AppArmor profile for "
    "bwrap, docker run --security-opt seccomp=unconfined), or turn the sandbox off: /sandbox off"
)


async def probe() -> str | None:
    """Why bubblewrap does not work here, with a remedy; None where it does. Runs it once."""
    program = await asyncio.to_thread(children.program, PROGRAM)
    if program is None:
        where = "" if sys.platform == "linux" else f" (it is for Linux; this is {sys.platform})"
        return f"bubblewrap is not installed{where}; {_REMEDY}"
    arguments = ("--ro-bind", "/", "/", *_namespaces(network=False), "--", "true")
    try:
        process = await children.start(
            (program, *arguments), env=children.environment(), stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        return f"bubblewrap can't be started ({error.strerror or error}); {_REMEDY}"
    try:
        _, said = await asyncio.wait_for(process.communicate(), PROBE_S)
    except TimeoutError:
        return f"bubblewrap gave no answer within {PROBE_S:g} s; {_REMEDY}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return None
    words = " ".join(said.decode("utf-8", "replace").split())[:200] or f"exit code {process.returncode}"
    return f"bubblewrap is refused here ({words}); {_USERNS}"


class Unconfined(Exception):
    """The command can't be confined and must not run without; the message says why and what to do."""


def wrap(
    *,
    cwd: Path,
    scratch: Path,
    network: bool,
    read: Sequence[str],
    write: Sequence[str],
    private: Sequence[Path],
    deny_paths: DenyPaths,
    env: Mapping[str, str],
    survey: Survey | None = None,
) -> list[str]:
    """What stands before a command's own words. Looks at the disk: call it in a thread. Raises Unconfined.

    `private` are hidden whole; `read` and `write` are shown, as far as they are there. `scratch` holds the /tmp of the session's
    commands, so that one finds what another left. `survey` is what `look` found there.
    """
    cwd, home = cwd.resolve(), Path.home().resolve()
    if cwd == Path("/"):
        raise Unconfined(
            "the command was not run: the working folder is the whole disk; start in a project, or /sandbox off"
        )
    temporary = scratch.resolve() / "tmp"
    temporary.mkdir(parents=True, exist_ok=True, mode=0o700)
    shown = [cwd, *_existing(read), *_existing(write)]
    mounts: list[tuple[Path, int, tuple[str, ...]]] = []

    def put(order: int, kind: str, paths: Iterable[Path], source: Path | None = None) -> None:
        for path in paths:
            where = (kind, str(path)) if kind == "--tmpfs" else (kind, str(source or path), str(path))
            mounts.append((path, order, where))

    put(0, "--tmpfs", {path for path in (*map(Path, PRIVATE), home) if os.path.isdir(path) and path != Path("/")})
    put(1, "--ro-bind", {*_existing(KEPT_IN_RUN), *_toolchains(home, env), *_around(cwd), *_existing(read)})
    put(1, "--ro-bind", [scratch.resolve()])
    put(2, "--bind", {cwd, temporary, *_existing(write)})
    put(2, "--bind", [Path("/tmp")], temporary)
    survey = survey or look(cwd, write)
    # A mount can't be renamed: else another .git, with hooks of its own, could be put in its place.
    put(2, "--bind-try", survey.pinned)
    put(3, "--ro-bind-try", survey.frozen)
    keys = [*(home / name for name in KEYS), *(Path(found) for each in SYSTEM_KEYS for found in glob.glob(each))]  # noqa: PTH207 - absolute
    for path in {*keys, *(folder.resolve() for folder in private), *_denied(deny_paths, shown)}:
        found = Path(os.path.realpath(path))  # a mount goes over what a link leads to, if it leads somewhere
        if os.path.isdir(found):
            put(4, "--tmpfs", [found])
        elif os.path.exists(found):
            put(4, "--ro-bind", [found], Path(os.devnull))
    # Deeper over shallower, so that what is hidden in something shown is hidden, and what is shown in something hidden is shown.
    mounts.sort(key=lambda mount: (len(mount[0].parts), mount[1], mount[0]))
    places = [word for _path, _order, words in mounts for word in words]
    program = children.program(PROGRAM, project=cwd)
    if program is None:
        raise Unconfined(f"the command was not run: bubblewrap is not there any more; {_REMEDY}")
    base = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", *_kernel())
    return [program, *_namespaces(network=network), *base, *places, "--chdir", str(cwd), "--"]


def look(cwd: Path, write: Sequence[str]) -> Survey:
    """What runs later of what lies where a confined command may write. Looks at the disk: call it in a thread. Raises Unconfined."""
    try:
        return planted.survey([cwd.resolve(), *_existing(write)])
    except TooMuch:
        raise Unconfined(
            f"the command was not run: the sandbox would have to look at more than {planted.MOST_LOOKED_AT:,} files in the working folder "
            f"for what runs later, to keep more than {planted.MOST_FROZEN:,} of them, or to read settings of git or moa that are longer than anybody's; "
            "start in a smaller folder, or /sandbox off"
        ) from None


def environment(env: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """The environment of a confined command: without the doors to processes outside, and without what is a secret by its name."""
    kept = {name: value for name, value in env.items() if name not in DOORS and not children.is_secret(name)}
    return kept | {"TMPDIR": str(scratch.resolve() / "tmp"), "MOA_SANDBOX": "1"}


def _namespaces(*, network: bool) -> tuple[str, ...]:
    # Not --new-session and not --die-with-parent: the command stays in the process group that `agent.process.process` ends, and what it
    # leaves running is a background job as ever. Capabilities go, since with them root could take the mounts away again.
    return ("--unshare-all", *(("--share-net",) if network else ()), "--cap-drop", "ALL")


def _kernel() -> Iterator[str]:
    """The kernel's own settings, read-only: they are files of root's, and where root runs the program a new /proc lets it write them."""
    for name in KERNEL:
        if os.path.exists(path := f"/proc/{name}"):
            yield from ("--ro-bind", path, path)


def _existing(names: Iterable[str]) -> set[Path]:
    paths = (Path(name).expanduser() for name in names)
    return {path.resolve() for path in paths if os.path.exists(path)}


def _toolchains(home: Path, env: Mapping[str, str]) -> Iterator[Path]:
    """What of the home folder is needed to run programs at all."""
    named = [folder for folder in env.get("PATH", "").split(os.pathsep) if folder]
    named += [value for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if (value := env.get(name))]
    for path in (*(home / name for name in TOOLCHAINS), *map(Path, named)):
        if not path.is_absolute() or not os.path.exists(path):
            continue
        found = path.resolve()
        if not _hides(found) or home.is_relative_to(found):
            continue
        # By its own name, too: what a link in the home folder leads to is asked for under the link's name.
        yield found
        if found != path and path.is_relative_to(home) and not path.is_symlink():
            yield path


def _hides(path: Path) -> bool:
    """Whether a path lies in what is replaced by an empty folder."""
    return any(path.is_relative_to(hidden) for hidden in (*PRIVATE, "/tmp", Path.home().resolve()))


def _around(cwd: Path) -> Iterator[Path]:
    """The repository that the working folder is a part of, to look at."""
    root = next((folder for folder in (cwd, *cwd.parents) if os.path.exists(folder / ".git")), None)
    if root is None or root == Path.home().resolve():
        return
    if root != cwd:
        yield root
    if (root / ".git").is_file():  # a work tree of a repository that is elsewhere: PLACE/.git/worktrees/NAME
        try:
            pointer = (root / ".git").read_text("utf-8").removeprefix("gitdir:").strip()
        except (OSError, UnicodeDecodeError):
            return
        folder = (root / pointer).resolve()
        # It must name this work tree in its turn: else any folder could be shown by a pointer that somebody made.
        if folder.parent.name == "worktrees" and _named_by(folder) == (root / ".git").resolve():
            yield folder.parent.parent


def _named_by(folder: Path) -> Path | None:
    """The `.git` file of the work tree that a repository keeps this folder for."""
    try:
        said = read_bytes(folder / "gitdir", 4_096).decode("utf-8").strip()
        return (folder / said).resolve() if said else None
    except (OSError, ValueError, RuntimeError):
        return None


def _denied(deny_paths: DenyPaths, shown: Sequence[Path]) -> Iterator[Path]:
    """What `deny_paths` means, as far as a confined command could see it: files and folders, each as high up as it matches."""
    if not deny_paths.patterns:
        return
    for pattern in deny_paths.patterns:
        if pattern.startswith(("/", "~")) and "**/" not in pattern:
            whole = os.path.expanduser(pattern.rstrip("/")).removesuffix("/**")  # noqa: PTH111 - a pattern
            yield from map(Path, glob.glob(whole, include_hidden=True))  # noqa: PTH207 - absolute
    left = MOST_LOOKED_AT
    for top in shown:
        waiting = [top]
        while waiting:
            try:
                entries = list(os.scandir(waiting.pop()))
            except OSError:
                continue
            left -= len(entries)
            if left < 0:
                raise Unconfined(
                    f"the command was not run: the sandbox would have to look at more than {MOST_LOOKED_AT:,} files in the working folder "
                    "for deny_paths; start in a smaller folder, or /sandbox off"
                )
            for entry in entries:
                path = Path(entry.path)
                if deny_paths.match_name(path):
                    yield path
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
