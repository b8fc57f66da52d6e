"""The end that comes in any case, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import threading
from agent.process import deadline

def hang(): threading.Event().wait()
def fail(): raise ValueError("a mistake")
def say(): print("last words", flush=True)

deadline.LAST_S = 0.5
deadline.kill_children = {children}
deadline.Deadline(7, {words}, seconds=0.0).start()
hang()
"""


@pytest.mark.parametrize(
    ("children", "words", "said"),
    [
        ("int", "say", "last words"),
        ("hang", "say", "last words"),
        ("fail", "say", "last words"),
        ("int", "hang", ""),
        ("int", "fail", ""),
    ],
)
def test_it_ends_whatever_hangs_or_fails(children: str, words: str, said: str) -> None:
    script = SCRIPT.format(children=children, words=words)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (7, said, "")
