"""What files were before: kept before each write, bounded, and given back only where nobody else has written since."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.session.snapshots import MAX_AGE_S, Snapshots, sweep


def write(kept: Snapshots, turn: str, path: Path, data: bytes) -> None:
    kept.keep(turn, path, data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["1", "2", "3"]), st.binary(max_size=20)), max_size=12)
)
def test_undoing_turns_one_by_one_goes_through_every_state(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, bytes]]
) -> None:
    """Whatever was written, undoing the turns from the last to the first gives each state there was."""
    folder = tmp_path_factory.mktemp("s")
    kept = Snapshots(folder / "snapshots" / "s")
    steps.sort(key=lambda each: each[1])
    states: list[dict[str, bytes]] = []
    turns = sorted({turn for _, turn, _ in steps})

    def state() -> dict[str, bytes]:
        return {name: (folder / name).read_bytes() for name in "ab" if (folder / name).exists()}

    for turn in turns:
        states.append(state())
        for name, when, data in steps:
            if when == turn:
                write(kept, turn, folder / name, data)
    for turn in reversed(turns):
        found = kept.look(turn)
        assert (found.changed, found.lost) == ((), ())
        kept.restore(found.restore)
        assert state() == states.pop()


def test_a_helpers_writes_are_nobodys_turn(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path / "s")
    kept.keep("", tmp_path / "a", b"x")
    assert not (tmp_path / "s").exists()


def test_the_room_is_bounded_and_what_is_lost_is_known(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path / "snapshots" / "s", max_bytes=250)
    for number in range(4):
        path = tmp_path / f"f{number}"
        path.write_bytes(bytes([number]) * 100)
        write(kept, f"t{number}", path, b"new")
        blobs = sorted((tmp_path / "snapshots" / "s" / "blobs").iterdir())
        for blob in blobs:  # one second apart, as far as the clock of the disk is concerned
            os.utime(blob, (blob.stat().st_atime - 1, blob.stat().st_mtime - 1))
        assert sum(blob.stat().st_size for blob in blobs) <= 250
    assert [change.path.name for change in kept.look("t0").lost] == ["f0"]
    assert [change.path.name for change in kept.look("t3").restore] == ["f3"]


def test_a_journal_that_was_cut_short_keeps_what_is_whole(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path / "s")
    write(kept, "t", tmp_path / "a", b"x")
    with (tmp_path / "s" / "journal.jsonl").open("ab") as file:
        file.write(b'{"turn": "t", "path"')
    assert [change.path.name for change in kept.changes("t")] == ["a"]


def test_a_folder_that_somebody_uses_stays(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path / "s")
    write(kept, "t", tmp_path / "new" / "deep" / "a", b"x")
    (tmp_path / "new" / "mine").write_text("mine")
    kept.restore(kept.look("t").restore)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine"]


@pytest.mark.parametrize("before", [b"the user's\n", None], ids=["written", "made"])
def test_what_lies_behind_a_link_by_now_is_left_alone(tmp_path: Path, before: bytes | None) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
    if before is not None:
        (inside / "a").write_bytes(before)
    kept = Snapshots(tmp_path / "s")
    write(kept, "t", inside / "a", b"x")
    inside.rename(tmp_path / "away")
    inside.symlink_to(outside)
    (outside / "a").write_bytes(b"x")
    with pytest.raises(OSError, match=r"directory|links"):
        kept.restore(kept.look("t").restore)
    assert (outside / "a").read_bytes() == b"x"


def test_old_snapshots_are_thrown_away(tmp_path: Path) -> None:
    old, new = Snapshots(tmp_path / "old"), Snapshots(tmp_path / "new")
    for kept in (old, new):
        kept.keep("t", tmp_path / "file", b"x")
    sweep(tmp_path, now=(tmp_path / "new" / "journal.jsonl").stat().st_mtime + MAX_AGE_S - 10)
    assert old.folder.exists()
    os.utime(old.folder / "journal.jsonl", (0, 0))
    sweep(tmp_path)
    assert not old.folder.exists() and new.folder.exists()


def test_a_copy_goes_its_own_way(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path / "one")
    path = tmp_path / "a"
    path.write_bytes(b"before")
    write(kept, "t", path, b"after")
    kept.copy_to(tmp_path / "two")
    copy = Snapshots(tmp_path / "two")
    write(copy, "t2", path, b"more")
    assert copy.changes("t2") and not kept.changes("t2")
    copy.restore(copy.look("t2").restore)
    copy.restore(copy.look("t").restore)
    assert path.read_bytes() == b"before"
