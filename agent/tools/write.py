"""write: a whole file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

from agent.llm.request import ToolSpec
from agent.text.numbers import plural
from agent.tools.base import Change, Kind, Subject, Tool, ToolContext, ToolError, ToolResult
from agent.tools.lib.diffs import unified_diff
from agent.tools.lib.files import MAX_EDITABLE, changed_since_seen, digest, load_text, save


class Write(Tool):
    """Makes a file or replaces one that the model has read."""

    kind: ClassVar[Kind] = "edit"
    read_only: ClassVar[bool] = False
    spec: ClassVar[ToolSpec] = ToolSpec(
        name="write",
        description=(
            "Write a whole file; missing folders are made. An existing file must have been read before, and not have changed since. To "
            "change a part of a file use edit."
        ),
        parameters={
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "File, absolute or from the working folder."},
                "content": {"type": "string", "description": "The whole new content, exactly."},
            },
            "required": ["path", "content"],
            "additionalProperties": False,
        },
    )

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people."""
        return f"write {arguments.get('path', '')}"

    async def preview(self, context: ToolContext, arguments: dict[str, Any]) -> str | None:
        """The diff that `run` would make, without making it. Raises ToolError."""
        path = context.resolve(arguments["path"], writes=True)
        before = await asyncio.to_thread(_before, context, path)
        return await asyncio.to_thread(
            unified_diff, before or "", arguments["content"], context.show(path), created=before is None
        )

    def subject(self, arguments: dict[str, Any]) -> Subject:
        """The file, whose text is changed."""
        return Subject(self.spec.name, "change", str(arguments.get("path", "")), arguments)

    def change(self, arguments: dict[str, Any]) -> Change:
        """The whole file."""
        return Change(str(arguments.get("path", "")), None, str(arguments.get("content", "")))

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """Write it. Raises ToolError where the model has not seen what it would overwrite."""
        path, content = context.resolve(arguments["path"], writes=True), arguments["content"]
        return await asyncio.to_thread(_write, context, path, content)


def _before(context: ToolContext, path: Path) -> str | None:
    """What is there now, as text; None where nothing is. Raises ToolError where it may not be overwritten."""
    if not path.exists():
        return None
    shown = context.show(path)
    if path.is_dir():
        raise ToolError(f"{shown} is a folder")
    current = load_text(context, path)
    if path not in context.seen and current.text:
        raise ToolError(f"{shown} exists and you have not read it: read it first, or change a part of it with edit")
    if changed_since_seen(context, path, current.digest):
        raise ToolError(f"{shown} has changed since you last saw it: read it again")
    return current.text


def _write(context: ToolContext, path: Path, content: str) -> ToolResult:
    shown = context.show(path)
    data = content.encode("utf-8", "replace")
    if len(data) > MAX_EDITABLE:
        raise ToolError(f"the content has {len(data):,} bytes; {MAX_EDITABLE:,} is the most")
    before = _before(context, path)
    if before == content:
        context.seen[path] = digest(path.read_bytes())
        return ToolResult(f"{shown} has exactly this content already; nothing was written")
    save(context, path, data)
    context.seen[path] = digest(data)
    diff = unified_diff(before or "", content, shown, created=before is None)
    lines = content.count("\n") + (not content.endswith("\n") and bool(content))
    return ToolResult(f"{'replaced' if before is not None else 'made'} {shown} ({plural(lines, 'line')})", diff=diff)
