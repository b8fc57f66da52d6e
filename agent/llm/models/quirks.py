"""The one table of what is peculiar about endpoints and models: known beforehand, or learned once from a refusal.

A quirk is a name. Dialects ask for it when they encode; `Unsupported.feature` is one of these names when a refusal reveals it; the
door remembers it per endpoint and model. The facts come from the providers' API references and from their users' bug reports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from agent.llm.models.endpoint import Endpoint
from agent.llm.models.families import family_of
from agent.values import dataclass


@dataclass(frozen=True, slots=True)
class Quirk:
    """One peculiarity.

    `endpoints` are names or host names (both match exactly). `models` are regular expressions searched in
    the lower-cased model id; where both are given both must match. `refusals` are regular expressions searched in the
    lower-cased text of a refusal.
    """

    name: str
    changes: str
    endpoints: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


_OPENROUTER = ("openrouter", "openrouter.ai")
_OPENAI = ("openai", "api.openai.com")
_ANTHROPIC = ("anthropic", "api.anthropic.com")
_DEEPSEEK = ("deepseek", "api.deepseek.com")
_MOONSHOT = ("moonshot", "api.moonshot.ai", "api.moonshot.cn")
_GROQ = ("groq", "api.groq.com")
_GEMINI = ("gemini", "generativelanguage.googleapis.com")
_LM_STUDIO = ("lmstudio",)

# A structured output is refused, whichever was asked for.
_NO_FORMAT = (
    r"(response_format|output_config\.format|output_format|structured outputs?|json.?mode).{0,60}"
    r"(not supported|unsupported|not permitted|unavailable|does not support|not enabled)",
    r"(does not|doesn't|not) support.{0,40}(response.?format|json.?(schema|mode|object)|structured output|output format)",
    r"(unrecognized|unknown|unsupported|unexpected|extra).{0,60}response_format",
    r"response_format.{0,40}extra inputs",
)

# The order matters where one text could match two: the more particular comes first.
TABLE: tuple[Quirk, ...] = (
    Quirk(
        "tool_addition",
        "Anthropic: a tool that comes late joins by a block behind the last words, which changes nothing before it",
        endpoints=_ANTHROPIC,
        # platform.claude.com, "Mid-conversation system messages and tool changes"; Sonnet 5 takes the messages, not the tools.
        models=(
            r"claude-opus-(4[-.][89]|[5-9])(?!\d)",
            r"claude-(fable|mythos)-[5-9](?!\d)",
            r"claude-(haiku|sonnet)-(5[-.][5-9]|[6-9])(?!\d)",
        ),
    ),
    Quirk(
        "no_tool_addition",
        "Anthropic: no tool joins in the middle; the one listed tool `mcp` reaches those that come late",
        refusals=(
            r"tool_addition",
            r"tool_definition",
            r"inline-tools",
            r"mid-conversation",
            r"\brole\b.{0,40}(system|'user' or 'assistant')",
        ),
    ),
    Quirk(
        "strict_alternation",
        "user and assistant must take turns: guidance goes at the end of a copy of the last message, and a short message of the "
        "missing role stands between two of the same",
        endpoints=("api.mistral.ai",),
        # Chat templates raise it, llama.cpp and Ollama pass it on, often as a 500.
        refusals=(
            r"roles must alternate",
            r"must alternate (between )?user",
            r"unexpected role '?user'? after role '?tool",
            r"expected last role user or tool",
            r"(user|tool) message (cannot|can't|must not) (directly )?follow",
            r"roles? .{0,40}not alternat",
            r"system message must be at the beginning",
        ),
    ),
    Quirk(
        "short_call_ids",
        "ids of tool calls are nine letters and digits: others are sent as such, always the same for the same id",
        endpoints=("api.mistral.ai",),
        refusals=(r"tool call id.{0,200}(length of 9|a-z, a-z, 0-9)",),
    ),
    Quirk(
        "no_system_role",
        "the system text is sent as the first user message",
        refusals=(
            r"system role (is )?not supported",
            r"developer instruction is not enabled",
            r"does not support system",
        ),
    ),
    Quirk(
        "reasoning_content_back",
        "an assistant message carries `reasoning_content`, without which a tool loop is refused",
        endpoints=(*_DEEPSEEK, *_MOONSHOT),
        refusals=(
            r"reasoning_content.{0,60}(must be passed back|is missing|is required)",
            r"missing.{0,20}reasoning_content",
        ),
    ),
    Quirk(
        "reasoning_off_with_tools",
        "reasoning is switched off in requests that carry tools",
        refusals=(r"function tools with reasoning_effort are not supported", r"set reasoning_effort to 'none'"),
    ),
    Quirk(
        "no_forced_tool_choice",
        "a tool can be offered but not demanded: `required` is sent as auto",
        endpoints=(*_DEEPSEEK, *_MOONSHOT),
        refusals=(
            r"thinking mode does not support this tool_choice",
            r"tool_choice.{0,60}(incompatible|not supported|unsupported|not support|invalid|must be)",
            r"(unsupported|invalid).{0,40}tool_choice",
            r"thinking may not be enabled when tool_choice",
        ),
    ),
    Quirk(
        "no_prefill",
        "an answer can't be the last message: it would be continued as the model's own words, so a short message of the user's follows",
        refusals=(r"prefill.{0,60}(not supported|unsupported|not allowed)", r"must end with a user message"),
    ),
    Quirk(
        "no_tools",
        "no native tool calls: they go through a JSON schema",
        refusals=(
            r"does not support (tools|tool use|tool calling|function)",
            r"no endpoints found that support tool use",
            r"(tools?|tool use|tool calling|function calling) (is|are) not (supported|enabled)",
            r"unsupported param(eter)?: '?tools",
            r"auto.{0,3} tool choice requires",
            r"tools param requires --jinja",
            r"unrecognized request arguments? supplied: (functions|tools)",
        ),
    ),
    Quirk(
        "logprobs",
        "log-probabilities are given to who asks for them",
        # Ollama since 0.12.11; an older one passes the question over.
        endpoints=("ollama", "llamacpp", "vllm", "local"),
    ),
    Quirk(
        "no_logprobs",
        "no log-probabilities are asked for: a judge's word counts as it is",
        refusals=(
            r"log.?prob",
            # Routing was told to require every parameter: this one is easier to do without than the schema, which is next.
            r"no endpoints found that can handle the requested parameters",
        ),
    ),
    Quirk(
        "no_strict_schema",
        "a schema is sent without `strict`",
        refusals=(
            r"invalid schema for response_format",
            r"strict.{0,40}(not supported|unsupported)",
            r"unsupported.{0,20}strict",
        ),
    ),
    Quirk(
        "no_json_schema",
        "`json_schema` is refused: any JSON object is asked for, with the schema in the prompt",
        endpoints=_DEEPSEEK,
        refusals=(
            r"response_format type is unavailable",
            r"json_schema.{0,60}(not supported|unsupported|unavailable|not support)",
            *_NO_FORMAT,
            # Routing was told to require every parameter, which is done for a schema alone.
            r"no endpoints found that can handle the requested parameters",
        ),
    ),
    Quirk(
        "no_json_object",
        "`json_object` is refused: the schema of any object stands in for it",
        endpoints=_LM_STUDIO,
        refusals=(
            r"response_format\.type'? must be '?json_schema'?",
            r"'json_object' is not supported",
            r"json_object.{0,40}(not supported|unsupported|unavailable)",
            *_NO_FORMAT,
        ),
    ),
    Quirk(
        "no_stream_options",
        "`stream_options` is not sent: the endpoint reports usage anyway, or never",
        endpoints=_OPENROUTER,
        refusals=(r"stream_options",),
    ),
    Quirk(
        "max_completion_tokens",
        "the limit is called `max_completion_tokens`",
        endpoints=(*_OPENAI, *_MOONSHOT, *_GROQ),
        refusals=(r"use '?max_completion_tokens'? instead", r"(unsupported|deprecated).{0,30}'?max_tokens'?(?!_)"),
    ),
    Quirk(
        "no_temperature",
        "sampling parameters are fixed: `temperature` is not sent",
        models=(r"(^|/)kimi-k",),
        refusals=(
            r"(unsupported|invalid|deprecated|only).{0,60}'?`?temperature",
            r"temperature.{0,80}(not supported|unsupported|deprecated|only|does not support|may only)",
        ),
    ),
    Quirk(
        "adaptive_thinking",
        "Anthropic: the model decides how long it thinks, guided by an effort",
        refusals=(
            r"thinking\.type.{0,4}enabled.{0,40}not supported",
            r"use.{0,20}thinking\.type.{0,4}adaptive",
            r"budget_tokens.{0,40}(not supported|unsupported|removed)",
        ),
    ),
    Quirk(
        "manual_thinking",
        "Anthropic: thinking takes a token budget",
        refusals=(
            r"adaptive thinking is not supported",
            r"thinking.{0,60}'?adaptive'?.{0,60}(not supported|does not match)",
        ),
    ),
    Quirk(
        "no_thinking_display",
        "Anthropic: it is not said how thoughts are shown",
        refusals=(r"thinking\.[\w.]*display",),
    ),
    Quirk(
        "no_reasoning_summary",
        "Responses: no summary of the reasoning is asked for",
        # OpenAI gives them to organizations that have proven who they are.
        refusals=(r"generate reasoning summaries", r"reasoning\.summary"),
    ),
    Quirk(
        "no_encrypted_reasoning",
        "Responses: the reasoning is not asked for in a form that can be sent back",
        refusals=(
            r"encrypted[ _]content.{0,40}(not supported|unsupported|not allowed)",
            r"(parameter|argument)s?( supplied)?:? '?include\b",
        ),
    ),
    Quirk(
        "coarse_effort",
        "reasoning effort is low, medium or high, nothing between or beyond",
        endpoints=(*_GROQ, *_GEMINI, "ollama", "lmstudio", "llamacpp", "vllm"),
        refusals=(
            r"(effort|reasoning).{0,80}(unsupported value|input should be|must be one of|expected one of|invalid value)",
            r"(unsupported value|input should be|must be one of|invalid value).{0,80}(effort|'low')",
            r"does not support effort level",
        ),
    ),
    Quirk(
        "no_reasoning",
        "no reasoning effort is sent",
        refusals=(
            r"(unsupported|unrecognized|unknown|invalid).{0,60}(reasoning|effort|thinking)",
            r"(reasoning|reasoning_effort|effort|thinking)`?'?.{0,40}(not supported|unsupported|not permitted)",
            r"does not support (thinking|reasoning|the effort)",
        ),
    ),
    Quirk(
        "no_images",
        "images are replaced by a placeholder",
        refusals=(
            r"no endpoints found that support image input",
            r"(does not|doesn't) support (image|vision|multimodal)",
            r"image(s|_url| input)?.{0,30}(not supported|unsupported|only supported by)",
            r"unknown variant `image_url`",
        ),
    ),
    Quirk(
        "history_needs_tools",
        "a history with tool calls is refused where the request has no tools: they are written out as text",
        endpoints=_ANTHROPIC,
        models=(r"claude",),
        refusals=(r"must define tools", r"tools=.{0,40}param"),
    ),
    Quirk(
        "cache_control",
        "the prompt cache works only where breakpoints say so (at most four)",
        endpoints=_OPENROUTER,
        models=(r"^~?anthropic/", r"^~?(qwen|alibaba)/"),
    ),
    Quirk(
        "cache_breakpoint",
        "OpenAI's cache is read and written at breakpoints alone (GPT-5.6 and later; families.py)",
    ),
    Quirk("no_cache_breakpoint", "breakpoints are refused", refusals=(r"prompt_cache_(breakpoint|options)",)),
    Quirk("prompt_cache_key", "requests that share a beginning carry the same key", endpoints=_OPENAI),
    Quirk("no_prompt_cache_key", "`prompt_cache_key` is refused", refusals=(r"prompt_cache_key",)),
    Quirk("reasoning_object", "reasoning is asked for as an object", endpoints=_OPENROUTER),
    Quirk("require_parameters", "a schema is only routed to providers that hold to it", endpoints=_OPENROUTER),
    Quirk("thinking_switch", "reasoning is on or off, with no effort", endpoints=(*_DEEPSEEK, *_MOONSHOT)),
)

NAMES = frozenset(quirk.name for quirk in TABLE)


def known(endpoint: Endpoint, model: str) -> frozenset[str]:
    """The quirks known beforehand: the endpoint's own, the model's family's, and those of the table that match name, host or model."""
    found = _listed(endpoint.name, endpoint.base_url, model)
    return endpoint.quirks | found if endpoint.quirks else found


@lru_cache(maxsize=256)  # asked for with every call
def _listed(name: str, base_url: str, model: str) -> frozenset[str]:
    host = urlsplit(base_url).hostname or ""
    model = model.lower()
    names = frozenset(quirk.name for quirk in TABLE if _matches(quirk, name, host, model))
    family = family_of(model)
    return names | (family.quirks if family is not None else frozenset())


def refused(text: str, sent: Mapping[str, Any] | None = None) -> str | None:
    """The quirk that a refusal's text reveals (a value for `Unsupported.feature`); None where it reveals none.

    `sent` is the body of the request: what it did not carry, a refusal teaches nothing about.
    """
    from agent.llm.refusals.carried import carries  # most requests are not refused

    text = text.lower()
    for quirk in TABLE:
        if any(re.search(pattern, text, re.DOTALL) for pattern in quirk.refusals) and carries(quirk.name, sent):
            return quirk.name
    return None


def implied(feature: str, text: str) -> frozenset[str]:
    """A refused feature with what is refused along with it: who refuses structured output as such need not be asked for each kind."""
    formats = frozenset({"no_json_object", "no_json_schema"})
    text = text.lower()
    as_such = any(re.search(pattern, text, re.DOTALL) for pattern in _NO_FORMAT)
    if feature in formats and as_such and not re.search(r"json_(object|schema)|\btype\b", text):
        return formats
    return frozenset({feature})


def _matches(quirk: Quirk, name: str, host: str, model: str) -> bool:
    if not (quirk.endpoints or quirk.models):
        return False
    if quirk.endpoints and not any(name == known or host == known for known in quirk.endpoints):
        return False
    return not quirk.models or any(re.search(pattern, model) for pattern in quirk.models)
