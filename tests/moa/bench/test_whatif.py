"""`moa whatif`: turns of a finished conversation, done again with a panel and without, in a copy of the files as they were."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from moa.bench.own_work.whatif import Compared, Way, turned, view
from moa.cli.main import main
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import endpoint_config, preset_text
from tests.support.script import Behaviour, Say, Script

KEY = "sk-test-0123456789abcdef"


def worker(body: Mapping[str, Any], _earlier: int) -> Say:
    """Adds a line to the file; the right one where it is advised to."""
    said = json.dumps(body["messages"])
    done = sum(len(message.get("tool_calls") or ()) for message in body["messages"])
    turn = sum(message["role"] == "user" and "Add line" in str(message["content"]) for message in body["messages"])
    if done < turn:
        line = "right" if "Write right" in said else f"wrong {turn}"
        old = {1: "first\n", 2: "first\nwrong 1\n"}[turn]
        return Say(text="", tools=(("edit", {"path": "list.txt", "old": old, "new": f"{old}{line}\n"}),))
    return Say(text=f"Added. {KEY}")


@pytest.mark.slow
def test_turns_are_done_again_from_where_they_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"MOA_{kind}_DIR", str(tmp_path / kind.lower()))
    monkeypatch.setenv("FAKE_API_KEY", KEY)
    (tmp_path / "config" / "presets").mkdir(parents=True)
    (tmp_path / "config" / "presets" / "one.toml").write_text(preset_text(["fake:m"], aggregate="raw"))
    project = tmp_path / "project"
    project.mkdir()
    (project / "list.txt").write_text("first\n")

    def moa(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main([*words, "--output-format", "json"])
        return code, json.loads(capsys.readouterr().out)

    models = {"main": worker, "m": Behaviour(steps=(Say(text="CONCERN\nWrite right with the edit tool."),))}
    with ScriptedEndpoint(Script(models=models)) as endpoint:
        (tmp_path / "config" / "config.toml").write_text(
            endpoint_config(endpoint.base_url, model="fake:main") + 'api_key_env = "FAKE_API_KEY"\n'
        )
        _, first = moa("run", "--cwd", str(project), "--approve", "all", "Add line one.")
        moa("run", "--cwd", str(project), "--approve", "all", "--session", first["session"], "Add line two.")
        assert (project / "list.txt").read_text() == "first\nwrong 1\nwrong 2\n"
        kept = (tmp_path / "state" / "sessions" / f"{first['session']}.jsonl").read_bytes()

        code, found = moa("whatif", first["session"], "--preset", "one", "--gate", "grep -q right list.txt", "--yes")
        assert code == 0, found
        assert [each["turn"] for each in found["whatif"]] == [1, 2]
        for each in found["whatif"]:
            without, with_it = each["ways"]
            assert without["gates"] == [False] and with_it["gates"] == [True], "the files were those of its beginning"
            assert without["changed"] == with_it["changed"] == ["list.txt"] and each["turned"] == 1
            assert with_it["counsel"]["sent"] > 0 and without["steps"] == with_it["steps"] == 2
        written = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
        assert [path for path in written if KEY.encode() in path.read_bytes()] == []
        assert {path.stat().st_mode & 0o077 for path in written if "bench" in path.parts} == {0}
        # Nothing of the original is touched.
        assert (project / "list.txt").read_text() == "first\nwrong 1\nwrong 2\n"
        assert (tmp_path / "state" / "sessions" / f"{first['session']}.jsonl").read_bytes() == kept
        code, found = moa("whatif", first["session"], "--preset", "one", "--turn", "2", "--yes")
        assert [each["turn"] for each in found["whatif"]] == [2] and found["gates"] == []
        capsys.readouterr()
        assert main(["whatif", first["session"], "--preset", "one"]) == 2
        assert "--yes" in capsys.readouterr().err
        assert main(["whatif", first["session"], "--preset", "one", "--turn", "9", "--yes"]) == 2


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (Way("without", text="Yes."), Way("with p", text="Yes. "), "no tool is called, and the same answer"),
        (Way("without", text="Yes."), Way("with p", text="No."), "no tool is called, and another answer"),
        (Way("without", calls=["read a"]), Way("with p", calls=["read a"]), "the same tool calls, and the same answer"),
        (Way("without", calls=["read a"]), Way("with p"), "at tool call 1; without: read a · with p: ends"),
    ],
)
def test_how_two_ways_differ_is_said(one: Way, other: Way, said: str) -> None:
    compared = Compared(1, "Is it so?", [one, other], turned(one.calls, other.calls))
    _table, differences, *rest = view([compared], [], Path("kept")).views
    assert differences.rows == (("turn 1", said),)
    answers = [(child.label, child.text) for tree in rest[:-1] for child in tree.children]
    assert answers == ([] if one.calls else [("without", "Yes."), ("with p", other.text.strip())])


def test_where_two_ways_part() -> None:
    assert turned(["a", "b"], ["a", "b"]) is None
    assert turned(["a", "b"], ["a", "c"]) == 2 and turned(["a"], ["a", "b"]) == 2 and turned([], ["a"]) == 1
