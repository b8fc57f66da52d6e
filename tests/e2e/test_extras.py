"""What needs an extra of its own, in an installation without any: the command says what to install, and the rest goes on."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest

from agent.extras import install
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, endpoint_config
from tests.support.script import Behaviour, Say, Script
from tests.support.sites import page, sites_of

HIDDEN = "acp aiohttp ddgs inspect_ai lxml lxml_html_clean mcp pypdf ray starlette textual_serve trafilatura uvicorn xllamacpp"
WITHOUT = f"""
import sys
from importlib.machinery import PathFinder
class Some:
    @staticmethod
    def find_spec(name, path=None, target=None):
        hidden = name.partition(".")[0] in {HIDDEN!r}.split()
        return None if hidden else PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Some if each is PathFinder else each for each in sys.meta_path]
"""
MOA = f"{WITHOUT}\nsys.executable = sys.argv.pop(1)\nfrom moa.cli.main import main\nsys.exit(main(sys.argv[1:]))"
CHILD = f"{WITHOUT}\nimport runpy\nsys.argv = sys.argv[2:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
"""What is started as `python -I FILE …`."""
SERVER = '[mcp.servers.it]\ncommand = "nonesuch"\n'
ROWS = (
    (("web", "--no-open"), "", "web"),
    (("serve",), "", "serve"),
    (("acp",), "", "acp"),
    (("mcp", "serve"), "", "mcp"),
    (("mcp", "test"), SERVER, "mcp"),
    (("run", "hello"), SERVER, "mcp"),
    (("run", "--model", "local:smollm2", "hello"), "", "local"),
)


def without_extras(program: Program, *line: str) -> subprocess.CompletedProcess[str]:
    python = program.work_dir.parent / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -c {shlex.quote(CHILD)} "$@"\n')
    python.chmod(0o755)
    words = [sys.executable, "-c", MOA, str(python), *line]
    return subprocess.run(
        words,
        env=program.environment,
        cwd=program.work_dir,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.sample(3)
@pytest.mark.parametrize(("line", "config", "extra"), ROWS, ids=[" ".join(row[0]) for row in ROWS])
def test_a_command_says_which_extra_it_needs(
    program: Program, endpoint: ScriptedEndpoint, line: tuple[str, ...], config: str, extra: str
) -> None:
    program.config(endpoint_config(endpoint.base_url) + config)
    done = without_extras(program, *line)
    assert done.returncode in (1, 2) and "which is not installed" in done.stderr and install(extra) in done.stderr
    assert "Traceback" not in done.stderr and not endpoint.calls()


def test_servers_are_listed_and_removed_without_it(program: Program, endpoint: ScriptedEndpoint) -> None:
    program.config(endpoint_config(endpoint.base_url) + SERVER)
    assert "nonesuch" in without_extras(program, "mcp", "list").stdout
    assert without_extras(program, "mcp", "remove", "it").returncode == 0


def test_pages_that_cannot_be_read_are_a_word_to_the_model_and_the_turn_goes_on(
    program: Program, endpoint: ScriptedEndpoint
) -> None:
    """Without trafilatura, pypdf and ddgs: text is read all the same, and each of the others says what to install."""
    paths = {"/a.html": "text/html", "/a.pdf": "application/pdf", "/a.txt": "text/plain"}
    pages = {path: page("<html><body>high tide at six</body></html>", kind=kind) for path, kind in paths.items()}
    with sites_of(pages) as site:
        urls = [site.url(path) for path in paths]
        program.config(f'{endpoint_config(endpoint.base_url)}\n[web]\nallow_private = ["127.0.0.1"]\n')
        steps = (
            *(Say(tools=(("web_fetch", {"url": url}),)) for url in urls),
            Say(tools=(("web_search", {"query": "q"}),)),
        )
        endpoint.script = Script(models={"worker": Behaviour(steps=(*steps, Say(text="Done.")))})
        done = without_extras(program, "run", "--approve", "all", "--output-format", "json", f"Read {' '.join(urls)}")
    assert json.loads(done.stdout)["status"] == "done", done.stderr
    html, pdf, text, search = [
        message["content"] for message in endpoint.calls("worker")[-1].body["messages"] if message["role"] == "tool"
    ]
    assert "needs the package trafilatura" in html and "needs the package pypdf" in pdf
    assert all(install("web") in said for said in (html, pdf, search)) and "high tide at six" in text
