"""The web tools in the installed program: approval, sources under the answer, members, and the last call."""

import asyncio
from collections.abc import Iterator

import pytest

import moa
from moa.mcp.consulting import Consulting
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program
from tests.support.script import Behaviour, Say, Script
from tests.support.sites import Sites, searching, sites_with_search

ARTICLE = (
    "<html><head><title>A river</title></head><body><article><h1>A river</h1>"
    + "<p>It flows west for ninety miles to Port Ellis, where it meets the sea.</p>" * 4
)


@pytest.fixture
def sites() -> Iterator[Sites]:
    with sites_with_search(ARTICLE) as running:
        yield running


def configure(program: Program, sites: Sites) -> None:
    with (program.config_dir / "config.toml").open("a") as file:
        file.write(f"\n{searching(sites)}")


def tools(sites: Sites) -> tuple[Say, ...]:
    return (
        Say(tools=(("web_search", {"query": "where does the river flow"}),)),
        Say(tools=(("web_fetch", {"url": sites.url("/river")}),)),
        Say(text="West [1], see also https://never.example/read and https://made.example/up."),
    )


@pytest.mark.slow
def test_sources_stand_under_the_answer_and_in_the_json(
    program: Program, endpoint: ScriptedEndpoint, sites: Sites
) -> None:
    configure(program, sites)
    endpoint.script = Script(models={"worker": Behaviour(steps=tools(sites))})
    done = program("run", "--approve", "all", "--output-format", "json", "where does the river flow to in the end")
    (record,) = done.result["sources"]
    shown = {source["url"]: source for source in record["sources"]}
    river, never, made = (
        shown[sites.url("/river")],
        shown["https://never.example/read"],
        shown["https://made.example/up"],
    )
    assert (river["n"], river["fetched"], river["cited"], river["verified"]) == (1, True, True, True)
    assert (never["found"], never["fetched"], never["verified"]) == (True, False, False)
    assert (made["found"], made["verified"]) == (False, False)
    assert [each["query"] for each in record["searches"]] == ["where does the river flow"]
    assert record["pages"][0]["characters"] > 50

    endpoint.script = Script(models={"worker": Behaviour(steps=tools(sites))})
    text = program("run", "--approve", "all", "where?")
    assert f"sources: [1] {sites.url('/river')} ·" in text.err
    assert "https://never.example/read (named, never read)" in text.err


@pytest.mark.slow
def test_mode_deny_refuses_the_main_model_and_says_how_to_allow(
    program: Program, endpoint: ScriptedEndpoint, sites: Sites
) -> None:
    configure(program, sites)
    endpoint.script = Script(models={"worker": Behaviour(steps=tools(sites))})
    done = program("run", "--output-format", "stream-json", "where?")
    finished = [line for line in done.lines if line.get("type") == "tool_finished"]
    assert [line["outcome"] for line in finished] == ["denied", "denied"]
    assert "--approve" in finished[0]["text"]
    assert not sites.asked


def test_members_of_a_panel_that_a_program_asks_look_things_up(
    program: Program, endpoint: ScriptedEndpoint, sites: Sites
) -> None:
    """The library, `moa mcp serve` and `moa replay` know every section of config.toml, with hooks of the user's before the plugins, too."""
    configure(program, sites)
    with (program.config_dir / "config.toml").open("a") as file:
        file.write('[[hooks]]\nevent = "turn_end"\ncommand = "true"\n')
    fetch = Say(tools=(("web_fetch", {"url": sites.url("/river")}),))
    endpoint.script = Script(models={"one": Behaviour(steps=(fetch, Say(text="It flows west.")))})
    (program.config_dir / "presets" / "looking.toml").write_text(
        'aggregate = "raw"\ntools_at = "first"\n[[references]]\nmodel = "fake:one"\ntools = ["web_fetch"]\n'
    )
    nothing = lambda _done, _total, _words: None  # noqa: E731

    async def ask() -> str | None:
        async with moa.Panel("looking", env=program.environment) as panel:
            answer = await panel.ask(f"Where does it flow? {sites.url('/river')}")
        consulting = Consulting(env=program.environment)
        told = await consulting.ask("And the other?", "looking", f"See {sites.url('/river')}", nothing)
        await consulting.aclose()
        assert not told.failed and "flows west" in told.text
        return answer.run

    run = asyncio.run(ask())
    bodies = [call.body for call in endpoint.calls("one")]
    assert ["flows west" in body["messages"][-1]["content"] for body in (bodies[1], bodies[3])] == [True, True]
    done = program("replay", str(run), "--member", "1=fake:two")
    assert done.code == 0, done.err


@pytest.mark.slow
def test_members_look_things_up_and_their_last_call_has_no_tools(
    program: Program, endpoint: ScriptedEndpoint, sites: Sites
) -> None:
    configure(program, sites)
    look = (
        ("web_search", {"query": "river"}),
        ("web_fetch", {"url": sites.url("/river")}),
        ("web_fetch", {"url": "http://127.0.0.1:1/made-up"}),
    )
    steps = (*(Say(tools=(each,)) for each in look), Say(text="NOTE It flows west [1]."))
    endpoint.script = Script(models={"worker": Behaviour(steps=(Say(text="West."),)), "one": Behaviour(steps=steps)})
    (program.config_dir / "presets" / "looking.toml").write_text(
        'aggregate = "raw"\ntools_at = "first"\n[[references]]\nmodel = "fake:one"\ntools = ["web_search", "web_fetch"]\nmax_tool_calls = 3\n'
    )
    done = program("run", "--preset", "looking", "--output-format", "json", "where does it flow")
    (record,) = done.result["sources"]
    assert [(page["by"], "error" in page) for page in record["pages"]] == [("1", False), ("1", True)]
    assert "members fetch only" in record["pages"][1]["error"]
    last = endpoint.calls("one")[-1].body
    assert last["tool_choice"] == "none"
    assert {tool["function"]["name"] for tool in last["tools"]} == {"web_search", "web_fetch"}
