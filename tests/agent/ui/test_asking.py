"""A question shows the whole call: what a title leaves out, and what a terminal would hide."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.approval.approval import ApprovalRequest
from agent.chat.events import Asked
from agent.llm.messages import ToolCallPart
from agent.text.cleaning import visible
from agent.tools.shell import Shell
from agent.ui.asking import MOST_CHARS, MOST_LINES, allowed, heading, in_full, in_lines, read_answer, too_long
from agent.ui.columns import width
from agent.ui.line.paint import Paint
from agent.ui.line.printer import Printer
from agent.ui.run.ask import question_text
from agent.ui.tui.dialogs.asked import what


def _request(
    tool: str = "shell", *, title: str | None = None, diff: str | None = None, **arguments: object
) -> ApprovalRequest:
    call = ToolCallPart(id="1", name=tool, arguments=json.dumps(arguments))
    if title is None:
        title = Shell().title(arguments) if tool == "shell" else tool
    return ApprovalRequest(call, title, f"{tool}(x)", diff)


def _unfolded(text: str) -> str:
    return text.replace("\n  │ ", "")


def _printed(request: ApprovalRequest, columns: int = 80) -> str:
    lines: list[str] = []
    Printer(Paint(colour=False, width=lambda: columns + 1), lines.append).apply(Asked(id="q", request=request))
    return "\n".join(lines)


def test_what_is_not_seen_is_written_out() -> None:
    assert visible("a\x1b[2K\u202eb\u200b\x08c\r\nd\te") == "a\\x1b[2K\\u202eb\\u200b\\x08c\nd\te"
    assert visible("e\U000e0041") == "e\\U000e0041"
    assert visible("👨\u200d👩 naïve") == "👨\u200d👩 naïve"


def test_a_short_command_stands_in_the_title_alone() -> None:
    request = _request(command="git push")
    assert in_lines(request) == [] and _printed(request).count("git push") == 1


def test_why_a_call_is_asked_about_is_printed() -> None:
    request = _request("read", path="/etc/hostname")._replace(why="it lies outside\u202e of the project")
    assert "asked about because it lies outside\\u202e of the project" in _printed(request)
    shown = "".join(str(block.content(80)) for block in what(request, 80, title_lines=2))
    assert "asked about because it lies outside" in shown


def test_every_line_of_a_command_is_shown() -> None:
    printed = _printed(_request(command="touch a\nrm -rf b"))
    assert "  │ touch a\n  │ rm -rf b" in printed


def test_a_command_longer_than_its_title_is_shown_to_the_end() -> None:
    assert "echo " + "x" * 500 + "; rm b" in _unfolded(_printed(_request(command="echo " + "x" * 500 + "; rm b")))


@pytest.mark.parametrize(
    ("command", "rule", "title", "allows"),
    [
        ("make all", "shell(make all)", "shell", "exactly this command"),
        ("rm *; ls", "shell(rm \\*; ls)", "shell", "exactly this command"),
        ("echo " + "x" * 500, "shell(echo *)", "shell", "shell(echo *)"),
        ("touch a\nrm -rf b", "shell(touch a\nrm -rf b)", "shell", "exactly this command"),
    ],
)
def test_a_command_that_stands_below_is_not_said_again(command: str, rule: str, title: str, allows: str) -> None:
    request = _request(command=command, timeout_s=9)._replace(rule=rule)
    assert heading(request) == title and allowed(request) == allows
    assert allowed(request, "shell(make *)") == "shell(make *)"


def test_no_sequence_hides_a_part_of_a_command() -> None:
    request = _request(command="echo hi \x1b]0;; rm -rf b\x07")
    assert "rm -rf b" in request.title and "\x1b" not in _printed(request)
    assert "echo hi \\x1b]0;; rm -rf b\\x07" in _printed(request)


def test_every_argument_is_named_and_one_without_end_is_counted() -> None:
    lines = in_lines(_request("delegate", task="look\naround", steps=3, text="y" * (MOST_CHARS + 5)))
    assert lines[:3] == ["  │ task: look", "  │ around", "  │ steps: 3"]
    assert lines[-1] == "  │ … and 5 more characters not shown"


@pytest.mark.parametrize(
    ("line", "long", "verdict"),
    [
        ("1", False, "once"),
        ("Yes,", False, "once"),
        ("2", False, "session"),
        ("3", True, "always"),
        ("1", True, "once"),
        ("y", True, None),
        ("yes", True, None),
        ("n", True, "no"),
        ("4 because", True, "no"),
        ("", False, None),
        ("you", False, None),
        ("1 more thing", False, None),
        ("yes please", False, None),
        ("12", False, None),
        ("\uff11", False, None),
    ],
)
def test_what_is_an_answer(line: str, long: bool, verdict: str | None) -> None:
    request = _request(command="x" * (MOST_CHARS + 1) if long else "x")
    answer = read_answer(line, request)
    assert (answer.verdict if answer else None) == verdict


def test_a_long_diff_is_counted_and_its_rest_named() -> None:
    diff = "--- a\n+++ b\n@@ -1 +1 @@\n" + "+x\n" * MOST_LINES
    request = _request("write", diff=diff, path="b")
    assert too_long(request) and read_answer("y", request) is None
    assert in_full(request)[-1] == "… and 4 more lines not shown"
    assert "more lines" in _printed(request)


def test_the_whole_rule_is_printed() -> None:
    request = ApprovalRequest(ToolCallPart(id="1", name="shell", arguments="{}"), "x", f"shell({'a ' * 900}; rm -rf b)")
    assert "rm -rf b)" in _unfolded(_printed(request))


FALSE = "Allow this? shell ls"


@pytest.mark.parametrize("columns", [40, 79])
@pytest.mark.parametrize(
    ("name", "arguments", "diff"),
    [
        ("shell", {"command": "rm -rf b #{pad}{false}"}, None),
        ("shell", {"command": "rm -rf b #{wide}{false}"}, None),
        ("shell", {"command": "rm -rf b #{tabs}{false}"}, None),
        ("shell", {"command": "rm -rf b\n{false}"}, None),
        ("delegate", {"task": "x{pad}{false}", "y{pad}{false}": 1}, None),
        ("write", {"path": "b"}, "--- /dev/null\n+++ b/b\n@@ -0,0 +1 @@\n+x{pad}{false}\n"),
        ("write", {"path": "b\n{false}"}, "--- /dev/null\n+++ b/b\n@@ -0,0 +1 @@\n+x\n"),
        ("write", {"path": "b{pad}{false}"}, "--- /dev/null\n+++ b/b\n@@ -0,0 +1 @@\n+x\n"),
    ],
)
def test_no_line_of_the_screen_begins_with_what_a_model_wrote(
    name: str, arguments: dict[str, Any], diff: str | None, columns: int
) -> None:
    """A text that is as wide as the terminal begins a new line there, where it could pass for a question."""
    for pad in range(columns + 1):
        fills = {"pad": " " * pad, "wide": "\u3042" * (pad // 2) + " " * (pad % 2), "tabs": "\t" * 20 + " " * pad}

        def filled(text: str, fills: dict[str, str] = fills) -> str:
            for word, fill in (*fills.items(), ("false", FALSE)):
                text = text.replace(f"{{{word}}}", fill)
            return text

        request = _request(
            name,
            diff=diff and filled(diff),
            **{filled(k): v if isinstance(v, int) else filled(v) for k, v in arguments.items()},
        )
        request = request._replace(
            title=f"{name} {filled(next(iter(map(str, arguments.values()))))}", why=filled("x{pad}{false}")
        )
        for shown in (_printed(request, columns), question_text(request, columns)):
            rows = [row for line in shown.split("\n") for row in _on_screen(line, columns)]
            assert [row for row in rows[2:] if row.startswith(FALSE)] == []


def _on_screen(line: str, columns: int) -> list[str]:
    """The rows that a terminal makes of a line."""
    rows, taken = [""], 0
    for char in line.expandtabs():
        cells = width(char)
        if taken + cells > columns:
            rows.append("")
            taken = 0
        rows[-1] += char
        taken += cells
    return rows


def test_a_change_shows_its_control_characters() -> None:
    diff = "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+\u202ey\x1b[8m\n"
    assert "+\\u202ey\\x1b[8m" in _printed(_request("edit", diff=diff, path="a"))
