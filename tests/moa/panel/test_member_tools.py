"""A tool says what it is: one that a plugin brings for members is given to them by its name, and known nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.chat.events import Refused
from agent.events import Record, ToolFinished
from agent.host import Options
from agent.llm.request import ToolSpec
from agent.plugin import Plugin, PluginHost
from agent.tools.base import Tool, ToolContext, ToolResult
from moa.plugin import make
from tests.support.chatbench import ChatBench
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script

PRESET = 'tools_at = "always"\n[[references]]\nmodel = "fake:one"\ntools = ["line_count", "read"]\n'


class LineCount(Tool):
    @property
    def spec(self) -> ToolSpec:
        parameters = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
        return ToolSpec("line_count", "Count the lines of a file.", parameters)

    @property
    def read_only(self) -> bool:
        return True

    def title(self, arguments: dict[str, Any]) -> str:
        return f"lines of {arguments['path']}"

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        return ToolResult(str(len(context.resolve(arguments["path"]).read_text().splitlines())))


class Counts(Plugin):
    name = "counts"

    def __init__(self, host: PluginHost) -> None:
        host.registry.member_tools.append(lambda _context, _domains: [LineCount()])

    def tools(self) -> Sequence[Tool]:
        return [LineCount()]


def chat(folder: Path, endpoint: ScriptedEndpoint, **plugins: Any) -> ChatBench:
    (folder / "config" / "presets").mkdir(parents=True)
    (folder / "config" / "presets" / "p.toml").write_text(PRESET)
    (folder / "work").mkdir()
    (folder / "work" / "a.txt").write_text("one\ntwo\n")
    config = f'model = "fake:main"\n[endpoints.fake]\nbase_url = "{endpoint.base_url}"\n'
    options = Options(cwd=folder / "work", approve="deny")
    return ChatBench(folder, config=config, plugins={**plugins, "moa": make}, scripted=False, options=options)


def test_a_plugins_tool_serves_members_and_is_followed(tmp_path: Path) -> None:
    counting = Say(tools=(("line_count", {"path": "a.txt"}),))
    advice = Say(text="CONCERN\nUse `line_count` on the file.")
    models = {"one": Behaviour(steps=(counting, advice)), "main": Behaviour(steps=(counting, Say(text="Two.")))}
    with ScriptedEndpoint(Script(models=models)) as endpoint:
        bench = chat(tmp_path, endpoint, counts=Counts)
        bench.run("/moa p", "How long?", "/moa status")
        given = [tool["function"]["name"] for tool in endpoint.calls("one")[0].body["tools"]]
    assert given == ["line_count", "read"]
    member, *_more = bench.all(ToolFinished)
    assert (member.text, member.source == "main") == ("2", False)
    assert bench.all(Record)[0].data["severity"] == "concern"
    assert "followed 1" in str(bench.view())


def test_without_the_plugin_the_preset_is_refused_with_its_place(tmp_path: Path) -> None:
    with ScriptedEndpoint() as endpoint:
        bench = chat(tmp_path, endpoint)
        bench.run("/moa p")
    (refused,) = bench.all(Refused)
    for said in ("p.toml: references (1)", "line_count", "glob, grep, read"):
        assert said in f"{refused}", (said, refused)
