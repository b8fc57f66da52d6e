"""`@path` in what a user types: how a mention is written and found, and images among them as attachments."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.files.deny_paths import denial
from agent.files.in_use import in_use
from agent.files.own_files import read_bytes
from agent.llm.messages import ImagePart
from agent.text.images import KINDS, media_type

if TYPE_CHECKING:
    from agent.files.deny_paths import DenyPaths

MAX_IMAGE = 5 * 1024 * 1024
"""Bytes. What the strictest of the large providers takes for one image (Anthropic, "Vision", API limits)."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp")

# A mention begins a word; with quotes it may hold spaces. `me@host` is none.
_MENTION = re.compile(r"""(?<![^\s(\["'])@(?:"([^"\n]+)"|([^\s"]+))""")


def mention(path: str) -> str:
    """A path as a mention: in quotes where it has spaces."""
    return f'@"{path}"' if re.search(r"[\s]", path) else f"@{path}"


def mentions(text: str) -> list[str]:
    """The paths that a text mentions, in order, each once."""
    return list(dict.fromkeys(quoted or plain for quoted, plain in _MENTION.findall(text)))


def smuggled(pasted: str) -> list[str]:
    """The images that a pasted text mentions among other words. Whoever wrote it would choose what is sent, so they stay text; a mention
    that is all that was pasted is meant."""
    found = [path for path in mentions(pasted) if is_image(path)]
    return [] if len(found) == 1 and pasted.strip() in (f"@{found[0]}", f'@"{found[0]}"') else found


def without(text: str, paths: Iterable[str]) -> str:
    """A text without the mentions of these."""
    for path in paths:
        text = text.replace(f'@"{path}"', "").replace(f"@{path}", "")
    return text


def is_image(path: str) -> bool:
    """Whether a path names an image, by its ending."""
    return path.lower().endswith(IMAGE_SUFFIXES)


def load_images(text: str, root: Path, deny: DenyPaths) -> list[ImagePart]:
    """The images that a text mentions (`@shot.png`), read from the disk: to be called in a thread.

    A mention of a file that is not there stays text, as does a mention of anything else: the model reads it with its tool. Raises
    UsageError for an image that can't be sent.
    """
    plain = "without the @ its name is plain text"
    return [load_image(path, root, deny, no_image=plain) for name in mentions(text) if (path := _existing(name, root))]


def load_image(
    path: Path, root: Path, deny: DenyPaths, *, no_image: str = "give a file of one of these kinds"
) -> ImagePart:
    """One image. What it is, its content says, not its name. Raises UsageError where it is denied, too large, unreadable or no image
    (`no_image`: what to do then)."""
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    if pattern := deny.match(path):
        raise UsageError(denial(shown, pattern), remedy="choose another file")
    if in_use(path):
        raise UsageError(f"{shown} is this program's own ledger", remedy="choose another file")
    try:
        data = read_bytes(path, MAX_IMAGE + 1)
    except OSError as error:
        raise UsageError(f"{shown} can't be read: {error.strerror}", remedy="choose another file") from error
    if len(data) > MAX_IMAGE:
        size = path.stat().st_size / 1024 / 1024
        raise UsageError(f"{shown} has {size:.1f} MB; an image may have 5", remedy="make it smaller")
    kind = media_type(data)
    if kind is None:
        raise UsageError(f"{shown} is not a {KINDS} image", remedy=no_image)
    return ImagePart(media_type=kind, data=base64.b64encode(data).decode("ascii"))


def _existing(name: str, root: Path) -> Path | None:
    if not is_image(name):
        return None
    try:
        path = root / Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None
