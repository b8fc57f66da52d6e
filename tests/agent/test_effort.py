"""The main model's thinking: who says how deep it goes, and what a face shows of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from agent.build import build
from agent.chat.events import Refused, Shown
from agent.config.config import load_config
from agent.errors import UsageError
from agent.events import Notice
from agent.host import Options
from agent.plugin import Plugin
from agent.ui.text import render
from agent.ui.tui.host_status import glance
from agent.ui.tui.status import Status, status_content
from tests.support.agent import CONFIG
from tests.support.chatbench import ChatBench

OPUS = CONFIG.replace('model = "fake:main"', 'model = "fake:claude-opus-5-5"')


class Brings(Plugin):
    """Says the main model's reasoning effort, as a preset on the command line does."""

    name = "brings"

    def main_effort(self) -> Any:
        return "low"


def asked(bench: ChatBench) -> list[str | None]:
    return [request.reasoning for request in bench.client.requests]


def shown(bench: ChatBench) -> list[str]:
    return [render(event.view) for event in bench.all(Shown)]


def refused(bench: ChatBench) -> list[str]:
    return [f"{event.message} — {event.remedy}" for event in bench.all(Refused)]


@pytest.mark.parametrize(
    ("config", "option", "brought", "expected"),
    [
        (None, None, False, None),
        ("medium", None, False, "medium"),
        ("medium", None, True, "low"),
        ("medium", "max", True, "max"),
    ],
)
def test_the_command_line_then_the_preset_then_the_config(
    tmp_path: Path, config: str | None, option: Any, brought: bool, expected: str | None
) -> None:
    text = f'effort = "{config}"\n{CONFIG}' if config else CONFIG
    plugins = {"brings": lambda _host: Brings()} if brought else {}
    options = Options(cwd=tmp_path / "work", effort=option)
    bench = ChatBench(tmp_path, config=text, options=options, plugins=plugins)
    bench.run("hi")
    assert asked(bench) == [expected]


def test_effort_changes_in_mid_session_and_is_kept_with_it(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, config=OPUS)
    bench.run("/effort high", "hi", "/effort high", "/effort low", "again", "/effort", "/effort hihg")
    first, same, changed, look = shown(bench)
    # Nothing was said yet, or nothing changes: nothing is read again.
    assert "effort high" in first and "again at" not in first + same
    assert re.search(r"reads this conversation again at the next call: about \d+ tokens", changed)
    assert "low, medium, high, xhigh, max" in look
    assert asked(bench) == ["high", "low"]
    assert "did you mean /effort high?" in refused(bench)[0]
    again = ChatBench(tmp_path, config=OPUS, options=Options(resume_latest=True, cwd=bench.work))
    again.run("/effort default", "on")
    assert asked(again) == [None]
    unknown = ChatBench(tmp_path, config=CONFIG)
    unknown.run("hi", "/effort high")
    assert "may read this conversation again" in shown(unknown)[0]


def test_no_thinking_on_a_model_that_always_thinks_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, config=f'effort = "none"\n{OPUS}')
    bench.run(
        "hi", "/effort none", "/effort low", "hi", "/model fake:other", "/effort none", "/model fake:claude-fable-5-2"
    )
    no_turn, no_level, no_model = refused(bench)
    for told in (no_turn, no_level, no_model):
        assert "always thinks: its effort can't be none — take its lowest level, low, or another model" in told
    assert asked(bench) == ["low"]
    assert str(bench.chat.host.agent.model) == "fake:other"


def test_a_level_that_the_model_does_not_have_is_told(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, config=OPUS, options=Options(cwd=tmp_path / "work"))
    bench.run("/effort minimal")
    assert "has no level minimal (it has low, medium, high, xhigh, max)" in shown(bench)[0]
    notices: list[str] = []
    options = Options(cwd=bench.work, effort="minimal")
    host = build(options, env=bench.env, makers={})
    notices += [f"{code}: {text}" for code, text in host.found]
    host.agent.session.close()
    host.agent.ledger.close()
    assert notices == ["effort: fake:claude-opus-5-5 has no level minimal (it has low, medium, high, xhigh, max): "
                       "nothing is sent, so its default applies"]  # fmt: skip


def test_the_status_line_shows_it(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path, config=f'effort = "high"\n{CONFIG}')

    async def look() -> None:
        assert glance(bench.chat.host)["effort"] == "high"

    bench.run(look)
    assert status_content(Status(model="a:m", effort="high", mode="ask"), 80).plain == "a:m · effort high · $0 · ask"
    assert not bench.all(Notice)


@pytest.mark.parametrize(
    ("text", "env", "told"),
    [
        ('effort = "hard"', {}, "effort is 'hard'"),
        ("effort = 3", {}, "effort"),
        ("", {"MOA_EFFORT": "hard"}, "MOA_EFFORT is 'hard'"),
    ],
)
def test_another_word_is_an_error(tmp_path: Path, text: str, env: dict[str, str], told: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    folders = {f"MOA_{kind}_DIR": str(tmp_path) for kind in ("CONFIG", "STATE", "CACHE")}
    with pytest.raises(UsageError, match=told):
        load_config({**folders, **env})
    assert load_config({**folders, "MOA_CONFIG_DIR": str(tmp_path / "no"), "MOA_EFFORT": "xhigh"}).effort == "xhigh"
