"""Counsels by name: those of conversations, and those that were judged anew."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.errors import UsageError
from agent.files.own_files import make_folder, write_atomically
from agent.session.index import files
from agent.session.session import Session
from agent.text import foreign_json
from agent.text.numbers import plural
from moa.alone import FOLDER
from moa.counsel.cadence import KIND, REPLAYED
from moa.counsel.record import CounselRecord

if TYPE_CHECKING:
    from pathlib import Path

    from agent.config.config import Config
    from agent.llm.messages import Message

HOW = (
    "a conversation's id (its last counsel), ID/N (its Nth, as in /moa show N), or a counsel's own id out of counsel[]"
)
_REPLAY = re.compile(r"replay-\d{8}-\d{6}-[0-9a-f]{4}")


@dataclass(frozen=True, slots=True)
class Run:
    """One counsel. `name` is how it is called here, `history` the conversation as far as its panel saw it."""

    name: str
    session: str
    data: dict[str, Any]
    history: Sequence[Message] = ()

    @property
    def record(self) -> CounselRecord:
        """The counsel as a value."""
        return CounselRecord.read(self.data)


def find(config: Config, name: str) -> Run:
    """The run of that name. Raises UsageError, which says what there is."""
    if _REPLAY.fullmatch(name):
        return _replayed(config, name)
    session, number, counsel = _parts(name)
    opened = Session.open(_folder(config, session), session, redact=config.redact)
    kept = [each for each in opened.records_kept(KIND) if each.record.data.get("trigger") != REPLAYED]
    if not kept:
        raise UsageError(f"no counsel was taken in {session}", remedy=f"RUN is {HOW}", kind="unknown_run")
    chosen = kept[-1]
    if counsel:
        found = [each for each in kept if each.record.data.get("id") == name]
        if not found:
            known = ", ".join(str(each.record.data.get("id")) for each in kept[-5:])
            raise UsageError(f"there is no counsel {name}", remedy=f"the last ones there: {known}", kind="unknown_run")
        chosen = found[-1]
    elif number is not None:
        if not 1 <= number <= len(kept):
            raise UsageError(
                f"{session} has {plural(len(kept), 'counsel')}, and no {number}",
                remedy=f"a number from 1 to {len(kept)}",
            )
        chosen = kept[number - 1]
    data = dict(chosen.record.data)
    return Run(str(data.get("id") or name), opened.id, data, opened.history_at(chosen.head))


def kept_alone(config: Config) -> list[str]:
    """The counsels that belong to no conversation: of programs and of other agents; the latest first."""
    return sorted((path.stem for path in files(config.paths.state / FOLDER)), reverse=True)


def _folder(config: Config, session: str) -> Path:
    """Where a conversation is: with the others, or by itself."""
    begun = any(path.stem.startswith(session) for path in files(config.paths.sessions))
    alone = session and any(name.startswith(session) for name in kept_alone(config))
    return config.paths.state / FOLDER if alone and not begun else config.paths.sessions


def keep(config: Config, run: Run, data: dict[str, Any], changed: Sequence[str]) -> str:
    """Keep what came of judging a run anew; returns its name. Raises StateError."""
    name = f"replay-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    folder = config.paths.state / "replays"
    make_folder(folder)
    entry = {"schema": 1, "of": run.name, "session": run.session, "changed": list(changed), "counsel": data}
    write_atomically(folder / f"{name}.json", json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace"))
    return name


def _replayed(config: Config, name: str) -> Run:
    path = config.paths.state / "replays" / f"{name}.json"
    try:
        entry = foreign_json.loads(path.read_bytes())
        original = find(config, str(entry["of"]))
        return Run(name, str(entry["session"]), dict(entry["counsel"]), original.history)
    except OSError:
        raise UsageError(f"there is no run {name}", remedy=f"RUN is {HOW}", kind="unknown_run") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} can't be read: {error}", remedy="make it again with moa replay") from None


def _parts(name: str) -> tuple[str, int | None, bool]:
    """The conversation, the number of the counsel in it, and whether a counsel's own id was given."""
    if ":" in name:
        return name.partition(":")[0], None, True
    session, slash, number = name.partition("/")
    if "/" in number:  # a server's turns are named with a slash
        return session, None, True
    if not slash:
        return session, None, False
    if not (number.isascii() and number.isdecimal() and len(number) < 7):
        raise UsageError(f"{name!r} names no run", remedy=f"RUN is {HOW}", kind="unknown_run")
    return session, int(number), False
