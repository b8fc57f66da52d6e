"""Signals at any moment of a run, a goal and a chat, and what has to hold afterwards: used by a test and by a bench.

Afterwards: a run has written exactly one JSON object (but after SIGKILL), no command of an ended program is left, and the terminal is
as it was found (but after SIGKILL, after which nobody can).
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.at_a_prompt import begin_as_at_a_prompt
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program
from tests.support.script import Behaviour, Say, Script

FACES = ("run", "goal", "chat", "plain")
ENDING = ("TERM", "INT", "HUP", "QUIT")
HOWS = (*ENDING, "KILL", "CONT", "STOP+CONT", "TSTP+CONT", "CLOSE", "STUCK")
"""Signals; `CLOSE` closes the terminal, `STUCK` reads nothing from it any more. After those that do not end it `TERM` does, twice."""
MOMENTS = ("start", "answer", "command")
"""As the program starts; in the middle of an answer; in the middle of a command."""
END_S = 12.0
LEFT = f"97.{os.getpid():08d}"
"""The seconds of `sleep` in the command that the script runs: what is looked for afterwards. Each process of tests has its own."""


@dataclass(slots=True)
class Round:
    """One program, one signal. `problems` are empty where everything held."""

    face: str
    how: str
    moment: str
    seconds: float = 0.0
    """From the signal to the end."""
    closed_s: float = 0.0
    """From the signal until the last socket was closed that an answer was to come by."""
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.how} in {self.face} ({self.moment}): {'; '.join(self.problems) or 'held'}"


def script() -> Script:
    """A command that takes longer than anybody waits, or (model `talker`) an answer that does."""
    command = (Say(text="A command.", tools=(("shell", {"command": f"sleep {LEFT}; true"}),)), Say(text="end"))
    return Script(
        models={
            "worker": Behaviour(steps=command),
            "talker": Behaviour(steps=(Say(text="word " * 400, spread_s=60.0),)),
            "judge": Behaviour(steps=(Say(text="no"),)),
        }
    )


class Subject:
    """A running program in a terminal of its own; `run` and `goal` have a pipe as standard output. A context manager."""

    def __init__(self, program: Program, words: list[str], *, piped: bool) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.before = self._modes()
        self.out, self.drawn = b"", b""
        read = write = self._slave
        if piped:
            read, write = os.pipe()
        self.process = subprocess.Popen(
            [str(program.executable), *words],
            stdin=self._slave,
            stdout=write,
            stderr=self._slave,
            cwd=program.work_dir,
            env={**program.environment, "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=partial(begin_as_at_a_prompt, terminal=True),
        )
        self._pipe = read if piped else None
        if piped:
            os.close(write)
        self._closed = threading.Event()
        self.stuck = False
        """While it is true, nothing is read from the terminal."""
        self.readers = [threading.Thread(target=self._read_terminal, daemon=True)]
        if piped:
            self.readers.append(threading.Thread(target=self._read_pipe, daemon=True))
        for reader in self.readers:
            reader.start()

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._closed.set()
        for reader in self.readers:
            reader.join(5)
        with suppress(OSError):
            os.close(self._slave)
        self.close_terminal()

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def close_terminal(self) -> None:
        """As a closed window or a dropped connection does."""
        self._closed.set()
        self.readers[0].join(5)
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def state(self) -> str:
        """The letter that the kernel has for it: T while it is stopped."""
        with suppress(OSError):
            return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return "X"

    def objects(self) -> list[Any]:
        """What is on standard output, as JSON values; a line that is none comes as it is."""
        found: list[Any] = []
        for line in self.out.decode("utf-8", "replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append(line)
        return found

    def terminal_problems(self, *, took_all: bool) -> list[str]:
        """What is not as it was found; nothing where the terminal is gone. Of one that took nothing more only its modes count."""
        if self._master < 0:
            return []
        self._closed.set()
        self.readers[0].join(5)
        wrong = []
        if self._modes() != self.before:
            wrong.append("the terminal's modes are others than before")
        if not took_all:
            return wrong
        for mode, on, off in (
            ("the other screen", b"\x1b[?1049h", b"\x1b[?1049l"),
            ("mouse reports", b"\x1b[?1003h", b"\x1b[?1003l"),
            ("marked pastes", b"\x1b[?2004h", b"\x1b[?2004l"),
            ("a hidden cursor", b"\x1b[?25l", b"\x1b[?25h"),
        ):
            if self.drawn.rfind(on) > self.drawn.rfind(off):
                wrong.append(f"the terminal is left with {mode}")
        return wrong

    def _modes(self) -> list[Any]:
        return termios.tcgetattr(self._slave)

    def _read_terminal(self) -> None:
        while True:
            ready, _, _ = select.select((self._master,), (), (), 0.05)
            if self.stuck:
                time.sleep(0.02)
            elif not ready and self._closed.is_set():
                return
            if self.stuck or not ready:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            self.drawn += data
            if b"\x1b[6n" in data:  # where is the cursor? prompt_toolkit asks
                os.write(self._master, b"\x1b[1;1R")

    def _read_pipe(self) -> None:
        assert self._pipe is not None
        while data := os.read(self._pipe, 65536):
            self.out += data
        os.close(self._pipe)


def one_round(
    program: Program, endpoint: ScriptedEndpoint, face: str, how: str, moment: str, *, delay_s: float = 0.0
) -> Round:
    """Start it, wait for the moment and `delay_s` more, send the signal, see to its end, and look at what is left."""
    done = Round(face, how, moment)
    endpoint.clear()
    model = "talker" if moment == "answer" else "worker"
    words = {
        "run": ["run", "--output-format", "json", "--approve", "all", "--model", f"fake:{model}", "Do it."],
        "goal": ["run", "--goal", "--output-format", "json", "--approve", "all", "--model", f"fake:{model}", "Do it."],
        "chat": ["--approve", "all", "--model", f"fake:{model}"],
        "plain": ["--plain", "--approve", "all", "--model", f"fake:{model}"],
    }[face]
    with Subject(program, words, piped=face in ("run", "goal")) as subject:
        _wait_for(subject, endpoint, face, moment)
        time.sleep(delay_s)
        began = time.monotonic()
        _send(subject, how)
        try:
            subject.process.wait(END_S)
        except subprocess.TimeoutExpired:
            done.problems.append(f"it did not end within {END_S:g} s")
            subject.process.kill()
            subject.process.wait(10)
        done.seconds = time.monotonic() - began
        done.closed_s = max(
            (seen.disconnected - began for seen in endpoint.exchanges if seen.disconnected), default=0.0
        )
        subject.stuck = False
        for reader in subject.readers[1:]:
            reader.join(5)
        if how != "KILL":
            done.problems += subject.terminal_problems(took_all=how != "STUCK")
            if face in ("run", "goal"):
                done.problems += _object_problems(subject, moment)
    if how == "KILL":
        program("run", "--output-format", "json", "--model", "fake:say", "--no-moa", "Another.")
    done.problems += [f"a command was left running ({pid})" for pid in left_running(program)]
    log = program.state_dir / "crash.log"
    if log.exists():
        done.problems.append(f"crash.log: {log.read_text().splitlines()[-1]}")
        log.unlink()
    return done


def _wait_for(subject: Subject, endpoint: ScriptedEndpoint, face: str, moment: str) -> None:
    deadline = time.monotonic() + 20
    if face in ("chat", "plain") and moment != "start":
        while b"help" not in subject.drawn and b"commands" not in subject.drawn and time.monotonic() < deadline:
            time.sleep(0.02)
        subject.type("Go")
        while not endpoint.calls() and time.monotonic() < deadline:
            time.sleep(0.2)
            subject.type("\r")
    if moment == "start":
        return
    if moment == "answer":
        endpoint.wait_for(lambda: endpoint.calls() and endpoint.calls()[0].first_token)
        return
    while not sleeping() and time.monotonic() < deadline:
        time.sleep(0.02)


def _send(subject: Subject, how: str) -> None:
    pid = subject.process.pid
    if how == "CLOSE":
        subject.close_terminal()
        return
    for name in how.split("+"):
        if subject.process.poll() is not None:
            return
        if name == "STUCK":
            subject.stuck = True
            time.sleep(1.0)
            continue
        os.kill(pid, getattr(signal, f"SIG{name}"))
        if name in ("STOP", "TSTP"):
            until = time.monotonic() + 3
            while subject.state() not in "TZX" and time.monotonic() < until:
                time.sleep(0.01)
    if how not in ("KILL", *ENDING):
        time.sleep(0.3)
        for _ in range(2):
            if subject.process.poll() is None:
                os.kill(pid, signal.SIGTERM)


def _object_problems(subject: Subject, moment: str) -> list[str]:
    found = subject.objects()
    # Before Python came to our first line. Ctrl+C while it looks for its packages is exit code 1, and says where Python was.
    early = (-1, -2, -3, -15, 1) if b"KeyboardInterrupt" in subject.drawn else (-1, -2, -3, -15)
    if moment == "start" and subject.process.returncode in early and not found:
        return []
    if len(found) != 1 or not isinstance(found[0], dict):
        return [
            f"standard output has {len(found)} objects and not one: {str(found)[:300]} ({subject.process.returncode})"
            f" {subject.drawn[-300:]!r}"
        ]
    if found[0]["status"] != "interrupted" or subject.process.returncode != 130:
        return [f"it ended as {found[0]['status']} with exit code {subject.process.returncode}"]
    return []


def sleeping() -> list[int]:
    """The processes of the script's command that run."""
    found = []
    for entry in os.scandir("/proc"):
        with suppress(OSError):
            if entry.name.isdigit() and LEFT.encode() in Path(entry.path, "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def left_running(program: Program) -> list[int]:
    """Those that are still there a second later; they are ended."""
    until = time.monotonic() + 1.5
    while (left := sleeping()) and time.monotonic() < until:
        time.sleep(0.02)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


def random_round(program: Program, endpoint: ScriptedEndpoint, seed: int) -> Round:
    """A round that `seed` chooses."""
    chance = random.Random(seed)
    face, how, moment = chance.choice(FACES), chance.choice(HOWS), chance.choice(MOMENTS)
    return one_round(program, endpoint, face, how, moment, delay_s=chance.uniform(0.0, 0.6))
