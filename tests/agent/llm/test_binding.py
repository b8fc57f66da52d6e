"""Which signed thoughts go back: each by what it was thought on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.llm.binding import Binding, binding, binds, is_bound
from agent.llm.dialects.anthropic import AnthropicDialect
from agent.llm.dialects.base import Dialect
from agent.llm.dialects.chat import ChatDialect
from agent.llm.messages import Message, ReasoningPart, TextPart, system, user
from agent.llm.models.endpoint import WELL_KNOWN, Endpoint
from agent.llm.models.quirks import known
from agent.llm.request import ModelRef, Request
from tests.support.bound import answered

SIGNED = {"type": "thinking", "signature": "s"}
DETAILS = [{"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1"}]
CASES = [
    (AnthropicDialect(), WELL_KNOWN["anthropic"], "claude-opus-5-5"),
    (ChatDialect(), WELL_KNOWN["openrouter"], "anthropic/claude-opus-5.5"),
]


def thought(model: ModelRef, text: str) -> Message:
    """A reply with a signed thought, in the form of its endpoint."""
    if model.endpoint == "anthropic":
        parts = (ReasoningPart(text="hm", extra=dict(SIGNED)), TextPart(text=text))
        return Message(role="assistant", parts=parts, origin=str(model))
    return Message(
        role="assistant", parts=(TextPart(text=text),), origin=str(model), extra={"reasoning_details": DETAILS}
    )


def conversation(dialect: Dialect, endpoint: Endpoint, model: str) -> Request:
    ref = ModelRef(endpoint.name, model)
    messages = (system("S"), user("one"), thought(ref, "first"), user("two"), thought(ref, "second"), user("three"))
    return answered(dialect, Request(ref, messages), endpoint, known(endpoint, model), served=model)


def sent(dialect: Dialect, endpoint: Endpoint, request: Request) -> tuple[list[bool], list[str]]:
    """Whether each reply goes back with its thought, and why not."""
    left: list[str] = []
    body = dialect.encode(request, endpoint, known(endpoint, request.model.model), left)
    replies = [item for item in body["messages"] if item["role"] == "assistant"]
    return ["hm" in str(item) for item in replies], left


@pytest.mark.parametrize(("dialect", "endpoint", "model"), CASES)
def test_each_thought_goes_back_by_its_own_memory(dialect: Dialect, endpoint: Endpoint, model: str) -> None:
    request = conversation(dialect, endpoint, model)
    assert sent(dialect, endpoint, request) == ([True, True], [])

    changed = replace(request, messages=(request.messages[0], user("other"), *request.messages[2:]))
    assert sent(dialect, endpoint, changed)[0] == [False, False]

    # Made after a break: the second one stands on what is sent now, with the first one's thought left behind.
    healed = list(changed.messages)
    before = replace(changed, messages=changed.messages[:4])
    items = dialect.items(dialect.encode(before, endpoint, known(endpoint, model)))
    healed[4] = replace(healed[4], binding=binding(items, healed[4], endpoint, model, bare=False))
    assert sent(dialect, endpoint, replace(changed, messages=tuple(healed)))[0] == [False, True]


@pytest.mark.parametrize(("dialect", "endpoint", "model"), CASES)
def test_what_breaks_the_binding(dialect: Dialect, endpoint: Endpoint, model: str) -> None:
    request = conversation(dialect, endpoint, model)
    key = replace(endpoint, api_key="sk-another-key-of-mine")
    assert sent(dialect, key, request)[0] == [False, False]
    unknown = tuple(replace(message, binding=None) for message in request.messages)
    found = sent(dialect, endpoint, replace(request, messages=unknown))
    assert found == ([False, False], ["an older version of the program kept them"] * 2)
    moved = list(request.messages)
    was = Binding.read(moved[4].binding)
    assert was is not None
    moved[4] = replace(moved[4], binding=str(replace(was, served="claude-opus-5-6")))
    assert sent(dialect, endpoint, replace(request, messages=tuple(moved)))[0][0] is False
    other = replace(request, model=ModelRef(endpoint.name, "another"))
    assert sent(dialect, endpoint, other) == ([False, False], []), "another model's thoughts are nobody's loss"


@pytest.mark.parametrize(("dialect", "endpoint", "model"), CASES)
def test_after_a_refusal_the_reply_remembers_that_it_was_made_without(
    dialect: Dialect, endpoint: Endpoint, model: str
) -> None:
    request = conversation(dialect, endpoint, model)
    assert sent(dialect, endpoint, replace(request, thoughts=False))[0] == [False, False]
    bare = list(request.messages)
    was = Binding.read(bare[4].binding)
    assert was is not None
    quirks = known(endpoint, model)
    items = dialect.items(
        dialect.encode(replace(request, messages=request.messages[:4], thoughts=False), endpoint, quirks)
    )
    bare[4] = replace(bare[4], binding=binding(items, bare[4], endpoint, model, bare=True))
    again = replace(request, messages=tuple(bare))
    assert sent(dialect, endpoint, again) == ([False, True], ["the endpoint has refused them"])


@pytest.mark.parametrize(
    ("block", "bound"),
    [
        ({"type": "thinking", "thinking": "", "signature": "s"}, True),
        ({"type": "redacted_thinking", "data": "x"}, True),
        ({"type": "reasoning.text", "text": "hm", "signature": "s"}, True),
        ({"type": "reasoning.encrypted", "data": "x", "format": "anthropic-claude-v1"}, True),
        ({"type": "reasoning.encrypted", "data": "x", "format": None}, True),
        ({"type": "reasoning.encrypted", "data": "x", "format": "google-gemini-v1"}, False),
        ({"type": "reasoning.encrypted", "data": "x", "format": "openai-responses-v1"}, False),
        ({"type": "reasoning.text", "text": "hm", "format": "unknown"}, False),
        ({"type": "reasoning", "encrypted_content": "x"}, False),
        ({"type": "thinking", "thinking": "hm"}, False),
        ("text", False),
    ],
)
def test_what_is_bound(block: Any, bound: bool) -> None:
    assert is_bound(block) is bound
    details = Message(role="assistant", extra={"reasoning_details": [block]})
    assert binds(details) is bound
