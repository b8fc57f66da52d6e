"""The bundled local model: one child process a model file, shared by everybody who asks for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from agent.errors import StateError, UsageError
from agent.extras import install, require
from agent.files.own_files import make_folder
from agent.llm.models.endpoint import WELL_KNOWN, Endpoint, ModelFacts, Price
from agent.local.catalogue import FETCHABLE, find
from agent.process import children
from agent.text import foreign_json

if TYPE_CHECKING:
    from agent.local.source import Progress

SLOT_TOKENS = 4096
"""Context of one request, in tokens; memory grows with it (docs/local-models.md has figures)."""
CLOSE_S = 0.5
"""How long the child may take to end by itself, in seconds; then it is killed."""
LOG_LIMIT = 1_000_000
"""Bytes after which the log starts anew."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running server: its process, its address and key, and the context of one slot in tokens."""

    process: asyncio.subprocess.Process
    address: str
    api_key: str
    slot_tokens: int


class LocalServer:
    """Starts llama.cpp's server for a model when it is first asked for, and ends it in `aclose`.

    Main model, panel and aggregator share one load: one child a model *file*, whatever names it goes by. It answers `slots` requests at
    once, each with `slot_tokens` of context (memory grows with both; docs/local-models.md has figures). `models_dir` is where
    fetched models lie, `log_path` takes what llama.cpp prints. `notice` gets a line for the user before each slow step, `progress`
    hears of a download. Belongs to one event loop.
    """

    def __init__(
        self,
        models_dir: Path,
        log_path: Path,
        *,
        slots: int = 4,
        slot_tokens: int = SLOT_TOKENS,
        load_timeout_s: float = 300.0,
        notice: Callable[[str], None] = lambda _text: None,
        progress: Callable[[Progress], None] = lambda _progress: None,
    ) -> None:
        self.models_dir = models_dir
        self.log_path = log_path
        self.slots = slots
        self.slot_tokens = slot_tokens
        self.load_timeout_s = load_timeout_s
        self.notice = notice
        self.progress = progress
        self._loads: dict[Path, asyncio.Task[Child]] = {}
        self._facts: dict[str, ModelFacts] = {}
        self._fetching = asyncio.Lock()

    async def launch(self, model: str) -> Endpoint:
        """The endpoint that serves `model`: a name of the catalogue (fetched first if need be) or the path of a GGUF file.

        Returns at once where it is already running; a child that has died is started anew. Raises UsageError for an unknown name, a
        file that is not a model, or where xllamacpp is not installed; StateError where loading fails; and what `fetch` raises.
        """
        require_xllamacpp()
        async with self._fetching:
            path = await self._locate(model)
        load = self._loads.get(path)
        if load is None or has_ended(load):
            load = self._loads[path] = asyncio.create_task(self._start(path, model))
        # Shielded: several may wait for one load, and one of them being cancelled must not take it from the others.
        child = await asyncio.shield(load)
        self._facts[model] = facts_of(model, child.slot_tokens)
        return WELL_KNOWN["local"].with_(
            base_url=f"{child.address}/v1",
            api_key=child.api_key,
            key_source="made for this run",
            max_concurrency=self.slots,
            models=dict(self._facts),
        )

    async def aclose(self) -> None:
        """End all children, within a second."""
        loads, self._loads = list(self._loads.values()), {}
        for load in loads:
            load.cancel()  # one that is still loading ends its own child
        for result in await asyncio.gather(*loads, return_exceptions=True):
            if isinstance(result, Child):
                await end(result.process)

    async def _locate(self, model: str) -> Path:
        if "/" in model or os.sep in model or model.endswith(".gguf"):
            return check_gguf(Path(model).expanduser().resolve())
        from agent.local.fetch import cached, fetch

        entry = find(model)
        path = cached(entry, self.models_dir)
        if path is None:
            self.notice(f"fetching {model} ({entry.size / 1e6:.0f} MB, {entry.licence}) …")
            path = await fetch(model, self.models_dir, progress=self.progress)
            self.notice(f"fetched {path}")
        return path.resolve()

    async def _start(self, path: Path, model: str) -> Child:
        entry = FETCHABLE.get(model)
        self.notice(f"loading {model} … ({entry.warning})" if entry else f"loading {model} …")
        log, log_start = self._open_log()
        key = os.urandom(24).hex()
        settings = {
            "model": str(path),
            "alias": [model if entry else path.stem],  # a reply names it, and need not tell where files lie
            "api_key": key,
            "slots": self.slots,
            "slot_tokens": self.slot_tokens,
            "parent": os.getpid(),
        }
        with log:
            process = await children.start(
                # -P: nothing beside the script is importable from it, and nothing in the user's folder either.
                (sys.executable, "-P", str(Path(__file__).with_name("child.py"))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=children.environment("model"),
            )
        try:
            address = await self._ready(process, settings, model, log_start)
            return Child(process, address, key, await slot_context(address, key))
        except BaseException:
            await end(process)
            raise

    async def _ready(
        self, process: asyncio.subprocess.Process, settings: dict[str, object], model: str, log_start: int
    ) -> str:
        assert process.stdin and process.stdout
        line = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(json.dumps(settings).encode() + b"\n")
            try:
                async with asyncio.timeout(self.load_timeout_s):
                    line = await process.stdout.readline()
            except TimeoutError:
                raise StateError(
                    f"the local model {model} was not loaded within {self.load_timeout_s:.0f} s",
                    remedy=f"a smaller model loads faster; the server's log is {self.log_path}",
                ) from None
        said = json.loads(line) if line.endswith(b"\n") else {}
        if "listening_address" in said:
            return str(said["listening_address"])
        await end(process)
        raise self._failed(model, said.get("error", ""), process.returncode, log_start)

    def _failed(self, model: str, error: str, code: int | None, log_start: int) -> Exception:
        tail = self._log_tail(log_start)
        text = f"the local model {model} could not be loaded: {tail or error or f'its server ended with code {code}'}"
        if error.startswith(("ImportError", "ModuleNotFoundError")):
            return UsageError(f"xllamacpp can't be imported: {error}", remedy=install("local"), kind="not_installed")
        if code == -9 or "insufficient memory" in tail or "failed to allocate" in tail:
            return StateError(f"{text} (out of memory)", remedy="use a smaller model, or a smaller context per slot")
        return StateError(text, remedy=f"check that the file is a whole GGUF chat model; the log is {self.log_path}")

    def _open_log(self) -> tuple[BinaryIO, int]:
        """The log, opened to append, and where this run's part of it begins."""
        try:
            make_folder(self.log_path.parent)
            size = self.log_path.stat().st_size if self.log_path.exists() else 0
            fresh = os.O_TRUNC if size >= LOG_LIMIT else 0
            log = os.fdopen(os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | fresh, 0o600), "ab")
        except OSError as error:
            raise StateError(f"{self.log_path} can't be written: {error.strerror}") from error
        return log, size if size < LOG_LIMIT else 0

    def _log_tail(self, start: int, lines: int = 2) -> str:
        """The first errors since `start`: llama.cpp names the cause first, then every caller that gave up because of it."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(start)
                text = log.read(20_000).decode(errors="replace")
        except OSError:
            return ""
        # `0.00.022.740 E place: what` is llama.cpp's form; the time and the letter say nothing here.
        said = [line.split(" E ", 1)[-1].strip() for line in text.splitlines() if line.strip()]
        return "; ".join(said[:lines])


def facts_of(model: str, slot_tokens: int = SLOT_TOKENS) -> ModelFacts:
    """What is known of a local model: its own limits where it is in the catalogue, and half a slot for an answer where it is a file."""
    entry = FETCHABLE.get(model)
    return ModelFacts(
        context_window=slot_tokens,
        max_output=(entry.max_output if entry else None) or slot_tokens // 2,
        price=Price(0.0, 0.0),
        native_tools=False,
        images=False,
        tool_rounds=entry.tool_rounds if entry else None,
    )


def require_xllamacpp() -> None:
    """Raises UsageError where the extra `local` is not installed. Does not import it: it is the child's."""
    require("local", "the local model", "xllamacpp")


def check_gguf(path: Path) -> Path:
    """The path, if a GGUF file is there (its first four bytes say so). Raises UsageError."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", remedy="name a GGUF file", kind="unknown_model") from error
    if magic != b"GGUF":
        raise UsageError(f"{path} is not a GGUF file", remedy="name a GGUF file", kind="unknown_model")
    return path


def has_ended(load: asyncio.Task[Child]) -> bool:
    """True where a load failed, or its child has died since."""
    if not load.done():
        return False
    return load.cancelled() or load.exception() is not None or load.result().process.returncode is not None


async def slot_context(address: str, key: str) -> int:
    """Tokens of context that one slot really has: the server may grant less than was asked (a model's own limit)."""
    import httpx

    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30.0) as client:
        answer = await client.get(f"{address}/props", headers={"Authorization": f"Bearer {key}"})
        answer.raise_for_status()
        return int(foreign_json.loads(answer.content)["default_generation_settings"]["n_ctx"])


async def end(process: asyncio.subprocess.Process) -> None:
    """Close the child's standard input, which ends it; kill it where that takes too long."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(CLOSE_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
