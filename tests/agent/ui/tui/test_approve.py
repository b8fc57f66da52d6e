from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Input

from agent.approval.approval import ApprovalRequest, UserAnswer
from agent.chat.events import Asked
from agent.forms import Answer, Choice, Choices
from agent.llm.messages import ToolCallPart
from agent.ui.asking import MOST_CHARS
from agent.ui.tui.dialogs.approve import GRACE_S, ApprovalBar
from agent.ui.tui.dialogs.choices import ChoicesScreen
from tests.agent.ui.tui.counsel import HOSTILE
from tests.support.screen import dump, widths
from tests.support.widgets import Clock, WidgetStage

DIFF = "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,4 @@\n a = 1\n-b = '[/red]'\n+b = '[bold]層'\n+d = 4\n c = 3\n"


class Stage(WidgetStage):
    """The bar alone, where it stands in the chat, and what it says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.bar = ApprovalBar(clock=self.clock)
        hears = {
            ApprovalBar.Answered: lambda message: (message.id, message.answer),
            ApprovalBar.Strayed: lambda message: message.text,
            ApprovalBar.Emptied: lambda _message: "emptied",
        }
        super().__init__(self.bar, hears=hears, css="Screen { align: left bottom; }")


def question(id: str = "q1", *, diff: str | None = None, rule: str = "shell(make *)", **arguments: Any) -> Asked:
    arguments = arguments or {"command": "make all\nmake install"}
    call = ToolCallPart(id=id, name="shell", arguments=json.dumps(arguments))
    return Asked(id=id, request=ApprovalRequest(call, "shell make all", rule, diff))


def play(scene: Callable[[Stage, Pilot[None]], Any], size: tuple[int, int] = (90, 24)) -> None:
    Stage().play(scene, size)


def patience(app: Stage) -> None:
    app.clock.now += GRACE_S + 0.01


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        (["1"], UserAnswer("once")),
        (["y"], UserAnswer("once")),
        (["enter"], UserAnswer("once")),
        (["2"], UserAnswer("session")),
        (["3"], UserAnswer("always")),
        (["down", "down", "enter"], UserAnswer("always")),
        (["4"], UserAnswer("no")),
        (["n"], UserAnswer("no")),
        (["escape"], UserAnswer("no")),
        (["5", "n", "o", "1", "enter"], UserAnswer("no", "no1")),
        (["up", "enter", "x", "enter"], UserAnswer("no", "x")),
        (["5", "x", "escape", "1"], UserAnswer("once")),
    ],
)
def test_keys_answer(keys: list[str], answer: UserAnswer) -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        app.bar.ask(question())
        patience(app)
        await pilot.press(*keys)
        assert app.heard == [("q1", answer), "emptied"]
        assert not app.bar.display

    play(scene)


def test_what_was_being_typed_into_the_composer_answers_nothing_and_is_handed_back() -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        app.bar.ask(question())
        await pilot.press("y", "e")
        app.clock.now += GRACE_S - 0.05
        await pilot.press("1", "enter", "escape")  # each key puts the moment off
        app.clock.now += GRACE_S - 0.05
        await pilot.press("n")
        assert app.heard == ["y", "e", "1", "n"] and app.bar.waiting == 1
        patience(app)
        await pilot.press("n")
        assert app.heard[-2:] == [("q1", UserAnswer("no")), "emptied"]

    play(scene)


def test_text_answers_nothing_however_late_it_comes_and_is_handed_back() -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        app.bar.ask(question())
        patience(app)
        await pilot.press(*"/goal clear yes 1")
        assert "".join(app.heard) == "/goal clear yes 1" and app.bar.waiting == 1
        assert "waits in the composer" in dump(app)
        patience(app)
        await pilot.press("y")
        assert app.heard[-2:] == [("q1", UserAnswer("once")), "emptied"]

    play(scene)


@pytest.mark.parametrize(
    ("typed_at", "pause", "keys", "answered"),
    [
        (0.0, 0.9, ["y"], False),  # a pause in the middle of a sentence, and then the y of "you"
        (0.0, 0.9, ["enter"], False),
        (0.0, 0.9, ["e"], False),
        (0.0, 0.9, ["1"], True),  # nobody was typing: a number may come soon
        (0.0, 0.2, ["1"], False),
        (99.5, 0.9, ["1"], False),  # somebody was
        (99.5, 1.6, ["1"], True),
        (99.5, 1.6, ["y"], True),
        (0.0, 1.4, ["x", "1"], False),
    ],
)
def test_how_soon_a_key_is_an_answer(typed_at: float, pause: float, keys: list[str], answered: bool) -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        app.bar.ask(question(), typed_at=typed_at)
        await pilot.pause()
        app.clock.now += pause
        await pilot.press(*keys)
        assert (app.bar.waiting == 0) is answered

    play(scene)


@pytest.mark.parametrize("keys", [["y"], ["enter"], ["1"], ["down", "enter"]])
def test_what_was_meant_for_a_dialog_over_it_answers_nothing(keys: list[str]) -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        await app.push_screen(ModalScreen())
        app.bar.ask(question())
        await pilot.pause()
        patience(app)
        await app.pop_screen()
        await pilot.press(*keys)
        assert app.bar.waiting == 1
        patience(app)
        await pilot.press("1")
        assert app.bar.waiting == 0

    play(scene)


def test_what_was_meant_for_an_editor_answers_nothing() -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        app.bar.ask(question())
        await pilot.pause()
        patience(app)
        app.app_resume_signal.publish(app)
        await pilot.press("y", "1", "enter")
        assert app.bar.waiting == 1

    play(scene)


@pytest.mark.parametrize(("sudden", "answered"), [(True, []), (False, [("go",)])])
def test_what_was_typed_ahead_answers_no_form_that_comes_by_itself(sudden: bool, answered: list[Answer]) -> None:
    rows = (Choice(id="stay", label="stay"), Choice(id="go", label="go on"))

    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        taken: list[Answer | None] = []
        await app.push_screen(ChoicesScreen(Choices(title="Go on?", choices=rows, sudden=sudden)), taken.append)
        await pilot.press("down", "enter")
        await pilot.pause()
        assert taken == answered

    play(scene)


LONG = "\n".join(f"echo {number}" for number in range(60))


@pytest.mark.parametrize(
    ("command", "keys", "answer"),
    [
        (LONG, ["y"], None),
        (LONG, ["enter"], None),
        (LONG, ["enter", "y", "enter"], None),
        (LONG, ["n"], UserAnswer("no")),
        (LONG, ["1"], UserAnswer("once")),
        (LONG, ["down", "enter"], None),
        (LONG, [*["pagedown"] * 9, "y"], UserAnswer("once")),
        (LONG, [*["pagedown"] * 9, "enter"], None),  # none was marked beforehand
        (LONG, [*["pagedown"] * 9, "down", "enter"], UserAnswer("once")),
        (LONG, [*["enter"] * 20], None),  # Enter reads on, and no more
        pytest.param("x" * (MOST_CHARS + 1), [*["pagedown"] * 40, "y"], None, marks=pytest.mark.slow),
        ("x" * (MOST_CHARS + 1), [*["pagedown"] * 40, "enter"], None),
        pytest.param("x" * (MOST_CHARS + 1), [*["pagedown"] * 40, "1"], UserAnswer("once"), marks=pytest.mark.slow),
    ],
)
@pytest.mark.sample(7)
def test_no_letter_and_no_marked_yes_while_something_is_unshown(
    command: str, keys: list[str], answer: UserAnswer | None
) -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        app.bar.ask(question(command=command))
        await pilot.pause()
        assert "❯" not in dump(app) and "a number answers" in dump(app)
        patience(app)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        assert app.heard == ([] if answer is None else [("q1", answer), "emptied"])

    play(scene)


def test_a_rule_or_a_title_that_finds_no_room_is_shown_below_and_counts_as_a_part_of_it() -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        rule = f"shell({'a ' * 400}; rm -rf /)"
        app.bar.ask(question(rule=rule))
        await pilot.pause()
        patience(app)
        assert "rm -rf" not in dump(app)
        await pilot.press("y")
        assert app.heard == []
        await pilot.press("pagedown", "pagedown")
        assert "rm -rf /)" in dump(app)

    play(scene)


def test_a_smaller_screen_takes_the_mark_away() -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        app.bar.ask(question(command=LONG))
        await pilot.pause()
        assert "❯ 1" in dump(app)
        await pilot.resize_terminal(90, 24)
        await pilot.pause()
        app.bar.ask(question("q2", command=LONG))
        patience(app)
        await pilot.press("enter")
        assert app.heard[:1] == [("q1", UserAnswer("once"))], "it was all seen before"
        patience(app)
        await pilot.press("enter")
        assert app.bar.waiting == 1

    play(scene, (90, 90))


def test_a_key_held_too_long_does_not_answer_the_next_question_too() -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        app.bar.ask(question("q1"))
        app.bar.ask(question("q2"))
        assert "(1 more waiting)" in _after(app, await pilot.pause())
        patience(app)
        await pilot.press("1", "1", "1")
        assert app.heard == [("q1", UserAnswer("once"))] and app.bar.waiting == 1
        assert "more waiting" not in dump(app)
        patience(app)
        await pilot.press("2")
        assert app.heard[1:] == [("q2", UserAnswer("session")), "emptied"]

    play(scene)


def _after(app: Stage, _nothing: None) -> str:
    return dump(app)


def test_a_stopped_turn_takes_its_questions_away() -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        for id in ("q1", "q2", "q3"):
            app.bar.ask(question(id, command=f"run {id}"))
        app.bar.settle("q2")
        app.bar.settle("q1")
        await pilot.pause()
        assert "run q3" in dump(app) and app.bar.waiting == 1
        app.bar.settle("unknown")
        app.bar.settle("q3")
        await pilot.pause()
        assert app.heard == ["emptied"] and not app.bar.display

    play(scene)


def test_the_change_is_shown_as_a_diff_and_the_rule_with_its_answers() -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        app.bar.ask(question(diff=DIFF, rule="edit(x.py)"))
        await pilot.pause()
        text = dump(app)
        assert "+2 -1" in text and "b = '[/red]'" in text and "b = '[bold]層'" in text
        assert "❯ 1 yes, once" in text
        assert "2 yes, for this session: edit(x.py)" in text and "3 yes, always: edit(x.py)" in text

    play(scene)


def test_the_rule_can_be_changed_and_a_wrong_one_is_refused() -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        app.bar.ask(question())
        patience(app)
        await pilot.press("e")
        line = app.bar.query_one(Input)
        assert line.value == "shell(make *)"
        line.value = "shell(((("
        await pilot.press("enter")
        assert line.display, "no rule: it stays open"
        line.value = "shell(make all)"
        await pilot.press("enter")
        assert "always: shell(make all)" in dump(app)
        await pilot.press("3")
        assert app.heard[0] == ("q1", UserAnswer("always", rule="shell(make all)"))

    play(scene)


def test_what_is_not_shown_of_a_long_command_is_said() -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        app.bar.ask(question(command="x" * (MOST_CHARS + 7)))
        await pilot.pause()
        patience(app)
        for _ in range(40):
            await pilot.press("pagedown")
        assert "and 7 more characters not shown" in dump(app)
        assert "5 no, because…" in dump(app)

    play(scene)


@pytest.mark.parametrize("size", [(40, 12), (60, 16), (250, 60)])
def test_hostile_arguments_at_any_size(size: tuple[int, int]) -> None:
    async def scene(app: Stage, pilot: Pilot[None]) -> None:
        call = ToolCallPart(id="1", name="mcp", arguments=json.dumps({HOSTILE: HOSTILE * 40, "n": [1, {"a": None}]}))
        app.bar.ask(Asked(id="q", request=ApprovalRequest(call, HOSTILE * 9, HOSTILE)))
        app.bar.ask(
            Asked(id="p", request=ApprovalRequest(ToolCallPart(id="2", name="x", arguments="{broken"), "x", "x"))
        )
        await pilot.pause()
        text = dump(app)
        assert widths(app) == {size[0]} and "\x1b" not in text
        assert "5 no, because…" in text and "1 yes, once" in text
        patience(app)
        await pilot.press("n")
        await pilot.pause()
        assert "{broken" in dump(app)

    play(scene, size)
