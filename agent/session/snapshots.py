"""What files were before the agent wrote them, so that /undo can bring them back.

A session has a folder: `journal.jsonl` says which turn wrote which file, and what was there before and after as digests; `blobs/`
holds the contents by digest. What a shell command changes passes by here and can't be taken back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from agent.files import anchored
from agent.files.own_files import make_folder, open_to_append, read_bytes, write_atomically
from agent.text import foreign_json

MAX_BYTES = 256 * 1024 * 1024
"""Bytes that one session may keep; the oldest turns' contents go first."""
MAX_AGE_S = 60 * 24 * 3600.0
"""Seconds after which a session's snapshots, untouched, are thrown away."""


class Change(NamedTuple):
    """What a turn did to one file: digests of what was there before its first write (None: nothing) and after its last one.

    `folders` were made for it, outermost first. `others`: between two of the turns somebody else has written it, too.
    """

    path: Path
    before: str | None
    after: str
    folders: tuple[Path, ...] = ()
    others: bool = False


class Undoable(NamedTuple):
    """What undoing a turn would do: `restore` can be brought back, `changed` is something else by now than what the agent wrote, of
    `lost` the former content is not kept any more."""

    restore: tuple[Change, ...]
    changed: tuple[Change, ...]
    lost: tuple[Change, ...]


class Snapshots:
    """The snapshots of one session. Everything here is blocking: call it in a thread."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self._journal = folder / "journal.jsonl"
        self._blobs = folder / "blobs"
        self._max_bytes = max_bytes

    def keep(self, turn: str, path: Path, data: bytes) -> None:
        """Keep what is at `path`, which `turn` is about to replace with `data`. Raises OSError: then nothing should be written."""
        if not turn:
            return
        if not self.folder.is_dir():
            sweep(self.folder.parent)
        before, folders = None, []
        try:
            content = read_bytes(path)
        except FileNotFoundError:
            folders = [folder for folder in reversed(path.parents) if not folder.exists()]
        else:
            before = self._store(content)
        entry = {
            "turn": turn,
            "path": str(path),
            "before": before,
            "after": digest(data),
            "folders": [str(folder) for folder in folders],
        }
        self._write(entry)

    def changes(self, *turns: str) -> list[Change]:
        """What turns wrote, one entry a file."""
        found: dict[str, Change] = {}
        writer: dict[str, str] = {}
        for entry in self._entries():
            path, turn = entry["path"], entry.get("turn")
            if turn not in turns:
                continue
            first = found.get(path)
            folders = first.folders if first else tuple(Path(folder) for folder in entry.get("folders", ()))
            before = first.before if first else entry["before"]
            moved = first is not None and writer[path] != turn and first.after != entry["before"]
            others = moved or (first is not None and first.others)
            found[path] = Change(Path(path), before, entry["after"], folders, others)
            writer[path] = turn
        return list(found.values())

    def originals(self, *turns: str) -> dict[Path, bytes | None]:
        """What each file that was written in these turns (none named: in this session) held before the first time, as far as it is still
        kept; None: there was none."""
        first: dict[Path, str | None] = {}
        for entry in self._entries():
            if not turns or entry.get("turn") in turns:
                first.setdefault(Path(entry["path"]), entry["before"])
        found: dict[Path, bytes | None] = {}
        for path, before in first.items():
            with contextlib.suppress(OSError):
                found[path] = None if before is None else read_bytes(self._blob(before))
        return found

    def look(self, *turns: str) -> Undoable:
        """What could be brought back now, from before the first of these turns. Files that are as they were then are in none of the lists."""
        restore, changed, lost = [], [], []
        for change in self.changes(*turns):
            now = _digest_of(change.path)
            if now == change.before:
                continue
            if now != change.after or change.others:
                changed.append(change)
            elif change.before is not None and not self._blob(change.before).exists():
                lost.append(change)
            else:
                restore.append(change)
        return Undoable(tuple(restore), tuple(changed), tuple(lost))

    def restore(self, changes: Iterable[Change]) -> None:
        """Put files back. Raises OSError, where a folder on the way is a link by now, too; what was put back before it stays so."""
        for change in changes:
            if change.before is not None:
                anchored.replace(change.path, read_bytes(self._blob(change.before)))
                continue
            anchored.remove(change.path)
            for folder in reversed(change.folders):
                with contextlib.suppress(OSError):  # somebody has put something there
                    anchored.remove_folder(folder)

    def copy_to(self, other: Path) -> None:
        """Begin another session's snapshots with these (a fork). Raises OSError."""
        if self.folder.is_dir():
            shutil.copytree(self.folder, other, copy_function=_link, dirs_exist_ok=True)

    def _store(self, content: bytes) -> str:
        name = digest(content)
        blob = self._blob(name)
        if blob.exists():
            os.utime(blob)
            return name
        make_folder(self._blobs)
        self._make_room(len(content))
        write_atomically(blob, content)
        return name

    def _make_room(self, size: int) -> None:
        blobs = sorted((blob.stat().st_mtime, blob.stat().st_size, blob) for blob in self._blobs.iterdir())
        total = size + sum(blob[1] for blob in blobs)
        for _, freed, blob in blobs:
            if total <= self._max_bytes:
                return
            blob.unlink(missing_ok=True)
            total -= freed

    def _blob(self, name: str) -> Path:
        return self._blobs / name

    def _write(self, entry: dict[str, Any]) -> None:
        make_folder(self.folder)
        with os.fdopen(open_to_append(self._journal), "ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")

    def _entries(self) -> Iterator[dict[str, Any]]:
        try:
            lines = read_bytes(self._journal).splitlines()
        except OSError:
            return
        for line in lines:
            with contextlib.suppress(ValueError):  # cut short by a crash
                entry = foreign_json.loads(line)
                if isinstance(entry, dict) and {"path", "before", "after"} <= entry.keys():
                    yield entry


def sweep(folder: Path, *, now: float | None = None) -> None:
    """Throw away the snapshots of sessions that nobody has written in for `MAX_AGE_S`."""
    oldest = (time.time() if now is None else now) - MAX_AGE_S
    for journal in folder.glob("*/journal.jsonl"):
        with contextlib.suppress(OSError):
            if journal.stat().st_mtime < oldest:
                shutil.rmtree(journal.parent)


def digest(data: bytes) -> str:
    """The name of a content."""
    return hashlib.sha256(data).hexdigest()


def _digest_of(path: Path) -> str | None:
    try:
        return digest(read_bytes(path))
    except FileNotFoundError:
        return None
    except OSError:
        return "unreadable"


def _link(source: str, target: str) -> None:
    # A journal grows, so it is copied; a blob never changes.
    try:
        if source.endswith(".jsonl"):
            raise OSError
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
