"""Every way in which `moa run --output-format json` can end: one object, the right exit code, a remedy, no traceback, no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.contract import checked
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, endpoint_config, preset_text
from tests.support.script import Behaviour, Say, Script

KEY = "sk-test-0123456789abcdef"


def test_done(program: Program, endpoint: ScriptedEndpoint) -> None:
    result = checked(program.run("Look around."), "done")
    assert result["text"] == "All done."
    assert [call["purpose"] for call in result["calls"]] == ["main"] * 4
    assert result["session"]
    assert result["counsel"] == []
    seen = endpoint.calls("worker")
    assert [call["prompt_tokens"] for call in result["calls"]] == [call.prompt_tokens for call in seen]
    assert [call["cached_tokens"] for call in result["calls"]] == [call.cached_tokens for call in seen]
    assert result["usage"]["completion_tokens"] == sum(call.completion_tokens for call in seen)


def test_stream_json_ends_with_the_same_object(program: Program) -> None:
    done = program("run", "--output-format", "stream-json", "Look around.")
    *events, last = done.lines
    assert last["status"] == "done"
    assert last["schema"] == 1
    assert [event["type"] for event in events][:1] == ["turn_started"]
    assert [event["type"] for event in events][-1:] == ["turn_finished"]
    assert all(event["source"] for event in events)


def test_text_output_is_the_answer_alone(program: Program) -> None:
    done = program("run", "Look around.")
    assert (done.code, done.out) == (0, "All done.\n")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--no-such-option",), "--no-such-option"),
        (("--output-format", "json", "--max-iterations", "none"), "none"),
        (("--preset", "no-such-preset"), "no-such-preset"),
        (("--model", "worker"), "worker"),
        (("--model", "nowhere:worker"), "nowhere"),
        (("--cwd", "no/such/folder"), "no/such/folder"),
        (("--session", "no-such-session"), "no-such-session"),
        (("--preset", "quality", "--no-moa"), "--no-moa"),
        (("--model", "fuse/quality", "--no-moa"), "--no-moa"),
    ],
)
@pytest.mark.sample(3)
def test_wrong_usage(program: Program, endpoint: ScriptedEndpoint, options: tuple[str, ...], expected: str) -> None:
    result = checked(program.run("hello", *options), "usage")
    assert expected in result["error"]["message"]
    assert endpoint.calls() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (preset_text(["fake:a"], quorumm=1), "quorumm"),
        (preset_text(["fake:a"]) + "temperatur = 1\n", "temperatur"),
        (preset_text([f"fake:m{n}" for n in range(9)]), "9"),
        (preset_text([]), "references"),
        (preset_text(["nowhere:a"]), "nowhere"),
        (preset_text(["fake:a", "fake:b"], quorum=3), "quorum"),
        (preset_text(["fake:a"], cadence="sometimes"), "cadence"),
        ("description = 'unclosed\n", "line"),
    ],
)
@pytest.mark.sample(3)
def test_a_wrong_preset_is_named_by_file_and_key(
    program: Program, endpoint: ScriptedEndpoint, text: str, expected: str
) -> None:
    program.preset("odd", text)
    result = checked(program.run("hello", "--preset", "odd"), "usage")
    said = f"{result['error']['message']} {result['error']['remedy']}"
    assert expected in said
    assert "odd" in said
    assert result["error"]["remedy"]
    assert endpoint.calls() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('model = "fake:worker\n', "line 1"),
        ("modell = 'fake:worker'\n", "modell"),
        ("model = 'fake:worker'\n[endpoints.fake]\nbase_url = 7\n", "base_url"),
        ("model = 'fake:worker'\n[endpoints.fake]\n", "base_url"),
        ("model = 'fake:worker'\n[budget]\nturn_usd = 'much'\n", "turn_usd"),
    ],
)
@pytest.mark.sample(2)
def test_a_malformed_config_is_named_by_file_and_key(program: Program, text: str, expected: str) -> None:
    program.config(text)
    error = checked(program.run("hello"), "usage")["error"]
    said = f"{error['message']} {error['remedy']}"
    assert expected in said
    assert "config.toml" in said


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ('[moa]\narmed = true\npreset = "nope"\n', "moa.preset"),
        ('[approve]\ndeny_paths = [".env", ""]\n', "approve.deny_paths[2]"),
        ('[approve]\nallow = ["shell(ls)", "shell("]\n', "approve.allow[2]"),
    ],
)
def test_a_setting_that_only_its_user_can_check_is_named_by_file_and_key(
    program: Program, endpoint: ScriptedEndpoint, section: str, key: str
) -> None:
    file = program.config_dir / "config.toml"
    program.config(endpoint_config(endpoint.base_url) + section)
    error = checked(program.run("hello"), "usage")["error"]
    assert f"{file}: {key}" in error["message"]
    assert error["remedy"]
    assert endpoint.calls() == []


def test_nothing_configured_names_the_three_ways_on(program: Program) -> None:
    program.config("")
    error = checked(program.run("hello"), "usage")["error"]
    for way in ("KEY", "base_url", "--preset local"):
        assert way in error["remedy"]


def test_a_missing_key_is_named(program: Program, endpoint: ScriptedEndpoint) -> None:
    program.config(endpoint_config(endpoint.base_url) + 'api_key_env = "FAKE_API_KEY"\n')
    error = checked(program.run("hello"), "usage", "missing_key")["error"]
    assert "FAKE_API_KEY" in f"{error['message']} {error['remedy']}"
    assert endpoint.calls() == []


def test_a_wrong_key_is_never_shown(program: Program, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(api_key="another")
    program.config(endpoint_config(endpoint.base_url) + 'api_key_env = "FAKE_API_KEY"\n')
    done = program.run("hello", env={"FAKE_API_KEY": KEY})
    checked(done, "failed", "auth")
    written = [path.read_bytes() for path in program.state_dir.rglob("*") if path.is_file()]
    assert KEY.encode() not in b"".join(written) + (done.out + done.err).encode()
    assert endpoint.calls()[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("say", "status", "kind"),
    [
        (Say(status=404), "failed", "model_not_found"),
        (Say(status=402), "failed", "payment_required"),
        (Say(status=400), "failed", "bad_request"),
        (Say(status=429, retry_after=3600), "retryable", "rate_limited"),
        (Say(text="half an", shape="cut"), "retryable", "stream_broken"),
        (Say(text="half an", shape="error_chunk"), "retryable", "stream_broken"),
        (Say(text="half an", shape="no_finish"), "retryable", "stream_broken"),
    ],
)
@pytest.mark.sample(3)
def test_a_model_that_fails(program: Program, endpoint: ScriptedEndpoint, say: Say, status: str, kind: str) -> None:
    endpoint.script = Script(models={"worker": Behaviour(steps=(say,))})
    result = checked(program.run("hello"), status, kind)
    assert result["text"] == (say.text or "")
    assert len(result["calls"]) == len(endpoint.calls()) == 1  # none of these may be retried
    assert result["calls"][0]["outcome"] in ("failed", "incomplete")


def test_an_overload_is_retried_and_then_done(program: Program, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(
        models={"worker": Behaviour(first=(Say(status=503, retry_after=0.05),), steps=(Say(text="hi"),))}
    )
    result = checked(program.run("hello"), "done")
    assert result["text"] == "hi"
    assert len(endpoint.calls()) == 2
    assert len(result["calls"]) == 1


def test_nobody_listens(program: Program) -> None:
    program.config(endpoint_config("http://127.0.0.1:9/v1"))
    checked(program.run("hello"), "retryable", "connection_failed")


def test_a_context_overflow_is_named(program: Program, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(models={"worker": Behaviour(window=50)})
    result = checked(program.run("hello " * 200), "failed", "context_overflow")
    assert result["error"]["remedy"]


def test_a_limit_of_iterations(program: Program, endpoint: ScriptedEndpoint) -> None:
    result = checked(program.run("Look around.", "--max-iterations", "2"), "limit")
    assert len(endpoint.calls()) == 2
    assert result["session"] in result["error"]["remedy"]


def test_a_budget_stops_before_the_call_that_would_pass_it(program: Program, endpoint: ScriptedEndpoint) -> None:
    priced = '[endpoints.fake.models."worker"]\nprice = { prompt = 1.0, completion = 2.0 }\n'
    program.config(endpoint_config(endpoint.base_url) + priced)
    result = checked(program.run("Look around.", "--budget", "0.000001"), "budget", "budget")
    assert endpoint.calls() == []
    assert result["calls"] == []
    assert result["cost"] == {"usd": 0.0, "lower_bound": False}


@pytest.mark.parametrize("kind", ["a file", "no database", "a newer database"])
def test_a_state_folder_that_cannot_be_used(program: Program, endpoint: ScriptedEndpoint, kind: str) -> None:
    if kind == "a file":
        program.state_dir.rmdir()
        program.state_dir.write_text("")
    elif kind == "no database":
        (program.state_dir / "ledger.db").write_bytes(b"not a database at all, but long enough to look like one\n" * 40)
    else:
        newer_database(program.state_dir / "ledger.db")
    error = checked(program.run("hello"), "failed")["error"]
    assert str(program.state_dir) in f"{error['message']} {error['remedy']}"
    assert error["remedy"]
    assert endpoint.calls() == []


def newer_database(file: Path) -> None:
    import sqlite3

    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 9999")
    database.close()


def test_a_full_disk(program: Program, endpoint: ScriptedEndpoint) -> None:
    """A limit on file sizes stands in for it: every write to a file fails, as on a disk without room."""
    checked(program.run("hello"), "done")  # the ledger exists
    limited = program.state_dir.parent / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -f 0\nexec "{program.executable}" "$@"\n')
    limited.chmod(0o755)
    program.executable = limited
    error = checked(program.run("hello"), "failed")["error"]
    assert str(program.state_dir) in f"{error['message']} {error['remedy']}"
    assert len(endpoint.calls("worker")) == 4, "nothing is sent that cannot be booked"
