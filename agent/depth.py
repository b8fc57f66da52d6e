"""How deep inside of panels this process is. One level only: a panel's member never convenes another panel.

Inside one process that holds by construction (a member has no plugins). Across processes the depth travels: to child processes in the
environment, to endpoints as a header, ours and the one that Fusion documents.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

VARIABLE = "MOA_DEPTH"
HEADERS = ("x-moa-depth", "x-openrouter-fusion-depth")


def depth(env: Mapping[str, str] = os.environ) -> int:
    """The number of panels around this process; 0 for a user's own. A value that is no number counts as one: the safe side."""
    text = env.get(VARIABLE, "").strip()
    if not text:
        return 0
    return int(text) if text.isascii() and text.isdigit() else 1


def headers(level: int) -> dict[str, str]:
    """What a call at this depth says of itself; nothing at depth 0."""
    return dict.fromkeys(HEADERS, str(level)) if level > 0 else {}
