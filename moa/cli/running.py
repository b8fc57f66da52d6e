"""`moa run`: what the command line says of the agent, and a run from standard input to exit code."""

from __future__ import annotations

import sys

from moa.cli import console

TYPE_CHECKING = False  # as typing's, whose import takes long enough for a Ctrl+C to fall into it
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from agent.approval.approval import Mode
    from agent.host import Host, Options
    from agent.ui.run.headless import Beside, Output
    from agent.ui.run.interrupts import Interrupts


def run(arguments: argparse.Namespace) -> int:
    """`moa run`. Returns the exit code; raises UsageError."""
    import asyncio

    from agent.errors import UsageError
    from agent.text.encodable import whole
    from moa.cli import outputs

    at_terminal = sys.stdin.isatty() and sys.stderr.isatty() and arguments.output_format == "text"
    options = agent_options(arguments, "ask" if at_terminal else "deny")
    output = outputs.output(arguments.output_format, quiet=arguments.quiet, raw=arguments.raw)
    console.hear()  # while standard input is waited for
    streamed = arguments.input_format == "stream-json"
    prompt, piped = (arguments.prompt.removeprefix("-"), "") if streamed else console.read_prompt(arguments.prompt)
    console.hold()
    if piped is None:
        output.say(f"· nothing came on standard input within {console.PIPE_S:g} s: continuing without it")
    prompt = whole(f"{prompt}\n\n{piped}" if prompt and piped else prompt or piped or "")
    if not prompt.strip() and not streamed:
        raise UsageError("the prompt is empty", remedy="give it in quotes, or - to read standard input")
    prompt = f"/goal set {prompt}" if arguments.goal else prompt
    typed = arguments.prompt not in ("", "-") or bool(arguments.goal)
    beside = _beside(arguments, streamed=streamed)
    return asyncio.run(run_async(options, prompt, output, arguments.max_iterations, typed=typed, beside=beside))


def _beside(arguments: argparse.Namespace, *, streamed: bool) -> Beside:
    """What the command line gives beside the prompt. Raises UsageError."""
    from pathlib import Path

    from agent.errors import UsageError
    from agent.ui.run.headless import Beside

    if streamed and arguments.goal:
        raise UsageError("--goal and --input-format stream-json don't go together", remedy="give one of them")
    schema = None
    if arguments.output_schema:
        from agent.loop.answer_schema import AnswerSchema

        schema = AnswerSchema.load(Path(arguments.output_schema).expanduser())
    images = tuple(Path(image) for image in arguments.image)
    return Beside(images=images, schema=schema, stream=sys.stdin if streamed else None)


def agent_options(arguments: argparse.Namespace, approve: Mode) -> Options:
    """What the command line says of the agent. `approve` is the mode where it says none."""
    from pathlib import Path

    from agent.errors import UsageError
    from agent.host import Options
    from moa.cli.options import goal_options

    for option in ("model", "preset", "session", "cwd"):
        if getattr(arguments, option) == "":
            name = "resume" if option == "session" and arguments.handler != "run" else option
            raise UsageError(f"--{name} is empty", remedy="give it a value, or leave it out")
    if arguments.preset and arguments.no_moa:
        raise UsageError("--preset and --no-moa contradict each other", remedy="give one of them")
    if arguments.no_moa and (arguments.model or "").startswith("fuse/"):
        text = f"--model {arguments.model} and --no-moa contradict each other: that model is a panel"
        raise UsageError(text, remedy="give one of them")
    counsel = {"preset": arguments.preset} if arguments.preset else {"off": True} if arguments.no_moa else {}
    return Options(
        model=arguments.model,
        effort=arguments.effort,
        cwd=Path(arguments.cwd).expanduser() if arguments.cwd else None,
        session=arguments.session,
        resume_latest=arguments.resume_latest,
        approve=arguments.approve or approve,
        budget_usd=arguments.budget,
        max_iterations=arguments.max_iterations or 90,
        plugins={"moa": counsel, "goal": goal_options(arguments)},
    )


async def run_async(
    options: Options,
    prompt: str,
    output: Output,
    most_calls: int | None,
    *,
    typed: bool,
    build: Callable[..., Host] | None = None,
    beside: Beside | None = None,
) -> int:
    """A run on an event loop of its own; what asks the program to end stops it in order. Returns the exit code."""
    import asyncio

    from agent.ui.run import headless
    from agent.ui.run.interrupts import Interrupts

    task = asyncio.current_task()
    assert task is not None
    interrupts = Interrupts(task, lambda: headless.last_words(output))
    interrupts.listen(held=console.held)
    try:
        return await _run_host(options, prompt, output, most_calls, interrupts, typed=typed, build=build, beside=beside)
    except asyncio.CancelledError:  # stopped before there was a turn
        if not interrupts.stopped:
            raise
        return headless.stopped(output)


async def _run_host(
    options: Options,
    prompt: str,
    output: Output,
    most_calls: int | None,
    interrupts: Interrupts,
    *,
    typed: bool,
    build: Callable[..., Host] | None,
    beside: Beside | None,
) -> int:
    import asyncio

    from agent.process import depth
    from agent.ui.run import headless
    from agent.ui.run.progress import FetchBar

    if build is None:
        from agent.build import build as make
    else:
        make = build
    depth.mark()
    approver = None
    if options.approve in ("ask", "edits"):
        from agent.ui.run.ask import TerminalApprover, can_ask

        approver = TerminalApprover() if can_ask() else None
    bar = FetchBar(output.err)
    host = make(
        options,
        approver=approver,
        notice=lambda _code, text: output.say(f"· {text}"),
        progress=(lambda _progress: None) if output.quiet else bar.update,
    )
    for _code, text in host.found:
        output.say(f"· {text}")
    reconciling = asyncio.create_task(host.reconcile())
    try:
        given = beside or headless.Beside()
        code = await headless.run(
            host, prompt, output, most_calls=most_calls, interrupts=interrupts, typed=typed, beside=given
        )
        interrupts.deadline.code = code
        return code
    finally:
        interrupts.over()
        reconciling.cancel()
        await asyncio.gather(reconciling, return_exceptions=True)
        await host.aclose()
