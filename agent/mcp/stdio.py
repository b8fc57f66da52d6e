"""A foreign server as a child of ours: started as every child (`agent.process.children`), one JSON-RPC message a line, and bounded.

The SDK has a transport of its own. It starts what lies first on PATH, reads a line of any length, and lets the server write to the
terminal; so this one stands in its place.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.process import children
from agent.process.process import MARK, marked, new_mark
from agent.text import foreign_json
from agent.text.cleaning import last_words
from agent.text.encodable import whole_value
from agent.text.foreign_json import ForeignJsonError
from agent.text.numbers import plural

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

LONGEST_LINE = 16 * 1024 * 1024
MOST_PER_SECOND = 5_000
LAST_WORDS = 4_000
PARSE_ERROR = -32700
# The head of an answer that is no JSON.
_ANSWER = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,9})\s*,\s*"(?:result|error)"')
CLOSE_S = 1.0
"""So long a server may take to end once its input is closed; as long again after a polite signal."""


@dataclass(slots=True)
class Traffic:
    """What is known of a child beside its messages: why it ended, and what it said that was no message."""

    gone: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""
    garbage: int = 0
    first_garbage: str = ""
    errors: bytearray = field(default_factory=bytearray)

    def last_words(self) -> str:
        """The end of what it wrote to its standard error, on one line."""
        return last_words(self.errors.decode("utf-8", "replace"), 300, whole=len(self.errors) < LAST_WORDS)

    def noise(self) -> str:
        """What it said on its standard output that was no message; empty where it was all well formed."""
        if not self.garbage:
            return ""
        return (
            f"{plural(self.garbage, 'line')} on its standard output without JSON-RPC, the first: {self.first_garbage}"
        )


@asynccontextmanager
async def stdio(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, project: Path, traffic: Traffic
) -> AsyncGenerator[TransportStreams, None]:
    """The transport for the SDK's client. Raises OSError where the program can't be started.

    The child and all that it started are ended on the way out, however that comes.
    """
    import anyio
    from mcp.shared.message import SessionMessage

    pipe, mark = asyncio.subprocess.PIPE, new_mark()
    env = {**env, MARK: f"{env.get(MARK, '')}:{mark}"}
    process = await children.start(argv, env=env, cwd=cwd, project=project, stdin=pipe, stdout=pipe, stderr=pipe)
    incoming_in, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, outgoing_out = anyio.create_memory_object_stream[SessionMessage](0)
    tasks = [
        asyncio.create_task(_read(process, incoming_in, traffic)),
        asyncio.create_task(_write(process, outgoing_out, traffic)),
        asyncio.create_task(_listen(process, traffic)),
    ]
    try:
        yield incoming, outgoing
    finally:
        ending = asyncio.create_task(_end(process, tasks, mark.encode()))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await asyncio.wait([ending])
            raise
        finally:
            for stream in (incoming_in, incoming, outgoing, outgoing_out):
                stream.close()


async def _read(process: asyncio.subprocess.Process, into: Any, traffic: Traffic) -> None:
    """Messages from its standard output, until it ends or goes too far."""
    import anyio
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    assert process.stdout is not None
    buffer, count, since = bytearray(), 0, time.monotonic()
    try:
        while data := await process.stdout.read(1 << 16):
            start = len(buffer)
            buffer += data
            while (end := buffer.find(b"\n", start)) >= 0:
                line, start = bytes(buffer[:end]).strip(), 0
                del buffer[: end + 1]
                count += 1
                if not line:
                    continue
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    mended = _mended(line)
                    if mended is None:
                        _note_garbage(traffic, line)
                        continue
                    message = jsonrpc_message_adapter.validate_python(mended, by_name=False)
                await into.send(SessionMessage(message))
            if len(buffer) > LONGEST_LINE:
                traffic.why = f"it sent a message of more than {LONGEST_LINE // 1024 // 1024} MB"
                return
            if (now := time.monotonic()) - since >= 1:
                count, since = 0, now
            elif count > MOST_PER_SECOND:
                traffic.why = f"it floods: more than {MOST_PER_SECOND:,} messages in a second"
                return
        traffic.why = traffic.why or await _how_it_ended(process)
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        pass  # nobody listens any more: we are closing
    finally:
        traffic.gone.set()
        into.close()


def _mended(line: bytes) -> dict[str, Any] | None:
    """An answer that can't be read, as one that can: without halves of characters, or as an error. Who waits for it would wait in vain.

    None for what is no answer.
    """
    try:
        value = whole_value(foreign_json.loads(line))
    except ForeignJsonError as error:
        found = _ANSWER.match(line)
        value, why = ({"id": int(found[1])} if found else None), str(error)
    else:
        why = "it is no answer of JSON-RPC"
    number = value.get("id") if isinstance(value, dict) and "method" not in value else None
    if not isinstance(number, int | str) or isinstance(number, bool):
        return None
    if isinstance(value.get("result"), dict) and "error" not in value:
        return {"jsonrpc": "2.0", "id": number, "result": value["result"]}
    return {
        "jsonrpc": "2.0",
        "id": number,
        "error": {"code": PARSE_ERROR, "message": f"its answer can't be read: {why}"},
    }


def _note_garbage(traffic: Traffic, line: bytes) -> None:
    traffic.garbage += 1
    if traffic.garbage == 1:
        traffic.first_garbage = last_words(line[:200].decode("utf-8", "replace"), 120, whole=True)


async def _how_it_ended(process: asyncio.subprocess.Process) -> str:
    code = await _exited(process)
    if code is None:
        return "it closed its standard output"
    if code < 0:
        with suppress(ValueError):
            return f"it was ended by {signal.Signals(-code).name}"
    return f"it ended with exit code {code}"


async def _write(process: asyncio.subprocess.Process, messages: Any, traffic: Traffic) -> None:
    """Messages to its standard input."""
    assert process.stdin is not None
    try:
        async for message in messages:
            process.stdin.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await process.stdin.drain()
    except OSError:
        traffic.why = traffic.why or "it closed its standard input"
    finally:
        messages.close()


async def _listen(process: asyncio.subprocess.Process, traffic: Traffic) -> None:
    """The end of its standard error, for when something goes wrong."""
    assert process.stderr is not None
    while data := await process.stderr.read(1 << 16):
        traffic.errors += data
        del traffic.errors[:-LAST_WORDS]


async def _end(process: asyncio.subprocess.Process, tasks: Sequence[asyncio.Task[None]], mark: bytes) -> None:
    """Close its input, wait, ask it to end, wait, end it: as the protocol wants it, and with it all that it has started."""
    assert process.stdin is not None
    tasks[0].cancel()
    tasks[1].cancel()
    process.stdin.close()
    for step in (None, signal.SIGTERM, signal.SIGKILL):
        if step is not None:
            _signal(process.pid, step)
        if await _exited(process) is not None:
            break
    _signal(process.pid, signal.SIGKILL)  # what it left behind in its group
    for pid in await asyncio.to_thread(marked, mark):  # and what has left the group
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    transport = getattr(process, "_transport", None)
    if transport is not None:  # a grandchild may hold the pipes open
        transport.close()


async def _exited(process: asyncio.subprocess.Process) -> int | None:
    """Its exit code, where it ends soon. Looked at again and again: `wait` waits for its pipes, too, which a grandchild may hold open."""
    until = time.monotonic() + CLOSE_S
    while process.returncode is None and time.monotonic() < until:  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.01)
    return process.returncode


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(OSError):
        os.killpg(group, number)
