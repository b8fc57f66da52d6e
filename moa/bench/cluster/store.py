"""Where the machines of a run write what they did: any storage that fsspec knows (a folder, s3://, gs://, memory://).

Below the run's name there are: `run.json`, by which a machine knows that it sees the right place; `begun/`, an object for each item whose
calls are under way; `items/`, an object for each that is done; `batches/`, the same objects of a whole batch in one. Object stores can't
append, so each object is written once and whole. Names are hashes of item and arm: an item that is done twice has one object.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agent.errors import UsageError
from agent.text import foreign_json

BEGUN, ITEMS, BATCHES = "begun", "items", "batches"


def name_of(item: str, arm: str) -> str:
    """The name of an item's object in an arm."""
    return hashlib.sha256(f"{item}\n{arm}".encode()).hexdigest()[:32]


@dataclass(slots=True)
class Store:
    """One run's place. `url` is where runs are, `run` the run's name. Blocking. Raises UsageError where it can't be reached."""

    url: str
    run: str
    _files: Any = field(init=False)
    _root: str = field(init=False)

    def __post_init__(self) -> None:
        import fsspec

        def opened() -> tuple[Any, str]:
            files, path = fsspec.core.url_to_fs(self.url)
            return files, f"{path.rstrip('/')}/{self.run}"

        # An unknown protocol is a ValueError, a missing driver an ImportError, and each driver has errors of its own for the rest.
        self._files, self._root = self._tried(opened)

    def found(self) -> None:
        """Make the place, so that each machine can tell whether it sees it."""

        def make() -> None:
            for kind in (BEGUN, ITEMS, BATCHES):
                self._files.makedirs(f"{self._root}/{kind}", exist_ok=True)
            self._files.pipe_file(f"{self._root}/run.json", json.dumps({"run": self.run}).encode())

        self._tried(make)

    def check(self) -> None:
        """Raises UsageError where this machine does not see what the run has founded."""
        if not self._tried(lambda: self._files.exists(f"{self._root}/run.json")):
            raise UsageError(
                f"this machine finds no run {self.run} at {self.url}",
                remedy="name storage that all machines see with --store, such as s3://BUCKET/bench or a shared folder",
            )

    def begin(self, item: str, arm: str, bound: dict[str, Any]) -> None:
        """The calls of an item are about to begin; `bound` is the most that they can cost."""
        self._write(f"{BEGUN}/{name_of(item, arm)}", {"item": item, "arm": arm, **bound})

    def done(self, item: str, arm: str, row: dict[str, Any]) -> None:
        """What an item came to."""
        self._write(f"{ITEMS}/{name_of(item, arm)}", row)
        self.forget(item, arm)

    def forget(self, item: str, arm: str) -> None:
        """Its calls are under way no more."""
        path = f"{self._root}/{BEGUN}/{name_of(item, arm)}.json"
        if self._files.exists(path):
            self._files.rm_file(path)

    def whole(self, batch: str, rows: Iterable[tuple[str, str, dict[str, Any]]]) -> None:
        """A batch is done: its objects (item, arm, row) become one."""
        found = list(rows)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for _item, _arm, row in found)
        self._files.pipe_file(f"{self._root}/{BATCHES}/{batch}.jsonl", text.encode())
        for item, arm, _row in found:
            path = f"{self._root}/{ITEMS}/{name_of(item, arm)}.json"
            if self._files.exists(path):
                self._files.rm_file(path)

    def under_way(self) -> Iterator[dict[str, Any]]:
        """What was begun and is not done."""
        yield from self._each(BEGUN)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Everything that is done, each item at least once."""
        yield from self._each(BATCHES)
        yield from self._each(ITEMS)

    def _each(self, kind: str) -> Iterator[dict[str, Any]]:
        self._files.invalidate_cache()
        for path in sorted(self._tried(lambda: self._files.ls(f"{self._root}/{kind}", detail=False))):
            try:
                data: bytes = self._files.cat_file(path)
            except FileNotFoundError:  # made part of a batch meanwhile
                continue
            for line in data.splitlines(keepends=True):
                try:
                    row = foreign_json.loads(line)
                except (ValueError, RecursionError):  # what a machine was writing as it went
                    continue
                if isinstance(row, dict):
                    yield row

    def _write(self, name: str, row: dict[str, Any]) -> None:
        self._files.pipe_file(f"{self._root}/{name}.json", (json.dumps(row, ensure_ascii=False) + "\n").encode())

    def _tried(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:
            raise UsageError(
                f"the storage {self.url} can't be used: {error}"[:300],
                remedy="name another with --store; a storage's driver is installed beside fsspec (s3fs, gcsfs …)",
            ) from error
