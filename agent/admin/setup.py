"""From nothing to a model: recognising and checking a key, trying an address, writing down what was chosen. Faces ask, this does.

Nothing is written before it was seen to work.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.config import edit
from agent.config.config import DEFAULT_MODELS, Config
from agent.config.keys import KeyStore
from agent.errors import UsageError
from agent.llm.dialects.registry import paths
from agent.llm.errors import AuthError, ModelError
from agent.llm.models.endpoint import WELL_KNOWN, Endpoint

if TYPE_CHECKING:
    from agent.ledger.book import Ledger
    from agent.llm.client import ModelClient
    from agent.llm.models.catalogue import ListedModel
    from agent.local.discover import Found

PREFIXES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("sk-or-", ("openrouter",)),
    ("sk-ant-", ("anthropic",)),
    ("sk-proj-", ("openai",)),
    ("sk-svcacct-", ("openai",)),
    ("gsk_", ("groq",)),
    ("AIza", ("gemini",)),
    ("sk-", ("deepseek", "openai", "moonshot")),
)
"""What a key begins with, and whose it can be; the first line that fits holds."""

# What is listed and is not a chat model goes to the end of the list: an endpoint's list rarely says what a model is for.
NO_CHAT = re.compile(
    r"embed|whisper|tts|dall-e|moderation|rerank|transcri|realtime|image|audio|guard|minilm|(?:^|/)(?:bge|gte|e5)-",
    re.IGNORECASE,
)
FAVOURITES: Mapping[str, str] = {"anthropic": "opus", "openai": "gpt-5", "deepseek": "chat"}


def recognise(key: str) -> tuple[str, ...]:
    """The well-known endpoints that a key may belong to; all that take a key where its form says nothing."""
    for prefix, names in PREFIXES:
        if key.strip().startswith(prefix):
            return names
    return key_endpoints()


def key_endpoints() -> tuple[str, ...]:
    """The well-known endpoints that take a key."""
    return tuple(name for name, endpoint in WELL_KNOWN.items() if endpoint.api_key_env)


async def check(endpoint: Endpoint, config: Config, ledger: Ledger) -> list[ListedModel]:
    """Ask an endpoint for its models, with the key it carries; the answer is kept in the catalogue.

    Raises ModelError (AuthError for a wrong key) or UsageError, with what to do.
    """
    from agent.client import make_client

    client = make_client(replace(config, endpoints={endpoint.name: endpoint}), ledger)
    try:
        models = await client.models(endpoint.name)
        if urlsplit(endpoint.base_url).hostname == "openrouter.ai" and endpoint.api_key:
            await _check_openrouter_key(client, endpoint)
        return models
    finally:
        await client.aclose()


async def _check_openrouter_key(client: ModelClient, endpoint: Endpoint) -> None:
    """OpenRouter lists its models to anybody; `GET /key` is what tells a good key from a bad one (its API reference)."""
    from agent.llm.net.http import get

    dialect = client.dialect(endpoint)
    try:
        async with asyncio.timeout(20.0):
            answer = await get(
                client.http, endpoint, dialect.headers(endpoint), f"{endpoint.base_url}/key", client.clocks.connect
            )
    except TimeoutError:
        return  # the list came: the key is tried at the first call
    if not answer.is_success:
        raise dialect.classify(answer.status_code, answer.headers, answer.content, endpoint)


def addresses(text: str) -> tuple[str, ...]:
    """The base URLs that what the user typed may mean, the likeliest first. Raises UsageError for what is not an address."""
    text = text.strip().rstrip("/")
    if "://" not in text:
        host = text.partition("/")[0].partition(":")[0]
        near = host in ("localhost", "") or re.fullmatch(r"[\d.]+|.*\.local", host)
        text = f"{'http' if near else 'https'}://{text}"
    try:
        url = urlsplit(text)
        usable = (
            url.scheme in ("http", "https")
            and url.hostname
            and not url.query
            and not url.netloc.endswith(":")
            and url.port != 0
        )
    except ValueError:
        usable = False
    if not usable or " " in text:
        raise UsageError(f"{text} is not an address", remedy="for example http://127.0.0.1:8080/v1")
    if url.username or url.password:
        raise UsageError(
            "the address has a password in it", remedy="leave it out; a key is asked for where one is needed"
        )
    for ending in paths():
        text = text.removesuffix(ending)
    return (f"{text}/v1", text) if url.path in ("", "/") else (text,)


async def try_address(
    text: str, config: Config, ledger: Ledger, *, key: str | None = None
) -> tuple[Endpoint, list[ListedModel]]:
    """The endpoint behind an address, and its models.

    Raises AuthError where it needs a key (ask for one, and call again), ModelError where nobody answers sensibly, UsageError for what
    is not an address. The error is that of the likeliest form of the address.
    """
    first: ModelError | None = None
    for base_url in addresses(text):
        endpoint = endpoint_at(base_url, config, key)
        try:
            return endpoint, await check(endpoint, config, ledger)
        except AuthError:
            raise
        except ModelError as error:
            first = first or error
    assert first is not None
    raise first


def endpoint_at(base_url: str, config: Config, key: str | None = None) -> Endpoint:
    """The endpoint at an address: one that is known already, else a new one with a name made from the host."""
    # A key is typed for this address and for no other: what a known endpoint carries is replaced only by that.
    for endpoint in (*config.endpoints.values(), *WELL_KNOWN.values()):
        if endpoint.base_url.rstrip("/") == base_url.rstrip("/") and endpoint.name != "local":
            return endpoint.with_(api_key=key) if key else endpoint
    host = urlsplit(base_url).hostname or "mine"
    label = "mine" if host in ("localhost", "::1") or host[0].isdigit() else host.split(".")[-2 if "." in host else 0]
    stem = name = re.sub(r"[^a-z0-9-]+", "-", label.lower()).strip("-") or "mine"
    number = 2
    while name in config.endpoints:
        name, number = f"{stem}{number}", number + 1
    return Endpoint(name, base_url, api_key=key)


def of_found(server: Found, config: Config, key: str | None = None) -> Endpoint:
    """The endpoint for a server that was found running."""
    known = endpoint_at(server.base_url, config, key)
    if known.name in WELL_KNOWN:
        return known
    own = server.endpoint()
    return own.with_(api_key=key) if own.name not in config.endpoints or _untouched(own.name, config) else known


def _untouched(name: str, config: Config) -> bool:
    """The user has not described this well-known endpoint: it may be moved."""
    return config.endpoints[name] == WELL_KNOWN[name]


def chat_models(names: Iterable[str]) -> list[str]:
    """Those that are chat models by their names; all of them where none is."""
    every = list(names)
    return [name for name in every if not NO_CHAT.search(name)] or every


def ranked(endpoint: Endpoint, models: Iterable[ListedModel]) -> list[str]:
    """Model ids in the order to offer them: a good first choice, then as listed, then what is not a chat model by its name."""
    ids = [model.id for model in models]
    chat = [name for name in ids if not NO_CHAT.search(name)]
    rest = [name for name in ids if NO_CHAT.search(name)]
    first: list[str] = []
    default = DEFAULT_MODELS.get(endpoint.name, "").partition(":")[2]
    if default in ids or default.startswith("~"):  # lists leave moving aliases out
        first = [default]
    elif (word := FAVOURITES.get(endpoint.name)) is not None:
        first = [name for name in chat if word in name][:1]
    return [*first, *(name for name in chat if name not in first), *rest]


def save_key(config: Config, endpoint: Endpoint) -> None:
    """Keep the key that an endpoint carries. Raises UsageError, StateError."""
    if endpoint.api_key:
        KeyStore(config.paths.keys_file).put(endpoint.name, endpoint.base_url, endpoint.api_key)


def save_model(config: Config, endpoint: Endpoint, model: str) -> str:
    """Make a model the main one, and write its endpoint down where config.toml does not know it; returns ENDPOINT:MODEL.

    Raises UsageError where the file can't be changed as it stands, StateError where it can't be written.
    """
    values: dict[tuple[str, ...], str] = {("model",): f"{endpoint.name}:{model}"}
    known = config.endpoints.get(endpoint.name)
    if known is None or known.base_url != endpoint.base_url:
        values["endpoints", endpoint.name, "base_url"] = endpoint.base_url
    edit.update(config.paths.config_file, values)
    return values["model",]


def local_models() -> Sequence[tuple[str, str]]:
    """(name, what to know of it) of the models that the program fetches by itself."""
    from agent.local.catalogue import FETCHABLE

    return [
        (model.name, f"{model.size / 1e6:.0f} MB, {model.licence}; {model.warning}") for model in FETCHABLE.values()
    ]
