"""Structured output: the mode that is sent to an endpoint, and the words that go with the looser ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from agent.llm.request import OutputMode, Request


def mode_sent(mode: OutputMode, quirks: frozenset[str]) -> OutputMode:
    """The mode that this endpoint allows: the one asked for, or the next looser that it does not refuse."""
    if mode == "json_schema" and "no_json_schema" in quirks:
        mode = "json_object"
    # Any object can be asked for as a schema too, which LM Studio needs; where neither works there is only the prompt.
    if mode == "json_object" and {"no_json_object", "no_json_schema"} <= quirks:
        mode = "prompt"
    return mode


class Form(NamedTuple):
    """What an answer has to be by an endpoint's own means: an object of any kind (`schema` None), or one of a schema. `strict` None: nothing
    is said of it."""

    name: str = ""
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None


def form(request: Request, quirks: frozenset[str]) -> Form | None:
    """In the mode that this endpoint allows; None where the answer is free, or the prompt alone asks for a form."""
    schema = request.schema
    mode = "prompt" if schema is None else mode_sent(schema.mode, quirks)
    if schema is None or mode == "prompt":
        return None
    if mode == "json_schema":
        return Form(schema.name, schema.schema, False if "no_strict_schema" in quirks else schema.strict)
    return Form() if "no_json_object" not in quirks else Form(schema.name, {"type": "object"})


def tail(request: Request, quirks: frozenset[str]) -> str | None:
    """The request's tail and, below strict schema, the schema in words (DeepSeek refuses `json_object` without the word JSON)."""
    if request.schema is None or request.schema.described or mode_sent(request.schema.mode, quirks) == "json_schema":
        return request.tail
    import json

    schema = json.dumps(request.schema.schema, ensure_ascii=False)
    words = f"Answer with one JSON object and nothing else. It must hold to this JSON schema:\n{schema}"
    return f"{request.tail}\n\n{words}" if request.tail else words
