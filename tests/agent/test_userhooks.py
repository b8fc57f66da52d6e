"""The user's own hooks: what each event's hook is told, what a refusal does, and what no failure may do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent import events
from agent.admin.trust import look
from agent.errors import UsageError
from agent.host import Options
from agent.llm.messages import Message
from tests.support.agent import CONFIG
from tests.support.chatbench import ChatBench, calls

SHELL = calls(("shell", {"command": "echo one; echo two"}))
READ = calls(("read", {"path": "a.txt"}))


def hook(event: str, command: str, **more: Any) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in ({"event": event, "command": command} | more).items()]
    return "\n".join(("[[hooks]]", *lines, ""))


def bench(folder: Path, *hooks: str, lines: tuple[Any, ...] = ("ok",), mode: str = "all") -> ChatBench:
    it = ChatBench(folder, lines, config=CONFIG + "\n".join(hooks), options=Options(approve=mode, cwd=folder / "work"))  # type: ignore[arg-type]
    (it.work / "a.txt").write_text("alpha\n")
    return it


def told(it: ChatBench) -> list[str]:
    return [event.text for event in it.seen if isinstance(event, events.Notice) and event.code == "hook"]


def finished(it: ChatBench) -> list[events.TurnFinished]:
    return [event for event in it.seen if isinstance(event, events.TurnFinished)]


def results(it: ChatBench) -> list[Message]:
    return [message for message in it.history if message.role == "tool"]


def test_every_event_tells_its_hook_what_happened(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    events_ = ("session_start", "before_turn", "before_tool", "after_tool", "before_stop", "turn_end")
    it = bench(
        tmp_path,
        *(hook(event, f"cat >> {log}; echo >> {log}; pwd >&2") for event in events_),
        lines=(READ, "done", "again"),
    )
    it.run("Look.", "More.")
    told_of = [json.loads(line) for line in log.read_text().splitlines()]
    assert [each["event"] for each in told_of] == [*events_, "before_turn", "before_stop", "turn_end"]
    first, turn, before, after, stop, end = told_of[:6]
    session = it.session.id
    assert all((each["schema"], each["session"], each["cwd"]) == (1, session, str(it.work)) for each in told_of)
    assert first["resumed"] is False and turn["prompt"] == "Look."
    assert (before["tool"], before["arguments"]["path"]) == ("read", "a.txt")
    assert "alpha" in after["result"]["text"] and after["result"]["is_error"] is False
    assert (stop["text"], stop["holds"]) == ("done", 0)
    assert (end["status"], end["text"], end["error"]) == ("done", "done", None)
    assert told(it) == []


@pytest.mark.parametrize(
    ("match", "call", "refused"),
    [
        (None, READ, True),
        ("read", READ, True),
        ("read(a.*)", READ, True),
        ("read(b.*)", READ, False),
        ("shell", READ, False),
        ("shell(rm *)", calls(("shell", {"command": "echo one"})), False),
        # Nobody can say what two commands in one are: the hook sees them.
        ("shell(rm *)", SHELL, True),
    ],
)
def test_a_refused_tool_does_not_run_and_the_model_is_told_why(
    tmp_path: Path, match: str | None, call: Any, refused: bool
) -> None:
    more = {} if match is None else {"match": match}
    it = bench(tmp_path, hook("before_tool", "echo not today >&2; exit 2", **more), lines=(call, "done"))
    it.run("Go.")
    (result,) = results(it)
    assert result.is_error is refused
    assert (result.text == "Refused by a check that the user has set up: not today") is refused
    assert finished(it)[-1].status == "done"


def test_what_a_hook_says_after_a_tool_stands_in_its_result(tmp_path: Path) -> None:
    it = bench(tmp_path, hook("after_tool", "echo lint: line 3 >&2; exit 2", match="read"), lines=(READ, "done"))
    it.run("Go.")
    assert results(it)[0].text.endswith("[A check that the user has set up says: lint: line 3]")


def test_a_hook_keeps_a_turn_from_ending_but_not_for_ever(tmp_path: Path) -> None:
    it = bench(
        tmp_path, hook("before_stop", "echo tests fail >&2; exit 2"), lines=("one", "two", "three", "4", "5", "6")
    )
    it.run("Go.")
    asked = [message.text for message in it.history if message.synthetic == "continuation"]
    assert len(asked) == 5 and all("tests fail" in text for text in asked)
    assert finished(it)[-1].text == "6" and len(told(it)) == 1


@pytest.mark.parametrize("event", ["session_start", "before_turn"])
def test_a_refused_turn_does_not_begin(tmp_path: Path, event: str) -> None:
    flag = tmp_path / "flag"
    it = bench(
        tmp_path, hook(event, f"test -e {flag} || {{ echo no branch >&2; exit 2; }}"), hook("turn_end", "exit 9")
    )
    it.run("Go.")
    (end,) = finished(it)
    assert (end.status, end.error and end.error.kind) == ("usage", "hook_refused")
    assert end.error is not None and "no branch" in end.error.message and it.client.requests == [] and told(it) == []
    flag.touch()
    it.run("Go.")
    assert finished(it)[-1].status == "done"


def test_what_hooks_know_at_the_beginning_goes_to_the_model_once(tmp_path: Path) -> None:
    it = bench(tmp_path, hook("session_start", "echo branch: main"), hook("before_turn", "true"), lines=("a", "b"))
    it.run("One.", "Two.")
    sent = [
        "".join(message.text for message in request.messages).count("\nbranch: main") for request in it.client.requests
    ]
    assert sent == [1, 1]  # what was sent stays sent, and is not said again
    assert not any("branch: main" in message.text for message in it.history)


@pytest.mark.parametrize(
    ("command", "more", "words"),
    [
        ("echo broken >&2; exit 1", {}, "failed with exit code 1 and is passed over: broken"),
        ("no-such-command-here", {}, "failed with exit code 127"),
        ("kill -9 $$", {}, "failed with exit code -9"),
        ("sleep 300 & sleep 300", {"timeout_s": 0.2}, "did not end within 0.2 s"),
    ],
)
def test_a_failure_of_a_hook_is_told_and_passed_over(
    tmp_path: Path, command: str, more: dict[str, Any], words: str
) -> None:
    it = bench(tmp_path, hook("before_tool", command, **more), lines=(READ, "done"))
    it.run("Go.")
    (said,) = told(it)
    assert words in said and not results(it)[0].is_error and finished(it)[-1].status == "done"


def test_a_hook_has_no_key_and_reads_input_of_any_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-not-for-hooks")
    out = tmp_path / "env"
    it = bench(tmp_path, hook("before_turn", f"env > {out}; true"))
    it.run("x" * 300_000)
    assert finished(it)[-1].status == "done" and told(it) == []
    assert "sk-or-not" not in out.read_text() and "MOA_DEPTH=1" in out.read_text()


def test_a_refused_compaction_leaves_the_conversation_as_it_is(tmp_path: Path) -> None:
    it = bench(tmp_path, hook("compaction", "cat > seen; echo keep it >&2; exit 2"), lines=tuple("abcdefgh"))
    it.run(*(f"{n} " + "word " * 400 for n in range(6)), "/compact")
    assert not any(message.synthetic == "summary" for message in it.history)
    assert json.loads((it.work / "seen").read_text())["reason"] == "command"
    assert any("keep it" in str(event) for event in it.seen)


def test_a_projects_hooks_count_once_it_is_trusted(tmp_path: Path) -> None:
    it = bench(tmp_path)
    inside = it.work / ".moa"
    inside.mkdir()
    (inside / "config.toml").write_text(hook("before_turn", "echo from the project >&2; exit 2"))
    it.run("Go.")
    assert finished(it)[-1].status == "done"
    config = tmp_path / "config" / "config.toml"
    config.write_text(f"{config.read_text()}\n[trust]\nfolders = [{json.dumps(str(it.work))}]\n")
    again = ChatBench(tmp_path, ("ok",), config=config.read_text(), options=Options(cwd=it.work))
    again.run("Go.")
    (end,) = finished(again)
    assert end.error is not None and "from the project" in end.error.message and ".moa" in (end.error.remedy or "")


def test_a_projects_hook_is_not_run_with_a_script_that_nobody_trusted(tmp_path: Path) -> None:
    it = bench(tmp_path)
    inside, script = it.work / ".moa", it.work / "check.sh"
    inside.mkdir()
    (inside / "config.toml").write_text(hook("before_turn", "sh check.sh"))
    script.write_text("echo trusted >> ran\n")
    config = tmp_path / "config" / "config.toml"
    config.write_text(f"{config.read_text()}\n[trust]\nfolders = [{json.dumps(str(it.work))}]\n")
    again = ChatBench(tmp_path, ("ok", "ok"), config=config.read_text(), options=Options(cwd=it.work))

    async def pull() -> None:
        script.write_text("echo pulled >> ran\n")

    again.run("Go.", pull, "And on.", "And on.")
    assert (it.work / "ran").read_text() == "trusted\n"
    assert len(told(again)) == 1 and "changed: ../check.sh" in told(again)[0]


@pytest.fixture
def unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A project that nobody has trusted yet, with this in its `.moa/config.toml`."""
    for kind in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"MOA_{kind}_DIR", str(tmp_path / kind))

    def make(text: str) -> Path:
        (tmp_path / "p" / ".moa").mkdir(parents=True)
        (tmp_path / "p" / ".moa" / "config.toml").write_text(text)
        return tmp_path / "p"

    return make


SERVER = '[mcp.servers.it]\ncommand = "npx"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (hook("before_tool", "./check.sh", match="shell"), "runs at before_tool (shell): ./check.sh"),
        (hook("turn_end", "true" + " " * 300 + "; evil"), "runs at turn_end: true" + " " * 300 + "; evil"),
        (hook("turn_end", "true \u202e\nevil"), r"runs at turn_end: true \u202e\nevil"),
        (SERVER + 'args = ["a b"]', "MCP server it, which is started or reached: npx 'a b'"),
        (SERVER + 'env = { A = "${GITHUB_TOKEN}" }', "MCP server it, which is started or reached: npx; with A=${GITHUB_TOKEN}"),
        (
            '[mcp.servers.it]\nurl = "https://a"\nheaders = { X = "${B}" }',
            "MCP server it, which is started or reached: https://a; with the header X: ${B}",
        ),
        (SERVER + 'read_only = ["*"]', "MCP server it, which is started or reached: npx; its tools * run WITHOUT ASKING"),
    ],
)  # fmt: skip
def test_trusting_a_project_shows_all_that_it_would_run(unseen: Callable[[str], Path], text: str, line: str) -> None:
    assert line in look(unseen(text)).lines


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[hook]]\nevent = 1", "hook is not a known key"),
        ("[mcp]\nstart_s = 3", "mcp.start_s is not a known key"),
        ("[mcp.server.it]\ncommand = 'x'", "mcp.server is not a known key"),
        ("[approve]\nallow = ['shell(*)']", "approve is not a known key"),
        ("[endpoints.openai]\nbase_url = 'https://evil'", "endpoints is not a known key"),
        ("model = 'evil:x'", "model is not a known key"),
        (SERVER + "cmd = 'x'", "mcp.servers.it.cmd is not a known key"),
        (SERVER + hook("turn_end", "x", wait=1), "hooks[1].wait is not a known key"),
        ("mcp = 3", "mcp is 3"),
    ],
)
def test_what_a_project_cannot_set_is_an_error(unseen: Callable[[str], Path], text: str, problem: str) -> None:
    with pytest.raises(UsageError) as raised:
        look(unseen(text))
    assert problem in raised.value.message and raised.value.remedy


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[hooks]]\ncommand = "x"', "hooks[1].event is missing"),
        (hook("before_everything", "x"), "hooks[1].event is 'before_everything'"),
        (hook("before_tool", " "), "hooks[1].command is missing"),
        (hook("turn_end", "x") + hook("turn_end", "x", match="shell"), "hooks[2].match is given for turn_end"),
        (hook("before_tool", "x", match="shell(("), "hooks[1].match"),
        (hook("before_tool", "x", timeout=3), "hooks[1].timeout is not a known key"),
        ("[hooks]\nevent = 1", "hooks"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, problem: str) -> None:
    it = bench(tmp_path, text)
    with pytest.raises(UsageError) as raised:
        it.build(replace(Options(), cwd=it.work))
    assert problem in raised.value.message and raised.value.remedy
