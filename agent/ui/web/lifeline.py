"""In the chat behind a tab: not to outlive the server. Textual's own driver goes on after its input has ended."""

from __future__ import annotations

import os
import signal
import threading
import time

EVERY_S = 1.0


def watch() -> None:
    """End this process in order (SIGTERM) once the one that started it is gone, however it went."""
    parent = os.getppid()

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(EVERY_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
