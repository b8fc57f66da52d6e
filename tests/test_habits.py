"""The habits of the tests, as tests: they go through what is public, and they wait for what happens."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent

THEIRS = {
    "screen._compositor": "Textual: its composed lines have no other public form than an SVG",
    "textual._xterm_parser": "Textual: what it makes of the bytes of a terminal",
    "._replace": "a named tuple's, and public in spite of its name",
    "os._exit": "public, too",
    "threading._shutdown": "the interpreter's end, without taking its modules apart",
    "atexit._run_exitfuncs": "the same",
}
"""Private names of others that tests may use, and why."""
REACHES = re.compile(r"(?<!\bself)(?<!\bcls)\._[a-zA-Z]|\bimport\b.*\b_[a-zA-Z]|\battr\(|patch\(")


@cache
def sources() -> dict[str, str]:
    """Every module of the tests by its path, but for this one."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in files if path != Path(__file__)}


@cache
def parsed(path: str) -> ast.Module:
    return ast.parse(sources()[path])


def private(name: str) -> bool:
    return re.match(r"_[a-zA-Z]", name) is not None


def reached(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The private names that a module reaches into: of other objects and modules, by themselves or as strings for `setattr`."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if private(name):
                yield node.lineno, ast.unparse(node)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                where = (getattr(node, "module", None) or "").split(".")
                for name in (*where, *(part for alias in names for part in alias.name.split("."))):
                    if private(name):
                        yield node.lineno, f"{where[0]}.{name}"
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)) if called.endswith(("attr", "patch")):
                for word in node.args:
                    if isinstance(word, ast.Constant) and any(map(private, str(word.value).split("."))):
                        yield node.lineno, f"{called}({word.value!r})"


def inherited(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The private names of ours that a class of the tests shares with the class of ours that it is made from."""
    from_ours = {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("agent.", "moa."))
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                if isinstance(base, ast.Name) and base.id in from_ours:
                    for name in own(node) & of_ours(str(from_ours[base.id]), base.id):
                        yield node.lineno, f"{node.name}.{name} of {base.id}"


def own(node: ast.ClassDef) -> set[str]:
    """The private names that a class uses of itself or defines."""
    used = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute) and private(each.attr)}
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return used | {each.name for each in node.body if isinstance(each, kinds) and private(each.name)}


@cache
def of_ours(module: str, name: str) -> set[str]:
    path = ROOT / (module.replace(".", "/") + ".py")
    classes = (node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef))
    return next((own(node) for node in classes if node.name == name), set())


def test_private_names_are_left_alone() -> None:
    """What a test needs of our code is public, or it is not the test's. A seam that only tests know is a parameter with a name."""
    found, used = [], set()
    for path, source in sources().items():
        if REACHES.search(source):
            for line, what in reached(parsed(path)):
                allowed = next((name for name in THEIRS if what.endswith(name)), None)
                used.add(allowed)
                found += [] if allowed else [f"{path}:{line}: {what}"]
        if "self._" in source and re.search(r"^class \w+\(\w", source, re.MULTILINE):
            found += [f"{path}:{line}: {what}" for line, what in inherited(parsed(path))]
    assert not found, "\n".join(found)
    assert used >= THEIRS.keys(), "nobody uses it any more: take it off the list"


BY_THE_CLOCK = {
    "tests/bench/": "a bench measures",
    "tests/support/waiting.py": "it asks again and again",
    "tests/support/clock.py": "the clock that jumps",
    "tests/support/effort.py": "a bound on the processor's time",
    "tests/support/fuzzed_streams.py": "the same: what hangs",
    "tests/agent/test_freezes.py": "the same: what is in proportion (in the slow set)",
    "tests/support/scripted.py": "a scripted model takes its time",
    "tests/support/endpoint.py": "the same, behind a socket",
    "tests/support/foreign_server.py": "a program of its own, which is slow or hangs",
    "tests/support/signalling.py": "a signal comes at a time",
    "tests/support/killing.py": "the same of a kill",
    "tests/support/screenshots.py": "a picture is taken when nothing moves any more",
    "tests/e2e/test_web.py": "the same",
    "tests/e2e/test_asking.py": "somebody pauses while typing",
    "tests/e2e/test_output.py": "the time between two Ctrl+C",
    "tests/agent/web/test_fetch.py": "a site that drips",
    "tests/moa/serve/test_restarted.py": "a client leaves while the database is away, and nobody can be asked whether that was heard",
    "tests/agent/chat/test_next_turn.py": "a wait until a time of day",
}
"""Where time itself is what is tried, or measured. Elsewhere a test waits for what happens (tests/support/waiting.py), and what takes time
by itself runs on a clock that jumps (tests/support/clock.py)."""
LATE = {"time.monotonic", "time.time"}
MEASURES = {"time.perf_counter", "time.process_time"}


def by_the_clock(tree: ast.Module) -> Iterator[int]:
    """The lines that sleep, that let a screen rest for a time, that measure, or that assert how late it is."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="time" | "asyncio"), attr="sleep"), args=[long]):
                if not (isinstance(long, ast.Constant) and long.value == 0):
                    yield node.lineno
            case ast.Call(func=ast.Attribute(attr="pause"), args=[_, *_]):
                yield node.lineno
            case ast.Call(func=called) if ast.unparse(called) in MEASURES:
                yield node.lineno
            case ast.Assert():
                if any(isinstance(each, ast.Call) and ast.unparse(each.func) in LATE for each in ast.walk(node)):
                    yield node.lineno
            case ast.ImportFrom(module="time"):
                yield node.lineno  # by its module's name, or this rule does not see it


def test_nothing_waits_by_the_clock() -> None:
    """What is waited for by a time comes too late on a busy machine, and wastes the rest of it on an idle one."""
    found, used = [], set()
    for path, source in sources().items():
        if re.search(r"sleep|pause\(|\btime\.", source):
            lines = list(by_the_clock(parsed(path)))
            allowed = next((place for place in BY_THE_CLOCK if lines and path.startswith(place)), None)
            used.add(allowed)
            found += [] if allowed else [f"{path}:{line}" for line in lines]
    assert not found, "\n".join(found)
    assert used >= BY_THE_CLOCK.keys(), "nothing waits there any more: take it off the list"
