"""read: a file's lines, a folder's entries."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from agent.llm.request import ToolSpec
from agent.text.encodable import whole
from agent.tools.base import Kind, Tool, ToolContext, ToolError, ToolResult
from agent.tools.lib.files import MAX_HASHED, binary_kind, load_text, open_regular, stat_mark

MAX_LINES = 2_000
MAX_LINE = 2_000
MAX_TEXT = 50_000
MAX_ENTRIES = 1_000
CHUNK = 256 * 1024


class Read(Tool):
    """Reads a text file in windows of lines, or lists a folder. Remembers what the model saw."""

    kind: ClassVar[Kind] = "read"
    read_only: ClassVar[bool] = True
    spec: ClassVar[ToolSpec] = ToolSpec(
        name="read",
        description=(
            "Read a text file; each line is shown as its number, a tab and its text. At most 2000 lines at a time, long lines cut. For a "
            "folder: its entries. Read a file before you change it."
        ),
        parameters={
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "File or folder, absolute or from the working folder."},
                "offset": {"type": "integer", "minimum": 0, "description": "First line to show, counted from 1."},
                "limit": {"type": "integer", "minimum": 1, "description": "How many lines to show (at most 2000)."},
            },
            "required": ["path"],
            "additionalProperties": False,
        },
    )

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people."""
        window = f" from line {offset}" if (offset := arguments.get("offset")) else ""
        return f"read {arguments.get('path', '')}{window}"

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """The lines asked for, numbered, and where to go on. Raises ToolError."""
        path = context.resolve(arguments["path"])
        if path.is_dir():
            return ToolResult(await asyncio.to_thread(_list_folder, context, path))
        offset = max(1, arguments.get("offset") or 1)
        limit = min(arguments.get("limit") or MAX_LINES, MAX_LINES)
        text, seen = await asyncio.to_thread(_read_file, context, path, offset, limit)
        if seen:
            context.seen[path] = seen
        return ToolResult(text)


def _list_folder(context: ToolContext, path: Path) -> str:
    shown = context.show(path)
    try:
        with os.scandir(path) as entries:
            names = [
                (entry.name, entry.is_dir())
                for entry in entries
                if not context.deny_paths.match_name(path / entry.name)
            ]
    except OSError as error:
        raise ToolError(f"{shown} can't be listed: {error.strerror}") from error
    names.sort()
    lines = [whole(name) + ("/" if folder else "") for name, folder in names[:MAX_ENTRIES]]
    if len(names) > MAX_ENTRIES:
        lines.append(f"… and {len(names) - MAX_ENTRIES:,} more; use glob")
    return f"{shown} is a folder with {len(names):,} entries:\n" + "\n".join(lines)


def _read_file(context: ToolContext, path: Path, offset: int, limit: int) -> tuple[str, str | None]:
    """The text for the model, and what to remember as seen; None for what can't be changed as text anyway."""
    shown = context.show(path)
    with open_regular(context, path) as file:
        status = os.fstat(file.fileno())
        head = file.read(8192)
        if kind := binary_kind(head):
            text = f"{shown} is {kind}, {status.st_size:,} bytes; its content can't be shown as text"
            if "image" in kind:
                return text, None
            raise ToolError(text)
        file.seek(0)
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            loaded = load_text(context, path)
            data = io.BytesIO(loaded.text.encode("utf-8", "replace"))
            window = _Window(offset, limit)
            window.scan(data, None, to_end=True)
            return window.render(shown, status.st_size), loaded.digest
        window = _Window(offset, limit)
        if status.st_size <= MAX_HASHED:
            hasher = hashlib.sha256()
            window.scan(file, hasher, to_end=True)
            return window.render(shown, status.st_size), hasher.hexdigest()
        window.scan(file, None, to_end=False)
        return window.render(shown, status.st_size), stat_mark(status)


class _Window:
    """The lines from `offset` on, taken from a stream without ever holding more than the window and one chunk."""

    def __init__(self, offset: int, limit: int) -> None:
        self.offset = offset
        self.limit = limit
        self.lines: list[tuple[bytes, int]] = []  # the first bytes of a line, and how many were left out
        self.ended = 0  # lines that came to their end
        self.total: int | None = None
        self._head = bytearray()
        self._length = 0

    def scan(self, file: BinaryIO | io.BytesIO, hasher: hashlib._Hash | None, *, to_end: bool) -> None:
        last = self.offset + self.limit - 1
        while chunk := file.read(CHUNK):
            if hasher is not None:
                hasher.update(chunk)
            self._take(chunk, last)
            if self.ended >= last and not to_end:
                return
        if self._length:
            self._end_line(last)
        self.total = self.ended

    def _take(self, chunk: bytes, last: int) -> None:
        at = 0
        while at < len(chunk):
            if self.ended >= last:  # behind the window: count, no more
                rest = chunk[at:]
                self.ended += rest.count(b"\n")
                self._length = len(rest) - (rest.rfind(b"\n") + 1) + (0 if b"\n" in rest else self._length)
                return
            end = chunk.find(b"\n", at)
            piece = chunk[at : end if end >= 0 else len(chunk)]
            self._head += piece[: max(0, 4 * MAX_LINE - len(self._head))]
            self._length += len(piece)
            if end < 0:
                return
            self._end_line(last)
            at = end + 1

    def _end_line(self, last: int) -> None:
        self.ended += 1
        if self.offset <= self.ended <= last:
            self.lines.append((bytes(self._head), self._length - len(self._head)))
        self._head.clear()
        self._length = 0

    def render(self, shown: str, size: int) -> str:
        """The numbered lines. Raises ToolError where the window lies behind the end."""
        if self.total == 0:
            return f"{shown} is empty"
        if not self.lines:
            raise ToolError(f"{shown} has {self.ended:,} lines; there is no line {self.offset}")
        done: list[str] = []
        room, broken = MAX_TEXT, 0
        for number, (raw, left_out) in enumerate(self.lines, self.offset):
            raw = raw.removesuffix(b"\r")
            try:
                line = raw.decode()
            except UnicodeDecodeError:
                line = raw.decode("utf-8", "replace")
                broken += line.count("\ufffd") if not left_out else 0
            if number == 1:
                line = line.removeprefix("\ufeff")
            if len(line) > MAX_LINE or left_out:
                left_out += len(line[MAX_LINE:].encode())
                line = f"{line[:MAX_LINE]} … (cut; {left_out:,} more bytes in this line)"
            numbered = f"{number}\t{line}"
            room -= len(numbered) + 1
            if room < 0 and done:
                break
            done.append(numbered)
        after = self.offset + len(done)
        notes = []
        if self.total is None:
            notes.append(f"the file goes on ({size:,} bytes in all); next: offset={after}")
        elif after <= self.total:
            notes.append(f"lines {self.offset}–{after - 1} of {self.total:,}; next: offset={after}")
        if broken:
            notes.append(f"{broken:,} characters are no valid UTF-8 and are shown as \ufffd")
        return "\n".join(done) + (f"\n({'; '.join(notes)})" if notes else "")
