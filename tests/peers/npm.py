"""Where programs of npm packages are: below `MOA_TEST_NPM`; those that the slow set needs are fetched without it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGES = {
    "acpx": "acpx",
    "claude": "@anthropic-ai/claude-code",
    "codex": "@openai/codex",
    "mcp-inspector": "@modelcontextprotocol/inspector",
    "mcp-server-everything": "@modelcontextprotocol/server-everything",
    "mcp-server-filesystem": "@modelcontextprotocol/server-filesystem",
    "pi": "@earendil-works/pi-coding-agent",
    "opencode": "opencode-ai",
}


def installed(name: str, folder: Path | None = None) -> Path:
    """The program; skips the test where it isn't there, and (with `folder`) can't be fetched into that folder either."""
    return _found(PACKAGES[name], Path(".bin") / name, folder)


def package(name: str, folder: Path | None = None) -> Path:
    """The folder of a package, under the same conditions."""
    return _found(name, Path(name), folder)


def _found(name: str, what: Path, folder: Path | None) -> Path:
    given = os.environ.get("MOA_TEST_NPM")
    root = Path(given) if given else folder
    if root is None or shutil.which("npm") is None:
        pytest.skip("needs programs from npm: MOA_TEST_NPM names the folder of an npm install")
    path = root / "node_modules" / what
    if not path.exists():
        command = ["npm", "install", "--prefix", str(root), "--no-audit", "--no-fund", name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        # Newer versions of npm run no installer of a package unless told.
        installer = root / "node_modules" / name / "install.cjs"
        if done.returncode == 0 and installer.exists():
            subprocess.run(["node", str(installer)], cwd=installer.parent, check=True, capture_output=True, timeout=300)
        if done.returncode != 0 or not path.exists():
            pytest.skip(f"npm can't fetch {name}: {done.stderr.strip()[-200:]}")
    return path
