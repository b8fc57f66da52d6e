"""The main job on the bundled local model, as a newcomer's first command does it: slow, and the real thing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.contract import checked
from tests.support.program import Program

pytestmark = [pytest.mark.slow, pytest.mark.alone]

PROMPT = 'Do not answer yet. First run a tool: {"tool": "glob", "arguments": {"pattern": "*.txt"}}'
ATTEMPTS = 6


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Program]:
    """The program without any configuration, with a model that is already on this machine where the environment names one."""
    program = Program(tmp_path)
    program.config("")
    if model := os.environ.get("MOA_TEST_MODEL"):
        program.config(f'model = "local:{model}"\n')
        shipped = Path(__file__).parents[2] / "presets" / "local.toml"
        program.preset("panel", shipped.read_text().replace("local:smollm2", f"local:{model}"))
    yield program
    program.close()


def panel_of(local: Program) -> tuple[str, ...]:
    """The preset that uses the model at hand: the shipped one fetches it."""
    return ("--preset", "panel" if os.environ.get("MOA_TEST_MODEL") else "local")


def test_a_panel_of_three_counsels_the_real_model(local: Program) -> None:
    done = local.run(
        "Name three things to check before a release.", *panel_of(local), "--max-iterations", "1", timeout_s=300
    )
    result = done.result
    assert result["status"] in ("done", "limit"), (result, done.err)
    (counsel,) = result["counsel"]
    assert (counsel["failed"], counsel["answered"]) == ([], 3)
    # A model this small says what it likes: silence of two leaves nothing to compare, and silence of all nothing to send.
    spoke = 3 - len(counsel["silent"])
    purposes = sorted(call["purpose"] for call in result["calls"])
    assert purposes == [*["aggregator"] * (spoke > 1), "main", "reference", "reference", "reference"]
    if spoke > 1:
        assert counsel["rung"] == "json_schema", counsel["rung"]
    assert bool(counsel["guidance"]) is (counsel["withheld"] is None) and (spoke > 0 or counsel["withheld"] == "silent")
    assert result["cost"] == {"usd": 0.0, "lower_bound": False}
    rows = local.activity()
    assert sorted(row["id"] for row in rows) == sorted(call["id"] for call in result["calls"])


def test_a_tool_loop_on_the_real_model_uses_the_servers_cache(local: Program) -> None:
    """A model this small calls tools when it likes. What is under test is the program: so it may try a few times."""
    for _ in range(ATTEMPTS):
        done = local.run(PROMPT, "--no-moa", "--model", model_of(local), "--max-iterations", "4", timeout_s=300)
        result = done.result
        assert result["status"] in ("done", "limit"), (result, done.err)
        if len(result["calls"]) >= 3:
            break
    else:
        pytest.fail(f"no run of three iterations in {ATTEMPTS} attempts; the last: {result['text']!r}")
    later = result["calls"][1:]
    assert all(call["cached_tokens"] > 0 for call in later)
    assert sum(call["cached_tokens"] for call in later) > 0.5 * sum(call["prompt_tokens"] for call in later)


def model_of(local: Program) -> str:
    """The model that the environment names, or the one that is fetched."""
    return f"local:{os.environ.get('MOA_TEST_MODEL', 'smollm2')}"


def test_a_second_prompt_goes_on_with_the_session(local: Program) -> None:
    first = local.run(
        "Say a word.", "--no-moa", "--model", model_of(local), "--max-iterations", "1", timeout_s=300
    ).result
    second = local.run(
        "Say another.", "--no-moa", "--model", model_of(local), "--max-iterations", "1", "-c", timeout_s=300
    )
    assert second.result["session"] == first["session"]
    if second.result["status"] == "done":
        checked(second, "done")
