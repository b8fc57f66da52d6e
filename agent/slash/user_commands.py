"""Slash commands that are Markdown files: the user's in `commands/` of the configuration, a trusted project's in `.moa/commands/`.

The file is the prompt. `$ARGUMENTS` in it stands for all that follows the command's name, `$1` to `$9` for its words; where neither
is in it, what follows comes after the text. A head between two lines of `---` may give `description` and `argument-hint`.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agent.commands import Command, CommandContext, Result, RunTurn
from agent.errors import UsageError
from agent.files import frontmatter, instructions
from agent.text.numbers import whole_number

if TYPE_CHECKING:
    from agent.files.deny_paths import DenyPaths

LIMIT = 32_000
MOST_SUMMARY = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PLACES = re.compile(r"\$(ARGUMENTS\b|[1-9](?!\d))")


def commands(
    config_dir: Path | None,
    project_dir: Path | None,
    *,
    taken: Container[str],
    deny: DenyPaths | None = None,
    notice: Callable[[str, str], None] = lambda _code, _text: None,
) -> Iterator[Command]:
    """The commands of both folders, the user's first. Blocking.

    A name that is `taken` (a built-in command's) or comes a second time never shadows the first: it is left out, and `notice` is told.
    """
    mine: set[str] = set()
    for folder, within in ((config_dir, None), (project_dir, project_dir.parent if project_dir else None)):
        for path in _files(folder):
            name = path.stem
            read = instructions.read(path, limit=LIMIT, deny=deny, within=within)
            problem = ""
            if not _NAME.fullmatch(name):
                problem = "its name can't be typed as a command (letters, digits, - and _ alone)"
            elif name in taken or name in mine:
                problem = f"there is a command /{name} already"
            elif read is None or not read.text.strip():
                problem = (read.problem if read else "") or "it is empty"
            if problem:
                notice("command_left_out", f"{path} is not a command: {problem}")
                continue
            assert read is not None
            mine.add(name)
            yield _command(name, path, read.text, deny, within)


def described(project_dir: Path) -> list[tuple[str, str]]:
    """The commands of a project's `.moa` folder, by name, each with what it is said to do, trusted or not. Blocking."""
    rows = []
    for path in _files(project_dir):
        read = instructions.read(path, limit=LIMIT, within=project_dir.parent)
        rows.append((path.stem, _summary(read.text) if read is not None and read.text else "empty"))
    return rows


def _summary(text: str) -> str:
    head, body = frontmatter.split(text)
    first = next((line.strip("# \t") for line in body.splitlines() if line.strip("# \t")), "")
    summary = " ".join(head.get("description", first).split())
    return summary if len(summary) <= MOST_SUMMARY else summary[: MOST_SUMMARY - 1] + "…"


def expand(text: str, arguments: str) -> str:
    """The prompt that a command's text gives with what was typed after its name."""
    try:
        words = shlex.split(arguments)
    except ValueError:  # an apostrophe
        words = arguments.split()

    def put(found: re.Match[str]) -> str:
        if found[1] == "ARGUMENTS":
            return arguments
        number = whole_number(found[1], len(words))
        return words[number - 1] if number else ""

    if _PLACES.search(text):
        return _PLACES.sub(put, text).strip()
    return f"{text.strip()}\n\n{arguments}".strip()


def _files(folder: Path | None) -> list[Path]:
    try:
        return sorted(path for path in (folder / "commands").iterdir() if path.suffix == ".md") if folder else []
    except OSError:  # most often there is none
        return []


def _command(name: str, path: Path, text: str, deny: DenyPaths | None, within: Path | None) -> Command:
    head, body = frontmatter.split(text)
    summary = _summary(text)
    default = "[TEXT]" if _PLACES.search(body) else ""

    async def run(_context: CommandContext, arguments: str) -> Result:
        # Read again: the user may be writing it right now.
        read = await asyncio.to_thread(instructions.read, path, limit=LIMIT, deny=deny, within=within)
        if within is not None and read is not None and read.text != text:
            remedy = f"look at it, say moa trust {within}, and start again"
            raise UsageError(f"/{name} has changed since this conversation was opened: {path}", remedy=remedy)
        prompt = expand(frontmatter.split(read.text)[1], arguments) if read is not None else ""
        if not prompt:
            why = (read.problem or "it is empty") if read is not None else "it is gone"
            raise UsageError(f"/{name} has nothing to say: {path}: {why}", remedy="fix the file")
        return RunTurn(prompt)

    return Command(
        name,
        f"{summary} (yours)" if within is None else f"{summary} (this project's)",
        run,
        args_hint=head.get("argument-hint", default),
    )
