"""Model servers that already run on this machine: Ollama, llama.cpp, LM Studio, vLLM, found on their usual ports.

They are told apart by what only one of each answers, not by the port: ports 8000 and 8080 belong to everybody. Only loopback is ever
asked, with GET, and without any key.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from agent.llm.models.endpoint import WELL_KNOWN, Endpoint, ModelFacts
from agent.text import foreign_json

if TYPE_CHECKING:
    import httpx

Kind = Literal["ollama", "llamacpp", "lmstudio", "vllm"]

PORTS = (11434, 8080, 1234, 8000)
"""Where Ollama, llama.cpp, LM Studio and vLLM listen unless told otherwise."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANY_ADDRESS = ("", "0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Found:
    """A running server. `kind` is the name of its well-known endpoint; `models` maps each model to what the server tells of it.

    `locked` is true where it needs a key before it says more (a llama.cpp or vLLM server started with one).
    """

    kind: Kind
    base_url: str
    version: str | None = None
    models: Mapping[str, ModelFacts] = field(default_factory=dict)
    locked: bool = False

    def endpoint(self) -> Endpoint:
        """The well-known endpoint of that kind, at this address and with these models."""
        return WELL_KNOWN[self.kind].with_(base_url=self.base_url, models=dict(self.models))


async def discover(
    timeout_s: float = 0.3, *, ports: tuple[int, ...] = PORTS, environ: Mapping[str, str] = os.environ
) -> list[Found]:
    """Look at all ports at once; takes at most about twice `timeout_s` seconds. Never raises: what can't be asked is not there.

    `OLLAMA_HOST` adds an address, if it is on loopback.
    """
    addresses = [f"http://127.0.0.1:{port}" for port in ports]
    own = ollama_address(environ.get("OLLAMA_HOST", ""))
    if own and own not in addresses:
        addresses.insert(0, own)
    found = await asyncio.gather(*(look(address, timeout_s) for address in addresses), return_exceptions=True)
    return [server for server in found if isinstance(server, Found)]


async def look(address: str, timeout_s: float) -> Found | None:
    """Which server answers at `address`, if any."""
    url = urlsplit(address)
    try:  # most often nobody listens: learn that without a client
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(url.hostname, url.port)
    except (OSError, TimeoutError):
        return None
    writer.close()

    import httpx

    async with (
        httpx.AsyncClient(base_url=address, trust_env=False, verify=False, timeout=timeout_s) as client,
        asyncio.timeout(timeout_s),
    ):
        version, props, lm_studio, vllm, listing = await asyncio.gather(
            *(get(client, path) for path in ("/api/version", "/props", "/api/v0/models", "/version", "/v1/models"))
        )
        if isinstance(version.get("version"), str):
            return await ollama(client, address, version["version"], listing)
    owners = {word(entry.get("owned_by")) for entry in entries(listing)}
    if "default_generation_settings" in props or "llamacpp" in owners or llama_wants_key(props):
        return llama_cpp(address, props, listing)
    if any("state" in entry for entry in entries(lm_studio)):
        return Found("lmstudio", f"{address}/v1", models=lm_studio_models(lm_studio))
    if "vllm" in owners or (isinstance(vllm.get("version"), str) and "error" in listing):
        return vllm_server(address, vllm, listing)
    return None


async def ollama(client: httpx.AsyncClient, address: str, version: str, listing: dict[str, Any]) -> Found:
    """Ollama. It tells the context of a loaded model alone; a model's own limit would promise more than Ollama grants it."""
    running = await get(client, "/api/ps")
    loaded = {entry["model"]: entry.get("context_length") for entry in entries(running, "models", name="model")}
    models = {entry["id"]: ModelFacts(context_window=whole(loaded.get(entry["id"]))) for entry in entries(listing)}
    return Found("ollama", f"{address}/v1", version, models)


def llama_cpp(address: str, props: dict[str, Any], listing: dict[str, Any]) -> Found:
    """llama.cpp's server. Its `n_ctx` under the generation settings is that of one slot, which is what a request has."""
    settings = props.get("default_generation_settings")
    window = whole(settings.get("n_ctx")) if isinstance(settings, dict) else None
    return Found(
        "llamacpp",
        f"{address}/v1",
        word(props.get("build_info")),
        {entry["id"]: ModelFacts(context_window=window) for entry in entries(listing)},
        locked="error" in listing,
    )


def lm_studio_models(listing: dict[str, Any]) -> dict[str, ModelFacts]:
    """LM Studio's chat models; the context of those that are loaded (for the others only the loading decides)."""
    return {
        entry["id"]: ModelFacts(
            context_window=whole(entry.get("loaded_context_length")), images=entry.get("type") == "vlm"
        )
        for entry in entries(listing)
        if entry.get("type") in ("llm", "vlm", None)
    }


def vllm_server(address: str, version: dict[str, Any], listing: dict[str, Any]) -> Found:
    """vLLM's server."""
    models = {entry["id"]: ModelFacts(context_window=whole(entry.get("max_model_len"))) for entry in entries(listing)}
    return Found("vllm", f"{address}/v1", word(version.get("version")), models, locked="error" in listing)


async def get(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """The JSON object at a path, whatever the status; empty where there is none, or no end of it."""
    import httpx

    from agent.llm.net.http import beginning
    from agent.llm.net.limits import LISTING_BYTES

    try:
        async with client.stream("GET", path, headers={"accept-encoding": "identity"}) as answer:
            body = foreign_json.loads(await beginning(answer, LISTING_BYTES))
    except (httpx.HTTPError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def entries(listing: dict[str, Any], key: str = "data", *, name: str = "id") -> list[dict[str, Any]]:
    """The objects of a listing that have a name; none where it is not a listing."""
    items = listing.get(key)
    if not isinstance(items, list):
        return []
    return [item for item in items if isinstance(item, dict) and isinstance(item.get(name), str)]


def llama_wants_key(props: dict[str, Any]) -> bool:
    """llama.cpp's way of refusing: every other server answers 404 to /props, or another error."""
    error = props.get("error")
    return isinstance(error, dict) and error.get("code") == 401 and error.get("type") == "authentication_error"


def whole(value: Any) -> int | None:
    """A positive whole number, or None."""
    return value if type(value) is int and value > 0 else None  # True is an int, too


def word(value: Any) -> str | None:
    """A string, or None."""
    return value if isinstance(value, str) else None


def ollama_address(host: str) -> str | None:
    """`OLLAMA_HOST` (`host`, `host:port`, `:port` or a URL) as the address to ask; None where it is unset or on another machine."""
    if not host.strip():
        return None
    text = host.strip() if "://" in host else f"http://{host.strip()}"
    try:
        url = urlsplit(text)
        name, port = url.hostname or "", url.port or 11434
    except ValueError:
        return None
    if name not in LOOPBACK and name not in ANY_ADDRESS:
        return None
    return f"http://{'[::1]' if name == '::1' else '127.0.0.1'}:{port}"
