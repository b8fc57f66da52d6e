"""The app with the real widgets on a real host: what is typed arrives, what happens is shown, nothing is lost, nobody quits by accident."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events
from textual.drivers.headless_driver import HeadlessDriver

from agent.chat.events import Action
from agent.errors import UsageError
from agent.events import TurnFinished
from agent.ui.clipboard import osc52
from agent.ui.tui.composer.composer import Composer
from agent.ui.tui.counsel.inspector import Inspector
from agent.ui.tui.counsel.panel import PanelView
from agent.ui.tui.dialogs.approve import ApprovalBar
from agent.ui.tui.dialogs.consent import Consent
from agent.ui.tui.dialogs.help import Help
from agent.ui.tui.dialogs.picker import Chooser, Picker
from agent.ui.tui.quit import SecondPress
from tests.support.endpoint import ScriptedEndpoint
from tests.support.recorded import SCRIPT, read
from tests.support.script import Behaviour, Say, Script
from tests.support.stage import Stage

Start = Callable[..., Stage]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: ScriptedEndpoint) -> Stage:
    endpoint.script = SCRIPT
    return Stage(tmp_path, monkeypatch, endpoint.base_url)


def composer(stage: Stage) -> Composer:
    return stage.app.query_one(Composer)


async def choose(stage: Stage, name: str) -> None:
    await stage.until(lambda: stage.app.screen.query(Chooser))
    chooser = stage.app.screen.query_one(Chooser)
    chooser.post_message(Chooser.Chosen(name))
    await stage.pilot.pause()


def test_a_message_is_answered_and_leaving_names_the_way_back(stage: Stage, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(models={"main": Behaviour(steps=(Say(text="Hello **you**"),))})

    async def drive(stage: Stage) -> None:
        await stage.enter("hi")
        await stage.shows("Hello you")
        await stage.until(lambda: not stage.app.chat.busy)
        await stage.app.action_quit()

    app = stage.run(drive)
    session = next((stage.root / "state" / "sessions").glob("*.jsonl")).stem
    assert app.farewell == f"resume with: moa --resume {session}"


def test_a_chat_in_which_nothing_was_said_leaves_no_trace(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.app.action_quit()

    assert stage.run(drive).farewell == ""
    assert not list((stage.root / "state" / "sessions").glob("*.jsonl"))


def test_keys_that_come_at_once_keep_their_order(stage: Stage, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(models={"main": Behaviour(steps=(Say(text="heard"),))})

    async def drive(stage: Stage) -> None:
        for char in "hello":
            stage.app.post_message(events.Key(char, char))
        stage.app.post_message(events.Key("enter", "\r"))
        await stage.shows("heard", "› hello")

    stage.run(drive)


def test_esc_stops_the_turn_and_what_waited_comes_back(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.enter("begin")
        await stage.shows("One moment")
        await stage.enter("queued one")
        await stage.shows("queued: queued one")
        composer(stage).set_text("half typed")
        await stage.pilot.press("escape")
        await stage.shows("stopped by the user")
        await stage.until(lambda: not stage.app.chat.busy)
        assert composer(stage).text == "queued one\nhalf typed"
        await stage.shows("One moment")

    stage.run(drive, model="fake:endless")


def test_a_question_takes_the_composers_place_and_its_answer_runs_the_tool(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.enter("change the notes")
        await stage.shows("Allow this?")
        assert not composer(stage).display
        bar = stage.app.query_one(ApprovalBar)
        bar.action_choose(0)
        await stage.shows("the notes are changed")
        assert composer(stage).display
        assert composer(stage).editor.has_focus
        assert "line 3: something" in (stage.root / "project" / "notes.txt").read_text()
        # The tool's output is not in the way of undoing it.
        await stage.until(lambda: not stage.app.chat.busy)
        await stage.enter("/undo")
        await stage.shows("Restored")
        assert composer(stage).text == "change the notes"
        assert "line 3: nothing" in (stage.root / "project" / "notes.txt").read_text()

    stage.run(drive)


def test_counsel_is_agreed_to_once_then_shown_and_looked_into(stage: Stage) -> None:
    stage.preset("panel", "fake:first", "fake:second", "fake:broken", cadence="turn")

    async def drive(stage: Stage) -> None:
        await stage.enter("/moa panel")
        await stage.shows("Counsel is on")
        await stage.enter("change the notes")
        await stage.until(lambda: isinstance(stage.app.screen, Consent))
        await stage.shows("sends the conversation to this machine")
        await stage.pilot.press("escape")
        await stage.until(lambda: composer(stage).text == "change the notes")
        assert not stage.app.chat.busy
        composer(stage).action_enter()
        await stage.until(lambda: isinstance(stage.app.screen, Consent))
        await choose(stage, "yes")
        await stage.shows("2 of 3 answered · 1 agreed, 1 disputed")
        await stage.shows("Allow this?")
        stage.app.query_one(ApprovalBar).action_no()
        await stage.until(lambda: not stage.app.chat.busy)
        await stage.pilot.press("f4")
        await stage.until(lambda: isinstance(stage.app.screen, Inspector))
        await stage.shows("Disagreements")
        await stage.pilot.press("2")
        await stage.shows("Change line three.")
        await stage.pilot.press("escape")
        await stage.enter("once more")
        await stage.until(lambda: len(stage.app.work_log.groups) == 2)
        stage.app.chat.stop()
        await stage.until(lambda: not stage.app.chat.busy)

    stage.run(drive)
    assert "moa panel: this machine" in (stage.root / "state" / "agreed").read_text()


@pytest.mark.slow
def test_counsel_can_be_left_out_where_it_is_disclosed(stage: Stage, endpoint: ScriptedEndpoint) -> None:
    stage.preset("panel", "fake:first")

    async def drive(stage: Stage) -> None:
        await stage.enter("tell me")
        await stage.until(lambda: isinstance(stage.app.screen, Consent))
        await choose(stage, "without")
        await stage.shows("Allow this?")
        stage.app.chat.stop()
        await stage.until(lambda: not stage.app.chat.busy)

    stage.run(drive, plugins={"moa": {"preset": "panel"}})
    assert not endpoint.calls("first")


def test_ctrl_c_clears_then_asks_and_only_then_quits(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        composer(stage).set_text("precious")
        await stage.pilot.press("ctrl+c")
        assert composer(stage).text == ""
        assert stage.app.chat_is_open
        await stage.pilot.press("ctrl+c")
        await stage.shows("Again to quit")
        assert stage.app.is_running
        await stage.pilot.press("ctrl+c")
        await stage.until(lambda: stage.ended)

    stage.run(drive)


@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+d"])
def test_no_key_quits_by_one_press(stage: Stage, key: str) -> None:
    async def drive(stage: Stage) -> None:
        await stage.pilot.press(key)
        await stage.shows("Again to quit")
        assert not stage.ended

    stage.run(drive)


def test_two_presses_far_apart_are_two_first_ones() -> None:
    now = [0.0]
    twice = SecondPress(2.0, now=lambda: now[0])
    assert not twice.press()
    now[0] = 3.0
    assert not twice.press()
    now[0] = 4.0
    assert twice.press()


def test_help_lists_the_live_keys_and_every_command(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.pilot.press("f1")
        await stage.until(lambda: isinstance(stage.app.screen, Help))
        assert stage.app.commands is not None
        await stage.shows(
            "Send; while the agent works, queue",
            "Say it to the running turn now",
            "Open the last counsel",
            *(f"/{name}" for name in stage.app.commands.commands),
        )
        await stage.pilot.press("escape")
        assert not isinstance(stage.app.screen, Help)

    stage.run(drive, size=(100, 200))


def test_the_palette_is_a_second_door_to_the_commands(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        stage.app.from_palette("model", True)
        assert composer(stage).text == "/model "
        composer(stage).set_text("")
        stage.app.from_palette("context", False)
        await stage.shows("system prompt")
        await stage.pilot.press("ctrl+p")
        await stage.shows("/activity")
        await stage.pilot.press("escape")

    stage.run(drive)


def test_a_theme_is_used_and_remembered(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.enter("/theme nord")
        await stage.until(lambda: "nord" in stage.config_file.read_text())
        assert stage.app.theme == "nord"
        await stage.enter("/theme nrod")
        await stage.shows("did you mean nord?")
        await stage.enter("/theme")
        await stage.until(lambda: isinstance(stage.app.screen, Picker))
        await stage.pilot.pause()
        stage.app.screen.query_one(Chooser).post_message(Chooser.Highlighted("gruvbox"))
        await stage.pilot.pause()
        assert stage.app.theme == "gruvbox"
        await stage.pilot.press("escape")
        assert stage.app.theme == "nord"

    stage.run(drive)
    assert tomllib.loads(stage.config_file.read_text())["ui"] == {"theme": "nord"}


def test_the_settings_of_the_face_are_followed(stage: Stage) -> None:
    with stage.config_file.open("a") as file:
        file.write('[ui]\ntheme = "dracula"\nreduced_motion = true\n')

    async def drive(stage: Stage) -> None:
        assert stage.app.theme == "dracula"
        assert stage.app.animation_level == "none"

    stage.run(drive)


@pytest.mark.parametrize("line", ['theme = "no such theme"', "mouze = true", "mouse = 3"])
def test_a_wrong_setting_ends_the_start_with_its_name(stage: Stage, line: str) -> None:
    with stage.config_file.open("a") as file:
        file.write(f"[ui]\n{line}\n")

    async def drive(stage: Stage) -> None:
        await stage.until(lambda: stage.ended)

    app = stage.run(drive)
    assert isinstance(app.problem, UsageError)
    assert "config.toml: ui." in app.problem.message
    assert app.return_code == 2


def test_a_session_is_chosen_from_a_list_and_goes_on(stage: Stage, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(models={"main": Behaviour(steps=(Say(text="The first answer."),))})

    async def earlier(stage: Stage) -> None:
        await stage.enter("the first question")
        await stage.shows("The first answer.")
        await stage.until(lambda: not stage.app.chat.busy)

    async def later(stage: Stage) -> None:
        await stage.enter("/resume")
        await stage.until(lambda: isinstance(stage.app.screen, Picker))
        await stage.shows("the first question")
        await choose(stage, next((stage.root / "state" / "sessions").glob("*.jsonl")).stem)
        await stage.until(lambda: not isinstance(stage.app.screen, Picker))
        await stage.shows("The first answer.")

    stage.run(earlier)
    stage.run(later)


def test_copying_goes_to_the_terminal(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    written: list[str] = []

    async def drive(stage: Stage) -> None:
        monkeypatch.setattr(HeadlessDriver, "write", lambda _driver, data: written.append(data))
        stage.app.listen(Action(name="copy", text="two\nlines"))
        await stage.shows("copied (terminal)")

    stage.run(drive)
    assert osc52("two\nlines") in written


def test_only_a_long_turn_rings(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    async def drive(stage: Stage) -> None:
        monkeypatch.setattr(HeadlessDriver, "write", lambda _driver, data: written.append(data))
        finished = read()[-1]
        assert isinstance(finished, TurnFinished)
        stage.app.listen(finished)
        assert written == []
        long = TurnFinished(turn=finished.turn, status="done", text="All \x1b[2Jdone", duration_s=21.0)
        stage.app.listen(long)
        assert written == ["\x1b]9;moa: All [2Jdone\x07"]

    with stage.config_file.open("a") as file:
        file.write('[ui]\nnotify = "osc9"\n')
    stage.run(drive)


def test_text_that_is_typed_elsewhere_lands_in_the_composer(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.feed(read()[:10])
        await stage.until(lambda: stage.app.query_one(PanelView).display)
        await stage.pilot.press("f2")
        assert stage.app.query_one(PanelView).has_focus
        await stage.pilot.press("x")
        assert composer(stage).editor.has_focus
        assert composer(stage).text == "x"

    stage.run(drive)


def test_without_a_model_a_message_leads_to_the_first_run_and_is_kept(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.config_file.write_text("")
    for name in ("OPENROUTER_API_KEY", "MOA_MODEL"):
        monkeypatch.delenv(name, raising=False)

    async def nobody(*_args: object, **_more: object) -> list[object]:
        return []

    monkeypatch.setattr("agent.ui.first_run.discover", nobody)

    async def drive(stage: Stage) -> None:
        await stage.shows("Paste a key")
        await choose(stage, "later")
        await stage.until(lambda: len(stage.app.screen_stack) == 1)
        await stage.enter("/help")
        await stage.shows("/preset")
        await stage.enter("a question")
        await stage.shows("Paste a key")
        await choose(stage, "later")
        await stage.until(lambda: composer(stage).text == "a question")

    stage.run(drive)


def test_a_pasted_megabyte_and_hostile_text_do_no_harm(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        composer(stage).editor.insert_pasted("[/a/b] \x1b[2J" + "漢字é 👩‍👩‍👧 " * 60_000)
        await stage.pilot.pause()
        assert len(stage.text) < 10_000
        composer(stage).set_text("")

    stage.run(drive, size=(40, 12))
