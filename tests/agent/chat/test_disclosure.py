"""What is disclosed is disclosed once, and again when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.build import build
from agent.chat.disclosure import agree, pending
from agent.host import Host, Options
from agent.plugin import Disclosure, Plugin
from tests.support.program import endpoint_config, preset_text


class Discloses(Plugin):
    key = "panel: a.example"

    def disclosure(self, line: str) -> Disclosure | None:
        return Disclosure(self.key, "/quote") if line == "ask" else None


def test_once_and_again_when_it_changes(tmp_path: Path) -> None:
    plugin = Discloses()
    found = pending([Plugin(), plugin], "ask", tmp_path / "state")
    assert found is not None
    assert pending([plugin], "look", tmp_path / "state") is None
    agree(found, tmp_path / "state")
    assert pending([plugin], "ask", tmp_path / "state") is None
    plugin.key = "panel: a.example, b.example"
    assert pending([plugin], "ask", tmp_path / "state") is not None


def test_a_state_folder_that_can_not_be_written_asks_again(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    found = pending([Discloses()], "ask", tmp_path / "state")
    assert found is not None
    agree(found, tmp_path / "state")
    assert pending([Discloses()], "ask", tmp_path / "state") == found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "panel.toml").write_text(preset_text(["fake:a"]))
    more = '[endpoints.far]\nbase_url = "https://far.example/v1"\n'
    (tmp_path / "config.toml").write_text(endpoint_config("http://127.0.0.1:9/v1", model="fake:m") + more)
    (tmp_path / "presets" / "away.toml").write_text(preset_text(["far:a"]))
    env = {f"MOA_{kind}_DIR": str(tmp_path) for kind in ("CONFIG", "STATE", "CACHE")}
    host = build(Options(cwd=tmp_path, plugins={"moa": {"preset": "panel"}}), env=env)
    yield host
    asyncio.run(host.aclose())


@pytest.mark.parametrize(
    ("line", "key", "off"),
    [
        ("a question", "moa panel: this machine", "/moa off"),
        ("/moa ask a question", "moa panel: this machine", ""),
        ("/moa ask @away a question", "moa away: far.example, this machine", ""),
    ],
)
def test_a_panel_names_who_will_receive_the_conversation(host: Host, line: str, key: str, off: str) -> None:
    found = [found for plugin in host.plugins if (found := plugin.disclosure(line))]
    assert [(one.key, one.off) for one in found] == [(key, off)]


@pytest.mark.parametrize("line", ["/moa status", "!ls", "/help", "/moa ask @nosuch hi"])
def test_what_sends_nothing_to_a_panel_discloses_nothing(host: Host, line: str) -> None:
    assert not [found for plugin in host.plugins if (found := plugin.disclosure(line))]
