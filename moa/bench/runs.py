"""A run on disk: what was asked (`run.json`) and what came of it (`items.jsonl`, an item and arm a line, only ever added to).

A line is written as soon as its item is done. A run that was killed goes on behind the last whole line, so no item is paid twice; what was
under way then is asked again. What failed and was asked again has a second line, which counts instead of the first, and has its calls and cost in it.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from agent.errors import StateError, UsageError
from agent.files.own_files import make_folder, open_to_append, read_bytes, write_atomically
from agent.session.clean import Redact, clean_value
from agent.text import foreign_json
from agent.text.encodable import whole
from moa.bench import reading
from moa.bench.arms import Result

_FIELDS = tuple(entry.name for entry in fields(Result))


def _kept(text: str) -> str:
    return text


@dataclass(slots=True)
class Run:
    """One run in its folder. `asked` is what a resumed run must ask again: suite, digest, seed, arms, models, preset. `redact` takes configured
    keys out of what is written down: models say what they have read."""

    folder: Path
    asked: dict[str, Any]
    redact: Redact = _kept
    _out: BinaryIO | None = None

    @property
    def id(self) -> str:
        """The run's name, and its folder's."""
        return self.folder.name

    def results(self) -> Iterator[Result]:
        """All whole lines, in the order in which they were written; the torn end of a killed run is passed over. Raises UsageError."""
        return reading.results(self.folder / "items.jsonl")

    @property
    def done(self) -> tuple[int, int]:
        """How many results there are, and how many there are to be: items times arms."""
        whole = len(self.asked.get("items", ())) * len(self.asked.get("arms", ()))
        # What was asked again has more than one line.
        return min(len(reading.lines(self.folder / "items.jsonl")), whole), whole

    def add(self, *results: Result) -> None:
        """Write results. Raises StateError where that can't be done."""
        path = self.folder / "items.jsonl"
        try:
            if self._out is None:
                self._out = os.fdopen(open_to_append(path), "rb+")
                _mend(self._out)
            self._out.write("".join(self._line(result) for result in results).encode())
            self._out.flush()
        except OSError as error:
            with suppress(OSError):
                self.close()
            raise StateError(
                f"can't write {path}: {error.strerror or error}",
                remedy=f"put it right, then resume with: moa bench run --resume {self.id}",
            ) from error

    def _line(self, result: Result) -> str:
        # Their own lists and dicts, and not the copies that `asdict` makes: a third of the time of an item that is stored.
        row = {name: getattr(result, name) for name in _FIELDS}
        line = json.dumps(row, ensure_ascii=False) + "\n"
        same = whole(line) == line == self.redact(line)
        return line if same else json.dumps(clean(row, self.redact)) + "\n"

    def close(self) -> None:
        """Close the file."""
        out, self._out = self._out, None
        if out is not None:
            out.close()

    def report(self, value: dict[str, Any]) -> None:
        """Keep the report beside its items."""
        write_atomically(self.folder / "report.json", (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def clean(row: dict[str, Any], redact: Redact) -> dict[str, Any]:
    """A result's row without configured keys and halves of characters. The suite's own names stay: by them the item is known to be done."""
    return {**clean_value(row, redact), "item": row["item"], "arm": row["arm"]}


def _mend(file: BinaryIO) -> None:
    """Cut a torn last line off, so that the next one begins a line of its own."""
    size = file.seek(0, 2)
    at = size
    while at > 0:
        start = max(0, at - 65_536)
        file.seek(start)
        newline = file.read(at - start).rfind(b"\n")
        if newline >= 0:
            at = start + newline + 1
            break
        at = start
    if at < size:
        file.truncate(at)


def begin(root: Path, asked: dict[str, Any], *, redact: Redact = _kept) -> Run:
    """A new run below `root`, named by date and chance."""
    folder = root / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    make_folder(folder)
    write_atomically(folder / "run.json", (json.dumps(asked, indent=1, ensure_ascii=False) + "\n").encode())
    return Run(folder, asked, redact)


def begun(root: Path, asked: dict[str, Any], *, redact: Redact = _kept) -> Run | None:
    """The newest run that asked for the same, on whatever day; None where there is none."""
    same = {key: value for key, value in asked.items() if key != "date"}
    return next((run for run in all_runs(root, redact=redact) if same.items() <= run.asked.items()), None)


def unlisted(root: Path, kind: str) -> Run:
    """A folder for what is no run of a suite, named alike: nothing in it is gone on with."""
    folder = root / f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}-{secrets.token_hex(2)}"
    make_folder(folder)
    return Run(folder, {})


def resume(root: Path, name: str | None, *, redact: Redact = _kept) -> Run:
    """The run of that name; without one the newest. Raises UsageError where there is none."""
    if name is None:
        if not (found := all_runs(root, redact=redact)):
            raise UsageError("there is no bench run so far", remedy="moa bench run SUITE begins one")
        return found[0]
    folder = root / name
    path = folder / "run.json"
    if not name or Path(name).name != name or not path.is_file():
        known = ", ".join(sorted((p.parent.name for p in root.glob("*/run.json")), reverse=True)[:5]) or "none so far"
        raise UsageError(f"there is no bench run {name!r}", remedy=f"`moa bench list` shows all; the latest: {known}")
    return Run(folder, reading.asked(path), redact)


def all_runs(root: Path, *, redact: Redact = _kept) -> list[Run]:
    """All runs that can be read, newest first."""
    found = []
    for path in sorted(root.glob("*/run.json"), reverse=True):
        try:
            found.append(resume(root, path.parent.name, redact=redact))
        except UsageError:
            continue
    return found


CARD = ("preset", "model", "wanted", "limit", "seed", "judges", "passes")
"""What a card says of how a run was asked for, beside its items and what came of it."""


def card(run: Run, report: Mapping[str, Any]) -> dict[str, Any]:
    """One file by which another person can run it again: what was asked, with the preset's text but no path of this machine, and what came
    of it."""
    asked = {"judges": [], "passes": 1, **run.asked}
    preset = asked["preset"] and {key: asked["preset"][key] for key in ("name", "text")}
    served = sorted({model for arm in report["arms"] for model in arm["served"]})
    return {"card": 1, **{key: asked[key] for key in CARD}, "preset": preset, "served": served, "report": dict(report)}


def read_card(path: Path) -> dict[str, Any]:
    """A card as it was printed. Raises UsageError for what is none."""
    try:
        found = foreign_json.loads(read_bytes(path))
        wanted, preset, report = [str(name) for name in found["wanted"]], found["preset"], found["report"]
        kept = None if preset is None else {"name": str(preset["name"]), "path": str(path), "text": str(preset["text"])}
        said = {key: report[key] for key in ("id", "date")}
        arms = [{key: arm[key] for key in ("name", "score", "ci95")} for arm in report["arms"]]
        made = {key: found[key] for key in CARD if key not in ("wanted", "preset")}
        asked = {
            **made,
            "wanted": wanted,
            "preset": kept,
            "suite": str(report["suite"]),
            "card": {**said, "digest": str(report["digest"]), "arms": arms},
        }
        reading.card(asked, path)
        return asked
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", remedy="name a file that has a card") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is not a card", remedy="`moa bench card ID > FILE` makes one") from error
