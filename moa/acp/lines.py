"""The lines of an editor: JSON-RPC on standard input and output, and whatever else may come there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent.text import foreign_json

if TYPE_CHECKING:
    import asyncio

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
MOST_BYTES = 64 * 1024 * 1024
"""Of one line. What is longer is no message of an editor's, and ends the connection."""


class Lines:
    """An `acp.Transport`. A line that is no message is answered as JSON-RPC has it, and the next one is read: the package's own reader
    hands on what is not an object, and its loop ends there."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: dict[str, Any]) -> None:
        """One message as one line."""
        self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None at the end, or where a line has no end."""
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:
                await self._refuse(PARSE_ERROR, f"a line has more than {MOST_BYTES // 1024 // 1024} MB")
                return None
            if not line:
                return None
            if not line.strip():
                continue
            try:
                message = foreign_json.loads(line)
            except ValueError as error:
                await self._refuse(PARSE_ERROR, f"a line is not JSON: {error}")
                continue
            if wrong := _wrong(message):
                await self._refuse(INVALID_REQUEST, wrong)
                continue
            return message  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Nothing is held: standard output ends with the process."""

    async def _refuse(self, code: int, why: str) -> None:
        await self.send({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": why}})


def _wrong(message: Any) -> str:
    """Why a value is no message of JSON-RPC; empty where it is one."""
    if not isinstance(message, dict):
        return "a message is a JSON object, one a line"
    if not isinstance(message.get("id"), str | int | float | None):
        return "an id is a text, a number or null"
    if not isinstance(message.get("method"), str | None):
        return "a method is a text"
    if not isinstance(message.get("error"), dict | None):
        return "an error is an object"
    return ""
