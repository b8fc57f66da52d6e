"""The HTTP client for a server at an address: what it answers is bounded, as what a child says is (`agent.mcp.stdio`).

The SDK reads an answer in JSON of any length into memory, and unpacks what comes packed. Streams of events it bounds itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from agent.mcp.stdio import LONGEST_LINE

PLAIN = ("", "identity")


def make_client(headers: Mapping[str, str], note_status: Callable[[int, str], None], **more: Any) -> Any:
    """An `httpx2.AsyncClient` for the SDK. `note_status` is told of each answer; `more` goes to the SDK's own factory."""
    from mcp.shared._httpx_utils import create_mcp_http_client

    async def answered(response: Any) -> None:
        note_status(response.status_code, response.reason_phrase)
        if (packed := response.headers.get("content-encoding", "").strip().lower()) not in PLAIN:
            raise _protocol_error(f"it answers packed ({packed[:20]}), which was not asked for")
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = _bounded(response.stream)

    client = create_mcp_http_client(headers={**headers, "accept-encoding": "identity"}, **more)
    client.event_hooks["response"].append(answered)
    return client


def _bounded(stream: Any) -> Any:
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in stream:
                size += len(chunk)
                if size > LONGEST_LINE:
                    raise _protocol_error(f"it sent an answer of more than {LONGEST_LINE // 1024 // 1024} MB")
                yield chunk

        async def aclose(self) -> None:
            await stream.aclose()

    return Bounded()


def _protocol_error(text: str) -> Exception:
    import httpx2

    return httpx2.RemoteProtocolError(text)
