"""Nothing that a model, a file or a user writes makes the program stand still: each row takes time in proportion to its length.

What is measured is processor time, and beside it the same work on a quarter of the length: what grows with the square is sixteen times as
dear. The collector rests meanwhile, since a full collection costs as much as the whole process holds, whatever the row.
"""

from __future__ import annotations

import contextlib
import gc
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.approval.rules import Rule, is_simple, suggest_rule
from agent.config import toml
from agent.files.deny_paths import DenyPaths
from agent.files.globs import Glob, expand_braces, matches_text
from agent.goal import budget, evidence
from agent.llm.answers.reading import first_object
from agent.llm.dialects.chat_decoder import ChatDecoder
from agent.llm.models.endpoint import Endpoint
from agent.llm.request import ModelRef, Request
from agent.session.sent import unmarked
from agent.tools.base import ToolError, place_of
from agent.tools.glob import GlobTool
from agent.tools.lib.validate import validate
from agent.ui.line.blocks import Blocks, at_once
from agent.ui.line.paint import Paint
from moa.counsel.points import names
from moa.serve.events import Cutter, Meter
from tests.agent.tools.support import make_context, refused, subject, tool

PAINT = Paint(colour=True, width=lambda: 80)


def spent(work: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()
    started = time.process_time()
    try:
        with contextlib.suppress(Exception):
            work()
        return time.process_time() - started
    finally:
        gc.enable()


def streamed(text: str, size: int) -> list[str]:
    blocks = Blocks()
    done = [block for at in range(0, len(text), size) for block in blocks.feed(text[at : at + size])]
    return done + blocks.close()


def shown(text: str, size: int = 40) -> None:
    for block in at_once(streamed(text, size)):
        PAINT.markdown(block)


def in_pieces(arguments: str) -> None:
    """A call's arguments, as servers stream them: each piece with the call's id and name."""
    request = Request(model=ModelRef("fake", "m"), messages=(), tools=(), max_tokens=10**6)
    decoder = ChatDecoder(request, Endpoint(name="fake", base_url="http://127.0.0.1:9"))
    for piece in ["{", *(arguments[at : at + 4] for at in range(0, len(arguments), 4))]:
        function = {"name": "write", "arguments": piece}
        decoder.event("", {"choices": [{"delta": {"tool_calls": [{"id": "1", "index": 0, "function": function}]}}]})


def relayed(block: bytes) -> None:
    """A piece of an answer that `moa serve` passes on."""
    meter = Meter("chat")
    for raw, unread in meter.parts(Cutter().block(block)):
        if not unread:
            meter.read(raw)


def passage(text: str, old: str) -> None:
    """A change of a passage that is not there."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "file").write_text(text)
        refused(make_context(Path(folder)), "edit", path="file", old=old, new="")


PATTERNS = ["[", "[!", "[a-", "*a", "{", "{,", "}", "?", "**/a/", "[]", "\\*", "a*"]
MARKDOWN = [
    *("```\n{}", "x = [1, 2]  # `tick`\n", "    code\n", "|a|b|\n", "- a\n", "> a\n", "`", "[", "*a ", "[a](b) ", "<a ", "&amp;", "\n"),
    *("a", "# a\n", "1. a\n", "  - a\n", "```\n", "~~~\n", "| ", "***", "![", "\\", "_a_ "),
]  # fmt: skip
HOSTILE: dict[str, Callable[[int], object]] = {
    **{f"pattern {piece}": lambda n, piece=piece: Glob(piece * n).match(["a" * 250] * 20) for piece in PATTERNS},
    **{f"braces {piece}": lambda n, piece=piece: expand_braces(piece * n) for piece in PATTERNS},
    **{f"wildcard {piece}": lambda n, piece=piece: matches_text(piece * n + "b", "a" * n) for piece in PATTERNS},
    **{
        f"rule {piece!r}": lambda n, piece=piece: Rule.parse(f"shell{piece * n}x")
        for piece in (" ", "(", ")", "()", " (")
    },
    **{f"markdown {piece!r}": lambda n, piece=piece: shown(piece * (n // len(piece))) for piece in MARKDOWN},
    **{
        f"code {piece!r}": lambda n, piece=piece: shown(f"```\n{piece * (n // len(piece))}\n```\n")
        for piece in MARKDOWN[:6]
    },
    "markdown in one piece": lambda n: shown("- a\n" * (n // 4), n),
    "arguments": lambda n: validate("```" + " " * n + "x", tool("read").spec),
    **{
        f"a mark {piece!r}": lambda n, piece=piece: unmarked(f"private-guidance<{piece * n}")
        for piece in (" ", "/ ", "<", "\u200b", "private")
    },
    "a call in many pieces": lambda n: in_pieces("x" * 10 * n),
    **{
        f"events {piece!r}": lambda n, piece=piece: relayed(4 * n * piece)
        for piece in (b"id: 1\n\n", b":\n\n", b"\n\n", b"data: 1\n\n")
    },
    "what advice names": lambda n: names("a" * n, frozenset()),
    "a dotted key": lambda n: toml.parse("a." * n + "a = 1", Path("x"), kind="config"),
    **{
        f"settings {piece!r}": lambda n, piece=piece: toml.parse(piece * n, Path("x"), kind="config")
        for piece in ("[", ",'", "{'x", "a.a.a.a,", "[[a]]\na.a.a.x=1\n")
    },
    "a budget": lambda n: budget.parse("1" + "." * n, budget.Budget()),
    "a claim": lambda n: evidence.claimed("GOAL DONE" + " " * n + "x"),
    "a passage": lambda n: passage("a\n" * 2 * n, "a\n" * n + "b"),
    "a passage of empty lines": lambda n: passage("\r\n" * 2 * n, "\n" * n + "b"),
    "a path": lambda n: place_of(tool("read"), {"path": "a/" * 8 * n}, Path("/")),
    "a denied path": lambda n: DenyPaths(("~/x/**",), Path("/")).match_name(Path("/" + "a/" * n)),
    "a command": lambda n: (is_simple("a " * n), suggest_rule(subject("shell", {"command": "*" * n}), Path("/"))),
}


@pytest.mark.slow  # a measurement, if of processor time and of a ratio
@pytest.mark.parametrize("kind", HOSTILE)
def test_it_takes_time_in_proportion(kind: str) -> None:
    work, seen = HOSTILE[kind], []
    for _ in range(4):  # a loaded machine spoils a figure; what grows with the square is too dear each time
        quarter, whole = spent(lambda: work(4_000)), spent(lambda: work(16_000))
        if whole < 0.4 or whole < 9 * quarter:
            return
        seen.append((quarter, whole))
    raise AssertionError(f"more than in proportion: {seen}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", ['{"a":', "{", '{"a":[', '{"":"', "{},", "[],", '{"a":' * 20 + "[" + "1," * 1000, "[" * 2000 + '""' * 2000]
)
def test_an_answer_of_megabytes_that_is_broken_or_empty_is_given_up_at_once(piece: str) -> None:
    text = '{"x":[' + piece * (16_000_000 // len(piece))
    assert min(spent(lambda: first_object(text)) for _ in range(2)) < 2


def test_a_block_that_is_given_back_in_parts_is_whole() -> None:
    code = "".join(f"line {number}\n" for number in range(5_000))
    parts = streamed(f"before\n\n```python\n{code}```\n\nafter\n", 300)
    assert len(parts) > 3 and parts[0] == "before\n\n" and parts[-1].strip() == "after"
    inner = [part.removeprefix("```python\n").partition("```")[0] for part in parts[1:-1]]
    assert all(part.startswith("```python\n") for part in parts[1:-1]) and "".join(inner) == code
    table = "|a|b|\n|-|-|\n" + "".join(f"|{number}|x|\n" for number in range(2_000))
    assert "".join(streamed(table, 100)) == table


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("write", {"path": "a/" * 100_000, "content": "x"}),
        ("read", {"path": "../" * 100_000}),
        ("shell", {"command": "cat " + "../" * 100_000}),
        ("grep", {"pattern": "(a*)*" * 20_000}),
    ],
)
def test_what_no_system_takes_is_refused_before_anybody_looks_at_it(name: str, arguments: dict[str, str]) -> None:
    with pytest.raises(ToolError, match="is the limit of the system"):
        validate(json.dumps(arguments), tool(name).spec)


def test_a_pattern_that_is_refused_says_why_in_few_words(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    for pattern in ("[" * 50_000, "*a" * 1_000, "a{b,c}" * 100):
        said = refused(context, GlobTool(), pattern=pattern)
        assert ("not a usable pattern" in said or "the limit" in said) and len(said) < 300
