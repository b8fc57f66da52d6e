"""delegate: who may be asked, what a sub-agent may do, what the others see of it, and what it costs."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.approval.approval import UserAnswer
from agent.chat.events import Asked
from agent.delegate.tool import Settings, read_settings
from agent.errors import UsageError
from agent.events import SideFinished, SideProgress, SideStarted, ToolFinished, ToolStarted
from agent.host import Options
from agent.ledger.book import Ledger
from agent.llm.errors import BudgetReached, RateLimited
from agent.llm.request import ModelRef, Request
from agent.plugin import Plugin, PluginHost, Profile
from agent.serialize import to_plain
from agent.ui.line.paint import Paint
from agent.ui.line.printer import Printer
from agent.ui.line.status import Status
from agent.ui.run import headless
from agent.ui.tui.transcript.items import ToolRun
from agent.ui.tui.transcript.reducer import Teller
from tests.support.agent import CONFIG, MAIN, TurnWorld
from tests.support.chatbench import ChatBench, calls
from tests.support.scripted import After, Line, ScriptedClient, reply_of

HELPER = "fake:helper"
DELEGATE = f'{CONFIG}\n[delegate]\nmodel = "{HELPER}"\n'


def ask(task: str = "count the files", **more: Any) -> Any:
    return calls(("delegate", {"task": task, **more}))


class Bench(TurnWorld):
    """A real host whose leader and helper follow scripts."""

    def __init__(
        self,
        folder: Path,
        leader: Sequence[Line],
        helper: Sequence[Line] | Line = "twelve files",
        *,
        config: str = DELEGATE,
        approve: Any = "deny",
        plugins: Sequence[Plugin] = (),
    ) -> None:
        makers = {plugin.name: partial(self.offer, plugin=plugin) for plugin in plugins}
        script = {MAIN: list(leader), "*": helper}
        super().__init__(folder, script, config=config, approve=approve, plugins=makers)

    @staticmethod
    def offer(host: PluginHost, *, plugin: Plugin) -> Plugin:
        people = getattr(plugin, "people", {})
        host.registry.profiles.add(people.get, lambda: people)
        return plugin

    @property
    def helped(self) -> list[Request]:
        return [request for request in self.client.requests if str(request.model) != MAIN]

    @property
    def told(self) -> list[str]:
        """What the leader got for its calls."""
        return [message.text for message in self.host.agent.session.history() if message.role == "tool"]


def test_a_task_goes_to_the_helper_and_its_report_comes_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [ask("count the *.py files"), "There are twelve."])
    assert bench.run("how many? the password is hunter2").text == "There are twelve."
    request = bench.helped[0]
    assert str(request.model) == HELPER
    assert request.messages[-1].text == "count the *.py files"
    assert "hunter2" not in "".join(message.text for message in request.messages), "it sees nothing of the conversation"
    assert "bounded task" in request.messages[0].text and str(bench.work) in request.messages[0].text
    assert bench.told[0].startswith("twelve files\n\n[helper, 1 step, 0 tool calls, $0.000001")


def test_it_works_with_tools_that_look_and_every_face_sees_what_it_does(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path, [ask(), "done"], [calls(("read", {"path": "a.txt"}), ("glob", {"pattern": "*"})), "it says hi"]
    )
    (bench.work / "a.txt").write_text("hi\n")
    bench.run()
    assert {spec.name for spec in bench.helped[0].tools} == {"read", "glob", "grep"}
    assert "hi" in bench.helped[1].messages[-2].text
    started, finished = bench.all(SideStarted)[0], bench.all(SideFinished)[0]
    assert (started.kind, started.label, started.model) == ("delegate", "count the files", HELPER)
    assert (finished.id, finished.outcome, finished.text) == (started.id, "answered", "it says hi")
    assert finished.cost.usd == pytest.approx(2e-6) and finished.usage.completion == 20
    inner = [event for event in bench.all(ToolStarted | ToolFinished) if event.source == started.id]
    assert [event.call.name for event in inner if isinstance(event, ToolStarted)] == ["read", "glob"]
    outer = [event.call.name for event in bench.all(ToolStarted) if event.source == "main"]
    assert outer == ["delegate"]
    assert bench.all(SideProgress)[0].id == started.id


def test_there_is_no_delegate_and_no_plugin_inside(tmp_path: Path) -> None:
    class Guard(Plugin):
        name = "guard"
        seen: list[str] = []  # noqa: RUF012 - of this test alone

        async def before_tool(self, turn: Any, call: Any) -> None:
            self.seen.append(call.name)

    guard = Guard()
    helper: list[Line] = [calls(("delegate", {"task": "you do it"})), "alone then"]
    bench = Bench(tmp_path, [ask(may_write=True), "done"], helper, approve="all", plugins=[guard])
    bench.run()
    assert "delegate" not in {spec.name for request in bench.helped for spec in request.tools}
    assert "There is no tool 'delegate'" in bench.helped[1].messages[-1].text
    assert guard.seen == ["delegate"]


@pytest.mark.parametrize(
    ("config", "env", "offered"),
    [
        (CONFIG, {}, True),
        (CONFIG, {"MOA_DEPTH": "1"}, False),
        (f"{CONFIG}[delegate]\nenabled = false\n", {}, False),
        ('model = "local:smollm2"\n', {}, False),
        (f'model = "local:smollm2"\n[delegate]\nmodel = "{HELPER}"\n', {}, True),
    ],
    ids=["as a rule", "inside of a panel", "turned off", "built-in model", "built-in model with a helper named"],
)
def test_when_it_is_offered(
    tmp_path: Path, config: str, env: dict[str, str], offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    bench = Bench(tmp_path, ["x"], config=config)
    assert ("delegate" in bench.host.agent.tools.tools) == offered


# Who


class People(Plugin):
    name = "people"
    people = {  # noqa: RUF012 - never changed
        "armed": Profile(ModelRef("fake", "cheap"), temperature=0.2, agreed=True),
        "other": Profile(ModelRef("fake", "dear")),
    }


def test_only_whom_the_user_has_named_can_be_asked(tmp_path: Path) -> None:
    config = f'{CONFIG}\n[delegate]\nmodels = ["fake:third"]\n'
    names = ("", "main", "armed", "fake:third", "other", "fake:unheard", "openrouter:dear/one")
    asked = [calls(("delegate", {"task": "t", "preset": name})) for name in names]
    bench = Bench(tmp_path, [*asked, "done"], config=config, plugins=[People()])
    bench.client.script[MAIN].insert(1, "by the leader's own model")  # the first two go to the leader's model
    bench.client.script[MAIN].insert(3, "again")
    bench.run()
    models = [str(request.model) for request in bench.helped]
    assert models == ["fake:cheap", "fake:third"]
    assert bench.helped[0].temperature == 0.2
    refused = [text for text in bench.told if "nobody that the user has named" in text]
    assert len(refused) == 3 and "fake:third" in refused[0] and "config.toml" in refused[0]


def test_a_name_in_the_settings_opens_what_a_plugin_offers_and_its_seats(tmp_path: Path) -> None:
    config = f'{CONFIG}\n[delegate]\nmodels = ["other"]\n'
    bench = Bench(tmp_path, [ask(preset="other"), "done"], config=config, plugins=[People()])
    bench.run()
    assert [str(request.model) for request in bench.helped] == ["fake:dear"]


# What it may do


def test_writing_is_asked_about_like_any_other_call(tmp_path: Path) -> None:
    helper: list[Line] = [calls(("write", {"path": "made.txt", "content": "x\n"})), "written"]
    client = ScriptedClient({MAIN: [ask(may_write=True), "done"], HELPER: helper})
    bench = ChatBench(tmp_path, config=DELEGATE, client=client)

    def answer(event: Any) -> None:
        if isinstance(event, Asked):
            bench.chat.answer(event.id, UserAnswer("once"))

    bench.on = answer
    bench.run("go")
    assert [event.request.call.name for event in bench.all(Asked)] == ["write"]
    assert (bench.work / "made.txt").read_text() == "x\n"


def test_what_it_wrote_is_undone_with_the_turn(tmp_path: Path) -> None:
    helper: list[Line] = [calls(("write", {"path": "made.txt", "content": "x\n"})), "written"]
    client = ScriptedClient({MAIN: [ask(may_write=True), "done"], HELPER: helper})
    bench = ChatBench(tmp_path, config=DELEGATE, client=client, options=Options(approve="all", cwd=tmp_path / "work"))
    made: list[bool] = []

    async def look() -> None:
        made.append((bench.work / "made.txt").exists())

    bench.run("go", look, "/undo", look)
    assert made == [True, False]


def test_who_may_not_write_is_not_even_offered_to(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [ask(may_write=True), ask(), "done"], approve="deny")
    bench.run()
    assert "approval mode deny" in bench.told[0]
    assert {spec.name for spec in bench.helped[0].tools} == {"read", "glob", "grep"}


def test_those_that_look_work_side_by_side_and_those_that_write_take_turns(tmp_path: Path) -> None:
    def together(folder: Path, **more: Any) -> int:
        folder.mkdir()
        running = most = 0

        class Counting(ScriptedClient):
            async def complete(self, request: Request, context: Any, *, on_event: Any = None) -> Any:
                nonlocal running, most
                if str(request.model) == MAIN:
                    return await super().complete(request, context, on_event=on_event)
                running += 1
                most = max(most, running)
                try:
                    return await super().complete(request, context, on_event=on_event)
                finally:
                    running -= 1

        three = calls(*(("delegate", {"task": f"part {n}", **more}) for n in range(3)))
        bench = Bench(folder, [three, "done"], approve="all")
        bench.client = bench.host.agent.client = Counting({MAIN: [three, "done"], "*": After(0.03, "ok")})
        bench.run()
        assert len(bench.all(SideFinished)) == 3
        return most

    assert together(tmp_path / "look") == 3
    assert together(tmp_path / "write", may_write=True) == 1


# How it ends


def test_stopping_the_turn_stops_it_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [ask(), "never"], After(30, "never"))
    assert bench.run(stop_at=SideStarted).status == "interrupted"
    assert [event.outcome for event in bench.all(SideFinished)] == ["cancelled"]
    assert bench.client.cancelled == 1


def test_out_of_steps_it_is_asked_to_report(tmp_path: Path) -> None:
    look = calls(("glob", {"pattern": "*"}))
    bench = Bench(tmp_path, [ask(), "done"], [look, look, "so far: nothing"], config=f"{DELEGATE}max_steps = 3\n")
    bench.run()
    last = bench.helped[-1]
    assert last.tool_choice == "none" and "last step" in last.messages[-1].text
    assert [spec.name for spec in last.tools] == [spec.name for spec in bench.helped[0].tools], "the cache holds"
    assert "so far: nothing" in bench.told[0] and "used up its steps" in bench.told[0]


def test_a_failure_is_told_with_what_it_had(tmp_path: Path) -> None:
    first = calls(("glob", {"pattern": "*"}), text="I look first.")
    bench = Bench(tmp_path, [ask(), "I did it myself."], [first, RateLimited("slow down", status=429)])
    finished = bench.run()
    assert (finished.status, finished.text) == ("done", "I did it myself.")
    assert "broke off (rate_limited): slow down" in bench.told[0] and "I look first." in bench.told[0]
    side = bench.all(SideFinished)[0]
    assert (side.outcome, side.error.kind, side.cost.lower_bound) == ("failed", "rate_limited", True)


def test_an_empty_report_is_a_failure_and_a_slow_one_is_ended(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [ask(), ask(), "done"], ["", After(30, "x")], config=f"{DELEGATE}timeout_s = 0.05\n")
    bench.run()
    assert "without a word" in bench.told[0] and "timed out after 0.05 s" in bench.told[1]


def test_a_long_report_is_cut_in_the_middle_and_kept_whole(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [ask(), "done"], "a" * 20_000 + "middle" + "z" * 20_000)
    bench.run()
    assert len(bench.told[0]) < 25_000 and "middle" not in bench.told[0]
    kept = next((tmp_path / "state" / "scratch").rglob("delegate-*.md"))
    assert str(kept) in bench.told[0] and "middle" in kept.read_text()


# What it costs


def test_its_calls_are_the_turns_under_all_caps_and_a_share_of_their_own(tmp_path: Path) -> None:
    config = f"{DELEGATE}turn_usd = 0.05\nturn_tokens = 9000\n[budget]\nturn_usd = 0.50\n"
    bench = Bench(tmp_path, [ask(), "done"], config=config)
    finished = bench.run()
    context = next(one for one in bench.client.contexts if one.purpose == "delegate")
    assert (context.turn, context.session) == (finished.turn, bench.host.agent.session.id)
    assert context.run == bench.host.agent.run and context.share == "delegate"
    assert [(cap.scope, cap.nano, cap.tokens) for cap in context.caps] == [
        ("turn", 500_000_000, None),
        ("share", 50_000_000, 9000),
    ]


def test_at_its_limit_it_breaks_off_and_the_leader_goes_on(tmp_path: Path) -> None:
    def over(_request: Request) -> Line:
        return BudgetReached("[delegate] leaves no room for this call", cap="[delegate]", remedy="raise it")

    bench = Bench(tmp_path, [ask(), "by myself then"], [over])
    assert bench.run().status == "done"
    assert "broke off (budget): [delegate] leaves no room" in bench.told[0]


def test_the_share_is_kept_by_the_real_books(tmp_path: Path) -> None:
    from agent.llm.accounting import Bound, CallContext, Cap, Settlement

    ledger = Ledger(tmp_path / "ledger.db")
    share = Cap("share", "[delegate] in config.toml", tokens=1_000)
    helper = CallContext("delegate", session="s", run="r", turn="t", share="delegate", caps=(share,))
    model = ModelRef("fake", "helper")
    ledger.settle(ledger.reserve(model, helper, Bound(300, 300, 0)), Settlement("done", reply_of("x").usage))
    ledger.reserve(model, replace(helper, share="counsel"), Bound(900, 0, 0))  # another's share
    with pytest.raises(BudgetReached, match=r"its share of this turn"):
        ledger.reserve(model, helper, Bound(900, 0, 0))
    ledger.close()


def test_the_section_is_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    assert read_settings({}, file) == Settings()
    assert read_settings({"model": "fake:x", "turn_usd": 0.1}, file).turn_usd == 0.1
    for wrong in ({"modle": "x"}, {"max_steps": 0}, {"parallel": 0}, {"models": [1]}):
        with pytest.raises(UsageError, match="delegate"):
            read_settings(wrong, file)


# In the faces


def test_faces_tell_its_tools_from_the_leaders(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [ask(), "done"], [calls(("read", {"path": "gone.txt"})), "nothing there"])
    bench.run()

    told = io.StringIO()
    output = headless.Output(err=told)
    for event in bench.events:
        headless.show(event, output)
    run = told.getvalue().splitlines()
    assert any(line.startswith("· delegate: count the files") for line in run)
    assert any(line.startswith("    delegate count the files · read") for line in run)
    assert not any(line.startswith("· read") for line in run)

    lines: list[str] = []
    printer, status = Printer(Paint(colour=False), lines.append), Status()
    doing = []
    for event in bench.events:
        printer.apply(event)
        status.apply(event)
        doing.append(status.doing)
    assert any(line.startswith("    delegate count the files · read") for line in lines)
    assert any("read error" in line for line in lines)
    assert "delegate" in doing and "read" not in doing

    teller = Teller()
    for event in bench.events:
        teller.apply(event)
    assert [item.title.split(":")[0] for item in teller.items if isinstance(item, ToolRun)] == ["delegate"]


def test_every_event_has_a_form_on_the_wire(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [ask(), "done"], [calls(("glob", {"pattern": "*"})), "none"])
    bench.run()
    side = bench.all(SideStarted)[0].id
    sources = [to_plain(event)["source"] for event in bench.events]
    assert sources.count(side) == 2 and "delegate" in sources
    assert json.dumps([to_plain(event) for event in bench.events])
