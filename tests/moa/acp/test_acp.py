"""`moa acp` as a real process, driven by the official package's client, as an editor does it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import acp
import pytest
from acp import helpers, schema

from moa.acp.updates import hunks
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, endpoint_config, preset_text
from tests.support.script import Behaviour, Say, Script

CONFIG_MORE = '[moa]\npreset = "p"\n'


class Editor:
    """The client side: keeps what it is told, and answers questions as `answers` says (the last repeats)."""

    def __init__(self, *answers: str) -> None:
        self.updates: list[Any] = []
        self.asked: list[schema.ToolCallUpdate] = []
        self.options: list[str] = []
        self.waits = asyncio.Event()
        self.changed = asyncio.Condition()
        self._answers = list(answers or ("once",))

    async def session_update(self, session_id: str, update: Any, **_more: Any) -> None:
        async with self.changed:
            self.updates.append(update)
            self.changed.notify_all()

    async def request_permission(
        self, session_id: str, tool_call: Any, options: list[Any], **_more: Any
    ) -> schema.RequestPermissionResponse:
        self.asked.append(tool_call)
        self.options = [option.name for option in options]
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer == "wait":
            self.waits.set()
            await asyncio.Event().wait()
        assert answer in {option.option_id for option in options}
        return schema.RequestPermissionResponse(outcome=schema.AllowedOutcome(outcome="selected", option_id=answer))

    async def until(self, found: Callable[[], Any]) -> None:
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(found)

    def of(self, kind: type) -> list[Any]:
        return [update for update in self.updates if isinstance(update, kind)]

    @property
    def said(self) -> str:
        return "".join(update.content.text for update in self.of(schema.AgentMessageChunk))

    @property
    def thought(self) -> str:
        return "".join(update.content.text for update in self.of(schema.AgentThoughtChunk))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def drive(program: Program, editor: Editor, do: Callable[[Any, str], Awaitable[Any]], *options: str) -> Any:
    """Start the program as an editor does, open a session in its folder, and do that with it."""

    async def main() -> Any:
        async with acp.spawn_agent_process(
            lambda _agent: editor,  # type: ignore[arg-type, return-value]
            str(program.executable),
            "acp",
            *options,
            env=program.environment,
            cwd=program.work_dir,
        ) as (conn, process):
            hello = await conn.initialize(protocol_version=acp.PROTOCOL_VERSION)
            assert hello.agent_capabilities is not None and hello.agent_capabilities.load_session
            session = await conn.new_session(cwd=str(program.work_dir), mcp_servers=[])
            result = await do(conn, session.session_id)
        assert process.returncode is not None
        return result

    return asyncio.run(main())


def text(words: str) -> list[Any]:
    return [helpers.text_block(words)]


@pytest.mark.slow
def test_a_plan_is_decided_on_in_the_editor(program: Program, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(
        models={"worker": Behaviour(steps=(Say(text="Plan:\n1. Do this and that."), Say(text="Done.")))}
    )
    editor = Editor("edits")

    async def do(conn: Any, session: str) -> Any:
        await conn.prompt(session_id=session, prompt=text("/plan do it"))
        # Approved, the main model is asked again; this one always says the same.
        await editor.until(lambda: editor.said.count("Do this and that.") == 2)

    drive(program, editor, do)
    (question,) = editor.asked
    assert "Do this and that." in question.content[0].content.text


EDIT = ("edit", {"path": "notes.txt", "old": "line 1: nothing to see\n", "new": "line 1: something\n"})


@pytest.mark.sample(1)
@pytest.mark.parametrize("answer", ["once", pytest.param("no", marks=pytest.mark.slow)])
def test_a_turn_with_a_tool_and_a_permission(program: Program, endpoint: ScriptedEndpoint, answer: str) -> None:
    read = ("read", {"path": "notes.txt"})
    steps = (Say(text="Let me see.", tools=(read,)), Say(tools=(EDIT,)), Say(text="Done with it."))
    endpoint.script = Script(models={"worker": Behaviour(steps=steps)})
    editor = Editor(answer)

    async def do(conn: Any, session: str) -> Any:
        await editor.until(lambda: editor.of(schema.AvailableCommandsUpdate))
        return await conn.prompt(session_id=session, prompt=text("Change the first line."))

    ended = drive(program, editor, do)
    assert ended.stop_reason == "end_turn" and ended.usage.total_tokens > 0
    assert editor.said == "Let me see.Done with it."
    commands = {command.name for command in editor.of(schema.AvailableCommandsUpdate)[0].available_commands}
    assert {"moa", "goal", "model", "help"} <= commands
    (question,) = editor.asked
    (change,) = question.content
    assert (change.type, change.path) == ("diff", str(program.work_dir / "notes.txt"))
    assert "line 1: nothing to see" in change.old_text and "line 1: something" in change.new_text
    starts = {update.tool_call_id: update for update in editor.of(schema.ToolCallStart)}
    assert [update.kind for update in starts.values()] == ["read"]
    ends = {update.tool_call_id: update.status for update in editor.of(schema.ToolCallProgress)}
    assert ends[question.tool_call_id] == ("completed" if answer == "once" else "failed")
    changed = "something" in (program.work_dir / "notes.txt").read_text()
    assert changed is (answer == "once")


def test_a_question_shows_all_that_would_run_and_nothing_steers(program: Program, endpoint: ScriptedEndpoint) -> None:
    evil = "A\x1b]52;c;aGk=\x07\x1b[2J\u202eB\x9b31mC"
    command = f"true {evil} \u200b" + "x" * 25_000 + "; touch hidden"
    todo = ("todo", {"items": [{"text": evil, "status": "pending"}]})
    steps = (Say(text=evil, tools=(("shell", {"command": command}), todo)), Say(text="Done."))
    endpoint.script = Script(models={"worker": Behaviour(steps=steps)})
    (program.work_dir / "a\x1b[2Jb.txt").write_text("x")
    editor = Editor("no")

    async def do(conn: Any, session: str) -> Any:
        return await conn.prompt(session_id=session, prompt=text("go"))

    drive(program, editor, do)
    (question,) = editor.asked
    shown = question.content[0].content.text
    assert (
        shown.endswith("x; touch hidden") and r"true A\x1b]52" in shown and r"\u202eB" in shown and r"\u200b" in shown
    )
    assert editor.options[1].startswith("Allow for this session: shell(true A")
    told = json.dumps([each.model_dump() for each in (*editor.updates, question)], ensure_ascii=False)
    assert not [mark for mark in (r"\u001b", "\x9b", "\u202e") if mark in told]


def test_a_stopped_turn_is_cancelled_while_it_asks_and_while_it_writes(
    program: Program, endpoint: ScriptedEndpoint
) -> None:
    steps = (Say(tools=(EDIT,)),)
    endpoint.script = Script(
        models={"worker": Behaviour(steps=steps), "hanging": Behaviour(steps=(Say(shape="stall"),))}
    )
    editor = Editor("wait")

    async def do(conn: Any, session: str) -> Any:
        asking = asyncio.create_task(conn.prompt(session_id=session, prompt=text("Change it.")))
        await editor.waits.wait()
        await conn.cancel(session_id=session)
        first = await asking
        await conn.prompt(session_id=session, prompt=text("/model fake:hanging"))
        said = len(editor.updates)
        writing = asyncio.create_task(conn.prompt(session_id=session, prompt=text("Write.")))
        await editor.until(lambda: any(isinstance(each, schema.AgentMessageChunk) for each in editor.updates[said:]))
        await conn.cancel(session_id=session)
        return first, await writing

    assert [ended.stop_reason for ended in drive(program, editor, do)] == ["cancelled", "cancelled"]
    assert "something" not in (program.work_dir / "notes.txt").read_text()


@pytest.mark.slow
def test_the_panel_is_a_plan_and_a_session_can_be_loaded_again(program: Program, endpoint: ScriptedEndpoint) -> None:
    program.config(endpoint_config(endpoint.base_url, more="") + CONFIG_MORE)
    program.preset("p", preset_text(["fake:one", "fake:two"], aggregate="raw", cadence="turn"))
    endpoint.script = Script(models={"worker": Behaviour(steps=(Say(text="The answer."),))})
    editor = Editor()

    async def do(conn: Any, session: str) -> str:
        await conn.prompt(session_id=session, prompt=text("/moa on"))
        await conn.prompt(
            session_id=session, prompt=[*text("Look at "), helpers.resource_link_block("n", "file:///n.txt")]
        )
        return session

    session = drive(program, editor, do)
    plans = [[(entry.content, entry.status) for entry in plan.entries] for plan in editor.of(schema.AgentPlanUpdate)]
    assert {status for _content, status in plans[-1]} == {"completed"} and len(plans[-1]) == 2
    assert all("answered" in content for content, _status in plans[-1])
    assert "in_progress" in {status for plan in plans for _content, status in plan}
    assert endpoint.calls("worker")[0].body["messages"][-1]["content"] is not None and "fake:one" in str(plans)
    again = Editor()

    async def load(conn: Any, _new: str) -> Any:
        await conn.load_session(cwd=str(program.work_dir), session_id=session, mcp_servers=[])
        with pytest.raises(acp.RequestError) as raised:
            await conn.load_session(cwd=str(program.work_dir), session_id="no-such-session", mcp_servers=[])
        assert raised.value.code == -32002 and "no-such-session" in str(raised.value.data)
        listed = await conn.list_sessions()
        return [each.session_id for each in listed.sessions]

    assert session in drive(program, again, load)
    users = [update.content.text for update in again.of(schema.UserMessageChunk)]
    assert users == ["Look at /n.txt"] and "The answer." in again.said


@pytest.mark.slow
def test_failures_are_told_in_the_conversation(program: Program, endpoint: ScriptedEndpoint) -> None:
    editor = Editor()

    async def do(conn: Any, session: str) -> Any:
        await conn.set_session_mode(session_id=session, mode_id="deny")
        with pytest.raises(acp.RequestError):
            await conn.set_session_mode(session_id=session, mode_id="yolo")
        with pytest.raises(acp.RequestError):
            await conn.prompt(session_id="unknown", prompt=text("Hi."))
        ended = await conn.prompt(session_id=session, prompt=text("Hi."))
        await conn.prompt(session_id=session, prompt=text("/nonsense"))
        return ended

    ended = drive(program, editor, do, "--model", "fake:fail-401")
    assert ended.stop_reason == "end_turn" and ended.field_meta["moa"]["status"] == "failed"
    assert "401" in editor.said or "refused" in editor.said or "key" in editor.said
    assert "there is no command /nonsense" in editor.said


def test_hunks_are_texts_before_and_after() -> None:
    diff = "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n a\n-b\n+c\n d\n@@ -9 +9 @@\n-- e\n++ f\n"
    assert list(hunks(diff)) == [("a\nb\nd", "a\nc\nd"), ("- e", "+ f")]


NO_MESSAGES = ("[]", "null", "5", '"x"', "{", "[" * 5_000, '{"id": [], "result": 1}', '{"id": {}, "method": "initialize"}',
               '{"id": 1, "method": []}', '{"id": 0, "error": 5}')  # fmt: skip


def test_a_line_that_is_no_message_is_answered_and_the_next_one_read(program: Program) -> None:
    image = {"type": "image", "mimeType": "image/png", "data": "PHN2Zz4="}
    requests = (
        ("session/new", {"cwd": "here", "mcpServers": []}, "absolute"),
        ("session/load", {"cwd": str(program.work_dir), "sessionId": "", "mcpServers": []}, "empty"),
        ("session/prompt", {"sessionId": "", "prompt": [image]}, "no open session"),
        ("initialize", {"protocolVersion": 1}, "agentInfo"),
    )
    lines = [*NO_MESSAGES]
    lines += [json.dumps({"jsonrpc": "2.0", "id": n, "method": m, "params": p}) for n, (m, p, _) in enumerate(requests)]
    done = subprocess.run(
        [program.executable, "acp"], input="\n".join(lines), env=program.environment, cwd=program.work_dir,
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(said) == len(lines)
    refused = [each["error"]["code"] for each in said if each["id"] is None]
    assert refused.count(-32600) == 8 and refused.count(-32700) == 2
    answers = {each["id"]: json.dumps(each) for each in said if each["id"] is not None}
    assert all(words in answers[n] for n, (_, _, words) in enumerate(requests)), answers


@pytest.mark.slow
def test_what_is_no_image_is_refused(program: Program) -> None:
    async def do(conn: Any, session: str) -> None:
        svg = schema.ImageContentBlock(type="image", mime_type="image/png", data="PHN2Zz4=")
        with pytest.raises(acp.RequestError) as raised:
            await conn.prompt(session_id=session, prompt=[svg])
        assert "PNG" in str(raised.value.data)

    drive(program, Editor(), do)


@pytest.mark.slow
def test_a_folder_that_is_not_there_is_an_error_of_the_request(program: Program, tmp_path: Path) -> None:
    async def do(conn: Any, _session: str) -> None:
        with pytest.raises(acp.RequestError) as raised:
            await conn.new_session(cwd=str(tmp_path / "gone"), mcp_servers=[])
        assert "not a folder" in str(raised.value.data)

    drive(program, Editor(), do)
