"""The provider `moa` of Inspect: its requests go to our own server inside of this process, on the wire of Chat Completions.

Messages, tools and images are translated by Inspect's own provider for that wire; what becomes of them (panel, guidance that stays in its
place, ledger, caps) is what `moa serve` does for every other program.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import httpx2
from inspect_ai.model import GenerateConfig
from inspect_ai.model._providers.openai_compatible import OpenAICompatibleAPI

from moa.bench.inspecting import serving
from moa.preset.preset import FUSE

NOTE = "moa"
"""The key in a reply's metadata: the run in the ledger (`run`) and what became of counsel (`counsel`)."""
_heard: ContextVar[dict[str, str] | None] = ContextVar("heard", default=None)


class Inside(httpx2.AsyncBaseTransport):
    """The server that is open now, as a transport; what its answer's head says is kept for who asked."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One request."""
        transport = httpx2.ASGITransport(serving.application(), raise_app_exceptions=False)
        response = await transport.handle_async_request(request)
        if (heard := _heard.get()) is not None:
            heard |= {key.removeprefix("x-moa-"): value for key, value in response.headers.items() if "x-moa-" in key}
        return response


class Served(OpenAICompatibleAPI):
    """See the module. `model_name` is what stands behind `moa/`."""

    def __init__(self, model_name: str, config: GenerateConfig = GenerateConfig(), **model_args: Any) -> None:  # noqa: B008
        given = {key: value for key, value in model_args.items() if key not in ("base_url", "api_key")}
        super().__init__(
            model_name=model_name, base_url="http://127.0.0.1/v1", api_key="none", config=config, service="moa", **given
        )

    def _create_http_client(self) -> Any:
        from openai import DefaultAsyncHttpxClient

        return DefaultAsyncHttpxClient(transport=Inside(), timeout=None)

    def service_model_name(self) -> str:
        """The name that our server knows."""
        return name_of(self.model_name)

    def connection_key(self) -> str:
        """Our own queues hold back what an endpoint does not take at once."""
        return "moa"

    def max_connections(self) -> int:
        """How many requests Inspect has open at once."""
        return 64

    async def generate(self, *args: Any, **kwargs: Any) -> Any:
        """One request; its reply says under which run the ledger has its calls."""
        heard: dict[str, str] = {}
        token = _heard.set(heard)
        try:
            found = await super().generate(*args, **kwargs)
        finally:
            _heard.reset(token)
        output = found[0] if isinstance(found, tuple) else found
        if heard and not isinstance(output, Exception):
            output.metadata = {**(output.metadata or {}), NOTE: heard}
        return found


def name_of(name: str) -> str:
    """What our server calls a model of the provider: `fuse/PRESET` and `ENDPOINT:MODEL` as they are, a preset as `moa/PRESET…`."""
    if name.startswith(FUSE) or ":" in name.partition("/")[0]:
        return name
    return f"moa/{name}"
