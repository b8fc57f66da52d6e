"""Wheels made by hand and installed by the real pip into throw-away environments, offline."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def wheel(folder: Path, name: str, files: Mapping[str, bytes], entry_points: str = "") -> Path:
    """A wheel of these files, with the record that pip keeps of it."""
    stem = f"{name.replace('-', '_')}-1.0"
    info = f"{stem}.dist-info"
    every = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if entry_points:
        every[f"{info}/entry_points.txt"] = entry_points.encode()
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in every.items())
    made = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as file:
        for path, data in every.items():
            file.writestr(path, data)
        file.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return made


def ours(folder: Path) -> Path:
    """Our own distribution, as the build makes it."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    files = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
        for path in sorted((ROOT / package).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    for place, to in project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].items():
        files |= {f"{to}/{path.name}": path.read_bytes() for path in (ROOT / place).iterdir() if path.is_file()}
    scripts = {"console_scripts": project["project"]["scripts"], **project["project"]["entry-points"]}
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in scripts.items()
    )
    return wheel(folder, project["project"]["name"], files, points)


class Environment:
    """A virtual environment of its own that borrows the libraries of the one that the tests run in."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.python = folder / "bin" / "python"
        self.site = next((folder / "lib").glob("python*")) / "site-packages"
        # Behind its own packages, as those of a system are.
        (self.site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")

    def install(self, wheel: Path) -> None:
        """Install a wheel, over whatever is there."""
        self._pip("install", "--no-index", "--no-deps", "--force-reinstall", "--quiet", str(wheel))

    def remove(self, name: str) -> None:
        """Uninstall a distribution."""
        self._pip("uninstall", "--yes", "--quiet", name)

    def _pip(self, *words: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(self.python), *words, "--disable-pip-version-check"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
