"""Keys that the user pasted: `keys.toml` beside config.toml, readable by its owner alone, each key bound to one address.

The environment beats this file. A key is sent only where both the endpoint's name and its address are those it was stored with, so
that neither a moved endpoint nor somebody else's configuration can carry it elsewhere.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from agent.errors import StateError, UsageError
from agent.files.own_files import make_folder, write_atomically

OTHERS = stat.S_IRWXG | stat.S_IRWXO


class StoredKey(NamedTuple):
    """A key and the address that it opens. Its value is kept out of every repr."""

    base_url: str
    key: str

    def __repr__(self) -> str:
        return f"StoredKey({self.base_url!r}, …)"


class KeyStore:
    """The file of stored keys; `path` need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, StoredKey]:
        """All keys by endpoint name; {} where there is no file.

        Raises UsageError where others could read the file (with the command that mends it) or where it is malformed.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UsageError(
                f"can't look at {self.path}: {error.strerror}", remedy="check the folder's permissions", kind="keys"
            ) from error
        self._refuse_shared(status)
        from agent.config.toml import Table, load

        keys = {}
        for name, entry in Table(load(self.path), self.path).tables():
            base_url, key = entry.text("base_url"), entry.text("key")
            entry.done()
            if not base_url or not key:
                raise entry.error("key", "or base_url is missing", "write both, or remove the entry")
            keys[name] = StoredKey(base_url, key)
        return keys

    def key_for(self, name: str, base_url: str) -> str | None:
        """The key of that endpoint, where it was stored for that very address. Raises what `read` raises."""
        found = self.read().get(name)
        return found.key if found is not None and found.base_url.rstrip("/") == base_url.rstrip("/") else None

    def put(self, name: str, base_url: str, key: str) -> None:
        """Store a key. Raises UsageError for a key that can't be one, and what `read` raises; StateError where the file can't be written."""
        key = key.strip()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise UsageError("that is not a key", remedy="paste it whole, without quotes or spaces", kind="keys")
        self._write({**self.read(), name: StoredKey(base_url.rstrip("/"), key)})

    def remove(self, name: str) -> bool:
        """Forget a key; False where there was none."""
        keys = self.read()
        if keys.pop(name, None) is None:
            return False
        self._write(keys)
        return True

    def _refuse_shared(self, status: os.stat_result) -> None:
        if os.name != "posix":
            return  # other systems say nothing of use in these bits
        if status.st_uid != os.geteuid():
            raise UsageError(
                f"{self.path} belongs to another user, so its keys are not used",
                remedy=f"chown it, or remove it: rm {self.path}",
                kind="keys",
            )
        if status.st_mode & OTHERS:
            raise UsageError(
                f"{self.path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o}), so its keys are not used",
                remedy=f"chmod 600 {self.path}",
                kind="keys",
            )

    def _write(self, keys: dict[str, StoredKey]) -> None:
        import tomlkit

        document = tomlkit.document()
        document.add(
            tomlkit.comment("Keys by endpoint, each for its own address. Keep this file to yourself (mode 0600).")
        )
        for name, stored in sorted(keys.items()):
            table = tomlkit.table()
            table.update({"base_url": stored.base_url, "key": stored.key})
            document.add(name, table)
        try:
            make_folder(self.path.parent)
            write_atomically(self.path, tomlkit.dumps(document).encode())  # private from the first byte
        except OSError as error:
            raise StateError(
                f"{self.path} can't be written: {error.strerror}", remedy="check the folder's permissions"
            ) from error
