"""/undo: the message, what came of it, and the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.chat.events import Action, Opened, Refused
from agent.events import Emit
from agent.host import Options
from agent.llm.accounting import CallContext
from agent.llm.messages import user
from agent.plan.plugin import make
from agent.plugin import Continue, Ending, Plugin, TurnState
from agent.session.index import summaries
from agent.ui.text import render
from tests.support.chatbench import ChatBench, calls


def writes(path: str, content: str) -> tuple[str, dict[str, str]]:
    return "write", {"path": path, "content": content}


def edits(path: str, old: str, new: str) -> tuple[str, dict[str, str]]:
    return "edit", {"path": path, "old": old, "new": new}


def bench_for(folder: Path, *lines: object) -> ChatBench:
    (folder / "work").mkdir(exist_ok=True)
    return ChatBench(folder, list(lines), options=Options(approve="all", cwd=folder / "work"))  # type: ignore[arg-type]


def step(do: Callable[[], object]) -> Callable[[], object]:
    async def doing() -> None:
        do()

    return doing


def test_undo_takes_the_message_back_and_restores_what_it_changed(tmp_path: Path) -> None:
    bench = bench_for(
        tmp_path,
        "hello",
        calls(edits("a.txt", "one", "two"), edits("a.txt", "two", "three"), writes("deep/new/b.txt", "b")),
        "done",
    )
    file = bench.work / "a.txt"
    file.write_text("one\r\n")
    file.chmod(0o750)
    bench.run("hi", "change it", "/undo")
    assert file.read_bytes() == b"one\r\n" and file.stat().st_mode & 0o777 == 0o750
    assert not (bench.work / "deep").exists()
    assert bench.texts == ["hi", "hello"]
    assert [message.text for message in bench.all(Opened)[-1].history[1:]] == ["hi", "hello"]
    assert [(event.name, event.text) for event in bench.all(Action)] == [("compose", "change it")]
    told = render(bench.view())
    assert (
        "Restored: `a.txt`." in told
        and "Removed, because it made them: `deep/new/b.txt`." in told
        and "shell" not in told
    )


def test_undo_goes_back_turn_by_turn_to_the_start(tmp_path: Path) -> None:
    bench = bench_for(
        tmp_path,
        calls(writes("a.txt", "first")),
        "one",
        calls(edits("a.txt", "first", "second")),
        "two",
        "fresh",
    )
    file = bench.work / "a.txt"
    seen: list[str | None] = []
    look = step(lambda: seen.append(file.read_text() if file.exists() else None))
    bench.run("a", "b", look, "/undo", look, "/undo", look, "/undo", "again")
    assert seen == ["second", "first", None]
    assert bench.texts == ["again", "fresh"]
    assert [event.message for event in bench.all(Refused)] == ["there is nothing to undo"]


def test_a_file_that_was_changed_since_is_not_touched(tmp_path: Path) -> None:
    bench = bench_for(tmp_path, calls(writes("a.txt", "agent's"), writes("b.txt", "agent's")), "done")
    file = bench.work / "a.txt"
    bench.run("go", step(lambda: file.write_text("mine")), "/undo", "/undo keep")
    (refused,) = bench.all(Refused)
    assert refused.message == "nothing was undone: a.txt has changed since the agent wrote it"
    assert "/undo keep" in (refused.remedy or "")
    assert file.read_text() == "mine" and not (bench.work / "b.txt").exists()
    assert "Not changed: `a.txt`" in render(bench.view())
    assert bench.chat.host.agent.session.head is None


def test_a_file_that_is_as_before_already_is_no_matter(tmp_path: Path) -> None:
    bench = bench_for(tmp_path, calls(writes("a.txt", "x")), "done")
    bench.run("go", step((bench.work / "a.txt").unlink), "/undo")
    assert bench.all(Refused) == []


def test_what_the_shell_did_is_named_as_not_undone(tmp_path: Path) -> None:
    bench = bench_for(tmp_path, calls(("shell", {"command": "touch made"})), "done")
    bench.run("go", "!touch mine", "/undo")
    assert (bench.work / "made").exists() and (bench.work / "mine").exists()
    assert "what 2 shell commands may have changed" in render(bench.view())


def test_after_an_undo_the_model_must_read_a_file_again(tmp_path: Path) -> None:
    read_it = calls(("read", {"path": "a.txt"}))
    bench = bench_for(
        tmp_path, read_it, "one", calls(writes("a.txt", "new")), "two", calls(writes("a.txt", "newer")), "three"
    )
    (bench.work / "a.txt").write_text("old")
    bench.run("look", "change", "/undo", "change again")
    assert (bench.work / "a.txt").read_text() == "old"
    assert any("you have not read it" in message.text for message in bench.history)


def test_undo_after_going_on_another_day(tmp_path: Path) -> None:
    bench = bench_for(tmp_path, calls(writes("a.txt", "x")), "done")
    bench.run("go")
    again = ChatBench(tmp_path, options=Options(resume_latest=True, cwd=bench.work))
    again.run("/undo")
    assert not (bench.work / "a.txt").exists()


def test_undo_in_a_fork_has_the_files_too(tmp_path: Path) -> None:
    bench = bench_for(tmp_path, calls(writes("a.txt", "x")), "done")
    bench.run("go", "/fork", "/undo")
    assert not (bench.work / "a.txt").exists()
    original = bench.all(Opened)[0].session
    other = ChatBench(tmp_path, options=Options(session=original, cwd=bench.work))
    other.run()
    assert [message.text for message in other.all(Opened)[0].history[1:]][:1] == ["go"]


def test_a_steered_message_belongs_to_its_turn(tmp_path: Path) -> None:
    bench = bench_for(tmp_path, "before", calls(("glob", {"pattern": "*"})), "done")
    from agent.events import ToolStarted

    bench.on = lambda event: bench.chat.steer("also this") if isinstance(event, ToolStarted) else None
    bench.run("hi", "go", "/undo")
    assert bench.texts == ["hi", "before"]


def test_only_keep_can_stand_after_undo(tmp_path: Path) -> None:
    bench = bench_for(tmp_path, "x")
    bench.run("hi", "/undo kep")
    assert "did you mean /undo keep?" in (bench.all(Refused)[0].remedy or "")


def changing_twice(folder: Path) -> ChatBench:
    bench = bench_for(
        folder, "hello", calls(edits("a.txt", "one", "two")), "done", calls(edits("a.txt", "two", "three")), "done"
    )
    (bench.work / "a.txt").write_text("one")
    return bench


def test_undo_goes_back_several_turns_at_once(tmp_path: Path) -> None:
    bench = changing_twice(tmp_path)
    bench.run("hi", "to two", "to three", "/undo list", "/undo 2")
    assert (bench.work / "a.txt").read_text() == "one"
    assert bench.texts == ["hi", "hello"]
    assert [(event.name, event.text) for event in bench.all(Action)] == [("compose", "to two")]


def test_the_conversation_alone_goes_back(tmp_path: Path) -> None:
    bench = changing_twice(tmp_path)
    bench.run("hi", "to two", "to three", "/undo 2 conversation")
    assert (bench.work / "a.txt").read_text() == "three" and bench.texts == ["hi", "hello"]
    assert "No file was touched" in render(bench.view())


def test_what_somebody_else_wrote_between_two_turns_is_not_lost(tmp_path: Path) -> None:
    second = calls(("read", {"path": "a.txt"})), calls(edits("a.txt", "mine", "ours")), "done"
    bench = bench_for(tmp_path, calls(writes("a.txt", "agent's")), "done", *second)
    file = bench.work / "a.txt"
    bench.run("one", step(lambda: file.write_text("mine")), "two", "/undo 2", "/undo 0", "/undo 9", "/undo 2 keep")
    messages = [event.message for event in bench.all(Refused)]
    assert messages[0].endswith("a.txt has changed since the agent wrote it") and "whole number" in messages[1]
    assert messages[2] == "/undo 9: this conversation has 2 turns"
    assert file.read_text() == "ours"


@pytest.mark.parametrize("line", ["/init keep it short", "/greet you", "/plan mend it"])
def test_what_a_command_made_comes_back_as_it_was_typed(tmp_path: Path, line: str) -> None:
    greet = tmp_path / "config" / "commands" / "greet.md"
    greet.parent.mkdir(parents=True)
    greet.write_text("Greet $1 at length, in verse.")
    bench = ChatBench(tmp_path, plugins={"plan": make}, options=Options(approve="all", cwd=tmp_path / "work"))
    bench.run(line, "/undo list")
    assert bench.texts[0] != line and summaries(tmp_path / "state" / "sessions")[0].first == line
    assert line in render(bench.view())
    again = ChatBench(tmp_path, plugins={"plan": make}, options=Options(resume_latest=True, cwd=bench.work))
    again.run("/undo")
    assert next(message.typed for message in again.all(Opened)[0].history if message.role == "user") == line
    assert [(event.name, event.text) for event in again.all(Action)] == [("compose", line)]


def test_a_turn_that_began_by_itself_gives_nothing_back(tmp_path: Path) -> None:
    class Once(Plugin):
        name = "once"
        told = False

        async def next_turn(self, turn: TurnState, ending: Ending, context: CallContext, emit: Emit) -> Continue | None:
            first, self.told = not self.told, True
            return Continue(user("go on with it", synthetic="continuation")) if first else None

    bench = ChatBench(tmp_path, ["one", "two"], plugins={"once": lambda _host: Once()})
    bench.run("hi", "/undo", "/undo")
    assert [(event.name, event.text) for event in bench.all(Action)] == [("compose", "hi")]
    assert "began by itself" in render(bench.view(0)) and "change it" not in render(bench.view(0))
