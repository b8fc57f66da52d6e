"""Members of served panels look things up: in the web, under the policy of their preset, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import ANALYSIS, Behaviour, Say, Script
from tests.support.serving import Serving
from tests.support.sites import Sites, searching, sites_with_search

PRESET = """
main = "chat:m"
aggregate = "raw"
tools_at = "first"
[[references]]
model = "chat:alpha"
tools = ["web_search", "web_fetch", "read"]
{more}
"""
ARTICLE = "<html><body><article><h1>A river</h1>" + "<p>It flows west, and meets the sea at Port Ellis.</p>" * 6


@pytest.fixture
def sites() -> Iterator[Sites]:
    with sites_with_search(ARTICLE) as running:
        yield running


def script(sites: Sites) -> Script:
    """A member that searches, reads what was found, and tries what nobody gave it."""
    look = (
        ("web_search", {"query": "river"}),
        ("web_fetch", {"url": sites.url("/river")}),
        ("web_fetch", {"url": "http://127.0.0.1:1/made-up"}),
        ("read", {"path": "/etc/hostname"}),
    )
    member = (*(Say(tools=(each,)) for each in look), Say(text="NOTE It flows west [1]."))

    def main(body: Mapping[str, Any], _earlier: int) -> Say:
        if "compare the a" in str(body["messages"][-1]):
            return Say(text=json.dumps(ANALYSIS))
        names = [tool["function"]["name"] for tool in body.get("tools") or ()]
        asked = any(message["role"] == "tool" for message in body["messages"])
        return Say(tools=(("openrouter_fusion", {}),)) if names and not asked else Say(text="West.")

    return Script(models={"alpha": Behaviour(steps=member), "m": main})


def served(tmp_path: Path, up: ScriptedEndpoint, sites: Sites, more: str = "") -> Serving:
    web = searching(sites)
    presets = dict.fromkeys(("p", "quality"), PRESET.format(more=more))
    return Serving(tmp_path, up, presets=presets, config=web)


@pytest.mark.sample(1)
@pytest.mark.parametrize("model", ["moa/p", "openrouter/fusion", "fuse/p"])
def test_members_search_and_read_and_the_record_says_what(tmp_path: Path, sites: Sites, model: str) -> None:
    with ScriptedEndpoint(script(sites)) as up, served(tmp_path, up, sites) as server:
        asked = [{"role": "user", "content": "Where does the river flow?"}]
        answer = server.post("chat", {"model": model, "messages": asked})
        assert answer.status_code == 200, answer.text
        results = [message for message in up.calls("alpha")[-1].body["messages"] if message["role"] == "tool"]
        found = server.get(f"/v1/activity?run={answer.headers['x-moa-run']}").json()
    texts = [result["content"] for result in results]
    assert "Port Ellis" in texts[1] and "members fetch only" in texts[2] and "There is no tool 'read'" in texts[3]
    assert {tool["function"]["name"] for tool in up.calls("alpha")[0].body["tools"]} == {"web_search", "web_fetch"}
    assert [call["purpose"] for call in found["calls"]].count("reference") == 5
    if model == "openrouter/fusion":
        return  # the client has it in the tool's result
    (facts,) = found["counsel"]
    looked_up = facts["looked_up"]
    assert [each["query"] for each in looked_up["searches"]] == ["river"]
    assert [(each["by"], "error" in each) for each in looked_up["pages"]] == [("1", False), ("1", True)]
    assert facts["tools_not_given"] == ["read"]


def test_the_policy_of_the_preset_holds(tmp_path: Path, sites: Sites) -> None:
    web = '[web]\nexcluded_domains = ["127.0.0.1"]\n'
    with ScriptedEndpoint(script(sites)) as up, served(tmp_path, up, sites, web) as server:
        server.post(
            "chat", {"model": "moa/p", "messages": [{"role": "user", "content": f"Read {sites.url('/river')}"}]}
        )
        results = [message for message in up.calls("alpha")[-1].body["messages"] if message["role"] == "tool"]
    assert "excluded" in results[1]["content"] and not [each for each in sites.asked if each.path == "/river"]
