"""The installed `moa`, started from a process that has its modules loaded already: a fork in place of an interpreter that imports them anew.

Half of what a start costs is its imports, and the suite starts the command several hundred times. A child is a process like any other, with
its own session, folder, environment, umask and standard streams, and runs the `main` of the console script. What a fork can't give is started for real: another executable, an interpreter that is told otherwise (PYTHON…, another
locale), systems other than Linux, and everything with `MOA_TEST_COLD=1` in the environment (the benches).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import pkgutil
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

from tests.support.at_a_prompt import begin_as_at_a_prompt, signals_are_ignored, take_terminal

MOA = Path(sys.prefix) / "bin" / "moa"
ROOT = Path(__file__).parents[2]
LANG = "C.UTF-8"
INTERPRETERS_OWN = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
NOT_LOADED = re.compile(
    r"(agent\.(local\.child|mcp|ui\.(line|tui|web)|web\.extract.*)|moa\.(acp|bench|demo|mcp|replay|review|serve|__main__)|agent\.__main__)(\.|$)"
)
"""What few starts need, and what runs when it is imported. The others are there at once, as an import finds them."""


def can_fork(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a command is the installed `moa`, and a fork of one that is loaded would run as it does."""
    if sys.platform != "linux" or os.environ.get("MOA_TEST_COLD") or command[0] != str(MOA):
        return False
    return {name: value for name, value in environment.items() if name.startswith(INTERPRETERS_OWN)} == {"LANG": LANG}


def popen(
    command: Sequence[str], *, env: Mapping[str, str], terminal: bool = False, **settings: Any
) -> subprocess.Popen[Any]:
    """`subprocess.Popen` with a session of its own (`terminal`: whose terminal is standard input), by a fork where that can be."""
    if can_fork(command, env):
        return Forked(list(command), env=dict(env), terminal=terminal, **settings)
    if terminal or signals_are_ignored():
        settings["preexec_fn"] = partial(begin_as_at_a_prompt, terminal=terminal)
    return subprocess.Popen(list(command), env=dict(env), start_new_session=True, **settings)


# In the test's process


class Forked(subprocess.Popen[Any]):
    """A `Popen` whose process is a fork of the loaded one, which says how it ended."""

    def __init__(self, command: Sequence[str], *, terminal: bool, **settings: Any) -> None:
        self._terminal = terminal
        super().__init__(command, **settings)

    def _execute_child(self, *given: Any) -> None:
        command, cwd, environment, handles = given[0], given[5], given[6], given[10:16]
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        streams = [own if handle == -1 else handle for own, handle in enumerate(handles[i] for i in (0, 3, 5))]
        order = {
            "words": list(command),
            "folder": os.fspath(cwd or os.getcwd()),  # noqa: PTH109 - as Popen has it
            "environment": environment,
            "umask": _umask(),
            "terminal": self._terminal,
        }
        with theirs:
            _loaded().send(order, [theirs.fileno(), *streams])
        self._close_pipe_fds(*handles)  # type: ignore[attr-defined]
        self._child_created = True
        self.pid = _said(self._line, b"P")

    def _internal_poll(self, *_given: Any, **_named: Any) -> int | None:
        return self._ended(0)

    def _wait(self, timeout: float | None) -> int:
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._line], [], [], timeout)[0]:
            with self._waitpid_lock:  # type: ignore[attr-defined]
                if self.returncode is None:
                    self.returncode = _said(self._line, b"E")
                    self._line.close()
        return self.returncode


def _umask() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Umask:"))
    return int(line.split()[1], 8)


def _said(line: socket.socket, what: bytes) -> int:
    """The next number, which is to be the process (P) or how it ended (E)."""
    data = line.recv(5)
    if data[:1] != what or len(data) != 5:
        raise OSError(f"the loaded process could not start it: {data!r}")
    return int.from_bytes(data[1:], signed=True)


def _say(line: socket.socket, what: bytes, number: int) -> None:
    line.sendall(what + number.to_bytes(4, signed=True))


class _Loaded:
    """The process that has the modules, for as long as the test's process is there."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", str(theirs.fileno())],
                cwd=ROOT,
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": LANG},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                preexec_fn=begin_as_at_a_prompt,
            )
        atexit.register(self._end)

    def send(self, order: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        with self._lock:
            socket.send_fds(self._line, [json.dumps(order).encode()], list(descriptors))

    def _end(self) -> None:
        self._line.close()
        self._process.wait(10)


@cache
def _loaded() -> _Loaded:
    return _Loaded()


# In the loaded process


def serve(line: socket.socket) -> Callable[[], int]:
    """Fork a child for each order until the other end is closed. Returns in the children only: what they are to run."""
    waiting: dict[int, tuple[int, socket.socket]] = {}
    ended: dict[int, tuple[int, socket.socket]] = {}
    poll = select.poll()
    poll.register(line, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in ended:
                pid, answer = ended.pop(descriptor)
                poll.unregister(descriptor)
                answer.close()
                os.waitpid(pid, 0)
                continue
            if descriptor in waiting:
                pid, answer = waiting.pop(descriptor)
                poll.unregister(descriptor)
                how = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOWAIT)
                os.close(descriptor)
                with suppress(OSError):
                    _say(answer, b"E", how.si_status if how.si_code == os.CLD_EXITED else -how.si_status)
                # It is there, as what has ended, until the one who started it has asked: then its number is free again.
                ended[answer.fileno()] = pid, answer
                poll.register(answer, select.POLLHUP)
                continue
            data, descriptors, _, _ = socket.recv_fds(line, 1 << 20, 4)
            if not data:
                os._exit(0)
            pid = os.fork()
            if not pid:
                line.close()
                for descriptor in waiting:
                    os.close(descriptor)
                for _, answer in (*waiting.values(), *ended.values()):
                    answer.close()
                return _begin(json.loads(data), descriptors)
            answer = socket.socket(fileno=descriptors[0])
            for descriptor in descriptors[1:]:
                os.close(descriptor)
            pidfd = os.pidfd_open(pid)
            waiting[pidfd] = pid, answer
            poll.register(pidfd, select.POLLIN)


def _begin(order: Mapping[str, Any], descriptors: Sequence[int]) -> Callable[[], int]:
    """Become what Popen and the interpreter would have made."""
    os.setsid()
    for number, descriptor in enumerate(descriptors[1:]):
        os.dup2(descriptor, number)
    for descriptor in set(descriptors[1:]):
        os.close(descriptor)
    if order["terminal"]:
        take_terminal()
    os.umask(order["umask"])
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    Path("/proc/self/comm").write_text(MOA.name)
    sys.argv[:] = order["words"]
    sys.path[0] = str(MOA.parent)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        raw = io.FileIO(number, mode, closefd=False)
        buffered = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
        line_wise = number == 2 or raw.isatty()
        stream = io.TextIOWrapper(
            buffered,
            "utf-8",
            ("surrogateescape", "surrogateescape", "backslashreplace")[number],
            line_buffering=line_wise,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    with socket.socket(fileno=descriptors[0]) as answer:
        _say(answer, b"P", os.getpid())
    from moa.cli.main import main

    return main


def load(package: str) -> None:
    """Import a package with all that is in it."""
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        if NOT_LOADED.match(found.name) is None:
            load(found.name) if found.ispkg else importlib.import_module(found.name)


def _run() -> NoReturn:
    load("agent")
    load("moa")
    for name in (
        "httpx",
        "queue",
        "concurrent.futures.thread",
        "csv",
        "difflib",
        "importlib.metadata",
        "importlib.resources",
        "tomllib",
    ):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    main = serve(socket.socket(fileno=int(sys.argv[1])))
    code = main()
    # As the interpreter ends, but for taking every module apart, which costs a fork more than all the rest.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _run()
