"""A conversation as a document: Markdown, JSON or a page of HTML that needs nothing else. Secrets are masked in all of them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

from agent.errors import UsageError
from agent.events import Record
from agent.llm.messages import ImagePart, ReasoningPart, TextPart, ToolCallPart
from agent.text.cleaning import harmless, harmless_value
from agent.text.masking import mask, mask_all

if TYPE_CHECKING:
    from agent.llm.messages import Message, Part
    from agent.session.session import Session

Format = Literal["md", "json", "html"]
SCHEMA = 1
MOST_OF_A_COMMAND = 120
"""Characters of the command that made a message, in its heading."""


def parse_format(text: str) -> Format:
    """A format by its name. Raises UsageError."""
    for name in get_args(Format):
        if text == name:
            return name  # type: ignore[no-any-return]
    raise UsageError(f"there is no export format {text!r}", remedy="one of: " + ", ".join(get_args(Format)))


def export(
    session: Session, form: Format, *, redact: Callable[[str], str] = lambda text: text, raw: bool = False
) -> str:
    """The conversation up to its head, with its system prompt and what plugins kept.

    `redact` takes configured keys out. Nothing that steers a terminal is left in it, but for `raw`.
    """

    def clean(text: str) -> str:
        return mask(redact(text if raw else harmless(text)))

    match form:
        case "json":
            return _json(session, redact, raw=raw)
        case "html":
            text = _html(session, clean)
        case "md":
            text = "\n\n".join(_markdown(session, clean)) + "\n"
    # Once more: an entity (&#27;) becomes the character only in the document.
    return text if raw else harmless(text)


# JSON


def _json(session: Session, redact: Callable[[str], str], *, raw: bool) -> str:
    from agent.serialize import dumps, to_plain

    def plain(value: Any) -> Any:
        # Before secrets are looked for: what is left out behind that would put one together.
        return to_plain(value) if raw else harmless_value(to_plain(value))

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return redact(value)
        if isinstance(value, dict):
            # An image is not text: masking could only break it.
            return value if value.get("type") == "image" else {key: clean(item) for key, item in value.items()}
        return [clean(item) for item in value] if isinstance(value, list | tuple) else value

    whole = {
        "schema": SCHEMA,
        "session": session.id,
        "name": session.name,
        "origin": session.origin,
        "messages": [_masked(plain(message)) for message in session.transcript()],
        "records": [mask_all(plain(record)) for record in session.placed_records(private=False)],
    }
    return dumps(clean(whole), raw=raw, indent=2) + "\n"


def _masked(message: dict[str, Any]) -> dict[str, Any]:
    parts = [part if part["type"] == "image" else mask_all(part) for part in message["parts"]]
    return {**mask_all({key: value for key, value in message.items() if key != "parts"}), "parts": parts}


# Markdown


def _markdown(session: Session, clean: Callable[[str], str]) -> Iterator[str]:
    yield f"# {_heading(session, clean)}"
    for message in session.with_records():
        if isinstance(message, Record):
            yield f"◆ {escaped(clean(message.line))}"
            continue
        yield f"## {clean(_title(message))}"
        for part in message.parts:
            yield _markdown_part(message, part, clean)


def _heading(session: Session, clean: Callable[[str], str]) -> str:
    return f"{clean(session.name)} ({session.id})" if session.name else f"Conversation {session.id}"


def _title(message: Message) -> str:
    name = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Result"}[message.role]
    details = []
    if message.origin:
        details.append(message.origin)
    if message.tool_name:
        details.append(message.tool_name)
    if message.command:
        details.append(" ".join(message.command.split())[:MOST_OF_A_COMMAND])
    if message.synthetic:
        details.append("shell" if message.synthetic == "shell" else "written by the program")
    if message.is_error:
        details.append("failed")
    if message.incomplete:
        details.append("incomplete")
    if message.draft:
        details.append("a draft, held back")
    return f"{name} ({', '.join(details)})" if details else name


def _markdown_part(message: Message, part: Part, clean: Callable[[str], str]) -> str:
    match part:
        case TextPart() if message.role == "assistant":
            return clean(part.text)
        case TextPart():
            return fenced(clean(part.text))
        case ReasoningPart():
            quoted = clean(part.text).replace("\n", "\n> ")
            return f"> {quoted}" if quoted else "> (reasoning, kept by the provider)"
        case ToolCallPart():
            return f"Calls `{clean(part.name)}`:\n\n{fenced(clean(part.arguments), 'json')}"
        case ImagePart():
            return f"![image](data:{part.media_type};base64,{part.data})"


def escaped(text: str) -> str:
    """One line of plain text as Markdown: nothing in it is a mark."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!])", r"\\\1", text.replace("\n", " "))


def fenced(text: str, language: str = "") -> str:
    """Text as a code block whose fence is longer than any within it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


# HTML

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
section { border-inline-start: 3px solid #8884; padding-inline-start: 1rem; margin: 1.5rem 0; }
section.user { border-color: #2a7de1; }
section.assistant { border-color: #2a9d5c; }
h2 { font-size: .85rem; font-weight: 600; opacity: .7; margin: 0 0 .4rem; }
pre { background: #8881; padding: .7rem; border-radius: 6px; overflow-x: auto; white-space: pre-wrap; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
table { border-collapse: collapse; } td, th { border: 1px solid #8884; padding: .2rem .6rem; }
img { max-width: 100%; }
"""


def _html(session: Session, clean: Callable[[str], str]) -> str:
    from markdown_it import MarkdownIt

    from agent.text.markdown import with_tables

    # No HTML of a model's goes through, and markdown-it refuses links to scripts; the policy below holds what is left.
    markdown = with_tables(MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("strikethrough"))
    markdown.disable("image")  # a picture from elsewhere would tell its server who reads this

    def part_of(message: Message, part: Part) -> str:
        match part:
            case TextPart() if message.role == "assistant":
                return str(markdown.render(clean(part.text)))
            case TextPart():
                return f"<pre>{html.escape(clean(part.text))}</pre>"
            case ReasoningPart():
                return f"<details><summary>reasoning</summary><pre>{html.escape(clean(part.text))}</pre></details>"
            case ToolCallPart():
                name = html.escape(clean(part.name))
                return f"<details open><summary>calls {name}</summary><pre>{html.escape(clean(part.arguments))}</pre></details>"
            case ImagePart():
                kind, data = html.escape(part.media_type, quote=True), html.escape(part.data, quote=True)
                return f'<img alt="image" src="data:{kind};base64,{data}">'

    sections = []
    for message in session.with_records():
        if isinstance(message, Record):
            sections.append(f'<p class="{message.level}">◆ {html.escape(clean(message.line))}</p>')
            continue
        body = "\n".join(part_of(message, part) for part in message.parts)
        if message.role in ("system", "tool"):
            body = f"<details><summary>{html.escape(clean(_title(message)))}</summary>{body}</details>"
        else:
            body = f"<h2>{html.escape(clean(_title(message)))}</h2>{body}"
        sections.append(f'<section class="{message.role}">\n{body}\n</section>')
    title = html.escape(_heading(session, clean))
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{title}</h1>\n" + "\n".join(sections) + "\n</body>\n</html>\n"
    )
