"""Counsel: a panel of reference models, an aggregator, and private guidance for the model that acts.

As a library: `moa.Panel` and `moa.Agent` (docs/library.md). They are loaded when they are first named, so that the command starts as quickly
as without them.
"""

TYPE_CHECKING = False  # as typing's, whose import costs more than this module may
if TYPE_CHECKING:
    from moa.library import Agent as Agent
    from moa.library import AgentAnswer as AgentAnswer
    from moa.library import Panel as Panel
    from moa.library import PanelAnswer as PanelAnswer

DISTRIBUTION = "moa-agent"
"""Who ships this package, as in `agent`."""

__version__ = "0.1.0"

_LIBRARY = ("Agent", "AgentAnswer", "Panel", "PanelAnswer")


def __getattr__(name: str) -> object:
    """The library's names."""
    if name not in _LIBRARY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("moa.library"), name)
