"""What `moa run` takes beside a prompt: images, a schema for the answer, messages as a stream."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.errors import UsageError
from agent.loop.answer_schema import AnswerSchema
from agent.ui.run.stream_input import parse
from tests.support.contract import checked
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program
from tests.support.script import Behaviour, Say, Script

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def test_an_image_goes_with_the_prompt_and_the_answer_holds_to_the_schema(
    program: Program, endpoint: ScriptedEndpoint
) -> None:
    endpoint.script = Script(models={"main": Behaviour(steps=(Say(text='Here:\n```json\n{"n": 3}\n```'),))})
    (program.work_dir / "shot.png").write_bytes(PNG)
    (program.work_dir / "schema.json").write_text(json.dumps(SCHEMA))
    done = program.run(
        "count", "--model", "fake:main", "--image", "shot.png", "--output-schema", str(program.work_dir / "schema.json")
    )
    assert checked(done, "done")["text"] == '{"n": 3}'
    content = endpoint.calls("main")[0].body["messages"][-1]["content"]
    assert "Your last message must be one JSON value" in json.dumps(content)
    assert any(PNG_DATA in json.dumps(part) for part in content if part["type"] != "text")


PNG_DATA = base64.b64encode(PNG).decode()


def test_an_answer_that_does_not_hold_is_asked_for_again_and_fails_at_last(
    program: Program, endpoint: ScriptedEndpoint
) -> None:
    endpoint.script = Script(models={"main": Behaviour(steps=(Say(text='{"n": "three"}'),))})
    (program.work_dir / "schema.json").write_text(json.dumps(SCHEMA))
    done = program.run("count", "--model", "fake:main", "--output-schema", str(program.work_dir / "schema.json"))
    assert checked(done, "failed", "schema_mismatch")["text"] == '{"n": "three"}'
    asked = [call.last_text for call in endpoint.calls("main")]
    assert len(asked) == 3 and "n: 'three' is not of type 'integer'" in asked[1]


def test_a_schema_that_can_not_be_read_or_applied_is_refused_at_once(
    program: Program, endpoint: ScriptedEndpoint
) -> None:
    (program.work_dir / "round.json").write_text('{"$ref": "#"}')
    os.mkfifo(program.work_dir / "pipe.json")
    for name, words in (("round.json", "goes round in a circle"), ("pipe.json", "not a regular file")):
        done = program.run("count", "--output-schema", name)
        assert words in checked(done, "usage")["error"]["message"]
    assert not endpoint.exchanges


@pytest.mark.slow  # each of its questions takes two seconds of a core
def test_a_pattern_that_takes_for_ever_is_given_up(program: Program, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(models={"main": Behaviour(steps=(Say(text=json.dumps("a" * 40 + "!")),))})
    (program.work_dir / "schema.json").write_text('{"type": "string", "pattern": "^(a+)+$"}')
    done = program.run("count", "--model", "fake:main", "--output-schema", "schema.json")
    assert "took longer than 2 s" in checked(done, "failed", "schema_mismatch")["error"]["message"]


def test_each_line_of_the_stream_is_a_turn_and_an_interrupt_stops_one(
    program: Program, endpoint: ScriptedEndpoint
) -> None:
    slow = Behaviour(steps=(Say(text="word " * 100, spread_s=20.0),))
    endpoint.script = Script(models={"slow": slow})
    child = subprocess.Popen(
        [
            str(program.executable),
            "run",
            "--input-format",
            "stream-json",
            "--output-format",
            "stream-json",
            "--model",
            "fake:slow",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=program.environment,
        cwd=program.work_dir,
    )
    assert child.stdin is not None and child.stdout is not None
    seen: list[dict[str, Any]] = []

    def send(value: dict[str, Any]) -> None:
        assert child.stdin is not None
        child.stdin.write(json.dumps(value) + "\n")
        child.stdin.flush()

    def until(kind: str) -> None:
        assert child.stdout is not None
        while not seen or seen[-1].get("type") != kind:
            seen.append(json.loads(child.stdout.readline()))

    try:
        send({"type": "user", "text": "first"})
        until("text_delta")
        send({"type": "interrupt"})
        until("turn_finished")
        assert seen[-1]["status"] == "interrupted"
        endpoint.script = Script(models={"slow": Behaviour(steps=(Say(text="Well."),))})
        send({"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": "second"}]}})
        child.stdin.close()
        lines = [json.loads(line) for line in child.stdout.read().splitlines()]
    finally:
        child.kill()
        child.wait()
    result = lines[-1]
    assert (result["status"], result["text"], len(result["calls"])) == ("done", "Well.", 2)
    assert "first" in json.dumps(endpoint.calls("slow")[-1].body) and endpoint.calls("slow")[-1].last_text == "second"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "no JSON"),
        ('{"type": "system"}', "type is 'system'"),
        ('{"type": "user", "text": " "}', "says nothing"),
        ('{"type": "user", "message": {"content": [{"type": "tool_result"}]}}', "tool_result"),
        ('{"type": "user", "text": "x", "images": [{"media_type": "image/png"}]}', "media_type and data"),
        ('{"type": "user", "text": "x", "images": [{"media_type": "image/png", "data": "aGFsbG8="}]}', "no PNG"),
        ("[1]", "type is 'None'"),
    ],
)
def test_a_line_that_is_no_message_is_named(line: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse(line)


def test_a_stream_that_says_nothing_or_nonsense_is_wrong_usage(program: Program) -> None:
    done = subprocess.run(
        [str(program.executable), "run", "--input-format", "stream-json", "--output-format", "json"],
        input="nonsense\n",
        capture_output=True,
        text=True,
        env=program.environment,
        cwd=program.work_dir,
        timeout=30,
    )
    assert done.returncode == 2 and "line 1 of standard input" in json.loads(done.stdout)["error"]["message"]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "objekt"}, "no JSON schema"),
        ({"$ref": "http://127.0.0.1:9/x.json"}, "names what it does not contain"),
    ],
)
def test_a_schema_that_is_none_is_named_and_nothing_is_fetched(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        AnswerSchema(schema).read("{}")


@pytest.mark.parametrize(("text", "words"), [(None, "can't be read"), ("{", "is no JSON"), ("[1]", "no JSON schema")])
def test_a_schema_file_that_can_not_be_used_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "schema.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=words):
        AnswerSchema.load(file)
