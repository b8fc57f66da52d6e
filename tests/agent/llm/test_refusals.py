"""What real servers say when they refuse: one table for each kind of refusal, in the servers' own words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.llm import errors
from agent.llm.dialects.anthropic import AnthropicDialect
from agent.llm.dialects.chat import ChatDialect
from agent.llm.messages import user
from agent.llm.models.endpoint import WELL_KNOWN
from agent.llm.models.quirks import TABLE
from agent.llm.refusals.carried import FEATURES
from agent.llm.request import ModelRef, Request

ENDPOINT = WELL_KNOWN["openrouter"]


def refusal(status: int, body: Any, headers: dict[str, str] | None = None) -> errors.ModelError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return AnthropicDialect().classify(status, headers or {}, raw, ENDPOINT)


def openai(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def anthropic(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011"}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (
            400,
            anthropic(
                "messages.3.content.0: Invalid `signature` in `thinking` block. "
                "The block is bound to a different conversation. Remove it, or send the conversation as it was."
            ),
        ),
        (400, anthropic("messages.1.content.0: Invalid `signature` in `thinking` block")),
        (400, anthropic("messages.5.content.1: Invalid `signature` in `redacted_thinking` block")),
        (
            400,
            anthropic(
                "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be "
                "modified. These blocks must remain as they were in the original response."
            ),
        ),
        (400, {"message": "messages.1.content.0: Invalid `signature` in `thinking` block"}),  # Bedrock
        (
            400,
            openai(
                "Provider returned error",
                code=400,
                metadata={
                    "raw": json.dumps(anthropic("messages.9.content.0: Invalid `signature` in `thinking` block"))
                },
            ),
        ),
        (
            400,
            openai(
                "The encrypted content gAAAAABo could not be verified. Reason: Encrypted content could not be decrypted "
                "or parsed.",
                code="invalid_encrypted_content",
            ),
        ),
        (400, {"error": {"code": 400, "message": "Corrupted thought signature.", "status": "INVALID_ARGUMENT"}}),
    ],
)
def test_a_bound_thought_is_an_error_of_its_own_and_teaches_nothing(status: int, body: Any) -> None:
    error = refusal(status, body)
    assert type(error) is errors.ThinkingBound
    assert error.kind == "thinking_bound"
    assert error.remedy


OVERFLOWS: list[tuple[str, int, Any]] = [
    ("Anthropic", 400, anthropic("prompt is too long: 213462 tokens > 200000 maximum")),
    ("Anthropic", 413, anthropic("Request exceeds the maximum size", "request_too_large")),
    ("Anthropic", 400, anthropic("input length and `max_tokens` exceed context limit: 199211 + 20000 > 200000")),
    ("OpenAI", 400, openai("Your input exceeds the context window of this model. Please adjust your input and try again.")),
    ("OpenAI", 400, openai("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.")),
    ("Azure", 400, openai("This model's maximum context length is 32768 tokens. However, you requested 35969 tokens.", code="context_length_exceeded")),
    ("OpenRouter", 400, openai("This endpoint's maximum context length is 32768 tokens. However, you requested about 42832 tokens (42832 of text input).", code=400)),
    ("Poolside", 400, openai("Input length 300000 exceeds the maximum allowed input length of 262112 tokens.")),
    ("Together", 422, openai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`")),
    ("SGLang", 400, {"object": "error", "message": "The input (61709 tokens) is longer than the model's context length (40960 tokens).", "type": "BadRequestError", "param": None, "code": 400}),
    ("SGLang", 400, {"object": "error", "message": "Input length (265330 tokens) exceeds the maximum allowed length (262138 tokens). Use a shorter input or enable --allow-auto-truncate.", "code": 400}),
    ("vLLM", 400, {"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 512 output tokens and your prompt contains at least 4000 input tokens.", "code": 400}),
    ("vLLM", 400, {"object": "error", "message": "The decoder prompt (length 21535) is longer than the maximum model length of 16384. Make sure that `max_model_len` is no smaller", "code": 400}),
    ("vLLM", 400, openai("'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length is 4096 tokens and your request has 2104 input tokens")),
    ("TGI", 422, {"error": "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000", "error_type": "validation"}),
    ("llama.cpp", 400, {"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 9000, "n_ctx": 4096}}),
    ("llama-cpp-python", 400, openai("Requested tokens (5000) exceed context window of 4096")),
    ("LM Studio", 400, {"error": "The number of tokens to keep from the initial prompt is greater than the context length. Try to load the model with a larger context length, or provide a shorter input"}),
    ("LM Studio", 400, {"error": "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens"}),
    ("Ollama", 400, {"error": "prompt too long; exceeded max context length by 1204 tokens"}),
    ("Ollama", 500, {"error": "the input length exceeds the context length"}),
    ("xAI", 400, {"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens."}),
    ("Groq", 400, openai("Please reduce the length of the messages or completion.", code="context_length_exceeded")),
    ("Groq", 413, openai("Request too large for model `llama-3.1-8b-instant` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size and try again.", code="rate_limit_exceeded")),
    ("Gemini", 400, [{"error": {"code": 400, "message": "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).", "status": "INVALID_ARGUMENT"}}]),
    ("Vertex", 400, {"error": {"code": 400, "message": "Unable to submit request because the input token count is 40000 but model only supports up to 32768.", "status": "INVALID_ARGUMENT"}}),
    ("Mistral", 400, {"object": "error", "message": "Prompt contains 66000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", "type": "invalid_request_invalid_args", "code": "3051"}),
    ("Bedrock", 400, {"message": "Input is too long for requested model."}),
    ("Bedrock", 400, {"message": "The model returned the following errors: prompt is too long: 903884 tokens > 200000 maximum"}),
    ("Bedrock", 400, {"message": "Malformed input request: expected maxLength: 50000, actual: 60000, please reformat your input and try again."}),
    ("Copilot", 400, openai("prompt token count of 146270 exceeds the limit of 128000", code="model_max_prompt_tokens_exceeded")),
    ("Copilot", 413, b""),
    ("MiniMax", 400, anthropic("invalid params, context window exceeds limit (2013)")),
    ("MiniMax", 200, {"base_resp": {"status_code": 2013, "status_msg": "invalid params, context window exceeds limit"}}),
    ("Moonshot", 400, openai("Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)")),
    ("DeepSeek", 400, openai("This model's maximum context length is 131072 tokens. However, you requested 140000 tokens", code="invalid_request_error")),
    ("Fireworks", 400, openai("The prompt is too long: 70000, model maximum context length: 65535", code="BadRequestError")),
    ("Cohere", 400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000. Try using a shorter prompt."}),
    ("Cerebras", 400, {"message": "Please reduce the length of the messages or completion. Current length is 9017 while limit is 8192", "type": "invalid_request_error", "code": "context_length_exceeded"}),
    ("Cerebras", 413, b""),
    ("DashScope", 400, {"error": {"code": "invalid_parameter_error", "message": "Range of input length should be [1, 983616]"}, "request_id": "x"}),
    ("Zhipu", 400, {"error": {"code": "1261", "message": "Prompt exceeds max length"}}),
    ("Zhipu", 400, {"error": {"code": "1210", "message": "输入内容超过模型的上下文长度"}}),
    ("Perplexity", 400, openai("The total length of all messages is too long.")),
    ("Cloudflare", 413, {"success": False, "errors": [{"code": 5021, "message": "The estimated number of input and maximum output tokens (9000) exceeded this model context window limit (8000)."}]}),
    ("LiteLLM", 400, openai("litellm.ContextWindowExceededError: Requested token count exceeds the model's maximum context length of 131072 tokens")),
    ("nginx", 413, b"<html><head><title>413 Request Entity Too Large</title></head><body>nginx</body></html>"),
    ("a proxy", 413, {"detail": "no"}),
]  # fmt: skip


@pytest.mark.parametrize(("server", "status", "body"), OVERFLOWS)
def test_what_each_server_says_when_a_prompt_is_too_long(server: str, status: int, body: Any) -> None:
    error = in_answer(body) if status == 200 else refusal(status, body)
    assert type(error) is errors.ContextOverflow, f"{server}: {error.kind}"
    assert "/compact" in str(error.remedy)


EMPTY: list[tuple[str, int, Any]] = [
    ("Anthropic", 400, anthropic("Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.")),
    ("Anthropic", 403, anthropic("Your account has no credits left", "billing_error")),
    ("OpenAI", 429, openai("You exceeded your current quota, please check your plan and billing details.", code="insufficient_quota")),
    ("OpenAI", 429, openai("Your account is not active, please check your billing details on our website.", code="billing_not_active")),
    ("OpenAI", 400, openai("Billing hard limit has been reached", code="billing_hard_limit_reached")),
    ("OpenRouter", 402, openai("This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens, but can only afford 1234.", code=402)),
    ("OpenRouter", 403, openai("Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys", code=403)),
    ("DeepSeek", 402, openai("Insufficient Balance", type="unknown_error", code="invalid_request_error")),
    ("Moonshot", 429, {"error": {"message": "Your account org-1 is suspended due to insufficient balance, please recharge your account or check your plan and billing details", "type": "exceeded_current_quota_error"}}),
    ("xAI", 403, {"code": "The caller does not have permission to execute the specified operation", "error": "Your team 24645b4 has either used all available credits or reached its monthly spending limit."}),
    ("Gemini", 429, {"error": {"code": 429, "message": "Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing.", "status": "RESOURCE_EXHAUSTED"}}),
    ("Groq", 400, openai("API access blocked because your organization has reached its spend limit", code="blocked_api_access")),
    ("Fireworks", 412, {"error": "Account moa is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices."}),
    ("Together", 402, openai("Credit limit exceeded, please navigate to https://api.together.ai/settings/billing", code="credit_limit")),
    ("Hugging Face", 402, {"error": "You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO to get 20x more."}),
    ("DashScope", 400, {"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing.", "request_id": "x"}),
    ("DashScope", 403, {"error": {"code": "AllocationQuota.FreeTierOnly", "message": "The free tier of the model has been exhausted."}}),
    ("Volcengine", 403, {"error": {"code": "AccountOverdueError", "message": "The request failed because your account has an overdue balance."}}),
    ("Zhipu", 429, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}),
    ("SiliconFlow", 403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}),
    ("Novita", 403, {"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "not enough balance"}),
    ("new-api", 403, openai("user quota is not enough", type="one_api_error", code="insufficient_user_quota")),
    ("new-api", 403, openai("User's credit limit is insufficient, remaining credit limit: $0.000000", code="insufficient_user_quota")),
    ("b.ai", 400, openai("credit insufficient balance: balance=0 required=4560")),
    ("Command Code", 400, openai("You have insufficient credits to make this request. Please purchase more credits to continue.")),
    ("Bedrock", 403, {"message": "Model access is denied due to INVALID_PAYMENT_INSTRUMENT: A valid payment instrument must be provided."}),
    ("a gateway", 500, {"error": {"message": "upstream: Insufficient Balance", "type": "upstream_error"}}),
    ("MiniMax", 200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}, "choices": None, "id": "x"}),
    ("DashScope", 200, {"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing."}),
]  # fmt: skip


@pytest.mark.parametrize(("server", "status", "body"), EMPTY)
def test_what_an_empty_account_looks_like(server: str, status: int, body: Any) -> None:
    error = in_answer(body) if status == 200 else refusal(status, body)
    assert type(error) is errors.PaymentRequired, f"{server}: {error.kind}"
    assert "credits" in str(error.remedy)
    assert not error.retryable


@pytest.mark.parametrize(
    ("status", "body", "kind", "wait"),
    [
        (429, openai("Rate limit reached for gpt-5 in organization org-x on tokens per min (TPM): Limit 30000, Used 29000. Please try again in 1m12.5s."), errors.RateLimited, 72.5),
        (429, openai("This request exceeds the limit of 30000 tokens per minute"), errors.RateLimited, None),
        (429, {"message": "Too many tokens, please wait before trying again.", "__type": "ThrottlingException"}, errors.RateLimited, None),
        (400, {"message": "Too many tokens per day, please wait before trying again.", "__type": "ThrottlingException"}, errors.RateLimited, None),
        (429, {"error": {"code": 429, "message": "You exceeded your current quota, please check your plan and billing details. Please retry in 33.5s.", "status": "RESOURCE_EXHAUSTED"}}, errors.RateLimited, 33.5),
        (429, {"error": {"code": 429, "message": "You exceeded your current quota.", "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "7s"}]}}, errors.RateLimited, 7),
        (503, openai("The engine is currently overloaded", type="engine_overloaded_error"), errors.Overloaded, None),
        (200, {"base_resp": {"status_code": 1002, "status_msg": "rate limit exceeded(RPM)"}}, errors.RateLimited, None),
        (200, {"code": 500, "msg": "404 NOT_FOUND", "success": False}, errors.Overloaded, None),
        (200, {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}, errors.RateLimited, None),
        (200, {"detail": "Unauthorized", "status_code": 401}, errors.ModelError, None),
        (400, openai("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"), errors.BadRequest, None),
        (401, openai("Incorrect API key provided"), errors.AuthError, None),
        (403, openai("Your project does not have access to this model"), errors.AuthError, None),
    ],
)  # fmt: skip
def test_what_is_neither_too_long_nor_unpaid(
    status: int, body: Any, kind: type[errors.ModelError], wait: float | None
) -> None:
    error = in_answer(body) if status == 200 else refusal(status, body)
    assert isinstance(error, kind)
    assert not isinstance(error, errors.ContextOverflow | errors.PaymentRequired)
    assert error.retry_after == wait


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, openai("The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", code="content_filter")),
        (400, anthropic("Output blocked by content filtering policy")),
        (400, {"error": {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}}),
        (400, openai("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt")),
        (403, openai("openai/gpt-5 requires moderation on OpenAI. Your input was flagged for \"violence\".", code=403)),
        (400, {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}}),
        (200, {"base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}}),
    ],
)  # fmt: skip
def test_a_declined_prompt_has_its_name_and_words(status: int, body: Any) -> None:
    error = in_answer(body) if status == 200 else refusal(status, body)
    assert type(error) is errors.Refused
    assert error.kind == "refusal"
    assert error.remedy
    assert error.message


def in_answer(body: Any) -> errors.ModelError:
    """The error that a body is under a status of 200."""
    decoder = ChatDialect().decoder(Request(ModelRef("openrouter", "m"), (user("hi"),)), ENDPOINT)
    with pytest.raises(errors.ModelError) as raised:
        decoder.feed_body(json.dumps(body).encode())
    with pytest.raises(errors.ModelError) as streamed:
        decoder.feed("message", json.dumps(body))
    assert type(streamed.value) is type(raised.value)
    return raised.value


PLAIN: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 9}
TOOLS: dict[str, Any] = {**PLAIN, "tools": [{"type": "function"}]}
SCHEMA: dict[str, Any] = {**PLAIN, "response_format": {"type": "json_schema", "json_schema": {"strict": True}}}
OBJECT: dict[str, Any] = {**PLAIN, "response_format": {"type": "json_object"}}
FORMATS = {"no_json_object", "no_json_schema"}


@pytest.mark.parametrize(
    ("words", "sent", "learned"),
    [
        # Each lesson needs the field: the same words about a request without it teach nothing.
        ("x does not support tools", TOOLS, {"no_tools"}),
        ("x does not support tools", PLAIN, set()),
        ("This model does not support the 'logprobs' parameter.", {**SCHEMA, "logprobs": True}, {"no_logprobs"}),
        ("This model does not support the 'logprobs' parameter.", PLAIN, set()),
        ("No endpoints found that can handle the requested parameters.", {**SCHEMA, "logprobs": True}, {"no_logprobs"}),
        ("No endpoints found that can handle the requested parameters.", SCHEMA, {"no_json_schema"}),
        ("`reasoning_effort` is not supported with this model", {**PLAIN, "reasoning_effort": "low"}, {"no_reasoning"}),
        ("`reasoning_effort` is not supported with this model", PLAIN, set()),
        ("Unsupported value: 'temperature' does not support 0.7", {**PLAIN, "temperature": 0.7}, {"no_temperature"}),
        ("Unsupported value: 'temperature' does not support 0.7", PLAIN, set()),
        ("Unknown parameter: 'stream_options'", {**PLAIN, "stream_options": {}}, {"no_stream_options"}),
        ("Unknown parameter: 'stream_options'", PLAIN, set()),
        ("Unsupported parameter: 'max_tokens'", {**PLAIN, "max_tokens": 5}, {"max_completion_tokens"}),
        ("Unsupported parameter: 'max_tokens'", PLAIN, set()),
        ("System role not supported", {"messages": [{"role": "system"}]}, {"no_system_role"}),
        ("System role not supported", PLAIN, set()),
        ("Conversation roles must alternate", {"messages": [{"role": "user"}, {"role": "user"}]}, {"strict_alternation"}),
        ("Conversation roles must alternate", PLAIN, set()),
        ("image input is not supported", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, {"no_images"}),
        ("image input is not supported", PLAIN, set()),
        ("Thinking mode does not support this tool_choice", {**TOOLS, "tool_choice": "required"}, {"no_forced_tool_choice"}),
        ("Thinking mode does not support this tool_choice", TOOLS, set()),
        ("adaptive thinking is not supported on this model", {"thinking": {"type": "adaptive"}}, {"manual_thinking"}),
        ("adaptive thinking is not supported on this model", PLAIN, set()),
        ("Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.", {"messages": [{"role": "tool"}]}, {"short_call_ids"}),
        # What was asked for decides which kind of output it was; a format that is refused as such is not asked for in another kind.
        ("Unsupported parameter: 'response_format'", OBJECT, FORMATS),
        ("Unsupported parameter: 'response_format'", SCHEMA, FORMATS),
        ("this model does not support response_format", OBJECT, FORMATS),
        ("JSON mode is not supported by this model", OBJECT, FORMATS),
        ("'json_object' is not supported", OBJECT, {"no_json_object"}),
        ("'response_format' of type 'json_schema' is not supported with this model.", SCHEMA, {"no_json_schema"}),
        ("This response_format type is unavailable now", SCHEMA, {"no_json_schema"}),
        ("This response_format type is unavailable now", OBJECT, {"no_json_object"}),
        ("Unsupported parameter: 'response_format'", PLAIN, set()),
    ],
)  # fmt: skip
def test_a_refusal_teaches_only_what_the_request_carried(words: str, sent: dict[str, Any], learned: set[str]) -> None:
    error = ChatDialect().classify(400, {}, json.dumps(openai(words)).encode(), ENDPOINT, sent)
    assert (error.features if isinstance(error, errors.Unsupported) else set()) == learned
    if not learned:
        assert type(error) is errors.BadRequest


def test_every_lesson_has_its_field() -> None:
    assert {quirk.name for quirk in TABLE if quirk.refusals} == set(FEATURES)
    for test in FEATURES.values():
        assert not test({}), "an empty body carries nothing"
