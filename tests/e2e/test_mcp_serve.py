"""`moa mcp serve` in front of the official client: its tools, its progress, its tasks, and what it refuses."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, preset_text
from tests.support.script import ANALYSIS, Behaviour, Say, Script

POINT = ANALYSIS["consensus"][0]


@pytest.fixture
def panel(program: Program, endpoint: ScriptedEndpoint) -> Program:
    program.preset("panel", preset_text(["fake:alpha", "fake:beta"]))
    program.preset("stuck", preset_text(["fake:alpha", "fake:stuck"]))
    program.preset("quiet", preset_text(["fake:silent"]))
    program.preset("broken", preset_text(["fake:fail-401"]))
    stuck = Behaviour(steps=(Say(shape="hang"),))
    silent, compared = Behaviour(steps=(Say(text="NOTHING"),)), Behaviour(steps=(Say(analysis=ANALYSIS),))
    endpoint.script = Script(models={"stuck": stuck, "silent": silent, "worker": compared, "judge": compared})
    with (program.config_dir / "config.toml").open("a") as file:
        file.write('\n[moa]\npreset = "panel"\n')
    return program


@asynccontextmanager
async def client(
    panel: Program, mode: str = "auto", env: dict[str, str] | None = None, **more: Any
) -> AsyncIterator[Any]:
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters

    server = StdioServerParameters(
        command=str(panel.executable),
        args=["mcp", "serve"],
        env={**panel.environment, **(env or {})},
        cwd=panel.work_dir,
    )
    async with Client(server, mode=mode, **more) as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_official_client_lists_and_calls_every_tool(panel: Program, endpoint: ScriptedEndpoint, mode: str) -> None:
    async def run() -> None:
        heard: list[tuple[float, str]] = []

        async def progress(count: float, _total: float | None, words: str | None) -> None:
            heard.append((count, words or ""))

        async with client(panel, mode) as server:
            tools = {tool.name: tool for tool in (await server.list_tools()).tools}
            assert list(tools) == ["consult", "presets", "activity"]
            assert set(tools["consult"].input_schema["properties"]) == {"question", "preset", "context"}
            asked = {"question": "Which way?", "context": "There are two ways."}
            found = await server.call_tool("consult", asked, progress_callback=progress)
            assert not found.is_error and POINT in found.content[0].text
            facts = found.structured_content
            assert facts["preset"] == "panel" and len(facts["answered"]) == 2 and facts["analysis"]["consensus"]
            assert [count for count, _words in heard] == [*range(1, len(heard) + 1)]
            assert any("alpha" in words and "answered" in words for _count, words in heard)
            prompt = str(endpoint.calls("alpha")[0].body["messages"])
            assert "Which way?" in prompt and "There are two ways." in prompt
            listed = await server.call_tool("presets", {})
            assert "panel (default)" in listed.content[0].text
            spent = await server.call_tool("activity", {"since": "2h"})
            assert spent.structured_content["count"] == 3
        done = panel("replay", facts["run"], "--aggregator", "fake:judge", "--json")
        assert done.code == 0 and POINT in done.out, done.err

    asyncio.run(run())


ANSWERS: dict[str, tuple[dict[str, Any], dict[str, str], bool, str]] = {
    "silent": ({"question": "x", "preset": "quiet"}, {}, False, "The panel has nothing to add."),
    "nobody answers": ({"question": "x", "preset": "broken"}, {}, True, "Nobody on the panel answered"),
    "no such preset": ({"question": "x", "preset": "pannel"}, {}, True, "panel"),
    "empty": ({"question": " "}, {}, True, "the question is empty"),
    "a panel asks": ({"question": "x"}, {"MOA_DEPTH": "1"}, True, "inside of a panel already"),
}


@pytest.mark.slow
@pytest.mark.parametrize("row", ANSWERS)
def test_what_is_no_counsel_is_an_answer_that_says_so(panel: Program, endpoint: ScriptedEndpoint, row: str) -> None:
    async def run() -> None:
        arguments, env, failed, words = ANSWERS[row]
        async with client(panel, env=env) as server:
            found = await server.call_tool("consult", arguments)
            assert found.is_error is failed and words in found.content[0].text
        if env:
            assert not endpoint.calls("alpha")

    asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_call_that_is_given_up_closes_its_connections(panel: Program, endpoint: ScriptedEndpoint, mode: str) -> None:
    async def run() -> None:
        async with client(panel, mode) as server:
            call = asyncio.create_task(server.call_tool("consult", {"question": "x", "preset": "stuck"}))
            await asyncio.to_thread(endpoint.wait_for, lambda: endpoint.calls("stuck"))
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            await asyncio.to_thread(endpoint.wait_for, lambda: endpoint.calls("stuck")[0].disconnected is not None)
            found = await server.call_tool("consult", {"question": "x", "preset": "quiet"})
            assert "nothing to add" in found.content[0].text

    asyncio.run(run())


def _tasks() -> Any:
    """What a client says that can do with tasks."""
    from mcp.client import ClientExtension, ResultClaim
    from mcp_types import CallToolResult, Result

    class Handle(Result):
        result_type: Literal["task"] = "task"
        task_id: str
        status: str

    class Answered(Result):
        status: str
        status_message: str = ""
        result: dict[str, Any] | None = None

    class Able(ClientExtension):
        identifier = "io.modelcontextprotocol/tasks"
        stop = False

        def __init__(self) -> None:
            self.handles: list[str] = []

        def claims(self) -> Any:
            return [ResultClaim(result_type="task", model=Handle, resolve=self.resolve)]

        async def resolve(self, handle: Any, context: Any) -> CallToolResult:
            self.handles.append(handle.task_id)
            if self.stop:
                await self.ask(context.session, "tasks/cancel")
            while (now := await self.ask(context.session, "tasks/get")).status == "working":
                pass
            self.last = now
            return CallToolResult.model_validate(now.result or {"content": []})

        async def ask(self, session: Any, method: str) -> Any:
            from mcp_types import Request, RequestParams

            class Params(RequestParams):
                task_id: str

            request = Request[Params, str](method=method, params=Params(task_id=self.handles[-1]))
            return await session.send_request(request, Answered if method == "tasks/get" else Result)

    return Able()


@pytest.mark.slow
def test_who_declares_tasks_gets_a_handle_and_can_stop_it(panel: Program, endpoint: ScriptedEndpoint) -> None:
    async def run() -> None:
        able = _tasks()
        async with client(panel, extensions=[able]) as server:
            found = await server.call_tool("consult", {"question": "Which way?"})
            assert POINT in found.content[0].text and len(able.handles) == 1
            assert able.last.status == "completed"
            await server.call_tool("presets", {})
            assert len(able.handles) == 1
            able.stop = True
            await server.call_tool("consult", {"question": "x", "preset": "stuck"})
            assert able.last.status == "cancelled"

    asyncio.run(run())


@pytest.mark.slow
def test_over_http_it_wants_its_key_and_looks_at_the_depth(panel: Program, endpoint: ScriptedEndpoint) -> None:
    child = panel.start("mcp", "serve", "--http", "0")
    assert child.stderr is not None
    address = re.fullmatch(r"listening on (\S+)\n", child.stderr.readline())
    key = re.search(r"Bearer (\S+)\"", child.stderr.readline())
    assert address is not None and key is not None

    async def run() -> None:
        import httpx2
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client

        url = address[1]
        async with httpx2.AsyncClient() as stranger:
            assert (await stranger.post(url, json={})).status_code == 401
        for headers, words in (({}, POINT), ({"x-moa-depth": "1"}, "inside of a panel already")):
            with_key = {"Authorization": f"Bearer {key[1]}", **headers}
            async with (
                httpx2.AsyncClient(headers=with_key) as http,
                Client(streamable_http_client(url, http_client=http)) as server,
            ):
                found = await server.call_tool("consult", {"question": "Which way?"})
                assert words in found.content[0].text

    asyncio.run(run())
    child.terminate()
    child.wait(10)


@pytest.mark.slow
def test_an_address_as_a_foreign_server_may_go_and_come_back(panel: Program, tmp_path: Path) -> None:
    from agent.config.mcp import ServerSettings
    from agent.mcp.connection import Connection, Place
    from agent.tools.base import ToolError

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = {"MOA_SERVE_KEY": "a-key-of-the-test"}

    def start() -> Any:
        child = panel.start("mcp", "serve", "--http", str(port), env=key)
        assert child.stderr is not None and "listening" in child.stderr.readline()
        return child

    def connection(headers: dict[str, str]) -> Connection:
        settings = ServerSettings(name="it", kind="http", url=f"http://127.0.0.1:{port}/mcp", headers=headers)
        place = Place(tmp_path, tmp_path / "own", key)
        return Connection(settings, place, tell=lambda code, _text: told.append(code))

    told: list[str] = []

    async def run() -> None:
        child = start()
        stranger = connection({})
        stranger.start()
        await stranger.settled()
        assert stranger.problem.startswith("it answers 401") and "needs a key" in stranger.problem
        it = connection({"Authorization": "Bearer ${MOA_SERVE_KEY}"})
        it.start()
        await it.settled()
        assert [tool.name for tool in it.tools] == ["consult", "presets", "activity"]
        child.kill()
        child.wait()
        for words in ("broke off", "is not there"):
            with pytest.raises(ToolError, match=words):
                await it.call("presets", {}, lambda _text: None)
        child = start()
        assert "panel (default)" in (await it.call("presets", {}, lambda _text: None)).content[0].text
        assert told == ["mcp_failed", "mcp_restarted", "mcp_failed"]
        await it.aclose()
        child.terminate()
        child.wait()

    asyncio.run(run())
