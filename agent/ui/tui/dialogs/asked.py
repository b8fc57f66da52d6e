"""What a question is about, as blocks: the change, or the call's arguments, with nothing in it unseen."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content

from agent.approval.approval import ApprovalRequest
from agent.approval.question import arguments, reason
from agent.text.cleaning import visible
from agent.ui.asking import MOST_CHARS, MOST_LINES, allowed, heading, unshown
from agent.ui.tui.text.blocks import Block, clean
from agent.ui.tui.text.cells import fit, one_line
from agent.ui.tui.text.diff import diff_blocks

BAR = Content.styled("│ ", "$text-warning")


def what(request: ApprovalRequest, width: int, *, title_lines: int) -> list[Block]:
    """What would be done, and of title and rule whatever finds no room in their places."""
    title, rule = heading(request), allowed(request)
    blocks = _done(request)
    if cell_len(title) > 0.8 * (title_lines * (width - 8) - 18):  # it is wrapped at words
        blocks.insert(0, Block(Content(clean(title)), first=BAR, rest=BAR))
    if why := reason(request):
        blocks.append(Block(Content.styled(clean(why), "dim")))
    if "\n" in rule or cell_len(rule) > width - 32:
        head = Content.styled("2 and 3 allow: ", "dim")
        blocks.append(Block(Content(clean(rule)), first=head, rest=Content(""), gap=True))
    return blocks


def _done(request: ApprovalRequest) -> list[Block]:
    """The change as a diff, else the arguments, a single text in full."""
    if request.diff:
        return diff_blocks(visible(request.diff), most=MOST_LINES)
    parts = arguments(request)
    if len(parts) == 1 and not parts[0][0]:
        return [_shown(parts[0][1], BAR, BAR)]
    names = min(max((cell_len(one_line(name)) for name, _ in parts), default=0), 16)
    return [_shown(text, Content.styled(fit(one_line(name), names) + "  ", "dim"), Content("")) for name, text in parts]


def _shown(text: str, first: Content, rest: Content) -> Block:
    """A text, and in so many words what of it is not shown: nobody should allow what they can't see."""
    body = Content(clean(text[:MOST_CHARS]))
    if more := unshown(text):
        body += Content.styled(f"\n{more}", "bold $text-warning")
    return Block(body, first=first, rest=rest)
