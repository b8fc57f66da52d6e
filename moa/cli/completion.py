"""`moa completion SHELL`: a script for the shell, made from the options themselves, that asks this program for names while one types."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from agent.config.config import Config, load_config
from agent.errors import UsageError
from agent.process.folder import here
from moa.cli import walk

_BY_METAVAR = {"REF": "models", "REF[,REF]": "models", "SUITE": "suites", "ENDPOINT": "endpoints"}
SHELLS = ("bash", "zsh", "fish")
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@~+=,%-]*")
"""What a name may be made of that a shell is given to offer: bash runs `$(…)` in the words that it completes from, and an endpoint names
its models as it likes."""
MOST_NAMES = 500
"""Names at most: OpenRouter alone lists hundreds of models, and shells show them all."""


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The completion script of one shell."""
    import shtab

    for each in walk.whole(parser):
        for action in walk.arguments(each):
            if (how := _completer(each.prog, action)) is not None:
                action.complete = how  # type: ignore[attr-defined]
    text: str = shtab.complete(parser, shell)
    # A model is ENDPOINT:MODEL, which bash takes for two words.
    return f"{text}\nCOMP_WORDBREAKS=${{COMP_WORDBREAKS//:/}}\n" if shell == "bash" else text


def _completer(prog: str, action: argparse.Action) -> Mapping[str, object] | None:
    """How shtab is to complete a value: files and folders by themselves, names by asking `moa`."""
    import shtab

    if action.metavar in ("DIR", "FILE"):
        found: Mapping[str, object] = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
        return found
    kind = _kind(prog.split()[1:], action)
    if kind is None:
        return None
    # shtab's own form for zsh would ask once for all, when the script is read.
    ask = f"moa completion --names {kind} 2>/dev/null"
    function = f'_moa_{kind}() {{ compadd "$@" -- ${{(f)"$({ask})"}} }}'
    asked: dict[str, Any] = dict(shtab.cmd(ask))
    return {**asked, "zsh": f"_moa_{kind}", "preamble": {**asked["preamble"], "zsh": function}}


def _kind(command: list[str], action: argparse.Action) -> str | None:
    """Which names an option or an argument of a command takes."""
    if action.metavar in _BY_METAVAR:
        return _BY_METAVAR[str(action.metavar)]
    if "--preset" in action.option_strings or (command[:1] == ["preset"] and action.dest in ("name", "a")):
        return None if command == ["preset", "new"] else "presets"
    if action.dest == "session" or (command[:1] == ["session"] and action.dest == "id"):
        return "sessions"
    if command[:1] in (["replay"], ["diff"]) and action.dest in ("run", "a", "b"):
        return "counsels"
    if command[:1] == ["bench"] and (action.dest in ("id", "resume")):
        return "runs"
    if command == ["models", "fetch"] and action.dest == "name":
        return "fetchable"
    return "servers" if command in (["mcp", "remove"], ["mcp", "test"]) and action.dest == "name" else None


def names(kind: str) -> list[str]:
    """What there is of a kind, for a script to offer. Asks no endpoint."""
    if kind not in KINDS:
        raise UsageError(f"there are no names of the kind {kind!r}", remedy=f"the kinds are {', '.join(KINDS)}")
    found = dict.fromkeys(KINDS[kind](load_config(plugins=frozenset(("moa", "goal", "web")))))
    return list(filter(SAFE.fullmatch, found))[:MOST_NAMES]


def _presets(config: Config) -> Iterable[str]:
    from moa.store import store

    return store.names(config_dir=config.paths.config, project_dir=config.trusted_project(here()))


def _sessions(config: Config) -> Iterable[str]:
    from agent.session.index import files

    return sorted((path.stem for path in files(config.paths.sessions)), reverse=True)


def _counsels(config: Config) -> Iterable[str]:
    from moa.replay.runs import kept_alone

    return [*_sessions(config), *kept_alone(config)]


def _models(config: Config) -> Iterable[str]:
    """Models of the endpoints that can be used, as far as their lists have been seen, and the panels as models."""
    from agent.llm.models.catalogue import Catalogue

    catalogue = Catalogue(config.paths.cache)
    for endpoint in config.endpoints.values():
        if endpoint.api_key is not None or endpoint.api_key_env is None:
            listed = (*endpoint.models, *(each.id for each in catalogue.listed(endpoint)))
            yield from (f"{endpoint.name}:{name}" for name in listed)
    yield from (f"fuse/{name}" for name in _presets(config))


def _servers(config: Config) -> Iterable[str]:
    return list(config.mcp.get("servers", ()))


def _runs(config: Config) -> Iterable[str]:
    return sorted((path.parent.name for path in config.paths.state.glob("bench/*/run.json")), reverse=True)


def _suites(_config: Config) -> Iterable[str]:
    from moa.bench.suites import NAMES

    return NAMES


def _fetchable(_config: Config) -> Iterable[str]:
    from agent.local.catalogue import FETCHABLE

    return FETCHABLE


KINDS: Mapping[str, Callable[[Config], Iterable[str]]] = {
    "presets": _presets,
    "sessions": _sessions,
    "counsels": _counsels,
    "models": _models,
    "servers": _servers,
    "runs": _runs,
    "suites": _suites,
    "endpoints": lambda config: config.endpoints,
    "fetchable": _fetchable,
}
