"""glob: files by name."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any, ClassVar

from agent.files.globs import Glob
from agent.llm.request import ToolSpec
from agent.tools.base import Kind, Tool, ToolContext, ToolError, ToolResult

MATCH_S = 10.0
"""Seconds that comparing may take."""
MAX_RESULTS = 500


class GlobTool(Tool):
    """Finds files whose path matches a pattern, sorted by path."""

    kind: ClassVar[Kind] = "search"
    read_only: ClassVar[bool] = True
    spec: ClassVar[ToolSpec] = ToolSpec(
        name="glob",
        description=(
            "Find files by a pattern: * and ? within a name, ** over folders, {a,b} for either. A pattern without a slash matches that name "
            "in any folder (*.py); one with a slash starts at path (src/**/*.py). What git ignores is left out. At most 500 paths, sorted."
        ),
        parameters={
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "minLength": 1, "description": "For example *.py or src/**/*.{ts,tsx}"},
                "path": {"type": "string", "description": "Folder to look in; the working folder if not given."},
            },
            "required": ["pattern"],
            "additionalProperties": False,
        },
    )

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people."""
        where = f" in {path}" if (path := arguments.get("path")) else ""
        return f"glob {arguments.get('pattern', '')}{where}"

    def path(self, arguments: dict[str, Any]) -> str:
        """The folder that is looked into."""
        return _split(arguments.get("path") or ".", arguments["pattern"])[0]

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """The paths, from the working folder where they lie in it. Raises ToolError."""
        from agent.tools.lib.files import not_found
        from agent.tools.lib.listing import list_files

        base, pattern = _split(arguments.get("path") or ".", arguments["pattern"])
        folder = context.resolve(base)
        if not folder.is_dir():
            raise ToolError(f"{base} is not a folder" if folder.exists() else not_found(context, folder))
        try:
            glob = await asyncio.to_thread(Glob, pattern)
        except (ValueError, re.error) as error:
            raise ToolError(f"{pattern[:80]!r} is not a usable pattern: {error}") from error
        listing = await list_files(context, folder)
        names, complete = await asyncio.to_thread(_matching, glob, folder, listing.files)
        shown = [context.show(folder / name) for name in names[:MAX_RESULTS]]
        if len(names) > MAX_RESULTS:
            shown.append(f"… and {len(names) - MAX_RESULTS:,} more; use a narrower pattern")
        if not complete:
            shown.append(f"(stopped after {MATCH_S:g} s, not every file was compared: use a simpler pattern)")
        if not listing.complete:
            shown.append("(there are too many files to look at all of them; give a folder further down as path)")
        return ToolResult("\n".join(shown) or f"no file matches {arguments['pattern']}")


def _matching(glob: Glob, folder: Path, files: list[str]) -> tuple[list[str], bool]:
    """The names that match, and whether there was time for all of them."""
    deadline = time.monotonic() + MATCH_S
    found: list[str] = []
    for name in files:
        if time.monotonic() > deadline:
            return found, False
        # git goes on listing what was deleted and not yet committed
        if glob.match(name.split("/")) and (folder / name).is_symlink() | (folder / name).exists():
            found.append(name)
    return found, True


def _split(base: str, pattern: str) -> tuple[str, str]:
    """An absolute pattern, or one that begins with `..`, as the folder it starts in and the rest."""
    if not pattern.startswith(("/", "~", "../")):
        return base, pattern.removeprefix("./") if "/" in pattern.removeprefix("./") else pattern
    parts = pattern.split("/")
    fixed = next((at for at, part in enumerate(parts) if re.search(r"[*?\[{]", part)), len(parts) - 1)
    rest = "/".join(parts[fixed:])
    start = "/".join(parts[:fixed]) or "/"
    if not pattern.startswith(("/", "~")):
        start = f"{base}/{start}"
    # With one segment left it is anchored in that folder, not floating.
    return start, rest if "/" in rest else f"./{rest}"
