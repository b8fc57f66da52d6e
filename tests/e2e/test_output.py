"""Standard output that breaks, text that has no UTF-8 form, and Ctrl+C at every awkward moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.contract import checked
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Finished, Program, end
from tests.support.script import Behaviour, Say, Script


def shell(program: Program, command: str) -> subprocess.CompletedProcess[str]:
    """A command line of the user's shell, in which $MOA is the program; its status is that of the program."""
    environment = {**program.environment, "MOA": str(program.executable)}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=program.work_dir,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize("how", ["text", "json", "stream-json"])
def test_a_full_disk_behind_standard_output_is_told_in_one_line(program: Program, how: str) -> None:
    done = shell(program, f"$MOA run --quiet --output-format {how} hi >/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["moa: standard output can't be written: No space left on device"]


@pytest.mark.parametrize("command", ["doctor", "session list", "--version", "run --no-such-option hi"])
def test_so_it_is_for_every_command(program: Program, command: str) -> None:
    done = shell(program, f"$MOA {command} >/dev/full")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode in (1, 2)


def test_a_reader_that_leaves_stops_the_run_in_order(program: Program, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(models={"worker": Behaviour(steps=(Say(text="word " * 200, spread_s=8.0),))})
    done = shell(program, "$MOA run --output-format stream-json hi | head -1")
    assert json.loads(done.stdout)["type"] == "turn_started"
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["moa: standard output can't be written: Broken pipe"]
    assert [row["outcome"] for row in program.activity()] == ["cancelled"]


def test_nobody_reads_standard_error(program: Program) -> None:
    done = shell(program, "$MOA run hi 2>/dev/full")
    assert (done.returncode, done.stdout) == (0, "All done.\n")


def test_half_a_character_of_a_model_is_no_reason_to_lose_the_rest(
    program: Program, endpoint: ScriptedEndpoint
) -> None:
    endpoint.script = Script(models={"worker": Behaviour(steps=(Say(text="cut \ud83d here"),))})
    result = checked(program.run("hi"), "done")
    assert result["text"] == "cut \ufffd here"
    assert program("run", "hi", env={"LANG": "C", "PYTHONIOENCODING": "ascii"}).out == "cut \ufffd here\n"
    shown = program("session", "show", result["session"])
    assert shown.code == 0, shown.err
    assert "cut \ufffd here" in shown.out


def test_a_prompt_that_is_no_utf_8_is_sent_as_far_as_it_goes(program: Program, endpoint: ScriptedEndpoint) -> None:
    done = shell(program, "$MOA run --output-format json $'caf\\xe9 noir'")
    assert json.loads(done.stdout)["status"] == "done"
    assert endpoint.calls("worker")[0].body["messages"][-1]["content"] == "caf\ufffd noir"


def interrupted(child: subprocess.Popen[str], *, again_s: float) -> Finished:
    """Ctrl+C, and once more so much later: the time between the two is what is tried."""
    started = time.monotonic()
    os.kill(child.pid, signal.SIGINT)
    time.sleep(again_s)
    if child.poll() is None:
        os.kill(child.pid, signal.SIGINT)
    try:
        out, err = child.communicate(timeout=10)
    finally:
        end(child)
    return Finished(child.returncode, out, err, started, time.monotonic() - started)


@pytest.mark.sample(2)
@pytest.mark.parametrize("again_s", [0.0, 0.01, 0.03, 0.06])
def test_a_second_ctrl_c_changes_nothing(program: Program, endpoint: ScriptedEndpoint, again_s: float) -> None:
    child = program.start("run", "--output-format", "json", "--model", "fake:shape-stall", "hello")
    endpoint.wait_for(lambda: endpoint.calls() and endpoint.calls()[0].first_token)
    result = checked(interrupted(child, again_s=again_s), "interrupted", "interrupted")
    assert [row["outcome"] for row in result["calls"]] == ["cancelled"]


PRESSED = """
import os, signal, sys
from moa.cli.main import main  # three small modules; what comes before `main` nobody can hold
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
signal.setitimer(signal.ITIMER_REAL, float(sys.argv.pop(1)), 0.02)
code = main()
signal.setitimer(signal.ITIMER_REAL, 0)  # at Python's own end it would be what ends the process
sys.exit(code)
"""


@pytest.mark.sample(3)
@pytest.mark.parametrize("after_s", [0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1])
def test_ctrl_c_while_the_program_starts(program: Program, after_s: float) -> None:
    """And again every 20 ms, until it has ended. Counted from its own first line: before that Python itself starts."""
    program.executable = Path(sys.executable)
    words = ("run", "--output-format", "json", "--model", "fake:shape-hang", "hello")
    checked(program("-c", PRESSED, str(after_s), *words), "interrupted", "interrupted")


@pytest.mark.parametrize("option", ["--model", "--preset", "--session", "--cwd"])
def test_an_empty_option_is_wrong_usage(program: Program, endpoint: ScriptedEndpoint, option: str) -> None:
    error = checked(program.run("hello", option, ""), "usage")["error"]
    assert option in error["message"]
    assert endpoint.calls() == []


def test_what_opens_an_endpoint_is_shown_nowhere(program: Program, endpoint: ScriptedEndpoint) -> None:
    """In the address, in a header, in the key; in errors, in what is kept, and in what doctor says."""
    secrets = {"user": "name-of-mine", "password": "pass-of-mine", "header": "header-of-mine", "key": "key-of-mine-1"}
    address = endpoint.base_url.replace("://", "://{user}:{password}@".format(**secrets))
    program.config(
        f'model = "fake:echo"\n[endpoints.fake]\nbase_url = "{address}"\napi_key_env = "FAKE_API_KEY"\n'
        f'headers = {{ "X-Pass" = "{secrets["header"]}" }}\n[endpoints.gone]\nbase_url = "http://{secrets["user"]}:{secrets["password"]}@127.0.0.1:9/v1"\n'
    )
    said = " ".join(secrets.values())
    endpoint.script = Script(models={"echo": Behaviour(steps=(Say(status=400, error=f"refused: {said}"),))})
    environment = {"FAKE_API_KEY": secrets["key"]}
    runs = [
        program.run(said, env=environment),
        program.run("hi", "--model", "gone:x", env=environment),
        program("doctor", env=environment),
        program("doctor", "--json", env=environment),
    ]
    checked(runs[0], "failed", "bad_request")
    checked(runs[1], "retryable", "connection_failed")
    shown = "".join(run.out + run.err for run in runs)
    kept = "".join(path.read_bytes().decode("latin-1") for path in program.state_dir.rglob("*") if path.is_file())
    assert [secret for secret in secrets.values() if secret in shown + kept] == []


def test_no_key_goes_to_an_endpoint_whoever_happens_on_it(program: Program, endpoint: ScriptedEndpoint) -> None:
    """The main model, a member with tools, a sub-agent, a judge of a goal."""
    from tests.support.program import preset_text

    key = "key-of-mine-0123456789"
    program.config(
        f'model = "fake:worker"\n[endpoints.fake]\nbase_url = "{endpoint.base_url}"\napi_key_env = "FAKE_KEY"\n'
    )
    (program.work_dir / "notes.txt").write_text(f"the key is {key}\n")
    read = Say(tools=(("read", {"path": "notes.txt"}),))
    steps = (read, Say(tools=(("delegate", {"task": "Look for it."}),)), Say(text="GOAL DONE: done"))
    preset = preset_text(["fake:alpha"], aggregate="raw", tools_at="always")
    program.preset("panel", preset.replace('"fake:alpha"', '"fake:alpha"\ntools = ["read"]'))
    endpoint.script = Script(
        models={"worker": Behaviour(steps=steps), "alpha": Behaviour(steps=(read, Say(text=f"NOTE {key}")))}
    )
    program.run(f"Find {key}.", "--preset", "panel", "--goal", "--goal-budget", "1 turn", env={"FAKE_KEY": key})
    sent = [str(call.body) for call in endpoint.calls()]
    assert any("the key is [key]" in body for body in sent) and len(endpoint.calls("alpha")) > 1
    assert [body[max(0, body.find(key) - 150) :][:250] for body in sent if key in body] == []


ESCAPES = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202eabc\u200e \r."


@pytest.mark.slow
def test_what_a_model_says_steers_no_terminal_through_a_pipe_but_for_raw(
    program: Program, endpoint: ScriptedEndpoint
) -> None:
    endpoint.script = Script(models={"worker": Behaviour(steps=(Say(text=ESCAPES),))})
    plain = "[31mred]0;title 2J abc ."
    session = checked(program.run("hi"), "done")
    assert session["text"] == plain
    assert shell(program, "$MOA run --quiet hi | cat").stdout == f"{plain}\n"
    lines = [json.loads(line) for line in shell(program, "$MOA run --output-format stream-json hi").stdout.splitlines()]
    assert "".join(line["text"] for line in lines if line.get("type") == "text_delta") == plain
    for command in ("export", "show", "show --json"):
        shown = shell(program, f"$MOA session {command} {session['session']}").stdout
        assert "red" in shown and not set(ESCAPES) & set("\x1b\x07\x9b\u202e\u200e\r") & set(shown), command
    with_raw = subprocess.run(
        [str(program.executable), "run", "--quiet", "--raw", "hi"],
        cwd=program.work_dir,
        env=program.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
    )
    assert with_raw.stdout.decode() == f"{ESCAPES}\n"
    assert checked(program.run("hi", "--raw"), "done")["text"] == ESCAPES


def test_no_key_leaves_in_events_or_results(program: Program, endpoint: ScriptedEndpoint) -> None:
    """A key that a tool happens on, and that the model repeats piece by piece."""
    key = "key-of-mine-0123456789"
    program.config(
        f'model = "fake:worker"\n[endpoints.fake]\nbase_url = "{endpoint.base_url}"\napi_key_env = "FAKE_KEY"\n'
    )
    (program.work_dir / "notes.txt").write_text(f"the key is {key}\n")
    steps = (Say(tools=(("read", {"path": "notes.txt"}),)), Say(text=f"It is {key}, you see.", spread_s=0.2))
    for form in ("text", "json", "stream-json"):
        endpoint.script = Script(models={"worker": Behaviour(steps=steps)})
        done = program("run", "--output-format", form, "hi", env={"FAKE_KEY": key})
        assert "It is [key], you see." in done.out
        assert key not in done.out + done.err


def test_no_command_finds_a_key_in_an_environment(program: Program, endpoint: ScriptedEndpoint) -> None:
    """Not in its own, whatever the variable is called, and not in that of the program; a moved endpoint leaves none behind."""
    keys = {
        "FAKE_KEY": "key-of-mine-0123456789",
        "OPENAI_API_KEY": "sk-another-0123456789",
        "TAVILY_API_KEY": "tvly-0123456789",
    }
    program.config(
        f'model = "fake:worker"\n[endpoints.fake]\nbase_url = "{endpoint.base_url}"\napi_key_env = "FAKE_KEY"\n'
        f'[endpoints.openai]\nbase_url = "{endpoint.base_url}"\n'
    )
    command = "(env; tr '\\0' '\\n' </proc/$PPID/environ) >found 2>/dev/null; grep -c HARMLESS found"
    endpoint.script = Script(
        models={"worker": Behaviour(steps=(Say(tools=(("shell", {"command": command}),)), Say(text="done")))}
    )
    more = {"AUTH": f"Bearer {keys['FAKE_KEY']}", "COPY": keys["OPENAI_API_KEY"], "HARMLESS": "yes"}
    checked(program.run("hi", "--approve", "all", env=keys | more), "done")
    found = (program.work_dir / "found").read_text()
    assert "HARMLESS=yes" in found
    assert [name for name, key in keys.items() if key in found] == []


@pytest.mark.parametrize("body", ["", "{}", "null", "[]"])
def test_a_refusal_without_words_is_told_by_its_status(program: Program, endpoint: ScriptedEndpoint, body: str) -> None:
    from agent.llm.refusals.refusal import classify

    error = classify(401, {}, body.encode())
    assert (error.kind, error.message) == ("auth", "HTTP status 401")


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}


def test_what_is_kept_is_the_users_alone(program: Program, endpoint: ScriptedEndpoint) -> None:
    program.state_dir.rmdir()
    long = Say(tools=(("shell", {"command": "seq 20000"}),))
    endpoint.script = Script(models={"worker": Behaviour(steps=(long, Say(text="done")))})
    checked(program.run("hi", "--approve", "all"), "done")
    found = modes(program.state_dir)
    assert "ledger.db" in found
    assert any(name.endswith(".log") for name in found)
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}


def test_a_command_that_is_stopped_says_what_it_has_called(program: Program, endpoint: ScriptedEndpoint) -> None:
    from tests.support.program import preset_text

    program.preset("pair", preset_text(["fake:one", "fake:two"]))
    session = checked(program.run("hello", "--preset", "pair"), "done")["session"]
    endpoint.script = Script(models={"judge": Behaviour(steps=(Say(shape="hang"),))})
    before = len(endpoint.calls("judge"))
    child = program.start("run", "--output-format", "json", "--session", session, "--preset", "pair", "/moa again")
    endpoint.wait_for(lambda: len(endpoint.calls("judge")) > before)
    result = checked(interrupted(child, again_s=0.03), "interrupted", "interrupted")
    assert [(row["purpose"], row["outcome"]) for row in result["calls"]] == [("aggregator", "cancelled")]
