"""A line of JSON on standard error for each request: who, what, how long, how it ended. Never a word of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO


def line(facts: Mapping[str, Any], out: TextIO | None = None) -> None:
    """Write one; keys whose value is None are left out. In ASCII: what would steer a terminal is written out."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    known = {name: value for name, value in facts.items() if value is not None}
    print(json.dumps({"time": stamp, **known}), file=out or sys.stderr, flush=True)
