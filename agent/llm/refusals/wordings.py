"""What servers say, in their own words: one table for each kind of refusal that a status alone does not tell.

Patterns are searched in the lower-cased text of a refusal, codes included. The facts come from the servers' documentation, their
source, and from bug reports of programs that met them; tests/agent/llm/test_refusals.py has the texts themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# The request does not fit the model's window.
OVERFLOW: tuple[str, ...] = (
    r"exceed_context_size",  # llama.cpp
    r"exceeds? the available context",  # llama.cpp
    r"context.?(length|window|size|limit).?exceed",  # OpenAI, Azure, OpenRouter, Groq, LiteLLM, Z.ai
    r"exceed(s|ed|ing)?\b.{0,40}\bcontext[ _](window|length|size|limit)",  # OpenAI, Ollama, Anthropic, Cloudflare, llama-cpp-python
    r"maximum context length",  # OpenAI, vLLM, DeepSeek, Mistral, Fireworks
    r"maximum prompt length is",  # xAI
    r"\b(prompt|input|request|message|conversation)s? (is |are |was )?too (long|large)",  # Anthropic, Bedrock, Ollama, Groq, Copilot
    r"longer than the (model'?s? )?(context|maximum (model|context))",  # Together, SGLang, vLLM
    r"input length.{0,40}exceed",  # Bedrock, SGLang
    r"(exceeds|of) (the )?maximum allowed (input )?length",  # Poolside, SGLang
    r"model token limit",  # Moonshot
    r"input token count.{0,60}(exceeds|only supports)",  # Gemini, Vertex
    r"input tokens exceed",  # OpenAI
    r"reduce (the length of (the|your) (messages|prompt|input|conversation)|your message size)",  # OpenAI, Groq, vLLM
    r"prompt token count of .{0,30}exceeds",  # Copilot
    r"max_prompt_tokens_exceeded",  # Copilot
    r"context window exceeds",  # MiniMax
    r"greater than the context length",  # LM Studio
    r"context the overflows|context overflow|context length of only|context length is only",  # LM Studio
    r"range of input length should be",  # DashScope
    r"configured context size",  # DwarfStar
    r"inputs?`? (tokens )?(\+ `?max_new_tokens`? )?must (be <=|have less than)",  # TGI
    r"total length of all messages",  # Perplexity
    r"prompt (contains|has) too many tokens|prompt exceeds max",  # AI21, Zhipu
    r"requested tokens? .{0,20}exceed",  # llama-cpp-python
    r"tokens in request more than max",  # OpenCode
    r"string_above_max_length",  # OpenAI
    r"expected maxlength",  # Bedrock
    r"max(imum)? input (characters|length|tokens)",  # Baidu, SageMaker
    r"(request|payload|body|content|entity).{0,12} too large|request_too_large",  # Anthropic, proxies
    r"(prompt|input|conversation)_too_long",
    r"no user query found",  # Ollama, after it cut the prompt's beginning off
    r"上下文.{0,20}(过长|超)|输入.{0,12}(过长|超)|超(出|过).{0,20}(上下文|最大长度)",  # Zhipu, Qianfan
)

# The same, unless it is said of a time.
OVERFLOW_UNLESS_RATE: tuple[str, ...] = (
    r"too many (input |prompt )?tokens",  # Cohere
    r"token.?limit.?exceeded",
    r"exceeds the limit of \d",
)

# Too many requests for now: wait.
RATE: tuple[str, ...] = (
    r"rate.?limit",
    r"too many requests",
    r"throttl",
    r"\b[rt]p[mdh]\b",
    r"(tokens|requests)[ _]per[ _](second|minute|hour|day)",
    r"concurren.{0,30}(limit|exceed|quota)",
    r"请求.{0,6}频繁|并发.{0,6}(超|限)",
)

# The account has no money left, or may not spend more: nothing works until somebody pays.
EMPTY_ACCOUNT: tuple[str, ...] = (
    # OpenAI, DeepSeek, MiniMax, new-api and most others
    r"insufficient[ _-]?(user|account|token|available)?[ _-]?(quota|balance|credit|fund)",
    r"(balance|credit|quota|fund)s?( limit)? (is|are|was|has been|have been)? ?(too low|insufficient|not enough|depleted|exhausted|negative)",
    r"not[ _]enough[ _](balance|credit|quota|fund)|(balance|quota)[ _](is[ _])?not[ _]enough",  # Novita, one-api
    r"credit_balance|credits?_(required|exhausted)|out of credits?|no credits?\b|credits? remaining: ?0",
    r"used (up )?all (of )?(your |its |available )*credits?",  # xAI
    r"(requires?|purchase|buy|add) (some |more |at least )*credits?",  # OpenRouter, Command Code
    r"credit limit (exceeded|reached)",  # Together
    r"exceeded_current_quota_error",  # Moonshot
    r"prepayment credits",  # Gemini
    r"arrear|overdue|good standing|欠费",  # DashScope, Volcengine
    r"billing_(hard_limit|not_active|error)|check your billing details|billing hard limit",  # OpenAI
    r"(spend|spending|budget)[ _](limit|cap)",  # xAI, Groq, Fireworks
    r"monthly (included )?(credit|spend|usage limit)",  # Hugging Face
    r"key limit exceeded",  # OpenRouter
    r"past invoices|failure to pay|payment[ _](is )?required|payment_instrument|payment method",  # Fireworks, Bedrock
    r"(user|token|account|pre.?consume).{0,20}quota.{0,8}(not enough|failed|exhausted)",  # one-api
    r"free ?(tier|quota).{0,40}(exhausted|used up)|freetieronly",  # DashScope
    r"recharge|top up your|余额不足|额度不足|余额.{0,4}不足|充值",  # Zhipu, SiliconFlow, new-api
    r"inactive (subscription|billing)|subscription (has )?(expired|is not active)",
)

# Quotas of a time and of money are said in the same words; with these beside them it is a time.
_QUOTA = r"exceeded your current quota"
_QUOTA_OF_A_TIME = r"retry|resource_exhausted|per ?(minute|day)|free_tier"

# Declined for what is in it.
DECLINED: tuple[str, ...] = (
    r"content[ _-]?(management )?(filter|policy)",  # OpenAI, Azure, Anthropic
    r"data_?inspection_?failed|inappropriate content",  # DashScope
    r"moderation|flagged|guardrail",  # OpenRouter, OpenAI, Bedrock
    r"prohibited[ _]content|block_?reason|responsible_?ai",  # Gemini, Azure
    r"(violat\w+|against).{0,40}(usage|content|safety) polic",
    r"safety (system|filter|reason|check)",
    r"sensitive[ _](words|content|information)|new_sensitive|is sensitive",  # MiniMax, new-api
    r"内容.{0,12}(违规|敏感|不合规|安全)|敏感(词|内容)",
)

# The provider can't use what its own model wrote.
OUTPUT: tuple[str, ...] = (
    r"tool_use_failed|failed to call a function|tool call validation failed|failed to parse tool call",  # Groq
    r"json_validate_failed|failed to (generate|validate) json",  # Groq
)

# A thought that was sent back fails its check. Whether the request carries a feature has nothing to do with it.
BOUND: tuple[str, ...] = (
    r"invalid `?signature`? in `?(redacted_)?thinking`? block",  # Anthropic, also through Bedrock, Vertex and OpenRouter
    r"`?thinking`? (or `?redacted_thinking`? )?blocks? .{0,60}cannot be modified",  # Anthropic
    r"bound to a different (conversation|account|model)",  # Anthropic
    r"invalid_encrypted_content|encrypted content .{0,400}could not be (verified|decrypted)",  # OpenAI Responses
    r"(invalid|corrupted) thought.?signature|thought.?signature is (not valid|invalid)",  # Gemini
)


def overflows(text: str) -> bool:
    """True where a refusal's text says that the request is longer than the model's context window."""
    return _any(OVERFLOW, text) or (_any(OVERFLOW_UNLESS_RATE, text) and not _any(RATE, text))


def limits_rate(text: str) -> bool:
    """True where it says that there were too many requests, or too many tokens, in some time."""
    return _any(RATE, text)


def account_is_empty(text: str) -> bool:
    """True where it says that the account can't pay."""
    if re.search(_QUOTA, text.lower()):
        return not re.search(_QUOTA_OF_A_TIME, text.lower())
    return _any(EMPTY_ACCOUNT, text)


def declines(text: str) -> bool:
    """True where it says that a filter declined the content."""
    return _any(DECLINED, text)


def refuses_output(text: str) -> bool:
    """True where it says that the model's own output could not be used."""
    return _any(OUTPUT, text)


def bound(text: str) -> bool:
    """True where it says that a signed thought in the request fails its check."""
    return _any(BOUND, text)


def _any(patterns: Iterable[str], text: str) -> bool:
    text = text.lower()
    return any(re.search(pattern, text, re.DOTALL) for pattern in patterns)
