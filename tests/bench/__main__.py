"""`python -m tests.bench [NAME …] [--all] [--python PATH] [--rounds N]`: measure, print, and fail where a target is missed twice.

`--python` names the interpreter of the environment to measure (default: this one); its `moa` is taken from beside it. Everything
runs through the installed program against the scripted endpoint, on loopback.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.bench import (
    cache,
    counsel,
    crowd,
    encode,
    first_word,
    fuzz,
    goal,
    grep,
    kill,
    ledger,
    price,
    replays,
    repo,
    serve,
    sessions,
    signals,
    startup,
    tui,
    view,
)
from tests.bench.figures import environment, show

BENCHES = {
    "startup": startup.measure,
    "counsel": counsel.measure,
    "cache": cache.measure,
    "tui": tui.measure,
    "sessions": sessions.measure,
    "goal": goal.measure,
    "grep": grep.measure,
    "kill": kill.measure,
    "signals": signals.measure,
    "ledger": ledger.measure,
    "fuzz": fuzz.measure,
    "price": price.measure,
    "first_word": first_word.measure,
    "view": view.measure,
    "encode": encode.measure,
    "serve": serve.measure,
    "crowd": crowd.measure,
    "repo": repo.measure,
    "replays": replays.measure,
}

LONG = ("fuzz", "grep", "ledger", "signals", "first_word", "serve", "crowd", "repo", "replays")
"""Take many minutes, or a model: `.ci/run --all` runs them, and whoever names them."""


def main() -> int:
    """The exit code: 0 where every target was reached."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHES)} (default: the short ones)"
    )
    parser.add_argument("--all", action="store_true", help=f"the long ones, too: {', '.join(LONG)}")
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--rounds", type=int, help="runs of each thing that is timed")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHES]:
        parser.error(f"no bench {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    python = options.python.absolute()  # not resolved: a virtual environment's python is a link
    os.environ["MOA_TEST_COLD"] = "1"  # a start is a start here
    print(environment(str(options.python)))
    short = [name for name in BENCHES if options.all or name not in LONG]
    missed = [name for name in options.names or short if not _held(name, python, options.rounds)]
    again = [name for name in missed if name not in LONG]
    if again:
        # Something else may have run on the machine meanwhile. Both measurements stand above each other; what misses twice has missed.
        print(f"\nonce more, because a target was missed: {', '.join(again)}")
    lost = [name for name in missed if name in LONG or not _held(name, python, options.rounds)]
    return 1 if lost else 0


def _held(name: str, python: Path, rounds: int | None) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        tables = [show(title, figures) for title, figures in BENCHES[name](Path(folder), python, rounds)]
    return all(tables)


if __name__ == "__main__":
    sys.exit(main())
