"""What a parser has in it: argparse has no public way to ask."""

from __future__ import annotations

import argparse
from collections.abc import Iterator


def whole(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and all that are in it, each once."""
    yield parser
    for each in dict.fromkeys(verbs(parser).values()):
        yield from whole(each)


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of its verbs, by name."""
    return {name: each for action in _choosing(parser) for name, each in action.choices.items()}


def helps(parser: argparse.ArgumentParser) -> dict[str, str]:
    """What is said of each verb in one line."""
    return {choice.dest: choice.help or "" for action in _choosing(parser) for choice in action._choices_actions}


def arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Its own arguments and options."""
    choosing = _choosing(parser)
    return [action for action in parser._actions if action not in choosing]


def _choosing(parser: argparse.ArgumentParser) -> list[argparse._SubParsersAction[argparse.ArgumentParser]]:
    return [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
