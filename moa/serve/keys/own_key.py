"""The key that opens the server: `MOA_SERVE_KEY`, else one that is made on the first start and kept beside config.toml."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.errors import StateError, UsageError
from agent.files.own_files import make_folder, read_bytes, write_atomically

VARIABLE = "MOA_SERVE_KEY"
FILE = "serve.key"
LEAST = 16


@dataclass(frozen=True, slots=True)
class ServeKey:
    """A key; its value is in no repr. `source` says where it is, `new` whether it was made just now."""

    value: str = field(repr=False)
    source: str
    new: bool = False

    @property
    def name(self) -> str:
        """What stands for it in the database."""
        return hashlib.sha256(self.value.encode()).hexdigest()[:16]

    def opens(self, given: str | None) -> bool:
        """Whether what a client gave is this key; takes the same time for every wrong one."""
        mine, theirs = (
            hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (self.value, given or "")
        )
        return secrets.compare_digest(mine, theirs)


def find_key(config_dir: Path, env: Mapping[str, str]) -> ServeKey:
    """The key, made where there is none yet. Raises UsageError for one that is too short, StateError where the file can't be used."""
    if given := env.get(VARIABLE, "").strip():
        return ServeKey(_checked(given, f"the environment variable {VARIABLE}"), f"environment: {VARIABLE}")
    path = config_dir / FILE
    try:
        kept = read_bytes(path, 4096).decode("ascii", "replace").strip()
    except FileNotFoundError:
        kept = ""
    except OSError as error:
        raise StateError(f"{path} can't be read: {error.strerror}", remedy="check its permissions") from error
    if kept:
        return ServeKey(_checked(kept, str(path)), str(path))
    value = "moa-" + secrets.token_urlsafe(32)
    try:
        make_folder(config_dir)
        write_atomically(path, f"{value}\n".encode(), mode=0o600)
    except OSError as error:
        raise StateError(f"{path} can't be written: {error.strerror}", remedy=f"set {VARIABLE}") from error
    return ServeKey(value, str(path), new=True)


def _checked(value: str, place: str) -> str:
    if len(value) >= LEAST and value.isascii() and value.isprintable() and " " not in value:
        return value
    raise UsageError(
        f"the key in {place} can't be used",
        remedy=f"use at least {LEAST} letters and digits without spaces, or take it out and let moa serve make one",
        kind="serve_key",
    )
