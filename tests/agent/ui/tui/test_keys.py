"""Keys of the open chat: approval modes, going back, the transcript in full, help, and what a refused line leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.ui.tui.composer.composer import Composer
from agent.ui.tui.dialogs.full_text import FullText, Pages
from agent.ui.tui.dialogs.help import Help
from agent.ui.tui.dialogs.picker import Chooser, Picker
from agent.ui.tui.text.blocks import Prose
from agent.ui.words import failure
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script
from tests.support.stage import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: ScriptedEndpoint) -> Stage:
    endpoint.script = Script(models={"main": Behaviour(steps=(Say(text="Hello"),))})
    return Stage(tmp_path, monkeypatch, endpoint.base_url)


def composer(stage: Stage) -> Composer:
    return stage.app.query_one(Composer)


async def say(stage: Stage, text: str) -> None:
    await stage.enter(text)
    await stage.until(lambda: f"› {text}" in stage.text)
    await stage.until(lambda: not stage.app.chat.busy)
    await stage.settle()


def test_shift_tab_goes_through_the_approval_modes(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        approvals = stage.app.chat.host.agent.tools.approvals
        seen = []
        for _ in range(5):
            seen.append(approvals.mode)
            await stage.pilot.press("shift+tab")
            await stage.pilot.pause()
        assert seen == ["ask", "edits", "plan", "all", "deny"]
        await stage.shows("ask: What changes something")

    stage.run(drive)


def test_a_question_mark_is_help_only_where_nothing_is_typed(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.pilot.press("w", "question_mark")
        assert composer(stage).text == "w?"
        composer(stage).set_text("")
        await stage.pilot.press("question_mark")
        assert isinstance(stage.app.screen, Help)
        for words in (
            "The next approval mode",
            "The transcript in full",
            "back to an earlier message",
            "Help, when empty",
        ):
            assert words in stage.app.screen.query_one(Prose).text
        await stage.pilot.press("question_mark")
        assert not isinstance(stage.app.screen, Help) and composer(stage).text == ""

    stage.run(drive)


def test_esc_esc_goes_back_behind_a_message_with_the_files_or_without(stage: Stage, endpoint: ScriptedEndpoint) -> None:
    edit = ("edit", {"path": "notes.txt", "old": "line 1: nothing", "new": "line 1: something"})
    look = ("read", {"path": "notes.txt"})
    steps = (Say(tools=(look,)), Say(tools=(edit,)), Say(text="changed"))
    endpoint.script = Script(models={"main": Behaviour(first=(Say(text="Hello"),), steps=steps)})
    notes = stage.root / "project" / "notes.txt"

    async def back(stage: Stage, *chosen: str) -> None:
        await stage.pilot.press("escape", "escape")
        for each in chosen:
            await stage.until(lambda: isinstance(stage.app.screen, Picker))
            stage.app.screen.query_one(Chooser).post_message(Chooser.Chosen(each))
            await stage.pilot.pause()
        await stage.until(lambda: composer(stage).text)

    async def drive(stage: Stage) -> None:
        await say(stage, "greet me")
        await say(stage, "change it")
        await say(stage, "and leave")
        await back(stage, "1")
        assert composer(stage).text == "and leave" and "something" in notes.read_text()
        composer(stage).set_text("")
        await back(stage, "2", "keep")
        assert composer(stage).text == "greet me" and "something" not in notes.read_text()
        assert stage.app.chat.host.agent.session.head is None

    stage.run(drive, approve="all")


def test_the_transcript_opens_in_full_and_is_searched(stage: Stage, endpoint: ScriptedEndpoint) -> None:
    call = ("shell", {"command": "seq 1 400; echo needle; seq 401 800"})
    endpoint.script = Script(
        models={"main": Behaviour(steps=(Say(tools=(call,)), Say(text="word " * 60 + "all seen")))}
    )

    async def drive(stage: Stage) -> None:
        await say(stage, "count")
        await stage.pilot.press("ctrl+o")
        await stage.until(lambda: isinstance(stage.app.screen, FullText))
        await stage.shows("all seen")
        await stage.pilot.press("slash", *"needle", "enter")
        await stage.shows("of 2 places with 'needle'")
        assert stage.app.screen.query_one(Pages).selected_text == "needle"
        await stage.pilot.press("n", "escape")
        assert not isinstance(stage.app.screen, FullText)

    stage.run(drive, approve="all")


def test_a_refused_command_is_replaced_by_what_is_typed_next(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.enter("/thereisnone")
        await stage.until(lambda: composer(stage).text)
        await stage.pilot.press("/", "h", "e")
        assert composer(stage).text == "/he"
        composer(stage).set_text("half a thought")
        composer(stage).refuse("/thereisnone")
        assert composer(stage).text == "half a thought"
        composer(stage).set_text("")
        composer(stage).refuse("/thereisnone")
        await stage.pilot.press("ctrl+c")
        assert composer(stage).text == ""

    stage.run(drive)


def test_a_typed_line_for_agents_md_is_asked_about_and_a_pasted_one_is_a_message(stage: Stage) -> None:
    file = stage.root / "project" / "AGENTS.md"
    file.write_text("Be brief.")
    own = stage.root / "config" / "AGENTS.md"

    async def note(stage: Stage, choice: str | None) -> None:
        await stage.pilot.press(*"# use tabs", "enter")
        await stage.until(lambda: isinstance(stage.app.screen, Picker))
        if choice is None:
            await stage.pilot.press("escape")
        else:
            stage.app.screen.query_one(Chooser).post_message(Chooser.Chosen(choice))
        await stage.until(lambda: not isinstance(stage.app.screen, Picker))

    async def drive(stage: Stage) -> None:
        await note(stage, None)
        await stage.until(lambda: composer(stage).text == "# use tabs")
        assert file.read_text() == "Be brief."
        await stage.pilot.press("ctrl+c")
        await note(stage, "project")
        await stage.until(lambda: file.read_text() == "Be brief.\n- use tabs\n")
        await note(stage, "user")
        await stage.until(lambda: own.exists() and own.read_text() == "- use tabs\n")
        composer(stage).editor.insert_pasted("# a heading")
        await stage.pilot.press("enter")
        await stage.shows("› # a heading")
        await stage.until(lambda: not stage.app.chat.busy)
        assert file.read_text() == "Be brief.\n- use tabs\n"

    stage.run(drive)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\ntwo\n[exit code 3]", "exit code 3: two"),
        ("(no output)\n[exit code 1]", "exit code 1"),
        ("a\n[ended by SIGKILL]\nthe sandbox may be why", "ended by SIGKILL: a"),
        ("old not found\nnothing changed", "old not found"),
        ("", ""),
    ],
)
def test_a_failure_is_its_exit_code_and_last_words(text: str, said: str) -> None:
    assert failure(text) == said
