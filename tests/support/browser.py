"""A real Chromium, headless, driven through chromedriver's HTTP interface (W3C WebDriver) with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.support.waiting import wait_until

DRIVERS = ("chromedriver", "/usr/lib/chromium/chromedriver")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE rebound.test",
    "--window-size=1100,700",
)


def missing() -> str | None:
    """Why there is no browser to drive here; None where there is one."""
    lacking = [names[0] for names in (DRIVERS, BROWSERS) if not any(map(shutil.which, names))]
    return f"not installed: {', '.join(lacking)} (Debian: chromium, chromium-driver)" if lacking else None


class Browser:
    """One window with a profile of its own under `profile`. Use as a context manager."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._driver: subprocess.Popen[str] | None = None
        self._base = ""

    def __enter__(self) -> Self:
        driver = next(filter(None, map(shutil.which, DRIVERS)))
        self._profile.mkdir(parents=True, exist_ok=True)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self._profile), "LANG": "C.UTF-8"}
        self._driver = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                self._base = f"http://127.0.0.1:{line.split()[-1].rstrip('.')}"
                break
        options = {
            "binary": next(filter(None, map(shutil.which, BROWSERS))),
            "args": [*FLAGS, f"--user-data-dir={self._profile}"],
        }
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        session = self._ask("POST", "/session", {"capabilities": capabilities})["sessionId"]
        self._base += f"/session/{session}"
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._driver is not None
        try:
            self._ask("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(10)
            assert self._driver.stdout is not None
            self._driver.stdout.close()

    def go(self, url: str) -> None:
        """Open an address."""
        self._ask("POST", "/url", {"url": url})

    def reload(self) -> None:
        """Press reload."""
        self._ask("POST", "/refresh", {})

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self._ask("GET", "/url"))

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page; returns what it returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def type(self, text: str) -> None:
        """Press keys, one after the other; Enter is a line's end."""
        keys = [key for char in text.replace("\n", "\ue007") for key in _press(char)]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": keys}]})

    def screenshot(self) -> bytes:
        """The window as a PNG."""
        return base64.b64decode(self._ask("GET", "/screenshot"))

    def log(self) -> list[str]:
        """What the page wrote to its console, and what the browser complained of."""
        return [str(entry["message"]) for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def wait(self, condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
        """Wait until something holds. Raises AssertionError, with the page's console."""
        wait_until(condition, lambda: f"{what}; console: {self.log()}", timeout_s)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as response:
                return json.loads(response.read())["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {json.loads(error.read())['value']['message']}") from None


def _press(char: str) -> list[dict[str, str]]:
    return [{"type": "keyDown", "value": char}, {"type": "keyUp", "value": char}]
