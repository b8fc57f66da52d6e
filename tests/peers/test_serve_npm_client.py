"""The official clients from npm (`openai`, `@anthropic-ai/sdk`) in front of `moa serve`, over each upstream wire: streamed and not, tool loops with
calls side by side, an image, structured output, errors of each kind."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.peers.npm import package
from tests.peers.test_serve_clients import KEYS, work
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PRESET, WIRES, Serving

pytestmark = [pytest.mark.slow, pytest.mark.alone]
Run = Callable[[str, str, Path, str], dict[str, Any]]
CALLS = ['{"at": "a"}', '{"at": "b"}']
MARMALADE = "It is marmalade."
ERRORS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
    500: "InternalServerError",
    529: "InternalServerError",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a client's program beside the package that it imports: in a folder of its own, where no agent has brought an older version of it."""
    folder = tmp_path_factory.mktemp("clients")

    def running(name: str, program: str, tmp_path: Path, model: str) -> dict[str, Any]:
        here = package(name, folder)
        while here.name != "node_modules":
            here = here.parent
        shutil.copy(Path(__file__).with_name("report.mjs"), here.parent)
        client = shutil.copy(Path(__file__).with_name(program), here.parent)
        refusing: dict[str, Any] = {
            f"m-{status}": Behaviour(steps=(Say(status=status, retry_after=0.01),)) for status in ERRORS
        }
        presets = {"p": PRESET.format(main="chat:m", aggregate="raw")}
        with (
            ScriptedEndpoint(Script(models={"m": work, **refusing}, **KEYS)) as up,  # type: ignore[arg-type]
            Serving(tmp_path, up, presets=presets) as server,
        ):
            command = ["node", str(client), server.url, server.key or "", model]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        assert "moa/p" in found["models"]
        named = ERRORS | ({529: "OverloadedError"} if name == "@anthropic-ai/sdk" else {})
        assert found["errors"] == {str(status): [kind, status] for status, kind in named.items()}
        return found

    return running


FORMS = pytest.mark.parametrize("name", [f"{form}{wire}:m" for form in ("", "moa/p/") for wire in WIRES])


@FORMS
def test_what_openais_client_from_npm_does(tmp_path: Path, run: Run, name: str) -> None:
    found = run("openai", "openai_client.mjs", tmp_path, name)
    assert found["loop"] == found["streamed_loop"] == {"seen": [CALLS], "text": MARMALADE}
    assert found["pieces"]["text"] == MARMALADE and found["pieces"]["prompt_tokens"] > 0
    assert found["image_and_schema"] == {"word": "marmalade"}
    assert found["responses"] == {"whole": MARMALADE, "streamed": MARMALADE, "ends": "response.completed"}
    assert found["responses_loop"] == {"calls": CALLS, "text": MARMALADE}


@FORMS
def test_what_anthropics_client_from_npm_does(tmp_path: Path, run: Run, name: str) -> None:
    found = run("@anthropic-ai/sdk", "anthropic_client.mjs", tmp_path, name)
    calls = [call.replace(" ", "") for call in CALLS]
    assert found["loop"] == found["streamed_loop"] == {"seen": [calls], "text": MARMALADE, "stop": "end_turn"}
    assert found["pieces"] == {"text": MARMALADE, "first": "message_start", "last": "message_stop"}
    assert found["image"] == MARMALADE and found["schema"] == {"word": "marmalade"} and found["count"] > 0
