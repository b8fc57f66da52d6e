"""Which files a command line may run, told from its words and from what is there. The programs in it are not known, and needn't be.

The line is an honest one, out of somebody's settings; the files are what others could change. So in doubt a file counts, also one that the
line only reads. Not known are what a file reads in its turn, and a name that is put together from variables.
"""

# os.path rather than Path: what lies in a folder that is closed to the user is not there, and no error.
# ruff: noqa: PTH111, PTH112, PTH114, PTH118

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from agent.files.project import project_root

MOST_STEPS = 150_000
"""For one question, over all of its lines: a place that is looked at, or two characters of a line. A third of a second."""
LONGEST = 4_096
"""Of a name, in characters."""
MOST_FOLDERS = 16
DEEPEST = 5
"""So often a word may be a line itself: sh -c "sh -c '…'"."""

# What runs its operands. Other programs' bare words count where such a file is there, or has the name of a script.
_READS = (
    r"(?:ba|da|z|k|fi|c|tc|a)?sh|pwsh|python[\d.]*|pypy[\d.]*|node|nodejs|deno|bun|ruby|perl|php[\d.]*|lua\w*|Rscript|julia|java|tclsh"
    r"|osascript|source|tsx|ts-node"
)
INTERPRETER = re.compile(rf"{_READS}|awk|uvx?|poetry|pdm|hatch|rye|pipx|npx|bunx|import|from")
READS = re.compile(_READS)
"""Those whose first operand is a script, whatever its name."""
MAY_RUN = re.compile(rf"/|\b(?:{INTERPRETER.pattern})\b")
"""A line without any of these runs no file by an interpreter or a path: to look closer takes a hundred times as long."""
STARTER = re.compile(
    r"env|exec|time|nice|ionice|nohup|timeout|setsid|stdbuf|flock|command|builtin|eval|sudo|doas|xargs|if|then|else|elif|while|until|do|!|\{|\}"
)
"""What stands before a program."""
SCRIPT = re.compile(
    r".+\.(?:\w*sh|fish|pyw?|pyz|[mc]?[jt]s|[jt]sx|rb|p[lm]|php|lua|[rR]|jl|[jw]ar|go|ps1|awk|sed|mk|tcl|applescript)",
    re.DOTALL,
)
SHELL_SCRIPT = re.compile(r".+\.(?:\w*sh|fish)", re.DOTALL)
ENTERS = frozenset(
    {"cd", "pushd", "-C", "--directory", "--prefix", "--cwd", "--dir", "--chdir", "--project", "--root", "--work-tree"}
)
"""What a folder follows, there or not, that the rest may count from."""
RECIPES = (
    *("package.json", "Makefile", "makefile", "GNUmakefile", "justfile", "Taskfile.yml"),
    *("deno.json", "composer.json"),
)
"""What programs run that are sent into a folder by name."""
# What an interpreter adds to a name.
ENDS = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".py", ".sh", ".rb", ".pm")
OF_A_MODULE = (".py", "/__main__.py", "/__init__.py")
OF_A_FOLDER = ("/__main__.py", "/index.js", "/index.ts", "/package.json")
AT_THE_START = ("sitecustomize.py", "usercustomize.py")
"""What Python runs of a folder on its path, whatever it was started for."""

_ANSI = r"\$'(?:\\.|[^'\\])*'|"
_BEFORE = r"""(?P<end>\n|\$\(|[;&|()`])|(?P<blank>[^\S\n]+|<)|(?P<comment>\#[^\n]*)|(?P<out>\d*>>?&?)"""
_WORD = r"""\\.|'[^']*'|"(?:\\.|[^"\\])*"|\$(?!\()|[^\s;&|()<>`\\'"$]"""
_TOKEN = re.compile(rf"{_BEFORE}|(?P<word>(?:{_WORD})+|.)", re.DOTALL)
_TOKEN_ANSI = re.compile(rf"{_BEFORE}|(?P<word>(?:{_ANSI}{_WORD})+|.)", re.DOTALL)
"""As a shell reads a line that knows $'…', in which \\' is no end. Others end there."""
_QUOTED = re.compile(r"""\\(.)|\$'((?:\\.|[^'\\])*)'|'([^']*)'|\$?"((?:\\.|[^"\\])*)\"""", re.DOTALL)
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|([0-7]{1,3})|c(.)|(.))", re.DOTALL
)
_ESCAPED = {"a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_IS_A_LINE = re.compile(r"[\s;&|()<>`]")
_VARIABLE = r"\$\{[^{}]*\}|\$\w+|\$[@*#?!$-]"
_DEFAULT = re.compile(r"\$\{\w+:?[-=]([^{}]*)\}")
_HOME = re.compile(r"(?:~|\$HOME|\$\{HOME\})(?=/|$)")
_FIRST = re.compile(rf"(?:{_VARIABLE}|~[\w-]*)/+")
_OPEN = re.compile(rf"{_VARIABLE}|\*+|\?|\[[^\[\]]*\]|\{{[^{{}}]*\}}")
_ASSIGNED = re.compile(r"[A-Za-z_]\w*\+?=")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
ANYWHERE = "$_"
"""Stands before what follows a command's output, and counts from any folder: $(pwd)/x.sh."""


class TooMuch(Exception):
    """There is more (files, settings, words of command lines) than can be looked through: what runs is not known."""


class Work:
    """What may still be looked at for one question."""

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self._left = steps

    def spend(self, steps: int = 1) -> None:
        """Raises TooMuch."""
        self._left -= steps
        if self._left < 0:
            raise TooMuch

    def folder(self, path: str) -> bool:
        """Whether it is a folder."""
        self.spend()
        return os.path.isdir(path)

    def file(self, path: str) -> bool:
        """Whether it is there and no folder."""
        self.spend()
        return os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path))

    def entries(self, path: str) -> list[str]:
        """What is in a folder."""
        found: list[str] = []
        try:
            with os.scandir(path) as listed:
                for entry in listed:
                    self.spend()
                    found.append(entry.name)
        except OSError:
            return []
        return found


def files_run_by(
    line: str | Sequence[str], folder: Path, *, in_doubt: bool = True, work: Work | None = None
) -> frozenset[Path]:
    """The files that a command line, run in `folder`, may run: those there, and those not there yet that it would run if they were.

    `line` is a shell's line, or a program and its arguments. Without `in_doubt` only those count that stand where a program or a script
    stands: `sh x.sh`, `./x`, not `wc -l src/*.py`. Each file is named as the line leads to it, and with its links resolved; a link on the
    way counts, too. They may lie anywhere; none of them is a folder. Looks at the disk, for no longer than `work` lasts, which may be for
    other lines, too. Raises TooMuch.
    """
    work = work or Work()
    top = os.path.realpath(folder)
    work.spend(20 + top.count("/"))
    commands = list(_commands(line, work))
    folders, recipes = _folders(commands, top, work)
    found = {*(recipes if in_doubt else ()), *_candidates(commands, folders, work, in_doubt=in_doubt)}
    ways = _ways(found, top, work)
    return frozenset(Path(path) for path in ways if os.path.islink(path) or not os.path.isdir(path))


def is_script(path: Path) -> bool:
    """Whether such a file is rather run than read: by its ending, by having none, or because it may be run."""
    return bool(SCRIPT.fullmatch(path.name)) or "." not in path.name[1:] or os.access(path, os.X_OK)


def _commands(line: str | Sequence[str], work: Work, depth: int = 0) -> Iterator[list[str]]:
    """The simple commands of a line, and of the lines that are words of it. Words are without their quotes."""
    for words in _readings(line, work) if isinstance(line, str) else [line]:
        if words:
            yield list(words)
        for word in words:
            work.spend(1 + len(word) // 32)
            if depth < DEEPEST and _IS_A_LINE.search(word):
                yield from _commands(word, work, depth + 1)
                if word[:1] == "-":  # -O"sh x.sh", --exec="sh x.sh"
                    yield from _commands(word.partition("=")[2] if word[:2] == "--" else word[2:], work, depth + 1)


def _readings(line: str, work: Work) -> Iterator[list[str]]:
    """Both, where shells differ in what ends a quote."""
    yield from _split(line, work, _TOKEN)
    if "$'" in line:
        yield from _split(line, work, _TOKEN_ANSI)


def _split(line: str, work: Work, tokens: re.Pattern[str]) -> Iterator[list[str]]:
    work.spend(len(line) // 2)
    words: list[str] = []
    thrown = after = False
    for token in tokens.finditer(line):
        kind, text = token.lastgroup, token[0]
        if kind == "end":
            yield words
            words, thrown = [], False
        elif kind == "out":
            thrown = True  # what a command writes is not what it runs
        elif kind == "word":
            if not thrown:
                words.append((ANYWHERE if after and text.lstrip("\"'").startswith("/") else "") + _plain(text))
            thrown = False
        after = kind == "end" and text in ")`"
    yield words


def _plain(word: str) -> str:
    def bare(found: re.Match[str]) -> str:
        escaped, ansi, single, double = (text or "" for text in found.groups())
        return escaped.strip("\n") + _ESCAPE.sub(_meant, ansi) + single + _unescaped(double)

    return _QUOTED.sub(bare, word)


def _meant(escape: re.Match[str]) -> str:
    """The character that an escape in $'…' stands for."""
    hexadecimal, octal, control, other = escape[1] or escape[2] or escape[3], escape[4], escape[5], escape[6]
    if other is not None:
        return _ESCAPED.get(other, other)
    number = int(hexadecimal, 16) if hexadecimal else int(octal, 8) % 256 if octal else ord(control) & 31
    return chr(number) if number <= 0x10FFFF else ""


def _unescaped(text: str) -> str:
    return re.sub(r'\\([\\"$`\n])', lambda found: found[1].strip("\n"), text)


def _folders(commands: Iterable[list[str]], top: str, work: Work) -> tuple[list[str], set[str]]:
    """The folders that words of a line may count from, each in those before it; and the recipes in those that the line goes into."""
    # The repository around it, too: $(git rev-parse --show-toplevel)/x.sh.
    found = list(dict.fromkeys((top, str(project_root(Path(top)) or top))))
    recipes: set[str] = set()
    for words in commands:
        goes = False
        for word in words:
            work.spend()
            if word in ENTERS:
                goes = True
                continue
            option = word.partition("=")[0]
            into = (goes and word[:1] != "-") or option in ENTERS or word.startswith("-C")
            goes = goes and not into
            for name in map(_relative, _pieces(word)):
                work.spend(1 + len(name) // 32)
                named = (into or option.endswith("PATH")) and not re.search(r"[=:,*$]", name)
                for base in list(found):
                    place = _joined(base, name)
                    work.spend(1)
                    if named or work.folder(place):
                        if into and place != top:
                            recipes.update(os.path.join(place, recipe) for recipe in RECIPES)
                        if place not in found and len(found) < MOST_FOLDERS:
                            found.append(place)
    return found, recipes


def _candidates(commands: Iterable[list[str]], folders: Sequence[str], work: Work, *, in_doubt: bool) -> Iterator[str]:
    seen: set[_Named] = set()
    on_path = any(word.startswith("PATH=") for words in commands for word in words)
    for words in commands:
        first, runs, module, begins = not on_path, False, False, False
        for word in words:
            assigns, name = _ASSIGNED.match(word) is not None, word.rpartition("/")[2]
            interprets = INTERPRETER.fullmatch(name) or (first and word == ".")
            known = interprets or STARTER.fullmatch(name)
            # What has no slash and stands first is looked up on PATH, and so is what is known to be a program.
            if "/" in word or assigns or not (first or known):
                if word.startswith("PYTHONPATH="):
                    yield from (_joined(base, each) for base in folders for each in AT_THE_START)
                for piece in _pieces(word):
                    operand = module or begins or (runs and SCRIPT.fullmatch(piece))
                    if not (in_doubt or operand or (first and not assigns) or _is_program(piece, folders, work)):
                        continue
                    if not in_doubt and _OPEN.search(_relative(piece)):
                        continue
                    work.spend(1 + len(piece) // 32)
                    named = _named(piece, runs=runs, module=module, whole=begins)
                    if named not in seen:
                        seen.add(named)
                        for base in folders:
                            yield from _there(base, named, work)
            module = word in ("import", "from") or (runs and word == "-m") or (module and word.endswith(","))
            runs = runs or bool(interprets)
            begins = bool(interprets and (in_doubt or READS.fullmatch(name))) or (begins and word[:1] == "-")
            first = first and (assigns or STARTER.fullmatch(name) is not None)


def _is_program(piece: str, folders: Sequence[str], work: Work) -> bool:
    """Whether a name with a slash is rather run than read, wherever it stands in a line."""
    name = _relative(piece)
    if "/" not in piece:
        return False
    places = (_joined(base, name) for base in folders)
    return bool(SHELL_SCRIPT.fullmatch(name)) or any(work.file(place) and os.access(place, os.X_OK) for place in places)


class _Named(NamedTuple):
    """What a word may stand for. `run`: there or not; `groups`: a group as soon as one of it is there; `inside`: what a folder runs."""

    name: str
    run: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    inside: tuple[str, ...] = ()


def _named(piece: str, *, runs: bool, module: bool, whole: bool) -> _Named:
    """`runs`: an interpreter stands before it; `whole`: it may be the folder that is run whole."""
    name = _relative(piece)
    joined = module or (len(piece) > 2 and piece.startswith("-m"))
    as_module = tuple(name.removeprefix("-m").replace(".", "/") + end for end in OF_A_MODULE)
    if joined:
        return _Named(name, (name, *as_module))
    groups = [as_module] if _MODULE.fullmatch(name) else []
    operand = runs or "/" in piece
    if operand:
        groups += [(name.replace("::", "/") + end,) for end in ENDS]
    if operand or SCRIPT.fullmatch(name):
        return _Named(name, (name,), tuple(groups), tuple(name + end for end in OF_A_FOLDER) if whole else ())
    return _Named(name, (), ((name,), *groups))


def _there(base: str, named: _Named, work: Work) -> Iterator[str]:
    work.spend(2 + len(named.run) + len(named.groups) + len(named.name) // 32)
    if _OPEN.search(named.name):
        yield from _matching(base, named.name, work)
        if not work.file(_joined(base, named.name)):
            return
    yield from (_joined(base, name) for name in named.run)
    for group in named.groups:
        places = [_joined(base, name) for name in group]
        if any(map(work.file, places)):
            yield from places
    if named.inside and work.folder(_joined(base, named.name)):
        yield from (_joined(base, name) for name in named.inside)


def _pieces(word: str) -> Iterator[str]:
    """A word, and what may be a name in it: the value of an option or a variable, parts of a list."""
    if "\0" in word:
        return
    values = [word] if word[:1] != "-" or (word.startswith("-m") and len(word) > 2) else []
    if "${" in word:
        values.append(_DEFAULT.sub(r"\1", word))
    if "=" in word:
        values.append(word.partition("=")[2])
    elif word[:1] == "-" and word[:2] != "--":
        values.append(word[2:])
    values += [value[2:] for value in values if value[:1] == "-"]  # RUBYOPT=-r./x
    yield from dict.fromkeys(
        piece for value in values for piece in (value, *re.split("[:,=]", value)) if 0 < len(piece) < LONGEST
    )


def _relative(piece: str) -> str:
    """A name without the variable that it begins with: then it counts from each folder."""
    if home := _HOME.match(piece):
        return os.path.expanduser("~") + piece[home.end() :]
    while found := _FIRST.match(piece):
        piece = piece[found.end() :]
    return piece


def _joined(base: str, name: str) -> str:
    # A .. behind a link leads out of where the link leads, which only the disk knows.
    path = os.path.join(base, name)
    return path if ".." in name.split("/") else os.path.normpath(path)


def _matching(base: str, pattern: str, work: Work) -> Iterator[str]:
    """The scripts and programs, now there, that a name with something open in it may stand for."""
    parts = [_OPEN.sub("*", part) for part in pattern.split("/") if part not in ("", ".")]
    if not parts or not "".join(parts).strip("*"):
        return
    places = ["/" if pattern.startswith("/") else base]
    for part in parts:
        inner: list[str] = []
        work.spend(20 * part.count("*"))
        for place in places:
            work.spend()
            names = work.entries(place) if "*" in part else [part]
            inner += [os.path.join(place, name) for name in names if fnmatchcase(name, part)]
        places = inner
    yield from (
        place for place in places if work.file(place) and (SCRIPT.fullmatch(place) or os.access(place, os.X_OK))
    )


def _ways(paths: Iterable[str], top: str, work: Work) -> Iterator[str]:
    """The files, where their links lead, and the links on the way that lie in the folder."""
    folders: dict[str, str] = {}
    for path in paths:
        work.spend(2)
        lexical = os.path.normpath(path)
        folder, name = os.path.split(path)
        if folder not in folders:
            work.spend(4 + 2 * folder.count("/"))
            folders[folder] = os.path.realpath(folder)
        real = os.path.join(folders[folder], name)
        if name in ("", ".", "..") or os.path.islink(path):
            work.spend(4 + path.count("/"))
            real = os.path.realpath(path)
        yield lexical
        yield real
        if ".." in path.split("/"):  # by way of a folder that may become a link
            yield path
        if real != lexical:
            while lexical.startswith(f"{top}/"):
                work.spend(2)
                if os.path.islink(lexical):
                    yield lexical
                lexical = lexical.rpartition("/")[0]
