"""Where something goes wrong around a message: nothing typed is lost, no value is shown, and no key agrees to what was not read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agent.build import build
from agent.errors import UsageError
from agent.host import Host, Options
from agent.ui.tui import app as app_module
from agent.ui.tui.composer.composer import Composer
from agent.ui.tui.dialogs.consent import Consent
from agent.ui.tui.dialogs.picker import KEYS_LIST, Chooser, Item, Picker
from tests.support.endpoint import ScriptedEndpoint
from tests.support.stage import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: ScriptedEndpoint) -> Stage:
    return Stage(tmp_path, monkeypatch, endpoint.base_url)


def composer(stage: Stage) -> Composer:
    return stage.app.query_one(Composer)


def options(stage: Stage) -> Options:
    return Options(cwd=stage.root / "project")


def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    real = app_module.ChatApp.run_async
    monkeypatch.setattr(app_module.ChatApp, "run_async", lambda self, **_more: real(self, headless=True))


def test_what_kept_the_chat_from_opening_is_raised_behind_the_screen(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_args: object, **_watch: object) -> Host:
        raise UsageError("the file is wrong", remedy="mend it")

    headless(monkeypatch)
    with pytest.raises(UsageError, match="the file is wrong"):
        app_module.run(build, options(stage))


def test_a_mistake_of_ours_shows_no_values_and_closes_the_session(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    closed = []

    def settle_in(app: app_module.ChatApp, _host: object) -> None:
        key = "sk-" + "very-secret"
        close = app.chat.aclose

        async def aclose() -> None:
            closed.append(app.chat.host.agent.session.id)
            await close()

        monkeypatch.setattr(app.chat, "aclose", aclose)
        raise RuntimeError(f"broken, {len(key)}")

    headless(monkeypatch)
    monkeypatch.setattr("agent.ui.tui.actions.settle_in", settle_in)
    with pytest.raises(RuntimeError, match="broken"):
        app_module.run(lambda wanted, **watch: build(wanted, env=os.environ, **watch), options(stage))
    printed = capfd.readouterr()
    assert "very-secret" not in printed.out + printed.err and "Traceback" not in printed.out + printed.err
    assert len(closed) == 1


def test_messages_keep_their_order_and_come_back_where_sending_breaks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    all_typed = asyncio.Event()

    async def agreed(_app: object, _chat: object, line: str) -> bool:
        if line == "first":
            await all_typed.wait()
        if line == "third":
            raise OSError("the disk is gone")
        sent.append(line)
        return False

    async def drive(stage: Stage) -> None:
        for line in ("first", "second", "third"):
            await stage.enter(line)
        all_typed.set()
        await stage.until(lambda: "third" in composer(stage).text)
        await stage.shows("the disk is gone")
        assert sent == ["first", "second"]
        assert composer(stage).text.split("\n") == ["third", "second", "first"]

    monkeypatch.setattr("agent.ui.tui.actions.agreed", agreed)
    stage.run(drive)


def test_keys_typed_ahead_agree_to_nothing(stage: Stage, endpoint: ScriptedEndpoint) -> None:
    stage.preset("panel", "fake:first")

    async def drive(stage: Stage) -> None:
        await stage.enter("tell me")
        await stage.until(lambda: isinstance(stage.app.screen, Consent) and stage.app.screen.query(Chooser))
        await stage.pilot.press("x", "enter", "y")
        assert isinstance(stage.app.screen, Consent)
        assert composer(stage).text == "xy"
        stage.app.screen.query_one(Chooser).post_message(Chooser.Chosen("back"))
        await stage.until(lambda: composer(stage).text == "tell me\nxy")

    stage.run(drive, plugins={"moa": {"preset": "panel"}})
    assert not endpoint.calls()


def test_the_tabs_of_a_commands_answer_are_one_key_away_and_a_notice_covers_no_typing(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.enter("/activity")
        await stage.shows("by model")
        await stage.pilot.press("f3", "right")
        await stage.shows("by role")
        composer(stage).set_text("being typed")
        stage.app.notify("[b]a notice", markup=False)
        await stage.shows("[b]a notice", "│ > being typed")
        assert next(line for line in stage.text.splitlines() if "being typed" in line).endswith(" │")

    stage.run(drive)


def read(stage: Stage) -> str:
    """What a dialog says, however its lines are broken."""
    return " ".join(stage.text.replace("│", " ").split())


@pytest.mark.parametrize("size", [(40, 12), (40, 24), (80, 14)])
def test_the_answers_of_a_disclosure_are_seen_on_every_screen(stage: Stage, size: tuple[int, int]) -> None:
    stage.preset("panel", "fake:first", "fake:second", "fake:third")

    async def drive(stage: Stage) -> None:
        await stage.enter("tell me")
        await stage.until(lambda: isinstance(stage.app.screen, Consent))
        await stage.shows("Send it ", "Send it without", "Not now")
        await stage.until(lambda: "conversation to this machine" in read(stage), 5)  # who receives it comes first
        for _ in range(40):
            await stage.pilot.press("pagedown")
            if "time that it adds" in read(stage):
                break
        else:
            raise AssertionError(stage.text)
        stage.app.screen.query_one(Chooser).post_message(Chooser.Chosen("back"))
        await stage.until(lambda: composer(stage).text == "tell me")

    stage.run(drive, size=size, plugins={"moa": {"preset": "panel"}})


def test_a_long_answer_of_a_command_is_read_from_its_beginning(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.enter("/help")
        await stage.until(lambda: stage.text.lstrip().startswith("› /help"))
        await stage.enter("/status")
        await stage.shows("› /status", "approval mode")

    stage.run(drive, size=(80, 16))


@pytest.mark.parametrize("size", [(80, 24), (60, 18)])
def test_a_long_list_leaves_room_for_its_keys(stage: Stage, size: tuple[int, int]) -> None:
    items = [
        Item(str(number), f"conversation {number}", "27 Nov 10:09, 4 messages, with a note") for number in range(30)
    ]

    async def drive(stage: Stage) -> None:
        stage.app.push_screen(Picker("Resume a session", items))
        await stage.shows("conversation 0", KEYS_LIST)

    stage.run(drive, size=size)
