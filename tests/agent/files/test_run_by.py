"""Which files a command line may run."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from agent.files.run_by import TooMuch, Work, files_run_by
from tests.support.effort import at_most

# A line, what it may run, and what it does not. A file in capitals is not there.
RUN: list[tuple[str | list[str], str, str]] = [
    ("./check.sh", "check.sh", "src/app.py"),
    ("check.sh", "", "check.sh"),  # looked up on PATH
    ("PATH=tools:$PATH srv.sh", "tools/srv.sh", "check.sh"),
    ("uv --directory tools run x.py", "tools/x.py", "src/app.py"),
    ("uv run --with mcp x.py", "x.py", "src/app.py"),
    ("uv run --with=mcp NEW.py", "NEW.py", "x.py"),
    ("node --env-file .env --require ./x.js", "x.js", "src/app.py"),
    ("node --require=./x tools", "x.js tools/index.js", ""),
    ("node NEW", "NEW", "x.js"),
    ("python3 -W ignore x.py", "x.py", "tools/x.py"),
    ("python3 -m tools.check", "tools/check.py tools/check/__init__.py", "check.sh"),
    ("python3 -mtools.check", "tools/check.py", "check.sh"),
    ("python3 -c 'import json, tools.check; tools.check.main()'", "tools/check.py json.py", "check.sh"),
    ("uvicorn --reload tools.check:app", "tools/check.py", "x.py"),
    ("python3 tools", "tools/__main__.py", ""),
    ("npx -y some-server tools", "", "tools/__main__.py tools/index.js"),
    ("bash -o pipefail x.sh", "x.sh", "x.py"),
    ("bash < x.sh > out.txt", "x.sh", "out.txt"),
    ("flock /tmp/l ./x.sh", "x.sh", ""),
    ("git diff --name-only | xargs ./x.sh", "x.sh", ""),
    ('sh -c "cd tools && exec ./srv.sh"', "tools/srv.sh", ""),
    ("""bash -lc "sh -c 'cd tools; ./NEW.sh'" """, "tools/NEW.sh", "check.sh"),
    ("timeout 5 ./x.sh", "x.sh", ""),
    ("env A=b ./x.sh", "x.sh", ""),
    ("S=x.sh; sh $S", "x.sh", ""),
    ("npm --prefix tools run lint", "tools/package.json", "package.json"),
    ("make -Ctools lint", "tools/Makefile", "Makefile"),
    ("cd NEW && ./x.sh", "NEW/x.sh", ""),
    ("cd tools; cd deep; ./y.sh", "tools/deep/y.sh", ""),
    ("""if "$PWD"/check.sh; then exit 2; fi""", "check.sh", ""),
    ('"$(git rev-parse --show-toplevel)/check.sh" || exit 2', "check.sh", ""),
    ("`pwd`/tools/srv.sh", "tools/srv.sh", ""),
    ('sh "$(dirname "$0")/check.sh"', "check.sh", ""),
    ("for f in tools/*.sh; do sh $f; done", "tools/srv.sh", "tools/x.py"),
    ("sh tools/{srv,other}.sh", "tools/srv.sh", ""),
    ("'./with blank.sh' # don't stop here", "with blank.sh", ""),
    ("./with\\ blank.sh \\\n  2>/dev/null", "with blank.sh", ""),
    ("bash $'./check.sh'", "check.sh", ""),
    (r"bash -c $'cd tools\n./s\x72v.\163h'", "tools/srv.sh", "check.sh"),
    (r"echo $'it\'s' && ./check.sh", "check.sh", ""),
    (r"echo $'a\' && ./check.sh", "check.sh", ""),  # as a shell reads it that knows no $'…'
    ('bash $"./check.sh"', "check.sh", ""),
    ("sh link/srv.sh", "link link/srv.sh tools/srv.sh", "x.sh"),
    ("cd link && ./srv.sh", "link tools/srv.sh", "x.sh"),
    ("./linked.sh", "linked.sh tools/srv.sh", ""),
    ("link/../check.sh", "check.sh", ""),
    ("${ROOT:-tools}/srv.sh", "tools/srv.sh", ""),
    ("cd ${ROOT:-tools} && ./NEW.sh", "tools/NEW.sh", ""),
    ("$HOME/project/x.sh || ~/project/x.py", "x.sh x.py", ""),
    ("ruby -Itools -rcheck x.rb", "tools/check.rb x.rb", ""),
    ("ruff check . NEW", "", "NEW"),
    (". ./NEW", "NEW", ""),
    ("ruff check src", "", "src/app.py check.sh NEW"),
    ("prettier --check 'src/*.json' README", "README", "src/data.json"),  # one that it only reads counts, too
    ("node .", "package.json index.js", "x.js"),
    ("perl -Itools -MMy::Mod -e 1", "tools/My/Mod.pm", "x.js"),
    ("RUBYOPT=-r./NEW y", "NEW", "x.js"),
    ("PYTHONPATH=tools:src pytest", "tools/sitecustomize.py src/usercustomize.py", "src/app.py"),
    (["python3", "-u", "tools/x.py"], "tools/x.py", ""),
    (["NODE_OPTIONS=--require ./x.js", "npx", "srv"], "x.js", ""),
    (["sh", "-c", "cd tools && exec ./srv.sh"], "tools/srv.sh", ""),
    (["./with blank.sh"], "with blank.sh", ""),
    (["java", "-jar", "tools/NEW.jar", "--port", "3"], "tools/NEW.jar", "check.sh"),
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path.resolve()))
    root = tmp_path.resolve() / "project"
    for name in ("check.sh", "x.sh", "x.py", "x.js", "with blank.sh", "package.json", "Makefile", "README", ".env", "src/app.py", "src/data.json", "tools/srv.sh", "tools/x.py", "tools/check.py", "tools/deep/y.sh", "tools/check.rb", "tools/My/Mod.pm"):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "json.py").touch()
    (root / "link").symlink_to("tools")
    (root / "linked.sh").symlink_to("tools/srv.sh")
    return root


@pytest.mark.parametrize(("line", "runs", "others"), RUN, ids=[str(row[0]) for row in RUN])
def test_what_a_command_line_runs_is_known(project: Path, line: str | list[str], runs: str, others: str) -> None:
    found = {str(path.relative_to(project)) for path in files_run_by(line, project) if path.is_relative_to(project)}
    blank = "with blank.sh"
    wanted = {blank} if runs == blank else set(runs.split())
    assert wanted <= found
    assert not found & set(others.split())
    assert all(not (project / name).is_dir() or (project / name).is_symlink() for name in found)


def test_a_script_of_the_repository_around_the_folder_is_known(project: Path) -> None:
    (project / ".git").mkdir()
    assert project / "check.sh" in files_run_by("$(git rev-parse --show-toplevel)/check.sh", project / "tools" / "deep")


# Each is as long as it takes to hold up whoever asks, were there no end to the work.
LONG = [
    *("a/b " * 50_000, "'" * 100_000, '"$(' * 30_000, "sh -c '" * 10_000, "*/*/*/" * 9_000, "\0/x ./ok.sh", "a=b:c," * 20_000),
    *("cd a;" * 20_000, "$" * 100_000, "{" * 100_000, "[" * 100_000, "~/" * 50_000, ("[" * 4_000 + " ") * 24, ("x/" * 2_000 + "y ") * 24),
    *("; ".join(f"cd d{at}" for at in range(300)) + "; " + "sh x.sh " * 5_000, ("sh " + "*a" * 500 + "b ") * 90, "sh */*.sh " * 9_000),
    "sh " + " ".join(f"./{at}" for at in range(20_000)),
]  # fmt: skip


@pytest.mark.parametrize("line", LONG)
def test_no_line_holds_up(project: Path, line: str) -> None:
    for at in range(300):
        (project / f"d{at}").mkdir()
    with at_most(4):  # a third of a second each
        for form in (line, line.split(), [line]):
            with contextlib.suppress(TooMuch):
                files_run_by(form, project)


def test_what_can_not_be_looked_through_is_not_taken_for_nothing(project: Path) -> None:
    padded = "# " + "x" * 1_000_000 + "\n./check.sh"
    with pytest.raises(TooMuch):
        files_run_by(padded, project)
    work = Work()
    with pytest.raises(TooMuch):  # a bound for each line would be none for a thousand of them
        for at in range(10_000):
            files_run_by(f"sh tools/{at}.sh", project, work=work)
