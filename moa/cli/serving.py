"""The options of `moa serve`, and what its verb does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moa.cli.values import count, port, usd

if TYPE_CHECKING:
    import argparse

    from agent.admin.report import Report


def serve_options(parser: argparse.ArgumentParser) -> None:
    """What `moa serve` takes."""
    add = parser.add_argument
    add("--host", metavar="ADDRESS", default="127.0.0.1", help="where to listen (default: this machine alone)")
    add("--port", type=port, metavar="N", help="default: port under [serve], else 8484")
    add("--preset", metavar="NAME", help="the panel of the model name moa (default: preset under [moa])")
    add("--save", action="store_true", help="keep each counsel with its conversation as a session (moa session)")
    words = "so many processes that serve (default: 1); a number of processors is a good one"
    add("--workers", type=count, metavar="N", default=1, help=words)
    _database(parser)
    add("--no-auth", action="store_true", help="ask for no key: everybody on this machine may use it")
    parser.set_defaults(handler="serve", verb=None, json=False)
    verbs = parser.add_subparsers(metavar="VERB")
    summary = "the keys of a team, each with a budget and limits of its own"
    keys = verbs.add_parser("keys", help=summary, description=summary)
    keys.set_defaults(verb="list")
    _keys_options(keys)


def _database(parser: argparse.ArgumentParser) -> None:
    words = (
        "a PostgreSQL database for ledger, keys and guidance (default: database under [serve], else the ledger's file)"
    )
    parser.add_argument("--database", metavar="URL", help=words)


def _keys_options(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB")
    for verb, summary in (
        ("list", "the keys, their limits, and what each has spent today"),
        ("new", "make a key; it is shown once, and only its hash is kept"),
        ("revoke", "from now on this key opens nothing"),
    ):
        sub = verbs.add_parser(verb, help=summary, description=summary)
        add = sub.add_argument
        if verb != "list":
            add("name", metavar="NAME")
        if verb == "new":
            add("--day-usd", type=usd, metavar="USD", help="its budget for a day, in US dollars")
            add(
                "--day-tokens",
                type=count,
                metavar="N",
                help="the same in tokens; holds for models without a price, too",
            )
            words = "a preset that it may ask for; may be given again (default: all)"
            add("--presets", action="append", default=[], metavar="NAME[,NAME]", help=words)
            words = "ENDPOINT:MODEL that may answer it, * for any text; may be given again (default: all)"
            add("--models", action="append", default=[], metavar="PATTERN[,PATTERN]", help=words)
        _database(sub)
        add("--json", action="store_true")
        sub.set_defaults(verb=verb)


def keys(arguments: argparse.Namespace) -> Report:
    """`moa serve keys …`. Raises UsageError and StateError."""
    from moa.serve.keys import admin

    match arguments.verb:
        case "new":
            return admin.new_key(
                arguments.name,
                day_usd=arguments.day_usd,
                day_tokens=arguments.day_tokens,
                models=_split(arguments.models),
                presets=_split(arguments.presets),
                database=arguments.database,
            )
        case "revoke":
            return admin.revoke_key(arguments.name, arguments.database)
        case _:
            return admin.list_keys(arguments.database)


def _split(given: list[str]) -> tuple[str, ...]:
    """Names with commas between them, given once or more often; each once."""
    parts = (part.strip() for text in given for part in text.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))
