"""The bench's mutated files, a few of them at each run (`python -m tests.bench fuzz` tries 7,000)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agent.session.session import Session
from tests.bench.fuzz import tried
from tests.support.fuzzed_files import NAME, Sessions, Settings, sound_session


def test_a_mutated_session_is_read_as_far_as_it_is_sound_and_goes_on(tmp_path: Path) -> None:
    assert asyncio.run(tried(Sessions(tmp_path), range(60))) == {}


def test_a_mutated_config_or_preset_is_read_or_refused_by_name(tmp_path: Path) -> None:
    assert asyncio.run(tried(Settings(tmp_path), range(120))) == {}


def test_one_line_with_a_mad_version_is_damage(tmp_path: Path) -> None:
    first, *rest = sound_session(tmp_path).splitlines(keepends=True)
    for version in (b'"v": 1e308', b'"v": 100000000000000000000', b'"v": 0', b'"v": "x"'):
        (tmp_path / f"{NAME}.jsonl").write_bytes(b"".join([first, rest[0].replace(b'"v": 1', version), *rest[1:]]))
        session = Session.open(tmp_path, NAME)
        assert session.transcript()[-1].text == "Or an owl?"
        assert any("line 2" in notice for notice in session.notices)
