"""Searching files for a regular expression, in a process that can be ended."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from agent.process.process import Child
from agent.tools.base import ToolContext, ToolError
from agent.tools.lib.listing import CLUTTER, at_a_pipe, in_git, list_files, walked

MAX_RESULTS = 200
MAX_COUNTED = 5_000
MAX_LINE = 300
MAX_BYTES = 40_000
SEARCH_S = 20.0
"""Seconds for a whole search. It runs in a process of its own, which can be ended inside a regular expression without end."""


async def search(context: ToolContext, target: Path, pattern: str, ripgrep: str) -> str:
    """The matching lines of a file, or of all files below a folder, as text for the model.

    `ripgrep` is that program's path, or empty for Python's `re`. Raises ToolError for an expression that is none.
    """
    folder = target if target.is_dir() else target.parent
    found = _Found(context, folder)
    deadline = time.monotonic() + SEARCH_S
    names = [target.name]
    if ripgrep and target.is_dir() and await _walk(context, folder, pattern, ripgrep, found, deadline):
        return found.render(pattern)
    if target.is_dir():
        listing = await list_files(context, folder)
        private = context.deny_paths.fence.why_private
        names = [name for name in listing.files if not private(folder / name)]
        found.private, found.complete = len(listing.files) - len(names), listing.complete
    if ripgrep:
        for batch in _batches(names):
            if found.full or time.monotonic() > deadline:
                break
            if existing := await asyncio.to_thread(_regular, folder, batch):
                await _search([ripgrep, *RIPGREP, "--", pattern, *existing], folder, b"", found, deadline)
    else:
        child = str(Path(__file__).with_name("search_child.py"))
        argv = [sys.executable, "-I", "-S", child, pattern, str(MAX_LINE)]
        await _search(argv, folder, b"\0".join(os.fsencode(name) for name in names), found, deadline)
    found.timed_out = found.timed_out or time.monotonic() > deadline
    return found.render(pattern)


async def _walk(context: ToolContext, folder: Path, pattern: str, ripgrep: str, found: _Found, deadline: float) -> bool:
    """Let ripgrep walk by itself, on all processors, while git is asked which files count: what it finds in others is dropped.

    False, and nothing in `found`, where that can't be done so: git does not say, or there is more than anybody counts, of which then the
    first are wanted, in order.
    """
    ask_git = await in_git(folder)
    asked = asyncio.create_task(walked(context, folder, ask_git=ask_git))
    rows = _Rows()
    searched: asyncio.Task[None] | None = None
    try:
        skipped = ("--glob=!.git",) if ask_git else ("--no-ignore", *(f"--glob=!{name}" for name in sorted(CLUTTER)))
        argv = [ripgrep, *COMMON, *WALK, *skipped, "--", pattern, "."]
        searched = asyncio.create_task(_search(argv, folder, b"", rows, deadline))
        await asyncio.wait((searched, asked), return_when=asyncio.FIRST_COMPLETED)
        if asked.done() and asked.result() is None:  # nothing to hold it against: a pipe for a .gitignore, perhaps
            return False
        files = await asked
        if await at_a_pipe(searched, folder):
            return False
        await searched
        if files is None or rows.full or await asyncio.to_thread(_leaves_out, folder, files.listing.files):
            return False
        if more := [name for name in files.ignored if not name.startswith("-")]:
            for batch in _batches(more):
                if existing := await asyncio.to_thread(_regular, folder, batch):
                    await _search(
                        [ripgrep, *COMMON, "--no-ignore", "--", pattern, *existing], folder, b"", rows, deadline
                    )
    finally:
        tasks = [task for task in (asked, searched) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    fence = context.deny_paths.fence
    counted = set(files.listing.files)
    denied = context.deny_paths.match_name
    private = {
        name
        for name in await asyncio.to_thread(fence.private_among, folder, files.listing.files)
        if not denied(folder / name)
    }
    for name, row in sorted(rows.found.items()):
        if name in counted and name not in private:
            found.feed(b"".join(row))
    found.private, found.complete = len(private), files.listing.complete
    found.timed_out = rows.timed_out or time.monotonic() > deadline
    return True


@dataclass(slots=True)
class _Rows:
    """What ripgrep says, by file, in whatever order it comes to them."""

    found: dict[str, list[bytes]] = field(default_factory=dict)
    count: int = 0
    timed_out: bool = False
    waiting: bytes = b""

    @property
    def full(self) -> bool:
        return self.count >= MOST_ROWS

    def feed(self, data: bytes) -> None:
        """Output of ripgrep: NAME NUL NUMBER:TEXT, a line each; those of one file stand together."""
        *lines, self.waiting = (self.waiting + data).split(b"\n")
        for line in lines:
            name, nul, _rest = line.partition(b"\0")
            if nul:
                self.count += 1
                self.found.setdefault(os.fsdecode(name.removeprefix(b"./")), []).append(line + b"\n")


# No settings of the user's, no colours; the files are named one by one, so that one rule about which are searched holds for both programs.
COMMON = (
    "--no-config --color=never --no-heading --with-filename --line-number --null --no-messages "
    f"--max-columns={MAX_LINE} --max-columns-preview --max-count={MAX_COUNTED}"
).split()
RIPGREP = [*COMMON, "--sort=path", "--no-ignore"]
# Of the files that say what to leave out only .gitignore counts, as it does for git; what git knows beyond that is dropped afterwards.
WALK = ["--hidden", "--no-ignore-global", "--no-ignore-exclude", "--no-ignore-dot"]
MOST_ROWS = 50_000
"""Lines that a walk may find; of more than that only the first are wanted, and they are found sooner in order."""
BATCH_BYTES = 96_000
"""Bytes of file names on one command line, well below every system's limit."""


def _leaves_out(folder: Path, names: list[str]) -> bool:
    """Whether there is a .rgignore, which some versions of ripgrep go by whatever they are told: it would hide files."""
    inner = {name.rpartition("/")[0] for name in names}
    inner |= {str(parent) for name in inner for parent in PurePath(name).parents} | {""}
    places = [*(folder / name for name in inner), *folder.parents]
    return any((place / ".rgignore").exists() for place in places)


def _batches(names: list[str]) -> list[list[str]]:
    batches: list[list[str]] = [[]]
    room = BATCH_BYTES
    for name in names:
        room -= len(os.fsencode(name)) + 3
        if room < 0:
            batches.append([])
            room = BATCH_BYTES
        batches[-1].append(name)
    return batches


def _regular(folder: Path, names: list[str]) -> list[str]:
    """Without links, FIFOs and what is gone; `./` in front, so that no name is taken for an option."""
    paths = ((name, folder / name) for name in names)
    return [f"./{name}" for name, path in paths if path.is_file() and not path.is_symlink()]


@dataclass(slots=True)
class _Found:
    """The matches so far."""

    context: ToolContext
    folder: Path
    lines: list[str] = field(default_factory=list)
    count: int = 0
    size: int = 0
    complete: bool = True
    private: int = 0
    timed_out: bool = False
    waiting: bytes = b""

    @property
    def full(self) -> bool:
        return self.count >= MAX_COUNTED

    def feed(self, data: bytes) -> None:
        """Output of the searching program: NAME NUL NUMBER:TEXT, a line each."""
        if self.full:
            return
        *lines, self.waiting = (self.waiting + data).split(b"\n")
        for line in lines:
            name, nul, rest = line.partition(b"\0")
            path = self.folder / os.fsdecode(name.removeprefix(b"./"))
            if not nul or self.context.deny_paths.match_name(path):
                continue
            self.count += 1
            if len(self.lines) < MAX_RESULTS and self.size < MAX_BYTES:
                text = rest.decode("utf-8", "replace").rstrip("\r")
                self.lines.append(f"{self.context.show(path)}:{text}")
                self.size += len(text)

    def render(self, pattern: str) -> str:
        """For the model."""
        done = list(self.lines)
        if left := self.count - len(done):
            done.append(
                f"… and {'at least ' if self.full or self.timed_out else ''}{left:,} more lines; narrow it down"
            )
        if self.timed_out:
            done.append(
                f"(stopped after {SEARCH_S:g} s, not everything was searched: use a simpler pattern or a narrower path)"
            )
        elif not self.complete:
            done.append("(there are too many files to search all of them; give a folder further down as path)")
        text = "\n".join(done) or f"no line matches {pattern}"
        return f"{text}\n({self.private} files that may hold keys were left out)" if self.private else text


async def _search(argv: list[str], folder: Path, names: bytes, found: _Found | _Rows, deadline: float) -> None:
    """Run one searching program to its end, to the deadline, or until there is more than anybody counts. Raises ToolError."""
    first = bytearray()
    enough = asyncio.Event()

    def feed(data: bytes) -> None:
        if len(first) < 2_000:
            first.extend(data[:2_000])
        found.feed(data)
        if found.full:
            enough.set()

    with tempfile.TemporaryFile() as stdin:
        stdin.write(names)
        stdin.seek(0)
        try:
            child = await Child.start(argv, cwd=folder, feed=feed, stdin=stdin)
        except OSError as error:
            raise ToolError(f"the search can't be started: {error.strerror or error}") from error
    finished = asyncio.create_task(child.wait(max(0.1, deadline - time.monotonic())))
    stopped = asyncio.create_task(enough.wait())
    try:
        await asyncio.wait((finished, stopped), return_when=asyncio.FIRST_COMPLETED)
        code = finished.result() if finished.done() else 0
        if code is not None and not stopped.done():
            await child.settle(1.0)
    finally:
        for task in (finished, stopped):
            task.cancel()
        await asyncio.gather(finished, stopped, return_exceptions=True)
        await child.end()
    if code is None:
        found.timed_out = True
    elif not found.count and (message := first.decode("utf-8", "replace").strip().removeprefix("rg: ")[:1_000]):
        # Both programs end with 2 for a pattern that is none; ripgrep also where it could not read a file, and then says nothing.
        if code == 2:
            raise ToolError(f"the pattern is not a regular expression: {message}")
        if code not in (0, 1) or message.startswith("Traceback"):
            raise ToolError(f"the search failed: {message.splitlines()[-1]}")
