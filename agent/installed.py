"""The plugins that are installed: packages that offer something in the entry-point group `agent.plugins`.

Read from the packages' own `entry_points.txt` (packaging.python.org, "Entry points specification"), not by importlib.metadata: importing that
and looking through all that is installed with it took 15 % of a start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.errors import UsageError

if TYPE_CHECKING:
    from agent.plugin import Plugin, PluginHost

GROUP = "agent.plugins"
INFO = (".dist-info", ".egg-info")


class EntryPoint(NamedTuple):
    """One plugin: `value` is `MODULE:NAME`, where it is made."""

    name: str
    value: str

    def load(self) -> Any:
        """What it names. Raises ImportError, AttributeError."""
        from importlib import import_module

        module, _, attributes = self.value.partition(":")
        found: Any = import_module(module)
        for attribute in filter(None, attributes.split(".")):
            found = getattr(found, attribute)
        return found


def plugin_names() -> tuple[str, ...]:
    """The names of the installed plugins, without importing one: each may have a section in config.toml."""
    return tuple(entry.name for entry in entry_points())


def plugin_makers() -> dict[str, Callable[[PluginHost], Plugin]]:
    """Plugins by name, as installed packages offer them. Raises UsageError for one that can't be imported."""
    makers: dict[str, Callable[[PluginHost], Plugin]] = {}
    for entry in entry_points():
        try:
            makers[entry.name] = entry.load()
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"the plugin {entry.name} ({entry.value}) can't be loaded: {error}",
                remedy="reinstall or remove its package",
            ) from error
    return makers


def entry_points() -> list[EntryPoint]:
    """All of the group, in the order of `sys.path`; of one package that is there twice the first counts, as in an import."""
    seen: set[str] = set()
    found: list[EntryPoint] = []
    for place in sys.path:
        if os.path.isfile(place):  # noqa: PTH113
            return _by_metadata()  # a zip file: what is in it only its importer knows
        try:
            names = sorted(entry.name for entry in os.scandir(place or ".") if entry.name.endswith(INFO))
        except OSError:
            continue
        for name in names:
            package = name.partition("-")[0].removesuffix(INFO[0]).removesuffix(INFO[1])
            if (known := package.lower().replace("-", "_").replace(".", "_")) not in seen:
                seen.add(known)
                found += _read(os.path.join(place, name, "entry_points.txt"))  # noqa: PTH118 - at every start, for each package
    return found


def _read(file: str) -> Iterator[EntryPoint]:
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:  # noqa: PTH123
            text = opened.read()
    except OSError:  # mostly: it has none
        return
    inside = False
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            inside = line.removeprefix("[").removesuffix("]").strip() == GROUP
        elif inside and line and line[0] not in "#;":
            name, _, value = line.partition("=")
            yield EntryPoint(name.strip(), value.partition("[")[0].strip())


def _by_metadata() -> list[EntryPoint]:
    from importlib.metadata import entry_points as all_of

    return [EntryPoint(entry.name, entry.value) for entry in all_of(group=GROUP)]
