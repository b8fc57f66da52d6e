"""What the docs name exists, and what exists is in the docs: commands, options, slash commands, keys, statuses."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from agent.commands import ALIASES
from agent.ui.settings import read_section
from moa.cli import config_keys, reference, walk
from moa.cli.options import COMMANDS, whole_parser

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*.md") if "decisions" not in path.parts)]
DOCS = "\n".join(path.read_text("utf-8") for path in PAGES)
OWN = "\n".join(path.read_text("utf-8") for path in PAGES if path.parent.name != "serve")
"""Without the pages that show other programs' settings."""

OTHERS = {
    "--method", "--header", "--transport", "--provider", "--model", "--inplace",
}  # fmt: skip
"""Options of other programs that stand on a line with `moa`."""
PATHS = {
    "architect",
    "command",
    "commands",
    "health",
    "messages",
    "metrics",
    "mnt",
    "opt",
    "responses",
    "run",
    "srv",
    "tmp",
    "skip",
    "advisor",
    "subgoal",
}
"""What begins with a slash and is no command of ours: paths, routes, commands of other programs and of the reader's own."""
STATUSES = ("done", "failed", "usage", "budget", "limit", "unmet", "retryable", "interrupted")


WHOLE = list(walk.whole(whole_parser()))
OPTIONS = {
    option
    for parser in WHOLE
    for action in walk.arguments(parser)
    for option in action.option_strings
    if option.startswith("--")
}


def slash_commands() -> set[str]:
    """By name, as the modules that make them write them."""
    modules = (path.read_text("utf-8") for package in ("agent", "moa") for path in (ROOT / package).rglob("*.py"))
    found = {name for text in modules for name in re.findall(r"\bCommand\(\s*(?:name=)?\"([a-z-]+)\"", text)}
    return found | {"goal", "plan"}  # whose names are constants


def test_every_command_and_option_is_in_the_docs() -> None:
    commands = {parser.prog for parser in WHOLE if not walk.verbs(parser)}
    flat = re.sub(r"\s+", " ", DOCS)
    unsaid = {prog for prog in commands if not _named(prog, flat)}
    assert not unsaid, sorted(unsaid)
    assert not {option for option in OPTIONS if option not in DOCS} - {"--help", "--version", "--names"}


def _named(prog: str, text: str) -> bool:
    """Whether a command is named, by itself or in a row of verbs (`moa preset list | show`)."""
    *head, verb = prog.split()
    return re.search(rf"{' '.join(head)} (?:[a-zA-Z \\|`,]*[ |`,]+)?{re.escape(verb)}\b", text) is not None


def test_the_page_of_commands_is_up_to_date() -> None:
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert reference.document() == page, "python -m moa.cli.reference > docs/commands.md"


def test_every_command_of_the_docs_exists() -> None:
    called = set(re.findall(r"(?:^|[`\s(])(?:\.venv/bin/)?moa ([a-z][a-z-]+)(?=[\s`|])", "\n".join(_code()), re.M))
    assert called <= {*COMMANDS, "an"}, sorted(called - set(COMMANDS))  # "give moa an environment"
    for line in _code():
        if match := re.search(r"(?:^|[`\s(])(?:\.venv/bin/)?moa (?:[a-z-]|--)[^`]*", line):
            named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", match[0]))
            assert named <= OPTIONS | OTHERS, (line, sorted(named - OPTIONS - OTHERS))


def _code() -> Iterator[str]:
    """Lines of code blocks, and what stands in backticks."""
    for block in re.findall(r"```\w*\n(.*?)```", DOCS, re.S):
        yield from (line.partition(" # ")[0] for line in block.splitlines())
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", DOCS, flags=re.S))


def test_slash_commands_are_in_the_docs_and_those_of_the_docs_exist() -> None:
    there = slash_commands() | set(ALIASES)
    assert {"moa", "goal", "model", "undo"} <= there
    assert not {name for name in there if not re.search(rf"/{name}\b", DOCS)}
    named = {found[1] for code in _code() if (found := re.fullmatch(r"/([a-z]+)(?: .*)?", code))}
    assert named <= there | PATHS, sorted(named - there)


def test_every_key_of_a_toml_sample_exists() -> None:
    keys = [part for key in (*config_keys.of_config(read_section), *config_keys.of_preset()) for part in key.path]
    for name in re.findall(r"^([a-z_]+) += ", "\n".join(re.findall(r"```toml\n(.*?)```", OWN, re.S)), re.M):
        assert name in keys, name


def test_every_file_that_the_pages_for_contributors_name_exists() -> None:
    named = {
        (page, path)
        for page in ("docs/architecture.md", "CONTRIBUTING.md", "AGENTS.md")
        for path in re.findall(r"`((?:agent|moa|tests|docs)/[\w./-]+)`", (ROOT / page).read_text())
    }
    assert len(named) > 60
    assert sorted(each for each in named if not (ROOT / each[1]).exists()) == []


def test_statuses_are_in_the_docs() -> None:
    assert not [status for status in STATUSES if f"`{status}`" not in DOCS and f'"{status}"' not in DOCS]


def test_each_promise_of_the_safety_page_has_its_tests() -> None:
    page = (ROOT / "docs" / "safety.md").read_text("utf-8")
    named = re.findall(r"`([\w/]*test_\w+\.py)(?:: (test_\w+))?", page)
    assert len(named) > 30
    for file, test in named:
        text = (ROOT / "tests" / file).read_text("utf-8")
        assert f"def {test}" in text, f"{file}: {test}"
    everywhere = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert [test for test in re.findall(r"`(test_\w+)…?`", page) if f"def {test}" not in everywhere] == []


def test_the_page_of_presets_has_each_that_ships_and_its_cap() -> None:
    page = (ROOT / "docs" / "presets.md").read_text("utf-8")
    for file in sorted((ROOT / "presets").glob("*.toml")):
        row = re.search(rf"^\| `{re.escape(file.stem)}` \|.*\| (.+) \|$", page, re.MULTILINE)
        heading = re.search(rf"^## .*`{re.escape(file.stem)}`", page, re.MULTILINE)
        assert row and heading, f"{file.stem} is not on the page"
        budget = tomllib.loads(file.read_text("utf-8"))["budget"]
        cap = f"${budget['turn_usd']:.2f}" if "turn_usd" in budget else f"{budget['turn_tokens']:,} tokens"
        assert row[1] == cap, f"{file.stem}: {row[1]} on the page, {cap} in the file"
