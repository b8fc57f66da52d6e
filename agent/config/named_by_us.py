"""What in a project the settings of this program name as something to run: scripts of hooks, and of a project's MCP servers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agent.config.paths import Paths, project_folder
from agent.config.toml import load
from agent.errors import UsageError

INTERPRETER = re.compile(
    r"(?:ba|da|z|k|fi)?sh|python[\d.]*|node|deno|bun|ruby|perl|php|Rscript|source|\.|env|exec|time|nice"
    # What starts another program, and its words.
    r"|uvx?|poetry|pdm|hatch|rye|pipx|npx|bunx|pnpm|yarn|tsx|ts-node|run|nohup|timeout|setsid|command|sudo|if|then|else|elif|while|until|do|!|\{|\d+[smhd]?"
)


def named_by_us(root: Path) -> frozenset[Path]:
    """The files, there or not, that would be run. What a program named there reads in its turn (`make`, `pytest`) is not among them."""
    found = set(_places(Paths.from_env(os.environ).config_file, root))
    if (project := project_folder(root)) is not None:
        found.update(_places(project / "config.toml", project.parent))
    return frozenset(place for place in found if place != root and not place.is_dir())


def why_named_by_us(path: Path, root: Path) -> str | None:
    """Why changing such a file needs the user's word; None where it is none. Both with their links resolved."""
    return "a hook or an MCP server runs it" if path in named_by_us(root) else None


def _places(file: Path, folder: Path) -> Iterator[Path]:
    for start, words in _commands(file):
        name = _script(words).replace("{cwd}", str(folder))
        # What has no slash is looked up on PATH, unless an interpreter reads it.
        if name and ("/" in name or name != words[0]) and "\0" not in name + start:
            forms = [name]
            if "-m" in words:
                forms += [f"{name.replace('.', '/')}{end}" for end in (".py", "/__main__.py", "/__init__.py")]
            yield from (Path(os.path.normpath(folder / each / form)) for each in {"", start} for form in forms)


def _script(words: Iterable[str]) -> str:
    for word in words:
        if word.startswith("-") or "=" in word or INTERPRETER.fullmatch(word.rpartition("/")[2]):
            continue
        return word
    return ""


def _commands(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Each command of the settings as words, with the folder that it starts in, from the working folder."""
    try:
        settings = load(file)
    except UsageError:
        return
    for hook in _items(settings.get("hooks")):
        start = ""
        for part in re.split(r"[;&|()\n`<>]+", str(hook.get("command", ""))):
            if words := [_plain(word) for word in part.split()]:
                if "cd" in words[:-1] and _script(words) == "cd":
                    start = os.path.join(start, words[words.index("cd") + 1])  # noqa: PTH118 - may be no path at all
                yield start, words
    mcp = settings.get("mcp")
    servers = mcp.get("servers") if isinstance(mcp, dict) else None
    for server in _items(list(servers.values()) if isinstance(servers, dict) else None):
        arguments, place = server.get("args"), server.get("cwd")
        words = [str(server.get("command", "")), *map(str, arguments if isinstance(arguments, list) else ())]
        yield place if isinstance(place, str) else "", words


def _plain(word: str) -> str:
    """A word without its quotes, and with the folder that it starts in as a dot."""
    return re.sub(r"\$PWD\b|\$\{PWD\}", ".", re.sub("[\"']", "", word))


def _items(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
