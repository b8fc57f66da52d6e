"""Writing into the user's own file without hurting it, and reading the [ui] section."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import edit
from agent.config.config import load_config
from agent.errors import UsageError
from agent.ui import settings as uisettings

FILE = """# my settings
model = "a:b"  # the good one

[budget]
# not more
day_usd = 5.0
"""


def load(folder: Path):  # type: ignore[no-untyped-def]
    return load_config({f"MOA_{kind}_DIR": str(folder) for kind in ("CONFIG", "STATE", "CACHE")})


def test_one_value_changes_and_every_comment_stays(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(FILE)
    edit.set_value(file, ("model",), "c:d")
    assert file.read_text() == FILE.replace('"a:b"', '"c:d"')


def test_a_new_top_level_key_stands_before_the_tables(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("# mine\n[budget]\nday_usd = 5.0\n")
    edit.set_value(file, ("model",), "c:d")
    config = load(tmp_path)
    assert (config.model, config.budget.day_usd) == ("c:d", 5.0)
    assert "# mine" in file.read_text()


def test_an_endpoint_and_the_model_are_written_together(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.toml"
    edit.update(file, {("endpoints", "mine", "base_url"): "http://127.0.0.1:1/v1", ("model",): "mine:m"})
    config = load(file.parent)
    assert (config.model, config.endpoints["mine"].base_url) == ("mine:m", "http://127.0.0.1:1/v1")


@pytest.mark.parametrize("text", ["model = ", 'ui = "dark"\n'])
def test_a_file_that_is_not_as_it_should_be_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(UsageError):
        edit.set_value(file, ("ui", "theme"), "nord")
    assert file.read_text() == text


def test_the_ui_section_is_read_when_a_face_asks(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[ui]\ntheme = "nord"\nmouse = false\nnotify = "bell"\nnotify_after_s = 0\n')
    settings = uisettings.read(load(tmp_path))
    assert settings == uisettings.UiSettings(theme="nord", mouse=False, notify="bell", notify_after_s=0.0)


@pytest.mark.parametrize("line", ['notify = "loud"', "themes = 1", "mouse = 1"])
def test_a_wrong_ui_section_names_file_and_key(tmp_path: Path, line: str) -> None:
    (tmp_path / "config.toml").write_text(f"[ui]\n{line}\n")
    with pytest.raises(UsageError, match=r"config\.toml: ui\."):
        uisettings.read(load(tmp_path))
