"""The shape of the house, as tests: no import circles, no names at second hand, small folders, short functions."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST_MODULES = 20
MOST_LINES = 80
CIRCLES = {
    "agent.llm.client": "a call is the client's own work, and a relayed one too",
    "agent.ui.tui.app": "the app and what it does",
}
"""The circles that there are, by one module of each. None may join them."""


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of ours by its dotted name."""
    found = {}
    for package in ("agent", "moa"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


@cache
def nodes(tree: ast.Module) -> list[ast.AST]:
    """All that is in a module."""
    return list(ast.walk(tree))


@cache
def imports() -> dict[str, set[str]]:
    """Which of our modules each imports, wherever the import stands: at the top, in a function, or for types alone."""
    known, graph = modules(), {}
    for name, tree in known.items():
        found = set()
        for node in nodes(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= whole & known.keys()
                if whole - known.keys():
                    found.add(node.module)
        graph[name] = (found & known.keys()) - {name}
    return graph


def knotted() -> dict[str, set[str]]:
    """The modules that may be in a circle: those that are left when what leads nowhere, or comes from nowhere, is taken away."""
    graph = dict(imports())
    while graph:
        led_to = set().union(*graph.values())
        ends = {name for name, found in graph.items() if not found & graph.keys() or name not in led_to}
        if not ends:
            break
        graph = {name: found - ends for name, found in graph.items() if name not in ends}
    return graph


def reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    """All that a module leads to."""
    seen, todo = set(), [start]
    while todo:
        for each in graph[todo.pop()]:
            if each not in seen:
                seen.add(each)
                todo.append(each)
    return seen


def test_there_are_no_circles_but_the_named_ones() -> None:
    graph = knotted()
    beyond = {name: reachable(name, graph) for name in graph}
    circles = {
        name: {each for each in found if name in beyond[each]} for name, found in beyond.items() if name in found
    }
    named = set().union(*(circles.get(name, set()) for name in CIRCLES))
    assert set(circles) <= named, sorted(set(circles) - named)
    assert circles.keys() >= CIRCLES.keys(), "a circle is gone: take it off the list"


def test_a_name_is_imported_from_where_it_stands() -> None:
    defined = {name: _defined(tree) for name, tree in modules().items()}
    second_hand = [
        f"{name}: {alias.name} from {node.module}"
        for name, tree in modules().items()
        for node in nodes(tree)
        if isinstance(node, ast.ImportFrom) and node.module in defined
        for alias in node.names
        if alias.name not in defined[node.module] and f"{node.module}.{alias.name}" not in defined
    ]
    assert second_hand == []


def _defined(tree: ast.Module) -> set[str]:
    stored = {node.id for node in nodes(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return stored | {node.name for node in nodes(tree) if isinstance(node, kinds)}


def test_no_folder_is_a_corridor() -> None:
    folders = {path.parent for package in ("agent", "moa") for path in (ROOT / package).rglob("*.py")}
    sizes = {
        folder.relative_to(ROOT).as_posix(): sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        for folder in folders
    }
    assert {name: size for name, size in sizes.items() if size > MOST_MODULES} == {}


def test_every_package_says_what_it_holds() -> None:
    folders = {path.parent for package in ("agent", "moa") for path in (ROOT / package).rglob("*.py")}
    silent = [
        folder.relative_to(ROOT).as_posix()
        for folder in folders
        if not (folder / "__init__.py").is_file()
        or not ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))
    ]
    assert silent == []


def test_functions_are_short() -> None:
    long = {
        f"{name}.{node.name}": size
        for name, tree in modules().items()
        for node in nodes(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (size := (node.end_lineno or node.lineno) - node.lineno + 1) > MOST_LINES
    }
    assert long == {}
