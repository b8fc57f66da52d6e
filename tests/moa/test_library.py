"""The library: the code of docs/library.md is run as it stands, and what it promises beside that."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

import moa
from agent.approval.approval import ApprovalRequest, UserAnswer
from agent.errors import UsageError
from agent.events import SideStarted, ToolFinished
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, preset_text
from tests.support.script import Behaviour, Say, Script

DOCS = Path(__file__).parents[2] / "docs" / "library.md"
BLOCKS = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
SAYS = (
    ["cost in US dollars:", "exactly", "agreed:"],
    ["is asked", "answered", "2 answered"],
    ["tool: read", "done It has 40 lines.", "counsels: 1"],
    ["wants to: ", "hello"],
)


def stage(program: Program, endpoint: ScriptedEndpoint) -> None:
    """A panel of two under the name that the docs use."""
    program.config(f'model = "fake:worker"\n[endpoints.fake]\nbase_url = "{endpoint.base_url}"\nfree = true\n')
    program.preset("budget", preset_text(["fake:one", "fake:two"], cadence="turn"))


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, len(BLOCKS)))]
)
def test_the_code_of_the_page_runs_and_says_what_it_says(
    program: Program, endpoint: ScriptedEndpoint, number: int
) -> None:
    stage(program, endpoint)
    if number == 2:
        steps = (Say(tools=(("read", {"path": "notes.txt"}),)), Say(text="It has 40 lines."))
        endpoint.script = Script(models={"worker": Behaviour(steps=steps)})
    elif number == 3:
        steps = (Say(tools=(("write", {"path": "new.txt", "content": "x"}),)), Say(text="hello"))
        endpoint.script = Script(models={"worker": Behaviour(steps=steps)})
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS[number]],
        env=program.environment,
        cwd=program.work_dir,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert all(word in done.stdout for word in SAYS[number]), done.stdout


def test_a_panel_can_be_stopped_and_its_failures_are_in_the_answer(
    program: Program, endpoint: ScriptedEndpoint
) -> None:
    stage(program, endpoint)
    program.preset("broken", preset_text(["fake:fail-401", "fake:one"], cadence="turn"))
    program.preset("hangs", preset_text(["fake:shape-hang"], cadence="turn"))

    async def main() -> None:
        async with moa.Panel("broken", env=program.environment) as panel:
            answer = await panel.ask("Well?")
            assert len(answer.answers) == 1 and [each.kind for each in answer.failures] == ["auth"]
            assert answer.analysis is None and answer.answers[0].text in answer.text
        async with moa.Panel("hangs", env=program.environment) as panel:
            async with panel.ask("Well?") as work:
                async for event in work:
                    if isinstance(event, SideStarted):
                        break
            with pytest.raises(asyncio.CancelledError):
                await work

    asyncio.run(main())


NOTHING = "".join(
    f'[endpoints.fake.models."{name}"]\nprice = {{ prompt = 0.0, completion = 0.0 }}\n'
    for name in ("shape-cut", "shape-stall", "worker")
)


@pytest.mark.sample(2)
@pytest.mark.parametrize(("prices", "usd"), [("free = true", 0.0), (NOTHING, 0.0), ("", None)])
def test_what_costs_nothing_has_cost_nothing_however_it_ended(
    program: Program, endpoint: ScriptedEndpoint, prices: str, usd: float | None
) -> None:
    program.config(f'model = "fake:worker"\n[endpoints.fake]\nbase_url = "{endpoint.base_url}"\n{prices}\n')
    program.preset(
        "broken", preset_text(["fake:shape-cut", "fake:shape-stall"], cadence="turn", timeout_s=0.3, soft_s=0.2)
    )

    async def main() -> None:
        async with moa.Panel("broken", env=program.environment) as panel:
            answer = await panel.ask("Well?")
            assert len(answer.answers) + len(answer.failures) == 2
            assert (answer.cost.usd, answer.cost.lower_bound) == (usd, usd is None), answer

    asyncio.run(main())


@pytest.mark.sample(1)
@pytest.mark.parametrize("window", [4_096, 8_192, 20_000])
def test_a_small_window_has_room_for_the_question(program: Program, endpoint: ScriptedEndpoint, window: int) -> None:
    models = "".join(
        f'[endpoints.fake.models."{name}"]\ncontext_window = {window}\n' for name in ("one", "two", "worker")
    )
    program.config(f'model = "fake:worker"\n[endpoints.fake]\nbase_url = "{endpoint.base_url}"\n{models}')
    program.preset("small", preset_text(["fake:one", "fake:two"], cadence="turn"))
    question = " ".join(
        f"Book {number} has {number} pages." for number in range(window // 50)
    )  # more than a quarter of it

    async def main() -> None:
        async with moa.Panel("small", env=program.environment) as panel:
            await panel.ask(question)

            cramped = await panel.ask(question * 8)
            short = [warning for warning in cramped.warnings if "has no room" in warning]
            assert [warning.split()[0] for warning in short] == ["1", "2"]

    asyncio.run(main())
    for call in endpoint.calls()[:3]:
        assert any(question in message["content"] for message in call.body["messages"]), call.body
        assert call.body["max_tokens"] < window / 2


def test_an_agent_asks_before_it_writes_and_goes_on_with_a_session(
    program: Program, endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    stage(program, endpoint)
    steps = (Say(tools=(("write", {"path": "new.txt", "content": "x"}),)), Say(text="so"))
    endpoint.script = Script(models={"worker": Behaviour(steps=steps)})
    asked: list[str] = []

    async def decide(request: ApprovalRequest) -> UserAnswer:
        asked.append(request.call.name)
        return UserAnswer("no", "not here")

    async def main() -> str:
        options = {"cwd": program.work_dir, "env": program.environment}
        async with moa.Agent(approve="ask", ask_user=decide, **options) as agent:  # type: ignore[arg-type]
            work = agent.run("Write it.")
            outcomes = [event.outcome async for event in work if isinstance(event, ToolFinished)]
            answer = await work
            assert (outcomes, asked, answer.status, answer.text) == (["denied"], ["write"], "done", "so")
            session = agent.session
        async with moa.Agent(session=session, model="fake:fail-401", **options) as agent:  # type: ignore[arg-type]
            failed = await agent.run("Again.")
            assert failed.status == "failed" and failed.error is not None and failed.error.kind == "auth"
            return agent.session if agent.session == session else ""

    assert asyncio.run(main())
    assert not (program.work_dir / "new.txt").exists()


@pytest.mark.parametrize(
    ("preset", "more", "words"),
    [("nonesuch", {}, "nonesuch"), ("budget", {"MOA_DEPTH": "1"}, "inside of a panel")],
)
def test_what_can_not_be_asked_is_an_error_of_opening(
    program: Program, endpoint: ScriptedEndpoint, preset: str, more: dict[str, str], words: str
) -> None:
    stage(program, endpoint)

    async def main() -> None:
        async with moa.Panel(preset, env={**program.environment, **more}):
            raise AssertionError("it is open")

    with pytest.raises(UsageError, match=words) as raised:
        asyncio.run(main())
    assert raised.value.remedy
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = moa.nothing_of_that_name  # type: ignore[attr-defined]
