"""Refusals as named errors, in the envelopes and words that endpoints really use."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm import errors
from agent.llm.dialects.chat import ChatDialect
from agent.llm.models.endpoint import WELL_KNOWN, Endpoint
from agent.llm.models.quirks import NAMES, TABLE, known, refused

ENDPOINT = WELL_KNOWN["openrouter"]


def classify(
    status: int, body: Any, headers: dict[str, str] | None = None, endpoint: Endpoint = ENDPOINT
) -> errors.ModelError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ChatDialect().classify(status, headers or {}, raw, endpoint)


def said(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, said("malformed"), errors.BadRequest),
        (401, said("No auth credentials found"), errors.AuthError),
        (400, said("API key not valid. Please pass a valid API key.", status="INVALID_ARGUMENT"), errors.AuthError),
        (402, said("This request requires more credits, or fewer max_tokens"), errors.PaymentRequired),
        (403, said("Key not allowed"), errors.AuthError),
        (403, said("flagged", metadata={"reasons": ["violence"]}), errors.Refused),
        (404, said("No endpoints found for a/b."), errors.ModelNotFound),
        (404, said("model 'x' not found, try pulling it first"), errors.ModelNotFound),
        (404, b"404 page not found", errors.BadRequest),
        (400, said("a/b is not a valid model ID"), errors.ModelNotFound),
        (400, said("Model Not Exist"), errors.ModelNotFound),
        (408, said("timeout"), errors.Overloaded),
        (429, said("slow down"), errors.RateLimited),
        (429, said("You exceeded your current quota", code="insufficient_quota"), errors.PaymentRequired),
        (500, b"", errors.Overloaded),
        (503, {"detail": "loading"}, errors.Overloaded),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, errors.Overloaded),
        (302, b"", errors.BadRequest),
        (418, {"message": "teapot"}, errors.BadRequest),
    ],
)
def test_a_status_has_its_error(status: int, body: Any, kind: type[errors.ModelError]) -> None:
    error = classify(status, body)
    assert type(error) is kind
    assert error.message
    assert error.status is not None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, said("the request exceeds the available context size", type="exceed_context_size_error", n_ctx=2048)),
        (400, said("Your input is too long", code="context_length_exceeded")),
        (
            400,
            said(
                "This endpoint's maximum context length is 8192 tokens.",
                metadata={"error_type": "context_length_exceeded"},
            ),
        ),
        (
            400,
            {
                "type": "error",
                "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"},
            },
        ),
        (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400}),
        (400, [said("The input token count (9) exceeds the maximum number of tokens allowed (8).")]),
        (500, said("no user query found in messages")),
        (413, said("Please reduce the length of the messages or completion.")),
        (400, said("Provider returned error", metadata={"raw": '{"message":"maximum context length is 5"}'})),
    ],
)
def test_an_overflow_is_recognised_everywhere(status: int, body: Any) -> None:
    error = classify(status, body)
    assert type(error) is errors.ContextOverflow
    assert "larger window" in str(error.remedy)


@pytest.mark.parametrize(
    ("feature", "status", "message"),
    [
        (
            "strict_alternation",
            500,
            "Error: Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/...",
        ),
        ("strict_alternation", 400, "Unexpected role 'user' after role 'tool'"),
        ("no_system_role", 500, "Jinja Exception: System role not supported"),
        ("no_tools", 400, "registry.ollama.ai/library/gemma:2b does not support tools"),
        ("no_tools", 404, "No endpoints found that support tool use. Try disabling tools."),
        ("no_tools", 400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        ("no_json_schema", 400, "This response_format type is unavailable now"),
        ("no_logprobs", 404, "No endpoints found that can handle the requested parameters."),
        ("no_json_object", 400, "'response_format.type' must be 'json_schema' or 'text'"),
        ("no_strict_schema", 400, "Invalid schema for response_format 'analysis'"),
        ("no_temperature", 400, "Unsupported value: 'temperature' does not support 0.7 with this model."),
        ("no_temperature", 400, "invalid temperature: only 1 is allowed for this model"),
        ("max_completion_tokens", 400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ("coarse_effort", 400, "Unsupported value: 'reasoning_effort' does not support 'xhigh' with this model."),
        ("no_reasoning", 400, "Unrecognized request argument supplied: reasoning_effort"),
        ("no_reasoning", 400, "`reasoning_effort` is not supported with this model"),
        (
            "reasoning_off_with_tools",
            400,
            "Function tools with reasoning_effort are not supported for m in /v1/chat/completions.",
        ),
        (
            "reasoning_content_back",
            400,
            "thinking is enabled but reasoning_content is missing in assistant tool call message",
        ),
        ("no_forced_tool_choice", 400, "Thinking mode does not support this tool_choice"),
        ("no_stream_options", 400, "Unknown parameter: 'stream_options'"),
        ("no_images", 404, "No endpoints found that support image input"),
        ("adaptive_thinking", 400, '"thinking.type.enabled" is not supported for this model.'),
        ("manual_thinking", 400, "adaptive thinking is not supported on this model"),
        ("no_thinking_display", 400, "thinking.adaptive.display: Extra inputs are not permitted"),
        ("no_prefill", 400, "This model does not support assistant message prefill. It must end with a user message."),
        ("no_encrypted_reasoning", 400, "Encrypted content is not supported with this model."),
        ("no_encrypted_reasoning", 400, "Unsupported parameter: 'include'"),
        ("no_reasoning_summary", 400, "Your organization must be verified to generate reasoning summaries."),
        ("no_reasoning_summary", 400, "Unsupported parameter: 'reasoning.summary' is not supported with this model."),
        ("no_reasoning", 400, "Unsupported parameter: 'reasoning.effort' is not supported with this model."),
        ("no_cache_breakpoint", 400, "Unknown parameter: 'input[0].content[0].prompt_cache_breakpoint'."),
        ("no_prompt_cache_key", 400, "Unrecognized request argument supplied: prompt_cache_key"),
        ("history_needs_tools", 400, "Requests which include `tool_use` or `tool_result` blocks must define tools"),
    ],
)
def test_a_refusal_names_the_quirk_that_it_reveals(feature: str, status: int, message: str) -> None:
    error = classify(status, said(message))
    assert isinstance(error, errors.Unsupported)
    assert error.feature == feature


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, said("x"), 7),
        ({"retry-after-ms": "1500"}, said("x"), 1.5),
        ({}, said("x", metadata={"retry_after": 4}), 4),
        ({}, said("x", availability={"code": "capacity_exhausted", "retry_after": 5}), 5),
        ({"Retry-After": "soon"}, said("x"), None),
        ({}, said("x", metadata={"retry_after": "nan"}), None),
    ],
)
def test_when_to_come_back(headers: dict[str, str], body: Any, seconds: float | None) -> None:
    error = classify(429, body, headers)
    assert error.retry_after == seconds


def test_when_to_come_back_can_be_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30))
    assert classify(429, said("x"), {"Retry-After": date}).retry_after == pytest.approx(30, abs=3)


def test_a_remedy_says_what_to_do_and_a_message_never_shows_a_key() -> None:
    endpoint = ENDPOINT.with_(api_key="hunter2-hunter2", key_source="environment")
    error = classify(
        401, said("Incorrect API key provided: hunter2-hunter2 or sk-or-v1-0123456789abcdef"), endpoint=endpoint
    )
    assert "hunter2" not in error.message
    assert "0123456789abcdef" not in error.message
    assert "OPENROUTER_API_KEY" in str(error.remedy)
    assert "moa models list openrouter" in str(classify(404, said("no such model")).remedy)


def test_the_table_knows_beforehand() -> None:
    assert {"cache_control", "reasoning_object", "no_temperature"} <= known(ENDPOINT, "~anthropic/claude-opus-4.8")
    assert "cache_control" not in known(ENDPOINT, "openai/gpt-4.1")
    assert "manual_thinking" in known(WELL_KNOWN["anthropic"], "claude-sonnet-4-5-20250929")
    assert "manual_thinking" in known(WELL_KNOWN["anthropic"], "claude-opus-4-20250514")
    assert "manual_thinking" not in known(WELL_KNOWN["anthropic"], "claude-opus-4-8")
    renamed = Endpoint("ds", "https://api.deepseek.com/v1", quirks=frozenset({"no_images"}))
    assert {"no_json_schema", "reasoning_content_back", "no_images"} <= known(renamed, "deepseek-v4-pro")
    assert known(WELL_KNOWN["local"], "smollm2") == {"logprobs"}
    assert len(NAMES) == len(TABLE)


@given(st.integers(200, 599), st.binary(max_size=60), st.text(max_size=30))
def test_any_refusal_is_an_error_with_words(status: int, body: bytes, words: str) -> None:
    assert classify(status, body).message
    assert classify(status, {"error": words}).message
    assert refused(words) is None or refused(words) in NAMES
