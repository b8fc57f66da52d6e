"""Approval rules: `shell(git status*)`, `edit(src/**)`, or a tool's bare name for all its calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.errors import UsageError
from agent.files.globs import Glob, escape, matches_text

if TYPE_CHECKING:
    from agent.tools.base import Subject

# Programs that only look, whatever their options and arguments are. `git diff` is not among them, because --output writes any file.
LOOKING = ("git status", "ls")
# Programs that run the project's own code on the paths they are given, with their options that take no value and name no program
# and no place. Other options may do either (--basetemp, -exec, --config), so a command that has one is suggested as it stands.
ON_PATHS: Mapping[str, frozenset[str]] = {
    "pytest": frozenset(
        ("-q", "-qq", "-v", "-vv", "-x", "-s", "-l", "--lf", "--ff", "--nf", "--sw", "--exitfirst", "--co")
    ),
    "go test": frozenset(("-v", "-race", "-short", "-failfast", "-cover")),
    "go vet": frozenset(),
}
PATHS = "<paths>"
"""In a pattern for `shell`, as its last word: up to 100 paths that are there, inside of the working folder, and no options."""
MOST_PATHS = 100


class Rule(NamedTuple):
    """A remembered yes. `pattern` None means every call of the tool.

    For `shell`, `*` stands for any text and `\\*` for a star; a pattern that ends in ` *` also covers the command without arguments. A
    pattern with a star covers simple commands alone: one that has a second command in it, a substitution or a redirection is never
    covered, whatever its beginning. A pattern that ends in ` <paths>` covers the words before it together with existing paths of the
    project. A pattern without either covers exactly that text. For tools with a `path`, the pattern is a path
    glob from the working folder (or absolute), matched against the file that the path leads to. For others it is matched
    against their first argument, with `*` for any text.
    """

    tool: str
    pattern: str | None = None

    @classmethod
    def parse(cls, text: str, *, file: str = "config.toml", key: str = "approve.allow") -> Rule:
        """Raises UsageError naming file, key and remedy."""
        found = (
            re.fullmatch(r"([A-Za-z_][\w.-]*)\s*(?:\((.+)\))?", text.strip(), re.DOTALL)
            if isinstance(text, str)
            else None
        )
        if found is None:
            raise UsageError(
                f"{file}: {key}: {text!r} is not an approval rule",
                remedy="write TOOL or TOOL(PATTERN), for example shell(git status*) or edit(src/**)",
            )
        tool, pattern = found[1], found[2]
        from agent.tools.shell import Shell

        if pattern is not None and tool != Shell.spec.name and not _is_root(pattern):  # of a command, not of a path
            try:
                Glob(pattern)
            except (ValueError, re.error) as error:
                raise UsageError(f"{file}: {key}: {text!r}: {error}", remedy="fix or remove the rule") from error
        return cls(tool, pattern)

    def __str__(self) -> str:
        return self.tool if self.pattern is None else f"{self.tool}({self.pattern})"

    def covers(self, subject: Subject, cwd: Path, led: Path | None = None) -> bool:
        """True where the rule allows this call. `led` is where its path has led, where that was looked up already."""
        if subject.tool != self.tool:
            return False
        if self.pattern is None:
            return True
        if subject.value is None:
            return False
        if subject.sort == "command":
            return _covers_command(self.pattern, subject.value, cwd)
        if subject.path is not None:
            return _covers_path(self.pattern, subject.path, cwd, led)
        return matches_text(self.pattern, subject.value)


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


def suggest_rule(subject: Subject, cwd: Path) -> str:
    """What "session" or "always" would allow, as a rule: as narrow as is still of use.

    Commands: this text exactly, options and all, but for a few programs whose paths may vary. Files: those in the same folder; in the
    working folder itself, and outside it, that file alone. Pages: the same host. Calls of foreign servers: that tool of that server.
    """
    pattern = _pattern(subject, cwd)
    return subject.tool if pattern is None else f"{subject.tool}({pattern})"


def _pattern(subject: Subject, cwd: Path) -> str | None:
    if subject.value is None:
        return None
    if subject.sort == "command":
        return _suggest_command(subject.value.strip(), cwd)
    if subject.sort == "name":
        return subject.value.replace("*", "\\*")
    if subject.sort == "page":
        host = re.match(r"https?://[^/?#\s]+", subject.value)
        return f"{host[0]}/*" if host else None
    if subject.path is None:
        return None
    try:
        target = (cwd / Path(subject.path).expanduser()).resolve()
    except (OSError, RuntimeError, ValueError):
        return escape(subject.path)  # no path at all; the tool says so
    folder = cwd.resolve()
    if not target.is_relative_to(folder):
        return _outside(target, looks=subject.sort == "look")
    relative = target.relative_to(folder)
    below = relative.parent
    place = escape(relative.name) if below == Path() else f"{escape(below.as_posix())}/*"
    return f"./{place}" if below == Path() or place.startswith("~") else place


def _outside(target: Path, *, looks: bool) -> str:
    """Outside of the project: a change of that file alone; to look at, all of its folder, unless that is the home folder or above it."""
    place = escape(str(target))
    if not looks:
        return place
    folder = target if target.is_dir() else target.parent
    home = Path.home().resolve()
    return place if home.is_relative_to(folder) else f"{escape(str(folder))}/**"


def _suggest_command(command: str, cwd: Path) -> str:
    if is_simple(command):
        for start in LOOKING:
            if command == start or command.startswith(start + " "):
                return f"{start} *"
        for start, options in ON_PATHS.items():
            if command != start and not command.startswith(start + " "):
                continue
            words = _words(command[len(start) :])
            given = [word for word in words if word.startswith("-")]
            pattern = " ".join((start, *given, PATHS))
            if options.issuperset(given) and _covers_command(pattern, command, cwd):
                return pattern
    return exactly(command)


def exactly(command: str) -> str:
    """The pattern that covers this command and no other."""
    literal = command.strip().replace("*", "\\*")
    return f"{literal.removesuffix(PATHS)}\\{PATHS}" if literal.endswith(f" {PATHS}") else literal


def _words(command: str) -> list[str]:
    """The words of a simple command, split where a shell splits them: no other white space does."""
    return [word for word in re.split(r"[ \t]+", command) if word]


def _covers_paths(start: str, command: str, cwd: Path) -> bool:
    """Whether a command is these words and, anywhere between its options, paths of the project."""
    fixed, words = _words(start), _words(command)
    program = next((at for at, word in enumerate(fixed) if word.startswith("-")), len(fixed))
    if len(words) > len(fixed) + MOST_PATHS or not is_simple(command) or words[:program] != fixed[:program]:
        return False
    options = [word for word in words[program:] if word.startswith("-")]
    return options == fixed[program:] and all(
        _is_inside(word, cwd) for word in words[program:] if not word.startswith("-")
    )


def _is_inside(word: str, cwd: Path) -> bool:
    """Whether a word is the plain name of something that lies in the working folder, wherever links lead: `tests/a.py::test_b`, `./...`."""
    if not re.fullmatch(r"[\w.][\w./+-]*(?:::[\w.:-]+)?", word):
        return False  # nothing that a shell or a program would read as something else: ~, wildcards, @file, NAME=VALUE
    place = word.partition("::")[0].removesuffix("/...")
    try:
        folder = cwd.resolve()
        return (target := (folder / place).resolve()).is_relative_to(folder) and target.exists()
    except (OSError, RuntimeError):
        return False


def _covers_command(pattern: str, command: str, cwd: Path) -> bool:
    command = command.strip()
    if pattern.endswith(f" {PATHS}"):
        return _covers_paths(pattern.removesuffix(PATHS), command, cwd)
    if pattern.endswith(f"\\{PATHS}"):
        pattern = pattern.removesuffix(f"\\{PATHS}") + PATHS
    if re.search(r"(?<!\\)\*", pattern) is None:
        return command == pattern.replace("\\*", "*").strip()
    if not is_simple(command):
        return False
    if pattern.endswith(" *") and command == pattern[:-2].replace("\\*", "*").strip():
        return True
    return matches_text(pattern, command)


def _is_root(pattern: str) -> bool:
    """Whether it names no file: `/`, or `./` for the working folder itself."""
    return pattern != "" and all(part in ("", ".") for part in pattern.split("/"))


def _covers_path(pattern: str, path: str, cwd: Path, led: Path | None) -> bool:
    folder = cwd.resolve()
    try:
        target = led or (folder / Path(path).expanduser()).resolve()
        place = Path(pattern).expanduser() if pattern.startswith(("/", "~")) else None
    except (OSError, RuntimeError, ValueError):
        return False
    if _is_root(pattern):
        return target == (place or folder)
    if place is not None:
        return Glob(str(place)).match(target.parts[1:])
    if not target.is_relative_to(folder):
        return False
    return Glob(pattern).match(target.relative_to(folder).parts)
