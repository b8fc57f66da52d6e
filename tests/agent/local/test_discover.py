"""Telling running model servers apart by what they answer. Their answers are cut down from the servers' own documents."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.models.endpoint import ModelFacts
from agent.local.discover import Found, discover, ollama_address

Pages = Mapping[str, tuple[int, Any]]

OLLAMA: Pages = {
    "/api/version": (200, {"version": "0.12.6"}),
    "/api/ps": (200, {"models": [{"model": "qwen3:8b", "context_length": 4096}]}),
    "/v1/models": (200, {"data": [{"id": "qwen3:8b", "owned_by": "library"}, {"id": "gemma3", "owned_by": "library"}]}),
}
LLAMA_CPP: Pages = {
    "/props": (200, {"default_generation_settings": {"n_ctx": 8192}, "build_info": "b6800"}),
    "/v1/models": (200, {"data": [{"id": "some.gguf", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131072}}]}),
}
UNAUTHORIZED = {"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}}
LLAMA_CPP_LOCKED: Pages = {"/props": (401, UNAUTHORIZED), "/v1/models": (401, UNAUTHORIZED)}
UNEXPECTED = (200, {"error": "Unexpected endpoint or method."})
LM_STUDIO: Pages = {
    "/api/version": UNEXPECTED,
    "/props": UNEXPECTED,
    "/version": UNEXPECTED,
    "/api/v0/models": (
        200,
        {
            "data": [
                {"id": "a-vlm", "type": "vlm", "state": "loaded", "loaded_context_length": 4096},
                {"id": "a-llm", "type": "llm", "state": "not-loaded", "max_context_length": 131072},
                {"id": "embedder", "type": "embeddings", "state": "not-loaded"},
            ]
        },
    ),
    "/v1/models": (200, {"data": [{"id": "a-vlm", "owned_by": "organization_owner"}]}),
}
VLLM: Pages = {
    "/version": (200, {"version": "0.11.2"}),
    "/v1/models": (200, {"data": [{"id": "org/model", "owned_by": "vllm", "max_model_len": 32768}]}),
}
VLLM_LOCKED: Pages = {"/version": (200, {"version": "0.11.2"}), "/v1/models": (401, {"error": "Unauthorized"})}
SOMETHING_ELSE: Pages = {"/version": (200, {"version": "2"}), "/v1/models": (404, {"detail": "Not Found"})}
ODD: Pages = {"/api/version": (200, [1]), "/props": (200, "text"), "/v1/models": (200, {"data": {"id": 3}})}


@asynccontextmanager
async def serving(pages: Pages) -> AsyncIterator[int]:
    """A server on loopback that knows these pages; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            status, page = pages.get(path, (404, {"detail": "Not Found"}))
            body = json.dumps(page).encode()
            writer.write(
                b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a knock at the door, no more
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def found(*servers: Pages) -> list[Found]:
    """What is discovered where these servers run. The time is generous: tests share their machine."""

    async def main() -> list[Found]:
        async with AsyncExitStack() as stack:
            ports = [await stack.enter_async_context(serving(pages)) for pages in servers]
            return await discover(5.0, ports=tuple(ports), environ={})

    return asyncio.run(main())


def test_each_is_told_by_its_answers_whatever_its_port() -> None:
    servers = found(VLLM, LM_STUDIO, SOMETHING_ELSE, OLLAMA, LLAMA_CPP)
    assert [server.kind for server in servers] == ["vllm", "lmstudio", "ollama", "llamacpp"]
    assert [server.version for server in servers] == ["0.11.2", None, "0.12.6", "b6800"]
    assert not any(server.locked for server in servers)


@pytest.mark.parametrize(
    ("pages", "models"),
    [
        pytest.param(OLLAMA, {"qwen3:8b": ModelFacts(context_window=4096), "gemma3": ModelFacts()}, id="ollama"),
        pytest.param(LLAMA_CPP, {"some.gguf": ModelFacts(context_window=8192)}, id="llama.cpp: one slot's"),
        pytest.param(
            LM_STUDIO,
            {"a-vlm": ModelFacts(context_window=4096, images=True), "a-llm": ModelFacts(images=False)},
            id="LM Studio: of what is loaded",
        ),
        pytest.param(VLLM, {"org/model": ModelFacts(context_window=32768)}, id="vllm"),
    ],
)
def test_models_and_their_windows_as_far_as_told(pages: Pages, models: dict[str, ModelFacts]) -> None:
    (server,) = found(pages)
    endpoint = server.endpoint()
    assert endpoint.name == server.kind
    assert endpoint.base_url == server.base_url
    assert endpoint.models == models
    assert endpoint.free
    assert endpoint.is_loopback


@pytest.mark.parametrize(("pages", "kind"), [(LLAMA_CPP_LOCKED, "llamacpp"), (VLLM_LOCKED, "vllm")])
def test_a_server_that_wants_a_key_is_named_without_its_models(pages: Pages, kind: str) -> None:
    (server,) = found(pages)
    assert (server.kind, server.locked, dict(server.models)) == (kind, True, {})


def test_what_is_no_model_server_is_left_out() -> None:
    assert found(SOMETHING_ELSE, ODD, {}) == []


def test_a_server_that_says_nothing_costs_the_timeout_and_no_more() -> None:
    async def main() -> float:
        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        async with server:
            loop = asyncio.get_running_loop()
            begin = loop.time()
            assert await discover(0.1, ports=(server.sockets[0].getsockname()[1],), environ={}) == []
            return loop.time() - begin

    assert asyncio.run(main()) < 1.0


def test_ollama_host_adds_an_address_on_this_machine() -> None:
    async def main() -> list[Found]:
        async with serving(OLLAMA) as port:
            return await discover(5.0, ports=(), environ={"OLLAMA_HOST": f"0.0.0.0:{port}"})

    assert [server.kind for server in asyncio.run(main())] == ["ollama"]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("", None),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        (":8123", "http://127.0.0.1:8123"),
        ("http://localhost:8123/", "http://127.0.0.1:8123"),
        ("[::1]:8123", "http://[::1]:8123"),
        ("gpu-box:11434", None),
        ("https://ollama.example", None),
        ("127.0.0.1.example.com", None),
        ("127.0.0.1:notaport", None),
    ],
)
def test_ollama_host(host: str, address: str | None) -> None:
    assert ollama_address(host) == address


@given(st.text())
def test_ollama_host_never_leads_off_this_machine(host: str) -> None:
    address = ollama_address(host)
    assert address is None or address.startswith(("http://127.0.0.1:", "http://[::1]:"))


@pytest.mark.parametrize("path", ["/api/version", "/props", "/api/v0/models", "/v1/models", "/api/ps"])
def test_odd_answers_never_raise(path: str) -> None:
    """Each page in turn is anything at all, while the rest are as they should be."""
    odd = [None, 3, "x", [], [None], {}, {"data": 3}, {"data": [3, {}, {"id": None}]}, {"models": [{"model": []}]}]
    odd += [{"default_generation_settings": None}, {"error": None}, {"version": {}}]
    for server in (OLLAMA, LLAMA_CPP, LM_STUDIO, VLLM):
        for one in found(*({**server, path: (200, page)} for page in odd)):
            assert all(isinstance(name, str) for name in one.models)
            assert all(facts.context_window is None or facts.context_window > 0 for facts in one.models.values())
