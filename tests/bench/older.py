"""The program of an older commit, unpacked beside this one, so that both are measured in the same run."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

COMMIT = "03c5d12"
NEEDS = ("httpx-sse>=0.4.3,<0.5",)
"""What that program imports and this one does not; all else is taken from the environment that both run in."""

PLUGINS = "goal = agent.goal.plugin:make\nmoa = moa.plugin:make\n"
NAMES = {
    "from agent.context.prompt import": "from agent.context import",
    "from agent.llm.models.catalogue import": "from agent.llm.catalogue import",
    "from agent.llm.models.endpoint import": "from agent.llm.endpoint import",
    "from agent.llm.models.learned_quirks import": "from agent.llm.memory import",
    "from agent.session.session import": "from agent.session import",
    "from moa.panel import briefing": "from moa import view as briefing",
}
"""What stands elsewhere by now, and where that commit has it."""


def spelt(script: str) -> str:
    """A script for this program, as that commit spells its imports."""
    for new, old in NAMES.items():
        script = script.replace(new, old)
    return script


def unpacked(folder: Path) -> Path | None:
    """`agent`, `moa` and `presets` as that commit had them, in `folder`; None, and a line that says so, where this checkout lacks it."""
    root = Path(__file__).parents[2]
    command = ["git", "archive", COMMIT, "agent", "moa", "presets"]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    if done.returncode:
        print(f"the commit {COMMIT} is not in this checkout: what is measured beside it is left out")
        return None
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    # Its plugins, not those that are installed with this program: of two distributions of one name the first on the path counts.
    metadata = folder / "moa_agent-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: moa-agent\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text(f"[agent.plugins]\n{PLUGINS}")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *NEEDS]
    if subprocess.run(install, check=False).returncode:
        print(f"pip could not install {', '.join(NEEDS)}: what is measured beside the commit {COMMIT} is left out")
        return None
    return folder
