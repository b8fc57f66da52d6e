"""One run of a program: started in an empty folder, fed its prompt, read line by line, and ended for certain."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.llm.dialects.base import Exchange
from agent.llm.errors import AnswerTooLong, BadRequest, ProgramFailed
from agent.llm.net import limits
from agent.llm.programs.known import LONGEST_ARGUMENT, PROGRAMS, program_of
from agent.process import children
from agent.process.depth import VARIABLE as DEPTH
from agent.process.depth import depth
from agent.process.pipe_tail import PipeTail
from agent.process.process import Child

if TYPE_CHECKING:
    from agent.llm.dialects.base import Decoder, Dialect
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.net.http import Http
    from agent.llm.request import Request
    from agent.llm.stream import StreamEvent

ERROR_BYTES = 16_384
"""Of standard error; the last of them are kept."""
AFTER_S = 0.5
"""Seconds that a program's own children have to end after it, before they are ended."""


class ProgramRun(Exchange):
    """An `Exchange` with a program in the place of a server.

    `chargeable` is True from the moment it runs. `quiet` is True: a program that prints its answer at its end is silent until then, and
    only the ceiling and the caller's own time limit bound it.
    """

    quiet = True

    def __init__(
        self, dialect: Dialect, decoder: Decoder, endpoint: Endpoint, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(dialect, decoder, endpoint, headers)
        self._child: Child | None = None
        self._errors: PipeTail | None = None
        self._ending: asyncio.Task[int | None] | None = None
        self._place: Path | None = None
        self._came = asyncio.Event()
        self._lines: list[bytes] = []
        self._rest = b""
        self._size = 0
        self._most = 0
        self._over = False

    async def open(self, http: Http, request: Request, quirks: frozenset[str], connect_s: float) -> None:
        """Start the program and give it the prompt. Raises ProgramFailed where it can't be started."""
        body = self._dialect.compose(request, self._endpoint, quirks, self.left)
        self.items = self._dialect.items(body)
        self._most = limits.answer_bytes(request.max_tokens)
        prompt: str = body["prompt"]
        self._place = place = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="moa-program-"))
        folder = place / "work"
        folder.mkdir()
        for name, text in self._known.files.items():
            (place / name).write_text(text, encoding="utf-8")
        argv, by_argument = self._filled(body["argv"], prompt, folder)
        self._errors = PipeTail(ERROR_BYTES)
        try:
            # A file without a name: a prompt of any length, and no pipe that a program could leave unread.
            with tempfile.TemporaryFile(dir=place) as words:
                words.write(b"" if by_argument else prompt.encode("utf-8", "replace"))
                words.seek(0)
                self._child = await Child.start(
                    argv,
                    cwd=folder,
                    feed=self._feed,
                    env=self._environment(folder),
                    stdin=words,
                    stderr=self._errors.write_end,
                )
        except FileNotFoundError as error:
            raise ProgramFailed(
                f"{self._endpoint.name}: there is no program {argv[0]!r}",
                remedy=f"install it, or correct command under [endpoints.{self._endpoint.name}] in config.toml",
            ) from error
        except (OSError, ValueError) as error:
            raise ProgramFailed(f"{self._endpoint.name}: {argv[0]!r} can't be started: {error}") from error
        finally:
            self._errors.started()
        self.chargeable = True
        self._ending = asyncio.create_task(self._child.wait())
        self._ending.add_done_callback(lambda _task: self._came.set())

    async def read(self) -> list[StreamEvent] | None:
        """The events of the next lines, perhaps none; None once the program has ended. Raises its fault by name."""
        if self._over:
            return None
        await self._came.wait()
        self._came.clear()
        events: list[StreamEvent] = []
        lines, self._lines = self._lines, []
        for line in lines:
            events += self._line(line)
        if self._size > self._most:
            error = AnswerTooLong(
                f"{self._endpoint.name}: the program printed more than {self._most} bytes",
                remedy="its answer was cut off; ask for a shorter one",
            )
            error.partial, error.usage = self.decoder.partial, self.decoder.usage
            raise error
        assert self._ending is not None
        if self._ending.done() and not self._lines:
            events += self._end(self._ending.result())
        return events

    async def aclose(self) -> None:
        """End whatever still runs of it, its own children too, within a second; and take its folder away."""
        child, self._child = self._child, None
        ending, self._ending = self._ending, None
        place, self._place = self._place, None
        try:
            if child is not None:
                if self._over:
                    await child.settle(AFTER_S)
                await child.end()
        finally:
            if child is not None:
                child.kill()
            if ending is not None:
                ending.cancel()
            if self._errors is not None:
                self._errors.close()
            if place is not None:
                with suppress(OSError):
                    shutil.rmtree(place, ignore_errors=True)

    @property
    def _known(self) -> Any:
        return PROGRAMS[self._endpoint.program or program_of(self._endpoint.command)]

    def _filled(self, argv: list[str], prompt: str, folder: Path) -> tuple[list[str], bool]:
        """The arguments as they are started, and whether the prompt is one of them."""
        by_argument = any("{prompt}" in word for word in argv[1:])
        if by_argument and len(prompt.encode("utf-8", "replace")) > LONGEST_ARGUMENT:
            raise BadRequest(
                f"{self._endpoint.name}: the prompt is longer than an argument may be ({LONGEST_ARGUMENT} bytes)",
                remedy=f"take {{prompt}} out of command under [endpoints.{self._endpoint.name}]: it then comes on standard input",
            )
        places = {"{prompt}": prompt.replace("\0", ""), "{folder}": str(folder), "{beside}": str(folder.parent)}
        filled = []
        for word in argv:
            # One after the other would fill in what a prompt merely talks of.
            name = next((name for name in places if name in word), None)
            filled.append(word if name is None else word.replace(name, places[name]))
        return filled, by_argument

    def _environment(self, folder: Path) -> dict[str, str]:
        """The allow-list for command-line agents, what the user set, the one key that the user named for it, and how deep it is."""
        env = children.environment("agent", "fetch", project=folder) | dict(self._known.environment)
        env |= self._endpoint.environment
        if self._endpoint.api_key_env and self._endpoint.api_key:
            env[self._endpoint.api_key_env] = self._endpoint.api_key
        told = [int(value) for value in self._headers.values() if value.isdecimal()]
        # Whatever asks it, it runs inside of us: an agent of ours in there takes no counsel.
        return env | {DEPTH: str(max([1, depth() + 1, *told]))}

    def _feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._most:
            self._came.set()
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            self._lines += lines
            self._came.set()

    def _line(self, line: bytes) -> list[StreamEvent]:
        found = self.decoder.feed("line", line.decode("utf-8", "replace").removesuffix("\r"))
        self.generation_id = self.generation_id or self.decoder.generation_id
        return found

    def _end(self, code: int | None) -> list[StreamEvent]:
        self._over = True
        rest, self._rest = self._rest, b""
        events = self._line(rest) if rest else []
        assert self._errors is not None
        said = {"code": code, "stderr": self._errors.text}
        return events + self.decoder.feed("exit", json.dumps(said))
