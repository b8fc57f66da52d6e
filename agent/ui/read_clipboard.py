"""Reading the clipboard of the machine the user sits at: an image where there is one, else a text. Blocking: for a thread.

Terminals paste text by themselves; this is for what they can't paste. Over SSH the clipboard is elsewhere, and nothing is read.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence

from agent.llm.messages import ImagePart
from agent.process import children
from agent.ui.mentions import MAX_IMAGE

Run = Callable[[Sequence[str]], "bytes | None"]
IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif")
TOOL_S = 2.0


def run_tool(command: Sequence[str]) -> bytes | None:
    """What a tool prints; None where it fails."""
    done = children.run(command, env=children.environment("desktop"), timeout_s=TOOL_S)
    return done.stdout if done is not None and done.returncode == 0 else None


def reader(
    env: Mapping[str, str] = os.environ,
    *,
    platform: str = sys.platform,
    which: Callable[[str], str | None] = children.program,
    run: Run = run_tool,
) -> Callable[[], ImagePart | str | None] | None:
    """What reads the clipboard here; None where nothing can."""
    if env.get("SSH_CONNECTION") or env.get("SSH_TTY"):
        return None
    if platform == "darwin":
        return lambda: _mac_image(run) or _text(run(("pbpaste",)))
    if env.get("WAYLAND_DISPLAY") and which("wl-paste"):
        return lambda: _offered(run, ("wl-paste", "--list-types"), ("wl-paste", "--no-newline"), "--type")
    if env.get("DISPLAY") and which("xclip"):
        out = ("xclip", "-selection", "clipboard", "-o")
        return lambda: _offered(run, (*out, "-t", "TARGETS"), out, "-t")
    if env.get("DISPLAY") and which("xsel"):
        return lambda: _text(run(("xsel", "--clipboard", "--output")))
    return None


def _offered(run: Run, types: Sequence[str], get: Sequence[str], option: str) -> ImagePart | str | None:
    """The best of what the clipboard's owner offers."""
    offered = (run(types) or b"").decode("ascii", "replace").split()
    for kind in IMAGES:
        if kind in offered and (image := _image(kind, run((*get, option, kind)))):
            return image
    return _text(run(get))


def _image(kind: str, data: bytes | None) -> ImagePart | None:
    if not data or len(data) > MAX_IMAGE:
        return None
    return ImagePart(media_type=kind, data=base64.b64encode(data).decode("ascii"))


def _mac_image(run: Run) -> ImagePart | None:
    printed = run(("osascript", "-e", "get the clipboard as «class PNGf»")) or b""
    found = re.search(rb"PNGf([0-9A-Fa-f]+)", printed)
    return _image("image/png", bytes.fromhex(found[1].decode())) if found else None


def _text(data: bytes | None) -> str | None:
    return data.decode("utf-8", "replace") if data else None
