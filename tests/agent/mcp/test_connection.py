"""A foreign server that does well, and every way of doing badly: what the model reads of it, what the user is told, what is left running."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest

from agent.approval.approval import ApprovalRequest, Approvals, UserAnswer
from agent.config.mcp import ServerSettings
from agent.files.deny_paths import DenyPaths
from agent.llm.messages import ToolCallPart
from agent.loop.tool_runner import ToolRunner
from agent.mcp.connection import Connection, Place
from agent.mcp.http import make_client
from agent.mcp.names import remote_tools, safe_name
from agent.mcp.servers import Servers
from agent.tools.base import ToolContext
from tests.support.processes import children
from tests.support.waiting import until

SERVER = Path(__file__).parents[2] / "support" / "foreign_server.py"


@dataclass
class Connected:
    """One foreign server, and what runs the tools of it: `told` is what the user hears, `seen` the progress of calls."""

    servers: Servers
    runner: ToolRunner
    told: list[tuple[str, str]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    async def call(self, name: str, arguments: Any = None, **more: Any) -> str:
        call = ToolCallPart(id="c1", name=name, arguments=json.dumps(arguments or {}))
        return "".join([message.text async for message in self.runner.run([call], None, self._heard)])

    async def echo(self, text: str) -> str:
        return await self.call("mcp__it__echo", {"text": text})

    def _heard(self, event: Any) -> None:
        if event.type == "tool_progress":
            self.seen.append(event.text)

    async def begin(self) -> None:
        await self.servers.before_request(lambda event: self.told.append((event.code, event.text)))

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition, lambda: str(self.told))


@asynccontextmanager
async def connected(tmp_path: Path, mode: str = "good", note: str = "", **settings: Any) -> AsyncIterator[Connected]:
    start_s = settings.pop("start_s", 20.0)
    longest = settings.pop("longest_start_s", 20.0)
    one = ServerSettings(
        name="it", kind="stdio", command=sys.executable, args=("-SE", str(SERVER), mode, note), **settings
    )
    work = tmp_path / "work"
    work.mkdir()
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "OPENAI_API_KEY": "sk-123456789",
        "TOKEN_OF_MINE": "t0k3n-of-mine",
    }
    place = Place(cwd=work, own=tmp_path / "own", env=env)
    servers = Servers([one], place, start_s=start_s, longest_start_s=longest)
    deny = DenyPaths((".env",), work)
    context = ToolContext(cwd=work, scratch=tmp_path / "scratch", deny_paths=deny)
    runner = ToolRunner([servers.tool], context, Approvals("all", deny_paths=deny))
    servers.attach(runner)
    try:
        yield Connected(servers, runner)
    finally:
        await servers.aclose()


# what is said to `echo`: what the model reads of it, and what the user is told. Afterwards the server runs and answers.
CALLS: dict[str, tuple[tuple[str, ...], str]] = {
    "hello": (("you said hello",), ""),
    "crash": (("broke off during echo", "exit code 3", "assertion failed", "started again", "not known"), "mcp_restarted"),
    "hang": (("said nothing for 0.3 s", "answers nothing any more", "not known"), "mcp_restarted"),
    "slow": (("said nothing for 0.3 s and was given up", "not known"), ""),
    "flood": (("it floods", "started again"), "mcp_restarted"),
    "endless": (("more than 16 MB", "started again"), "mcp_restarted"),
    "error": (("echo of the MCP server it failed: no such",), ""),
    "failed": (("you said failed",), ""),
    "nonsense": (("echo of the MCP server it failed",), ""),
    "halves": (("half \ufffd of one",), ""),
    "deep": (("echo of the MCP server it failed: its answer can't be read: nested deeper",), ""),
    "null": (("echo of the MCP server it failed: its answer can't be read: it is no answer",), ""),
    "kinds": (("plain", "(image: image/png, 5 bytes; it can't be shown here)", "file:///log", "inside"), ""),
    "big": (("bytes left out; the whole in",), ""),
    "progress": (("you said progress",), ""),
}  # fmt: skip


def _rows(rows: dict[str, Any], long: tuple[str, ...]) -> list[Any]:
    """The default suite has the short ones."""
    return [pytest.param(row, marks=pytest.mark.slow) if row in long else row for row in rows]


@pytest.mark.parametrize("said", _rows(CALLS, ("hang", "flood", "endless")))
def test_a_call(tmp_path: Path, said: str) -> None:
    async def run() -> None:
        read, code = CALLS[said]
        async with connected(tmp_path, timeout_s=0.3 if said in ("hang", "slow") else 20.0) as it:
            await it.begin()
            text = await it.echo(said)
            for words in read:
                assert words in text
            assert "\x1b" not in text and "\x07" not in text and len(text) < 20_000
            await it.until(lambda: it.servers.connections["it"].state == "ready")
            assert [each for each, _text in it.told] == ([code] if code else [])
            assert it.seen == (["1 of 2\n", "2 of 2\n"] if said == "progress" else [])
            assert await it.echo("again") == "you said again"

    asyncio.run(run())


def test_an_answer_is_not_held_to_the_servers_own_patterns(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, "pattern") as it:
            await it.begin()
            assert await it.echo("hello") == "you said hello"

    asyncio.run(run())


@pytest.mark.parametrize(("encoding", "count"), [("", 40), ("gzip", 1)])
def test_an_answer_over_http_is_bounded(encoding: str, count: int) -> None:
    async def run() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            packed = f"content-encoding: {encoding}\r\n" if encoding else ""
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{packed}\r\n".encode())
            with suppress(ConnectionError):
                for _ in range(count):
                    writer.write(b"x" * 1_000_000)
                    await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        client = make_client({}, lambda _status, _reason: None)
        with pytest.raises(httpx2.RemoteProtocolError, match=r"more than 16 MB|packed"):
            await client.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await client.aclose()
        server.close()

    asyncio.run(run())


# how it starts: what the user is told, and what the model reads when it calls it all the same
STARTS: dict[str, tuple[str, ...]] = {
    "dead": ("did not start", "exit code 1", "its last words: cannot open the database"),
    "garbage": ("did not start", "not ready within 1 s", "without JSON-RPC, the first: Starting up, please wait"),
    "mute": ("did not start", "not ready within 1 s"),
}


@pytest.mark.parametrize("mode", _rows(STARTS, ("garbage", "mute")))
def test_a_start_that_fails(tmp_path: Path, mode: str) -> None:
    async def run() -> None:
        async with connected(tmp_path, mode, longest_start_s=1.0) as it:
            await it.begin()
            ((code, told),) = it.told
            assert code == "mcp_failed" and "\x1b" not in told
            for words in STARTS[mode]:
                assert words in told
            assert list(it.runner.tools) == ["mcp"]
            assert "it: is not there" in await it.call("mcp")
            assert "is not there" in await it.call("mcp", {"server": "it", "tool": "echo", "arguments": {"text": "x"}})

    asyncio.run(run())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"command": "no-such-program"}, "there is no program no-such-program on this machine"),
        ({"env": {"A": "${NOT_SET_ANYWHERE}"}}, "names ${NOT_SET_ANYWHERE}, which is not set"),
        ({"kind": "http", "url": "http://127.0.0.1:9/mcp"}, "did not start"),
    ],
)
def test_a_server_that_can_not_be_started_is_told(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    async def run() -> None:
        told: list[str] = []
        one = ServerSettings(**{"name": "it", "kind": "stdio", "command": sys.executable, **settings})
        place = Place(cwd=tmp_path, own=tmp_path / "own", env={"PATH": "/usr/bin:/bin"})
        servers = Servers([one], place, start_s=20.0, longest_start_s=20.0)
        await servers.before_request(lambda event: told.append(event.text))
        await servers.aclose()
        assert words in told[0]

    asyncio.run(run())


def test_none_is_started_before_the_first_request_and_none_is_left(tmp_path: Path) -> None:
    async def run() -> None:
        note = tmp_path / "note"
        before = set(children(os.getpid()))
        async with connected(tmp_path, "good", str(note)) as it:
            assert await it.call("mcp") == "it: 0 tools"
            assert not note.exists()
            await it.begin()
            await it.begin()
            assert note.read_text() == "started\n"
            child = json.loads(await it.call("mcp__it__env", {"text": ""}))
            assert not {"OPENAI_API_KEY", "TOKEN_OF_MINE"} & set(child["env"])
            assert child["env"]["MOA_DEPTH"] == "1" and child["cwd"] == str(tmp_path / "own" / "it")
            pids = set(children(os.getpid())) - before
            assert pids
        assert not pids & set(children(os.getpid()))

    asyncio.run(run())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="what leaves its group is found on Linux alone")
def test_what_a_server_has_started_ends_with_it_wherever_it_went(tmp_path: Path) -> None:
    async def run() -> None:
        note = tmp_path / "note"
        async with connected(tmp_path, "strays", str(note)) as it:
            await it.begin()
            left = Path("/proc", note.read_text(), "stat")
            assert left.exists()
        await it.until(lambda: not left.exists() or ") Z " in left.read_text())

    asyncio.run(run())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"env": {"SOME": "Bearer ${OPENAI_API_KEY}"}}, "asks for a key of yours (Bearer ${OPENAI_API_KEY})"),
        ({"args": ("-c", "${OPENAI_API_KEY}")}, "asks for a key of yours"),
        ({"args": ("-c", "${NOTHING:-${OPENAI_API_KEY}")}, ""),
        ({"kind": "http", "command": "", "args": (), "url": "http://127.0.0.1:9/${OPENAI_API_KEY}"}, "asks for a key"),
        ({"kind": "sse", "command": "", "args": (), "url": "http://127.0.0.1:9/", "headers": {"x-a": "${OPENAI_API_KEY}"}}, "asks for a key"),
        ({"env": {"SOME": "${TOKEN_OF_MINE}"}}, ""),
    ],
)  # fmt: skip
def test_a_projects_server_gets_no_key_of_yours(tmp_path: Path, settings: dict[str, Any], problem: str) -> None:
    async def run() -> None:
        env = {"PATH": "/usr/bin:/bin", "OPENAI_API_KEY": "sk-123456789", "TOKEN_OF_MINE": "t0k3n-of-mine"}
        server = ServerSettings(**{"name": "it", "kind": "stdio", "command": "/bin/false", **settings}, of_project=True)
        place = Place(cwd=tmp_path, own=tmp_path / "own", env=env)
        it = Connection(server, place, redact=lambda text: text.replace("sk-123456789", "[key]"))
        it.start()
        await it.settled()
        await it.aclose()
        assert ("a key of yours" in it.problem) == bool(problem) and problem in it.problem

    asyncio.run(run())


def test_a_projects_server_is_not_started_once_the_project_has_changed(tmp_path: Path) -> None:
    async def run() -> None:
        place = Place(tmp_path, tmp_path / "own", {"PATH": "/usr/bin:/bin"}, lambda: "check.sh has changed")
        for of_project in (True, False):
            command = ("/bin/sh", ("-c", f"touch {tmp_path}/{of_project}"))
            it = Connection(ServerSettings("it", "stdio", *command, of_project=of_project), place)
            it.start()
            await it.settled()
            await it.aclose()
            assert ("check.sh has changed" in it.problem) is of_project

    asyncio.run(run())
    assert (tmp_path / "False").exists() and not (tmp_path / "True").exists()


def test_no_tool_has_the_name_of_another_servers() -> None:
    for one, other in ((("a", "b__c"), ("a__b", "c")), (("a_", "b"), ("a", "_b")), (("a", "b c"), ("a", "b_c"))):
        assert safe_name(*one) != safe_name(*other)
    assert safe_name("files", "read_file") == "mcp__files__read_file"


def test_a_server_that_ends_three_times_in_a_row_stays_down(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as it:
            await it.begin()
            for _ in range(3):
                await it.echo("crash")
            assert [code for code, _text in it.told] == ["mcp_restarted", "mcp_restarted", "mcp_failed"]
            assert "is not there" in await it.echo("hello")
            await it.servers.connections["it"].restart()
            assert await it.echo("hello") == "you said hello"

    asyncio.run(run())


def test_names_descriptions_and_schemas_are_made_safe(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, "names") as it:
            await it.begin()
            names = [name for name in it.runner.tools if name != "mcp"]
            assert names[0] == "mcp__it__echo" and len(names) == len(set(names)) == 5
            assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)
            assert "\x1b" not in repr([tool.spec for tool in it.runner.tools.values()]).replace("\\x1b", "")
            assert await it.call(names[1], {"text": "hello"}) == "you said hello"
            problems = it.servers.connections["it"].left_out
            assert len(problems) == 3 and "its tool list has a schema that is not an object" in problems[2]

    asyncio.run(run())


@pytest.mark.parametrize("schema", [json.loads('{"a":' * 90 + "1" + "}" * 90), {"minLength": 10**400}])
def test_a_schema_that_no_session_keeps_is_left_out(schema: dict[str, Any]) -> None:
    (tool,), (problem,) = remote_tools("it", [("odd", "", {"items": [[[[[[[[[[[schema]]]]]]]]]]]}), ("sound", "", {})])
    assert tool.name == "sound" and "odd has a schema" in problem


def test_a_late_server_and_late_tools_come_through_the_one_listed_tool(tmp_path: Path) -> None:
    async def run() -> None:
        note = tmp_path / "go"
        async with connected(tmp_path, "late", str(note), start_s=0.05) as it:
            await it.begin()
            it.runner.listed = it.runner.specs
            assert [code for code, _text in it.told] == ["mcp_late"] and list(it.runner.tools) == ["mcp"]
            assert await it.call("mcp") == "it: is being started"
            assert "(it)" in it.servers.tool.spec.description
            asked = asyncio.create_task(it.call("mcp", {"server": "it"}))
            note.touch()
            assert "- echo: " in await asked  # it is waited for
            assert await it.call("mcp", {"server": "it", "tool": "echo", "arguments": {"text": "a"}}) == "you said a"
            assert it.servers.news() == {"it": "echo, env"}
            await it.call("mcp", {"server": "it", "tool": "mcp__it__echo", "arguments": {"text": "grow"}})
            await it.until(lambda: "extra" in it.servers.news()["it"])
            assert "Allowed now" not in it.servers.news()["it"] and "\n" not in it.servers.news()["it"]
            assert "- extra: Says it again." in await it.call("mcp", {"server": "it"})
            wrong = await it.call("mcp", {"server": "it", "tool": "echo", "arguments": {"txt": "a"}})
            assert 'the argument "text" is missing' in wrong
            assert "There are: it" in await it.call("mcp", {"server": "else"})

    asyncio.run(run())


def test_a_schema_that_changes_is_the_tools_own_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as it:
            await it.begin()
            await it.echo("change")
            tool = it.runner.tools["mcp__it__echo"]
            await it.until(lambda: "loud" in it.runner.tools["mcp__it__echo"].spec.parameters["properties"])
            assert tool is not it.runner.tools["mcp__it__echo"]
            assert 'the argument "loud" is missing' in await it.echo("hello")

    asyncio.run(run())


def test_nobody_waits_for_tools_that_a_server_does_not_tell_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as it:
            await it.begin()
            assert "you said change_and_mute" in await it.echo("change_and_mute")
            assert "you said hello" in await it.echo("hello")
            one = it.servers.connections["it"]
            await asyncio.wait_for(one.restart(), 15)
            assert "you said hello" in await it.echo("hello")
            await it.echo("change_and_mute")
            await asyncio.wait_for(it.servers.aclose(), 15)

    asyncio.run(run())


def test_a_crowd_of_tools_is_not_kept(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, "crowd") as it:
            await it.begin()
            one = it.servers.connections["it"]
            assert one.state == "ready" and not one.tools and len(one.left_out) == 1_000

    asyncio.run(run())


def test_nobody_waits_for_the_goodbye_of_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.mcp.connection.END_S", 0.1)
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, length = head.split()[0], re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
                asked.append(method)
                if method != "POST":
                    await asyncio.Event().wait()
                message = json.loads(await reader.readexactly(int(length[1]))) if length else {}
                result: dict[str, Any] = {"tools": []}
                if message["method"] == "initialize":
                    about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}}
                    result = {"protocolVersion": message["params"]["protocolVersion"], **about}
                known = message["method"] in ("initialize", "tools/list")
                told = {"result": result} if known else {"error": {"code": -32601, "message": "no"}}
                body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), **told}).encode()
                kind = b"content-type: application/json\r\nmcp-session-id: 1\r\n"
                writer.write(b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (kind, len(body), body))

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        place = Place(cwd=tmp_path, own=tmp_path, env={})
        one = Connection(ServerSettings(name="it", kind="http", url=url), place)
        one.start()
        await one.settled()
        assert one.state == "ready", one.problem
        await asyncio.wait_for(one.aclose(), 15)
        assert "DELETE" in asked
        server.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("mode", "rules", "read_only", "allowed"),
    [
        ("deny", (), (), False),
        ("deny", ("mcp(it/echo)",), (), False),
        ("deny", (), ("ec*",), True),
        ("ask", (), (), False),
        ("ask", ("mcp(it/echo)",), (), True),
        ("ask", ("mcp(it/*)",), (), True),
        ("ask", ("mcp(it/env)",), (), False),
        ("all", (), (), True),
    ],
)
def test_approval_holds_for_both_ways_to_call_a_tool(
    tmp_path: Path, mode: Any, rules: tuple[str, ...], read_only: tuple[str, ...], allowed: bool
) -> None:
    async def run() -> None:
        async with connected(tmp_path, read_only=read_only) as it:
            it.runner.approvals = Approvals(mode, rules, deny_paths=it.runner.context.deny_paths)
            await it.begin()
            assert ("you said x" in await it.echo("x")) is allowed
            way = {"server": "it", "tool": "mcp__it__echo", "arguments": {"text": "x"}}
            assert ("you said x" in await it.call("mcp", way)) is allowed
            assert "- echo: Says it again." in await it.call("mcp", {"server": "it"})

    asyncio.run(run())


def test_a_denied_path_reaches_no_server(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as it:
            await it.begin()
            assert ".env" in (text := await it.echo(".env")) and "you said" not in text
            place = f"{tmp_path}/work/.env"
            for spelt in (f"file://{place}", f"FILE:{place}", f"file://localhost{place}", f"file://{place[:-3]}%65nv"):
                assert "you said" not in await it.echo(spelt), spelt
            assert await it.echo("file://localhost/srv/x") == "you said file://localhost/srv/x"

    asyncio.run(run())


def test_a_users_hook_sees_one_name_whichever_way_a_tool_is_called(tmp_path: Path) -> None:
    class Guard:
        seen: ClassVar[list[Any]] = []

        async def before_tool(self, call: Any, subject: Any, _context: Any, _emit: Any) -> str | None:
            self.seen.append((call.name, subject.arguments["server"], subject.arguments["tool"]))
            return "no"

    async def run() -> None:
        async with connected(tmp_path) as it:
            await it.begin()
            it.runner.context.guard = Guard()  # type: ignore[assignment]
            assert await it.echo("x") == "no"
            way = {"server": "it", "tool": "mcp__it__echo", "arguments": {"text": "x"}}
            assert await it.call("mcp", way) == "no"
            assert Guard.seen == [("mcp", "it", "echo")] * 2

    asyncio.run(run())


def test_a_yes_for_the_session_holds_for_both_ways(tmp_path: Path) -> None:
    asked: list[ApprovalRequest] = []

    class Yes:
        async def ask(self, request: ApprovalRequest) -> UserAnswer:
            asked.append(request)
            return UserAnswer("session")

    async def run() -> None:
        async with connected(tmp_path) as it:
            it.runner.approvals = Approvals("ask", deny_paths=it.runner.context.deny_paths, approver=Yes())
            await it.begin()
            assert await it.echo("x") == "you said x"
            way = {"server": "it", "tool": "mcp__it__echo", "arguments": {"text": "y"}}
            assert await it.call("mcp", way) == "you said y"
            assert [(one.rule, one.title) for one in asked] == [("mcp(it/echo)", 'it: echo {"text": "x"}')]

    asyncio.run(run())
