"""Inspect: our runs as its logs, our models and our agent in its tasks, its tasks as suites.

With inspect-ai installed (extra `bench`) Inspect itself does its part (slow set of `.ci/run --all`); the models are scripted.
"""

from __future__ import annotations

import importlib.util
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.errors import UsageError
from moa.bench import runs
from moa.bench.arms import Result
from moa.bench.inspecting import export as inspect_log
from moa.bench.items import Item
from moa.bench.report import report
from moa.cli.main import main
from tests.support import browser
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import endpoint_config, preset_text
from tests.support.script import Behaviour, Say, Script

HERE = importlib.util.find_spec("inspect_ai") is not None


def made(root: Path) -> tuple[runs.Run, dict[str, Item], dict[str, Any]]:
    items = {str(n): Item(str(n), f"What is {n}?", str(n), "auto") for n in range(5)}
    asked = {
        "arms": ["solo", "fuse"],
        "items": list(items),
        "seed": 1,
        "suite": "s",
        "digest": "d",
        "date": "2026-11-26",
    }
    run = runs.begin(root, asked)
    for name in asked["arms"]:
        run.add(*(Result(item, name, text=f"Answer: {item}", score=float(int(item) % 2)) for item in items))
    run.add(Result("2", "fuse", "failed", error="timed_out: no word came"))
    run.add(Result("9", "other"))
    run.close()
    return run, items, report(run)


@pytest.mark.skipif(HERE, reason="inspect-ai is installed")
def test_without_inspect_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        inspect_log.export(*made(tmp_path), tmp_path / "logs")
    assert "moa-agent[bench]" in str(refused.value.remedy)


@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="inspect-ai is not installed")
def test_inspect_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inspect_ai.log import read_eval_log

    monkeypatch.setattr(inspect_log, "MOST_SAMPLES", 3)
    run, items, found = made(tmp_path)
    paths = inspect_log.export(run, {**items, "4": items["4"]}, found, tmp_path / "logs")
    logs = [read_eval_log(str(path)) for path in paths]
    assert [len(log.samples or ()) for log in logs] == [3, 2, 3, 2], "an arm's samples are spread over logs"
    sample = (logs[0].samples or [])[1]
    assert (sample.input, sample.target, sample.output.completion) == (items["1"].request, "1", "Answer: 1")
    assert sample.scores is not None and sample.scores["score"].value == 1.0
    failed = [each for log in logs for each in log.samples or () if each.error is not None]
    assert [(each.id, each.error.message) for each in failed if each.error] == [("2", "timed_out: no word came")]
    assert logs[0].status == "success" and logs[0].eval.metadata is not None and logs[0].eval.metadata["run"] == run.id


@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="inspect-ai is not installed")
@pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))
def test_inspects_viewer_opens_what_was_written(tmp_path: Path) -> None:
    inspect_log.export(*made(tmp_path), tmp_path / "logs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = ["-m", "inspect_ai", "view", "start", "--log-dir", str(tmp_path / "logs"), "--host", "127.0.0.1"]
    viewer = subprocess.Popen(
        [sys.executable, *words, "--port", port], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert viewer.stdout is not None
        assert any(port in line for line in viewer.stdout), "it says where it listens"
        with browser.Browser(tmp_path / "profile") as seen:
            seen.go(f"http://127.0.0.1:{port}/")
            seen.wait(lambda: "moa/fuse" in seen.run("return document.body.innerText"), "both logs", 60)
    finally:
        viewer.kill()
        viewer.communicate()


# Inspect does its part.

LEGS = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import match
from inspect_ai.solver import generate

@task
def legs():
    samples = [Sample(id=f"n{n}", input=f"This is item {n}. Say its number.", target=str(n)) for n in range(6)]
    return Task(dataset=samples, solver=generate(), scorer=match())
"""
BOX = """
from inspect_ai import Task, task
from inspect_ai.agent import react
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.tool import bash
from inspect_ai.util import sandbox

@scorer(metrics=[accuracy()])
def made():
    async def score(state, target):
        text = await sandbox().read_file("out.txt")
        return Score(value="C" if target.text in text else "I", answer=text)
    return score

@task
def box():
    sample = Sample(id="s1", input="Write pong to out.txt.", target="pong", files={"in.txt": "ping"})
    return Task(dataset=[sample], solver=react(tools=[bash()]), scorer=made(), sandbox="local")
"""
ADVICE = "CONCERN Read in.txt before you write."

needs_inspect = pytest.mark.skipif(not HERE, reason="inspect-ai is not installed (pip install 'moa-agent[bench]')")
Moa = Callable[..., tuple[int, dict[str, Any]]]


def number(body: Mapping[str, Any], _before: int) -> Say:
    """Right for two of three items."""
    item = int(re.findall(r"item (\d+)", str(body["messages"]))[-1])
    return Say(text=f"Answer: {item if item % 3 else item + 1}", cost=0.001)


@pytest.fixture
def endpoint() -> Iterator[ScriptedEndpoint]:
    react = (
        Say(tools=(("bash", {"command": "cat in.txt; echo pong > out.txt"}),)),
        Say(tools=(("submit", {"answer": "done"}),)),
    )
    ours = (Say(tools=(("write", {"path": "out.txt", "content": "pong\n"}),)), Say(text="Done."))
    models = {
        **dict.fromkeys(("m", "a", "b"), number),
        "react": Behaviour(steps=react),
        "ours": Behaviour(steps=ours),
        "adviser": Behaviour(steps=(Say(text=ADVICE),)),
    }
    with ScriptedEndpoint(Script(models=models, only=True)) as scripted:
        yield scripted


@pytest.fixture
def moa(
    endpoint: ScriptedEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Moa:
    for kind in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"MOA_{kind}_DIR", str(tmp_path / kind.lower()))
    (tmp_path / "config" / "presets").mkdir(parents=True)
    (tmp_path / "config" / "config.toml").write_text(endpoint_config(endpoint.base_url, model="fake:m"))
    for name, members in (("two", ["fake:a", "fake:b"]), ("adviser", ["fake:adviser"])):
        (tmp_path / "config" / "presets" / f"{name}.toml").write_text(preset_text(members, aggregate="raw"))
    (tmp_path / "legs.py").write_text(LEGS)
    (tmp_path / "box.py").write_text(BOX)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main(["bench", *words, "--output-format", "json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def activity(session: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    main(["activity", "--session", session, "--json"])
    rows = json.loads(capsys.readouterr().out)
    return list(rows["calls"] if isinstance(rows, dict) else rows)


@needs_inspect
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_task_of_inspect_is_a_suite(
    moa: Moa, endpoint: ScriptedEndpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("run", "inspect:legs.py", "--preset", "two", "--arms", "solo,fuse,counsel:turn,best")
    code, found = moa(*words, "--yes")
    assert code == 0 and found["suite"] == "inspect:legs.py"
    arms = {arm["name"]: arm for arm in found["arms"]}
    assert {name: (arm["n"], arm["calls"]) for name, arm in arms.items()} == {
        "solo": (6, 6), "fuse": (6, 18), "counsel:turn": (6, 18), "solo:fake:a": (6, 6), "solo:fake:b": (6, 6),
    }  # fmt: skip
    assert arms["solo"]["score"] == pytest.approx(4 / 6) and arms["fuse"]["cost"]["usd"] == pytest.approx(0.018)

    # Every figure can be traced to the ledger, and Inspect's own logs are there.
    folder = tmp_path / "state" / "bench" / found["id"]
    lines = (folder / "items.jsonl").read_text().splitlines(keepends=True)
    rows = {row["id"]: row for row in activity(f"bench-{found['id']}", capsys)}
    assert sorted(call for line in lines for call in json.loads(line)["calls"]) == sorted(rows)
    assert len(list(folder.glob("inspect/*/*.eval"))) == 5

    # Cut in the middle, it goes on with what is missing alone.
    (folder / "items.jsonl").write_text("".join(lines[:8]))
    endpoint.clear()
    code, again = moa("run", "--resume", found["id"])
    assert code == 0 and [(arm["name"], arm["n"], arm["score"]) for arm in again["arms"]] == [
        (arm["name"], arm["n"], arm["score"]) for arm in found["arms"]
    ]
    assert len(endpoint.calls()) == len(rows) - sum(len(json.loads(line)["calls"]) for line in lines[:8])


@needs_inspect
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_preset_is_a_model_in_the_loop_of_inspects_agent(
    moa: Moa, endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    """What was sent stays sent there, too: the guidance of the first step is in the second request, at its place."""
    code, found = moa(
        "run",
        "inspect:box.py",
        "--preset",
        "adviser",
        "--model",
        "fake:react",
        "--arms",
        "solo,counsel:iteration",
        "--yes",
    )
    assert code == 0 and [arm["score"] for arm in found["arms"]] == [1.0, 1.0]
    counselled = endpoint.calls("react")[-2:]
    shown = [json.dumps(call.body["messages"]) for call in counselled]
    assert all("Read in.txt before you write" in text for text in shown)
    first, second = (call.body["messages"] for call in counselled)
    assert second[: len(first)] == first


@needs_inspect
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_provider_and_the_solver_are_found_by_inspect(moa: Moa, endpoint: ScriptedEndpoint, tmp_path: Path) -> None:
    from inspect_ai import eval as inspect_eval

    shown: dict[str, Any] = {"display": "none", "log_dir": str(tmp_path / "logs")}
    for model, calls in (("moa/two", 18), ("moa/two/fake:a", 18), ("moa/fuse/two", 18), ("moa/fake:m", 6)):
        endpoint.clear()
        (log,) = inspect_eval("legs.py", model=model, **shown)
        assert log.status == "success" and len(endpoint.calls()) == calls, model
    from inspect_ai.solver import SolverSpec

    given = {"preset": "adviser", "model": "fake:ours"}
    solver: Any = SolverSpec("moa/agent", given, given)
    (log,) = inspect_eval("box.py", model="mockllm/model", solver=solver, **shown)
    assert log.status == "success", log.error
    (sample,) = log.samples or ()
    assert sample.scores["made"].value == "C" and sample.output.metadata["moa"]["counsels"] == 2
