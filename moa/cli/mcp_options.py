"""The options of `moa mcp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moa.cli.values import port

if TYPE_CHECKING:
    import argparse


def mcp_options(parser: argparse.ArgumentParser) -> None:
    """What `moa mcp` takes."""
    import argparse

    parser.set_defaults(handler="mcp", verb=None, json=False)
    verbs = parser.add_subparsers(metavar="VERB")
    for verb, summary in (
        ("list", "the foreign servers that are configured; starts none"),
        ("remove", "remove a server from config.toml"),
        ("test", "start a server (all of them without NAME), and say what it offers or what is wrong"),
    ):
        sub = verbs.add_parser(verb, help=summary, description=summary)
        if verb != "list":
            sub.add_argument("name", metavar="NAME", nargs="?" if verb == "test" else None)
        sub.add_argument("--json", action="store_true")
        sub.set_defaults(verb=verb)
    summary = (
        "write a server into config.toml: a command with its arguments, or an address; our options stand before NAME"
    )
    sub = verbs.add_parser("add", help=summary, description=summary)
    add = sub.add_argument
    add(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for the command; ${VAR} is taken from your environment",
    )
    add("--header", action="append", default=[], metavar="'NAME: VALUE'", help="for the address; ${VAR} as above")
    add(
        "--read-only",
        action="append",
        default=[],
        metavar="TOOL",
        help="a tool that only looks, so that it runs unasked; * for any text",
    )
    add(
        "--type",
        choices=("stdio", "http", "sse"),
        help="how it is spoken to (default: stdio for a command, http for an address)",
    )
    add(
        "--cwd",
        metavar="DIR",
        help="where the command works; . is the folder that you work in (default: an empty folder)",
    )
    add("--json", action="store_true")
    add("name", metavar="NAME")
    add("target", metavar="COMMAND | URL", nargs=argparse.REMAINDER)
    sub.set_defaults(verb="add")
    summary = "offer the panel to other agents: the tools consult, presets and activity"
    sub = verbs.add_parser("serve", help=summary, description=summary)
    sub.add_argument(
        "--http", type=port, metavar="PORT", help="over HTTP on this machine (default: standard input and output)"
    )
    sub.set_defaults(verb="serve")
