"""The `moa` command. The one module that knows both the plugin and the faces; it imports each only when it is needed."""

from __future__ import annotations

import sys

from moa import __version__, console, startup

TYPE_CHECKING = False  # as typing's, whose import takes long enough for a Ctrl+C to fall into it
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import Any

    from agent.approval import Mode
    from agent.events import ErrorInfo, TurnStatus
    from agent.host import Host, Options
    from agent.report import Report
    from agent.ui.headless import Output

RECORDS = ("counsel", "goal")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code of contracts.md: 0, 1, 2, 3, 75 or 130."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        console.hold()
        startup.pause_collector()
        console.prepare()
        code = _told(words)
        console.finish()
        return code
    except KeyboardInterrupt:
        return _interrupted(words)
    except OSError as error:
        return console.give_up(error)


def _told(words: Sequence[str]) -> int:
    """Do what the command line says; every failure is told in the format that it asks for, but for those of standard output."""
    if words in (["--version"], ["-V"]):  # before argparse: scripts ask this often
        print(f"moa {__version__}")
        return 0
    from agent.errors import StateError, UsageError
    from agent.events import ErrorInfo

    try:
        return _dispatch(words)
    except UsageError as error:
        return _fail("usage", ErrorInfo(kind=error.kind, message=error.message, remedy=error.remedy), words)
    except StateError as error:
        return _fail("failed", ErrorInfo(kind=error.kind, message=error.message, remedy=error.remedy), words)
    except Exception as error:
        # The reader went away (`moa … | head`), or the disk is full: there is nobody to tell more to.
        if isinstance(error, OSError) and console.output_lost(error):
            raise
        return _fail("failed", _internal(error), words)


def _interrupted(words: Sequence[str]) -> int:
    """Ctrl+C before there was anything to stop in order."""
    console.deaf()
    from agent.events import ErrorInfo

    try:
        code = _fail("interrupted", ErrorInfo(kind="interrupted", message="stopped by the user"), words)
        console.finish()
        return code
    except OSError as error:
        console.give_up(error)
    except Exception:  # an import was cut short: it can't be said, and the exit code says it
        pass
    return 130


def _internal(error: Exception) -> ErrorInfo:
    """A mistake of ours: the traceback goes to a file, one line to the user."""
    import os

    from agent.config import Paths, load_config
    from agent.crash import crashed
    from agent.errors import UsageError

    try:
        redact = load_config(os.environ, plugins=frozenset({"goal", "moa"})).redact
    except (UsageError, OSError):  # then no key was read either
        return crashed(error, Paths.from_env(os.environ).state)
    return crashed(error, Paths.from_env(os.environ).state, redact=redact)


def _fail(status: TurnStatus, error: ErrorInfo, words: Sequence[str]) -> int:
    from agent.ui.headless import fail

    return fail(status, error, _output(_asked_format(words)))


def _asked_format(words: Sequence[str]) -> str:
    """The output format in a command line that may not have been understood."""
    if words[:1] != ["run"] and "--json" in words:
        return "json"
    for index, word in enumerate(words):
        value = word.partition("=")[2] if word.startswith("--output-format=") else ""
        if word == "--output-format" and index + 1 < len(words):
            value = words[index + 1]
        if value in ("json", "stream-json"):
            return value
    return "text"


def _output(format_name: str, *, quiet: bool = False) -> Output:
    from agent.ui.headless import Output

    live = format_name == "text" and sys.stdout.isatty()
    return Output(format=format_name, quiet=quiet, live=live, kinds=RECORDS)  # type: ignore[arg-type]


def _dispatch(words: Sequence[str]) -> int:
    from moa.options import parse

    arguments = parse(words)
    if arguments.handler != "run":  # which loads what it needs first
        console.hear()
    return HANDLERS[arguments.handler](arguments)


# What the commands do


def _chat(arguments: argparse.Namespace) -> int:
    """The chat: Textual, or line mode where it is asked for or the terminal can do no better."""
    import os
    from functools import partial

    from agent.errors import UsageError

    options = _agent_options(arguments, "ask")
    # Behind a tab of `moa web`. Taken out of the environment: what the agent's shell starts is behind none.
    note = os.environ.pop("MOA_WEB_SESSION", None)
    build = partial(_build_host, note)
    if note is None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError("the chat needs a terminal", remedy='for one turn without one: moa run "what to do"')
        if arguments.plain or _simple_terminal():
            from agent.ui import line

            return line.run(build, options)
    else:
        from agent.ui.web.lifeline import watch

        watch()
    from agent.ui.tui import app

    return app.run(build, options)


def _simple_terminal() -> bool:
    """True where a full-screen program would be a mess: no cursor movement, or no size."""
    import os

    if sys.platform != "win32" and os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        return True
    try:
        return 0 in os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return True


def _web(arguments: argparse.Namespace) -> int:
    """The chat in a browser: each tab runs this program anew, with what the command line said."""
    import os

    from agent.config import Paths
    from agent.ui import web

    _agent_options(arguments, "ask")  # what contradicts itself is told here, not in a page
    # -P: a folder named `agent` or `moa` where the user works must not be taken for ours.
    words = [sys.executable, "-P", "-m", "moa"]
    for name in ("model", "preset", "cwd", "approve", "budget"):
        if (value := getattr(arguments, name)) is not None:
            words += [f"--{name}={value}"]
    if arguments.no_moa:
        words.append("--no-moa")
    first = [f"--resume={arguments.session}"] if arguments.session else ["-c"] if arguments.resume_latest else []

    def command(session: str | None) -> list[str]:
        go_on, first[:] = [f"--resume={session}"] if session else list(first), []
        return [*words, *go_on]

    sessions = Paths.from_env(os.environ).sessions
    return web.run(command, sessions, port=arguments.port, open_browser=not arguments.no_open)


def _build_host(note: str | None, options: Options, **outside: Any) -> Host:
    """An agent for a chat; `outside`: who is told what happens outside of a turn.

    `note` is a file for the session's id, where `moa web` looks it up: a reload then comes back to that one.
    """
    from pathlib import Path

    from agent.host import build

    host = build(options, **outside)
    if note is not None:
        Path(note).write_text(host.agent.session.id, "utf-8")
    return host


def _run(arguments: argparse.Namespace) -> int:
    import asyncio

    from agent.errors import UsageError
    from agent.llm.text import whole

    at_terminal = sys.stdin.isatty() and sys.stderr.isatty() and arguments.output_format == "text"
    options = _agent_options(arguments, "ask" if at_terminal else "deny")
    output = _output(arguments.output_format, quiet=arguments.quiet)
    console.hear()
    prompt = whole(console.read_prompt(arguments.prompt))
    if not prompt.strip():
        raise UsageError("the prompt is empty", remedy="give it in quotes, or - to read standard input")
    prompt = f"/goal set {prompt}" if arguments.goal else prompt
    return asyncio.run(_run_async(options, prompt, output, arguments.max_iterations))


def _agent_options(arguments: argparse.Namespace, approve: Mode) -> Options:
    """What the command line says of the agent. `approve` is the mode where it says none."""
    from pathlib import Path

    from agent.errors import UsageError
    from agent.host import Options
    from moa.options import goal_options

    for option in ("model", "preset", "session", "cwd"):
        if getattr(arguments, option) == "":
            name = "resume" if option == "session" and arguments.handler != "run" else option
            raise UsageError(f"--{name} is empty", remedy="give it a value, or leave it out")
    if arguments.preset and arguments.no_moa:
        raise UsageError("--preset and --no-moa contradict each other", remedy="give one of them")
    counsel = {"preset": arguments.preset} if arguments.preset else {"off": True} if arguments.no_moa else {}
    return Options(
        model=arguments.model,
        cwd=Path(arguments.cwd).expanduser() if arguments.cwd else None,
        session=arguments.session,
        resume_latest=arguments.resume_latest,
        approve=arguments.approve or approve,
        budget_usd=arguments.budget,
        max_iterations=arguments.max_iterations or 90,
        plugins={"moa": counsel, "goal": goal_options(arguments)},
    )


async def _run_async(options: Options, prompt: str, output: Output, most_calls: int | None) -> int:
    import asyncio

    from agent.host import build
    from agent.ui import headless
    from agent.ui.ask import TerminalApprover
    from agent.ui.interrupts import release
    from agent.ui.progress import FetchBar

    approver = TerminalApprover() if options.approve in ("ask", "edits") and output.live else None
    bar = FetchBar(sys.stderr)
    host = build(
        options,
        approver=approver,
        notice=lambda _code, text: output.say(f"· {text}"),
        progress=(lambda _progress: None) if output.quiet else bar.update,
    )
    beside = asyncio.create_task(host.reconcile())
    try:
        return await headless.run(host, prompt, output, most_calls=most_calls)
    finally:
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)
        await host.aclose()
        # What there is to say has been said: a late Ctrl+C must not add to it.
        release()
        console.deaf()


def _report(report: Report, as_json: bool) -> int:
    if as_json:
        from agent.wire import dumps

        print(dumps({"schema": 1, **report.data}))
    else:
        from agent.ui.text import render

        print(render(report.view))
    return 0 if report.ok else 1


def _activity(arguments: argparse.Namespace) -> int:
    from agent import admin
    from agent.activity import activity, activity_json, parse_since
    from agent.report import Report

    books = admin.ledger(admin.configuration())
    try:
        since = parse_since(arguments.since) if arguments.since else None
        asked: Any = {"session": arguments.session, "since": since, "by": arguments.by}
        return _report(Report(activity(books, **asked), activity_json(books, **asked)), arguments.json)
    finally:
        books.close()


def _preset(arguments: argparse.Namespace) -> int:
    import asyncio

    from moa import presets_admin

    action: Any = presets_admin.VERBS[arguments.verb]
    report = action(*(getattr(arguments, name) for name in arguments.names))
    if asyncio.iscoroutine(report):
        report = asyncio.run(report)
    return _report(report, arguments.json)


def _models_list(arguments: argparse.Namespace) -> int:
    import asyncio

    from agent.modellist import list_models

    return _report(asyncio.run(list_models(arguments.endpoint)), arguments.json)


def _models_fetch(arguments: argparse.Namespace) -> int:
    import asyncio
    import os

    from agent.config import Paths
    from agent.local.catalogue import find
    from agent.local.fetch import fetch
    from agent.ui.progress import FetchBar

    model = find(arguments.name)
    bar = FetchBar(sys.stderr)
    path = asyncio.run(fetch(arguments.name, Paths.from_env(os.environ).cache / "models", progress=bar.update))
    bar.done()
    print(path)
    print(f"{model.warning} ({model.licence})", file=sys.stderr)
    return 0


def _session(arguments: argparse.Namespace) -> int:
    from agent import admin

    config = admin.configuration()
    match arguments.verb:
        case "list":
            report = admin.sessions(config)
        case "search":
            report = admin.search(config, " ".join(arguments.text))
        case _:
            report = admin.session(config, arguments.id)
    return _report(report, arguments.json)


def _session_export(arguments: argparse.Namespace) -> int:
    from agent import admin

    sys.stdout.write(admin.export(admin.configuration(), arguments.id, arguments.format))
    return 0


def _trust(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from agent.trust import trust

    print(trust(Path(arguments.folder)))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    import asyncio

    from agent.doctor import doctor
    from moa.presets_admin import examined

    return _report(asyncio.run(doctor(examined())), arguments.json)


HANDLERS: dict[str, Callable[[argparse.Namespace], int]] = {
    "activity": _activity,
    "chat": _chat,
    "doctor": _doctor,
    "models_fetch": _models_fetch,
    "models_list": _models_list,
    "preset": _preset,
    "run": _run,
    "session": _session,
    "session_export": _session_export,
    "trust": _trust,
    "web": _web,
}
