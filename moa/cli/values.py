"""Values on a command line, checked as they are read."""

from __future__ import annotations


def usd(text: str) -> float:
    """An amount of US dollars. Raises ArgumentTypeError, as argparse wants it; so do the others here."""
    import argparse

    try:
        value = float(text.removeprefix("$"))
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of US dollars")
    return value


def port(text: str) -> int:
    """The number of a port."""
    import argparse

    if not text.isdecimal() or not 0 <= int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def count(text: str) -> int:
    """A whole number of at least 1."""
    import argparse

    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
