"""Copying and notifying through terminals, multiplexers and tools."""

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path

import pytest

from agent.ui import notify
from agent.ui.clipboard import TERMINAL_LIMIT, Copied, copy, osc52, through_multiplexer, tool


def has(*names: str):  # type: ignore[no-untyped-def]
    return lambda name: f"/bin/{name}" if name in names else None


def test_osc52_carries_the_text() -> None:
    sequence = osc52("grüße 漢", {})
    assert sequence.startswith("\x1b]52;c;")
    assert base64.b64decode(sequence[len("\x1b]52;c;") : -1]).decode() == "grüße 漢"


def test_tmux_gets_it_wrapped_with_doubled_escapes() -> None:
    assert through_multiplexer("\x1b]52;c;eA==\x07", {"TMUX": "/tmp/t"}) == "\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\"


def test_screen_gets_it_in_pieces_that_fit() -> None:
    wrapped = osc52("x" * 3000, {"STY": "1.pts"})
    pieces = wrapped.split("\x1b\\")[:-1]
    assert all(piece.startswith("\x1bP") and len(piece) < 768 for piece in pieces)
    assert "".join(piece[2:] for piece in pieces) == osc52("x" * 3000, {})


@pytest.mark.parametrize(
    ("env", "platform", "installed", "first"),
    [
        ({"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"}, "linux", ("wl-copy", "xclip"), "wl-copy"),
        ({"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"}, "linux", ("xclip",), "xclip"),
        ({"DISPLAY": ":0"}, "linux", ("xsel",), "xsel"),
        ({}, "linux", ("xclip", "wl-copy"), None),
        ({}, "darwin", ("pbcopy",), "pbcopy"),
        ({"SSH_TTY": "/dev/pts/1", "DISPLAY": ":10"}, "linux", ("xclip",), None),
        ({"SSH_TTY": "/dev/pts/1", "TMUX": "/tmp/t"}, "linux", ("tmux", "xclip"), "tmux"),
    ],
)
def test_the_tool_is_that_of_the_session(
    env: dict[str, str], platform: str, installed: tuple[str, ...], first: str | None
) -> None:
    command = tool(env, platform=platform, which=has(*installed))
    assert (command[0] if command else None) == first


def run(text: str, command: list[str] | None, written: list[str]) -> Copied:
    return asyncio.run(copy(text, written.append, env={}, find=lambda _env: command))


def test_the_terminal_and_the_tool_both_get_the_text(tmp_path: Path) -> None:
    written: list[str] = []
    out = tmp_path / "clipboard"
    program = f"import sys; open({str(out)!r}, 'wb').write(sys.stdin.buffer.read())"
    done = run("hé\n", [sys.executable, "-c", program], written)
    assert out.read_bytes() == "hé\n".encode()
    assert written == [osc52("hé\n", {})]
    assert done.tool == sys.executable


@pytest.mark.parametrize("command", [["/nowhere/xclip"], [sys.executable, "-c", "raise SystemExit(1)"], None])
def test_without_a_tool_that_works_the_terminal_has_it(command: list[str] | None) -> None:
    assert run("x", command, []) == Copied(True, None)


def test_a_text_that_terminals_may_refuse_is_said_to_be_long() -> None:
    done = run("x" * TERMINAL_LIMIT, None, [])
    assert done.long
    assert "may refuse" in str(done)


def test_without_terminal_and_tool_nothing_is_claimed() -> None:
    assert "not copied" in str(asyncio.run(copy("x", None, env={}, find=lambda _env: None)))


# Notifications


@pytest.mark.parametrize(
    ("env", "by"),
    [
        ({"TERM_PROGRAM": "iTerm.app"}, "osc9"),
        ({"TERM": "xterm-kitty"}, "osc9"),
        ({"TERM": "foot"}, "osc777"),
        ({"TERM": "xterm-256color"}, "bell"),
        ({"TERM": "xterm-256color", "WT_SESSION": "1"}, "bell"),
        ({}, "bell"),
    ],
)
def test_the_way_is_recognised(env: dict[str, str], by: str) -> None:
    assert notify.recognise(env) == by


def test_a_models_words_can_not_end_the_sequence_or_forge_a_field() -> None:
    sent = notify.sequence("moa", "done\x07\x1b]0;owned\x07;really\u202e", "osc777", {})
    assert sent == "\x1b]777;notify;moa;done]0,owned,really\x07"


def test_off_is_silent_and_the_bell_is_not_wrapped() -> None:
    assert notify.sequence("a", "b", "off", {}) == ""
    assert notify.sequence("a", "b", "bell", {"TMUX": "x"}) == "\x07"
    assert notify.sequence("a", "b", "osc9", {"TMUX": "x"}).startswith("\x1bPtmux;")
