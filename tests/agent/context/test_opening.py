"""What a conversation opens with stays; what changes is said at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.context.opening import Opening, keep_tools, list_tools
from agent.llm.messages import system, user
from agent.llm.request import ToolSpec
from agent.session.session import Session


def opening(folder: Path, **more: Any) -> Opening:
    return Opening(folder, today=lambda: "2026-11-26", **more)


def test_an_untrusted_projects_instructions_are_the_result_of_a_read(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("Use tabs.")
    stranger, trusted = opening(tmp_path), opening(tmp_path, trusts=lambda _path: True)
    assert "Use tabs." not in stranger.system().text and "Use tabs." in trusted.system().text
    call, result = stranger.readings()
    assert [each.name for each in call.tool_calls] == ["read"]
    assert result.role == "tool" and "Use tabs." in result.text and "not trusted" in result.text
    assert trusted.readings() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"today": lambda: "2026-11-27"}, "Today is 2026-11-27."),
        ({"refused": lambda: {"write": "mode deny", "shell": "mode deny"}}, "write, shell: mode deny"),
    ],
)
def test_a_change_is_said_once_in_a_message_that_stays(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    told = opening(tmp_path).circumstances()
    later = Opening(tmp_path, **{"today": lambda: "2026-11-26", **change})
    found = later.changes(told)
    assert found is not None
    message, now = found
    assert said in message.text and message.synthetic == "notice" and message.role == "user"
    assert later.changes(now) is None
    back = opening(tmp_path).changes(now)
    assert back is not None, "and back again"


def test_changed_instructions_are_written_out_only_where_they_are_trusted(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("Use tabs.")
    told = opening(tmp_path).circumstances()
    (tmp_path / "AGENTS.md").write_text("Use spaces.")
    for trusts, written in ((True, True), (False, False)):
        found = opening(tmp_path, trusts=lambda _path, yes=trusts: yes).changes(told)
        assert found is not None and ("Use spaces." in found[0].text) is written
    (tmp_path / "AGENTS.md").unlink()
    gone = opening(tmp_path).changes(told)
    assert gone is not None and "is gone" in gone[0].text


def spec(name: str, description: str = "d", **properties: Any) -> ToolSpec:
    return ToolSpec(name, description, {"type": "object", "properties": properties})


def test_the_list_of_tools_stays_as_it_was_begun(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    session.add(system("S"))
    session.add(user("go"))
    before = (spec("read"), spec("write"), spec("gone"))
    keep_tools(session, before)
    assert list_tools(session, before) == (before, [])
    now = (spec("new"), spec("write", "other words"), spec("read", x={"type": "string"}))
    listed, news = list_tools(session, now)
    assert [(tool.name, tool.description) for tool in listed] == [
        ("read", "d"),
        ("write", "d"),
        ("gone", "d"),
        ("new", "d"),
    ]
    assert listed[0].parameters["properties"] == {"x": {"type": "string"}}
    assert news == ["the tool read takes other arguments now", "the tool new is new"]
