"""What several agents of one process share (`agent.build.build`): none of them keeps any of it, or closes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.config.config import Config
    from agent.ledger.book import Ledger
    from agent.llm.client import ModelClient
    from agent.session.session import Session


@dataclass(frozen=True, slots=True)
class Within:
    """`session` is the conversation that this one works in. The ledger has its calls under `account` (as a session) and `run`."""

    config: Config
    ledger: Ledger
    client: ModelClient
    session: Session
    account: str
    run: str
