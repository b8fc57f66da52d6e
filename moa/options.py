"""The command line: which commands there are, and their options. What they do is in `moa.cli`; nothing here imports a face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from moa import __version__

if TYPE_CHECKING:
    import argparse


def parse(words: Sequence[str]) -> argparse.Namespace:
    """What a command line says; `handler` names who does it. Raises UsageError for one that can't be understood."""
    from agent.errors import UsageError

    parser = _parser(words)
    arguments = parser.parse_args(list(words))
    if arguments.command and words[0] != arguments.command:
        raise UsageError(
            f"the options of {arguments.command} stand after it", remedy=f"moa {arguments.command} --help says which"
        )
    return arguments


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    import argparse

    from agent.errors import UsageError

    class Parser(argparse.ArgumentParser):
        """Wrong usage is an error like any other: one message, exit code 2, JSON where JSON was asked for."""

        def error(self, message: str) -> NoReturn:
            raise UsageError(message, remedy=f"{self.prog} --help says how")

    description = (
        "A terminal chat agent whose loop can take counsel from a panel of models. Without a command: the chat."
    )
    parser = Parser(prog="moa", description=description)
    parser.add_argument("-V", "--version", action="version", version=f"moa {__version__}")
    parser.set_defaults(handler="chat", command=None)
    # Only the command that was typed is spelled out: building all of them costs as much as the rest of the start.
    chosen = next((word for word in words if word in COMMANDS), None)
    if chosen is None or words[0] != chosen:
        _chat_options(parser)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", dest="command")
    for name, (summary, build) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            build(sub)
    return parser


def _agent_options(parser: argparse.ArgumentParser) -> None:
    """What every command that runs an agent takes."""
    add = parser.add_argument
    add("--model", metavar="REF", help="the main model, ENDPOINT:MODEL")
    add("--preset", metavar="NAME", help="take counsel with this preset")
    add("--no-moa", action="store_true", help="take no counsel")
    add("--budget", type=_usd, metavar="USD", help="most that this run may cost, in US dollars")
    add("--cwd", metavar="DIR", help="the folder to work in")
    add(
        "--approve",
        choices=("deny", "ask", "edits", "all"),
        help="what may run without asking (default: ask at a terminal, else deny)",
    )
    add("-c", "--continue", dest="resume_latest", action="store_true", help="go on with the last session")


def _chat_options(parser: argparse.ArgumentParser) -> None:
    _agent_options(parser)
    parser.add_argument("--resume", dest="session", metavar="ID", help="go on with this session")
    parser.add_argument(
        "--plain", action="store_true", help="line mode: for screen readers, slow lines and simple terminals"
    )
    parser.set_defaults(max_iterations=90)


def _web_options(parser: argparse.ArgumentParser) -> None:
    _agent_options(parser)
    add = parser.add_argument
    add("--resume", dest="session", metavar="ID", help="go on with this session, in the first tab")
    add("--port", type=_port, metavar="N", help="where to listen on this machine (default 8765, or else a free one)")
    add("--no-open", action="store_true", help="only print the address; open no browser")
    parser.set_defaults(handler="web", max_iterations=90)


def _run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "prompt",
        metavar="PROMPT",
        help="what to do; - reads it from standard input; a line that starts with / is a command",
    )
    _agent_options(parser)
    add("--output-format", choices=("text", "json", "stream-json"), default="text")
    add("--goal", action="store_true", help="PROMPT is a goal: go on, turn after turn, until a judge finds it met")
    add(
        "--gate", action="append", metavar="CMD", help="with --goal: a command that must exit with 0 first (repeatable)"
    )
    add("--criterion", action="append", metavar="TEXT", help="with --goal: something that must hold, too (repeatable)")
    add("--goal-budget", metavar="B", help='with --goal: "20 turns, 30m, 200k tokens, $2" (default 20 turns)')
    add("--goal-judge", metavar="J", help="with --goal: main, ENDPOINT:MODEL, or a preset as a panel of judges")
    add(
        "--max-iterations",
        type=_count,
        metavar="N",
        help="most calls of the main model (default 90; for a goal, 90 in each turn)",
    )
    add("--session", metavar="ID", help="go on with this session")
    add("--quiet", action="store_true", help="nothing on standard error but errors")
    parser.set_defaults(handler="run")


def goal_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a command line says about a goal beside its text. Raises UsageError where it sets none."""
    from agent.errors import UsageError

    options = {"gates": "gate", "criteria": "criterion", "budget": "goal_budget", "judge": "goal_judge"}
    found = {name: value for name, option in options.items() if (value := getattr(arguments, option, None))}
    if found and not arguments.goal:
        named = ", ".join(f"--{options[name].replace('_', '-')}" for name in found)
        raise UsageError(f"{named} belongs to a goal", remedy="add --goal")
    return found


def _activity_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--session", metavar="ID")
    add("--since", metavar="WHEN", help="2h, 3d, today, 2026-11-01")
    add("--by", choices=("calls", "session", "model", "role", "day"))
    add("--json", action="store_true")
    parser.set_defaults(handler="activity")


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
        sub.set_defaults(handler="preset", verb=verb, names=[name.lower() for name in names])


def _models_options(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    sub = verbs.add_parser("list", help="what the endpoints offer")
    sub.add_argument("endpoint", nargs="?", metavar="ENDPOINT")
    sub.add_argument("--json", action="store_true")
    sub.set_defaults(handler="models_list")
    sub = verbs.add_parser("fetch", help="fetch a local model")
    sub.add_argument("name", metavar="NAME")
    sub.set_defaults(handler="models_fetch")


def _session_options(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    sub = verbs.add_parser("list", help="all conversations, newest first")
    sub.add_argument("--json", action="store_true")
    sub.set_defaults(handler="session", verb="list", id=None)
    sub = verbs.add_parser("show", help="one conversation")
    sub.add_argument("id", metavar="ID")
    sub.add_argument("--json", action="store_true")
    sub.set_defaults(handler="session", verb="show")
    sub = verbs.add_parser("search", help="messages with a text in them, in all conversations")
    sub.add_argument("text", metavar="TEXT", nargs="+")
    sub.add_argument("--json", action="store_true")
    sub.set_defaults(handler="session", verb="search")
    sub = verbs.add_parser("export", help="one conversation as a document, without secrets, on standard output")
    sub.add_argument("id", metavar="ID")
    sub.add_argument("--format", choices=("md", "json", "html"), default="md")
    sub.set_defaults(handler="session_export")


def _trust_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", default=".", metavar="DIR", help="the project folder that has the .moa folder"
    )
    parser.set_defaults(handler="trust")


def _doctor_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(handler="doctor")


COMMANDS: dict[str, tuple[str, Any]] = {
    "run": ("one turn without a face", _run_options),
    "preset": ("list, show, check, make and copy presets", _preset_options),
    "models": ("what the endpoints offer; fetch a local model", _models_options),
    "activity": ("every call, who asked for it, what it cost", _activity_options),
    "session": ("conversations", _session_options),
    "web": ("the chat in a browser on this machine", _web_options),
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


def _port(text: str) -> int:
    import argparse

    if not text.isdecimal() or not 0 <= int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _count(text: str) -> int:
    import argparse

    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)
