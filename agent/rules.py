"""Approval rules: `shell(git status*)`, `edit(src/**)`, or a tool's bare name for all its calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agent.errors import UsageError
from agent.globs import Glob, escape

# Programs whose first argument says what they do and whose further arguments do no harm that running them would not do anyway:
# tests and builds run the project's own code. `git diff` is not among them, because --output writes any file.
VARYING = ("git status", "cargo test", "cargo check", "cargo build", "go test", "go vet", "npm test", "pytest", "ls")


class Rule(NamedTuple):
    """A remembered yes. `pattern` None means every call of the tool.

    For `shell`, `*` stands for any text and `\\*` for a star; a pattern that ends in ` *` also covers the command without arguments. A
    pattern with a star covers simple commands alone: one that has a second command in it, a substitution or a redirection is never
    covered, whatever its beginning. A pattern without a star covers exactly that text. For tools with a `path`, the pattern is a path
    glob from the working folder (or absolute), matched against the file that the path leads to. For others it is matched
    against their first argument, with `*` for any text.
    """

    tool: str
    pattern: str | None = None

    @classmethod
    def parse(cls, text: str, *, file: str = "config.toml", key: str = "approve.allow") -> Rule:
        """Raises UsageError naming file, key and remedy."""
        found = (
            re.fullmatch(r"\s*([A-Za-z_][\w.-]*)\s*(?:\((.+)\))?\s*", text, re.DOTALL)
            if isinstance(text, str)
            else None
        )
        if found is None:
            raise UsageError(
                f"{file}: {key}: {text!r} is not an approval rule",
                remedy="write TOOL or TOOL(PATTERN), for example shell(git status*) or edit(src/**)",
            )
        tool, pattern = found[1], found[2]
        if pattern is not None and tool != "shell":
            try:
                Glob(pattern)
            except (ValueError, re.error) as error:
                raise UsageError(f"{file}: {key}: {text!r}: {error}", remedy="mend or remove the rule") from error
        return cls(tool, pattern)

    def __str__(self) -> str:
        return self.tool if self.pattern is None else f"{self.tool}({self.pattern})"

    def covers(self, tool: str, arguments: Mapping[str, Any], cwd: Path) -> bool:
        """True where the rule allows this call."""
        if tool != self.tool:
            return False
        if self.pattern is None:
            return True
        if tool == "shell":
            return _covers_command(self.pattern, str(arguments.get("command", "")))
        if isinstance(path := arguments.get("path"), str):
            return _covers_path(self.pattern, path, cwd)
        return (value := first_text(arguments)) is not None and _wildcard(self.pattern).fullmatch(value) is not None


def is_simple(command: str) -> bool:
    """True for one plain command: no list, pipe, substitution, variable, redirection, group, escape or line break.

    Inside single quotes anything but a line break is text; inside double quotes `$`, a backtick and a backslash are not. When in doubt
    the answer is no, and the user is asked.
    """
    quote = ""
    for character in command.strip():
        if character < " " and character != "\t":
            return False
        if quote:
            if character == quote:
                quote = ""
            elif quote == '"' and character in "$`\\":
                return False
        elif character in "'\"":
            quote = character
        elif character in ";&|<>()$`\\{}\x7f\x85\u2028\u2029":
            return False
    return not quote


def first_text(arguments: Mapping[str, Any]) -> str | None:
    """The first argument that is text: a URL, a question, a query."""
    return next((value for value in arguments.values() if isinstance(value, str)), None)


def suggest_rule(tool: str, arguments: Mapping[str, Any], cwd: Path) -> str:
    """What "session" or "always" would allow, as a rule: as narrow as is still of use.

    Commands: this text exactly, but for a few programs whose arguments vary. Files: those in the same folder; in the
    working folder itself, and outside it, that file alone. Pages: the same host.
    """
    if tool == "shell":
        command = str(arguments.get("command", "")).strip()
        for start in VARYING:
            if is_simple(command) and (command == start or command.startswith(start + " ")):
                return f"shell({start} *)"
        return f"shell({command.replace('*', chr(92) + '*')})"
    if isinstance(path := arguments.get("path"), str):
        target = (cwd / Path(path).expanduser()).resolve()
        folder = cwd.resolve()
        if not target.is_relative_to(folder):
            return f"{tool}({escape(str(target))})"
        relative = target.relative_to(folder)
        below = relative.parent
        if below == Path():
            return f"{tool}(./{escape(relative.name)})"
        return f"{tool}({escape(below.as_posix())}/*)"
    if isinstance(url := arguments.get("url"), str) and (host := re.match(r"https?://[^/?#\s]+", url)):
        return f"{tool}({host[0]}/*)"
    return tool


def _covers_command(pattern: str, command: str) -> bool:
    command = command.strip()
    if re.search(r"(?<!\\)\*", pattern) is None:
        return command == pattern.replace("\\*", "*").strip()
    if not is_simple(command):
        return False
    if pattern.endswith(" *") and command == pattern[:-2].replace("\\*", "*").strip():
        return True
    return _wildcard(pattern).fullmatch(command) is not None


def _covers_path(pattern: str, path: str, cwd: Path) -> bool:
    folder = cwd.resolve()
    target = (folder / Path(path).expanduser()).resolve()
    if pattern.startswith(("/", "~")):
        return Glob(str(Path(pattern).expanduser())).match(target.parts[1:])
    if not target.is_relative_to(folder):
        return False
    return Glob(pattern).match(target.relative_to(folder).parts)


def _wildcard(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"(?<!\\)\*+", pattern)
    return re.compile(".*".join(re.escape(piece.replace("\\*", "*")) for piece in pieces), re.DOTALL)
