"""Turns a page into text in a process of its own, which can be ended and has bounds: what comes from the network may be made to be endless.

Arguments: the kind (html or pdf), the encoding that the server named (or nothing), the most characters. Standard input: the page. Output: JSON
`{text, title, date, pages, error}`. Imports nothing of the project, since it runs isolated.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import sys
from contextlib import suppress
from typing import Any

MEMORY = 2 << 30
"""Bytes of address space."""
SECONDS = 20


def main() -> int:
    """Read, turn, print; 0 whatever became of it."""
    _bound()
    kind, charset, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
    data = sys.stdin.buffer.read()
    try:
        found = pdf(data, most) if kind == "pdf" else page(data, charset)
    except ImportError as error:
        found = {"error": "missing", "text": error.name or str(error)}
    except MemoryError:
        found = {"error": "it needs more memory than a page may take"}
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {error}"[:300]}
    found["cut"] = len(found.get("text") or "") > most
    found["text"] = (found.get("text") or "")[:most]
    sys.stdout.buffer.write(json.dumps(found).encode())
    return 0


def _bound() -> None:
    try:
        import resource
    except ImportError:  # no such bounds on this system; the time limit of the parent holds
        return
    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS)):
        try:
            resource.setrlimit(what, (most, most))
        except (ValueError, OSError):
            continue


def page(data: bytes, charset: str) -> dict[str, Any]:
    """An HTML page as Markdown: its main part, or where nothing is found to be one, all of its text."""
    import trafilatura

    text = decoded(data, charset)
    meta = trafilatura.extract_metadata(text)
    body = trafilatura.extract(
        text,
        output_format="markdown",
        include_links=True,
        include_tables=True,
        include_comments=False,
        favor_recall=True,
    )
    if not body:
        body = trafilatura.html2txt(text)
    return {"text": body or "", "title": getattr(meta, "title", None) or "", "date": getattr(meta, "date", None) or ""}


def pdf(data: bytes, most: int) -> dict[str, Any]:
    """The text of a PDF, page by page, as far as there is room for it."""
    import logging

    import pypdf

    logging.disable(logging.CRITICAL)
    reader = pypdf.PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        return {"error": "it is encrypted and needs a password"}
    parts: list[str] = []
    for number, each in enumerate(reader.pages, 1):
        parts.append(f"[page {number}]\n{(each.extract_text() or '').strip()}")
        if sum(map(len, parts)) > most:
            break
    about = reader.metadata
    text = "\n\n".join(parts)
    if not re.sub(r"\[page \d+\]|\s", "", text):
        return {"error": "there is no text in it (it may be a scan)"}
    return {"text": text, "title": str((about and about.title) or ""), "pages": len(reader.pages)}


# Encodings of texts, by the names that Python knows them under. Others that it has are no encodings of pages: one takes time by the
# square of the length (punycode), one refuses everything (undefined), some are programs of their own (unicode_escape).
_TEXTS = re.compile(
    r"ascii|utf-(?:8|16|32).*|iso8859-\d+|iso2022_.+|cp\d+|koi8-.|kz1048|gb\w+|big5\w*|shift_jis\w*|euc_\w+|mac-\w+|tis-620|hz|johab"
)


def _is_text(name: str) -> bool:
    try:
        return _TEXTS.fullmatch(codecs.lookup(name).name) is not None
    except (LookupError, ValueError):
        return False


def decoded(data: bytes, charset: str) -> str:
    """Bytes as text: by their mark, by what the server says, by what the page says of itself, as UTF-8, or by their looks."""
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(name, "replace")
    named = re.search(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w:-]+)", data[:4096], re.IGNORECASE)
    for name in (charset, named[1].decode("ascii", "replace") if named else "", "utf-8"):
        with suppress(ValueError):
            if name and _is_text(name):
                return data.decode(name)
    try:
        from charset_normalizer import from_bytes

        best = from_bytes(data[:200_000]).best()
        if best is not None:
            return data.decode(best.encoding, "replace")
    except ImportError:
        pass
    return data.decode("windows-1252", "replace")


if __name__ == "__main__":
    sys.exit(main())
