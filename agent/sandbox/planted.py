"""What a confined command could leave behind to run later, outside: found before it, kept from it, and taken away where it is new after it.

What is there before is mounted read-only (`Survey.frozen`). What is not there can't have a mount over it, so what a command has made is
renamed as soon as it is over, and while it goes on in the background: `sub/.git` becomes `sub/.git.taken-away`. Nothing is thrown away.
The lists are `agent.files.protected`'s; a file is the same one where device and inode are.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from agent.config.named_by_us import named_by_us
from agent.files import protected
from agent.files.protected import GIT, spelled
from agent.files.run_by import TooMuch
from agent.process.named_by_git import around, named_by_git

MOST_LOOKED_AT = 1_000_000
"""Entries of folders that are looked at; in larger places nothing runs confined."""
MOST_FROZEN = 2_500
"""Mounts; bubblewrap takes 9,000 words."""
MOST_PASSES = 100
MOST_LINKS = 40
"""On the way to one place, as for the system."""
AWAY = ".taken-away"

# What of a repository makes git run things or read other settings. The rest (objects, refs, index) is data, and commits need it.
RUNS = frozenset(
    {"hooks", "info", "config", "config.worktree", "commondir", "gitdir", "worktrees", "modules", "remotes", "branches"}
)
ADDED = ("hooks", "info", "worktrees", "modules")
"""Folders that git does not mind if they are empty: made where there is none, so that they can be mounted."""
MOST_OF_A_TODO = 1_000_000
TODO = ("rebase-merge/git-rebase-todo", "rebase-apply/git-rebase-todo")

PLAIN_NAMES = frozenset(
    {*(name for name in protected.ANYWHERE if name[0] != "."), *protected.PROGRAMS, *protected.VENVS}
)

Id = tuple[int, int, bool]
"""Device, inode, and whether it is a link: a link can be removed, and a file be made that gets its inode."""


class Hit(NamedTuple):
    """A file or folder that runs later. `top` is the place it was found in, `parts` its path from there."""

    top: Path
    parts: tuple[str, ...]
    id: Id
    link: bool
    replaced_only: bool = False
    """It may be made anew (a Python environment); only another one in its place is taken away."""
    passed: bool = False
    """A link on the way to something that runs later: the rest of what it leads to may be changed."""

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.top.joinpath(*self.parts)


@dataclass(slots=True)
class Named:
    """What settings name, and PATH: read before a command alone, for those that it has written itself could take any time to read."""

    in_folders: dict[Path, set[str]] = field(default_factory=dict)
    elsewhere: set[Path] = field(default_factory=set)
    """What lies in folders that may have been passed already."""

    @classmethod
    def around(cls, tops: Sequence[Path]) -> Named:
        """What is named by all that does not lie in the places themselves. Raises TooMuch."""
        named = cls(
            elsewhere={
                place for place in protected.linked_from_home() if not any(top.is_relative_to(place) for top in tops)
            }
        )
        for top in tops:
            for place in (*protected.program_folders(os.environ, top), *named_by_us(top)):
                named.in_folders.setdefault(place.parent, set()).add(place.name)
                named.elsewhere.add(place)  # behind a link, too, which no walk enters
            for root in {top: None, **dict.fromkeys(around((top,)))}:
                named.elsewhere |= named_by_git(root)
        return named


@dataclass(slots=True)
class Survey:
    """What was there. `places` are the folders that a command may write in, links resolved."""

    places: Sequence[Path]
    named: Named
    known: set[Id] = field(default_factory=set)
    frozen: list[Path] = field(default_factory=list)
    """What is to be read-only, whole."""
    pinned: list[Path] = field(default_factory=list)
    """Folders that stay writable and can't be renamed, since what is frozen lies in them."""
    links: dict[Path, str] = field(default_factory=dict)
    """Links that run later, and what they say: put back if somebody took their place."""
    leads: dict[Path, Path] = field(default_factory=dict)
    """Where those links lead in the end, over other links and to what is not there (yet)."""
    paths: set[Path] = field(default_factory=set)
    """Where all of it was, and where the links lead: another file there runs later, whatever there is in it."""
    held: dict[Path, Id] = field(default_factory=dict)
    """What is read-only, and not only a link, by where it was at first."""
    _met: set[Id] = field(default_factory=set)
    _sweeping: threading.Lock = field(default_factory=threading.Lock)

    def sweep(self) -> list[str]:
        """Take away what is new and runs later. Returns the new paths. Blocking, and one at a time."""
        with self._sweeping:
            return self._sweep()

    def _sweep(self) -> list[str]:
        # At once what is met first, for while the rest is looked for it could run; of what lies in it there is another pass.
        found = [where for hit in self._found() if self._is_new(hit) and (where := _take_away(hit))]
        for _ in range(MOST_PASSES):  # a folder that was taken away is looked into under its new name
            new = [hit for hit in {hit.path: hit for hit in self._found()}.values() if self._is_new(hit)]
            new.sort(key=lambda hit: -len(hit.parts))  # what is inside first: afterwards it has another path
            taken = [where for hit in new if (where := _take_away(hit))]
            found += taken
            if not taken:
                break
        found += self._turned()
        # What a folder took along, and no name of its own tells where: put back, it may be another one.
        self.known -= {known for path, known in self.held.items() if known not in self._met and _id_at(path) != known}
        for link, target in self.links.items():
            with contextlib.suppress(OSError):
                if not os.path.lexists(link):
                    link.symlink_to(target)
        return found

    def _found(self) -> Iterator[Hit]:
        self._met.clear()
        for hit in _hits(self.places, self.named, self.known):
            self._met.add(hit.id)
            if hit.id in self.known and hit.path not in self.paths and not hit.link:
                self._moved(hit)
            yield hit
        for path in list(self.paths):
            yield from _on_the_way(path, self.places)

    def _moved(self, hit: Hit) -> None:
        """It is read-only where it is now, too. What a repository's settings name counts from there; they are the user's, for nobody could
        write in it meanwhile."""
        try:
            if spelled(hit.path.name) in (GIT, "head"):
                self.named.elsewhere |= named_by_git(hit.path.parent)
        except (OSError, TooMuch):
            self.known.discard(hit.id)
            return
        self.paths.add(hit.path)
        (self.pinned if hit.path.name == protected.EDITOR else self.frozen).append(hit.path)

    def _is_new(self, hit: Hit) -> bool:
        if hit.id not in self.known:
            return not hit.replaced_only or hit.path in self.paths
        if hit.link:  # at its own place alone: moved, or linked to from elsewhere, it leads to something else
            with contextlib.suppress(OSError):
                return str(hit.path.readlink()) != self.links.get(hit.path)
        return False

    def _turned(self) -> Iterator[str]:
        """Take away the links that lead elsewhere now, since a link or a folder on their way is another one."""
        for link, target in list(self.leads.items()):
            with contextlib.suppress(OSError):
                if link.is_symlink() and Path(os.path.realpath(link)) != target and (hit := _hit_at(link, self.places)):
                    del self.leads[link]
                    self.links.pop(link, None)
                    if where := _take_away(hit):
                        yield where


def survey(places: Sequence[Path]) -> Survey:
    """Look at the folders that a command may write in. Blocking. Raises TooMuch."""
    tops = [
        place
        for place in dict.fromkeys(places)
        if not any(place != other and place.is_relative_to(other) for other in places)
    ]
    seen = Survey(tops, Named.around(tops))
    own = {place / GIT for place in places}  # the repositories in which work goes on: commits must be possible
    for place in places:
        _make_room(place / GIT)
    for hit in _hits(tops, seen.named):
        seen.known.add(hit.id)
        seen.paths.add(path := hit.path)
        if hit.link:
            with contextlib.suppress(OSError):
                seen.links[path] = str(path.readlink())
                if hit.passed:
                    continue
                seen.leads[path] = path = Path(os.path.realpath(path))
                if path not in tops and (top := _top_of(path, tops)):
                    seen.frozen.append(path)
                    seen.paths.add(path)
                    if there := _hit(top, path.relative_to(top).parts):
                        seen.known.add(there.id)
                        seen.held[path] = there.id
        elif path in tops or path.name == protected.EDITOR or (path in own and path.is_dir()):
            seen.pinned.append(path)
        elif spelled(path.parent.name) != GIT or path.parent in own:  # another repository is frozen whole
            seen.frozen.append(path)
            seen.held[path] = hit.id
    if len(seen.frozen) > MOST_FROZEN:
        raise TooMuch
    return seen


def _make_room(repository: Path) -> None:
    if repository.is_dir() and not repository.is_symlink():
        for name in ADDED:
            with contextlib.suppress(OSError):
                (repository / name).mkdir(exist_ok=True)


def _hits(tops: Sequence[Path], named: Named, known: Collection[Id] | None = None) -> Iterator[Hit]:
    """What runs later; into `named` goes what the repositories name that are met. Raises TooMuch.

    With `known`, which is read-only as a whole, no settings are read, there is no bound, and nothing else is passed over: what is in a
    folder that runs later itself, or the list of which is closed to us, is looked at, too.
    """
    left = MOST_LOOKED_AT
    home = Path.home().resolve()
    for top in tops:
        waiting: list[tuple[str, ...]] = [()]
        while waiting:
            parts = waiting.pop()
            folder = top.joinpath(*parts)
            entries = _entries(folder, force=known is not None)
            left -= len(entries)
            if left < 0 and known is None:
                raise TooMuch
            whole = _runs(folder, entries, in_home=folder == home, named=named.in_folders.get(folder))
            if known is None and ("HEAD" in whole or any(spelled(name) == GIT for name in whole)):
                named.elsewhere |= named_by_git(folder)
            frozen: set[str] = set()
            for name in whole:
                if hit := _hit(top, (*parts, name) if name else parts):
                    yield hit._replace(replaced_only=not name or spelled(name) in protected.VENVS)
                    if known is None or hit.id in known:
                        frozen.add(name)
            if "" in frozen and parts:
                continue
            for name, entry in entries.items():
                if name in whole and spelled(name) == GIT:
                    yield from _in_repository(top, (*parts, name))
                if (name not in frozen or name == protected.EDITOR) and entry.is_dir(follow_symlinks=False):
                    waiting.append((*parts, name))
                elif name in frozen and spelled(name) != GIT and known is None:
                    named.elsewhere.update(protected.links_within(folder / name))
    for place in list(named.elsewhere):
        yield from _on_the_way(place, tops)


def _entries(folder: Path, *, force: bool) -> dict[str, os.DirEntry[str]]:
    for again in (force, False):
        try:
            with os.scandir(folder) as listed:
                return {entry.name: entry for entry in listed}
        except PermissionError:
            if not again:
                break
            with contextlib.suppress(OSError):  # a command that has closed a folder hides something in it
                folder.chmod(stat.S_IMODE(os.lstat(folder).st_mode) | stat.S_IRWXU)
        except OSError:
            break
    return {}


def _runs(folder: Path, entries: dict[str, os.DirEntry[str]], *, in_home: bool, named: set[str] | None) -> set[str]:
    """Which entries of a folder run later; the empty name is the folder itself."""
    found: set[str] = set()
    within = spelled(folder.name)
    for name in entries:
        if (
            name[0] == "."
            or not name.isascii()
            or (low := name.lower()) in PLAIN_NAMES
            or low.startswith("mise.")
            or low.endswith(protected.WORKSPACE)
            or within in protected.IN_FOLDERS
        ):
            if name.endswith(AWAY):
                continue
            plain = spelled(name)
            if (
                protected.why_named(plain, within)
                or plain == protected.EDITOR
                or (plain in protected.VENVS and entries[name].is_symlink())
                or (in_home and (plain[0] == "." or plain in protected.PROGRAMS))
            ):
                found.add(name)
    if protected.VENV_MARK in entries:
        found.add("")
    if "HEAD" in entries and protected.is_bare(entries) and spelled(folder.name) != GIT:
        found.add("HEAD")
        found.update(name for name in RUNS if name in entries)
    if within == protected.EDITOR:
        found.update(name for name in entries if spelled(name) in protected.EDITOR_FILES)
    found.update(name for name in named or () if name in entries)
    return found


def _in_repository(top: Path, parts: tuple[str, ...]) -> Iterator[Hit]:
    folder = top.joinpath(*parts)
    for name in RUNS:
        if hit := _hit(top, (*parts, name)):
            yield hit
    for name in TODO:
        at, todo = name.split("/")
        if (around := _hit(top, (*parts, at))) and around.link:
            yield around
        elif (hit := _hit(top, (*parts, at, todo))) and _has_a_command(folder / name):
            yield hit


def _has_a_command(todo: Path) -> bool:
    """Whether the list of a rebase runs something; one that can't be told so does, too."""
    try:
        with os.fdopen(os.open(todo, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return True
            text = file.read(MOST_OF_A_TODO + 1)
    except OSError:
        return True
    return len(text) > MOST_OF_A_TODO or re.search(rb"^[ \t]*(exec|x)\b", text, re.MULTILINE) is not None


def _hit(top: Path, parts: tuple[str, ...]) -> Hit | None:
    try:
        status = os.lstat(top.joinpath(*parts))
    except OSError:
        return None
    return Hit(top, parts, _id(status), stat.S_ISLNK(status.st_mode))


def _hit_at(path: Path, tops: Sequence[Path]) -> Hit | None:
    top = _top_of(path, tops)
    return _hit(top, path.relative_to(top).parts) if top else None


def _on_the_way(path: Path, tops: Sequence[Path]) -> Iterator[Hit]:
    """What is at a path, and each link that is followed to it, where it really lies: whoever puts one there chooses what is behind it."""
    here, left, links = Path(path.anchor), list(path.parts[:0:-1]), 0
    if top := _top_of(path, tops):  # its own links are resolved
        here, left = top, left[: len(path.parts) - len(top.parts)]
    found: list[Hit] = []
    while left:
        name = left.pop()
        if name == "..":
            here = here.parent
            continue
        try:
            status = os.lstat(here := here / name)
            target = here.readlink() if stat.S_ISLNK(status.st_mode) else None
        except OSError:
            return
        if (top := _top_of(here, tops)) and (target or not left):
            found.append(Hit(top, here.relative_to(top).parts, _id(status), target is not None, passed=bool(left)))
        if target:
            if (links := links + 1) > MOST_LINKS:
                return
            here = Path("/") if target.is_absolute() else here.parent
            left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    yield from found


def _top_of(path: Path, tops: Sequence[Path]) -> Path | None:
    return next((top for top in tops if path.is_relative_to(top)), None)


def _id_at(path: Path) -> Id | None:
    try:
        return _id(os.lstat(path))
    except OSError:
        return None


def _id(status: os.stat_result) -> Id:
    return status.st_dev, status.st_ino, stat.S_ISLNK(status.st_mode)


def _take_away(hit: Hit) -> str | None:
    """Rename it, without following a link that somebody puts into its path meanwhile. None where that was not needed, or can't be."""
    if not hit.parts:
        return None
    *folders, name = hit.parts
    with contextlib.suppress(OSError):
        held = os.open(hit.top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held)
                os.close(held)
                held = inner
            status = os.stat(name, dir_fd=held, follow_symlinks=False)
            if _id(status) != hit.id:
                return None
            new = _free_name(name, held)
            os.rename(name, new, src_dir_fd=held, dst_dir_fd=held)
            return str(hit.top.joinpath(*folders, new))
        finally:
            os.close(held)
    return None


def _free_name(name: str, folder: int) -> str:
    for count in range(1, 1_000):
        new = f"{name}{'' if count == 1 else f'.{count}'}{AWAY}"
        try:
            os.stat(new, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return new
    return f"{name}.{os.urandom(6).hex()}{AWAY}"
