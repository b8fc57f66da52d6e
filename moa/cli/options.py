"""The command line: which commands there are, and their options. What they do is in `moa.cli.main`; nothing here imports a face."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from moa import __version__
from moa.cli.mcp_options import mcp_options
from moa.cli.serving import serve_options
from moa.cli.values import count, port, usd

if TYPE_CHECKING:
    import argparse


def parse(words: Sequence[str]) -> argparse.Namespace:
    """What a command line says; `handler` names who does it. Raises UsageError for one that can't be understood."""
    from agent.errors import UsageError

    words = _print_mode(list(words))
    arguments = _parser(words).parse_args(words)
    if (prompt := getattr(arguments, "prompt", None)) and arguments.command is None:
        _no_command(prompt)
    if arguments.command and words[0] != arguments.command:
        raise UsageError(
            f"the options of {arguments.command} stand after it", remedy=f"moa {arguments.command} --help says which"
        )
    return arguments


def _print_mode(words: list[str]) -> list[str]:
    """`-p` before any command is `run`, as in other terminal agents."""
    flag = next((word for word in words if word in ("-p", "--print") or word in COMMANDS), "")
    return words if flag in ("", *COMMANDS) else ["run", *(word for word in words if word is not flag)]


def _no_command(prompt: str) -> None:
    """A word that is nearly a command is none to send to a model. Raises UsageError."""
    from agent.errors import UsageError
    from agent.text.nearest import nearest

    if near := nearest(prompt, COMMANDS):
        raise UsageError(
            f"there is no command {prompt}", remedy=f'did you mean moa {near}? A message of several words: moa "…"'
        )


def _left_over(parser: argparse.ArgumentParser, found: argparse.Namespace, rest: Sequence[str]) -> NoReturn:
    """Raises UsageError for an option that there is not, for words of a message without quotes, or for one argument too many."""
    from agent.errors import UsageError
    from agent.text.nearest import nearest

    how = f"{parser.prog} --help says which there are"
    options = [word for word in rest if word.startswith("-")]
    if options:
        name = options[0].partition("=")[0]
        near = nearest(name, re.findall(r"--[a-z][\w-]*", parser.format_help()))
        raise UsageError(f"there is no option {name}", remedy=f"did you mean {near}? {how}" if near else how)
    if prompt := getattr(found, "prompt", None):
        if getattr(found, "command", None) is None:
            _no_command(prompt)
        message = f'{parser.prog} "{" ".join((prompt, *rest))}"'
        raise UsageError("a message of several words stands in quotes", remedy=message)
    raise UsageError(f"{parser.prog} takes no argument {rest[0]!r} here", remedy=f"{parser.prog} --help says how")


def _near_choice(message: str) -> str:
    """A choice like the one that argparse refuses in these words; empty where none is."""
    from agent.text.nearest import nearest

    refused = re.search(r"invalid choice: '?(.*?)'? \(choose from (.*)\)", message)
    near = nearest(refused[1], re.findall(r"[\w-]+", refused[2])) if refused else None
    return f"did you mean {near}?" if near else ""


def whole_parser() -> argparse.ArgumentParser:
    """Every command with all its options, for what is made from them: completion, and the test of the docs."""
    return _parser((), every=True)


def _parser(words: Sequence[str], *, every: bool = False) -> argparse.ArgumentParser:
    import argparse

    from agent.errors import UsageError

    class Parser(argparse.ArgumentParser):
        """Wrong usage is an error like any other: one message, exit code 2, JSON where JSON was asked for."""

        def error(self, message: str) -> NoReturn:
            raise UsageError(message, remedy=_near_choice(message) or f"{self.prog} --help says how")

        def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
            """What is left over is told by the parser that has met it, which knows its own options."""
            found, rest = super().parse_known_args(args, namespace)
            if rest:
                _left_over(self, found, rest)
            return found, rest

    description = (
        "A terminal chat agent whose loop can take counsel from a panel of models. Without a command: the chat, with a PROMPT that is sent "
        'first (moa "what to do"). moa -p PROMPT is moa run PROMPT.'
    )
    parser = Parser(prog="moa", description=description)
    parser.add_argument("-V", "--version", action="version", version=f"moa {__version__}")
    parser.set_defaults(handler="chat", command=None)
    # Only the command that was typed is spelled out: building all of them costs as much as the rest of the start.
    chosen = next((word for word in words if word in COMMANDS), None)
    if chosen is None or words[0] != chosen:
        _chat_options(parser)
    if chosen is None and not every and not {"-h", "--help"} & set(words):
        parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="the first message")
        return parser
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", dest="command")
    for name, (summary, build) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        if every or name == chosen:
            build(sub)
    return parser


def _agent_options(parser: argparse.ArgumentParser) -> None:
    """What every command that runs an agent takes."""
    from agent.llm.models.families import EFFORTS

    add = parser.add_argument
    add("--model", metavar="REF", help="the main model, ENDPOINT:MODEL")
    add("--effort", choices=EFFORTS, help="the main model's reasoning effort (default: the model's own)")
    add("--preset", metavar="NAME", help="take counsel with this preset")
    add("--no-moa", action="store_true", help="take no counsel")
    add("--budget", type=usd, metavar="USD", help="maximum cost of this run, in US dollars")
    add("--cwd", metavar="DIR", help="the folder to work in")
    add(
        "--approve",
        choices=("deny", "ask", "edits", "plan", "all"),
        help="what may run without asking (default: ask at a terminal, else deny)",
    )
    add("-c", "--continue", dest="resume_latest", action="store_true", help="resume the last session")


def _chat_options(parser: argparse.ArgumentParser) -> None:
    _agent_options(parser)
    parser.add_argument(
        "--resume",
        dest="session",
        nargs="?",
        const="",
        metavar="ID",
        help="resume this session; without ID: choose",
    )
    parser.add_argument(
        "--plain", action="store_true", help="line mode: for screen readers, slow lines and simple terminals"
    )
    parser.set_defaults(max_iterations=90)


def _web_options(parser: argparse.ArgumentParser) -> None:
    _agent_options(parser)
    add = parser.add_argument
    add("--resume", dest="session", metavar="ID", help="resume this session, in the first tab")
    add("--port", type=port, metavar="N", help="where to listen on this machine (default 8765, or else a free one)")
    add("--no-open", action="store_true", help="only print the address; open no browser")
    parser.set_defaults(handler="web", max_iterations=90)


def _run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "prompt",
        nargs="?",
        default="",
        metavar="PROMPT",
        help="what to do; - reads it from standard input; what is piped in beside it is added; a line that starts with / is a command",
    )
    _agent_options(parser)
    add("--output-format", choices=("text", "json", "stream-json"), default="text")
    add(
        "--input-format",
        choices=("text", "stream-json"),
        default="text",
        help="stream-json: one message a line on standard input, each a turn",
    )
    add("--image", action="append", default=[], metavar="FILE", help="an image that goes with the prompt (repeatable)")
    add("--output-schema", metavar="FILE", help="the answer holds to this JSON schema, and is that JSON alone")
    add("--goal", action="store_true", help="PROMPT is a goal: work on it, turn after turn, until a judge finds it met")
    add(
        "--gate", action="append", metavar="CMD", help="with --goal: a command that must exit with 0 first (repeatable)"
    )
    add("--criterion", action="append", metavar="TEXT", help="with --goal: something that must hold, too (repeatable)")
    add("--goal-budget", metavar="B", help='with --goal: "20 turns, 30m, 200k tokens, $2" (default 20 turns)')
    add("--goal-judge", metavar="J", help="with --goal: main, ENDPOINT:MODEL, or a preset as a panel of judges")
    add(
        "--max-iterations",
        type=count,
        metavar="N",
        help="maximum calls of the main model (default 90; for a goal, 90 in each turn)",
    )
    add("--session", "--resume", dest="session", metavar="ID", help="resume this session")
    add(
        "--raw",
        action="store_true",
        help="keep terminal escapes and writing directions in what models say",
    )
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
    add("--follow", action="store_true", help="show calls as they happen, until Ctrl+C")
    add(
        "--database", metavar="URL", help="of servers that share a PostgreSQL database (default: this machine's ledger)"
    )
    parser.set_defaults(handler="activity")


def _preset_options(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb, names, summary in (
        ("list", (), "all presets"),
        ("show", ("NAME",), "one preset, as it is read"),
        ("check", ("NAME",), "probe every member with a tiny call: what works, how fast, at what price"),
        ("new", ("NAME",), "a new preset to edit"),
        ("copy", ("A", "B"), "copy a preset under another name, comments and all"),
        ("edit", ("NAME",), "open a preset in your editor; a shipped one is copied first"),
        ("remove", ("NAME",), "remove one of your own presets"),
        ("import", ("FILE",), "import a preset that somebody shared, and show who receives what, at what price"),
        ("export", ("NAME",), "a preset as one file, on standard output"),
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
    sub.add_argument("--raw", action="store_true", help="keep terminal escapes in it")
    sub.set_defaults(handler="session_export")


def _replay_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", help="a conversation's id (its last counsel), ID/N (its Nth), or a counsel's own id")
    add("--aggregator", metavar="REF", help="who compares the answers now, ENDPOINT:MODEL")
    add("--member", action="append", default=[], metavar="SLOT=REF", help="ask this one instead (repeatable)")
    add("--budget", type=usd, metavar="USD", help="maximum cost, in US dollars")
    add("--json", action="store_true")
    parser.set_defaults(handler="replay")


def _diff_options(parser: argparse.ArgumentParser) -> None:
    for name in "ab":
        parser.add_argument(name, metavar=name.upper(), help="a counsel, named as for moa replay")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(handler="diff")


def _config_options(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True, dest="verb")
    verbs.add_parser("docs", help="the page of every key, in Markdown")
    sub = verbs.add_parser("schema", help="a JSON schema of config.toml or of a preset, for editors that complete TOML")
    sub.add_argument("file", nargs="?", choices=("config", "preset"), default="config")
    parser.set_defaults(handler="config")


def _completion_options(parser: argparse.ArgumentParser) -> None:
    import argparse

    parser.add_argument("shell", nargs="?", choices=("bash", "zsh", "fish"), help="print the script of this shell")
    parser.add_argument("--names", metavar="KIND", help=argparse.SUPPRESS)
    parser.set_defaults(handler="completion")


def _trust_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", default=".", metavar="DIR", help="the project folder that has the .moa folder"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(handler="trust")


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plain", action="store_true", help="in line mode")
    parser.set_defaults(handler="demo")


def _bench_run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "suite",
        nargs="?",
        metavar="SUITE",
        help="gsm8k, math, crux, mmlu-pro, humaneval, mt-bench, draco, repo, inspect:TASK, or a JSON Lines file of {id, prompt, expected, scorer, files}",
    )
    add(
        "--arms",
        default="solo",
        metavar="A,B",
        help="solo, solo:REF, best, self:N, vote, fuse, no-web, counsel:turn|iteration|signal|every:N|last, placebo:other|shuffled (default: solo)",
    )
    add("--preset", metavar="NAME", help="whose panel votes, and whose members are `best`")
    add("--model", metavar="REF", help="the main model, ENDPOINT:MODEL")
    add("--limit", type=count, metavar="N", help="use a sample of N items")
    add("--seed", type=int, default=7, metavar="N", help="seed of the sample and the bootstrap (default 7)")
    add("--budget", type=usd, metavar="USD", help="maximum cost of this run, in US dollars")
    add("--data", metavar="DIR", help="where the suite's data is (default: $MOA_DATA)")
    add("--resume", metavar="ID", help="resume a run that was stopped")
    add("--retry-failed", action="store_true", help="with --resume or --go-on: ask again what failed")
    add("--go-on", action="store_true", help="go on with the newest run that asked for the same, where there is one")
    add("--card", metavar="FILE", help="run again what a card says (moa bench card ID > FILE)")
    add("--judge", metavar="REF[,REF]", help="who judges rubrics and pairs; two do not know of each other")
    add("--passes", type=count, default=1, metavar="N", help="how often each criterion is judged (default 1)")
    add("--engine", choices=("local", "ray"), default="local", help="on this machine, or on a Ray cluster (extra: ray)")
    add("--store", metavar="URL", help="where the machines of a cluster write, for fsspec: a shared folder, s3://…")
    add("--yes", action="store_true", help="agree to the quoted price")


def _bench_options(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, summary: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=summary, description=summary)
        sub.add_argument("--output-format", choices=("text", "json"), default="text")
        sub.set_defaults(handler="bench", verb=name)
        return sub

    _bench_run_options(verb("run", "answer a suite in several ways and compare them, item by item"))
    sub = verb("pilot", "up to 50 pairs with and without counsel: leave it off, signal, or iteration")
    add = sub.add_argument
    add("suite", nargs="?", metavar="SUITE", help="as for run")
    add("--preset", required=True, metavar="NAME", help="the preset whose counsel is tried")
    add("--model", metavar="REF", help="the main model, ENDPOINT:MODEL")
    add("--limit", type=count, default=50, metavar="N", help="maximum number of pairs (default 50)")
    add("--seed", type=int, default=7, metavar="N", help="seed of the sample (default 7)")
    add("--budget", type=usd, metavar="USD", help="maximum cost, in US dollars")
    add("--data", metavar="DIR", help="where the suite's data is (default: $MOA_DATA)")
    add("--yes", action="store_true", help="agree to the quoted price")
    alone: dict[str, Any] = {
        "passes": 1,
        "retry_failed": False,
        "card": None,
        "go_on": False,
        "engine": "local",
        "store": None,
    }
    sub.set_defaults(arms="solo,counsel:turn", resume=None, judge=None, **alone)
    sub = verb("judge-check", "how far a model as a judge agrees with stored verdicts on stored reports")
    add = sub.add_argument
    add("--judge", metavar="REF[,REF]", help="who is checked, ENDPOINT:MODEL")
    add("--limit", type=count, default=200, metavar="N", help="how many criteria (default 200)")
    add("--seed", type=int, default=7, metavar="N", help="seed of the sample (default 7)")
    add("--budget", type=usd, metavar="USD", help="maximum cost, in US dollars")
    add("--data", metavar="DIR", help="where the stored verdicts are (default: $MOA_DATA)")
    add("--resume", metavar="ID", help="resume a check that was stopped")
    add("--retry-failed", action="store_true", help="with --resume: ask again what failed")
    add("--yes", action="store_true", help="agree to the quoted price")
    sub.set_defaults(suite="verdicts", arms="", preset=None, model=None, **alone)
    verb("list", "all runs, newest first")
    verb("advise", "what the trial, the benches and the conversations say of presets and members")
    _run_of(verb("show", "one run's report"))
    sub = verb("report", "one run's report, rebuilt from its items")
    _run_of(sub)
    sub.add_argument("--html", metavar="FILE", help="write it as a page")
    _run_of(verb("card", "one run as a file that another person can run again"))
    sub = verb("export", "one run as logs of Inspect, at most 2,000 samples each (extra: bench)")
    _run_of(sub)
    sub.add_argument("--inspect", required=True, metavar="DIR", help="where the logs go")
    sub = verb("replay", "write a suite's stored answers as a file for an endpoint of the dialect replay")
    sub.add_argument("suite", metavar="SUITE")
    sub.add_argument("--out", required=True, metavar="FILE")
    sub.add_argument("--data", metavar="DIR", help="where the suite's data is (default: $MOA_DATA)")


def _run_of(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="?", metavar="ID", help="the run (default: the newest)")


def _whatif_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("session", metavar="SESSION", help="a conversation: its id, name, or the beginning of one")
    add("--preset", required=True, metavar="NAME", help="the panel that the turns are done again with")
    add("--model", metavar="REF", help="the main model (default: the preset's, else the session's)")
    add("--turn", type=count, metavar="N", help="only this turn, counted from 1")
    add("--limit", type=count, default=3, metavar="N", help="the last N turns (default 3)")
    add(
        "--gate",
        action="append",
        default=[],
        metavar="COMMAND",
        help="judges what a turn leaves, beside the gates of the session's goal",
    )
    add("--budget", type=usd, metavar="USD", help="maximum cost, in US dollars")
    add("--yes", action="store_true", help="agree to the quoted price")
    add("--output-format", choices=("text", "json"), default="text")
    parser.set_defaults(handler="bench", verb="whatif")


def _worth_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output-format", choices=("text", "json"), default="text")
    parser.set_defaults(handler="bench", verb="worth")


def _doctor_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--check-update", action="store_true", help="ask the package index whether there is a newer version"
    )
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(handler="doctor")


def _acp_options(parser: argparse.ArgumentParser) -> None:
    _agent_options(parser)
    parser.set_defaults(handler="acp", session=None, max_iterations=90)


COMMANDS: dict[str, tuple[str, Any]] = {
    "run": ("one turn, non-interactive", _run_options),
    "preset": ("list, show, check, create, edit and share presets", _preset_options),
    "models": ("what the endpoints offer; fetch a local model", _models_options),
    "activity": ("every call, who asked for it, what it cost", _activity_options),
    "session": ("conversations", _session_options),
    "replay": ("compare the answers of a stored counsel again, without its panel", _replay_options),
    "diff": ("two counsels side by side: points won, lost, turned; cost", _diff_options),
    "web": ("the chat in a browser on this machine", _web_options),
    "bench": ("evidence: does counsel help, and what does it cost", _bench_options),
    "whatif": ("a conversation's turns done again, with another panel and without", _whatif_options),
    "worth": (
        "did counsel earn its price? Turns with it beside turns in which it was withheld by chance",
        _worth_options,
    ),
    "serve": ("counsel for any agent: a server between it and its models", serve_options),
    "demo": ("a recorded conversation with counsel: no key, no network, nothing kept", _demo_options),
    "doctor": ("where each setting came from, what works, what to do about the rest", _doctor_options),
    "acp": ("the chat inside an editor (Agent Client Protocol, on standard input and output)", _acp_options),
    "mcp": ("foreign MCP servers as tools; the panel as an MCP server", mcp_options),
    "trust": ("let a project's .moa folder take effect", _trust_options),
    "config": ("every key of config.toml and of a preset: the page, or a JSON schema", _config_options),
    "completion": ("completion for bash, zsh and fish", _completion_options),
}
