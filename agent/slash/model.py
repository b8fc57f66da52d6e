"""/model: which model has the conversation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from agent.commands import Act, Command, CommandContext, Completion, Result, Said
from agent.errors import UsageError
from agent.llm.models.effort import check as check_effort
from agent.llm.request import ModelRef
from agent.loop.main_model import MODEL, effort_remark, resolve
from agent.slash.arguments import code, said
from agent.text.nearest import nearest
from agent.views import TableView

if TYPE_CHECKING:
    from agent.host import Host
    from agent.llm.models.endpoint import ModelFacts

ADD = "add"
"""The verb that leads to another key, address or local model."""
OFFERED = 200
"""Completions at most: OpenRouter alone lists hundreds."""


def commands(host: Host) -> tuple[Command, ...]:
    """The one command."""

    async def run(context: CommandContext, args: str) -> Result:
        if args == ADD:
            return Act("setup", "/model")
        return _switch(host, context, args) if args else _look(host)

    return (
        Command(
            "model",
            "show or change the main model, add a key or a server",
            run,
            args_hint=f"[ENDPOINT:MODEL | {ADD}]",
            complete=lambda typed: _complete(host, typed),
        ),
    )


def _complete(host: Host, typed: str) -> Iterable[str]:
    """Models of the endpoints that can be used, as far as their lists have been seen; words may stand anywhere in the name."""
    found = [name for name in _known(host) if all(word in name.lower() for word in typed.lower().split())]
    found.sort(key=lambda name: (not name.startswith(typed), name))
    verb = [Completion(ADD, "another key, address, or local model")] if ADD.startswith(typed) else []
    return [*verb, *found[:OFFERED]]


def _known(host: Host) -> list[str]:
    names = host.agent.models.names()
    for endpoint in host.config.endpoints.values():
        if endpoint.api_key is None and endpoint.api_key_env is not None:
            continue
        ids = dict.fromkeys((*endpoint.models, *(each.id for each in host.agent.client.catalogue.listed(endpoint))))
        if endpoint.name == "local":
            from agent.local.catalogue import FETCHABLE

            ids |= dict.fromkeys(FETCHABLE)
        names += [f"{endpoint.name}:{name}" for name in ids]
    return names


def _look(host: Host) -> Result:
    if host.model_error:
        raise host.model_error
    model = host.agent.model
    facts = host.agent.client.facts(model)
    endpoint = host.agent.client.endpoint(model.endpoint)
    rows = (
        ("model", host.agent.model_name),
        *((("writes the answer", str(model)),) if host.agent.composed else ()),
        ("at", "this machine" if model.endpoint == "local" else endpoint.address),
        ("context window", f"{facts.context_window:,} tokens" if facts.context_window else "unknown"),
        ("price", _price(facts, endpoint.free)),
        ("effort", host.agent.effort or "its own default"),
        ("images", {True: "yes", False: "no", None: "unknown"}[facts.images]),
    )
    return Said(
        TableView(
            columns=("", ""),
            rows=rows,
            note="/model ENDPOINT:MODEL switches to another (Tab lists them); /model add takes another key, address, or local model",
        )
    )


def _price(facts: ModelFacts, free: bool) -> str:
    if free:
        return "nothing"
    if facts.price is None:
        return "unknown"
    return f"${facts.price.prompt:g} in, ${facts.price.completion:g} out, per million tokens"


def _switch(host: Host, context: CommandContext, name: str) -> Result:
    client, models = host.agent.client, host.agent.models
    try:
        model = ModelRef.parse(name) if models.find(name) is None else resolve(name, host.config, client, models)[0]
    except ValueError as error:
        raise UsageError(str(error), remedy=_nearest(host, name) or "write ENDPOINT:MODEL", kind="model_ref") from None
    composed = name if models.find(name) is not None else ""
    endpoint = client.require_key(model.endpoint)
    listed = {each.id for each in client.catalogue.listed(endpoint)} | set(endpoint.models)
    check_effort(model, host.agent.effort, client.facts(model))
    host.agent.model, host.agent.composed, host.model_error = model, composed, None
    context.session.set_state(MODEL, {"model": composed or str(model)})
    lines = [f"From the next turn on: {code(composed or str(model))}."]
    if composed:
        lines.append(f"{code(str(model))} writes the answer.")
    if listed and model.model not in listed:
        near = _nearest(host, name)
        lines.append(f"{code(endpoint.name)} does not list that one, so it may refuse it{f'; {near}' if near else ''}.")
    if text := effort_remark(client, model, host.agent.effort):
        lines.append(f"{text}.")
    pictures = any(part.type == "image" for message in context.session.history() for part in message.parts)
    if pictures and client.facts(model).images is False:
        lines.append("There are images in this conversation, and it takes none: start over with `/clear`.")
    return said("\n\n".join(lines))


def _nearest(host: Host, name: str) -> str | None:
    known = _known(host)
    near = nearest(name, known) or next((each for each in known if name in each), None)
    return f"did you mean {near}?" if near else None
