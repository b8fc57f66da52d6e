"""A client of the Agent Client Protocol that others wrote (acpx, npm): a session, a tool with a permission, the panel, a cancelled turn."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.peers.npm import installed
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, preset_text
from tests.support.script import Say, Script


def worker(body: Mapping[str, Any], _earlier: int) -> Say:
    last = body["messages"][-1]
    if last["role"] == "tool":
        return Say(text="All done.")
    if "stay" in json.dumps(body["messages"]):
        return Say(tools=(("shell", {"command": "touch begun; sleep 300"}),))
    return Say(tools=(("write", {"path": "made.txt", "content": "made\n"}),))


@pytest.mark.slow
def test_a_turn_with_a_panel_a_permission_and_a_cancelled_one(
    program: Program, endpoint: ScriptedEndpoint, fetched: Path
) -> None:
    client = installed("acpx", fetched)
    program.preset("p", preset_text(["fake:one", "fake:two"], aggregate="raw", cadence="turn"))
    endpoint.script = Script(models={"worker": worker})
    agent = ["--cwd", str(program.work_dir), "--agent", f"{program.executable} acp --preset p"]

    def start(*words: str) -> subprocess.Popen[str]:
        line = [str(client), *agent, *words]
        return subprocess.Popen(
            line, env=program.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def acpx(*words: str) -> str:
        return start(*words).communicate(timeout=60)[0]

    made = program.work_dir / "made.txt"
    acpx("sessions", "new")
    said = acpx("--deny-all", "prompt", "Make it.")
    assert "the user did not allow this call of write" in said and not made.exists()
    said = acpx("--approve-all", "prompt", "Make it.")
    assert made.read_text() == "made\n" and "All done." in said and "[done] end_turn" in said
    assert "1 one (fake:one): answered" in said
    running = start("--approve-all", "prompt", "Now stay.")
    endpoint.wait_for(lambda: (program.work_dir / "begun").exists())
    acpx("cancel")
    assert "[done] cancelled" in running.communicate(timeout=60)[0]
    acpx("sessions", "close")
