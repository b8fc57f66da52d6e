"""`--effort`, a preset's `effort` and the three wires, from the command line to the bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, preset_text

ENDPOINTS = """
model = "claude:claude-opus-5-5"
[endpoints.claude]
base_url = "{url}"
dialect = "anthropic"
[endpoints.gpt]
base_url = "{url}"
dialect = "responses"
"""


@pytest.mark.slow
def test_from_the_command_line_to_the_wire(program: Program, endpoint: ScriptedEndpoint, tmp_path: Path) -> None:
    program.config(ENDPOINTS.format(url=endpoint.base_url))
    program.preset("deep", preset_text(["claude:a"], aggregator="claude:b", effort="max", aggregate="raw"))
    assert program.run("hi", "--effort", "xhigh").code == 0
    assert program.run("hi", "--preset", "deep").code == 0
    assert program.run("hi", "--model", "gpt:gpt-5.6-sol", "--effort", "max").code == 0
    always = program.run("hi", "--effort", "none")
    assert (always.code, always.result["error"]["kind"]) == (2, "effort")
    assert "low" in always.result["error"]["remedy"]
    assert program.run("hi", "--effort", "hard").code == 2
    sent = [call.body for call in endpoint.calls("claude-opus-5-5")]
    assert [body["output_config"] for body in sent] == [{"effort": "xhigh"}, {"effort": "max"}]
    (gpt,) = endpoint.calls("gpt-5.6-sol")
    assert gpt.path.endswith("/responses")
    assert gpt.body["reasoning"] == {"effort": "max", "summary": "auto"}
    assert (gpt.body["store"], gpt.body["include"]) == (False, ["reasoning.encrypted_content"])
    assert gpt.body["prompt_cache_key"]
    assert all(row["outcome"] == "done" for row in program.activity())
