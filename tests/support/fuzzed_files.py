"""Files that disks, editors and people have been at: session files, config.toml and presets, mutated, and what came of reading them."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from random import Random
from typing import Any

from agent.build import build
from agent.errors import StateError, UsageError
from agent.events import Cost, Record, SideFinished
from agent.host import Options
from agent.llm.messages import ToolCallPart, assistant, system, tool_result, user
from agent.session.export import export
from agent.session.file import read_lines
from agent.session.session import Session
from moa.store import store
from moa.store.reading import read as read_preset
from tests.support.mutations import mutated, mutated_json

HANGS_S = 10.0
NAME = "20260101-000000-abcd"
CONFIG = """\
model = "fake:worker"
effort = "low"
max_tokens = 4_000

[moa]
preset = "budget"
armed = false

[endpoints.fake]
base_url = "http://127.0.0.1:9/v1"
max_concurrency = 4
headers = { x-one = "two" }

[endpoints.fake.models."worker"]
context_window = 131072
price = { prompt = 1.5, completion = 6.0, cached = 0.15 }

[budget]
turn_usd = 0.50
day_usd = 20.00
turn_tokens = 2_000_000

[approve]
allow = ["shell(git status*)", "edit(src/**)"]
deny_paths = [".env", "**/secrets/**"]

[ui]
theme = "dark"
notify_after_s = 10
"""
PRESET = """\
description = "Two and a judge"
cadence = "every:2"
aggregate = "analysis"
quorum = 1
timeout_s = 30
seed = 7

[[references]]
model = "fake:one"
role = "Look for what the plan would break."
temperature = 0.7
max_tokens = 600

[[references]]
model = "fake:two"
count = 2

[aggregator]
model = "fake:judge"

[budget]
turn_usd = 0.25
"""
VALUES = (
    *("true", "nan", "inf", "-1", "0", "1e400", "9" * 400, "9" * 5_000, "1_0", "0x7fffffffffffffffffff", "1979-05-27T07:32:00Z", "07:32:00"),
    *('""', '"\\u0000"', '"\\u202e"', "'''\n'''", '"' + "x" * 50_000 + '"', "[]", "[[]]", "[1, 'a']", "{}", "{ a = 1 }"),
    *("[" * 90 + "]" * 90, "[" * 1_500 + "]" * 1_500, "{ a = " * 200 + "1" + " }" * 200, '"every:99999999999999999999"', '"main"'),
)  # fmt: skip


def sound_session(folder: Path) -> bytes:
    """A session with an entry of every kind."""
    session = Session.create(folder)
    session.add(system("You help."), told={"date": "2026-01-01"})
    session.add(user("Find the heron."), turn="t1")
    for number in range(4):
        call = ToolCallPart(id=f"c{number}", name="read", arguments=json.dumps({"path": f"{number}.txt"}))
        session.add(assistant(f"I look, {number}.", call), call_id=f"r{number}", tokens=100 + number)
        session.add(tool_result(call, f"line {number}: nothing"))
        session.guide("moa", f"Look twice, {number}.", turn="t1", iteration=number)
        session.add_side(
            SideFinished(source="moa", id=f"s{number}", outcome="answered", text="a", cost=Cost(usd=0.1)),
            turn="t1",
            iteration=9,
        )
        session.add_record(Record(source="moa", kind="counsel", data={"answered": number}), turn="t1", iteration=number)
    session.set_state("name", {"name": "birds"})
    draft = session.add(assistant("A first answer."))
    session.mark_draft(draft, reason="review")
    session.add(assistant("There is no heron."))
    session.note("turn_finished", turn="t1", status="done")
    session.compact(user("So far: no heron.", synthetic="summary"), words=[user("Find the heron.")], keep_from=None)
    session.add(user("And a crane?"), turn="t2")
    session.rewind(session.parent_of_head(), reason="undo")
    session.add(user("Or an owl?"), turn="t3")
    session.close()
    data = session.path.read_bytes()
    session.path.unlink()
    return data


class Sessions:
    """Session files. What is sound in one is read, the rest is told; and the conversation can go on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sound = sound_session(folder)

    async def run(self, seed: int) -> str | None:
        """What is wrong with how a mutated file was read."""
        random = Random(seed)
        data = _changed_lines(self._sound, random) if random.random() < 0.6 else mutated(self._sound, random)
        path = self._folder / f"{NAME}.jsonl"
        path.write_bytes(data)
        began = time.monotonic()
        try:
            problem = self._look(path, data)
        except (UsageError, StateError) as error:
            problem = None if error.message else "escaped: an error without words"
        except Exception as error:
            problem = f"escaped: {type(error).__name__}: {error}"[:300]
        if time.monotonic() - began > HANGS_S:
            problem = problem or f"hung: {time.monotonic() - began:.1f} s"
        return problem

    async def aclose(self) -> None:
        """Nothing is held."""

    def _look(self, path: Path, data: bytes) -> str | None:
        whole = {line for line in self._sound.split(b"\n") if line} & set(data.split(b"\n"))
        entries, _told = read_lines(path)
        kept = [json.dumps(line.entry, sort_keys=True) for line in entries]
        for line in whole:
            entry = json.loads(line)["entry"]
            if entry["type"] in ("message", "compaction", "record") and json.dumps(entry, sort_keys=True) not in kept:
                return f"lost: {line[:200]!r}"
        session = Session.open(path.parent, NAME, claim=True)
        try:
            _use(session)
            session.add(user("We go on."), turn="t9")
        finally:
            session.close()
        again = Session.open(path.parent, NAME)
        _use(again)
        if not any(message.text == "We go on." for message in again.transcript()):
            return "bricked: what was said after it is not there"
        return None


def _use(session: Session) -> None:
    """All that faces, plugins and requests ask of a session."""
    for message in (*session.history(), *session.sent(), *session.transcript()):
        assert isinstance(message.text, str)
    session.measured(), session.placed_records(), session.records("counsel"), session.turns()
    session.unrecorded(), session.newly_unrecorded(), session.states(), session.turn_count, session.told
    assert isinstance(session.name, str)
    for form in ("json", "md", "html"):
        export(session, form).encode()


def _changed_lines(sound: bytes, random: Random) -> bytes:
    """A few lines that are hostile, gone, twice or elsewhere."""
    lines = sound.decode().splitlines()
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(lines))
        match random.randrange(6):
            case 0:
                del lines[at : at + random.choice((1, 1, 3))]
            case 1:
                lines.insert(random.randrange(len(lines) + 1), lines[at])
            case 2:
                lines.insert(random.randrange(len(lines)), lines.pop(at))
            case _:
                with contextlib.suppress(ValueError, RecursionError):  # it is hostile already
                    lines[at] = mutated_json(lines[at], random)
        lines = lines or ["{}"]
    return "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n" * random.randrange(2)


class Settings:
    """config.toml and presets: read, or refused by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "config" / "presets").mkdir(parents=True)
        self._env = {f"MOA_{kind.upper()}_DIR": str(folder / kind) for kind in ("config", "state", "cache")}
        self._env |= {"PATH": os.environ.get("PATH", ""), "HOME": str(folder)}
        (folder / "work").mkdir()

    async def run(self, seed: int) -> str | None:
        """What is wrong with how a mutated config (even seeds) or preset (odd ones) was read."""
        random = Random(seed)
        name, sound = ("config.toml", CONFIG) if seed % 2 == 0 else ("presets/odd.toml", PRESET)
        file = self._folder / "config" / name
        data = _changed_settings(sound, random)
        file.write_bytes(data)
        began = time.monotonic()
        problem = None
        try:
            await (self._config() if seed % 2 == 0 else self._preset(file))
        except UsageError as error:
            if file.name not in f"{error.message} {error.remedy}" or not error.remedy:
                problem = f"unnamed: {error.message} ({error.remedy})"
        except Exception as error:
            problem = f"escaped: {type(error).__name__}: {error}"[:300]
        finally:
            file.unlink()
        if time.monotonic() - began > HANGS_S:
            problem = problem or f"hung: {time.monotonic() - began:.1f} s"
        return problem and f"{problem} in {data[:80]!r}"

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _config(self) -> None:
        host = build(Options(cwd=self._folder / "work"), env=self._env)
        try:
            if host.model_error is not None:
                raise UsageError(f"config.toml: {host.model_error.message}", remedy=host.model_error.remedy or "-")
        finally:
            await host.aclose()

    async def _preset(self, file: Path) -> None:
        rows = store.descriptions(self._folder / "config")
        assert any(found.name == "odd" for found, _text, _problem in rows)
        read_preset(store.text_at(file), name="odd", path=file)


def _changed_settings(sound: str, random: Random) -> bytes:
    lines = sound.split("\n")
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(lines))
        key, equals, value = lines[at].partition("=")
        match random.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(random.randrange(len(lines) + 1), lines[at])
            case 2 if equals:
                lines[at] = f"{_misspelt(key, random)}={value}"
            case _ if equals:
                lines[at] = f"{key}= {random.choice(VALUES)}"
            case _:
                lines.insert(
                    at,
                    random.choice(
                        ("[", "]", "[[x]]", "[a.b]", "x = 1", "= 1", '"""', "\ud83d", '[endpoints."\\u0000"]')
                    ),
                )
        lines = lines or [""]
    text = "\n".join(lines)
    encoding = random.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"))
    data = text.encode(encoding, "surrogatepass" if encoding != "latin-1" else "replace")
    return mutated(data, random, 1) if random.random() < 0.3 else data


def _misspelt(key: str, random: Random) -> Any:
    at = random.randrange(len(key) + 1)
    return key[:at] + random.choice(("x", "", ".", '"', "é", "#")) + key[at + 1 :]
