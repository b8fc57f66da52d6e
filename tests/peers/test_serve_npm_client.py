"""The official `openai` client from npm in front of `moa serve`, over each upstream wire: streamed and not, tool loops with calls side by side, an
image, structured output, errors of each kind."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.peers.npm import package
from tests.peers.test_serve_clients import KEYS, work
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Behaviour, Say, Script
from tests.support.serving import PRESET, WIRES, Serving

pytestmark = pytest.mark.slow
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
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, beside the package that it imports: in a folder of its own, where no agent has brought an older version of it."""
    folder = package("openai", tmp_path_factory.mktemp("openai")).parents[1]
    return Path(shutil.copy(Path(__file__).with_name("openai_client.mjs"), folder))


@pytest.mark.parametrize("form", ["", "moa/p/"])
@pytest.mark.parametrize("wire", WIRES)
def test_what_the_client_from_npm_does(tmp_path: Path, client: Path, wire: str, form: str) -> None:
    refusing: dict[str, Any] = {
        f"m-{status}": Behaviour(steps=(Say(status=status, retry_after=0.01),)) for status in ERRORS
    }
    presets = {"p": PRESET.format(main="chat:m", aggregate="raw")}
    with (
        ScriptedEndpoint(Script(models={"m": work, **refusing}, **KEYS)) as up,  # type: ignore[arg-type]
        Serving(tmp_path, up, presets=presets) as server,
    ):
        command = ["node", str(client), server.url, server.key or "", f"{form}{wire}:m"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["loop"] == found["streamed_loop"] == {"seen": [CALLS], "text": MARMALADE}
    assert found["pieces"]["text"] == MARMALADE and found["pieces"]["prompt_tokens"] > 0
    assert found["image_and_schema"] == {"word": "marmalade"}
    assert found["responses"] == {"whole": MARMALADE, "streamed": MARMALADE, "ends": "response.completed"}
    assert found["responses_loop"] == {"calls": CALLS, "text": MARMALADE}
    assert "moa/p" in found["models"]
    assert found["errors"] == {str(status): [name, status] for status, name in ERRORS.items()}
