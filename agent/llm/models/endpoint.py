"""Endpoints: where models are, which key opens them, and what is peculiar about each. One table for the well-known ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace
from functools import lru_cache
from urllib.parse import urlsplit

from agent.llm.request import Effort
from agent.text.secrets import plain_url, redact, secrets_of, spellings
from agent.values import dataclass

_spellings = lru_cache(maxsize=64)(spellings)  # what an endpoint says is cleaned several times a call


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens. `tiers` are (prompt tokens from which it holds, price): the whole request is then repriced."""

    prompt: float
    completion: float
    cached: float | None = None
    cache_write: float | None = None
    tiers: tuple[tuple[int, Price], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of one model at one endpoint. None is unknown, never a default.

    `efforts` are the levels of thinking that it takes, `none` among them where it can be switched off. `tool_rounds`: a model that would never stop by itself is asked for its answer after so many rounds of tool calls in a turn.
    `logprobs`: whether it gives the log-probabilities of what it writes.
    """

    context_window: int | None = None
    max_output: int | None = None
    price: Price | None = None
    native_tools: bool | None = None
    images: bool | None = None
    tool_rounds: int | None = None
    efforts: tuple[Effort, ...] | None = None
    logprobs: bool | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that serves models.

    `dialect` is a name of the registry (dialects/registry.py). `api_key` is bound to this endpoint alone and is left out of every repr. `key_source` says where it came from (for doctor and
    errors), never its value. `native_tools` False: tool calls go through a JSON schema. `free` True: calls cost nothing (a local
    server). `command`, `program`, `own_tools` and `environment` belong to the dialect `command`: the program and its arguments, which of the
    known ones it is ("" tells by its name), whether its own tools stay on, and variables for it. `answers` and `speed` belong to the dialect `replay`: the
    file of stored answers, and how many times as fast they are told as they once came (0: at once). `quirks` are the named peculiarities known beforehand (see quirks.py); others are learned from refusals.
    """

    name: str
    base_url: str = field(repr=False)
    dialect: str = "chat"
    api_key: str | None = field(default=None, repr=False)
    api_key_env: str | None = None
    key_source: str | None = None
    max_concurrency: int = 8
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    models: dict[str, ModelFacts] = field(default_factory=dict)
    native_tools: bool = True
    free: bool = False
    command: tuple[str, ...] = ()
    program: str = ""
    own_tools: bool = False
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    answers: str = ""
    speed: float = 0.0
    quirks: frozenset[str] = frozenset()

    def with_(self, **changes: object) -> Endpoint:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def address(self) -> str:
        """`base_url` as it may be shown: without user, password and query."""
        return plain_url(self.base_url)

    def redact(self, text: str) -> str:
        """The text without anything that opens this endpoint; some repeat the key in their refusal."""
        return redact(text, self.spelled())

    def spelled(self) -> tuple[str, ...]:
        """All that is to be taken out of what it says, in all spellings; the same at each call, but for a key that comes with the start."""
        return _spellings(self.secrets())

    def secrets(self) -> tuple[str, ...]:
        """The key, the headers' values, and what the address carries beside host and path. Never to be shown."""
        opening = secrets_of(self.api_key, self.base_url, self.headers)
        if not self.environment:
            return tuple(opening)
        from agent.process.children import is_secret

        return (*opening, *(value for name, value in self.environment.items() if is_secret(name)))

    @property
    def is_loopback(self) -> bool:
        """True where the server is on this machine."""
        return _is_loopback(self.base_url)


@lru_cache(maxsize=256)  # asked for with every call
def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    # An address, not a name that merely begins like one (127.0.0.1.example.com).
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdecimal())


WELL_KNOWN: dict[str, Endpoint] = {
    endpoint.name: endpoint
    for endpoint in (
        Endpoint("openrouter", "https://openrouter.ai/api/v1", api_key_env="OPENROUTER_API_KEY"),
        # Only there do OpenAI's models keep their reasoning between two tool calls.
        Endpoint("openai", "https://api.openai.com/v1", dialect="responses", api_key_env="OPENAI_API_KEY"),
        Endpoint("anthropic", "https://api.anthropic.com/v1", dialect="anthropic", api_key_env="ANTHROPIC_API_KEY"),
        Endpoint("deepseek", "https://api.deepseek.com/v1", api_key_env="DEEPSEEK_API_KEY"),
        Endpoint("moonshot", "https://api.moonshot.ai/v1", api_key_env="MOONSHOT_API_KEY"),
        Endpoint("gemini", "https://generativelanguage.googleapis.com/v1beta/openai", api_key_env="GEMINI_API_KEY"),
        Endpoint("groq", "https://api.groq.com/openai/v1", api_key_env="GROQ_API_KEY"),
        Endpoint("ollama", "http://127.0.0.1:11434/v1", max_concurrency=1, free=True),
        Endpoint("lmstudio", "http://127.0.0.1:1234/v1", max_concurrency=1, free=True),
        Endpoint("llamacpp", "http://127.0.0.1:8080/v1", max_concurrency=4, free=True),
        Endpoint("vllm", "http://127.0.0.1:8000/v1", free=True),
        # The bundled local model: its address and key are made when its server starts (agent/local).
        Endpoint("local", "http://127.0.0.1:0/v1", max_concurrency=4, native_tools=False, free=True),
    )
}


def _program(name: str, *command: str) -> Endpoint:
    return Endpoint(
        name, f"command:{command[0]}", dialect="command", max_concurrency=2, native_tools=False, command=command
    )


# Command-line agents with a login of their own, as a preset names them. Nothing starts one that no preset or setting names.
WELL_KNOWN |= {
    endpoint.name: endpoint
    for endpoint in (
        _program("claude-cli", "claude", "-p", "--output-format", "json", "--model", "{model}"),
        _program("codex-cli", "codex", "exec", "--json", "--model", "{model}"),
        _program("gemini-cli", "gemini", "--output-format", "json", "--model", "{model}"),
    )
}


# Keys of this program's that open no endpoint of models.
OTHER_KEYS = ("MOA_SERVE_KEY", "EXA_API_KEY", "TAVILY_API_KEY", "BRAVE_API_KEY", "BRAVE_SEARCH_API_KEY")


def key_variables(endpoints: Iterable[Endpoint]) -> frozenset[str]:
    """The environment variables that hold keys: those that these endpoints name, and those of the well-known ones, which hold somebody's
    key also where such an endpoint has been moved to another address."""
    named = (endpoint.api_key_env for endpoint in (*WELL_KNOWN.values(), *endpoints))
    return frozenset((*OTHER_KEYS, *(name for name in named if name)))
