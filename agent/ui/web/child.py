"""The program behind one tab: a child process that speaks textual-serve's protocol over its standard input and output."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from textual_serve.app_service import AppService

from agent.process import children, handover
from agent.text import foreign_json

READY = b"__GANGLION__\n"
GRACE_S = 5.0
"""Seconds for the program to end its turn and close its session."""
MOST_ERROR = 20_000
NOT_OURS = ("TMUX", "STY", "KITTY_WINDOW_ID", "WT_SESSION", "ConEmuPID")
"""What the terminal of `moa web` says of itself. The browser is another one."""


class Child(AppService):
    """One running chat. `error` is what it said on standard error; `gone` is set when it has ended."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], **seams: Any) -> None:
        super().__init__("", **seams)
        self._words = list(command)
        self._more = dict(environment)
        self.error = b""
        self.gone = asyncio.Event()
        self.drew = False
        """It has drawn something."""

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        # Of what textual-serve makes of our environment only what it adds to it; the program takes the rest from `handover`.
        asked = super()._build_environment(width, height)
        added = {name: value for name, value in asked.items() if os.environ.get(name) != value}
        return {**children.environment("python", "own"), **added, "TERM": "xterm-256color", **self._more}

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        # No shell between us; and a group of its own, so that Ctrl+C in our terminal is ours alone.
        rest = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        with handover.offered(rest) as descriptor:
            self._process = process = await children.start(
                self._words,
                env={**self._build_environment(width, height), handover.VARIABLE: str(descriptor)},
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                pass_fds=(descriptor,),
            )
        self._stdin = process.stdin
        return process

    async def run(self) -> None:
        """Pass on what the program draws, until it ends."""
        process = self._process
        assert process is not None and process.stdout is not None and process.stderr is not None
        complaints = asyncio.create_task(self._collect(process.stderr))
        try:
            await self._packets(process.stdout)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass  # it is gone, or its browser is
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                await asyncio.wait_for(asyncio.shield(process.wait()), GRACE_S)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            await complaints
            self.gone.set()

    async def _packets(self, out: asyncio.StreamReader) -> None:
        while (line := await out.readline()) != READY:
            if not line:
                return
        handlers = {b"D": self.on_data, b"M": self.on_meta, b"P": self.on_packed}
        while handler := handlers.get(await out.readexactly(1)):
            size = int.from_bytes(await out.readexactly(4), "big")
            await handler(await out.readexactly(size))

    async def _collect(self, source: asyncio.StreamReader) -> None:
        while data := await source.read(4096):
            self.error = (self.error + data)[-MOST_ERROR:]

    async def on_data(self, payload: bytes) -> None:
        """Something to draw."""
        self.drew = True
        await super().on_data(payload)

    async def on_meta(self, data: bytes) -> None:
        """What the program asks of the page. Only web addresses are opened: a `javascript:` one would run in this page."""
        asked = foreign_json.loads(data)
        if asked.get("type") == "open_url" and urlsplit(str(asked.get("url"))).scheme not in ("http", "https"):
            return
        await super().on_meta(data)

    async def end(self) -> None:
        """Ask it to end, and see to it."""
        if self._process is None or self.gone.is_set():
            return
        await self.send_meta({"type": "quit"})
        try:
            await asyncio.wait_for(self.gone.wait(), GRACE_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self.gone.wait()

    @property
    def words(self) -> str:
        """What it said on standard error, for people."""
        return self.error.decode("utf-8", "replace").strip()
