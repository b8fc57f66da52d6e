"""What an image is, by its first bytes: what it says it is itself counts for nothing."""

from __future__ import annotations

import base64
import re

KINDS = "PNG, JPEG, GIF or WebP"
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]+={0,2}[\r\n]*")


def media_type(data: bytes) -> str | None:
    """The type of an image that can be sent to a model; None where it is none."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def media_type_of(data: str) -> str | None:
    """The same of an image that comes as base64."""
    if not _BASE64.fullmatch(data):
        return None
    try:
        head = base64.b64decode(data[:64] + "=" * (-len(data[:64]) % 4), validate=True)
    except ValueError:
        return None
    return media_type(head)
