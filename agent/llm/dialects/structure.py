"""Structured output: the mode that is sent to an endpoint, and the words that go with the looser ones."""

from __future__ import annotations

from agent.llm.request import OutputMode, Request


def mode_sent(mode: OutputMode, quirks: frozenset[str]) -> OutputMode:
    """The mode that this endpoint allows: the one asked for, or the next looser that it does not refuse."""
    if mode == "json_schema" and "no_json_schema" in quirks:
        mode = "json_object"
    # Any object can be asked for as a schema too, which LM Studio needs; where neither works there is only the prompt.
    if mode == "json_object" and {"no_json_object", "no_json_schema"} <= quirks:
        mode = "prompt"
    return mode


def tail(request: Request, quirks: frozenset[str]) -> str | None:
    """The request's tail and, below strict schema, the schema in words (DeepSeek refuses `json_object` without the word JSON)."""
    if request.schema is None or request.schema.described or mode_sent(request.schema.mode, quirks) == "json_schema":
        return request.tail
    import json

    schema = json.dumps(request.schema.schema, ensure_ascii=False)
    words = f"Answer with one JSON object and nothing else. It must hold to this JSON schema:\n{schema}"
    return f"{request.tail}\n\n{words}" if request.tail else words
