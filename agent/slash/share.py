"""Taking words out of the conversation: /export and /copy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.commands import Act, Command, CommandContext, Result
from agent.errors import StateError, UsageError
from agent.slash.arguments import code, said
from agent.text.cleaning import harmless

if TYPE_CHECKING:
    from agent.host import Host
    from agent.session.session import Session

FORMATS = ("md", "json", "html")


def commands(host: Host) -> tuple[Command, ...]:
    """The two of them."""

    async def export(context: CommandContext, args: str) -> Result:
        return await asyncio.to_thread(_export, host, context.session, args)

    async def copy(context: CommandContext, args: str) -> Result:
        return _copy(context.session, args)

    return (
        Command(
            "export",
            "write the conversation to a file, without secrets",
            export,
            args_hint="[md | json | html] [FILE]",
            busy_ok=True,
            complete=_complete_export,
        ),
        Command(
            "copy",
            "put the last answer (or the Nth last) on the clipboard",
            copy,
            args_hint="[N | code]",
            busy_ok=True,
            complete=lambda typed: ["code"] if "code".startswith(typed) else [],
        ),
    )


def _complete_export(typed: str) -> Iterable[str]:
    return [form for form in FORMATS if form.startswith(typed)]


def _export(host: Host, session: Session, args: str) -> Result:
    from agent.session.export import export, parse_format

    if session.head is None:
        raise UsageError("there is nothing to export yet", remedy="say something first")
    word, _, rest = args.partition(" ")
    named = rest.strip()
    form = "md"
    if word in FORMATS:
        form = word
    elif args:
        named = args
        form = Path(args).suffix.lstrip(".").lower() or "md"
        if form not in FORMATS:
            raise UsageError(f"/export {args}: unknown format", remedy=f"/export {' | '.join(FORMATS)} {args}")
    cwd = host.agent.tools.context.cwd
    path = cwd / Path(named).expanduser() if named else cwd / f"conversation-{session.id}.{form}"
    text = export(session, parse_format(form), redact=host.config.redact)
    _write_new(path, text)
    return said(
        f"The conversation is saved to {code(str(path))} ({len(text):,} characters). Look through it before you pass it on."
    )


def _write_new(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} already exists", remedy="name another file: /export FORMAT FILE") from None
    except OSError as error:
        raise StateError(f"can't write {path}: {error.strerror or error}", remedy="name another file") from error


def _copy(session: Session, args: str) -> Result:
    answers = [
        message.text
        for message in session.transcript()
        if message.role == "assistant" and not message.draft and message.text.strip()
    ]
    if not answers:
        raise UsageError("there is no answer to copy yet", remedy="ask something first")
    if args == "code":
        blocks = code_blocks(answers[-1])
        if not blocks:
            raise UsageError("the last answer has no code block", remedy="/copy takes the whole answer")
        return Act("copy", harmless(blocks[-1]))
    if args and not (args.isascii() and args.isdigit() and 1 <= int(args) <= len(answers)):
        raise UsageError(
            f"/copy {args}: there is no such answer", remedy=f"a number from 1 (the last) to {len(answers)}"
        )
    return Act("copy", harmless(answers[-int(args or 1)]))


def code_blocks(markdown: str) -> list[str]:
    """What is in the code blocks of a Markdown text, in order."""
    from markdown_it import MarkdownIt

    return [token.content for token in MarkdownIt().parse(markdown) if token.type in ("fence", "code_block")]
