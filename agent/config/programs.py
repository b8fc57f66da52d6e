"""`[endpoints.NAME]` with dialect = "command": a program in the place of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.config.toml import variable
from agent.llm.models.endpoint import Endpoint
from agent.llm.programs.known import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.config.toml import Table
    from agent.llm.models.endpoint import ModelFacts


def program_endpoint(name: str, table: Table, known: Endpoint | None, models: Mapping[str, ModelFacts]) -> Endpoint:
    """The endpoint. Raises UsageError naming the key for a command that is missing or can't be one."""
    command = table.texts("command") or (known.command if known else ())
    if not command or not command[0].strip():
        remedy = 'give program and arguments, for example command = ["claude", "-p", "--output-format", "json", "--model", "{model}"]'
        raise table.error("command", "is missing", remedy)
    if any("\0" in word for word in command):
        raise table.error("command", "has a NUL character in it", "take it out")
    environment = {}
    entries = table.table("env")
    for variable_name in entries.data:
        value = entries.text(variable_name) or ""
        if "=" in variable_name or "\0" in variable_name + value:
            raise entries.error(variable_name, "can't be a variable", "use a name without = and a value without NUL")
        environment[variable_name] = value
    program = table.text("program", "", choices=("", *PROGRAMS)) or ""
    endpoint = Endpoint(
        name=name,
        base_url=f"command:{command[0]}",
        dialect="command",
        api_key_env=variable(table, None),
        max_concurrency=table.integer("max_concurrency", known.max_concurrency if known else 2, least=1) or 2,
        models=dict(models),
        native_tools=False,
        free=table.flag("free", False),
        command=command,
        program=program,
        own_tools=table.flag("own_tools", False),
        environment=environment,
    )
    table.done()
    return endpoint
