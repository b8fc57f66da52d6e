"""How deep a model is told to think: each level on each dialect, and each field that a family refuses, as it goes onto the wire."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.errors import UsageError
from agent.llm.accounting import CallContext
from agent.llm.dialects.registry import DIALECTS, dialect_named
from agent.llm.messages import assistant, system, user
from agent.llm.models.catalogue import parse_models
from agent.llm.models.effort import check, levels, remark
from agent.llm.models.endpoint import WELL_KNOWN, ModelFacts
from agent.llm.models.families import EFFORTS, TABLE, family_of
from agent.llm.models.quirks import NAMES, known
from agent.llm.request import Effort, ModelRef, Request, ToolSpec
from tests.agent.llm.doors import answer, door

TOOL = ToolSpec("read", "Read a file.", {"type": "object", "properties": {}})
FIELDS = ("thinking", "output_config", "reasoning", "reasoning_effort")


def encode(where: str, *learned: str, **options: Any) -> dict[str, Any]:
    """`where` is ENDPOINT:MODEL, or ENDPOINT/DIALECT:MODEL."""
    place, _colon, model = where.partition(":")
    name, _slash, dialect = place.partition("/")
    endpoint = WELL_KNOWN[name]
    request = Request(ModelRef(name, model), (system("S"), user("Hi")), **options)
    quirks = known(endpoint, model) | set(learned)
    return dialect_named(dialect or endpoint.dialect).encode(request, endpoint, quirks)


def told(body: dict[str, Any]) -> str:
    """What a body says about thinking, in short: `adaptive high`, `effort=low`, `object=low`, `budget=8000`, or nothing."""
    thinking, reasoning = body.get("thinking", {}), body.get("reasoning", {})
    if "budget_tokens" in thinking:
        return f"budget={thinking['budget_tokens']}"
    words = [
        thinking.get("type", ""),
        body.get("output_config", {}).get("effort", ""),
        f"effort={body['reasoning_effort']}" if "reasoning_effort" in body else "",
        f"object={reasoning['effort']}" if "effort" in reasoning else "",
    ]
    return " ".join(word for word in words if word)


# None, then none, minimal, low, medium, high, xhigh, max; `!`: refused before it is sent.
WIRE: dict[str, tuple[str, ...]] = {
    "anthropic:claude-opus-4-5": ("", "", "budget=1600", "budget=3200", "budget=8000", "budget=12800", "budget=15200", "budget=15200"),
    "anthropic:claude-sonnet-4-6": ("", "", "", "adaptive low", "adaptive medium", "adaptive high", "", "adaptive max"),
    "anthropic:claude-opus-4-8": ("", "", "", "adaptive low", "adaptive medium", "adaptive high", "adaptive xhigh", "adaptive max"),
    "anthropic:claude-opus-5": ("adaptive", "disabled", "adaptive", "adaptive low", "adaptive medium", "adaptive high", "adaptive xhigh", "adaptive max"),
    "anthropic:claude-haiku-5-5": ("adaptive", "disabled", "adaptive", "adaptive low", "adaptive medium", "adaptive high", "adaptive xhigh", "adaptive max"),
    "anthropic:claude-sonnet-5-5": ("adaptive", "between_tools", "adaptive", "adaptive low", "adaptive medium", "adaptive high", "adaptive xhigh", "adaptive max"),
    "anthropic:claude-opus-5-5-20260921": ("adaptive", "!", "adaptive", "adaptive low", "adaptive medium", "adaptive high", "adaptive xhigh", "adaptive max"),
    "anthropic:claude-fable-5-2": ("adaptive", "!", "adaptive", "adaptive low", "adaptive medium", "adaptive high", "adaptive xhigh", "adaptive max"),
    "anthropic:claude-opus-7": ("adaptive", "!", "adaptive", "adaptive low", "adaptive medium", "adaptive high", "adaptive xhigh", "adaptive max"),
    "openai:gpt-4.1": ("", "", "", "", "", "", "", ""),
    "openai:o3-mini": ("", "!", "", "object=low", "object=medium", "object=high", "", ""),
    "openai:gpt-5-mini": ("", "!", "object=minimal", "object=low", "object=medium", "object=high", "", ""),
    "openai:gpt-5.1": ("", "object=none", "", "object=low", "object=medium", "object=high", "", ""),
    "openai:gpt-5.4": ("", "object=none", "", "object=low", "object=medium", "object=high", "object=xhigh", ""),
    "openai:gpt-5.6-sol": ("", "object=none", "", "object=low", "object=medium", "object=high", "object=xhigh", "object=max"),
    "openai:gpt-6.1-sol": ("", "!", "", "object=low", "object=medium", "object=high", "object=xhigh", "object=max"),
    "openai/chat:gpt-5.6-sol": ("", "effort=none", "", "effort=low", "effort=medium", "effort=high", "effort=xhigh", "effort=max"),
    "openai/chat:gpt-5.1": ("", "effort=none", "", "effort=low", "effort=medium", "effort=high", "", ""),
    "openrouter:~anthropic/claude-opus-latest": ("", "!", "object=minimal", "object=low", "object=medium", "object=high", "object=xhigh", "object=max"),
    "openrouter:some/model": ("", "object=none", "object=minimal", "object=low", "object=medium", "object=high", "object=xhigh", "object=max"),
    "groq:openai/gpt-oss-120b": ("", "!", "effort=low", "effort=low", "effort=medium", "effort=high", "effort=high", "effort=high"),
    "gemini:gemini-3-pro": ("", "effort=none", "effort=low", "effort=low", "effort=medium", "effort=high", "effort=high", "effort=high"),
    "deepseek:deepseek-v4-pro": ("", "disabled", "enabled", "enabled", "enabled", "enabled", "enabled", "enabled"),
    "vllm:some-model": ("", "effort=none", "effort=low", "effort=low", "effort=medium", "effort=high", "effort=high", "effort=high"),
}  # fmt: skip


@pytest.mark.parametrize("where", WIRE)
def test_each_level_on_each_dialect(where: str) -> None:
    model = ModelRef("x", where.partition(":")[2])
    for level, expected in zip((None, *EFFORTS), WIRE[where], strict=True):
        if expected == "!":
            with pytest.raises(UsageError, match="always thinks") as refused:
                check(model, level)
            assert refused.value.kind == "effort" and "lowest level" in str(refused.value.remedy)
        else:
            check(model, level)
            assert told(encode(where, reasoning=level)) == expected, level
        # An endpoint that refuses all of it hears nothing of it.
        assert not set(FIELDS) & set(encode(where, "no_reasoning", reasoning=level))


def test_thoughts_are_asked_for_in_words() -> None:
    for model in ("claude-opus-4-8", "claude-opus-5-5", "claude-sonnet-5-5"):
        assert encode(f"anthropic:{model}", reasoning="high")["thinking"]["display"] == "summarized"
    assert "display" not in encode("anthropic:claude-opus-5-5", "no_thinking_display")["thinking"]
    assert encode("openai:gpt-5.6-sol")["reasoning"] == {"summary": "auto"}
    assert encode("openai:gpt-5.6-sol", reasoning="none")["reasoning"] == {"effort": "none"}


REFUSING = (
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-fable-5-1",
    "claude-fable-5-2",
    "claude-mythos-5-1",
    "claude-opus-6",
)


@pytest.mark.parametrize("model", REFUSING)
@pytest.mark.parametrize("where", ["anthropic:", "openrouter:anthropic/", "vllm:"])
def test_what_5x_refuses_is_not_sent(model: str, where: str) -> None:
    history = (system("S"), user("go"), assistant("Half an answ"))
    body = encode(where + model, tools=(TOOL,), tool_choice="required", temperature=0.2, reasoning="low")
    assert not {"temperature", "top_p", "top_k", "tool_choice"} & set(body)
    assert body.get("thinking", {}).get("type") in (None, "adaptive")
    assert encode(where + model, tools=(TOOL,), tool_choice="none")["tool_choice"] in ("none", {"type": "none"})
    name, _, ident = (where + model).partition(":")
    endpoint = WELL_KNOWN[name]
    unended = dialect_named(endpoint.dialect).encode(
        Request(ModelRef(name, ident), history), endpoint, known(endpoint, ident)
    )
    assert unended["messages"][-1]["role"] == "user"


def test_elder_models_keep_what_they_take() -> None:
    body = encode(
        "anthropic:claude-sonnet-4-6", tools=(TOOL,), tool_choice="required", temperature=0.2, reasoning="low"
    )
    assert (body["temperature"], body["tool_choice"]) == (0.2, {"type": "any"})
    assert "thinking" not in body  # a forced call excludes it
    forced = encode("anthropic:claude-opus-5", tools=(TOOL,), tool_choice="required")
    assert (forced["tool_choice"], forced["thinking"]) == ({"type": "any"}, {"type": "disabled"})


@pytest.mark.parametrize(
    ("model", "line", "since"),
    [
        ("anthropic/claude-opus-5.5:beta", "claude-opus", (5, 5)),
        ("~anthropic/claude-opus-latest", "claude-opus", (5, 5)),
        ("us.anthropic.claude-opus-5-20260723-v1:0", "claude-opus", (5,)),
        ("claude-opus-5-latest", "claude-opus", (5,)),
        ("anthropic/claude-5-fable-20260609", "claude-fable", (5,)),
        ("claude-3-5-sonnet-20241022", "claude-sonnet", (0,)),
        ("claude-opus-4-20250514", "claude-opus", (0,)),
        ("claude-mythos-preview", "claude-mythos", (5, 1)),
        ("~openai/gpt-latest", "gpt", (6, 1)),
        ("openai/gpt-5.6-sol-pro", "gpt-pro", (5, 6)),
        ("gpt-6-astra", "gpt-astra", (0,)),
        ("gpt-5-chat-latest", "gpt-chat", (0,)),
        ("openai/o4-mini", "o", (1,)),
        ("gpt-4o", "gpt", (0,)),
    ],
)
def test_a_model_is_of_the_newest_row_that_it_reaches(model: str, line: str, since: tuple[int, ...]) -> None:
    family = family_of(model)
    assert family is not None
    assert (family.line, family.since) == (line, since)


def test_an_unknown_model_is_of_no_family() -> None:
    assert [family_of(name) for name in ("deepseek/deepseek-v4-pro", "my-gpt-5", "claudette", "o9x", "llama")] == [
        None
    ] * 5


def test_the_table_says_nothing_that_nobody_reads() -> None:
    assert all(family.quirks <= NAMES for family in TABLE)
    lines = [(family.line, family.since) for family in TABLE]
    assert sorted(lines) == sorted(set(lines))
    for line in {name for name, _since in lines}:
        assert [since for name, since in lines if name == line] == sorted(
            since for name, since in lines if name == line
        )
    assert all(dialect_named(name).name == name for name in DIALECTS)


def test_the_endpoints_list_beats_the_table() -> None:
    listing = b"""{"data": [
        {"id": "a", "reasoning": {"mandatory": true, "supported_efforts": ["high", "low"]}},
        {"id": "b", "reasoning": {"mandatory": false, "supported_efforts": null}},
        {"id": "c"}]}"""
    facts = {model.id: model.facts for model in parse_models(listing)}
    assert levels("a", facts["a"]) == ("low", "high")
    assert levels("b", facts["b"]) == EFFORTS
    assert levels("c", facts["c"]) is None
    with pytest.raises(UsageError, match="can't be none"):
        check(ModelRef("openrouter", "a"), "none", facts["a"])
    check(ModelRef("openrouter", "gpt-5"), "none", ModelFacts(efforts=EFFORTS))


@pytest.mark.parametrize(
    ("where", "level", "text"),
    [
        ("anthropic:claude-opus-5-5", "minimal", "has no level minimal (it has low, medium, high, xhigh, max)"),
        ("groq:m", "max", "has no level max: high is sent"),
        ("openai:gpt-4.1", "high", "can't be set"),
        ("openrouter:anthropic/claude-opus-5.5", "minimal", None),
        ("anthropic:claude-opus-5-5", "high", None),
    ],
)
def test_a_level_that_is_not_there_is_told(where: str, level: Effort, text: str | None) -> None:
    name, _, model = where.partition(":")
    said = remark(ModelRef(name, model), level, known(WELL_KNOWN[name], model))
    assert said is text or (text is not None and said is not None and text in said)


def test_a_call_that_could_only_be_refused_is_not_made() -> None:
    async def ask() -> None:
        endpoint = WELL_KNOWN["anthropic"].with_(api_key="sk-one")
        it = door(answer(b"{}"), endpoint=endpoint, dialects={})
        request = Request(ModelRef("anthropic", "claude-opus-5-5"), (user("Hi"),), reasoning="none")
        with pytest.raises(UsageError, match="always thinks"):
            await it.client.complete(request, CallContext("main"))
        assert it.requests == [] and it.books.lines == []

    asyncio.run(ask())
