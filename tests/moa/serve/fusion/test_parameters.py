"""Fusion's server tool and plugin: what their parameters do to the panel, and the words that a wrong one is told.

Each one's range and default, in both forms, is a row of test_wire_facts.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.errors import UsageError
from agent.llm.request import ModelRef
from moa.preset.preset import Preset
from moa.serve.fusion.panel import preset_for
from moa.serve.fusion.parameters import find_plugin, read_tool
from moa.store.store import load

ENDPOINTS = ("openrouter", "ollama", "fake")
OUTER = ModelRef("fake", "outer")
QUALITY = [
    "openrouter:~anthropic/claude-opus-latest",
    "openrouter:~openai/gpt-latest",
    "openrouter:~google/gemini-pro-latest",
]


def shipped(name: str) -> Preset:
    return load(name, config_dir=Path("/nowhere"))


def tool(parameters: dict[str, Any] | None, **more: Any) -> Preset:
    fusion = read_tool(parameters, "tools[0].parameters")
    return preset_for(fusion, load=shipped, endpoints=ENDPOINTS, outer=OUTER, where="tools[0].parameters", **more)


def plugin(**parameters: Any) -> Preset:
    found = find_plugin([{"id": "web"}, {"id": "fusion", **parameters}], presets=lambda: ("mine",))
    assert found is not None
    return preset_for(found, load=shipped, endpoints=ENDPOINTS)


def members(preset: Preset) -> list[str]:
    return [str(member.model) for member in preset.members]


def test_the_defaults() -> None:
    for preset in (tool(None), tool({}), plugin()):
        assert members(preset) == QUALITY
        for member in preset.members:
            seat = member.reference
            assert (seat.max_tokens, seat.max_tool_calls, seat.tools) == (16_000, 4, ("web_search", "web_fetch"))
            assert seat.temperature is None
        assert (preset.aggregator.temperature, preset.aggregator.max_tokens) == (0.0, 16_000)
        assert (preset.quorum, preset.layers, preset.aggregate, preset.tools_at) == (None, 1, "analysis", "always")
    assert tool(None).deep == "fake:outer", "the model that calls the tool analyses"
    assert plugin().deep == QUALITY[0], "for Fusion's own model the panel's first does, and writes"


@pytest.mark.parametrize(
    ("parameters", "seen"),
    [
        ({"analysis_models": ["m:free"] * 8}, lambda p: members(p) == ["openrouter:m:free"] * 8),
        ({"analysis_models": ["ollama:qwen3:8b", "fake:x"]}, lambda p: members(p) == ["ollama:qwen3:8b", "fake:x"]),
        ({"analysis_models": ["a/b"]}, lambda p: (p.turn_usd, p.turn_tokens) == (None, None)),
        ({"model": "~openai/gpt-latest"}, lambda p: p.deep == p.aggregator.model == QUALITY[1]),
        ({"max_completion_tokens": 900.0}, lambda p: (p.aggregator.max_tokens, p.answer_tokens) == (900, 1)),
        *(
            (
                {"reasoning": {"max_tokens": budget}, "max_completion_tokens": 10_000},
                lambda p, level=level: p.members[0].reference.reasoning == level,
            )
            for budget, level in ((0, "none"), (900, "minimal"), (2_100, "low"), (5_000, "medium"), (8_000, "high"), (9_999, "xhigh"))
        ),
        ({"reasoning": {}}, lambda p: p.members[0].reference.reasoning is None),
        ({"tools": []}, lambda p: (p.members[0].reference.tools, p.tools_at) == ((), "never")),
        (
            {"tools": [{"type": "openrouter:web_search", "parameters": {"engine": "auto", "excluded_domains": ["x.org"]}}]},
            lambda p: p.excluded_domains == ("x.org",),
        ),
        (
            {
                "tools": [
                    {"type": "openrouter:web_search", "parameters": {"allowed_domains": ["a.org"]}},
                    {"type": "openrouter:web_fetch", "parameters": {"blocked_domains": ["b.org"]}},
                ]
            },
            lambda p: (p.allowed_domains, p.excluded_domains) == (("a.org",), ("b.org",)),
        ),
    ],
)  # fmt: skip
def test_what_the_tool_may_say(parameters: dict[str, Any], seen: Any) -> None:
    assert seen(tool(parameters))


@pytest.mark.parametrize(
    ("parameters", "seen"),
    [
        ({"preset": "general-high"}, lambda p: (p.name, p.deep) == ("quality", QUALITY[0])),
        ({"preset": "general-budget"}, lambda p: (p.name, p.deep, p.members[0].reference.role) == ("budget", QUALITY[0], None)),
        ({"preset": "general-fast"}, lambda p: (p.name, p.aggregate, p.deep) == ("fast", "analysis", str(p.members[0].model))),
        ({"preset": "general-fast", "model": "a/b", "analysis_models": ["c/d"]}, lambda p: (p.deep, members(p)) == ("openrouter:a/b", ["openrouter:c/d"])),
        ({"max_tool_calls": 9, "tools": []}, lambda p: p.members[0].reference.max_tool_calls == 9),
    ],
)  # fmt: skip
def test_what_the_plugin_may_say(parameters: dict[str, Any], seen: Any) -> None:
    assert seen(plugin(**parameters))


def test_the_plugin_can_be_off_and_the_tool_beats_it() -> None:
    off = find_plugin([{"id": "fusion", "enabled": False}])
    assert off is not None and not off.enabled
    assert find_plugin(None) is None and find_plugin([{"id": "web"}]) is None
    both = read_tool({"max_tool_calls": 4, "model": "a/b"}, "t").over(
        find_plugin([{"id": "fusion", "preset": "general-fast", "max_tool_calls": 9, "model": "c/d"}])
        or read_tool({}, "t")
    )
    assert (both.preset, both.max_tool_calls, both.model) == ("fast", 4, "a/b")


T = "tools[0].parameters"
WRONG = [
    ({"analysis_models": []}, f"{T}.analysis_models is empty"),
    ({"analysis_models": ["a"] * 9}, f"{T}.analysis_models has 9 entries"),
    ({"analysis_models": "a/b"}, f"{T}.analysis_models is not a list of texts"),
    ({"analysis_models": ["openrouter/fusion"]}, f"{T}.analysis_models[0] names openrouter/fusion"),
    ({"analysis_models": ["a/b", "fuse/quality"]}, f"{T}.analysis_models[1] names fuse/quality"),
    ({"model": "moa/quality"}, f"{T}.model names moa/quality"),
    *(({"max_tool_calls": bad}, f"{T}.max_tool_calls is {bad!r}") for bad in (0, 17, 1.5, "4", True)),
    *(({"temperature": bad}, f"{T}.temperature is {bad!r}") for bad in (-0.1, 2.1, "0")),
    ({"reasoning": {"effort": "huge"}}, f"{T}.reasoning.effort is 'huge'"),
    ({"tools": [{"type": "openrouter:web_search"}] * 9}, f"{T}.tools has 9 entries"),
    ({"tools": [{"type": "openrouter:fusion"}]}, f"{T}.tools[0].type is 'openrouter:fusion'"),
    ({"tools": [{"type": "openrouter:web_search", "parameters": {"engine": "exa"}}]}, ".engine is 'exa'"),
    ({"tools": [{"type": "openrouter:web_search", "parameters": {"max_uses": 2}}]}, ".max_uses can't be honoured"),
    ({"tools": [{"type": "openrouter:web_search", "parameters": {"blocked_domains": []}}]}, ".blocked_domains is not known"),
    ({"cache_control": {"type": "always"}}, f"{T}.cache_control.type is not ephemeral"),
    ({"cache_control": {"type": "ephemeral", "ttl": "2h"}}, f"{T}.cache_control.ttl is neither"),
    ([], f"{T} is not an object"),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "words"), WRONG)
def test_what_is_wrong_is_named(parameters: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        tool(parameters)
    assert words in caught.value.message
    assert (caught.value.kind, bool(caught.value.remedy)) == ("invalid_request", True)


@pytest.mark.parametrize(
    ("plugins", "words"),
    [
        ([{"id": "fusion", "preset": "general-huge"}], "plugins[0].preset is 'general-huge'"),
        (
            [{"id": "web"}, {"id": "fusion", "temperature": 1}],
            "plugins[1].temperature is a parameter of the server tool",
        ),
        (
            [{"id": "fusion", "max_completion_tokens": 1}],
            "plugins[0].max_completion_tokens is a parameter of the server",
        ),
        ([{"id": "fusion", "reasoning": {}}], "plugins[0].reasoning is a parameter of the server tool"),
        ([{"id": "fusion", "enabled": "no"}], "plugins[0].enabled is neither true nor false"),
        ([{"id": "fusion"}, {"id": "fusion"}], "plugins[1] is the fusion plugin for the second time"),
    ],
)
def test_what_is_wrong_with_the_plugin(plugins: list[Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_plugin(plugins, presets=lambda: ("mine",))
    assert words in caught.value.message


def test_web_tools_that_are_not_there() -> None:
    assert tool({}, tools={"read"}).members[0].reference.tools == ()
    with pytest.raises(UsageError, match="names web_fetch, which does not exist in this program"):
        tool({"tools": [{"type": "openrouter:web_fetch"}]}, tools={"web_search"})
