"""`[endpoints.NAME]` with dialect = "replay": a file of stored answers in the place of a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agent.llm.models.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.config.toml import Table
    from agent.llm.models.endpoint import ModelFacts


def replay_endpoint(name: str, table: Table, models: Mapping[str, ModelFacts]) -> Endpoint:
    """The endpoint. Raises UsageError naming the key where `answers` names no file."""
    answers = table.text("answers")
    path = Path(answers).expanduser() if answers else None
    if path is None or not path.is_file():
        problem = "is missing" if path is None else f"names no file ({path})"
        raise table.error("answers", problem, "name a JSON Lines file of stored answers; docs/evidence.md has its form")
    endpoint = Endpoint(
        name=name,
        base_url=f"replay:{path.name}",
        dialect="replay",
        max_concurrency=table.integer("max_concurrency", 64, least=1) or 64,
        models=dict(models),
        native_tools=False,
        free=table.flag("free", not models),
        answers=str(path.absolute()),
        speed=table.number("speed", 0.0) or 0.0,
    )
    table.done()
    return endpoint
