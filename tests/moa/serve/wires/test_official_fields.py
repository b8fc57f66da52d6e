"""Each field that the official clients can send, over each other wire: it is said to the endpoint, or left out by name, or refused by name.

The fields are those of the libraries' own types, so a new release that brings one is noticed here.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from anthropic.types import MessageParam, message_create_params
from anthropic.types.beta import BetaMessageParam
from anthropic.types.beta import message_create_params as beta_create_params
from openai.types.chat import ChatCompletionMessageParam, completion_create_params
from openai.types.responses import ResponseInputItemParam, response_create_params

from moa.serve.wires.wire import Unsayable
from tests.moa.serve.wires.test_features import body, tool
from tests.support.crossing import PAIRS, Crossing

TYPES: dict[str, tuple[Any, ...]] = {
    "messages": (
        message_create_params.MessageCreateParamsNonStreaming,
        beta_create_params.MessageCreateParamsNonStreaming,
    ),
    "responses": (response_create_params.ResponseCreateParamsNonStreaming,),
    "chat": (completion_create_params.CompletionCreateParamsNonStreaming,),
}
# What is in every body here, and what the libraries send in a header or not at all.
PLAIN = {"messages", "input", "model", "stream", "system", "betas"}
# What asks for what is so anyway: the default, or what is done with or without it. `prompt_cache_key` is kept for the endpoints that have one.
NOTHING: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "store": (False,),
    "logprobs": (False,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto",),
    "speed": ("standard",),
    "tool_choice": ("auto", {"type": "auto"}),
    "reasoning_effort": ("none",),
    "reasoning": ({"effort": "none"}, {"summary": "auto"}, {"generate_summary": "auto"}),
    "text": ({"format": {"type": "text"}},),
    "include": (["reasoning.encrypted_content"], ["web_search_call.action.sources"]),
    "stream_options": ({"include_usage": True}, {"include_obfuscation": True}),
    "prompt_cache_key": ("x",),
    "thinking": (
        {"type": "adaptive"},
        {"type": "adaptive", "display": "summarized"},
        {"type": "adaptive", "block_binding": {}},
    ),
}


def samples(hint: Any, depth: int = 0) -> Iterator[Any]:
    """Values of a type: each of a choice, and an object bare and with each of its optional keys."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        yield from inner
    elif hint in (bool, int, float, str):
        yield from {bool: (True, False), int: (3,), float: (0.5,), str: ("x",)}[hint]
    elif hasattr(hint, "__required_keys__"):  # of whichever module the libraries take theirs
        yield from _objects(hint, depth)
    elif origin is dict:
        yield {"a": "b"}
    elif origin in (list, Iterable, Sequence):
        yield from ([each] for each in samples(inner[0], depth + 1))
    else:  # a union, Annotated, Required
        for each in inner[:1] if origin in (typing.Annotated, typing.Required, typing.NotRequired) else inner:
            yield from samples(each, depth)


def _objects(hint: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > 3:
        return
    hints = get_type_hints(hint)
    written = {key: str(value) for base in hint.__mro__ for key, value in getattr(base, "__annotations__", {}).items()}
    needed = {key for key in hints if "Required[" in written.get(key, "") or (hint.__total__ and key in written)}
    least = {key: value for key in needed if (value := next(samples(hints[key], depth + 1), None)) is not None}
    yield least
    for key in hints.keys() - needed:
        if (value := next(samples(hints[key], depth + 1), None)) is not None:
            yield {**least, key: value}


ROWS = [
    (wire, dialect, name)
    for wire, dialect in PAIRS
    for name in sorted({name for kind in TYPES[wire] for name in get_type_hints(kind)} - PLAIN)
]


@pytest.mark.parametrize(("wire", "dialect", "name"), ROWS)
def test_a_field_is_said_or_named(wire: str, dialect: str, name: str) -> None:
    crossing = Crossing(wire, dialect)
    plain = body(wire, **({"tools": [tool(wire)]} if name in ("tool_choice", "parallel_tool_calls") else {}))
    before = (crossing.upstream(plain), crossing.read(plain).left_out)
    seen = 0
    for kind in TYPES[wire]:
        for value in samples(get_type_hints(kind).get(name)):
            seen += 1
            if value in ({}, [{}]) or value in NOTHING.get(name, ()):
                continue
            asked = {**plain, name: value}
            try:
                after = (crossing.upstream(asked), crossing.read(asked).left_out)
            except Unsayable as refusal:
                assert refusal.param.startswith(name), (value, refusal.param)
                continue
            assert after != before, f"{value!r} is dropped in silence"
    assert seen, "no value of it is known"


# Messages, items and blocks


def contents(wire: str) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Conversations of two messages of the user's with one thing between them, or in the second; and that thing."""
    first, last = {"role": "user", "content": "Q"}, {"role": "user", "content": "go"}
    if wire == "responses":
        for kind in get_args(ResponseInputItemParam):
            for item in samples(kind):
                yield [first, item, last], item
    elif wire == "chat":
        for kind in get_args(ChatCompletionMessageParam):
            for message in samples(kind):
                yield [first, message, last], message
            for parts in samples(get_type_hints(kind).get("content")):
                if isinstance(parts, list):
                    message = {**next(samples(kind)), "content": parts}
                    yield [first, message, last], message
    else:
        kinds = (*get_args(MessageParam), *(get_args(BetaMessageParam) or (BetaMessageParam,)))
        for kind in kinds:
            hints = get_type_hints(kind)
            for role in get_args(hints["role"]):
                for blocks in samples(hints["content"]):
                    if isinstance(blocks, list) and blocks:
                        yield [first, {"role": role, "content": blocks}, last], blocks[0]


def says_nothing(wire: str, thing: dict[str, Any]) -> bool:
    """Thoughts that another server signed or sealed stay behind (docs/between-wires.md), and so does a reply without a word."""
    if thing.get("type") in ("thinking", "redacted_thinking", "reasoning"):
        return True
    return wire == "chat" and thing.get("role") == "assistant" and not thing.keys() - {"role", "name"}


@pytest.mark.parametrize(("wire", "dialect"), PAIRS)
def test_a_message_is_said_or_named(wire: str, dialect: str) -> None:
    crossing, key = Crossing(wire, dialect), "input" if wire == "responses" else "messages"
    plain = crossing.upstream(body(wire, **{key: [{"role": "user", "content": word} for word in ("Q", "go")]}))
    seen = 0
    for conversation, thing in contents(wire):
        seen += 1
        asked = body(wire, **{key: conversation})
        try:
            left, sent = crossing.read(asked).left_out, crossing.upstream(asked)
        except Unsayable as refusal:
            assert refusal.param.startswith(key), (thing, refusal.param)
            continue
        assert sent != plain or left or says_nothing(wire, thing), f"{thing!r} is dropped in silence"
    assert seen > 20
