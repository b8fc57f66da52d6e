"""The `moa` command. The one module that knows both the plugin and the faces; it imports each only when it is needed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

from moa import __version__

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from agent.events import ErrorInfo, TurnStatus
    from agent.ui.headless import Output
    from agent.views import View

RECORDS = ("counsel",)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code of contracts.md: 0, 1, 2, 3, 75 or 130."""
    words = list(sys.argv[1:] if argv is None else argv)
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
    except KeyboardInterrupt:
        return _fail("interrupted", ErrorInfo(kind="interrupted", message="stopped by the user"), words)
    except BrokenPipeError:
        # The reader went away (`moa … | head`); nothing more can be said to it.
        sys.stderr.close()
        return 1
    except Exception as error:
        return _fail("failed", _internal(error), words)


def _internal(error: Exception) -> ErrorInfo:
    """A mistake of ours: the traceback goes to a file, one line to the user."""
    import os
    import traceback

    from agent.config import Paths
    from agent.events import ErrorInfo

    text = "".join(traceback.format_exception(error))
    remedy = "please report it"
    try:
        folder = Paths.from_env(os.environ).state
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "crash.log").write_text(text, "utf-8")
        remedy += f", with {folder / 'crash.log'}"
    except OSError:
        pass
    return ErrorInfo(
        kind="internal", message=f"an error of the program itself: {type(error).__name__}: {error}", remedy=remedy
    )


def _fail(status: TurnStatus, error: ErrorInfo, words: Sequence[str]) -> int:
    from agent.ui.headless import fail

    return fail(status, error, _output(_asked_format(words)))


def _asked_format(words: Sequence[str]) -> str:
    """The output format in a command line that may not have been understood."""
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
    arguments = _parser(words).parse_args(list(words))
    handler: Any = arguments.handler
    return int(handler(arguments))


# The command line


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    import argparse

    from agent.errors import UsageError

    class Parser(argparse.ArgumentParser):
        """Wrong usage is an error like any other: one message, exit code 2, JSON where JSON was asked for."""

        def error(self, message: str) -> NoReturn:
            raise UsageError(message, remedy=f"{self.prog} --help says how")

    parser = Parser(prog="moa", description="A terminal chat agent whose loop can take counsel from a panel of models.")
    parser.add_argument("-V", "--version", action="version", version=f"moa {__version__}")
    parser.set_defaults(handler=lambda _arguments: _no_command(parser))
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    # Only the command that was typed is spelled out: building all of them costs as much as the rest of the start.
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, (summary, build) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            build(sub)
    return parser


def _no_command(parser: argparse.ArgumentParser) -> int:
    parser.print_help(sys.stderr)
    return 2


def _run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "prompt",
        metavar="PROMPT",
        help="what to do; - reads it from standard input; a line that starts with / is a command",
    )
    add("--model", metavar="REF", help="the main model, ENDPOINT:MODEL")
    add("--preset", metavar="NAME", help="take counsel with this preset")
    add("--no-moa", action="store_true", help="take no counsel")
    add("--output-format", choices=("text", "json", "stream-json"), default="text")
    add("--max-iterations", type=_count, default=90, metavar="N", help="most calls of the main model (default 90)")
    add("--budget", type=_usd, metavar="USD", help="most that this run may cost, in US dollars")
    add("--cwd", metavar="DIR", help="the folder to work in")
    add(
        "--approve",
        choices=("deny", "ask", "edits", "all"),
        help="what may run without asking (default: ask at a terminal, else deny)",
    )
    add("--session", metavar="ID", help="go on with this session")
    add("-c", "--continue", dest="resume_latest", action="store_true", help="go on with the last session")
    add("--quiet", action="store_true", help="nothing on standard error but errors")
    parser.set_defaults(handler=_run)


def _activity_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--session", metavar="ID")
    add("--since", metavar="WHEN", help="2h, 3d, today, 2026-11-01")
    add("--by", choices=("calls", "session", "model", "role", "day"))
    add("--json", action="store_true")
    parser.set_defaults(handler=_activity)


def _preset_options(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb, names, summary in (
        ("list", (), "all presets"),
        ("show", ("NAME",), "one preset, as it is read"),
        ("check", ("NAME",), "probe every member with a tiny call: what works, how fast, at what price"),
        ("new", ("NAME",), "a new preset to edit"),
        ("copy", ("A", "B"), "copy a preset under another name, comments and all"),
    ):
        sub = verbs.add_parser(verb, help=summary, description=summary)
        for name in names:
            sub.add_argument(name.lower(), metavar=name)
        sub.add_argument("--json", action="store_true")
        sub.set_defaults(handler=_preset, verb=verb, names=[name.lower() for name in names])


def _models_options(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    sub = verbs.add_parser("list", help="what the endpoints offer")
    sub.add_argument("endpoint", nargs="?", metavar="ENDPOINT")
    sub.add_argument("--json", action="store_true")
    sub.set_defaults(handler=_models_list)
    sub = verbs.add_parser("fetch", help="fetch a local model")
    sub.add_argument("name", metavar="NAME")
    sub.set_defaults(handler=_models_fetch)


def _session_options(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    sub = verbs.add_parser("list", help="all conversations, newest first")
    sub.add_argument("--json", action="store_true")
    sub.set_defaults(handler=_session, verb="list", id=None)
    sub = verbs.add_parser("show", help="one conversation")
    sub.add_argument("id", metavar="ID")
    sub.add_argument("--json", action="store_true")
    sub.set_defaults(handler=_session, verb="show")


def _trust_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", default=".", metavar="DIR", help="the project folder that has the .moa folder"
    )
    parser.set_defaults(handler=_trust)


def _doctor_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(handler=_doctor)


COMMANDS: dict[str, tuple[str, Any]] = {
    "run": ("one turn without a face", _run_options),
    "preset": ("list, show, check, make and copy presets", _preset_options),
    "models": ("what the endpoints offer; fetch a local model", _models_options),
    "activity": ("every call, who asked for it, what it cost", _activity_options),
    "session": ("conversations", _session_options),
    "doctor": ("where each setting came from, what works, what to do about the rest", _doctor_options),
    "trust": ("let a project's .moa folder take effect", _trust_options),
}


def _usd(text: str) -> float:
    import argparse

    try:
        value = float(text.removeprefix("$"))
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of US dollars")
    return value


def _count(text: str) -> int:
    import argparse

    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


# What the commands do


def _run(arguments: argparse.Namespace) -> int:
    import asyncio

    from agent.errors import UsageError
    from agent.host import Options

    if arguments.preset and arguments.no_moa:
        raise UsageError("--preset and --no-moa contradict each other", remedy="give one of them")
    prompt = _read_prompt(arguments.prompt)
    if not prompt.strip():
        raise UsageError("the prompt is empty", remedy="give it in quotes, or - to read standard input")
    counsel = {"preset": arguments.preset} if arguments.preset else {"off": True} if arguments.no_moa else {}
    at_terminal = sys.stdin.isatty() and sys.stderr.isatty() and arguments.output_format == "text"
    from pathlib import Path

    options = Options(
        model=arguments.model,
        cwd=Path(arguments.cwd).expanduser() if arguments.cwd else None,
        session=arguments.session,
        resume_latest=arguments.resume_latest,
        approve=arguments.approve or ("ask" if at_terminal else "deny"),
        budget_usd=arguments.budget,
        max_iterations=arguments.max_iterations,
        plugins={"moa": counsel},
    )
    return asyncio.run(_run_async(options, prompt, _output(arguments.output_format, quiet=arguments.quiet)))


async def _run_async(options: Any, prompt: str, output: Output) -> int:
    import asyncio

    from agent.host import build
    from agent.ui import headless
    from agent.ui.ask import TerminalApprover

    approver = TerminalApprover() if options.approve in ("ask", "edits") and output.live else None
    from agent.ui.progress import FetchBar

    bar = FetchBar(sys.stderr)
    host = build(
        options,
        approver=approver,
        notice=lambda _code, text: output.say(f"· {text}"),
        progress=(lambda _progress: None) if output.quiet else bar.update,
    )
    beside = asyncio.create_task(host.reconcile())
    try:
        return await headless.run(host, prompt, output)
    finally:
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)
        await host.aclose()


def _read_prompt(word: str) -> str:
    if word != "-":
        return word
    return sys.stdin.read()


def _show(view: View, as_json: bool) -> int:
    if as_json:
        from agent.wire import dumps

        print(dumps(view))
        return 0
    from agent.ui.text import render

    print(render(view))
    return 0


def _activity(arguments: argparse.Namespace) -> int:
    from agent.activity import activity, activity_json, parse_since
    from moa import admin

    books = admin.ledger(admin.configuration())
    try:
        since = parse_since(arguments.since) if arguments.since else None
        if arguments.json:
            print(_json(activity_json(books, session=arguments.session, since=since, by=arguments.by)))
            return 0
        return _show(activity(books, session=arguments.session, since=since, by=arguments.by), False)
    finally:
        books.close()


def _preset(arguments: argparse.Namespace) -> int:
    import asyncio

    from moa import presets_admin

    action: Any = presets_admin.VERBS[arguments.verb]
    view = action(*(getattr(arguments, name) for name in arguments.names))
    if asyncio.iscoroutine(view):
        view = asyncio.run(view)
    return _show(view, arguments.json)


def _models_list(arguments: argparse.Namespace) -> int:
    import asyncio

    from moa import admin

    return _show(asyncio.run(admin.list_models(arguments.endpoint)), arguments.json)


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
    from moa import admin

    config = admin.configuration()
    view = admin.sessions(config) if arguments.verb == "list" else admin.session(config, arguments.id)
    return _show(view, arguments.json)


def _trust(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from moa import admin

    print(admin.trust(Path(arguments.folder)))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    import asyncio

    from moa import admin

    return _show(asyncio.run(admin.doctor()), arguments.json)


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
