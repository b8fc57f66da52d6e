"""What a question about a call shows in every face: all of it, and nothing in it unseen; and what counts as an answer."""

from __future__ import annotations

import unicodedata
from typing import Literal

from agent.approval.approval import ApprovalRequest, UserAnswer
from agent.approval.question import arguments
from agent.approval.rules import exactly
from agent.text.cleaning import visible
from agent.text.numbers import plural
from agent.ui.columns import width

MOST_CHARS = 20_000
"""Characters of an argument that are shown; what is beyond is counted."""
MOST_LINES = 2_000
"""Lines of a diff that are shown; likewise."""
BAR = "  │ "
"""Before each line that somebody else wrote."""
SILENCE_S = 1.5
"""Seconds without a key that must go by before an answer counts: what was typed ahead, or is still being typed, was meant for
something else."""

ANSWERS: dict[str, Literal["once", "session", "always", "no"]] = {
    "1": "once",
    "y": "once",
    "yes": "once",
    "2": "session",
    "3": "always",
    "4": "no",
    "n": "no",
    "no": "no",
}
"""What a line may begin with where an answer is entered as a line."""


def unshown(text: str) -> str:
    """In so many words what of a text is beyond `MOST_CHARS`; empty where nothing is."""
    return f"… and {len(text) - MOST_CHARS:,} more characters not shown" if len(text) > MOST_CHARS else ""


def too_long(request: ApprovalRequest) -> bool:
    """Whether a part of it is shown nowhere. Then nothing but a number may allow it."""
    if request.diff:
        return request.diff.count("\n") > MOST_LINES
    return any(len(text) > MOST_CHARS for _, text in arguments(request))


def heading(request: ApprovalRequest) -> str:
    """The title, without the text that stands in full below it."""
    name = request.call.name
    title = visible(request.title or name)
    said = title.removeprefix(f"{name} ").removesuffix("…")
    if said in ("", title) or request.diff:
        return title
    below = (" ".join(text.split()) for _, text in arguments(request))
    return name if any(text.startswith(said) for text in below) else title


def allowed(request: ApprovalRequest, rule: str | None = None) -> str:
    """What "session" and "always" would allow. A rule on this very command is said so, because the command stands above."""
    shown = visible(rule or request.rule)
    if any(shown == f"{request.call.name}({exactly(text)})" for _, text in arguments(request)):
        return "exactly this command"
    return shown


def read_answer(line: str, request: ApprovalRequest) -> UserAnswer | None:
    """What an entered line says: a number or a word, and after a no the reason. None for what is no answer.

    Where not all of the question was shown, only a number is a yes.
    """
    word, _, reason = line.strip().partition(" ")
    word = word.lower().rstrip(",.:")
    verdict = ANSWERS.get(word)
    if verdict is None or (reason and verdict != "no"):
        return None
    if verdict != "no" and not word.isdigit() and too_long(request):
        return None
    return UserAnswer(verdict, reason.strip())


def folded(text: str, columns: int) -> str:
    """A text with every line that is wider than the terminal in pieces, behind a bar: what a model wrote begins no line of the screen, where
    it could pass for a question of ours."""
    return "\n".join(piece for line in text.split("\n") for piece in _pieces(line, columns))


def framed(text: str, columns: int) -> str:
    """Words of ours with a text in them that may have lines of its own: those, too, stand behind a bar."""
    return folded(text.replace("\n", f"\n{BAR}"), columns)


def _pieces(line: str, columns: int) -> list[str]:
    room = max(1, columns - len(BAR))
    line = line.expandtabs()
    if line.isascii() and len(line) <= columns:
        return [line]
    pieces, start, taken = [], 0, -len(BAR)  # the first piece has no bar
    for at, char in enumerate(line):
        taken += _cells(char)
        if taken > room:
            cut = line.rfind(" ", start + (at - start) // 2, at) + 1 or at  # behind a word, where there is one
            pieces.append(line[start:cut])
            start, taken = cut, sum(map(_cells, line[cut : at + 1]))
    pieces.append(line[start:])
    return [pieces[0], *(BAR + piece for piece in pieces[1:])]


def _cells(char: str) -> int:
    # What some terminals draw wide counts as wide.
    return 1 if char.isascii() else 2 if unicodedata.east_asian_width(char) in "WFA" else width(char)


def in_lines(request: ApprovalRequest) -> list[str]:
    """The arguments as lines below the title, for faces that print; none where the title has said it all."""
    parts = arguments(request)
    if len(parts) == 1 and "\n" not in parts[0][1] and visible(request.title).endswith(parts[0][1]):
        return []
    lines = []
    for name, text in parts:
        shown = [*text[:MOST_CHARS].split("\n"), *filter(None, [unshown(text)])]
        first, *rest = [f"{name}: {shown[0]}" if name else shown[0], *shown[1:]]
        lines += [f"{BAR}{first}", *(f"{BAR}{line}" for line in rest)]
    return lines


def in_full(request: ApprovalRequest) -> list[str]:
    """The change as a diff where there is one, else the arguments, as lines without colours."""
    if not request.diff:
        return in_lines(request)
    diff = visible(request.diff).split("\n")
    more = len(diff) - MOST_LINES
    return diff[:MOST_LINES] + ([f"… and {plural(more, 'more line')} not shown"] if more > 0 else [])
