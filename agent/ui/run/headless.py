"""No face: one turn from the command line, as text, one JSON object, or a stream of JSON lines."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from agent.commands import Act, CommandContext, RunTurn, Said
from agent.errors import StateError, UsageError
from agent.events import (
    AgentEvent,
    Compacted,
    Cost,
    ErrorInfo,
    ModelFinished,
    ModelRetrying,
    Notice,
    Record,
    SideFinished,
    SideProgress,
    SideStarted,
    TextDeltaEvent,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStatus,
)
from agent.ledger.rows import role_in_words
from agent.llm.messages import ImagePart, Message, TextPart
from agent.loop.turn import Turn
from agent.outgoing import Redaction
from agent.text.cleaning import harmless
from agent.text.numbers import plural, span
from agent.ui import words
from agent.ui.run.interrupts import Interrupts
from agent.ui.run.result import EXIT_CODES, result
from agent.values import dataclass

if TYPE_CHECKING:
    from agent.host import Host
    from agent.loop.answer_schema import AnswerSchema

Format = Literal["text", "json", "stream-json"]


@dataclass(slots=True)
class Output:
    """Where a run's words go. `live`: standard output is a terminal, so the answer appears as it is written. `raw`: the answer and JSON
    are left as models wrote them, with what steers a terminal."""

    format: Format = "text"
    quiet: bool = False
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    live: bool = False
    raw: bool = False
    redaction: Redaction = Redaction()
    """Takes configured keys out of all of it; known once the settings have been read."""
    kinds: tuple[str, ...] = ()
    """Kinds of records that the JSON result always has."""
    labels: dict[str, str] = field(default_factory=dict)
    """What side work is called, by its id."""
    _ended: threading.Lock = field(default_factory=threading.Lock)

    def say(self, text: str) -> None:
        """A line on standard error, unless quiet."""
        if not self.quiet:
            try:
                print(self._shown(text), file=self.err, flush=True)
            except OSError:  # nobody reads it; the run is worth more than its commentary
                self.quiet = True

    def _shown(self, text: str) -> str:
        """Harmless, and at a terminal without words that are broken at the edge."""
        text = harmless(self.redaction.whole(text))
        if not self.err.isatty():
            return text
        from agent.ui.columns import flow, of_terminal

        return flow(text, of_terminal(self.err) or 80)

    def problem(self, error: ErrorInfo) -> None:
        """An error on standard error, quiet or not."""
        try:
            print(self._shown(f"moa: {error.message}"), file=self.err, flush=True)
            if error.remedy:
                print(self._shown(f"     {error.remedy}"), file=self.err, flush=True)
        except OSError:  # the exit code says it all the same
            pass

    def json(self, value: dict[str, Any]) -> None:
        """One JSON value on a line of its own."""
        from agent.serialize import dumps

        print(dumps(self.redaction.value(value), raw=self.raw), file=self.out, flush=True)

    def answer(self, text: str, *, end: str = "\n") -> None:
        """A model's words, or a piece of them, on standard output."""
        print(text if self.raw else harmless(text), end=end, file=self.out, flush=True)

    def end(self, value: dict[str, Any]) -> bool:
        """The one object that ends a run; False where there was one already: a second is not written, whoever comes with it."""
        if not self._ended.acquire(blocking=False):
            return False
        self.json(value)
        return True

    @property
    def ended(self) -> bool:
        """Whether that object is written, or about to be."""
        return self._ended.locked()


@dataclass(frozen=True, slots=True)
class Beside:
    """What a run is given beside its prompt. `stream`: each message that it brings is a turn of its own."""

    images: tuple[Path, ...] = ()
    schema: AnswerSchema | None = None
    stream: TextIO | None = None


async def run(
    host: Host,
    prompt: str,
    output: Output,
    *,
    most_calls: int | None = None,
    interrupts: Interrupts | None = None,
    typed: bool = True,
    beside: Beside = Beside(),  # noqa: B008 - frozen
) -> int:
    """Run a prompt, or a slash command, to its end. Returns the exit code. `interrupts` (the caller has them listen) stop it in order.

    `typed`: the user wrote the prompt. What was piped in may be anybody's text, and is a message whatever it begins with.
    A plugin may have further turns follow (a goal). `most_calls` then bounds the calls of the main model in all of them together.
    Raises OSError where standard output can't be written; the turn is stopped in order then, too.
    """
    task = asyncio.current_task()
    assert task is not None
    interrupts = interrupts or Interrupts(task)
    output.redaction = host.config.redaction()
    output.kinds = tuple(dict.fromkeys((*output.kinds, *host.records())))
    try:
        if beside.schema is not None:
            host.agent.plugins = (beside.schema, *host.agent.plugins)
            output.live = False  # what is written on the way is not the answer yet
        if beside.stream is not None:
            return await _stream(host, prompt, output, interrupts, most_calls, beside)
        return await _run(host, prompt, output, interrupts, most_calls, beside, typed=typed)
    except asyncio.CancelledError:
        if not interrupts.stopped:
            raise
        # A command was stopped, which may have called models itself.
        calls, cost = _booked(host, run=host.agent.run)
        return stopped(output, session=_session_id(host), calls=calls, cost=cost)


async def _run(
    host: Host,
    prompt: str,
    output: Output,
    interrupts: Interrupts,
    most_calls: int | None,
    beside: Beside,
    *,
    typed: bool,
) -> int:
    records: list[Record] = []
    options: dict[str, Any] = {}

    def emit(event: AgentEvent) -> None:
        if isinstance(event, Record):
            records.append(event)
        show(event, output)

    context = CommandContext(session=host.agent.session, emit=emit)
    try:
        answer = await host.commands.run(prompt, context) if typed else None
        if isinstance(answer, Act) and answer.view is not None:
            answer = Said(answer.view)
        if isinstance(answer, Act):
            raise UsageError(f"{prompt.split()[0]} is for an open conversation", remedy="start one with: moa")
        if isinstance(answer, Said):
            _end_command(host, answer, records, output)
            return 0
        command = ""
        if isinstance(answer, RunTurn):
            command, prompt, options = prompt, answer.prompt, dict(answer.options)
        if host.model_error:
            raise host.model_error
        message = replace(await _message(host, prompt, beside), command=command)
    except UsageError as error:
        problem = ErrorInfo(kind=error.kind, message=error.message, remedy=error.remedy)
        return fail("usage", problem, output, session=_session_id(host))
    finished = await _turns(Turn(host.agent, message, options=options), output, records, interrupts, most_calls)
    finished = _as_asked(finished, beside)
    _answered(finished, output)
    return _end(host, finished, records, output)


async def _stream(
    host: Host, prompt: str, output: Output, interrupts: Interrupts, most_calls: int | None, beside: Beside
) -> int:
    """A turn for the prompt, where there is one, and for each message of the stream; one ending for all."""
    from agent.ui.run.stream_input import FORM, StreamInput

    assert beside.stream is not None
    records: list[Record] = []
    finished: TurnFinished | None = None

    def stop() -> None:
        if interrupts.turn is not None:
            interrupts.turn.cancel()

    async def messages() -> AsyncIterator[Message]:
        if prompt:
            yield await _message(host, prompt, beside)
        first = not prompt
        async for message in StreamInput(beside.stream, stop).messages():  # type: ignore[arg-type]
            asked = beside.schema.ask if beside.schema is not None else ""
            parts = (*message.parts, TextPart(text=f"\n\n{asked}")) if asked else message.parts
            yield replace(message, parts=(*parts, *(await _images(host, beside) if first else ())))
            first = False

    try:
        if host.model_error:
            raise host.model_error
        async for message in messages():
            turn = Turn(host.agent, message)
            finished = _as_asked(await _turns(turn, output, records, interrupts, most_calls), beside)
            _answered(finished, output)
            if interrupts.stopped or finished.status in ("usage", "budget"):
                break
        if finished is None:
            raise UsageError("nothing came on standard input", remedy=FORM)
    except UsageError as error:
        problem = ErrorInfo(kind=error.kind, message=error.message, remedy=error.remedy)
        calls, cost = _booked(host, run=host.agent.run)
        return fail("usage", problem, output, session=_session_id(host), calls=calls, cost=cost)
    calls, cost = _booked(host, run=host.agent.run)
    return _end(host, replace(finished, cost=cost), records, output)


async def _message(host: Host, prompt: str, beside: Beside) -> Message:
    """The prompt with what goes with it. Raises UsageError for an image that can't be sent."""
    text = f"{prompt}\n\n{beside.schema.ask}" if beside.schema is not None else prompt
    return Message(role="user", parts=(TextPart(text=text), *await _images(host, beside)))


async def _images(host: Host, beside: Beside) -> tuple[ImagePart, ...]:
    if not beside.images:
        return ()
    from agent.ui.mentions import load_image

    agent = host.agent
    if agent.client.facts(agent.model).images is False:
        raise UsageError(f"{agent.model} takes no images", remedy="leave --image out, or choose another model")
    context = agent.tools.context
    paths = [context.cwd / path.expanduser() for path in beside.images]
    load = partial(load_image, root=context.cwd, deny=context.deny_paths)
    return tuple([await asyncio.to_thread(load, path) for path in paths])


def _as_asked(finished: TurnFinished, beside: Beside) -> TurnFinished:
    """The answer as the schema wants it: the JSON alone."""
    found = beside.schema.read(finished.text)[0] if beside.schema is not None and finished.text else None
    return finished if found is None else replace(finished, text=found)


def _answered(finished: TurnFinished, output: Output) -> None:
    if output.format != "text":
        return
    if finished.error is not None:
        output.problem(finished.error)
    if not output.live and finished.text:
        output.answer(finished.text)


def _end(host: Host, finished: TurnFinished, records: list[Record], output: Output) -> int:
    """The end of a run: its cost, or the one object. Returns the exit code."""
    if output.format == "text":
        _say_cost(host, finished, output)
    else:
        calls, _cost = _booked(host, run=host.agent.run)
        output.end(
            result(
                status=finished.status,
                session=_session_id(host),
                error=finished.error,
                text=finished.text,
                cost=finished.cost,
                calls=calls,
                records=records,
                kinds=output.kinds,
            )
        )
    return EXIT_CODES[finished.status]


async def _turns(
    turn: Turn, output: Output, records: list[Record], interrupts: Interrupts, most_calls: int | None
) -> TurnFinished:
    """The turn, and what plugins have follow it: one ending for all, with the sums of the run."""
    agent, left = turn.agent, most_calls
    calls, started = 0, time.monotonic()
    while True:
        finished = await _turn(turn, output, records, interrupts)
        calls += finished.iterations
        further = turn.further
        if further is None or further.message is None or interrupts.stopped:
            break
        if left is not None and (left := left - finished.iterations) <= 0:
            remedy = f"raise --max-iterations, or resume with --session {agent.session.id}"
            told = f"stopped after {plural(calls, 'call')} of the main model"
            error = ErrorInfo(kind="max_iterations", message=told, remedy=remedy)
            finished = replace(finished, status="limit", error=error)
            break
        agent.max_iterations = left or agent.max_iterations
        turn = Turn(agent, further.message)
    if calls == finished.iterations:
        return finished
    try:
        usage, total = agent.ledger.usage(run=agent.run), agent.ledger.total(run=agent.run)
    except StateError:
        return finished
    cost = Cost(usd=total.usd, lower_bound=total.lower_bound)
    return replace(finished, usage=usage, cost=cost, iterations=calls, duration_s=time.monotonic() - started)


async def _turn(turn: Turn, output: Output, records: list[Record], interrupts: Interrupts) -> TurnFinished:
    interrupts.turn = turn
    finished: TurnFinished | None = None
    async with aclosing(turn.events()) as events:
        async for event in events:
            if isinstance(event, Record):
                records.append(event)
            elif isinstance(event, TurnFinished):
                finished = event
            if output.format == "stream-json":
                from agent.serialize import to_plain

                output.json(to_plain(event))
            elif output.format == "text":
                show(event, output)
    if finished is None:
        raise AssertionError("a turn ended without turn_finished")
    return finished


def fail(status: TurnStatus, error: ErrorInfo, output: Output, *, session: str | None = None, **booked: Any) -> int:
    """End a run that never became a turn: the error in the format that was asked for. Returns the exit code.

    `booked` are the calls that it made all the same, and their cost.
    """
    if output.format == "text" or not output.end(
        result(status=status, session=session, error=error, kinds=output.kinds, **booked)
    ):
        output.problem(error)
    return EXIT_CODES[status]


def last_words(output: Output) -> None:
    """What a run says that was told to end and did not come to it in time; nothing where it has said it. Called from any thread."""
    if not output.ended:
        message = "stopped by the user; it could not be ended cleanly"
        fail("interrupted", ErrorInfo(kind="interrupted", message=message, remedy="see: moa activity"), output)


def stopped(output: Output, **known: Any) -> int:
    """End a run that a signal has ended. Returns the exit code. `known`: what `fail` takes beside the error."""
    return fail("interrupted", ErrorInfo(kind="interrupted", message="stopped by the user"), output, **known)


def _booked(host: Host, **scope: Any) -> tuple[list[dict[str, Any]], Cost]:
    """The calls of a turn or a run, and their cost. Books that can't be read any more are told of by the turn's own end."""
    try:
        total = host.agent.ledger.total(**scope)
        return [call.as_json() for call in host.agent.ledger.calls(**scope)], Cost(
            usd=total.usd, lower_bound=total.lower_bound
        )
    except StateError:
        return [], Cost(usd=None, lower_bound=True)


def _session_id(host: Host) -> str | None:
    return host.agent.session.id if host.agent.session.resumable else None


def _end_command(host: Host, said: Said, records: list[Record], output: Output) -> None:
    from agent.ui.columns import of_terminal
    from agent.ui.text import render

    if output.format == "text":
        print(output.redaction.whole(render(said.view, of_terminal(output.out))), file=output.out, flush=True)
        return
    from agent.serialize import to_plain

    # A command may have called models itself (/moa again), under this run.
    calls, cost = _booked(host, run=host.agent.run)
    output.end(
        result(
            status="done",
            session=_session_id(host),
            text=render(said.view),
            cost=cost,
            calls=calls,
            records=records,
            kinds=output.kinds,
            view=to_plain(said.view),
        )
    )


def _say_cost(host: Host, finished: TurnFinished, output: Output) -> None:
    try:
        calls = host.agent.ledger.calls(run=host.agent.run)
        total = host.agent.ledger.total(run=host.agent.run)
    except StateError:
        return
    session = host.agent.session
    further = f" · resume with: moa --resume {session.id}" if session.resumable else ""
    usage, took = finished.usage, span(finished.duration_s, exact=True)
    known = usage.prompt or usage.completion or total.usd is not None  # what nobody has told is not none
    tokens = f"{usage.prompt:,} + {usage.completion:,} tokens, " if known else ""
    cost = f"{total}" if total.usd is not None else "cost unknown"
    output.say(f"{plural(len(calls), 'call')}, {tokens}{cost}, {took}{further}")


def show(event: AgentEvent, output: Output) -> None:
    """One event for the eyes of somebody at a terminal."""
    match event:
        case TextDeltaEvent() if output.live:
            output.answer(event.text, end="")
        case ModelFinished() if output.live and event.message.text:
            print(file=output.out, flush=True)
        case ModelRetrying():
            output.say(f"· {event.reason}; trying again in {span(event.delay_s, exact=True)}")
        case ToolStarted():
            output.say(f"{_mark(event.source, output)}{words.first_line(event.title or event.call.name)}")
        case ToolFinished() if event.outcome != "ok":
            output.say(
                f"{_mark(event.source, output)}{event.call.name} {event.outcome}: {words.failure(event.text, 100)}"
            )
        case SideStarted():
            role = f" — {event.role}" if event.role else ""
            output.labels[event.id] = f"{role_in_words(event.kind)} {event.label}"
            output.say(f"  {output.labels[event.id]} ({event.model}){role}")
        case SideProgress() if event.state in ("soft_deadline", "retrying"):
            what = "nothing yet" if event.state == "soft_deadline" else "trying again"
            output.say(f"  {output.labels.get(event.id, event.id)}: {what} after {event.elapsed_s:.0f} s")
        case SideFinished():
            output.say(f"  {output.labels.pop(event.id, event.id)} {_side_finished(event)}")
        case Compacted() if event.reason != "command":
            output.say(f"· {words.compacted(event)}")
        case Record() if event.line:
            output.say(f"· {words.first_line(event.line, 2_000)}")
        case Notice():
            output.say(f"· {event.text}")
        case _:
            pass


def _mark(source: str, output: Output) -> str:
    """What stands before a tool's line: a sub-agent's stand below it."""
    return f"    {output.labels[source]} · " if source in output.labels else "· "


def _side_finished(event: SideFinished) -> str:
    money = words.money(event.cost)
    head = f"{event.outcome} after {span(event.duration_s, exact=True)}" + (f", {money}" if money else "")
    if event.error is not None:
        return f"{head}: {event.error.message}"
    text = words.said(event)
    return f"{head}: {words.first_line(text)}" if text else head
