"""A page's text, as a model can read it."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.extras import install
from agent.process.process import Child
from agent.text import foreign_json
from agent.web.errors import BadPage, TooLong
from agent.web.extract_child import decoded

if TYPE_CHECKING:
    from agent.web.download import Download

MAX_CHARACTERS = 1_000_000
"""Of a page's text that are kept; a model sees a part of them at a time."""
EXTRACT_S = 25.0
MAX_OUTPUT = 8 << 20
LITTLE = 80
"""Of a page that says less than so many characters, it is told that it may be a wall and not the page."""
PAGES = frozenset({"text/html", "application/xhtml+xml"})
PLAIN = frozenset(
    (
        "application/json",
        "application/xml",
        "application/yaml",
        "application/x-yaml",
        "application/toml",
        "application/javascript",
    )
)


@dataclass(frozen=True, slots=True)
class Text:
    """What a page says. `note` is what the reader should know of it."""

    text: str
    title: str = ""
    date: str = ""
    note: str = ""


async def extract(found: Download) -> Text:
    """The text of what came. Raises BadPage for what can't be read, TooLong for what takes too long."""
    kind = found.media_type or _looks(found.body)
    if kind == "application/pdf" or found.body.startswith(b"%PDF-"):
        if found.cut:
            raise TooLong(f"the PDF is longer than {len(found.body) >> 20} MB")
        return await _in_child("pdf", found)
    if kind in PAGES:
        return await _in_child("html", found)
    if kind.startswith("text/") or kind in PLAIN or kind.endswith(("+json", "+xml")):
        note = f"only its first {len(found.body) >> 20} MB" if found.cut else ""
        text = await asyncio.to_thread(decoded, found.body, found.charset)
        return Text(text[:MAX_CHARACTERS], note=note)
    raise BadPage(f"it is {kind or 'of an unknown kind'}, which can't be read as text")


def _looks(body: bytes) -> str:
    head = body[:1024].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "text/html"
    return "" if b"\0" in body[:1024] else "text/plain"


async def _in_child(kind: str, found: Download) -> Text:
    output = bytearray()

    def feed(data: bytes) -> None:
        if len(output) <= MAX_OUTPUT:
            output.extend(data)

    script = str(Path(__file__).with_name("extract_child.py"))
    argv = [sys.executable, "-I", script, kind, found.charset, str(MAX_CHARACTERS)]
    with tempfile.TemporaryFile() as body:
        await asyncio.to_thread(body.write, found.body)
        body.seek(0)
        child = await Child.start(
            argv, cwd=Path(tempfile.gettempdir()), feed=feed, stdin=body, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(EXTRACT_S):
                await child.wait()
        except TimeoutError:
            raise TooLong(f"reading the {kind.upper()} took longer than {EXTRACT_S:g} s") from None
        finally:
            await child.end()
    try:
        said = foreign_json.loads(bytes(output[: MAX_OUTPUT + 1]))
    except ValueError:
        said = {"error": "its reader broke off (it takes more memory or time than a page may)"}
    if not isinstance(said, dict):
        said = {"error": "its reader said nothing"}
    if said.get("error") == "missing":
        raise BadPage(f"reading {kind.upper()} needs the package {said.get('text')}", remedy=install("web"))
    if error := said.get("error"):
        raise BadPage(f"the {kind.upper()} can't be read: {error}")
    notes = [f"only its first {len(found.body) >> 20} MB"] if found.cut else []
    if said.get("cut"):
        notes.append(f"only its first {MAX_CHARACTERS:,} characters")
    text = str(said.get("text") or "").strip()
    if len(text) < LITTLE:
        notes.append("hardly any text: the page may need JavaScript, cookies or a login")
    return Text(text, str(said.get("title") or ""), str(said.get("date") or ""), "; ".join(notes))
