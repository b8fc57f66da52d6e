"""The rules of the house, as tests: style, types, who may import whom, and what must never be committed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.prefix) / "bin"
MAX_LINES = 500
BLOCK = re.compile(r"<!-- ci:(\w+) -->\s*```\w*\n(.*?)```", re.DOTALL)


def check(*command: str | Path) -> None:
    """Run a checker in the project's root; its own words are the failure."""
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr


def tracked() -> list[Path]:
    """Every file that git has. Skips the test outside of a checkout (an unpacked sdist)."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def test_lint() -> None:
    check(BIN / "ruff", "check", ".")


def test_format() -> None:
    check(BIN / "ruff", "format", "--check", ".")


def test_types() -> None:
    check(BIN / "mypy")


def test_who_imports_whom() -> None:
    check(BIN / "lint-imports")


def test_files_are_small() -> None:
    sizes = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for package in ("agent", "moa")
        for path in (ROOT / package).rglob("*.py")
    }
    assert sizes
    assert {name: lines for name, lines in sizes.items() if lines > MAX_LINES} == {}


def test_ci_runs_the_commands_of_the_readme() -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [name for name, _ in blocks] == ["run", "test"]
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    printed = subprocess.run([script, "--print-commands"], capture_output=True, text=True, check=True).stdout
    assert printed == "".join(text for _, text in blocks)
    for _, text in blocks:
        assert text.startswith("python3 -m venv ")


# Put together here, so that this file holds none of them.
REGISTRIES = re.compile("|".join((r"pypi\." + "org", "python" + "hosted", "registry." + "npm", "simple/" + "index")))
MACHINE_PATHS = re.compile(
    "|".join(("/" + r"work/(main|shared)\b", "/" + r"tmp/(v|brief|models)\b", "/" + r"root/\.", "/" + r"Users/\w"))
)
ASKS_AN_INDEX = "agent/admin/update.py"
"""The one file that names an index: it asks it, by a flag."""
LOCK_FILES = re.compile(r"(^|/)(uv|poetry|pdm|Pipfile|package-lock|pnpm-lock|yarn)\.?(lock|json|yaml)$")


def test_nothing_of_a_machine_or_a_registry_is_committed() -> None:
    found = []
    for path in tracked():
        text = path.read_text(encoding="utf-8", errors="ignore")
        found += [
            f"{path.relative_to(ROOT)}: {hit.group()}"
            for rule in (REGISTRIES, MACHINE_PATHS)
            for hit in rule.finditer(text)
            if rule is not REGISTRIES or path != ROOT / ASKS_AN_INDEX
        ]
    assert found == []


def test_no_lock_file_is_committed() -> None:
    names = [path.relative_to(ROOT).as_posix() for path in tracked()]
    assert [name for name in names if LOCK_FILES.search(name)] == []
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+", pin) for pin in pins)


def test_the_page_on_events_is_made_from_the_events() -> None:
    from agent.ui.schema import document

    assert (ROOT / "docs" / "events.md").read_text() == document(), "run: python -m agent.ui.schema > docs/events.md"


def test_foreign_json_has_one_reader() -> None:
    """What servers, models and files bring is read within bounds; the library's readers are for our own package data and pipes."""
    own = {
        "agent/text/foreign_json.py",
        "agent/llm/models/prices.py",
        "agent/local/child.py",
        "agent/local/server.py",
        "agent/config/toml.py",
    }
    reader = re.compile(r"json\.loads?\(|JSONDecoder\(|raw_decode\(|tomllib\.|\.json\(\)")
    found = {
        path.relative_to(ROOT).as_posix()
        for package in ("agent", "moa")
        for path in (ROOT / package).rglob("*.py")
        if any(reader.search(line.replace("foreign_json.loads(", "")) for line in path.read_text("utf-8").splitlines())
    }
    assert found <= own, f"use agent.text.foreign_json, or agent.config.toml.parse: {sorted(found - own)}"


TOOLS = "read|write|edit|glob|grep|shell|web_search|web_fetch|consult|delegate|todo|mcp"


@pytest.mark.parametrize(
    ("what", "places"),
    [
        pytest.param(
            r"create_subprocess_|subprocess\.(run|Popen|call|check_)|os\.(system|popen|exec[lv]|spawn|posix_spawn|fork)|webbrowser|pty\.(spawn|fork)",
            # With an environment from an allow-list, and no program of the project; workers of the server are forks of itself.
            {"agent/process/children.py", "moa/serve/workers.py"},
            id="processes start",
        ),
        pytest.param(r"get_close_matches", {"agent/text/nearest.py", "agent/tools/lib/files.py"}, id="did you mean"),
        pytest.param(r"\bflock\(|msvcrt", {"agent/files/lock.py"}, id="a lock on a file"),
        pytest.param(
            rf"(\btool|name) (==|!=|(not )?in) [(\[{{]?[\"'](?:{TOOLS})[\"']",
            # A panel's tool that is one of its own, the pages that Fusion's wire lists as sources, and modules that are to be imported.
            {"moa/plugin.py", "moa/serve/fusion/execute.py", "agent/mcp/connection.py"},
            id="a tool by its name",
        ),
    ],
)
def test_an_idea_has_one_place(what: str, places: set[str]) -> None:
    rule = re.compile(what)
    found = {
        path.relative_to(ROOT).as_posix()
        for package in ("agent", "moa")
        for path in (ROOT / package).rglob("*.py")
        if rule.search(path.read_text("utf-8"))
    }
    assert found == places
