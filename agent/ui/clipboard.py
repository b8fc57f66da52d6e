"""Copying text where the user sits, over SSH and inside tmux or screen too.

The terminal is asked first (OSC 52: it works over any number of hops), then the platform's own tool, because many terminals refuse
OSC 52 without a word. Over SSH a tool would fill the clipboard of the wrong machine, so none is run there.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from agent.process import children

SCREEN_CHUNK = 500
"""Bytes of one of screen's pass-through strings, which it cuts at 768 with its own bytes in it."""
TERMINAL_LIMIT = 100_000
"""Base64 characters that terminals commonly take in one OSC 52 (xterm, and those that follow it); longer ones may be dropped."""
TOOL_S = 2.0


class Copied(NamedTuple):
    """What was done: asked of the terminal, taken by a tool (its name), and whether the terminal may have found it too long."""

    terminal: bool
    tool: str | None
    long: bool = False

    def __str__(self) -> str:
        if self.tool:
            return f"copied ({self.tool})"
        if not self.terminal:
            return "not copied: there is neither a terminal nor a clipboard tool"
        if self.long:
            return "sent to the terminal's clipboard, which may refuse so long a text; /export writes a file"
        return "copied (terminal)"


def through_multiplexer(sequence: str, env: Mapping[str, str] = os.environ) -> str:
    """An escape sequence so wrapped that tmux or screen hands it on to the terminal around it."""
    if env.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if env.get("STY"):
        chunks = (sequence[at : at + SCREEN_CHUNK] for at in range(0, len(sequence), SCREEN_CHUNK))
        return "".join(f"\x1bP{chunk}\x1b\\" for chunk in chunks)
    return sequence


def osc52(text: str, env: Mapping[str, str] = os.environ) -> str:
    """The sequence that puts a text on the terminal's clipboard."""
    body = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    return through_multiplexer(f"\x1b]52;c;{body}\x07", env)


def tool(
    env: Mapping[str, str] = os.environ,
    *,
    platform: str = sys.platform,
    which: Callable[[str], str | None] = children.program,
) -> Sequence[str] | None:
    """The command that takes a text on standard input and puts it on the clipboard; None where there is none for this session."""
    if env.get("TMUX") and which("tmux"):
        # By default tmux ignores what programs inside of it ask of the clipboard; its own command it obeys, and with -w
        # (tmux 3.2) it hands the text on to the terminal, wherever that is.
        return ("tmux", "load-buffer", "-w", "-")
    if env.get("SSH_CONNECTION") or env.get("SSH_TTY"):
        return None
    if platform == "darwin":
        candidates: list[tuple[str, ...]] = [("pbcopy",)]
    elif platform == "win32":
        candidates = [("clip",)]
    else:
        candidates = []
        if env.get("WAYLAND_DISPLAY"):
            candidates.append(("wl-copy",))
        if env.get("DISPLAY"):
            candidates += [("xclip", "-selection", "clipboard"), ("xsel", "--clipboard", "--input")]
        if env.get("WSL_DISTRO_NAME"):
            candidates.append(("clip.exe",))
    return next((command for command in candidates if which(command[0])), None)


async def copy(
    text: str,
    write: Callable[[str], None] | None,
    *,
    env: Mapping[str, str] = os.environ,
    find: Callable[[Mapping[str, str]], Sequence[str] | None] = tool,
) -> Copied:
    """Put a text on the clipboard. `write` sends a string to the terminal as it is; None where there is no terminal. Never raises."""
    sequence = osc52(text, env)
    if write is not None:
        write(sequence)
    command = find(env)
    ran = command is not None and await _run(command, text)
    return Copied(write is not None, command[0] if ran and command else None, len(sequence) > TERMINAL_LIMIT)


async def _run(command: Sequence[str], text: str) -> bool:
    """Feed a tool; False where it fails. xclip and wl-copy leave a child behind that serves the clipboard, so nobody waits for their output."""
    try:
        process = await children.start(
            command, env=children.environment("desktop"), stdin=asyncio.subprocess.PIPE, new_session=False
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(TOOL_S):
            await process.communicate(text.encode("utf-8", "replace"))
    except TimeoutError:
        process.kill()
        await process.wait()
        return False
    except (BrokenPipeError, ConnectionResetError):
        return False
    return process.returncode == 0
