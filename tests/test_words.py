"""What a person reads is in the words of the field: no phrase of the old vocabulary on a screen, in a help, an error or a page for users."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

OLD = {
    r"how it stands": "status",
    r"go(es)? on with:": "resume with",
    r"go(es)? on with (the |this |that |a |an )?(last |earlier |other )*(session|conversation|run|one)\b": "resume",
    r"(?i)\bthose at work": "active members",
    r"\bat work\b": "working, active",
    r"(?i)\bto make room|makes? room\b|made room": "to free up context",
    r"(?i)\bsum(s|med)? up": "summarize",
    r"\bis written$": "usage",
    r"(?i)may (this|it) run\?": "Allow this?",
    r"(?i)what is in\b(?! [a-z{]*(it|the|there|force|standard)\b)": "the answers so far",
    r"goes on with what|goes on with the raw": "continues with the answers so far",
    r"without a face": "non-interactive",
    r"(?i)^look around first$": "Explore without a model",
    r"questions do not\b": "questions need a model",
    r"defaults hold|default holds\b": "using defaults",
    r"is there; edit": "created; edit",
    r"(?i)seen by (none|some|one alone)": "Blind spots; Mentioned by some; Raised by one member",
    r"where they part\b": "Disagreements",
    r"(?i)\brung\b": "output mode",
    r"\breceives it\b": "sent to",
    r"says so at": "warns at",
    r"(?i)look into (the last counsel|it$)": "Open the last counsel",
    r"\bmost that (this|the) (run|pilot)?.{0,5}may\b": "maximum",
    r"give more of it": "be more specific",
    r"\bmend (the|that|or) ": "fix",
    r"\banew\b": "again",
    r"(?i)\b(books|teller|analyst)\b": "ledger, reducer, aggregator",
}
"""Patterns, and what stands for them."""

TO_MODELS = {
    "agent/goal/prompts.py",
    "moa/panel/briefing.py",
    "moa/panel/prompts.py",
    "agent/loop/compaction/summary.py",
}
"""What only models read: their words were measured."""

FOR_DEVELOPERS = {"architecture.md", "testing.md"}
"""Pages that name modules."""

NOUNS = r"calls|turns|steps|counsels|members|models|sessions|messages|tools|items|arms|answers|verdicts|gates|results|searches|presets|commands"
COUNTED = re.compile(
    rf"\{{(?![A-Z_.a-z]*\b[A-Z_]{{3,}}\b)(?!plural|[a-z_.]*count)[^{{}}]*(?<!name)(?<!url)\}} ({NOUNS})\b"
)


def strings(source: str) -> Iterator[tuple[int, str]]:
    """The strings of a module that are not docstrings; an f-string whole, with what it fills in as code in braces."""
    tree = ast.parse(source)
    passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            passed |= {id(part) for part in node.values}
            parts = (
                part.value if isinstance(part, ast.Constant) else "{" + ast.unparse(part.value) + "}"
                for part in node.values
            )
            if id(node) not in passed:
                yield node.lineno, "".join(map(str, parts))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed:
            yield node.lineno, node.value


def old_words(text: str) -> list[str]:
    """What of the old vocabulary is in a text, with what to say instead. One word alone is a key of a file or of JSON."""
    flat = re.sub(r"\{[^{}]*\}", "{}", " ".join(text.split()))
    if " " not in flat:
        return []
    return [f"{found[0]!r}: say {new}" for old, new in OLD.items() if (found := re.search(old, flat))]


def uncounted(text: str) -> list[str]:
    """Nouns behind a number that may be one: `plural` writes both."""
    return [f"{found[0]!r}: use plural" for found in COUNTED.finditer(text)]


def wrong(source: str) -> Iterator[str]:
    """What is wrong with the strings of a module. Only a module in which a pattern occurs at all is parsed."""
    flat = " ".join(re.sub(r"[\"']\s*\n\s*f?[\"']", "", source).split())
    if any(re.search(old, flat) for old in OLD) or COUNTED.search(flat):
        for line, text in strings(source):
            yield from (f"{line}: {said}" for said in old_words(text) + uncounted(text))


def modules() -> Iterator[Path]:
    for package in ("agent", "moa"):
        yield from sorted(
            path for path in (ROOT / package).rglob("*.py") if str(path.relative_to(ROOT)) not in TO_MODELS
        )


def pages() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield from sorted(
        path
        for path in (ROOT / "docs").rglob("*.md")
        if path.name not in FOR_DEVELOPERS and "decisions" not in path.parts
    )
    yield from sorted((ROOT / "presets").glob("*.toml"))
    yield from sorted((ROOT / "agent" / "ui" / "web" / "assets").glob("*.*"))


def test_no_string_of_the_program_has_an_old_word() -> None:
    found = [f"{path.relative_to(ROOT)}:{said}" for path in modules() for said in wrong(path.read_text("utf-8"))]
    assert not found, "\n".join(found)


def test_no_page_for_users_has_an_old_word() -> None:
    found = [f"{path.relative_to(ROOT)}: {said}" for path in pages() for said in old_words(path.read_text("utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "planted",
    [
        'say("go on with: moa --resume X")',
        'say(f"the members at "\n    "work")',
        'say(f"{len(calls)} calls")',
        'add("--x", help="most that this run may cost")',
        'title = "Seen by none"',
    ],
)
def test_a_planted_word_is_found(planted: str) -> None:
    assert list(wrong(planted)), planted


def test_docstrings_and_plain_words_are_left_alone() -> None:
    assert not list(
        wrong('def f():\n    """To make room for it."""\n    return f"{plural(n, \'call\')} of {LIMIT} calls"\n')
    )
