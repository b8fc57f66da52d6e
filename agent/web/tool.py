"""What the tools of the web share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from agent.tools.base import Kind, Tool

if TYPE_CHECKING:
    from agent.web.web import Asker, Web


class WebTool(Tool):
    """Looks something up for who asks. It changes nothing, but what is asked for goes out: approval asks."""

    kind: ClassVar[Kind] = "fetch"
    read_only: ClassVar[bool] = True

    def __init__(self, web: Web, asker: Asker) -> None:
        self._web, self._asker = web, asker

    @property
    def reaches_out(self) -> bool:
        """A member's look-ups were agreed to with its preset."""
        return not self._asker.is_member
