"""Asking for approval on the controlling terminal, for runs without a face."""

from __future__ import annotations

import asyncio

from agent.approval import ApprovalRequest, UserAnswer
from agent.ui.text import harmless, visible

DIFF_LINES = 60


class TerminalApprover:
    """Asks on /dev/tty, so that standard input and output stay free for the prompt and the answer."""

    async def ask(self, request: ApprovalRequest) -> UserAnswer:
        """Show the call (and a file's change as a diff), and read the answer."""
        line = await asyncio.to_thread(_converse, _question(request))
        choice, _, reason = line.strip().partition(" ")
        match choice.lower().rstrip(","):
            case "1" | "y" | "yes":
                return UserAnswer("once")
            case "2":
                return UserAnswer("session")
            case "3":
                return UserAnswer("always")
            case "4" | "n" | "no" | "":
                return UserAnswer("no", reason)
        return UserAnswer("no", line.strip())


def _question(request: ApprovalRequest) -> str:
    from agent.ui.asking import in_lines

    lines = ["", f"{request.call.name}: {visible(request.title)}"]
    if request.diff:
        diff = visible(request.diff).split("\n")
        lines += diff[:DIFF_LINES]
        if len(diff) > DIFF_LINES:
            lines.append(f"… {len(diff) - DIFF_LINES} more lines")
    else:
        lines += in_lines(request)
    rule = " ".join(visible(request.rule).split())
    lines.append(f"1 once · 2 for this session: {rule} · 3 always: {rule} · 4 no (4 because …)")
    return harmless("\n".join(lines)) + "\n> "


def _converse(question: str) -> str:
    try:
        with open("/dev/tty", "r+", encoding="utf-8", errors="replace", buffering=1) as terminal:  # noqa: PTH123 - a device
            terminal.write(question)
            terminal.flush()
            return terminal.readline()
    except OSError:
        return "4 there is no terminal to ask on"
