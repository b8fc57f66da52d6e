"""`moa serve --save`: served counsels are kept as the chat's own are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.config.config import load_config
from agent.llm.accounting import CallContext
from agent.llm.request import ModelRef
from agent.session.session import Session
from moa.counsel import restore
from moa.counsel.cadence import KIND
from moa.replay.runs import find
from moa.store.reading import read
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import ANALYSIS, Behaviour, Say, Script
from tests.support.serving import PRESET, Serving

PANEL = PRESET.format(main="chat:m", aggregate="analysis")


def words(name: str) -> Behaviour:
    return Behaviour(steps=tuple(Say(text=f"NOTE {name} says {at} is to be looked at.") for at in range(9)))


def main(body: Mapping[str, Any], _earlier: int) -> Say:
    names = [tool["function"]["name"] for tool in body.get("tools") or ()]
    asked = any(message["role"] == "tool" for message in body["messages"])
    return Say(tools=(("openrouter_fusion", {}),)) if "openrouter_fusion" in names and not asked else Say(text="Done.")


MODELS: dict[str, Any] = {
    **{name: words(name) for name in ("alpha", "beta", "gamma")},
    "judge": Behaviour(steps=(Say(text=json.dumps(ANALYSIS), analysis=ANALYSIS),) * 9),
    "m": main,
}


def test_counsels_of_a_branching_conversation_can_be_judged_anew(tmp_path: Path) -> None:
    first: list[dict[str, Any]] = [{"role": "user", "content": "Look."}]
    rest = [[{"role": "assistant", "content": "Done."}, {"role": "user", "content": f"And {it}?"}] for it in "ab"]
    presets = {"p": PANEL, "quality": PANEL}
    with ScriptedEndpoint(Script(models=MODELS)) as up, Serving(tmp_path, up, presets=presets, save=True) as server:
        answers = [server.post("chat", {"model": "moa/p", "messages": first + more}) for more in ([], *rest)]
        said = ["taken", *["withheld; said before"] * 2]
        assert [answer.headers["x-moa-counsel"] for answer in answers] == said
        fused = server.post("chat", {"model": "openrouter/fusion", "messages": first}).headers["x-moa-run"]
        runs = [answer.headers["x-moa-run"] for answer in answers] + [fused]
        rows = [server.get(f"/v1/activity?run={run}").json()["calls"] for run in runs]
    names = [{row["session"] for row in each} for each in rows]
    assert names[0] == names[1] == names[2] != names[3]
    session = Session.open(tmp_path / "state" / "sessions", *names[0])
    assert [message.text for message in session.history()] == ["Look.", "Done.", "And b?"]
    records = [session.records(KIND)[at] for at in (0, 1, 2)]
    assert [record["messages"] for record in records] == [1, 3, 3]
    assert [record["withheld"] for record in records] == [None, "repeat", "repeat"] and records[0]["guidance"]
    counsel = restore.counsel(
        records[2],
        read(PANEL, name="p", path=tmp_path / "p.toml"),
        account=CallContext("main"),
        history=session.history(),
        main=ModelRef("chat", "m"),
    )
    assert [answer.slot for answer in counsel.answers] == ["1", "2", "3"] and counsel.messages == 3
    config = load_config(env={f"MOA_{it}_DIR": str(tmp_path / it.lower()) for it in ("CONFIG", "STATE", "CACHE")})
    assert [message.text for message in find(config, records[1]["id"]).history] == ["Look.", "Done.", "And a?"]
    (kept,) = Session.open(tmp_path / "state" / "sessions", *names[3]).records(KIND)
    assert (kept["trigger"], kept["answered"]) == ("fuse", 3)


@pytest.mark.slow
def test_without_the_option_nothing_of_a_conversation_is_kept(tmp_path: Path) -> None:
    with ScriptedEndpoint(Script(models=MODELS)) as up, Serving(tmp_path, up, presets={"p": PANEL}) as server:
        server.post("chat", {"model": "moa/p", "messages": [{"role": "user", "content": "Look."}]})
    assert not list((tmp_path / "state").rglob("*.jsonl"))
