"""edit: one passage of a file."""

from __future__ import annotations

import asyncio
import re
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from agent.llm.request import ToolSpec
from agent.text.encodable import whole
from agent.tools.base import Change, Kind, Subject, Tool, ToolContext, ToolError, ToolResult
from agent.tools.lib.diffs import unified_diff
from agent.tools.lib.files import TextFile, changed_since_seen, digest, load_text, save

MAX_LISTED = 5
SEARCH_S = 0.5
"""Seconds that looking for a near miss may take."""


class Edit(Tool):
    """Replaces a passage that occurs exactly once."""

    kind: ClassVar[Kind] = "edit"
    read_only: ClassVar[bool] = False
    spec: ClassVar[ToolSpec] = ToolSpec(
        name="edit",
        description=(
            "Replace one passage of a text file. `old` must occur exactly once, character by character (white space too, without the line "
            "numbers that read shows); take in enough lines around it to make it unique. Fails where the file changed since you read it."
        ),
        parameters={
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "File, absolute or from the working folder."},
                "old": {
                    "type": "string",
                    "minLength": 1,
                    "description": "The passage to replace, exactly as in the file.",
                },
                "new": {"type": "string", "description": "What takes its place; empty to take the passage out."},
            },
            "required": ["path", "old", "new"],
            "additionalProperties": False,
        },
    )

    def title(self, arguments: dict[str, Any]) -> str:
        """One line for people."""
        return f"edit {arguments.get('path', '')}"

    async def preview(self, context: ToolContext, arguments: dict[str, Any]) -> str | None:
        """The diff that `run` would make, without making it. Raises ToolError."""
        path = context.resolve(arguments["path"], writes=True)
        change = await asyncio.to_thread(_plan, context, path, arguments)
        return await asyncio.to_thread(unified_diff, change.file.text, change.text, context.show(path))

    def subject(self, arguments: dict[str, Any]) -> Subject:
        """The file, whose text is changed."""
        return Subject(self.spec.name, "change", str(arguments.get("path", "")), arguments, reveals=True)

    def change(self, arguments: dict[str, Any]) -> Change:
        """The passage."""
        return Change(*(str(arguments.get(name, "")) for name in ("path", "old", "new")))

    async def run(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """Make the change. Raises ToolError where `old` is not there exactly once, with the nearest passages."""
        path = context.resolve(arguments["path"], writes=True)
        return await asyncio.to_thread(_edit, context, path, arguments)


class _Change(NamedTuple):
    file: TextFile
    text: str
    start: int
    length: int


def _edit(context: ToolContext, path: Path, arguments: dict[str, Any]) -> ToolResult:
    change = _plan(context, path, arguments)
    data = change.file.encode(change.text)
    save(context, path, data)
    if path in context.seen:
        # Only a file that the model has read is known as a whole: an edit by a lucky guess gives no right to overwrite the rest.
        context.seen[path] = digest(data)
    first = change.text.count("\n", 0, change.start) + 1
    last = first + change.text.count("\n", change.start, change.start + change.length)
    where = f"line {first}" if first == last else f"lines {first}–{last}"
    diff = unified_diff(change.file.text, change.text, context.show(path))
    return ToolResult(f"edited {context.show(path)}, now {where}", diff=diff)


def _plan(context: ToolContext, path: Path, arguments: dict[str, Any]) -> _Change:
    shown, old, new = context.show(path), arguments["old"], arguments["new"]
    file = load_text(context, path)
    if changed_since_seen(context, path, file.digest):
        raise ToolError(f"{shown} has changed since you last saw it: read it again")
    if old == new:
        raise ToolError("old and new are the same; nothing to change")
    found = list(_occurrences(old, file.text))
    if not found:
        raise ToolError(whole(f"old does not occur in {shown}{_near_misses(old, file.text)}"))
    if len(found) > 1:
        lines = ", ".join(str(file.text.count("\n", 0, start) + 1) for start, _ in found[:MAX_LISTED])
        more = ", …" if len(found) > MAX_LISTED else ""
        many = f"{len(found):,}" if len(found) < MAX_COUNTED else f"at least {MAX_COUNTED:,}"
        raise ToolError(
            f"old occurs {many} times in {shown} (lines {lines}{more}): add lines around it to make it unique"
        )
    start, end = found[0]
    # The model writes plain line feeds; the file keeps the line ends that it has.
    newline = "\r\n" if "\r\n" in file.text[start:end] else file.newline
    put = new.replace("\r\n", "\n").replace("\n", newline)
    text = file.text[:start] + put + file.text[end:]
    if text == file.text:
        raise ToolError("old and new are the same but for line ends; nothing to change")
    return _Change(file, text, start, len(put.removesuffix("\n")))


MAX_COUNTED = 1_000


def _occurrences(old: str, text: str) -> Iterator[tuple[int, int]]:
    """Where `old` occurs, overlapping ones too, a line feed in it matching either line end."""
    # Not by an expression: where many lines are the same it would begin anew at each of them, and hold up all else meanwhile.
    plain, wanted = text.replace("\r\n", "\n"), old.replace("\r\n", "\n")
    longer = [found.start() - count for count, found in enumerate(re.finditer("\r\n", text))]
    at = -1
    for _ in range(MAX_COUNTED):
        at = plain.find(wanted, at + 1)
        if at < 0:
            return
        end = at + len(wanted)
        yield at + bisect_left(longer, at), end + bisect_left(longer, end)


def _near_misses(old: str, text: str) -> str:
    """What the model may have meant: the passage with other white space, else the lines most like the longest line of `old`."""
    import difflib

    if re.match(r"\d+\t", old) and not re.search(r"^\d+\t", text, re.MULTILINE):
        return ": leave out the line numbers that read shows"
    lines = [line.rstrip("\r") for line in text.split("\n")]
    wanted = [line.strip() for line in old.strip().splitlines()] or [""]
    bare = [line.strip() for line in lines]
    whole_lines = "\n".join(("", *bare, ""))
    if (found := whole_lines.find("\n".join(("", *wanted, "")))) >= 0:
        at = whole_lines.count("\n", 0, found)
        passage = "\n".join(lines[at : at + len(wanted)])
        return f" exactly, but with other white space at line {at + 1}:\n{passage[:2000]}"
    longest = max(wanted, key=len)[:300]
    matcher = difflib.SequenceMatcher(None, b=longest, autojunk=False)
    deadline = time.monotonic() + SEARCH_S
    best: list[tuple[float, int]] = []
    for at, line in enumerate(bare):
        if at % 64 == 0 and time.monotonic() > deadline:
            break
        matcher.set_seq1(line[:300])
        if matcher.real_quick_ratio() > 0.6 and matcher.quick_ratio() > 0.6 and (ratio := matcher.ratio()) > 0.6:
            best.append((-ratio, at))
    if not best:
        return ", nor anything like it: read the file again"
    near = "\n".join(f"{at + 1}\t{lines[at][:300]}" for _, at in sorted(best)[:3])
    return f". The lines most like it:\n{near}"
