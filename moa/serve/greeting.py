"""What `moa serve` prints: on its first start what each client needs, ready to paste, and who will receive conversations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.llm.request import ModelRef

if TYPE_CHECKING:
    from moa.serve.server import Server


def lines(server: Server, address: str, *, first: bool) -> Iterator[str]:
    """The lines. `first`: the key was made just now, and is shown this once."""
    key = server.door.key
    model = f"moa/{server.names.default}"
    if key is None:
        yield "Everybody on this machine may use this server (--no-auth)."
    elif first:
        yield f"The key of this server was made. It is in {key.source}, for you alone."
    else:
        yield f"The key of this server is in {key.source}."
    if first and key is not None:
        for name, three in pastes(address, key.value, model).items():
            yield f"\n{name}:"
            yield from (f"    {line}" for line in three)
        yield ""
    yield from receivers(server, model)


def pastes(address: str, key: str, model: str) -> dict[str, tuple[str, ...]]:
    """Three lines or so for each client."""
    openai = (f"export OPENAI_BASE_URL={address}/v1", f"export OPENAI_API_KEY={key}")
    return {
        "Claude Code": (
            f"export ANTHROPIC_BASE_URL={address}",
            f"export ANTHROPIC_AUTH_TOKEN={key}",
            f"claude --model {model}",
        ),
        "Codex": (
            f"export MOA_SERVE_KEY={key}",
            f"""codex -c model_provider=moa -c web_search=disabled -c 'model_providers.moa={{name="moa", base_url="{address}/v1", """
            f"""env_key="MOA_SERVE_KEY", wire_api="responses"}}' -m {model}""",
        ),
        "pi": (
            "# ~/.pi/agent/models.json",
            f'{{"providers": {{"moa": {{"baseUrl": "{address}/v1", "api": "openai-completions", "apiKey": "{key}", '
            f'"models": [{{"id": "{model}"}}]}}}}}}',
            f"pi --provider moa --model {model}",
        ),
        "opencode": (
            "# opencode.json",
            '{"provider": {"moa": {"npm": "@ai-sdk/openai-compatible", "options": '
            f'{{"baseURL": "{address}/v1", "apiKey": "{key}"}}, "models": {{"{model}": {{}}}}}}}}}}',
            f"opencode --model moa/{model}",
        ),
        "aider": (f"export OPENAI_API_BASE={address}/v1", openai[1], f"aider --model openai/{model}"),
        "Open WebUI": (
            "# Settings, Connections, OpenAI API",
            f"URL   {address}/v1",
            f"Key   {key}",
            f"Model {model}",
        ),
        "Official clients (openai, anthropic)": (*openai, f'model = "{model}"'),
    }


def receivers(server: Server, model: str) -> Iterator[str]:
    """Who receives the conversation of a request to a panel's model."""
    try:
        preset = server.names.load(model.partition("/")[2])
        main = ModelRef.parse(preset.main or server.names.main or "")
        from moa import preflight

        models = sorted({str(ref) for _key, ref in preflight.models(preset, main)})
    except (UsageError, ValueError) as error:
        yield f"{model} can't be used yet: {getattr(error, 'message', 'no main model is set (model in config.toml)')}"
        return
    yield f"A request to {model} goes to {main}, and its conversation to {', '.join(models)}."
    try:
        preflight.check(preset, server.client, main, server.caps, tools=None)
        server.client.require_key(main.endpoint)
    except UsageError as error:
        yield f"It can't be used yet: {error.message}" + (f" ({error.remedy})" if error.remedy else "")
