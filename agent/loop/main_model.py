"""The main model and its thinking: of all who may say which, the first that does.

The command line, then the preset that it names, then what was chosen in the session (`/model`, `/effort`), then config.toml.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from agent.config.config import Config, require_model
from agent.errors import UsageError
from agent.hooks import ask_all
from agent.llm.models.effort import check, remark
from agent.llm.models.families import EFFORTS
from agent.llm.request import Effort, ModelRef
from agent.plugin import ComposedModel, Offers

if TYPE_CHECKING:
    from agent.llm.client import ModelClient
    from agent.plugin import Plugin
    from agent.session.session import Session

MODEL, EFFORT = "model", "effort"
"""Under these names the choices are kept in the session."""


class MainModel(NamedTuple):
    """The main model, its effort (None: its own default), and why it can't be called, where it can't. `composed`: the name under which it
    was chosen, where that is more than one model."""

    model: ModelRef
    effort: Effort | None
    error: UsageError | None
    composed: str = ""


def main_model(
    config: Config,
    client: ModelClient,
    session: Session,
    plugins: Sequence[Plugin],
    *,
    model: str | None = None,
    effort: Effort | None = None,
    models: Offers[ComposedModel] | None = None,
) -> MainModel:
    """Who it is at the start; `model` and `effort` are the command line's, `models` those that are more than one."""
    models = models or Offers()
    effort = effort or next(
        (level for _, level in ask_all(plugins, "main_effort", lambda each: each.main_effort()) if level), None
    )
    brought = next((name for _, name in ask_all(plugins, "main_model", lambda each: each.main_model()) if name), None)
    try:
        name = require_model(config, model or brought or _chosen_model(config, session, models))
        ref, found = resolve(name, config, client, models)
    except UsageError as error:
        if error.kind == "model_ref" and not (model or brought) and ":" not in (config.model or ":"):
            text = f"{config.sources['model']} is {config.model!r}: {error.message}"
            error = UsageError(text, remedy=error.remedy, kind=error.kind)
        return MainModel(ModelRef("", ""), effort or _chosen_effort(session) or config.effort, error)
    effort = effort or _chosen_effort(session) or (found and found.effort) or config.effort
    composed = found.name if found and (model or not found.alone) else ""
    try:
        check(ref, effort, client.facts(ref))
    except UsageError as error:
        return MainModel(ref, effort, error, composed)
    return MainModel(ref, effort, None, composed)


def resolve(
    name: str, config: Config, client: ModelClient, models: Offers[ComposedModel]
) -> tuple[ModelRef, ComposedModel | None]:
    """The model that a name calls, and what it is composed of where that is more than one. Raises UsageError."""
    found = models.find(name)
    if found is None:
        return _known(client, name), None
    main = found.main or config.single_model
    if main is None or models.find(main) is not None:
        raise UsageError(
            f"nobody is named who writes the answer of {name}",
            remedy=f"add main to that preset, or name a model in {config.paths.config_file} (model = …)",
            kind="model_ref",
        )
    return _known(client, main), found


def compact_model(config: Config, client: ModelClient) -> ModelRef | None:
    """Who sums up conversations. Raises UsageError for an endpoint that there is not."""
    if config.compact_model is None:
        return None
    try:
        model = ModelRef.parse(config.compact_model)
        client.endpoint(model.endpoint)
    except (ValueError, UsageError) as error:
        remedy = getattr(error, "remedy", None) or "write ENDPOINT:MODEL"
        raise UsageError(f"{config.paths.config_file}: context.model: {error}", remedy=remedy, kind="config") from None
    return model


def effort_remark(client: ModelClient, model: ModelRef, effort: Effort | None) -> str | None:
    """For people: that the model has no such level; None where there is nothing to say."""
    from agent.llm.models.quirks import known

    if effort is None or not model.model:
        return None
    return remark(model, effort, known(client.endpoint(model.endpoint), model.model), client.facts(model))


def _known(client: ModelClient, text: str) -> ModelRef:
    try:
        model = ModelRef.parse(text)
    except ValueError as error:
        raise UsageError(str(error), remedy="write ENDPOINT:MODEL", kind="model_ref") from None
    client.endpoint(model.endpoint)
    return model


def _chosen_model(config: Config, session: Session, models: Offers[ComposedModel]) -> str | None:
    """The model that /model chose in this session, where its endpoint (or its preset) is still there."""
    name = str((session.get_state(MODEL) or {}).get("model", ""))
    return name if name.partition(":")[0] in config.endpoints or name in models.names() else None


def _chosen_effort(session: Session) -> Effort | None:
    level = (session.get_state(EFFORT) or {}).get("effort")
    return cast("Effort", level) if level in EFFORTS else None
