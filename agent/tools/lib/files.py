"""What the file tools share: what a file is, what the model last saw of it, writing it without a half-written state, diffs."""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

from agent.files import anchored
from agent.files.in_use import in_use
from agent.tools.base import ToolContext, ToolError

MAX_EDITABLE = 32 * 1024 * 1024
"""Bytes. Larger files are read in windows, and changed with the shell."""

MAX_HASHED = 64 * 1024 * 1024
"""Bytes. Larger files are told apart by size and time of change, so that reading a window of one does not read all of it."""

BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

# First bytes, and what a file that begins with them is. From the formats' own specifications.
KINDS = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (or an office document, a wheel, a jar)"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"\x7fELF", "an ELF program or library"),
    (b"SQLite format 3\x00", "a SQLite database"),
    (b"GGUF", "a GGUF model"),
    (b"ID3", "MP3 audio"),
)


def open_regular(context: ToolContext, path: Path) -> BinaryIO:
    """Open a regular file for reading. Never hangs: a FIFO, socket or device is refused. Raises ToolError, also where nothing is there."""
    shown = context.show(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            # Non-blocking and asked again, since it may have become a FIFO in between.
            file = os.fdopen(anchored.open_for_reading(path), "rb")
            if stat.S_ISREG(mode := os.fstat(file.fileno()).st_mode):
                return file
            file.close()
    except FileNotFoundError as error:
        raise ToolError(not_found(context, path)) from error
    except NotADirectoryError as error:
        raise ToolError(f"{shown} does not exist: a part of the path is a file, not a folder") from error
    except OSError as error:
        raise ToolError(f"{shown} can't be read: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise ToolError(f"{shown} is a folder, not a file")
    what = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    raise ToolError(f"{shown} is {what.get(stat.S_IFMT(mode), 'no regular file')}; only regular files can be read")


def not_found(context: ToolContext, path: Path) -> str:
    """That a path does not exist, and what is there that has a similar name."""
    import difflib

    missing = path
    while not missing.parent.is_dir() and missing.parent != missing:
        missing = missing.parent
    try:
        with os.scandir(missing.parent) as entries:
            names = [entry.name for _, entry in zip(range(2_000), entries, strict=False)]
    except OSError:
        names = []
    denied = context.deny_paths.match_name
    lower = {name.lower(): name for name in names if not denied(missing.parent / name)}
    near = [lower[name] for name in difflib.get_close_matches(missing.name.lower(), lower, n=3, cutoff=0.6)]
    text = f"{context.show(path)} does not exist"
    if missing != path:
        text += f" (nor does its folder; {context.show(missing.parent)} does)"
    return text + (
        f". Did you mean {' or '.join(context.show(missing.parent / name) for name in near)}?" if near else ""
    )


def binary_kind(head: bytes) -> str | None:
    """What a file is, by its first bytes, where it is not text; None for text."""
    for magic, kind in KINDS:
        # Two-byte marks are common in text, too: they need a NUL behind them.
        if head.startswith(magic) and (len(magic) > 3 or b"\0" in head[:4096] or not _is_utf8(head)):
            return _with_dimensions(kind, head)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP image"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    return "binary data" if b"\0" in head else None


def _with_dimensions(kind: str, head: bytes) -> str:
    if kind == "a PNG image" and len(head) >= 24:
        return f"{kind}, {int.from_bytes(head[16:20])} × {int.from_bytes(head[20:24])} pixels"
    if kind == "a GIF image" and len(head) >= 10:
        return f"{kind}, {int.from_bytes(head[6:8], 'little')} × {int.from_bytes(head[8:10], 'little')} pixels"
    return kind


def _is_utf8(head: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(head)
    except UnicodeDecodeError:
        return False
    return True


def digest(data: bytes) -> str:
    """What `ToolContext.seen` remembers of a file's content."""
    return hashlib.sha256(data).hexdigest()


def stat_mark(status: os.stat_result) -> str:
    """What `ToolContext.seen` remembers of a file that is too large to hash."""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"


class TextFile(NamedTuple):
    """A whole text file that can be changed and put back: what is not touched keeps its bytes, whatever they are.

    `text` has the file's own line ends; bytes that are no valid UTF-8 are surrogates in it (PEP 383).
    """

    text: str
    digest: str
    bom: bytes = b""
    encoding: str = "utf-8"

    @property
    def newline(self) -> str:
        """The line end that most lines have."""
        return "\r\n" if self.text.count("\r\n") * 2 > self.text.count("\n") else "\n"

    def encode(self, text: str) -> bytes:
        """Another text as bytes, the way this file has them."""
        return self.bom + text.encode(self.encoding, "surrogateescape" if self.encoding == "utf-8" else "surrogatepass")


def load_text(context: ToolContext, path: Path) -> TextFile:
    """Read a whole text file. Raises ToolError where it is missing, no regular file, not text, or larger than 32 MB."""
    shown = context.show(path)
    with open_regular(context, path) as file:
        if (size := os.fstat(file.fileno()).st_size) > MAX_EDITABLE:
            raise ToolError(f"{shown} has {size:,} bytes, too many to change here; use the shell")
        try:
            data = file.read(MAX_EDITABLE + 1)
        except OSError as error:  # a bad disk, or a file of the kernel's
            raise ToolError(f"{shown} can't be read: {error.strerror or error}") from error
    if kind := binary_kind(data[:8192]):
        raise ToolError(f"{shown} is {kind}, not text")
    for bom, encoding in BOMS:
        if data.startswith(bom):
            errors = "surrogateescape" if encoding == "utf-8" else "surrogatepass"
            return TextFile(data[len(bom) :].decode(encoding, errors), digest(data), bom, encoding)
    return TextFile(data.decode("utf-8", "surrogateescape"), digest(data))


def changed_since_seen(context: ToolContext, path: Path, now: str) -> bool:
    """True where the model saw this file and it is another one now. `now` is the digest of its content."""
    seen = context.seen.get(path)
    if seen is None or seen == now:
        return False
    return ":" not in seen or seen != stat_mark(path.stat())


def content_mark(path: Path) -> str:
    """What a file's content was, to be compared later; empty where there is no regular file. Blocking."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or in_use(path):
            return ""
        if status.st_size > MAX_EDITABLE:
            return stat_mark(status)
        return digest(path.read_bytes())
    except OSError:
        return ""


def save(context: ToolContext, path: Path, data: bytes) -> None:
    """Write a tool's new content: the snapshot for undo first, parents made, all or nothing. Raises ToolError."""
    allowed = context.allowed
    if allowed is not None and allowed.shown is not None and content_mark(path) != allowed.shown:
        raise ToolError(f"{context.show(path)} has changed since the user was shown what would become of it; try again")
    try:
        context.snapshot(context.turn, path, data)
        anchored.replace(path, data)
    except OSError as error:
        raise ToolError(
            f"{context.show(path)} can't be written: {error.strerror or error}; nothing was changed"
        ) from error
