"""A bound on what a piece of work may take of the processor, where the bound is what is tested: against work that grows with the square of
what it is given, or reads the whole of what is huge. It waits for nothing, and what others do on the machine does not count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """So many seconds of a processor: several times what it takes, and a part of what it would take if it went wrong."""
    began = time.process_time()
    yield
    took = time.process_time() - began
    assert took < seconds, f"it took {took:.1f} s of a processor"
