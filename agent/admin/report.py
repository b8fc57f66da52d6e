"""What a command beside `run` answers with: a view for people, plain data for programs, and whether all is well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.views import View


@dataclass(frozen=True, slots=True)
class Report:
    """`data` is what `--json` prints (numbers as numbers, unknown as null). `ok` False makes the exit code 1."""

    view: View
    data: dict[str, Any]
    ok: bool = True
