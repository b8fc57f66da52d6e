"""What a foreign server calls things, made fit for a request: names, descriptions and schemas are somebody else's words."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from agent.llm.request import ToolSpec
from agent.text import foreign_json
from agent.text.cleaning import harmless_value, visible

PREFIX = "mcp__"
LONGEST_NAME = 64
"""The least that endpoints take."""
LONGEST_DESCRIPTION = 2_000
LARGEST_SCHEMA = 32_000
MOST_TOOLS = 200
LONGEST_FOREIGN = 1_000
"""Of a name as the server has it."""
_PLAIN = re.compile(r"[A-Za-z0-9_./-]{1,64}")


class RemoteTool(NamedTuple):
    """A tool of a server: what the server calls it, and what a request lists."""

    name: str
    spec: ToolSpec

    @property
    def plain(self) -> str:
        """Its name for a sentence of ours: the server's, or where that could be a sentence itself, the one that requests list."""
        return self.name if _PLAIN.fullmatch(self.name) else self.spec.name


def safe_name(server: str, tool: str, taken: Iterable[str] = ()) -> str:
    """`mcp__SERVER__TOOL` in the letters that every endpoint takes. What had to be changed, is taken, or could be the name of another
    server's tool (`a` with `b__c`, `a__b` with `c`) gets a digest of both names."""
    wanted = f"{PREFIX}{server}__{tool}"
    name = re.sub(r"[^A-Za-z0-9_-]", "_", wanted)
    clear = "__" not in f"{server}_" and "__" not in f"_{tool}"
    if name == wanted and len(name) <= LONGEST_NAME and name not in taken and clear:
        return name
    digest = hashlib.blake2b(f"{server}\0{tool}".encode("utf-8", "replace"), digest_size=4).hexdigest()
    return f"{name[: LONGEST_NAME - 9]}_{digest}"


def remote_tools(server: str, listed: Iterable[tuple[str, str, Any]]) -> tuple[list[RemoteTool], list[str]]:
    """The tools of a server from (name, description, schema), and what is wrong with those that are left out."""
    tools: list[RemoteTool] = []
    problems: list[str] = []
    taken: set[str] = set()
    for name, description, schema in listed:
        if len(tools) >= MOST_TOOLS:
            problems.append(f"it has more than {MOST_TOOLS} tools; the others are left out")
            break
        shown = visible(name)[:60]
        parameters = _schema(schema)
        if parameters is None:
            problems.append(
                f"its tool {shown} has a schema that is not an object, too deep, or of more than {LARGEST_SCHEMA:,} characters"
            )
            continue
        if not name.strip() or len(name) > LONGEST_FOREIGN or any(tool.name == name for tool in tools):
            problems.append(f"its tool {shown or '(no name)'} has no name of its own")
            continue
        safe = safe_name(server, name, taken)
        taken.add(safe)
        tools.append(RemoteTool(name, ToolSpec(safe, _description(server, name, description), parameters)))
    return tools, problems


def _description(server: str, name: str, text: str) -> str:
    """The server's own words, cleaned and cut, with whose they are."""
    said = visible(text).strip()
    if len(said) > LONGEST_DESCRIPTION:
        said = said[: LONGEST_DESCRIPTION - 1] + "…"
    return f"{said or visible(name)}\n(Tool {visible(name)[:200]} of the foreign MCP server {server}.)"


def small_schema(schema: Any) -> Any:
    """A schema that may be kept; None for one that is too large."""
    return None if _written(schema) is None else schema


def _written(schema: Any) -> str | None:
    try:
        text = json.dumps(schema)
    except (TypeError, ValueError, RecursionError):
        return None
    return text if len(text) <= LARGEST_SCHEMA else None


def _schema(schema: Any) -> dict[str, Any] | None:
    if not isinstance(schema, dict) or schema.get("type", "object") != "object" or (text := _written(schema)) is None:
        return None
    try:
        cleaned = harmless_value(foreign_json.loads(text))  # within the bounds that a session keeps
    except (ValueError, RecursionError):
        return None
    cleaned.pop("$schema", None)
    return {"type": "object", "properties": {}, **cleaned}
