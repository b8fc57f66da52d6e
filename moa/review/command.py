"""`/review [@PRESET] [WHAT]`: the panel reads a change; what it finds is shown, and stands in the conversation."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agent.commands import CommandContext, Result, Said
from agent.errors import UsageError
from agent.views import StackView, TreeView, View
from moa.counsel.findings_view import HELD, place, tree
from moa.panel import prompts, tasks
from moa.panel.quoting import fence
from moa.review import asking, changes, findings

if TYPE_CHECKING:
    from moa.armed import Armed
    from moa.counsel.record import CounselRecord

MOST_LISTED = 20
"""Files that were left out, by name."""


def preset_in(words: str) -> tuple[str, str]:
    """The preset that a line names with @ (empty: none), and the rest of the line."""
    if not words.startswith("@"):
        return "", words
    name, _, rest = words[1:].partition(" ")
    return name, rest.strip()


async def run(moa: Armed, context: CommandContext, args: str) -> Result:
    """Review what `args` names. Raises UsageError."""
    name, words = preset_in(args.strip())
    preset = asking.ready(moa, name or moa.armed or moa.settings.preset)
    cwd = moa.host.cwd or Path.cwd()
    change = await asyncio.to_thread(changes.read, words, cwd, denied=moa.host.denied)
    if not change.files:
        why = "; ".join(f"{path}: {reason}" for path, reason in change.left_out)
        raise UsageError(
            f"there is nothing to review: {change.title}" + (f" ({why})" if why else ""),
            remedy="name a revision (/review HEAD~1), a range (/review main...HEAD) or a file",
        )
    _counsel, record = await asking.ask(
        moa,
        preset,
        tasks.REVIEW,
        session=context.session,
        history=(),
        emit=context.emit,
        reason=f"asked for with /review {words}".rstrip(),
        material=f"{prompts.CHANGE.format(title=change.title)}\n\n{fence(''.join(each.text for each in change.files))}",
        findings=partial(findings.of, changes=change),
    )
    return Said(view(record, change), told=told(record, change))


def view(record: CounselRecord, change: changes.Changes) -> View:
    """The findings, each with its place, who holds it, and whether the file bears it out."""
    about = f"{change.title}: {len(change.files)} file{'' if len(change.files) == 1 else 's'}"
    trees = [tree(record, title=about)]
    if change.left_out:
        left = [TreeView(label=path, about=why) for path, why in change.left_out[:MOST_LISTED]]
        if more := len(change.left_out) - len(left):
            left.append(TreeView(label=f"and {more} more"))
        trees.append(TreeView(label=f"Not reviewed ({len(change.left_out)})", children=tuple(left)))
    return StackView(views=tuple(trees))


def told(record: CounselRecord, change: changes.Changes) -> str:
    """The findings for the main model, which the user may ask to mend some of them; empty where there are none."""
    if not record.findings:
        return ""
    lines = []
    for number, each in enumerate(record.findings, 1):
        held = HELD.get(each.held, each.held)
        doubt = "" if each.verified else f"; not borne out by the file: {each.reason}"
        lines.append(f"{number}. {place(each)}[{each.grade or 'note'}; {held}{doubt}] {each.claim}")
        lines += [f"   - {note}" for note in each.notes]
    head = f"I had other models review {change.title}. Their findings, unverified but for the places; do nothing about them before I say so:"
    return f"{head}\n{fence(chr(10).join(lines))}"
