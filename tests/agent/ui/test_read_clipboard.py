"""Reading the clipboard with each platform's tools."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import pytest

from agent.llm.messages import ImagePart
from agent.ui.mentions import MAX_IMAGE
from agent.ui.read_clipboard import reader, run_tool

PNG = b"\x89PNG\r\n\x1a\n..."


def read(env: dict[str, str], answers: Mapping[str, bytes], *, platform: str = "linux") -> object:
    def run(command: Sequence[str]) -> bytes | None:
        return answers.get(" ".join(command))

    found = reader(env, platform=platform, which=lambda name: name, run=run)
    return "nobody" if found is None else found()


WAYLAND = {"WAYLAND_DISPLAY": "w"}
X11 = {"DISPLAY": ":0"}


@pytest.mark.parametrize(
    ("env", "answers"),
    [
        (WAYLAND, {"wl-paste --list-types": b"text/plain\nimage/png\n", "wl-paste --no-newline --type image/png": PNG}),
        (
            X11,
            {
                "xclip -selection clipboard -o -t TARGETS": b"TARGETS\nimage/png\n",
                "xclip -selection clipboard -o -t image/png": PNG,
            },
        ),
    ],
)
def test_an_image_is_taken_where_one_is_offered(env: dict[str, str], answers: dict[str, bytes]) -> None:
    found = read(env, answers)
    assert isinstance(found, ImagePart)
    assert (found.media_type, base64.b64decode(found.data)) == ("image/png", PNG)


def test_a_mac_gives_its_image_in_hexadecimal() -> None:
    printed = "«data PNGf".encode() + PNG.hex().upper().encode() + "»\n".encode()
    found = read({}, {"osascript -e get the clipboard as «class PNGf»": printed}, platform="darwin")
    assert isinstance(found, ImagePart)
    assert base64.b64decode(found.data) == PNG
    assert read({}, {"pbpaste": b"words"}, platform="darwin") == "words"


def test_else_it_is_a_text_or_nothing() -> None:
    assert read(WAYLAND, {"wl-paste --list-types": b"text/plain", "wl-paste --no-newline": "grüße".encode()}) == "grüße"
    assert read(X11, {}) is None


def test_an_image_that_is_too_large_is_no_image() -> None:
    large = {"wl-paste --list-types": b"image/png", "wl-paste --no-newline --type image/png": b"x" * (MAX_IMAGE + 1)}
    assert read(WAYLAND, large) is None


@pytest.mark.parametrize("env", [{}, {"SSH_TTY": "/dev/pts/0", "DISPLAY": ":10"}])
def test_where_the_clipboard_is_elsewhere_nobody_reads(env: dict[str, str]) -> None:
    assert read(env, {}) == "nobody"


def test_a_tool_that_is_missing_or_fails_gives_nothing() -> None:
    assert run_tool(["/nowhere/xclip"]) is None
    assert run_tool(["false"]) is None
    assert run_tool(["echo", "hi"]) == b"hi\n"
