"""`deny_paths`: files that no tool reads, writes, lists or sends."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from agent.errors import UsageError
from agent.files.fence import DEEPEST, Fence
from agent.files.globs import Glob

Parts = tuple[str, ...]


BUILT_IN = "built in: "
"""What `match` gives begins with this where no setting of the user's denies a path but the program itself (`agent.files.fence`)."""


def denial(shown: str, found: str) -> str:
    """That a path is denied, and by what: for a model and for people."""
    if found.startswith(BUILT_IN):
        kind = found.removeprefix(BUILT_IN)
        return f"{shown} is never read by tools ({kind}); where it is needed, the user can show it with !cat"
    return f"{shown} is denied by the user's settings (deny_paths: {found})"


def composed(name: str) -> str:
    """A name in the one Unicode form that is compared, without what can't be seen in it."""
    if name.isascii():
        return name
    return unicodedata.normalize("NFC", "".join(char for char in name if unicodedata.category(char) != "Cf"))


class DenyPaths:
    """The user's `deny_paths`, ready to match, and what is denied without them (`fence`; by default the lists for `root`).

    Upper and lower case are the same, since on some file systems they are, and so are other Unicode forms of a name.

    How a pattern is read (the folder itself and all below it are meant, too):

    - without a slash (`.env`, `*.pem`): that name at any depth, inside the project and outside;
    - with `**/` in front (`**/secrets/**`): likewise at any depth;
    - with a slash elsewhere (`config/keys.toml`): from `root`;
    - with `/` or `~` in front: an absolute path.

    A path matches by the name it was asked for and by the file that it leads to, so that neither a link called `.env` nor a link to
    `.env` gets round it. A hard link can't be seen. Raises UsageError for a pattern that is not a pattern.
    """

    def __init__(
        self,
        patterns: Iterable[str],
        root: Path,
        *,
        file: str = "config.toml",
        key: str = "approve.deny_paths",
        fence: Fence | None = None,
    ) -> None:
        self.fence = fence or Fence(root)
        self.patterns = tuple(patterns)
        self.root = root.resolve()
        lexical = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would follow links
        self._roots = {tuple(map(composed, form.parts)) for form in (self.root, lexical)}
        self._floating: list[tuple[str, Glob]] = []
        self._anchored: list[tuple[str, Glob]] = []
        self._absolute: list[tuple[str, Glob]] = []
        self._folders: dict[tuple[Parts, bool], str | None] = {}
        for index, pattern in enumerate(self.patterns, 1):
            where = f"{file}: {key}[{index}]"
            if not isinstance(pattern, str) or not pattern.strip("/ "):
                raise UsageError(f"{where} is {pattern!r}, which is not a path pattern", remedy='for example ".env"')
            try:
                self._add(pattern)
            except (ValueError, RuntimeError, re.error) as error:
                raise UsageError(f"{where}: {pattern!r}: {error}", remedy="fix or remove the pattern") from error

    def _add(self, pattern: str) -> None:
        pattern, asked = composed(pattern), pattern
        if pattern.startswith("~"):
            expanded = os.path.expanduser(pattern)  # noqa: PTH111 - a pattern, not a path
            self._absolute.append((asked, Glob(expanded, ignore_case=True)))
        elif pattern.startswith("/"):
            self._absolute.append((asked, Glob(pattern, ignore_case=True)))
        elif pattern.startswith("**/") or "/" not in pattern.rstrip("/"):
            self._floating.append((asked, Glob(pattern, ignore_case=True)))
        else:
            self._anchored.append((asked, Glob(pattern, ignore_case=True)))

    def match(self, path: Path) -> str | None:
        """The pattern that denies a path (relative ones count from the root), or None."""
        lexical = Path(os.path.abspath(self.root / path))  # noqa: PTH100 - the name that was asked for, links not followed
        if pattern := self.match_name(lexical):
            return pattern
        try:
            real = lexical.resolve()
        except (OSError, RuntimeError):
            return None
        return self.match_name(real) if real != lexical else None

    def match_name(self, path: Path) -> str | None:
        """Like `match`, for an absolute path that has no links in it or whose links the caller does not follow. Touches no disk."""
        parts = path.parts[1:]
        if self.patterns and len(parts) <= DEEPEST and (found := self._of(tuple(map(composed, parts)))):
            return found
        return f"{BUILT_IN}{why}" if (why := self.fence.why_never(parts)) else None

    def _of(self, parts: Parts) -> str | None:
        for pattern, glob in self._absolute:
            if any(glob.match(parts[:depth]) for depth in range(1, len(parts) + 1)):
                return pattern
        inside = [parts[len(root) - 1 :] for root in self._roots if parts[: len(root) - 1] == root[1:]]
        if not inside:
            return self._below(parts, outside=True)
        # Within the project only the part below its root counts: a project that lives in ~/secrets is no secret to itself.
        return next((found for form in inside if (found := self._below(form, outside=False))), None)

    def _below(self, parts: Parts, *, outside: bool) -> str | None:
        if not parts:
            return None
        key = (parts[:-1], outside)
        if key not in self._folders:
            # What holds for a folder holds for all below it; remembered, because a search asks for thousands of files.
            self._folders[key] = self._below(parts[:-1], outside=outside)
        globs = self._floating if outside else self._floating + self._anchored
        return self._folders[key] or next((pattern for pattern, glob in globs if glob.match(parts)), None)

    def match_command(self, command: str, cwd: Path, *, built_in: bool = False) -> tuple[str, str] | None:
        """The first word of a shell command that names a denied file, and the pattern; None where no word does.

        Only what the user's settings deny, or, with `built_in`, only what is denied without them.

        This catches what is written out (`cat .env`, `git show HEAD:.env`, `.e"n"v`). It can't hold a shell to paths: a variable, a
        wildcard or a script reaches any file that the user can read. Only a sandbox prevents that.
        """
        if not (self.patterns or built_in):
            return None
        home = os.path.expanduser("~")  # noqa: PTH111 - a text
        command = re.sub(r"\$(?:HOME\b|\{HOME\})", lambda _found: home, command)
        unquoted = re.sub(r"[\"'\\]", "", command)
        words = dict.fromkeys(
            word for text in (command, unquoted) for word in re.split(r"[\s;&|<>()`\"'$={},:@]+", text) if word
        )
        for count, word in enumerate(words):
            path = cwd / (os.path.expanduser(word) if word.startswith("~") else word)  # noqa: PTH111 - may be no path at all
            try:
                # Looking up links costs a system call a word; a long here-document is matched by name alone.
                found = self.match(path) if count < 500 else self.match_name(Path(os.path.abspath(path)))  # noqa: PTH100
            except ValueError:
                continue
            if built_in and not found and word.startswith("."):
                found = self.match_name(Path(os.path.abspath(f"{home}/{word}")))  # noqa: PTH100 - after a cd, for all we know
            if found and found.startswith(BUILT_IN) is built_in:
                return word, found
        return None
