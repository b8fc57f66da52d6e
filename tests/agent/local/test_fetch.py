"""Fetching a local model, against a hub on loopback and a real pip that sees one folder."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import agent
from agent.errors import StateError, UsageError
from agent.llm.errors import ConnectionFailed
from agent.local.catalogue import FETCHABLE
from agent.local.fetch import cached, fetch
from agent.local.source import Progress
from tests.agent.local.hub import BODY, NAME, Hub, entry, environment, make_wheel, running, synchronously
from tests.support.waiting import until

CATALOGUE = {NAME: entry()}


async def bring(hub: Hub, tmp_path: Path, seen: list[Progress] | None = None) -> Path:
    """Fetch into `tmp_path/cache`, with wheels from `tmp_path`."""
    return await fetch(
        NAME,
        tmp_path / "cache",
        progress=(seen if seen is not None else []).append,
        environ=environment(hub.url, tmp_path),
        catalogue=CATALOGUE,
    )


def files(tmp_path: Path) -> set[str]:
    """What a fetch left, but for the lock."""
    return {path.name for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"}


@synchronously
async def test_the_hub_is_asked_once(tmp_path: Path) -> None:
    seen: list[Progress] = []
    async with running(Hub()) as hub:
        path = await bring(hub, tmp_path, seen)
        assert path.read_bytes() == BODY
        assert await bring(hub, tmp_path) == path
    assert hub.requests == [("/someone/tiny-GGUF/resolve/abc123/tiny.Q4_1.gguf", None)]
    assert seen[-1] == Progress("hub", len(BODY), len(BODY))
    assert files(tmp_path) == {"tiny.Q4_1.gguf", "tiny.Q4_1.gguf.ok"}


@synchronously
async def test_a_cut_connection_is_taken_up_where_it_broke(tmp_path: Path) -> None:
    async with running(Hub(cuts=[400_000, 300_000])) as hub:
        assert (await bring(hub, tmp_path)).read_bytes() == BODY
    assert [wanted for _, wanted in hub.requests] == [None, "bytes=400000-", "bytes=700000-"]


@synchronously
async def test_a_server_without_ranges_sends_it_all_again(tmp_path: Path) -> None:
    async with running(Hub(cuts=[400_000], ranges=False)) as hub:
        assert (await bring(hub, tmp_path)).read_bytes() == BODY
    assert len(hub.requests) == 2


@synchronously
async def test_a_cancelled_fetch_keeps_what_came(tmp_path: Path) -> None:
    part = tmp_path / "cache" / "tiny.Q4_1.gguf.part"
    half = asyncio.Event()

    class Slow(Hub):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[:500_000])
            await writer.drain()
            half.set()
            await reader.read()
            writer.close()

    async with running(Slow()) as hub:
        task = asyncio.create_task(bring(hub, tmp_path))
        await half.wait()
        await until(lambda: part.exists() and part.stat().st_size)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    kept = part.stat().st_size
    assert 0 < kept <= 500_000
    assert files(tmp_path) == {part.name}
    async with running(Hub()) as hub:
        assert (await bring(hub, tmp_path)).read_bytes() == BODY
    assert [wanted for _, wanted in hub.requests] == [f"bytes={kept}-"]


@synchronously
async def test_a_damaged_left_over_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tiny.Q4_1.gguf.part").write_bytes(b"x" * 1000)
    async with running(Hub()) as hub:
        assert (await bring(hub, tmp_path)).read_bytes() == BODY
    assert [wanted for _, wanted in hub.requests] == ["bytes=1000-", None]


@pytest.mark.parametrize(
    "hub",
    [
        pytest.param(Hub(status=404), id="not there"),
        pytest.param(Hub(status=503), id="down"),
        pytest.param(Hub(body=BODY[:-1] + b"!"), id="another file"),
        pytest.param(Hub(body=BODY + b"!"), id="a longer file"),
        pytest.param(Hub(cuts=[0] * 9), id="never a byte"),
        pytest.param(None, id="nobody listens"),
        pytest.param("not a url", id="no address"),
    ],
)
@pytest.mark.sample(2)
def test_where_the_hub_fails_the_wheel_has_it(hub: Hub | str | None, tmp_path: Path) -> None:
    make_wheel(tmp_path)

    async def main() -> Path:
        if not isinstance(hub, Hub):
            return await bring(Hub(url=hub or "http://127.0.0.1:9"), tmp_path)
        async with running(hub):
            return await bring(hub, tmp_path)

    assert asyncio.run(main()).read_bytes() == BODY
    assert files(tmp_path) == {"tiny.Q4_1.gguf", "tiny.Q4_1.gguf.ok"}


@synchronously
async def test_offline_means_the_hub_is_not_asked(tmp_path: Path) -> None:
    make_wheel(tmp_path)
    async with running(Hub()) as hub:
        environ = {**environment(hub.url, tmp_path), "HF_HUB_OFFLINE": "1"}
        assert (await fetch(NAME, tmp_path / "cache", environ=environ, catalogue=CATALOGUE)).read_bytes() == BODY
    assert hub.requests == []


@synchronously
async def test_nothing_wrong_ever_gets_the_name(tmp_path: Path) -> None:
    make_wheel(tmp_path, BODY[:-1] + b"?")
    async with running(Hub(body=BODY[:-1] + b"!")) as hub:
        with pytest.raises(ConnectionFailed) as caught:
            await bring(hub, tmp_path)
    assert "model hub: the SHA-256" in caught.value.message
    assert "Through pip: the SHA-256" in caught.value.message
    assert files(tmp_path) == set()


@pytest.mark.parametrize("right", [True, False])
def test_a_wheel_is_opened_only_if_it_is_the_one(tmp_path: Path, right: bool) -> None:
    make_wheel(tmp_path)
    wheel = next(tmp_path.glob("*.whl")).read_bytes()
    known = {NAME: entry(wheel_sha256=hashlib.sha256(wheel if right else wheel + b"!").hexdigest())}
    environ = {**environment("http://127.0.0.1:9", tmp_path), "HF_HUB_OFFLINE": "1"}
    if right:
        path = asyncio.run(fetch(NAME, tmp_path / "cache", environ=environ, catalogue=known))
        assert path.read_bytes() == BODY
    else:
        with pytest.raises(ConnectionFailed, match="DO NOT MATCH THE HASHES"):
            asyncio.run(fetch(NAME, tmp_path / "cache", environ=environ, catalogue=known))
        assert files(tmp_path) == set()
    assert next(iter(FETCHABLE.values())).wheel_sha256, "that of the shipped one is known"


@synchronously
async def test_what_is_larger_than_it_should_be_is_not_unpacked_to_its_end(tmp_path: Path) -> None:
    make_wheel(tmp_path, BODY * 50)
    environ = {**environment("http://127.0.0.1:9", tmp_path), "HF_HUB_OFFLINE": "1"}
    with pytest.raises(ConnectionFailed, match="larger than it should be"):
        await fetch(NAME, tmp_path / "cache", environ=environ, catalogue=CATALOGUE)
    assert files(tmp_path) == set()


@synchronously
async def test_neither_source_works(tmp_path: Path) -> None:
    async with running(Hub(status=404)) as hub:
        with pytest.raises(ConnectionFailed) as caught:
            await bring(hub, tmp_path)
    assert "404" in caught.value.message
    assert "tiny-model==1.0" in caught.value.message
    assert "tiny.Q4_1.gguf" in (caught.value.remedy or "")


@synchronously
async def test_a_file_that_the_user_put_there_counts_if_it_is_right(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    own = tmp_path / "cache" / "tiny.Q4_1.gguf"
    own.write_bytes(BODY)
    assert cached(CATALOGUE[NAME], own.parent) is None
    assert await bring(Hub(url="http://127.0.0.1:9"), tmp_path) == own
    assert cached(CATALOGUE[NAME], own.parent) == own
    own.write_bytes(BODY[:-1] + b"!")
    assert cached(CATALOGUE[NAME], own.parent) is None
    async with running(Hub()) as hub:
        assert (await bring(hub, tmp_path)).read_bytes() == BODY


@synchronously
async def test_two_at_once_download_once(tmp_path: Path) -> None:
    async with running(Hub()) as hub:
        first, second = await asyncio.gather(bring(hub, tmp_path), bring(hub, tmp_path))
    assert first == second
    assert len(hub.requests) == 1


def test_another_process_that_fetches_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    holder = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from agent.local.lock import only_one

        async def main():
            async with only_one(Path(sys.argv[1]), lambda: None):
                print("held", flush=True)
                sys.stdin.read()

        asyncio.run(main())
    """)
    lock = tmp_path / "cache" / "tiny.Q4_1.gguf.lock"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin and other.stdout
        assert other.stdout.readline() == b"held\n"

        async def main() -> None:
            assert other.stdin
            waits = asyncio.Event()
            async with running(Hub()) as hub:
                task = asyncio.create_task(
                    fetch(
                        NAME,
                        lock.parent,
                        progress=lambda progress: waits.set() if progress.step == "waiting" else None,
                        environ=environment(hub.url, tmp_path),
                        catalogue=CATALOGUE,
                    )
                )
                await waits.wait()
                assert hub.requests == []
                other.stdin.close()
                assert (await task).read_bytes() == BODY

        asyncio.run(main())


@synchronously
async def test_no_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    huge = {NAME: entry(size=1 << 60)}
    with pytest.raises(StateError, match=r"no room for tiny\.Q4_1\.gguf"):
        await fetch(NAME, tmp_path / "cache", environ={"HF_HUB_OFFLINE": "1"}, catalogue=huge)
    assert files(tmp_path) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@synchronously
async def test_a_disk_that_fills_up_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tiny.Q4_1.gguf.part").symlink_to("/dev/full")
    async with running(Hub()) as hub:
        with pytest.raises(StateError, match="no room") as caught:
            await bring(hub, tmp_path)
    assert "MOA_CACHE_DIR" in (caught.value.remedy or "")


@synchronously
async def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StateError, match="cache"):
        await bring(Hub(url="http://127.0.0.1:9"), tmp_path)


@synchronously
async def test_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        await fetch("smollm3", tmp_path)
    assert "smollm2" in (caught.value.remedy or "")


def test_without_pip_the_remedy_is_named(tmp_path: Path) -> None:
    """In an interpreter that sees no installed packages (-S), and our own from the folder they are in."""
    code = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from agent.errors import UsageError
        from agent.local.fetch import fetch

        try:
            asyncio.run(fetch("smollm2", Path(sys.argv[1]), environ={"HF_HUB_OFFLINE": "1"}))
        except UsageError as error:
            print(error.kind, error.remedy)
    """)
    root = Path(agent.__file__).parents[1]
    command = [sys.executable, "-S", "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.startswith("no_pip")
    assert "ensurepip" in done.stdout


def test_the_catalogue_pins_what_it_names() -> None:
    for name, model in FETCHABLE.items():
        assert model.name == name
        assert len(model.sha256) == 64
        assert model.hub_revision in model.hub_url("https://hub.example/")
        assert "==" in model.wheel
        assert model.warning
