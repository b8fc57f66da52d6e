"""What changed, as a panel reads it: by file, each line with its number in the new version, so that a finding can name one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agent.errors import UsageError
from agent.llm.tokens import estimate_tokens
from agent.process import children, git

GIT_S = 30.0
MOST_TOKENS = 60_000
"""Of a change, so that it fits into the window of nearly every member beside its answer."""
MOST_BYTES = 1_000_000
"""Of a file that is new, or that findings are looked up in."""
MOST_FILES = 500
CONTEXT = 8
"""Lines around a change."""
STAGED = ("staged", "--staged", "--cached")
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)")


class Change(NamedTuple):
    """One file. `text` is the change with numbered lines, `lines` the new version (None: deleted, or no text), `touched` the numbers of
    the lines that are in the change or beside it."""

    path: str
    text: str
    lines: tuple[str, ...] | None
    touched: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Changes:
    """Everything that is to be reviewed. `title` says what it is, `left_out` which files are not in it, each with why."""

    root: Path
    title: str
    files: tuple[Change, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    def find(self, path: str) -> Change | None:
        """The file that a finding names, also where it names only the end of its path, and only one file has that end."""
        bare = path.removeprefix("./")
        for name in (bare, re.sub(r"^[ab]/", "", bare)):  # as in the heads of a patch
            if exact := next((change for change in self.files if change.path == name), None):
                return exact
        ends = [change for change in self.files if change.path.endswith(f"/{bare}")]
        return ends[0] if len(ends) == 1 else None


def read(words: str, cwd: Path, *, denied: Callable[[Path], str | None] = lambda _path: None) -> Changes:
    """What `/review WORDS` is about. Blocking. Raises UsageError.

    Nothing: the working tree against the last commit, new files included. `staged`: the index. A revision: from there to the working
    tree; `A..B` and `A...B`: between two. Paths narrow it down.
    """
    root = git.root_of(cwd.resolve())
    if root is None:
        raise UsageError(f"{cwd} is in no git repository", remedy="/review reads what git says has changed")
    try:
        with git.borrowed(root, history=True) as borrowed:
            return _Reader(root, cwd, borrowed, denied).read(words.split())
    except OSError as error:
        raise UsageError(
            f"the repository can't be read: {error.strerror or error}", remedy="see `git status`"
        ) from None


def reread(material: str) -> Changes:
    """The change out of what the panel read: what of its files stood there, to look findings up in once more."""
    files = []
    for part in re.split(r"^(?==== )", material, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        numbered = re.findall(r"^ *(\d+) [+ ](.*)$", body, flags=re.MULTILINE)
        known = {int(number): line for number, line in numbered}
        lines = tuple(known.get(number, "") for number in range(1, max(known, default=0) + 1))
        files.append(Change(head[4:].removesuffix(" (new)"), part, lines, frozenset(known)))
    return Changes(Path(), "", tuple(files))


class _Wanted(NamedTuple):
    title: str
    arguments: tuple[str, ...]
    """For `git diff`."""
    new: str | None
    """Where the new version is: None in the working tree, else the beginning of git's name for a file (`:` in the index)."""


class _Reader:
    def __init__(self, root: Path, cwd: Path, borrowed: git.Borrowed, denied: Callable[[Path], str | None]) -> None:
        self._root, self._cwd, self._borrowed, self._denied = root, cwd, borrowed, denied

    def read(self, words: Sequence[str]) -> Changes:
        wanted, paths = self._wanted(words)
        left_out: dict[str, str] = {}
        names = [name for name in self._names(wanted, paths) if self._may(name, left_out)]
        # What has changed has the room first: new files may be data that nobody has told git to ignore.
        files = sorted(self._changed(wanted, names), key=lambda change: change.path)
        if wanted.new is None:
            files += self._new(paths, left_out)
        kept: list[Change] = []
        room = MOST_TOKENS
        for change in files:
            room -= estimate_tokens(change.text)
            if room < 0 and kept:
                left_out[change.path] = f"the change is larger than {MOST_TOKENS:,} tokens; review it by itself"
            else:
                kept.append(change)
        kept.sort(key=lambda change: change.path)
        return Changes(self._root, wanted.title, tuple(kept), tuple(left_out.items()))

    # What is wanted

    def _wanted(self, words: Sequence[str]) -> tuple[_Wanted, list[str]]:
        last = self._last()
        base = last or _EMPTY_TREE
        wanted = _Wanted("the working tree against the last commit", (base,), None)
        paths: list[str] = []
        for word in words:
            if word in STAGED:
                wanted = _Wanted("what is staged", ("--cached", base), ":")
            elif word == "--":
                continue
            elif found := self._revisions(word):
                wanted = found
            elif os.path.lexists(self._cwd / word):
                inside = os.path.relpath((self._cwd / word).absolute(), self._root)
                if inside.startswith(".."):
                    raise UsageError(f"{word} is outside of the repository {self._root}")
                paths.append(inside)
            else:
                raise UsageError(
                    f"{word!r} is neither a revision of this repository nor a file in it",
                    remedy="/review [staged | REVISION | A..B] [PATH…]; without anything: the working tree",
                )
        if paths:
            wanted = wanted._replace(title=f"{wanted.title}, in {', '.join(paths)}")
        return wanted, paths

    def _revisions(self, word: str) -> _Wanted | None:
        old, dots, new = word.partition("..." if "..." in word else "..")
        if not dots:
            commit = self._commit(word)
            return _Wanted(f"the working tree against {word}", (commit,), None) if commit else None
        first, second = self._commit(old or "HEAD"), self._commit(new or "HEAD")
        if first is None or second is None:
            return None
        if dots == "...":
            found = self._git("merge-base", first, second)
            if found is None:
                raise UsageError(f"{word}: the two have no commit in common")
            first = found.decode().strip()
        return _Wanted(word, (first, second), f"{second}:")

    def _commit(self, name: str) -> str | None:
        if name.startswith("-"):
            return None
        found = self._git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        return found.decode().strip() or None if found else None

    def _last(self) -> str:
        return self._commit("HEAD") or ""

    # What git says

    def _git(self, *arguments: str, **more: str) -> bytes | None:
        env: Mapping[str, str] = self._borrowed.env | {"GIT_LITERAL_PATHSPECS": "1"} | more
        done = children.run((*self._borrowed.argv, *arguments), env=env, cwd=self._root, timeout_s=GIT_S)
        return None if done is None or done.returncode != 0 else done.stdout

    def _must(self, *arguments: str) -> bytes:
        found = self._git(*arguments)
        if found is None:
            raise UsageError(
                f"git could not read the change (git {arguments[0]})",
                remedy="is git installed, and does `git status` work here?",
            )
        return found

    _DIFF = (
        *("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--diff-filter=ADM"),
        *("--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules=all"),
    )

    def _names(self, wanted: _Wanted, paths: Sequence[str]) -> list[str]:
        return _split(self._must(*self._DIFF, "--name-only", "-z", *wanted.arguments, "--", *paths))

    def _changed(self, wanted: _Wanted, names: Sequence[str]) -> Iterator[Change]:
        if not names:
            return
        for at in range(0, len(names), 100):  # a command line is only so long
            some = names[at : at + 100]
            listed = _split(self._must(*self._DIFF, "--name-only", "-z", *wanted.arguments, "--", *some))
            patch = self._must(*self._DIFF, f"--unified={CONTEXT}", *wanted.arguments, "--", *some)
            text = patch.decode("utf-8", "replace")
            parts = re.split(r"^(?=diff --git )", text, flags=re.MULTILINE)[1:]
            for name, part in zip(listed, parts, strict=False):
                shown, touched = _numbered(part)
                yield Change(name, f"=== {name}\n{shown}", self._lines(wanted, name), touched)

    def _lines(self, wanted: _Wanted, name: str) -> tuple[str, ...] | None:
        if wanted.new is None:
            return _lines_of(self._root / name)
        found = self._git("cat-file", "blob", f"{wanted.new}{name}")
        return None if found is None else _decoded(found)

    def _new(self, paths: Sequence[str], left_out: dict[str, str]) -> Iterator[Change]:
        """Files that git does not know yet, and would not ignore."""
        known = ("--others", "--exclude-standard", "-z", "--", *paths)
        names = _split(self._git("ls-files", *known) or b"")
        if len(names) > MOST_FILES:
            left_out[f"{len(names) - MOST_FILES} further new files"] = f"more than {MOST_FILES}; name those that matter"
        for name in names[:MOST_FILES]:
            if name.endswith("/") or not self._may(name, left_out):
                continue
            lines = _lines_of(self._root / name)
            if lines is None:
                left_out[name] = "no text, or too large"
                continue
            shown = "\n".join(f"{number:>6} +{line}" for number, line in enumerate(lines, 1))
            yield Change(name, f"=== {name} (new)\n{shown}\n", lines, frozenset(range(1, len(lines) + 1)))

    def _may(self, name: str, left_out: dict[str, str]) -> bool:
        path = self._root / name
        why = self._denied(path) or (self._denied(path.resolve()) if path.is_symlink() else None)
        if why:
            left_out[name] = "it is never sent anywhere (deny_paths, or it may hold keys)"
        return not why


def _split(data: bytes) -> list[str]:
    return [os.fsdecode(name) for name in data.split(b"\0") if name]


def _lines_of(path: Path) -> tuple[str, ...] | None:
    """A text file's lines; None for anything else. What a link leads to is not the file."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        return _decoded(path.read_bytes())
    except OSError:
        return None


def _decoded(data: bytes) -> tuple[str, ...] | None:
    if b"\0" in data[:8_000]:
        return None
    # Counted as git counts them: splitlines would end a line at a form feed.
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    return tuple(lines[:-1] if lines and not lines[-1] else lines)


def _numbered(patch: str) -> tuple[str, frozenset[int]]:
    """A patch of one file with the numbers of the new version, and the numbers that it shows."""
    shown: list[str] = []
    touched: set[int] = set()
    number = 0
    for line in patch.replace("\r\n", "\n").split("\n"):
        if hunk := _HUNK.match(line):
            number = int(hunk[1])
            shown.append(f"       @@{hunk[2]}")
        elif not number:
            if line.startswith(("new file", "deleted file", "old mode", "new mode", "Binary files")):
                shown.append(f"       {line}")
        elif line.startswith("-"):
            shown.append(f"       {line}")
        elif line.startswith(("+", " ")):
            shown.append(f"{number:>6} {line}")
            touched.add(number)
            number += 1
    return "\n".join(shown) + "\n", frozenset(touched)
