"""Structured output: which rung of the ladder a request stands on, and the words that go with the lower ones."""

from __future__ import annotations

from typing import Literal

from agent.llm.request import Request, Schema


def rung(schema: Schema, quirks: frozenset[str]) -> Literal["json_schema", "json_object", "prompt"]:
    """The rung that this endpoint allows: the one asked for, or the next lower that it does not refuse."""
    mode = schema.mode
    if mode == "json_schema" and "no_json_schema" in quirks:
        mode = "json_object"
    # Any object can be asked for as a schema too, which LM Studio needs; where neither works there is only the prompt.
    if mode == "json_object" and {"no_json_object", "no_json_schema"} <= quirks:
        mode = "prompt"
    return mode


def tail(request: Request, quirks: frozenset[str]) -> str | None:
    """The request's tail and, below strict schema, the schema in words (DeepSeek refuses `json_object` without the word JSON)."""
    if request.schema is None or request.schema.described or rung(request.schema, quirks) == "json_schema":
        return request.tail
    import json

    schema = json.dumps(request.schema.schema, ensure_ascii=False)
    words = f"Answer with one JSON object and nothing else. It must hold to this JSON schema:\n{schema}"
    return f"{request.tail}\n\n{words}" if request.tail else words
