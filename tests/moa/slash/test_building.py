"""From a key, an address, a running server or nothing to an armed panel: `/moa`, Enter, and at most three keys more, in the real chat."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from agent.installed import plugin_makers
from agent.llm.models.endpoint import WELL_KNOWN, Price, key_variables
from agent.llm.request import ModelRef
from agent.local import discover as discovering
from agent.ui.tui.dialogs.choices import ChoicesScreen
from agent.ui.tui.dialogs.first_run import FirstRun
from moa.store.at_hand import Offered, in_order, sensible
from tests.agent.local.test_discover import OLLAMA, serving
from tests.support.endpoint import ScriptedEndpoint
from tests.support.linebench import LineBench
from tests.support.program import Program, endpoint_config
from tests.support.script import Behaviour, Script
from tests.support.stage import Stage
from tests.support.waiting import until

LISTS = {
    "anthropic": ("claude-opus-5-5", "claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5"),
    "openai": ("gpt-6.1-sol", "gpt-5.5", "gpt-5.5-mini", "text-embedding-3-small"),
    "gemini": ("gemini-4-argon", "gemini-3.5-flash"),
    "deepseek": ("deepseek-v4-pro", "deepseek-v4-flash"),
    "moonshot": ("kimi-k3.1-pro",),
    "groq": ("openai/gpt-oss-120b", "llama-3.3-70b-versatile", "qwen/qwen3-32b"),
}
"""What each endpoint lists, and the panel that is then ticked, below."""
PANELS = {
    "anthropic": {"anthropic:claude-sonnet-5", "anthropic:claude-haiku-4-5"},
    "openai": {"openai:gpt-5.5", "openai:gpt-5.5-mini"},
    "gemini": {"gemini:gemini-3.5-flash", "main"},
    "deepseek": {"deepseek:deepseek-v4-flash", "main"},
    "moonshot": {"main"},
    "groq": {"groq:llama-3.3-70b-versatile", "groq:qwen/qwen3-32b"},
}


def script(models: Iterable[str]) -> Script:
    return Script(models={name: Behaviour() for name in models})


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A chat with nothing configured, on a machine where nothing runs."""
    for name in (*key_variables(WELL_KNOWN.values()), "MOA_MODEL", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(discovering.discover.__kwdefaults__, "ports", ())
    made = Stage(tmp_path, monkeypatch)
    made.config_file.write_text("")
    return made


async def to_armed(stage: Stage, *keys: str) -> str | None:
    """`/moa`, Enter, and then these keys, each when the chat waits for one; returns what is armed at the end."""
    assert len(keys) <= 3
    if isinstance(stage.app.screen, FirstRun):
        await stage.shows("Explore without a model")
        await stage.pilot.press("escape")
    await stage.enter("/moa")
    answered: object = None
    for key in keys:
        await stage.until(
            lambda seen=answered: isinstance(stage.app.screen, ChoicesScreen) and stage.app.screen is not seen
        )
        await stage.pilot.pause()
        answered = stage.app.screen if key == "enter" else answered
        await stage.pilot.press(key)
    await stage.shows("Counsel is on")
    return plugin(stage).armed


def plugin(stage: Stage) -> Any:
    return next(plugin for plugin in stage.app.chat.host.plugins if plugin.name == "moa")


def run(stage: Stage, *keys: str) -> str | None:
    found: list[str | None] = []

    async def drive(stage: Stage) -> None:
        found.append(await to_armed(stage, *keys))

    stage.run(drive, size=(80, 24))
    return found[0]


def settings(stage: Stage) -> dict[str, Any]:
    return tomllib.loads(stage.config_file.read_text())


def members(stage: Stage, name: str = "mine") -> list[dict[str, Any]]:
    text = (stage.root / "config" / "presets" / f"{name}.toml").read_text()
    return list(tomllib.loads(text)["references"])


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", LISTS)
def test_one_key_is_enough(stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    variable = WELL_KNOWN[name].api_key_env
    assert variable is not None
    monkeypatch.setenv(variable, "a-key-of-this-test")
    with ScriptedEndpoint(script(LISTS[name])) as endpoint:
        stage.config_file.write_text(
            f'[endpoints.{name}]\nbase_url = "{endpoint.base_url}"\napi_key_env = "{variable}"\n'
        )
        assert run(stage, "enter", "enter") == "mine"
    assert {each["model"] for each in members(stage)} == PANELS[name]
    assert settings(stage)["moa"]["preset"] == "mine"


def test_an_openrouter_key_arms_the_default_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "a-key-of-this-test")
    assert run(stage) == "budget"


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("models", "panel"), [(("one",), {"main"}), (("one", "two", "three"), {"mine:two", "mine:three"})]
)
def test_an_own_address_is_enough(stage: Stage, models: tuple[str, ...], panel: set[str]) -> None:
    with ScriptedEndpoint(script(models)) as endpoint:
        stage.config_file.write_text(f'model = "mine:one"\n[endpoints.mine]\nbase_url = "{endpoint.base_url}"\n')
        assert run(stage, "enter", "enter") == "mine"
        assert {each["model"] for each in members(stage)} == panel


def test_an_address_that_lists_nothing_is_asked_for_its_main_model_twice(stage: Stage) -> None:
    stage.config_file.write_text('model = "mine:one"\n[endpoints.mine]\nbase_url = "http://127.0.0.1:9/v1"\n')
    assert run(stage, "enter", "enter") == "mine"
    assert [(each["model"], each["count"]) for each in members(stage)] == [("main", 2)]


def test_a_running_server_is_enough(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drive(stage: Stage) -> None:
        names = ("qwen3:8b", "gemma3", "nomic-embed-text:latest", "bge-m3")
        listed = {"data": [{"id": name, "owned_by": "library"} for name in names]}
        async with serving({**OLLAMA, "/v1/models": (200, listed)}) as port:
            monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{port}")
            assert await to_armed(stage, "enter", "enter") == "mine"
            assert settings(stage)["endpoints"]["ollama"]["base_url"] == f"http://127.0.0.1:{port}/v1"

    stage.run(drive, size=(120, 36))
    main = settings(stage)["model"]
    assert main in ("ollama:qwen3:8b", "ollama:gemma3")
    assert {main, *(each["model"] for each in members(stage))} == {"ollama:qwen3:8b", "ollama:gemma3", "main"}


def test_from_nothing_the_bundled_model_or_the_way_to_a_key(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.local.server.require_xllamacpp", lambda: None)
    assert run(stage, "down", "enter", "enter") == "local"
    assert settings(stage)["model"] == "local:smollm2"


def test_from_nothing_the_first_row_leads_to_a_model(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.shows("Explore without a model")
        await stage.pilot.press("escape")
        await stage.enter("/moa")
        await stage.shows("Set up a key or an address first")
        await stage.pilot.press("enter")
        await stage.shows("Paste a key")

    stage.run(drive, size=(80, 24))


def test_another_address_takes_over_in_the_same_conversation(stage: Stage) -> None:
    with ScriptedEndpoint(script(("one",))) as first, ScriptedEndpoint(script(("two",))) as second:

        async def drive(stage: Stage) -> None:
            await stage.enter("hello")
            await stage.shows("Answer of one.")
            session = stage.app.chat.host.agent.session.id
            await stage.enter("/model add")
            await stage.shows("The main model is here:one", "Not now")
            await stage.pilot.press("down", "enter")
            await stage.shows("Give an address")
            await stage.pilot.press(*second.base_url, "enter")
            await stage.shows("Which model?")
            await stage.pilot.press("enter")
            await stage.shows("model mine:two")
            await stage.enter("and you?")
            await stage.shows("Answer of two.")
            assert stage.app.chat.host.agent.session.id == session

        stage.config_file.write_text(f'model = "here:one"\n[endpoints.here]\nbase_url = "{first.base_url}"\n')
        stage.run(drive, size=(80, 24))
        assert (
            settings(stage)["model"] == "mine:two" and second.calls("two")[0].body["messages"][1]["content"] == "hello"
        )


def test_what_is_ticked_is_the_panel_and_esc_makes_none(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.enter("/moa")
        await stage.shows("A panel from what is here")
        await stage.pilot.press("escape")
        await stage.shows("No panel was made")
        await stage.enter("/preset new pair")
        await stage.shows("saved as pair")
        await stage.pilot.press("space", "down", "down", "space", "enter")  # two out, main in
        await stage.shows("Arm pair?")
        await stage.pilot.press("escape")
        await stage.shows("is saved and not armed")
        assert plugin(stage).armed is None

    with ScriptedEndpoint(script(("one", "two", "three"))) as endpoint:
        stage.config_file.write_text(f'model = "mine:one"\n[endpoints.mine]\nbase_url = "{endpoint.base_url}"\n')
        stage.run(drive, size=(80, 24))
    assert [each["model"] for each in members(stage, "pair")] == ["mine:three", "main"]


def test_presets_are_edited_copied_and_removed_in_the_chat(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def edit(_app: object, path: Path) -> bool:
        path.write_text(path.read_text().replace("Made in the chat", "Ours"))
        return True

    async def drive(stage: Stage) -> None:
        for line, told in (
            ("/preset new ours fake:a fake:b", "Arm ours?"),
            ("/preset edit ours", "is saved"),
            ("/preset copy ours other", "other.toml created"),
            ("/preset ours", "Counsel is on"),
            ("/preset remove ours", "the preset ours is armed"),
            ("/preset remove other", "is gone"),
            ("/preset remove budget", "ships with the program"),
        ):
            await stage.enter(line)
            await stage.shows(told)
            if isinstance(stage.app.screen, ChoicesScreen):
                await stage.pilot.press("escape")
                await stage.shows("is saved and not armed")

    monkeypatch.setattr("agent.ui.tui.composer.external.edit_file", edit)
    stage.config_file.write_text(endpoint_config("http://127.0.0.1:9/v1", model="fake:main"))
    stage.run(drive, size=(120, 36))
    assert 'description = "Ours' in (stage.root / "config" / "presets" / "ours.toml").read_text()


def offered(ref: str, completion: float | None = None) -> Offered:
    return Offered(ModelRef.parse(ref), None if completion is None else Price(1.0, completion))


def test_other_houses_first_nobody_dearer_and_of_each_line_the_newest() -> None:
    models = [
        offered("a:claude-opus-5", 25),
        offered("a:claude-sonnet-4-5", 15),
        offered("a:claude-sonnet-5", 15),
        offered("o:gpt-6-pro", 120),
        offered("o:gpt-6.1", 10),
        offered("o:gpt-5.5", 10),
        offered("g:gemini-4-flash", 2),
        offered("g:gemini-4-pro", 12),
    ]
    main = ModelRef.parse("a:claude-opus-5")
    ticked = [str(each.ref) for each in sensible(models, main)]
    assert ticked == ["g:gemini-4-pro", "o:gpt-6.1", "a:claude-sonnet-5"]
    assert "a:claude-sonnet-4-5" in [str(each.ref) for each in in_order(models)][-2:]


@pytest.mark.parametrize("line", ["/moa ask @budget why?", "/moa quote budget"])
def test_what_needs_another_key_says_which_way_leads_on(program: Program, line: str) -> None:
    done = program("run", line)
    assert done.code == 2 and "OPENROUTER_API_KEY" in done.err and "or /moa, which offers a panel" in done.err


# In line mode, and where nobody can be asked


def test_line_mode_asks_in_numbered_lines(stage: Stage) -> None:
    with ScriptedEndpoint(script(("one", "two", "three"))) as endpoint:
        config = f'model = "mine:one"\n[endpoints.mine]\nbase_url = "{endpoint.base_url}"\n'
        bench = LineBench(stage.root, config=config, plugins=plugin_makers(), scripted=False)

        async def through() -> None:
            for typed, told in (
                ("/moa\r", "[ ]  3 main (mine:one)"),
                ("3\r", "[x]  3 main (mine:one)"),
                ("7\r", "a number of those above"),
                ("\r", "Arm mine?"),
                ("\r", "Counsel is on"),
            ):
                bench.press(typed)
                await until(lambda told=told: told in bench.printed)
            assert next(each for each in bench.mode.chat.host.plugins if each.name == "moa").armed == "mine"  # type: ignore[attr-defined]

        assert bench.run(through) == 0
    assert [each["model"] for each in members(stage)] == ["mine:two", "mine:three", "main"]


@pytest.mark.slow
def test_a_run_says_what_can_be_armed_and_makes_a_panel_without_a_price(program: Program) -> None:
    refused = program("run", "/moa on")
    assert refused.code == 2
    assert (
        "OPENROUTER_API_KEY is not set" in refused.err and "self" in refused.err and "/preset new mine" in refused.err
    )
    assert program("run", "/preset new mine fake:a fake:b").code == 0
    assert program("preset", "new", "edited").code == 0
    text = (program.config_dir / "presets" / "edited.toml").read_text()
    program.preset("edited", re.sub(r"openrouter:[^\"]+", "fake:a", text))
    listed = json.loads(program("preset", "list", "--json").out)["presets"]
    runs = {each["name"]: each["runs_here"] for each in listed}
    assert runs["mine"] and runs["edited"] and runs["self"] and not runs["budget"]
    assert next(each for each in listed if each["name"] == "budget")["why_not"] == ["OPENROUTER_API_KEY is not set"]
    assert program("run", "--preset", "edited", "/moa on").code == 0


def test_presets_are_listed_shown_and_tried_in_the_chat(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        await stage.enter("/preset")
        await stage.shows("Not here: OPENROUTER_API_KEY is not set")
        assert stage.text.count("OPENROUTER_API_KEY") == 1, "each reason once"
        await stage.enter("/preset new pair mine:one mine:two")
        await stage.shows("Arm pair?")
        await stage.pilot.press("enter")
        await stage.shows("Counsel is on: pair")
        await stage.enter("/preset show pair")
        await stage.shows('model = "mine:two"')
        await stage.enter("/preset check pair")
        await stage.shows("works")

    with ScriptedEndpoint(script(("one", "two"))) as endpoint:
        stage.config_file.write_text(f'model = "mine:one"\n[endpoints.mine]\nbase_url = "{endpoint.base_url}"\n')
        stage.run(drive, size=(120, 60))


def test_what_was_agreed_to_with_the_quote_is_not_asked_again(stage: Stage) -> None:
    async def drive(stage: Stage) -> None:
        assert await to_armed(stage, "enter", "enter") == "mine"
        await stage.enter("what now?")
        await stage.shows("counsel mine:")
        await stage.shows("Answer of one.")

    with ScriptedEndpoint(script(("one", "two"))) as endpoint:
        stage.config_file.write_text(f'model = "mine:one"\n[endpoints.mine]\nbase_url = "{endpoint.base_url}"\n')
        stage.run(drive, size=(80, 24))


def test_a_panel_of_programs_is_offered_where_one_of_them_is_here(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: list[tuple[str, ...]] = []

    async def drive(stage: Stage) -> None:
        moa = plugin(stage)
        found.append(moa.obstacles(moa.load("subscriptions")))
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "codex").touch(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
        found.append(moa.obstacles(moa.load("subscriptions")))

    monkeypatch.setenv("PATH", "/nowhere")
    with ScriptedEndpoint(script(("one",))) as endpoint:
        stage.config_file.write_text(f'model = "mine:one"\n[endpoints.mine]\nbase_url = "{endpoint.base_url}"\n')
        stage.run(drive)
    assert found == [("claude or codex or gemini is not installed",), ()]
