"""A record is drawn by its plugin: faces show its line and its View, and know the keys of nobody's records."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import io
import json
from pathlib import Path

import pytest

import agent.ui
from agent.admin import sessions
from agent.approval.approval import UserAnswer
from agent.build import build
from agent.config.config import load_config
from agent.events import Record, TurnStarted
from agent.hooks import ask_all
from agent.host import Options
from agent.llm.messages import assistant, user
from agent.records import told_in_place, view_of
from agent.session.export import export, parse_format
from agent.session.session import Session
from agent.session.tree import PlacedRecord
from agent.ui.line.paint import Paint
from agent.ui.line.printer import Printer
from agent.ui.run import headless
from agent.ui.run.headless import Output, show
from agent.ui.text import render
from agent.ui.tui.dialogs.approve import ApprovalBar
from moa.counsel import record as moa_record
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script
from tests.support.stage import Stage

PLUGIN = """
from agent.events import Record
from agent.plugin import Contribution, Plugin, RecordLine
from agent.views import MatrixCell, MatrixColumn, MatrixRow, MatrixView, StackView, TreeView


class Notary(Plugin):
    name = "notary"
    records = ("seal",)

    def __init__(self, host):
        pass

    async def before_model(self, call, emit):
        return Contribution(None, Record(source="notary", kind="seal", data={"wax": "green"}, line="sealed"))

    def record_line(self, kind, data):
        return RecordLine(f"sealed long ago in {data['wax']}", "info") if kind == "seal" else None

    def view(self, kind, data):
        if data["wax"] == "none":
            raise ValueError("no wax")
        columns = tuple(MatrixColumn(key=str(n), label=who, state="answered", mark="answered") for n, who in enumerate("XY", 1))
        row = MatrixRow(label=f"the wax is {data['wax']}", group="Seals", mark="agreed", cells=(MatrixCell(mark="agreed"), MatrixCell()))
        return StackView(views=(MatrixView(columns=columns, rows=(row,)), TreeView(label="the deed", text="[b]signed[/b]", mark="verified")))
"""


@pytest.fixture
def notary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second plugin with records of its own is installed."""
    place = tmp_path / "site"
    about = place / "notary-1.0.dist-info"
    about.mkdir(parents=True)
    (place / "notary_of_tests.py").write_text(PLUGIN)
    (about / "entry_points.txt").write_text("[agent.plugins]\nnotary = notary_of_tests:Notary\n")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: notary\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(place))


SEAL = Record(source="notary", kind="seal", data={"wax": "red"}, line="sealed in red wax", level="good")
OLD = dataclasses.replace(SEAL, data={"wax": "blue"}, line="", level="info")
BROKEN = dataclasses.replace(SEAL, data={"wax": "none", "more": ["a", "b"]}, line="sealed without wax", level="failed")


def test_headless_and_line_mode_print_its_line() -> None:
    err, lines = io.StringIO(), list[str]()
    show(SEAL, Output(out=io.StringIO(), err=err, live=False))
    Printer(Paint(colour=False), lines.append).apply(SEAL)
    assert err.getvalue() == "· sealed in red wax\n" and lines == ["◆ sealed in red wax"]
    coloured: list[str] = []
    Printer(Paint(colour=True), coloured.append).apply(dataclasses.replace(SEAL, level="failed"))
    assert coloured == ["\x1b[31m◆ sealed in red wax\x1b[0m"]


def test_session_show_and_exports_tell_its_line(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "sessions")
    session.add(user("seal it"), turn="t1")
    session.add_record(dataclasses.replace(SEAL, line="sealed in *red* <wax>"), turn="t1", iteration=1)
    session.add(assistant("done"))
    for form, said in (
        ("md", r"◆ sealed in \*red\* \<wax\>"),
        ("html", "◆ sealed in *red* &lt;wax&gt;"),
        ("json", '"wax": "red"'),
    ):
        document = export(session, parse_format(form))
        assert document.index("seal it") < document.index(said), (form, document)
    config = load_config(env={"MOA_STATE_DIR": str(tmp_path)})
    report = sessions.session(config, session.id)
    assert render(report.view).splitlines()[-4:] == [
        "    seal it",
        "  ◆ sealed in *red* <wax>",
        "  assistant",
        "    done",
    ]
    assert report.data["records"][0]["kind"] == "seal"


@pytest.mark.usefixtures("notary")
def test_the_chat_shows_its_line_and_opens_its_view_now_and_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path / "home", monkeypatch)
    session = Session.create(tmp_path / "home" / "state" / "sessions")
    session.add(user("seal it"), turn="t1")
    session.add(assistant("done"))
    for each in (SEAL, OLD):
        session.add_record(each, turn="t1", iteration=1)
    session.close()

    async def drive(stage: Stage) -> None:
        await stage.shows("◆ sealed in red wax", "◆ sealed long ago in blue")
        await stage.pilot.press("f4")
        await stage.shows("2 of 2 · sealed long ago in blue", "the wax is blue", "✓ the deed", "[b]signed[/b]", "Seals")
        await stage.pilot.press("left", "escape")
        await stage.enter("/undo")
        await stage.shows("seal it")
        await stage.pilot.press("escape")
        await stage.feed([TurnStarted(session="s", turn="t2", prompt=user("again")), SEAL, BROKEN])
        await stage.shows("◆ sealed without wax")
        await stage.pilot.press("f4")
        await stage.shows("wax: none")  # its view fails: the data are there all the same
        await stage.pilot.press("escape")
        await stage.shows("the plugin notary failed in view (ValueError: no wax)")

    stage.run(drive, session=session.id)


@pytest.mark.usefixtures("notary")
def test_the_json_result_has_what_a_plugin_keeps(tmp_path: Path) -> None:
    with ScriptedEndpoint() as endpoint:
        env = {f"MOA_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE")}
        (tmp_path / "config").mkdir()
        config = f'model = "fake:m"\n[endpoints.fake]\nbase_url = "{endpoint.base_url}"\n'
        (tmp_path / "config" / "config.toml").write_text(config)
        out = io.StringIO()

        async def run() -> int:
            host = build(Options(cwd=tmp_path), env=env)
            try:
                return await headless.run(host, "seal it", Output("json", out=out, err=io.StringIO()))
            finally:
                await host.aclose()

        assert asyncio.run(run()) == 0
    assert json.loads(out.getvalue())["seal"] == [{"wax": "green"}]


@pytest.mark.usefixtures("notary")
def test_its_plugin_alone_is_asked_and_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Stage(tmp_path / "home", monkeypatch)
    host = build(Options(cwd=tmp_path / "home" / "project"))
    told: list[str] = []
    assert "wax: none" in render(view_of(host.plugins, BROKEN, told.append)) and "no wax" in told[0]
    assert "the wax is red" in render(view_of(host.plugins, dataclasses.replace(SEAL, source=""), told.append))
    (placed,) = told_in_place(host.plugins, [PlacedRecord(OLD, 1)])
    assert placed.record.line == "sealed long ago in blue"
    assert [
        plugin.name for plugin, _ in ask_all(host.plugins, "view", lambda plugin: plugin.view("other", {"wax": "x"}))
    ]
    nobody = Record(source="gone", kind="gone", data={"a": {"b": "[c]"}}, line="from a plugin that is gone")
    assert render(view_of(host.plugins, nobody)) == "from a plugin that is gone\n  a\n    b: [c]"


def test_no_face_reads_a_key_of_a_record() -> None:
    kinds = [kind for kind in vars(moa_record).values() if dataclasses.is_dataclass(kind) and isinstance(kind, type)]
    keys = {
        field.name for kind in kinds if kind.__module__ == moa_record.__name__ for field in dataclasses.fields(kind)
    }
    keys -= {"message", "model", "text", "source"}  # words of everybody's
    assert {"members", "analysis", "failed", "withheld"} <= keys
    found = []
    for path in Path(agent.ui.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            key = None
            if isinstance(node, ast.Subscript):
                key = node.slice
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
                key = node.args[0] if node.args else None
            if isinstance(key, ast.Constant) and key.value in keys:
                found.append(f"{path.name}:{key.lineno}: {key.value}")
    assert found == []


def test_a_transcript_that_is_opened_again_looks_as_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Titles of tools, refusals, diffs, times, notices and the lines at turns' ends: after a resume, and of what is left after an undo."""
    steps = (
        Say(
            text="I change it.", tools=(("edit", {"path": "notes.txt", "old": "line 3: nothing", "new": "line 3: x"}),)
        ),
        Say(text="And the other.", tools=(("write", {"path": "/elsewhere/b.txt", "content": "x"}),)),
        Say(text="It is done."),
    )
    script = Script(models={"main": Behaviour(steps=steps)})
    with ScriptedEndpoint(script) as endpoint:
        stage = Stage(tmp_path / "home", monkeypatch, endpoint.base_url)
        seen: list[str] = []
        session: list[str] = []

        async def talk(stage: Stage) -> None:
            stage.app.animation_level = "none"
            await stage.enter("change it")
            answers: dict[str, UserAnswer] = {"q1": UserAnswer("once"), "q2": UserAnswer("no")}
            for question, answer in answers.items():
                await stage.until(lambda: stage.app.query_one(ApprovalBar).waiting)
                stage.app.chat.answer(question, answer)
                await stage.until(lambda: not stage.app.query_one(ApprovalBar).waiting)
            await stage.until(lambda: not stage.app.chat.busy)
            await stage.settle()
            seen.append(stage.text.split("╭")[0].rstrip())
            await stage.enter("and more")
            await stage.until(lambda: stage.app.query_one(ApprovalBar).waiting)
            stage.app.chat.stop()
            await stage.app.chat.idle()
            await stage.enter("/undo")
            await stage.app.chat.idle()
            await stage.shows("› /undo")
            await stage.settle()
            seen.append(stage.text.split("› /undo")[0].rstrip())
            session.append(stage.app.chat.host.agent.session.id)

        async def look(stage: Stage) -> None:
            await stage.settle()
            seen.append(stage.text.split("╭")[0].rstrip())

        stage.run(talk, size=(100, 60))
        stage.run(look, size=(100, 60), session=session[0])
    assert "edit notes.txt" in seen[0] and "not allowed" in seen[0] and "3 steps" in seen[0]
    assert seen[1].split("╭")[0].rstrip() == seen[0]
    assert seen[2] == seen[0]
