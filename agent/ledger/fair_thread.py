"""The one thread in which a database does what an event loop must not wait for, one piece after the other: the accounts take turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import ContextVar
from typing import Any

from agent.turns import Turns

ACCOUNT: ContextVar[str] = ContextVar("account", default="")
"""On whose account what is done now is: the key of `moa serve` whose request it is for; empty elsewhere."""


class FairThread(Executor):
    """See the module. What is done for one account is done in its order."""

    def __init__(self, name: str) -> None:
        self._turns: Turns[tuple[Future[Any], Callable[[], Any]]] = Turns()
        self._changed = threading.Condition()
        self._ends = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have it done, on the account of this context."""
        future: Future[Any] = Future()
        with self._changed:
            if self._ends:
                raise RuntimeError("the thread has ended")
            self._turns.add((future, lambda: fn(*args, **kwargs)), ACCOUNT.get())
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; what waits is done first, and waited for."""
        del cancel_futures
        with self._changed:
            self._ends = True
            self._changed.notify()
        if wait:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._turns:
                    if self._ends:
                        return
                    self._changed.wait()
                future, work = self._turns.next()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
            del future, work  # or what it holds lives until the next piece comes
