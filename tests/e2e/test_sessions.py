"""Conversations from outside: who may write one, what it is called, how to go on, and what never gets in."""

from __future__ import annotations

import json

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, endpoint_config

KEY = "pasted-key-0123456789"
OLD_KEY = "older-key-9876543210"


def test_the_end_says_how_to_go_on_and_that_works(program: Program, endpoint: ScriptedEndpoint) -> None:
    first = program("run", "--model", "fake:say", "Remember the word heron.")
    command = first.err.rstrip().rpartition("resume with: ")[2].split()
    assert command[:2] == ["moa", "--resume"]
    again = program.run("Go on.", "--session", command[2], "--model", "fake:say")
    assert again.code == 0
    assert "heron" in json.dumps(endpoint.calls("say")[1].body["messages"])
    assert "resume with" not in program("run", "--quiet", "--model", "fake:say", "hello").err


@pytest.mark.slow
def test_a_second_process_is_told_at_once_and_may_read(program: Program, endpoint: ScriptedEndpoint) -> None:
    child = program.start("run", "--output-format", "json", "--model", "fake:shape-hang", "hello")
    endpoint.wait_for(lambda: endpoint.calls() and endpoint.calls()[0].status)
    (path,) = (program.state_dir / "sessions").glob("*.jsonl")
    second = program.run("me too", "--session", path.stem, "--model", "fake:say")
    assert (second.code, second.result["error"]["kind"]) == (2, "session_busy")
    assert path.stem in second.result["error"]["remedy"]
    assert endpoint.calls("say") == []
    assert "hello" in program("session", "show", path.stem).out
    assert path.stem in program("session", "list").out
    assert "hello" in program("session", "export", path.stem).out
    child.kill()


def test_a_newer_file_is_refused_with_the_remedy(program: Program) -> None:
    session = program.run("hello", "--model", "fake:say").result["session"]
    path = program.state_dir / "sessions" / f"{session}.jsonl"
    with path.open("a") as file:
        file.write('{"v": 2, "id": "e99", "parent": "e2", "ts": 0, "entry": {"type": "message"}}\n')
    for done in (program.run("on", "-c", "--model", "fake:say"), program("session", "show", session, "--json")):
        assert (done.code, done.result["error"]["kind"]) == (2, "session_version")
        assert "newer version" in done.result["error"]["message"]


@pytest.mark.sample(1)
@pytest.mark.parametrize("form", ["md", "json", "html"])
def test_pasted_keys_never_get_in_nor_out(program: Program, endpoint: ScriptedEndpoint, form: str) -> None:
    program.config(endpoint_config(endpoint.base_url))
    file = program.config_dir / "keys.toml"
    file.write_text(
        f'[fake]\nbase_url = "{endpoint.base_url}"\nkey = "{KEY}"\n'
        f'[openrouter]\nbase_url = "https://moved.example/v1"\nkey = "{OLD_KEY}"\n'
    )
    file.chmod(0o600)
    (program.work_dir / "notes.txt").write_text(f"the keys are {KEY} and {OLD_KEY}\n")
    done = program.run(f"My keys: {KEY} {OLD_KEY}", "--model", "fake:worker")
    assert done.code == 0
    kept = "".join(path.read_text() for path in (program.state_dir / "sessions").glob("*"))
    exported = program("session", "export", done.result["session"], "--format", form).out
    for text in (kept, exported):
        assert "My keys" in text
        assert KEY not in text and OLD_KEY not in text
