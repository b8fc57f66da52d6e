"""What the tools say of themselves: whoever decides, draws or counts goes by it, and knows no tool's name."""

from __future__ import annotations

from typing import Any, cast

import pytest

from agent.delegate.tool import Delegate
from agent.mcp.tools import Mcp
from agent.tools.base import Tool
from agent.tools.builtin import builtin_tools
from agent.tools.todo import Todo
from agent.web.fetch_tool import WebFetch
from agent.web.search_tool import WebSearch
from moa.consult import Consult

NONE = cast("Any", None)
TOOLS = (
    *builtin_tools(),
    Todo(NONE),
    WebSearch(NONE, NONE),
    WebFetch(NONE, NONE),
    Consult(NONE),
    Mcp({}),
    object.__new__(Delegate),
)


@pytest.mark.parametrize(
    ("name", "kind", "arguments", "may_change", "subject"),
    [
        ("read", "read", {"path": "a"}, False, ("look", "a")),
        ("glob", "search", {"pattern": "*", "path": "src"}, False, ("look", "src")),
        ("grep", "search", {"pattern": "x"}, False, ("text", "x")),
        ("write", "edit", {"path": "a", "content": "x"}, True, ("change", "a")),
        ("edit", "edit", {"path": "a", "old": "x", "new": "y"}, True, ("change", "a")),
        ("shell", "execute", {"command": "ls"}, True, ("command", "ls")),
        ("shell", "execute", {"command": ":jobs"}, False, ("command", ":jobs")),
        ("todo", "think", {"items": []}, False, ("text", None)),
        ("web_search", "fetch", {"query": "x"}, False, ("text", None)),
        ("web_fetch", "fetch", {"url": "https://a.org/b"}, False, ("page", "https://a.org/b")),
        ("consult", "think", {"question": "x?"}, False, ("text", "x?")),
        ("delegate", "other", {"task": "look"}, False, ("text", "look")),
        ("delegate", "other", {"task": "do", "may_write": True}, True, ("text", "do")),
        ("mcp", "other", {}, False, ("text", None)),
        ("mcp", "other", {"server": "s", "tool": "t"}, True, ("name", "s/t")),
    ],
)
def test_what_a_tool_says_of_a_call(
    name: str, kind: str, arguments: dict[str, Any], may_change: bool, subject: tuple[str, str | None]
) -> None:
    tool = next(one for one in TOOLS if one.spec.name == name)
    found = tool.subject(arguments)
    assert (tool.kind, tool.may_change(arguments)) == (kind, may_change)
    assert (found.tool, found.sort, found.value) == (name, *subject)


def test_a_tool_that_says_nothing_is_asked_about_and_changes_no_file_unasked() -> None:
    class Deploy(Tool):
        spec = NONE

    found = Deploy()
    found.spec = type("Spec", (), {"name": "deploy"})
    assert not found.read_only and found.may_change({})
    assert found.subject({"path": "src"}).sort == "path", "`--approve edits` allows changes of files alone"
