"""The process that holds a local model: llama.cpp's own server, out of the `xllamacpp` wheel, on a loopback port of its own.

Run as a script by `agent.local.server`, never imported by the program. A native crash, or a long prefill that hears no Ctrl+C, then
stays in here. Speaks one line each way: the parent writes its settings as JSON to standard input (there, because arguments and
environment can be read by others and one of them is the key), this process answers `{"listening_address": …}` or
`{"error": …}` on standard output. It ends when its standard input does, and on Linux also when its parent dies.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h
SIGKILL = 9


def main() -> None:
    """Load the model, say where it listens, and wait for the parent to go."""
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever native code prints belongs in the log, which is our standard error
    settings = json.loads(sys.stdin.buffer.readline() or b"{}")
    if not settings:
        return
    die_with_parent(settings["parent"])
    gone = threading.Thread(target=wait_for_end_of_input, name="parent", daemon=True)
    gone.start()
    said = log_size()
    try:
        server = serve(settings)
    except ImportError as error:
        say(report, {"error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    except Exception as error:
        wait_for_words(said)
        say(report, {"error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    say(report, {"listening_address": server.listening_address})
    gone.join()


def serve(settings: dict[str, Any]) -> Any:
    """Start llama.cpp's server; returns once the model is loaded and the port listens. Raises what xllamacpp raises.

    Settings: `model` (path), `alias` (names), `api_key`, `slots` (requests at once), `slot_tokens` (context of each).
    """
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path = settings["model"]
    params.model_alias = set(settings["alias"])
    params.api_keys = [
        settings["api_key"]
    ]  # without one, any page in a browser could use the server: its CORS answer is `*`
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["slot_tokens"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_batch = 256  # a cancelled prefill stops at the end of a batch: 1.2 s so, 4 to 5 s at the default of 2048
    if cores() <= 2:
        # llama.cpp's threads wait for each other busily: with two on two cores that others use too, 20 tokens/s became of 110;
        # one thread makes 70, come what may. Prompts, and several answers at once, still get both cores.
        params.cpuparams.n_threads = 1
        params.cpuparams_batch.n_threads = cores()
    params.warmup = False
    params.ui = False
    params.endpoint_slots = False
    params.cache_ram_mib = 0  # the default keeps up to 8 GiB of old prompts in memory
    params.use_jinja = True
    params.verbosity = 1  # errors alone: at 0 a failing load says nothing, above 2 prompts could reach the log
    return Server(params)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform.startswith("linux") else os.cpu_count() or 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel for a signal when the parent dies (Linux; elsewhere the end of standard input has to do)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(0)


def wait_for_end_of_input() -> None:
    """End this process when the parent closes our standard input. At once: the server's own shutdown waits for its clients."""
    while sys.stdin.buffer.read(65536):
        pass
    os._exit(0)


def log_size() -> int:
    """Bytes in the log so far; 0 where it is no file."""
    return os.fstat(2).st_size


def wait_for_words(before: int) -> None:
    """Until the log says why a load failed. llama.cpp writes it in a thread of its own, which tells nobody when it is done, and ends with us."""
    size = before
    for _ in range(20):  # a second; then there is nothing to come
        time.sleep(0.05)
        last, size = size, log_size()
        if before < size == last:
            return


def say(report: Any, line: dict[str, str]) -> None:
    """One JSON line to the parent."""
    try:
        report.write(json.dumps(line) + "\n")
        report.flush()
    except OSError:
        os._exit(0)  # nobody is listening


if __name__ == "__main__":
    main()
