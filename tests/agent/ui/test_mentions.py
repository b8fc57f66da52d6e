"""Mentions of files, and images among them."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from agent.errors import UsageError
from agent.files.deny_paths import DenyPaths
from agent.ui.mentions import MAX_IMAGE, is_image, load_image, load_images, mention, mentions

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 30


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("look at @a.py and @src/b.py", ["a.py", "src/b.py"]),
        ('(@"with space.png") twice @a @a', ["with space.png", "a"]),
        ("mail me@host.example, @", []),
        ("first line\n@second", ["second"]),
    ],
)
def test_what_is_a_mention(text: str, found: list[str]) -> None:
    assert mentions(text) == found


@pytest.mark.parametrize("path", ["a.py", "dir/with space/x.png", "ü/漢字.md"])
def test_a_written_mention_is_found_again(path: str) -> None:
    assert mentions(f"see {mention(path)} there") == [path]


def test_images_become_parts_and_the_rest_stays_text(tmp_path: Path) -> None:
    (tmp_path / "shot.PNG").write_bytes(PNG)
    (tmp_path / "photo.jpg").write_bytes(b"RIFF....WEBPrest")
    (tmp_path / "notes.md").write_text("x")
    parts = load_images("@shot.PNG @photo.jpg @notes.md @gone.png @shot.PNG", tmp_path, DenyPaths((), tmp_path))
    assert [part.media_type for part in parts] == ["image/png", "image/webp"]
    assert base64.b64decode(parts[0].data) == PNG


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("big.png", PNG + b"\0" * MAX_IMAGE, "5.0 MB"),
        ("fake.gif", b"not an image", "not a PNG, JPEG"),
        ("secret/x.png", PNG, "deny_paths"),
    ],
)
def test_an_image_that_can_not_be_sent_says_why(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match=words):
        load_images(f"@{name}", tmp_path, DenyPaths(("**/secret/**",), tmp_path))


def test_a_link_to_a_denied_image_is_denied(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/x.png").write_bytes(PNG)
    (tmp_path / "link.png").symlink_to("secret/x.png")
    with pytest.raises(UsageError, match="deny_paths"):
        load_images("@link.png", tmp_path, DenyPaths(("**/secret/**",), tmp_path))


def test_a_pipe_in_the_place_of_an_image_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "shot.png")
    with pytest.raises(UsageError, match="not a regular file"):
        load_image(tmp_path / "shot.png", tmp_path, DenyPaths((), tmp_path))


def test_images_are_told_by_their_ending() -> None:
    assert is_image("a/B.JPeG")
    assert not is_image("a.pngx")
