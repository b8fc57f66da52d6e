"""The text in a file that a person wrote: UTF-8, or what a byte order mark says that it is."""

from __future__ import annotations

import codecs
import errno
from pathlib import Path

from agent.files.own_files import read_bytes

# The longer marks first: UTF-32's begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks. Editors on Windows write the first by default, its shells the fourth."""

MOST = 2**18
"""Bytes. Settings and presets that people write have a hundredth of it; a repository may hold gigabytes of zeros under such a name."""


def encoding_of(data: bytes) -> tuple[str, int]:
    """The encoding that a file's first bytes tell of, and the length of the mark."""
    return next(((name, len(mark)) for mark, name in MARKS if data.startswith(mark)), ("utf-8", 0))


def decode(data: bytes, errors: str = "strict") -> str:
    """The text of a whole file, its mark left out, line ends as they are. Raises UnicodeDecodeError where `errors` is strict."""
    encoding, mark = encoding_of(data)
    return data[mark:].decode(encoding, errors)


def read(path: Path) -> str:
    """A file's text, line ends made one kind. Raises OSError (where it is too large, too), UnicodeDecodeError."""
    data = read_bytes(path, MOST + 1)
    if len(data) > MOST:
        raise OSError(errno.EFBIG, f"it is larger than {MOST // 2**10} KB", str(path))
    return decode(data).replace("\r\n", "\n")
