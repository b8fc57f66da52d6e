"""What the first start prints for each client is what its page says to paste."""

from __future__ import annotations

import json
import re

import pytest

from moa.serve.greeting import pastes
from tests.peers.pages import FOLDER, page

PAGES = {
    "Claude Code": "claude-code",
    "Codex": "codex",
    "pi": "pi",
    "opencode": "opencode",
    "aider": "aider",
    "Open WebUI": "open-webui",
    "Official clients (openai, anthropic)": "official-clients",
}
PRINTED = pastes("http://127.0.0.1:9", "k3y", "moa/p")


def test_each_client_has_its_page() -> None:
    assert set(PRINTED) == set(PAGES)
    assert {path.stem for path in FOLDER.glob("*.md")} >= set(PAGES.values())


@pytest.mark.parametrize("client", PAGES)
def test_what_is_printed_stands_on_the_page(client: str) -> None:
    here = page(PAGES[client], "http://127.0.0.1:9", "k3y")
    for line in PRINTED[client]:
        if line.startswith("{"):
            assert settings(json.loads(line)) <= settings(json.loads(here.block("json")))
        elif line.startswith("#"):
            assert all(re.search(word, here.text) for word in re.findall(r"[\w.~/]{4,}", line))
        else:
            assert f"    {line}\n" in here.text, line


def settings(value: object, path: str = "") -> set[str]:
    """Every setting in a JSON object, each with its place."""
    if isinstance(value, dict):
        return {one for key, inner in value.items() for one in settings(inner, f"{path}.{key}")} or {path}
    if isinstance(value, list):
        return {one for inner in value for one in settings(inner, path)}
    return {f"{path}={value}"}
