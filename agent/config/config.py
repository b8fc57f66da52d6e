"""The host's own settings: environment, config.toml, and where things are. A plugin brings its own section."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.config.paths import Paths, project_folder
from agent.config.toml import Table, load, variable
from agent.errors import UsageError
from agent.llm.dialects.registry import DIALECTS
from agent.llm.models.endpoint import WELL_KNOWN, Endpoint, ModelFacts, Price, key_variables
from agent.llm.models.families import EFFORTS
from agent.llm.request import Effort
from agent.text.secrets import plain_url, redact, spellings
from agent.values import dataclass

if TYPE_CHECKING:
    from agent.config.keys import StoredKey
    from agent.outgoing import Redaction

# What a newcomer who has set one key, and nothing else, talks to. The alias follows OpenRouter's newest Opus.
DEFAULT_MODELS = {
    "openrouter": "openrouter:~anthropic/claude-opus-latest",
    "anthropic": "anthropic:claude-opus-5-5",
    "openai": "openai:gpt-6.1-sol",
    "gemini": "gemini:gemini-4-argon",
    "deepseek": "deepseek:deepseek-v4-pro",
    "moonshot": "moonshot:kimi-k3.1-pro",
    "groq": "groq:openai/gpt-oss-120b",
}
"""What each well-known endpoint's key opens by itself; of several keys the first here decides. A test holds them against the price list."""


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """Caps. US dollars and tokens; None is no cap."""

    turn_usd: float | None = None
    session_usd: float | None = None
    day_usd: float | None = None
    turn_tokens: int | None = None
    session_tokens: int | None = None
    day_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the user has set, checked. `plugins` are the sections that plugins claim, unread."""

    paths: Paths
    model: str | None
    """The main model: ENDPOINT:MODEL, or the name of one that is more than one (`fuse/PRESET`), which a plugin knows."""
    endpoints: dict[str, Endpoint]
    budget: BudgetSettings
    allow: tuple[str, ...] = ()
    deny_paths: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    max_tokens: int = 16_000
    effort: Effort | None = None
    """How deep the main model thinks; None: its own default."""
    default_model: str | None = None
    """The one that goes with the first key there is."""
    compact_at: float = 0.8
    """How full the main model's window may be before the conversation is compacted; 1: not before it overflows."""
    compact_model: str | None = None
    """Who writes the summaries; None: the main model."""
    plugins: dict[str, dict[str, Any]] = field(default_factory=dict)
    ui: dict[str, Any] = field(default_factory=dict)
    """The faces' own section, unread: `agent.ui.settings` checks it."""
    sandbox: dict[str, Any] = field(default_factory=dict)
    """`[sandbox]`, unread: `agent.sandbox.sandbox` checks it."""
    delegate: dict[str, Any] = field(default_factory=dict)
    """`[delegate]`, unread: `agent.delegate.tool` checks it."""
    hooks: tuple[dict[str, Any], ...] = ()
    """`[[hooks]]`, unread: `agent.userhooks` checks them."""
    mcp: dict[str, Any] = field(default_factory=dict, repr=False)
    """`[mcp]`, unread: `agent.config.mcp` checks it."""
    serve: dict[str, Any] = field(default_factory=dict)
    """`[serve]`, unread: `moa.serve.settings` checks it."""
    stored_keys: tuple[str, ...] = field(default=(), repr=False)
    """All that the user has pasted, and all that the environment has, those included that open nothing now: secrets all the same."""
    sources: dict[str, str] = field(default_factory=dict)
    """Where each value came from, for doctor."""
    _spelled: tuple[str, ...] = field(init=False, repr=False, compare=False)

    @property
    def single_model(self) -> str | None:
        """ENDPOINT:MODEL for what needs one model alone, where `model` is more than one: the default for the key that is there."""
        return self.model if self.model is None or ":" in self.model else self.default_model

    def __post_init__(self) -> None:
        # Asked for with every string that is written anywhere.
        object.__setattr__(self, "_spelled", spellings(self.secrets()))

    def secrets(self) -> tuple[str, ...]:
        """Whatever opens a configured endpoint (keys, headers, parts of addresses); none of it reaches logs, sessions or errors."""
        opening = (secret for endpoint in self.endpoints.values() for secret in endpoint.secrets())
        return (*opening, *self.stored_keys)

    def secret_names(self) -> frozenset[str]:
        """The environment variables that hold keys; child processes do not get them."""
        return key_variables(self.endpoints.values())

    def redact(self, text: str) -> str:
        """The text without any configured secret of eight characters or more in it."""
        return redact(text, self._spelled)

    def redaction(self) -> Redaction:
        """The same for whole events and for texts that come in pieces."""
        from agent.outgoing import Redaction

        return Redaction.of(self._spelled)

    def trusted_project(self, cwd: Path) -> Path | None:
        """The `.moa` folder that governs `cwd`, where the user trusts it."""
        if (folder := project_folder(cwd)) is None or str(folder.parent) not in self.trusted:
            return None
        from agent.config.trust import standing

        return standing(self, folder).folder


def load_config(env: Mapping[str, str] = os.environ, *, plugins: frozenset[str] = frozenset()) -> Config:
    """Read config.toml and the environment. `plugins` are the section names that plugins claim.

    Raises UsageError naming file, key and remedy for anything unknown or contradictory.
    """
    paths = Paths.from_env(env)
    file = paths.config_file
    top = Table(load(file), file)
    stored = _stored_keys(paths.keys_file)
    endpoints = {
        name: _with_stored(endpoint, stored, paths.keys_file)
        for name, endpoint in _endpoints(top.table("endpoints"), env).items()
    }
    budget = _budget(top.table("budget"))
    approve = top.table("approve")
    allow, deny = approve.texts("allow"), approve.texts("deny_paths")
    approve.done()
    trust = top.table("trust")
    trusted = trust.texts("folders")
    trust.done()
    hooks = top.rows("hooks")
    if mcp := top.table("mcp").data:
        _check_mcp(mcp, file)
    model = top.text("model")
    if model is not None and ":" not in model and "/" not in model:
        raise top.error("model", f"is {model!r}", "use ENDPOINT:MODEL, for example openrouter:openai/gpt-5.5")
    effort = top.text("effort", choices=EFFORTS)
    sections = {name: top.table(name).data for name in sorted(plugins)}
    ui, sandbox, delegate, serve = (top.table(name).data for name in ("ui", "sandbox", "delegate", "serve"))
    max_tokens = top.integer("max_tokens", 16_000, least=1) or 16_000
    context = top.table("context")
    compact_at, compact_model = context.number("compact_at", 0.8), context.text("model")
    if compact_at is None or not 0.2 <= compact_at <= 1:
        raise context.error(
            "compact_at", f"is {compact_at}", "use a share of the window from 0.2 to 1 (1: only when it overflows)"
        )
    if compact_model is not None and ":" not in compact_model:
        raise context.error(
            "model", f"is {compact_model!r}", "use ENDPOINT:MODEL, for example openrouter:openai/gpt-5.5"
        )
    context.done()
    top.done()
    sources = {name: f"{file}: {name}" for name, value in (("model", model), ("effort", effort)) if value}
    if env.get("MOA_MODEL"):
        model, sources["model"] = env["MOA_MODEL"], "environment: MOA_MODEL"
    if env.get("MOA_EFFORT"):
        effort, sources["effort"] = _effort(env["MOA_EFFORT"]), "environment: MOA_EFFORT"
    name = next((name for name in DEFAULT_MODELS if endpoints[name].api_key), None)
    default_model = DEFAULT_MODELS[name] if name else None
    if model is None and name:
        model, sources["model"] = default_model, f"default for the key in {endpoints[name].key_source}"
    return Config(
        paths=paths,
        model=model,
        default_model=default_model,
        endpoints=endpoints,
        stored_keys=(
            *(found.key for found in stored.values()),
            *(env[name].strip() for name in sorted(key_variables(endpoints.values())) if env.get(name)),
            *(_mcp_secrets(mcp, env) if mcp else ()),
        ),
        budget=budget,
        allow=allow,
        deny_paths=deny,
        trusted=trusted,
        max_tokens=max_tokens,
        effort=effort,  # type: ignore[arg-type]
        compact_at=compact_at,
        compact_model=compact_model,
        plugins=sections,
        ui=ui,
        sandbox=sandbox,
        delegate=delegate,
        mcp=mcp,
        serve=serve,
        hooks=tuple(row.data for row in hooks),
        sources=sources,
    )


def _effort(text: str) -> str:
    if text not in EFFORTS:
        raise UsageError(f"MOA_EFFORT is {text!r}", remedy=f"set it to one of {', '.join(EFFORTS)}", kind="config")
    return text


def _check_mcp(section: Mapping[str, Any], file: Path) -> None:
    from agent.config.mcp import read

    read(section, file)


def _mcp_secrets(section: Mapping[str, Any], env: Mapping[str, str]) -> Iterable[str]:
    from agent.config.mcp import secrets

    return secrets(section, env)


def _budget(table: Table) -> BudgetSettings:
    budget = BudgetSettings(
        turn_usd=table.number("turn_usd"),
        session_usd=table.number("session_usd"),
        day_usd=table.number("day_usd"),
        turn_tokens=table.integer("turn_tokens"),
        session_tokens=table.integer("session_tokens"),
        day_tokens=table.integer("day_tokens"),
    )
    table.done()
    return budget


def _endpoints(table: Table, env: Mapping[str, str]) -> dict[str, Endpoint]:
    endpoints = {}
    for name, known in WELL_KNOWN.items():
        endpoints[name] = known if name in table.data else _with_key(known, env)
    for name, entry in table.tables():
        if ":" in name or not name:
            raise table.error(
                name, "has a colon in its name", "a model is written ENDPOINT:MODEL, so choose a name without one"
            )
        endpoints[name] = _endpoint(name, entry, env)
    return endpoints


def _endpoint(name: str, table: Table, env: Mapping[str, str]) -> Endpoint:
    known = WELL_KNOWN.get(name)
    dialect = table.text("dialect", known.dialect if known else "chat", choices=tuple(DIALECTS)) or "chat"
    if dialect == "command":
        from agent.config.programs import program_endpoint

        return _with_key(program_endpoint(name, table, known, _models(table)), env)
    if dialect == "replay":
        from agent.config.replays import replay_endpoint

        return replay_endpoint(name, table, _models(table))
    base_url = table.text("base_url", known.base_url if known else None)
    if base_url is None:
        raise table.error(
            "base_url", "is missing", f'give the address, for example base_url = "http://127.0.0.1:8080/v1" ({name})'
        )
    if not base_url.startswith(("http://", "https://")):
        raise table.error(
            "base_url", f"is {plain_url(base_url)!r}", "use an address that starts with http:// or https://"
        )
    moved = known is not None and base_url.rstrip("/") != known.base_url
    endpoint = Endpoint(
        name=name,
        base_url=base_url.rstrip("/"),
        dialect=dialect,
        # A key goes to the address that the user named with it: a moved endpoint names its key anew.
        api_key_env=variable(table, known.api_key_env if known and not moved else None),
        max_concurrency=table.integer("max_concurrency", known.max_concurrency if known else 8, least=1) or 8,
        headers=_headers(table.table("headers")),
        models=_models(table),
        native_tools=table.flag("native_tools", known.native_tools if known else True),
        free=table.flag("free", bool(known and known.free)),
    )
    table.done()
    return _with_key(endpoint, env)


def _models(table: Table) -> dict[str, ModelFacts]:
    return {key: _model_facts(entry) for key, entry in table.table("models").tables()}


def _headers(table: Table) -> dict[str, str]:
    headers = {}
    for name in table.data:
        value = table.text(name) or ""
        if not (value.isascii() and value.isprintable()):
            raise table.error(name, "has characters that can't be in a header", "use plain ASCII on one line")
        headers[name] = value
    return headers


def _model_facts(table: Table) -> ModelFacts:
    price = None
    if "price" in table.data:
        entry = table.table("price")
        prompt, completion = entry.number("prompt"), entry.number("completion")
        if prompt is None or completion is None:
            raise table.error("price", "lacks prompt or completion", "give both, in US dollars per million tokens")
        price = Price(prompt, completion, entry.number("cached"), entry.number("cache_write"))
        entry.done()
    else:
        table.asked.add("price")
    facts = ModelFacts(
        context_window=table.integer("context_window", least=1),
        max_output=table.integer("max_output", least=1),
        price=price,
        native_tools=table.flag("native_tools", True) if "native_tools" in table.data else None,
        images=table.flag("images", True) if "images" in table.data else None,
        logprobs=table.flag("logprobs", True) if "logprobs" in table.data else None,
    )
    table.asked.update(("native_tools", "images", "logprobs"))
    table.done()
    return facts


def _with_key(endpoint: Endpoint, env: Mapping[str, str]) -> Endpoint:
    name = endpoint.api_key_env
    key = env.get(name, "").strip() if name else ""
    if not key:
        return endpoint
    _check_key(key, f"the environment variable {name}")
    return endpoint.with_(api_key=key, key_source=f"environment: {name}")


def _check_key(key: str, place: str) -> None:
    """Raises UsageError for what no header could carry; never with the key itself."""
    if key.isascii() and key.isprintable() and " " not in key:
        return
    raise UsageError(
        f"the key in {place} has a space, a line break or another character in it that no key has",
        remedy="put in the key alone, without quotes or comments",
        kind="config",
    )


def _stored_keys(file: Path) -> Mapping[str, StoredKey]:
    if not file.exists():  # most often; the module is not worth its import then
        return {}
    from agent.config.keys import KeyStore

    return KeyStore(file).read()


def _with_stored(endpoint: Endpoint, keys: Mapping[str, StoredKey], file: Path) -> Endpoint:
    """A pasted key opens the address it was pasted for, and only where the environment has none."""
    found = keys.get(endpoint.name)
    if found is None or endpoint.api_key is not None or found.base_url.rstrip("/") != endpoint.base_url.rstrip("/"):
        return endpoint
    _check_key(found.key, f"{file} ({endpoint.name})")
    return endpoint.with_(api_key=found.key, key_source=str(file))


def require_model(config: Config, *named: str | None) -> str:
    """The main model: the first that is named, else the configured one. Raises UsageError with the three ways on."""
    for model in (*named, config.model):
        if model:
            return model
    raise UsageError(
        "no model is configured",
        remedy=(
            "three ways on: (1) a key: export OPENROUTER_API_KEY=…; "
            f'(2) a URL: in {config.paths.config_file} write model = "mine:NAME" and [endpoints.mine] base_url = "http://127.0.0.1:8080/v1"; '
            '(3) a small local model to try the program: moa run --preset local "…"'
        ),
        kind="no_model",
    )
