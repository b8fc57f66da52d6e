"""`/openapi.json` is true: schemathesis, which makes requests up from it, finds no fault of the server."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from moa.serve.app import make_app
from moa.serve.seen.openapi import document
from tests.support.endpoint import ScriptedEndpoint
from tests.support.script import Script
from tests.support.serving import KEY, PRESET, UPSTREAM_KEY, Serving

PROGRAM = os.environ.get("MOA_TEST_SCHEMATHESIS", "")
"""schemathesis' `st`, in an environment of its own: `.ci/run --all` makes one."""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


NAMES = [
    "moa/p",
    "moa/p/chat:m",
    "moa/p/responses:m",
    "fuse/p",
    "messages:m",
    "chat:m",
    "responses:m",
    "chat:fail-429",
    "moa",
    "nobody",
]


def test_every_route_is_in_the_document(tmp_path: Path) -> None:
    with ScriptedEndpoint(Script(api_key=UPSTREAM_KEY)) as up, Serving(tmp_path, up) as server:
        routes: Any = make_app(server.server).app.routes
        paths = {route.path.replace("{name:path}", "{name}"): set(route.methods) for route in routes}
        assert server.get("/openapi.json").json() == document()
    said = {path: {method.upper() for method in methods} for path, methods in document()["paths"].items()}
    assert said == {path: methods - {"HEAD"} for path, methods in paths.items()}


@pytest.mark.slow
@pytest.mark.skipif(not PROGRAM, reason="MOA_TEST_SCHEMATHESIS names no st")
def test_nothing_that_is_made_up_is_a_fault(tmp_path: Path) -> None:
    presets = {"p": PRESET.format(main="messages:m", aggregate="raw")}
    with ScriptedEndpoint(Script(api_key=UPSTREAM_KEY)) as up, Serving(tmp_path, up, presets=presets) as server:
        # Names that lead somewhere: nearly all that is made up would be refused for its model.
        found = server.get("/openapi.json").json()
        for schema in found["components"]["schemas"].values():
            if "max_tokens" in schema.get("properties", {}) or "model" in schema.get("required", ()):
                schema["properties"]["model"] = {"enum": NAMES}
        (tmp_path / "openapi.json").write_text(json.dumps(found))
        words = [
            *(
                PROGRAM,
                "run",
                str(tmp_path / "openapi.json"),
                "--url",
                server.url,
                "--header",
                f"Authorization: Bearer {KEY}",
            ),
            *("--checks", CHECKS, "--max-examples", "30", "--seed", "17", "--workers", "1", "--no-color"),
        ]
        told = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=290)
    assert told.returncode == 0, told.stdout[-6000:]
    assert "generated" in told.stdout and len(up.calls()) > 100, told.stdout[-2000:]
