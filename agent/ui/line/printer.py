"""Events as lines that are printed once and stay: the terminal's own scrollback is the transcript."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable

from agent.approval.question import reason
from agent.chat.events import Action, Answered, Asked, ChatEvent, Inquired, Opened, Queued, Refused, Shown
from agent.events import (
    Compacted,
    DraftSuperseded,
    ModelFinished,
    ModelRetrying,
    ModelStarted,
    Notice,
    Record,
    RecordLevel,
    SideFinished,
    SideProgress,
    SideStarted,
    Steered,
    TextDeltaEvent,
    TodoChanged,
    TodoItem,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from agent.forms import Choices
from agent.ledger.rows import role_in_words
from agent.llm.messages import Message
from agent.session.seen import ToolSeen
from agent.text.cleaning import harmless, visible
from agent.text.numbers import count, plural, span
from agent.ui import words
from agent.ui.asking import allowed, folded, framed, heading, in_full
from agent.ui.columns import flow
from agent.ui.line.blocks import Blocks, at_once
from agent.ui.line.paint import Paint, Style

SHOWN_MESSAGES = 30
"""Messages of a reopened session that are printed."""
DIFF_LINES = 60
MARKS = {"pending": "[ ]", "in_progress": "[>]", "done": "[x]"}
LEVELS: dict[RecordLevel, Style] = {"good": "cyan", "degraded": "yellow", "failed": "red", "info": "dim"}
MOST_OF_A_LINE = 2_000
STATES: dict[str, Style] = {"info": "dim", "warning": "yellow", "error": "red"}


class Printer:
    """Prints each event as it comes, an answer block by block. `out` takes whole lines, without the last line's end.

    `typed` is what stands in the scrollback already, because it was entered at the prompt; a message that is not the one is printed.
    """

    def __init__(self, paint: Paint, out: Callable[[str], None]) -> None:
        self.paint = paint
        self.typed: str | None = None
        self._out = out
        self._blocks = Blocks()
        self._spoke = False
        self._in_list = False
        self._sides: dict[str, str] = {}
        self._asked_about: set[str] = set()

    def apply(self, event: ChatEvent) -> None:
        """Print what an event says. What only moves (progress, queues) is the toolbar's."""
        paint, out = self.paint, self._out
        match event:
            case TextDeltaEvent():
                self._blocks_out(self._blocks.feed(event.text))
            case ModelStarted():
                self._blocks, self._spoke = Blocks(), False
            case ModelFinished():
                self._model_finished(event)
            case ModelRetrying():
                out(paint.prose(f"· {event.reason}; trying again in {span(event.delay_s, exact=True)}", "dim"))
            case ToolStarted():
                side = self._sides.get(event.source)
                told = words.first_line(event.title or event.call.name, 200)
                out(paint.prose(f"    {side} · {told}", "dim") if side else paint.prose(f"· {told}", "cyan"))
            case ToolFinished():
                self._tool_finished(event)
            case SideStarted():
                self._sides[event.id] = f"{role_in_words(event.kind)} {event.label}"
            case SideProgress() if event.state == "soft_deadline":
                name = self._sides.get(event.id, event.id)
                out(paint.prose(f"  … {name}: nothing yet after {event.elapsed_s:.0f} s", "yellow"))
            case SideFinished():
                self._side_finished(event)
            case Record() if event.line:
                out(self._record(event))
            case DraftSuperseded():
                out(paint.prose(f"· that was a draft, kept aside: {event.reason}", "yellow"))
            case Compacted() if event.reason != "command":
                out(paint.prose(f"· {words.compacted(event)}", "dim"))
            case Steered():
                self._said(event.message, "» ")
            case TodoChanged():
                self._todo(event.items)
            case Notice():
                out(paint.prose(f"· {event.text}", STATES[event.level]))
            case TurnStarted():
                if event.prompt.synthetic is not None:
                    out(paint.prose(f"· continuation: {words.first_line(event.prompt.text)}", "dim"))
                elif event.prompt.typed != self.typed:
                    self._said(event.prompt)
                self.typed = None
            case TurnFinished():
                self._turn_finished(event)
            case Opened():
                self._opened(event)
            case Shown():
                out(paint.view(event.view))
            case Asked():
                self._asked(event)
            case Answered():
                said = "the question is settled: the turn was stopped" if event.answer is None else None
                if said:
                    out(paint(f"· {said}", "dim"))
            case Inquired(form=Choices() as form):
                out("")
                out(paint(form.title, "bold"))
                if form.text:
                    self.say(form.text)
                if form.view is not None:
                    out(paint.view(form.view))
            case Refused():
                self._problem(event.message, event.remedy)
            case Queued() | Action() | _:
                pass

    def say(self, text: str) -> None:
        """Words of the program's own."""
        self._out(flow(harmless(text), self.paint.width() - 1))

    # The model

    def _blocks_out(self, blocks: list[str]) -> None:
        for block in at_once(blocks):
            first = block.lstrip()[:1]
            in_list = first in "-*+" or first.isdigit()
            if self._spoke and not (in_list and self._in_list):
                self._out("")
            self._out(self.paint.markdown(block))
            self._spoke, self._in_list = True, in_list

    def _model_finished(self, event: ModelFinished) -> None:
        rest = self._blocks.close()
        if not self._spoke and not rest and event.message.text:
            rest = [event.message.text]  # it came in one piece
        self._blocks_out(rest)
        if event.message.incomplete:
            self._out(self.paint("  (the answer is cut off)", "yellow"))

    def _turn_finished(self, event: TurnFinished) -> None:
        self._blocks_out(self._blocks.close())
        if event.status == "interrupted":
            self._out(self.paint("· stopped; what came is kept", "yellow"))
        elif event.error is not None:
            self._problem(event.error.message, event.error.remedy)
        self._out(self.paint(f"  {words.came_to(event)}", "dim"))
        self._out("")

    # What it does

    def _tool_finished(self, event: ToolFinished) -> None:
        if side := self._sides.get(event.source):  # its report tells what came of it
            if event.outcome != "ok" or event.diff:
                told = words.failure(event.text)
                self._out(self.paint.prose(f"    {side} · {event.call.name} {event.outcome}: {told}", "dim"))
            return
        mine = event.source == "user"  # the user's own command: its output is what was asked for
        if event.outcome != "ok":
            self._out(self.paint.prose(f"  {event.outcome}: {words.failure(event.text)}", "red"))
        if mine and event.text:
            self._out(self.paint(event.text.rstrip("\n"), "dim"))
        elif event.outcome == "ok" and event.diff:
            if event.call.id not in self._asked_about:  # the question has shown it
                self._out(self.paint.diff(event.diff, DIFF_LINES))
        elif event.outcome == "ok" and event.text.strip():
            lines = event.text.strip().count("\n")
            more = f" (and {plural(lines, 'more line')})" if lines else ""
            self._out(self.paint(f"  {words.first_line(event.text.strip().splitlines()[0])}{more}", "dim"))

    def _side_finished(self, event: SideFinished) -> None:
        name = self._sides.pop(event.id, event.id)
        served = event.model_served or ""
        parts = ["" if name.endswith(served.rpartition("/")[2]) else served, span(event.duration_s, exact=True)]
        if event.usage is not None:
            parts.append(f"{count(event.usage.completion)} tokens")
        parts.append(words.money(event.cost))
        figures = ", ".join(part for part in parts if part)
        why = event.error.message if event.error else words.said(event)
        marks: dict[str, tuple[str, Style]] = {
            "answered": ("answered", "green"),
            "late": ("late", "yellow"),
            "cancelled": ("stopped", "yellow"),
            "failed": ("failed", "red"),
        }
        outcome, style = marks[event.outcome]
        said = f": {words.first_line(why)}" if why else ""
        line = f"  {self.paint(f'{name} {outcome}', style)} {self.paint(f'({figures}){said}', 'dim')}"
        self._out(flow(line, self.paint.width() - 1))

    def _todo(self, items: tuple[TodoItem, ...]) -> None:
        for item in items:
            self._out(self.paint(f"  {MARKS[item.status]} {item.text}", "dim" if item.status == "done" else "cyan"))

    def _asked(self, event: Asked) -> None:
        request, paint = event.request, self.paint
        lines, columns = in_full(request), paint.width() - 1
        title = heading(request) if lines else visible(request.title or request.call.name)
        self._out("")
        self._out(paint(framed(f"Allow this? {title}", columns), "yellow"))
        if request.diff:
            self._asked_about.add(request.call.id)
            shown = folded("\n".join(lines), columns)
            self._out(paint.diff(shown, shown.count("\n") + 1))
        elif lines:
            self._out(paint(folded("\n".join(lines), columns), "cyan"))
        if why := reason(request):
            self._out(paint(framed(why, columns), "dim"))
        self._out(paint.prose("1 once · 2 for this session · 3 always · 4 no (4 because …)", "yellow"))
        self._out(paint(framed(f"2 and 3 allow: {allowed(request)}", columns), "dim"))

    # The conversation

    def _opened(self, event: Opened) -> None:
        self._blocks, self._spoke = Blocks(), False
        self._sides.clear()
        messages = [message for message in event.history if message.role != "system"]
        left_out = len(messages) - SHOWN_MESSAGES
        if left_out > 0:
            self._out(self.paint(f"… {plural(left_out, 'earlier message')}: /export writes them all", "dim"))
        first = max(0, left_out)
        for number, message in enumerate(event.history, 1):
            if message.role != "system" and (first := first - 1) < 0:
                self._message(message)
            for record, after in event.records:
                if after == number and first < 0 and record.line:
                    self._out(self._record(record))
            for seen, after in event.seen:
                if after == number and first < 0 and not isinstance(seen, ToolSeen):
                    self.apply(seen)
        self._todo(event.todo)
        self._out(self.paint(f"session {event.session} · /help", "dim"))

    def whole(self, messages: Iterable[Message]) -> None:
        """Print all messages, what tools said included."""
        for message in messages:
            if message.role == "tool":
                self._out(self.paint(textwrap.indent(message.text.rstrip("\n"), "  "), "dim"))
            elif message.role != "system":
                self._message(message)
                if message.synthetic is None and not message.typed.endswith(message.text):
                    self._out(self.paint(textwrap.indent(message.text.rstrip("\n"), "  "), "dim"))

    def _record(self, record: Record) -> str:
        return self.paint.prose(f"◆ {words.first_line(record.line, MOST_OF_A_LINE)}", LEVELS[record.level])

    def _message(self, message: Message) -> None:
        if message.role == "user":
            if message.synthetic is None:
                self._said(message)
        elif message.role == "assistant":
            if message.text:
                self._out(self.paint.markdown(message.text))
            for call in message.tool_calls:
                self._out(self.paint(f"· {call.name} {words.first_line(call.arguments)}", "cyan"))
            if message.incomplete:
                self._out(self.paint("  (the answer is cut off)", "yellow"))
        elif message.is_error:
            self._out(self.paint.prose(f"  error: {words.first_line(message.text)}", "red"))

    def _said(self, message: Message, mark: str = "› ") -> None:
        self._out(self.paint.prose(mark + message.typed, "bold"))

    def _problem(self, message: str, remedy: str | None) -> None:
        self._out(self.paint.prose(f"✗ {message}", "red"))
        if remedy:
            self._out(self.paint.prose(f"  {remedy}", "yellow"))
