"""A run on a Ray cluster of two nodes of this machine, of which one is killed on the way. Needs the extra `ray` (`.ci/run --all`)."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.errors import UsageError
from moa.bench.cluster import driver
from moa.bench.cluster.store import Store
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, endpoint_config
from tests.support.script import Say, Script

HERE = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HERE, reason="ray is not installed (pip install 'moa-agent[ray]')")
ITEMS, CALLS = 120, {"solo": 1}
SENT, AT_ONCE = 8, 16
"""Calls that one node has at an endpoint, and items that it has under way, at most."""


def answer(body: Mapping[str, Any], _before: int) -> Say:
    """Right for two of three items, and always the same; slow enough that a node dies in the middle of some."""
    number = int(re.findall(r"item (\d+)", str(body["messages"][-1]))[-1])
    return Say(text=f"Answer: {number if number % 3 else number + 1}", ttft_s=1 + number % 7 / 10, cost=0.001 * number)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Program, ScriptedEndpoint]]:
    with ScriptedEndpoint(Script(models={"m": answer}, only=True)) as endpoint:
        program = Program(tmp_path, endpoint.base_url)
        program.config(endpoint_config(endpoint.base_url, model="fake:m"))
        rows = [{"id": str(n), "prompt": f"This is item {n}.", "expected": n} for n in range(ITEMS)]
        (program.work_dir / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        yield program, endpoint
        program.close()


def said(report: dict[str, Any]) -> dict[str, Any]:
    """All of a report but its name and how long calls took."""
    arms = [{key: value for key, value in arm.items() if key not in ("p50_s", "p95_s")} for arm in report["arms"]]
    return {**report, "id": "", "arms": arms}


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.filterwarnings("ignore")
def test_a_node_that_is_killed_changes_nothing(
    world: tuple[Program, ScriptedEndpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    program, endpoint = world
    words = ("bench", "run", "own.jsonl", "--arms", ",".join(CALLS), "--yes", "--output-format", "json")
    alone = program(*words, timeout_s=60)
    assert alone.code == 0, alone.err
    for name, value in program.environment.items():
        if name.startswith("MOA_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    endpoint.clear()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        env = {"RAY_ADDRESS": cluster.address, "RAY_USAGE_STATS_ENABLED": "0"}
        child = program.start(*words, "--engine", "ray", env=env)
        # More than one node can have: both are at work.
        under_way = lambda: sum(call.finished is None for call in endpoint.calls())  # noqa: E731
        endpoint.wait_for(lambda: under_way() > SENT, 120)
        cluster.remove_node(second, allow_graceful=False)
        out, err = child.communicate(timeout=120)
    finally:
        cluster.shutdown()
    assert child.returncode == 0, err
    report = json.loads(out)
    assert said(report) == said(alone.result)

    # What was finished was asked once. What the lost node had under way was asked again, and stands in the ledger with its bound.
    lines = [json.loads(line) for line in (program.state_dir / "bench" / report["id"] / "items.jsonl").open()]
    assert len(lines) == len({(line["item"], line["arm"]) for line in lines}) == ITEMS * len(CALLS)
    rows = json.loads(program("activity", "--session", f"bench-{report['id']}", "--json").out)
    rows = rows["calls"] if isinstance(rows, dict) else rows
    lost = {row["turn"].partition("/")[2] for row in rows if (row["error"] or {}).get("kind") == driver.LOST}
    asked = Counter(re.findall(r"item (\d+)", str(call.body["messages"][-1]))[-1] for call in endpoint.calls())
    repeated = {item for item, count in asked.items() if count > sum(CALLS.values())}
    assert lost and repeated <= lost and len(lost) <= AT_ONCE
    known = {row["id"] for row in rows}
    assert all(call in known for line in lines for call in line["calls"])


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.filterwarnings("ignore")
def test_a_run_that_was_killed_takes_up_what_the_machines_did(
    world: tuple[Program, ScriptedEndpoint], tmp_path: Path
) -> None:
    """The driver is killed; its cluster is one of its own. The storage has what was done, and nothing of it is asked again."""
    from tests.support.program import end

    program, endpoint = world
    store = str(tmp_path / "shared")
    words = ("bench", "run", "own.jsonl", "--arms", "solo", "--yes", "--output-format", "json")
    env = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": os.environ.get("TMPDIR", "/tmp")}
    child = program.start(*words, "--engine", "ray", "--store", store, env=env)
    endpoint.wait_for(lambda: sum(call.finished is not None for call in endpoint.calls()) > 10, 120)
    end(child)
    (run,) = (folder.name for folder in (program.state_dir / "bench").iterdir())
    done = {str(row["result"]["item"]) for row in Store(store, run).rows()}
    endpoint.clear()
    again = program("bench", "run", "--resume", run, "--output-format", "json", env=env, timeout_s=120)
    assert again.code == 0, again.err
    assert done and again.result["arms"][0]["n"] == ITEMS
    asked = {re.findall(r"item (\d+)", str(call.body["messages"][-1]))[-1] for call in endpoint.calls()}
    assert not asked & done


@pytest.mark.skipif(HERE, reason="ray is installed")
def test_without_ray_it_says_what_to_install() -> None:
    with pytest.raises(UsageError) as refused, driver.connected():
        pass
    assert "moa-agent[ray]" in str(refused.value.remedy)
