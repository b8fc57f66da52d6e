"""The agent's list: shown as it changes, kept with the session, there only for somebody who watches."""

from __future__ import annotations

from pathlib import Path

from agent.chat.events import Opened
from agent.events import TodoChanged, TodoItem
from agent.host import Options
from agent.tools.todo import kept
from tests.support.chatbench import ChatBench, calls

LIST = [{"text": "look", "status": "done"}, {"text": "change [it]", "status": "in_progress"}]


def test_the_list_is_shown_and_comes_back(tmp_path: Path) -> None:
    bench = ChatBench(
        tmp_path, [calls(("todo", {"items": LIST})), "done"], options=Options(approve="deny", cwd=tmp_path)
    )
    bench.run("go")
    (changed,) = bench.all(TodoChanged)
    assert changed.items == (
        TodoItem(text="look", status="done"),
        TodoItem(text="change [it]", status="in_progress"),
    )
    assert bench.history[3].text == "☑ look\n◐ change [it]"
    assert kept(bench.session) == changed.items
    again = ChatBench(tmp_path, options=Options(resume_latest=True, cwd=tmp_path))
    again.run("/clear")
    assert [opened.todo for opened in again.all(Opened)] == [changed.items, ()]


def test_an_undone_turn_takes_its_list_back(tmp_path: Path) -> None:
    first, second = calls(("todo", {"items": LIST[:1]})), calls(("todo", {"items": LIST}))
    wrong = calls(("todo", {"items": "nothing"}))
    bench = ChatBench(tmp_path, [first, wrong, "done", second, "done", "done"], options=Options(cwd=tmp_path))
    bench.run("a", "b", "c", "/undo", "/undo", "/undo")
    lengths = [len(opened.todo) for opened in bench.all(Opened)]
    assert lengths == [0, 2, 1, 0]


def test_a_wrong_list_is_told_to_the_model(tmp_path: Path) -> None:
    wrong = calls(("todo", {"items": [{"text": "look", "status": "soon"}]}))
    bench = ChatBench(tmp_path, [wrong, calls(("todo", {"items": []})), "done"])
    bench.run("go")
    assert "status" in bench.history[3].text
    assert bench.history[5].text == "the list is empty"


def test_a_run_lists_it_too_since_a_session_may_go_on_in_the_chat(tmp_path: Path) -> None:
    bench = ChatBench(tmp_path)
    host = bench.build(Options(cwd=tmp_path))
    assert "todo" in host.agent.tools.tools
    assert host.agent.tools.only(["read"]).tools.keys() == {"read"}
