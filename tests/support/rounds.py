"""Two programs at one ledger: a chat that goes on and begins anew, and runs that come and go beside it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.script import Say, Script
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tests.support.endpoint import ScriptedEndpoint
    from tests.support.program import Program


@dataclass(frozen=True, slots=True)
class Counted:
    """What was asked of the endpoint and what the ledger has, by model; SQLite's own word on the file."""

    requests: Counter[str]
    rows: Counter[str]
    integrity: str


def rounds(program: Program, endpoint: ScriptedEndpoint, number: int) -> Counted:
    """So many rounds of: the chat begins anew (`/clear`), another `moa` runs and leaves, the chat asks its model."""

    def numbered(_body: Mapping[str, Any], earlier: int) -> Say:
        return Say(text=f"answer {earlier + 1}.")

    endpoint.script = Script(models={"chat": numbered, "run": numbered})
    environment = {**program.environment, "TERM": "xterm-256color"}
    with Terminal(
        [str(program.executable), "--plain", "--model", "fake:chat"], environment, program.work_dir
    ) as terminal:
        terminal.wait_for("/help")
        for count in range(1, number + 1):
            terminal.raw = ""
            terminal.send("/clear\r")
            terminal.wait_for("/help")
            if (done := program.run("hello", "--model", "fake:run")).code:
                raise RuntimeError(f"round {count}: {done.out} {done.err}")
            terminal.send("hello\r")
            terminal.wait_for(f"answer {count}.")
        terminal.send("/quit\r")
        terminal.end()
    with sqlite3.connect(program.state_dir / "ledger.db") as ledger:
        rows = Counter(model for (model,) in ledger.execute("SELECT model_requested FROM calls"))
        (integrity,) = ledger.execute("PRAGMA integrity_check").fetchone()
    ledger.close()
    return Counted(Counter(call.model for call in endpoint.calls()), rows, integrity)
