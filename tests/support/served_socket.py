"""The desk of `tests.support.served` around the whole server: the same clients, over HTTP, with a panel of real calls.

Processes in between are the server's own: `restart` ends it, and starts another on the same folders.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.support import prompt
from tests.support.script import Say, Script
from tests.support.served import Client, Desk, Logged, Refused, items_of_answer, items_of_stream
from tests.support.serving import Serving
from tests.support.signing import SigningEndpoint

PRESET = 'aggregate = "raw"\nguidance_tokens = 0\n[[references]]\nmodel = "chat:alpha"\n'


class SocketDesk(Desk):
    """See the module. `asked` is how many panels were asked."""

    def __post_init__(self) -> None:
        self.log = []
        self.endpoint = SigningEndpoint(**{"sealed_items_bind": True, **self.options})
        self.endpoint.script = Script(models={"main": self.script or self._work, "alpha": self._advise})
        self._advised = 0

    def _advise(self, _body: dict[str, Any], _earlier: int) -> Say:
        self._advised += 1
        words = " ".join(f"w{self._advised}x{at}" for at in range(6))
        return Say(text=f"NOTE\nPOINT-{self._advised}. Look at place {self._advised} again: {words}")

    def __enter__(self) -> Self:
        self.endpoint.__enter__()
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.serving.__exit__(kind, error, trace)
        self.endpoint.__exit__(kind, error, trace)

    def _start(self) -> None:
        self.serving = Serving(self.folder, self.endpoint, presets={"panel": PRESET}).__enter__()

    def restart(self) -> None:
        """Another server on the same folders."""
        self.serving.__exit__(None, None, None)
        self._start()

    def client(self, **asked: Any) -> Client:
        """A conversation."""
        return SocketClient(self, asked=asked)

    @property
    def asked(self) -> int:
        """How many panels were asked."""
        return self._advised


@dataclass
class SocketClient(Client):
    """A conversation over HTTP."""

    def ask(self, *, keep: bool = True, cut: int | None = None, body: dict[str, Any] | None = None) -> list[Any]:
        """Make the request, and join the answer's items to the conversation."""
        assert cut is None and isinstance(self.desk, SocketDesk)
        desk, asked = self.desk, body or self.body()
        answer = desk.serving.post(desk.wire, {**asked, "model": f"moa/panel/{desk.wire}:main"})
        self.said = answer.headers.get("x-moa-counsel", "")
        last = desk.endpoint.calls("main")[-1]
        self.sent = last.body
        came, sent = (list(map(prompt.canonical, prompt.items_of(each))) for each in (asked, self.sent))
        logged = Logged(last.number, came, sent)
        desk.log.append(logged)
        if answer.status_code != 200:
            raise Refused(answer.status_code, answer.text)
        if self.stream:
            lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
            items = items_of_stream(desk.wire, [json.loads(line) for line in lines])
        else:
            items = items_of_answer(desk.wire, answer.json())
        logged.answer = list(map(prompt.canonical, items))
        if keep:
            self.items += items
        return items
