"""Telling the user, who may be looking at another window, that a long turn is over: through the terminal, or by the bell."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from typing import Literal

from agent.ui.clipboard import through_multiplexer

By = Literal["auto", "osc9", "osc777", "bell", "off"]

MOST = 200
"""Characters of a notification."""


def sequence(title: str, body: str, by: By = "auto", env: Mapping[str, str] = os.environ) -> str:
    """What to write to the terminal; empty for `off`. Neither text can steer it: control characters are left out."""
    if by == "auto":
        by = recognise(env)
    title, body = _plain(title), _plain(body)
    match by:
        case "osc9":
            return through_multiplexer(f"\x1b]9;{title}: {body}\x07", env)
        case "osc777":
            # A semicolon would end the field.
            return through_multiplexer(f"\x1b]777;notify;{title.replace(';', ',')};{body.replace(';', ',')}\x07", env)
        case "bell":
            return "\x07"  # tmux and screen pass a bell on by themselves
    return ""


def recognise(env: Mapping[str, str]) -> By:
    """The way that this terminal understands; a bell where it is not known, since unknown sequences are printed by some."""
    program, term = env.get("TERM_PROGRAM", ""), env.get("TERM", "")
    if program in ("iTerm.app", "WezTerm", "ghostty") or "kitty" in term or env.get("KITTY_WINDOW_ID"):
        return "osc9"
    if env.get("WT_SESSION") or env.get("ConEmuPID"):
        return "bell"  # there OSC 9 means progress bars
    if term.startswith(("foot", "rxvt")):
        return "osc777"
    return "bell"


def _plain(text: str) -> str:
    flat = " ".join(text.split())
    return "".join(char for char in flat if unicodedata.category(char) not in ("Cc", "Cf"))[:MOST]
