"""`/openapi.json`: what the server can be asked, and what it answers.

Bodies of calls are their vendors' own. Said here is what this server itself reads of them; everything else is passed on as it came, or
refused by name where another wire can't say it.
"""

from __future__ import annotations

from typing import Any

from moa import __version__

JSON = "application/json"
EVENTS = "text/event-stream"
MOST_CALLS = 100_000

_TEXT = {"type": "string"}
_NUMBER = {"type": ["number", "null"]}
_COUNT = {"type": ["integer", "null"]}
_OBJECT = {"type": "object"}


def _some(words: str, **of: Any) -> dict[str, Any]:
    return {"description": words, **of}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties}
    return {**found, "required": list(required)} if required else found


_COST = _object(("usd", "lower_bound"), usd=_NUMBER, lower_bound={"type": "boolean"})
_CALL = _object(
    ("id", "purpose", "endpoint", "model_requested", "outcome", "cost_usd", "run"),
    id=_TEXT,
    purpose=_TEXT,
    slot={"type": ["string", "null"]},
    endpoint=_TEXT,
    model_requested=_TEXT,
    model_served={"type": ["string", "null"]},
    provider={"type": ["string", "null"]},
    generation_id={"type": ["string", "null"]},
    prompt_tokens=_COUNT,
    cached_tokens=_COUNT,
    cache_write_tokens=_COUNT,
    completion_tokens=_COUNT,
    reasoning_tokens=_COUNT,
    cost_usd=_NUMBER,
    cost_source=_TEXT,
    ttft_s=_NUMBER,
    duration_s=_NUMBER,
    outcome={"enum": ["done", "incomplete", "failed", "cancelled", "unknown", "reserved"]},
    retries={"type": "integer"},
    error={"type": ["object", "null"]},
    session=_TEXT,
    run=_TEXT,
    turn=_TEXT,
    iteration={"type": "integer"},
    started={"type": "number"},
    ended=_NUMBER,
)
_MODEL = _object(
    ("id", "object", "owned_by"), id=_TEXT, object={"const": "model"}, owned_by=_TEXT, type=_TEXT, display_name=_TEXT
)
_FAULT = _object(
    ("message", "type"),
    message=_TEXT,
    type=_TEXT,
    param={"type": ["string", "null"]},
    code={"type": ["string", "integer", "null"]},  # a number where OpenRouter's refusal is passed on
)

SCHEMAS: dict[str, Any] = {
    "Error": _some(
        "In the wire's own shape: `type` is `error` on the Messages wire.",
        **_object(("error",), type=_TEXT, error=_FAULT),
    ),
    "Health": _object(("status", "version"), status={"const": "ok"}, version=_TEXT),
    "Model": _MODEL,
    "Models": _object(("object", "data"), object={"const": "list"}, data={"type": "array", "items": _MODEL}),
    "Activity": _object(
        ("schema", "cost", "calls"),
        schema={"const": 1},
        cost=_COST,
        calls={"type": "array", "items": _CALL},
        counsel={"type": "array", "items": _OBJECT},
    ),
    "ChatRequest": _object(
        ("model", "messages"),
        model=_some("moa/PRESET, fuse/PRESET, ENDPOINT:MODEL, …", type="string", minLength=1),
        messages={"type": "array", "minItems": 1, "items": _object(("role",), role=_TEXT)},
        stream={"type": "boolean"},
        max_tokens={"type": "integer", "minimum": 1},
        max_completion_tokens={"type": "integer", "minimum": 1},
        tools={"type": "array", "items": _OBJECT},
    ),
    "ResponsesRequest": _object(
        ("model", "input"),
        model=_some("As for Chat Completions.", type="string", minLength=1),
        input={"oneOf": [{"type": "string", "minLength": 1}, {"type": "array", "minItems": 1, "items": _OBJECT}]},
        stream={"type": "boolean"},
        store={"type": "boolean"},
        max_output_tokens={"type": "integer", "minimum": 1},
        instructions={"type": ["string", "null"]},
        previous_response_id={"type": ["string", "null"]},
        tools={"type": "array", "items": _OBJECT},
    ),
    "MessagesRequest": _object(
        ("model", "max_tokens", "messages"),
        model=_some("As for Chat Completions.", type="string", minLength=1),
        max_tokens={"type": "integer", "minimum": 1},
        messages={
            "type": "array",
            "minItems": 1,
            "items": _object(("role", "content"), role={"enum": ["user", "assistant"]}),
        },
        system={"oneOf": [_TEXT, {"type": "array", "items": _OBJECT}]},
        stream={"type": "boolean"},
        tools={"type": "array", "items": _OBJECT},
    ),
    "CountRequest": _object(
        ("model", "messages"),
        model=_some("As for Chat Completions.", type="string", minLength=1),
        messages={
            "type": "array",
            "minItems": 1,
            "items": _object(("role", "content"), role={"enum": ["user", "assistant"]}),
        },
    ),
    "TokenCount": _object(("input_tokens",), input_tokens={"type": "integer"}),
}

_ERRORS = {
    "400": "the request can't be read, or asks for what can't be",
    "401": "the key is missing or wrong",
    "402": "a budget leaves no room; nothing was sent",
    "403": "not for this key, or from a page that may not ask",
    "404": "there is no such model, or nothing at this path",
    "408": "the request did not come in time",
    "413": "the request is too large",
    "429": "the endpoint lets nobody in for now",
    "500": "a fault of this server's; its log says more",
    "502": "the endpoint failed",
    "503": "overloaded, or the database can't be reached now",
    "504": "the endpoint did not answer in time",
}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answers(found: dict[str, Any], *codes: str) -> dict[str, Any]:
    errors = {code: {"description": _ERRORS[code], "content": {JSON: {"schema": _ref("Error")}}} for code in codes}
    more = {"description": "what else the endpoint says, as it says it", "content": {JSON: {"schema": _OBJECT}}}
    return {"200": found, **errors, "default": more} if "502" in codes else {"200": found, **errors}


def _page(summary: str, schema: dict[str, Any], *codes: str, kind: str = JSON, **more: Any) -> dict[str, Any]:
    found = {"description": summary, "content": {kind: {"schema": schema}}}
    return {"get": {"summary": summary, "responses": _answers(found, *codes), **more}}


def _parameter(place: str, name: str, words: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": False,
        "description": words,
        "schema": {"type": "string", **schema},
    }


_PARAMETERS = [
    _parameter("header", "x-moa-counsel", "whether this request takes counsel", enum=["on", "off"]),
    _parameter("header", "x-moa-preset", "the panel, in the place of the model's"),
    _parameter(
        "header",
        "x-moa-depth",
        "how many panels are around the request; from 1 on nothing fans out",
        pattern="^[0-9]{1,3}$",
    ),
]
_TOLD = {
    "x-moa-run": {"description": "the request's name, for /v1/activity?run=", "schema": _TEXT},
    "x-moa-counsel": {"description": "taken | silent | withheld | reused | pending | skipped; WHY", "schema": _TEXT},
}


def _call(summary: str, schema: str, *, answer: dict[str, Any] | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": answer or _OBJECT}}
    if answer is None:
        content[EVENTS] = {}
    found = {"description": "the answer, in the wire's own shape", "headers": _TOLD, "content": content}
    return {
        "post": {
            "summary": summary,
            "parameters": _PARAMETERS,
            "requestBody": {"required": True, "content": {JSON: {"schema": _ref(schema)}}},
            "responses": _answers(found, *_ERRORS),
        }
    }


_ASKED = [
    _parameter("query", "run", "the calls of one request"),
    _parameter("query", "session", "the calls of one conversation"),
    _parameter("query", "since", "90m, 2h, 3d, 1w, a date, today or yesterday; without run and session: today"),
    {
        **_parameter("query", "limit", "so many of the last calls"),
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_CALLS, "default": 1000},
    },
]

PATHS: dict[str, Any] = {
    "/v1/chat/completions": _call(
        "Chat Completions (https://platform.openai.com/docs/api-reference/chat)", "ChatRequest"
    ),
    "/v1/responses": _call("Responses (https://platform.openai.com/docs/api-reference/responses)", "ResponsesRequest"),
    "/v1/messages": _call("Messages (https://platform.claude.com/docs/en/api/messages)", "MessagesRequest"),
    "/v1/messages/count_tokens": _call(
        "The tokens of a request of the Messages API", "CountRequest", answer=_ref("TokenCount")
    ),
    "/v1/models": _page("The models that this key may name", _ref("Models"), "401", "403", "503"),
    "/v1/models/{name}": _page(
        "One of them",
        _ref("Model"),
        "400",
        "401",
        "403",
        "404",
        "503",
        parameters=[{"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}],
    ),
    "/v1/activity": _page(
        "The key's own calls, and what became of counsel",
        _ref("Activity"),
        "400",
        "401",
        "403",
        "503",
        parameters=_ASKED,
    ),
    "/metrics": _page(
        "Figures of all keys in Prometheus' text format, for the server's own key",
        _TEXT,
        "401",
        "403",
        "503",
        kind="text/plain",
    ),
    "/health": _page("Whether the server lives; needs no key", _ref("Health"), "403", security=[]),
    "/openapi.json": _page("This document", _OBJECT, "401", "403", "503"),
    "/": _page("Which program this is; needs no key", _object(("moa",), moa=_TEXT), "403", security=[]),
}


def document() -> dict[str, Any]:
    """The whole of it."""
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "moa serve", "version": __version__},
        "components": {"securitySchemes": schemes, "schemas": SCHEMAS},
        "security": [{"bearer": []}, {"key": []}],
        "paths": PATHS,
    }
