"""`python -m moa.cli.reference` writes docs/commands.md: every command with its arguments and options, from the parser itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from moa.cli import walk
from moa.cli.options import whole_parser

HEAD = """\
# Commands: every option

Made by `python -m moa.cli.reference` from the options themselves; `moa COMMAND --help` says the same.
"""


def document() -> str:
    """The page, in Markdown."""
    return "\n".join([HEAD, *_parts(whole_parser(), "")]).rstrip() + "\n"


def _parts(parser: argparse.ArgumentParser, summary: str) -> Iterator[str]:
    rows = [row for action in walk.arguments(parser) if (row := _row(action))]
    verbs, helps = walk.verbs(parser), walk.helps(parser)
    if rows or not verbs:
        yield f"## `{parser.prog}`\n"
        if summary:
            yield f"{summary[:1].upper()}{summary[1:]}.\n"
        if rows:
            yield "| | |\n| --- | --- |\n" + "".join(rows)
    for name, each in verbs.items():
        yield from _parts(each, helps.get(name, ""))


def _row(action: argparse.Action) -> str:
    if action.help == argparse.SUPPRESS or "--help" in action.option_strings:
        return ""
    value = action.metavar or (" | ".join(map(str, action.choices)) if action.choices else "")
    value = value if isinstance(value, str) else " ".join(value)
    names = ", ".join(action.option_strings) or value or action.dest
    shown = f"{names} {value}" if action.option_strings and value and action.nargs != 0 else names
    return f"| `{_cell(shown)}` | {_cell((action.help or '').replace('%%', '%'))} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(document())
