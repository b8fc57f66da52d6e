"""Items of the transcript as blocks: pure functions, one for each kind. Everything in them is literal but the model's Markdown."""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple

from textual.content import Content

from agent.events import RecordLevel, TodoItem
from agent.text.numbers import plural, span
from agent.ui import words
from agent.ui.tui.text.blocks import EMPTY, Block, clean
from agent.ui.tui.text.cells import one_line
from agent.ui.tui.text.diff import changed_lines, diff_blocks
from agent.ui.tui.text.markdown import FAINT, literal, to_blocks
from agent.ui.tui.transcript.items import Answer, Item, Note, Recorded, Thought, Todo, ToolRun, Typed

MAX_ANSWER = 60_000
"""Characters of a message that are shown at once; the rest is one key away."""
MAX_TYPED = 6_000
MAX_OUTPUT = 12_000
MAX_LINES = 200
SHORT_DIFF = 40
"""Lines of a diff that is shown without being asked for."""

INDENT = Content("  ")
BAR = Content.styled("│ ", FAINT)
OUTCOMES = {
    "running": ("◌", "$text-primary", ""),
    "ok": ("✓", "$text-success", ""),
    "error": ("✗", "$text-error", "failed"),
    "denied": ("⊘", "$text-warning", "not allowed"),
    "cancelled": ("■", "$text-warning", "stopped"),
}
GLYPHS = {"warning": "!", "error": "✗"}
"""What stands before a notice: colour alone is not seen by everybody."""
LEVELS = {"faint": FAINT, "info": FAINT, "warning": "$text-warning", "error": "$text-error"}
RECORDS: dict[RecordLevel, str] = {
    "good": "$text-success",
    "degraded": "$text-warning",
    "failed": "$text-error",
    "info": FAINT,
}
MAX_LINE = 2_000
TODO = {"pending": ("☐", ""), "in_progress": ("▸", "bold $text-primary"), "done": ("✓", FAINT)}


class Cut(NamedTuple):
    """A long text's beginning, and how much of it is not shown."""

    text: str
    hidden: int

    def note(self, *, rest: Content = EMPTY) -> list[Block]:
        """What says so, where there is more."""
        if not self.hidden:
            return []
        note = f"… {self.hidden:,} more characters (f: view in full)"
        return [Block(Content.styled(note, FAINT), first=rest, rest=rest, copied=0)]


def cut(text: str, limit: int, lines: int = 10**9) -> Cut:
    """The beginning of a text, at a line's end where one is near."""
    shown = text[:limit]
    if shown.count("\n") > lines:
        shown = "\n".join(shown.split("\n", lines)[:lines])
    elif len(shown) < len(text) and (end := shown.rfind("\n", limit * 3 // 4)) > 0:
        shown = shown[:end]
    return Cut(shown, len(text) - len(shown))


def hidden(item: Item) -> str | None:
    """The whole text of an item of which only a part is shown; None where all is."""
    match item:
        case Typed() if cut(item.text, MAX_TYPED, MAX_LINES).hidden:
            return item.text
        case Typed() if item.open and cut(item.sent, MAX_TYPED, MAX_LINES).hidden:
            return item.sent
        case Answer() if cut(item.text, MAX_ANSWER).hidden:
            return item.text
        case Thought() if item.open and cut(item.text, MAX_OUTPUT, MAX_LINES).hidden:
            return item.text
        case ToolRun() if item.open and cut(item.text, MAX_OUTPUT, MAX_LINES).hidden:
            return item.text
        case _:
            return None


@singledispatch
def blocks_of(item: Item) -> list[Block]:
    """What an item looks like."""
    raise NotImplementedError(type(item).__name__)


@blocks_of.register
def _typed(item: Typed) -> list[Block]:
    shown = cut(item.text, MAX_TYPED, MAX_LINES)
    mark = Content.styled("› ", "bold $text-primary")
    blocks = [Block(Content(clean(shown.text)), first=mark, rest=INDENT, copied=0, label="")]
    notes = [plural(item.images, "image")] if item.images else []
    notes += [item.how] if item.how else []
    if notes:
        blocks.append(Block(Content.styled(f"({', '.join(notes)})", FAINT), first=INDENT, rest=INDENT, copied=0))
    if item.sent:
        head = f"{'▾' if item.open else '▸'} sent as {plural(len(item.sent.splitlines()), 'line')}"
        blocks.append(Block(Content.styled(head, FAINT), first=INDENT, rest=INDENT, copied=0))
    if item.sent and item.open:
        sent = cut(item.sent, MAX_TYPED, MAX_LINES)
        blocks += [literal(sent.text, style=FAINT, first=BAR, rest=BAR), *sent.note(rest=BAR)]
    return blocks + shown.note(rest=INDENT)


@blocks_of.register
def _answer(item: Answer) -> list[Block]:
    head = [] if item.draft is None else [_note_line(f"draft, superseded: {one_line(item.draft)}", "$text-warning")]
    if item.live is not None:
        return head + item.live.blocks()
    shown = cut(item.text, MAX_ANSWER)
    blocks = to_blocks(shown.text) + shown.note()
    if item.mark:
        blocks.append(_note_line(f"[{one_line(item.mark)}]", "$text-warning"))
    return head + blocks


def _note_line(text: str, style: str) -> Block:
    return Block(Content.styled(text, style), copied=0)


@blocks_of.register
def _thought(item: Thought) -> list[Block]:
    if item.live:
        return [Block(Content.styled("∴ thinking …", FAINT))]
    took = f" for {span(item.seconds, exact=True)}" if item.seconds and item.seconds >= 0.1 else ""
    begun = "" if item.open else f"  {one_line(item.text[:200])}"
    head = literal(f"{'▾' if item.open else '▸'} thought{took}{begun}", style=FAINT)
    if not item.open:
        return [_line(head)]
    shown = cut(item.text, MAX_OUTPUT, MAX_LINES)
    return [head, literal(shown.text, style=FAINT, first=BAR, rest=BAR), *shown.note(rest=BAR)]


def _line(block: Block) -> Block:
    """The block on one line, cut at the edge."""
    body = block.content(0)
    return Block(lambda width: body.truncate(max(1, width), ellipsis=True), first=block.first, rest=block.rest)


@blocks_of.register
def _tool(item: ToolRun) -> list[Block]:
    glyph, colour, word = OUTCOMES[item.outcome]
    facts = [word] if word else []
    if item.diff:
        more, less = changed_lines(item.diff)
        facts.append(f"+{more} −{less}")
    if item.seconds >= 0.1:
        facts.append(span(item.seconds, exact=True))
    lines = [line for line in item.text.split("\n") if line.strip()] if item.outcome != "running" else []
    if item.outcome in ("error", "denied") and lines and not item.open:
        facts.append(one_line(words.failure(item.text)))
    elif lines and not item.open and not item.diff:
        facts.append(plural(len(lines), "line"))
    if item.outcome == "running" and item.progress.strip():
        # A carriage return begins the line anew, as progress bars do.
        facts.append(one_line(item.progress.replace("\r", "\n").rstrip("\n").split("\n")[-1][-200:]))
    title, told, failed = one_line(item.title[:400]), " · ".join(facts), item.outcome in ("error", "denied")
    head = Content.styled(glyph + " ", colour)
    blocks = [Block(lambda width: _head(title, told, width, failed), first=head, rest=INDENT)]
    if item.diff and (item.open or item.diff.count("\n") <= SHORT_DIFF):
        blocks += [_inset(block) for block in diff_blocks(item.diff)]
    if item.open and item.text.strip():
        shown = cut(item.text.rstrip("\n"), MAX_OUTPUT, MAX_LINES)
        blocks += [Block(Content(clean(shown.text)), first=BAR, rest=BAR, copied=0), *shown.note(rest=BAR)]
    return blocks


def _head(title: str, facts: str, width: int, failed: bool) -> Content:
    """What is called and what came of it, on one line. A long title gives way to the facts; those of a failure get a line of their own."""
    said, told = Content(title), Content.styled(facts, FAINT)
    if said.cell_length + 2 + told.cell_length <= width or not facts:
        return said.truncate(max(1, width), ellipsis=True) + (Content.styled(f"  {facts}", FAINT) if facts else "")
    if failed:
        return Content("\n").join(
            [said.truncate(max(1, width), ellipsis=True), told.truncate(max(1, width), ellipsis=True)]
        )
    room = max(1, width - 2 - min(told.cell_length, width // 2))
    return Content("  ").join(
        [
            said.truncate(room, ellipsis=True),
            told.truncate(max(1, width - 2 - min(room, said.cell_length)), ellipsis=True),
        ]
    )


def _inset(block: Block) -> Block:
    block.first, block.rest = Content.assemble(INDENT, block.first), Content.assemble(INDENT, block.rest)
    return block


@blocks_of.register
def _note(item: Note) -> list[Block]:
    style = LEVELS[item.level]
    blocks = [
        literal(
            cut(item.text, MAX_OUTPUT, MAX_LINES).text,
            style=style,
            first=Content.styled(f"{GLYPHS.get(item.level, '·')} ", style),
            rest=INDENT,
        )
    ]
    if item.remedy:
        blocks.append(literal(item.remedy, style=FAINT, first=INDENT, rest=INDENT))
    return blocks


@blocks_of.register
def _record(item: Recorded) -> list[Block]:
    style = RECORDS[item.record.level]
    return [literal(one_line(item.record.line[:MAX_LINE]), style=style, first=Content.styled("◆ ", style), rest=INDENT)]


@blocks_of.register
def _todo(item: Todo) -> list[Block]:
    done = sum(todo.status == "done" for todo in item.items)
    head = Block(Content.styled(f"to do: {done} of {len(item.items)} done", FAINT))
    before = {todo.text: todo.status for todo in item.before}
    same = bool(before) and {todo.text for todo in item.items} == set(before)
    shown = [todo for todo in item.items if not same or before[todo.text] != todo.status]
    return [head, *(_todo_line(todo) for todo in shown)]


def _todo_line(todo: TodoItem) -> Block:
    glyph, style = TODO[todo.status]
    return Block(
        Content.styled(one_line(todo.text), style), first=Content.styled(f"  {glyph} ", style), rest=Content("    ")
    )
