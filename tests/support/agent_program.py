"""A command-line agent to start in tests: says what it was given, and fails in every way. `python agent_program.py MODE [FILE]`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

CLAUDE = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "result": "from claude",
    "session_id": "ses-1",
    "total_cost_usd": 0.0123,
    "usage": {
        "input_tokens": 5,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 100,
        "output_tokens": 7,
        "server_tool_use": {"web_search_requests": 0},
    },
    "modelUsage": {"claude-opus-5-5": {"costUSD": 0.0123}},
}
CODEX = [
    {"type": "thread.started", "thread_id": "thr-1"},
    {"type": "turn.started"},
    {"type": "error", "message": "Reconnecting... 1/5"},
    {"type": "item.completed", "item": {"id": "item_0", "type": "reasoning", "text": "hm"}},
    {"type": "item.completed", "item": {"id": "item_1", "type": "agent_message", "text": "looking"}},
    {"type": "item.completed", "item": {"id": "item_2", "type": "agent_message", "text": "from codex"}},
    {
        "type": "turn.completed",
        "usage": {"input_tokens": 90, "cached_input_tokens": 40, "output_tokens": 12, "reasoning_output_tokens": 4},
    },
]
GEMINI = {
    "session_id": "g-1",
    "response": "from gemini",
    "stats": {
        "models": {
            "gemini-3-pro": {
                "tokens": {"prompt": 60, "candidates": 9, "total": 72, "cached": 10, "thoughts": 3, "tool": 0}
            }
        }
    },
}


def lines(*payloads: object) -> None:
    for payload in payloads:
        print(json.dumps(payload), flush=True)


def hang(file: str) -> None:
    """With a child, and a child's child that has left the group; each writes down who it is."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(300)"]
    children = [subprocess.Popen(sleeper), subprocess.Popen(sleeper, start_new_session=True)]
    Path(file).write_text(" ".join(str(pid) for pid in (os.getpid(), *(child.pid for child in children))) + "\n")
    print("working", flush=True)
    signal.pause()


def told() -> None:
    """What it was started with."""
    given = {
        "prompt": sys.stdin.read(),
        "argv": sys.argv[2:],
        "env": dict(os.environ),
        "files": [each.name for each in Path().iterdir()],
    }
    print(json.dumps(given | {"cwd": str(Path.cwd())}))


MODES = {
    "text": lambda: print("\n\x1b[1mfirst\x1b[0m\n\nsecond \n\n"),
    "told": told,
    "claude": lambda: lines(CLAUDE),
    "claude-error": lambda: (
        lines(CLAUDE | {"is_error": True, "result": "Claude AI usage limit reached"}),
        sys.exit(1),
    ),
    "claude-login": lambda: (
        lines(CLAUDE | {"is_error": True, "result": "Not logged in · Please run /login"}),
        sys.exit(1),
    ),
    "codex": lambda: lines(*CODEX),
    "codex-failed": lambda: (
        lines(
            *CODEX[:5], {"type": "turn.failed", "error": {"message": json.dumps({"error": {"message": "no model"}})}}
        ),
        sys.exit(1),
    ),
    "gemini": lambda: print(json.dumps(GEMINI, indent=2)),
    "crash": lambda: (print("half an answer", flush=True), sys.exit("the disk is full")),
    "killed": lambda: os.kill(os.getpid(), 9),
    "silent": lambda: None,
    "garbage": lambda: print("<html>oops</html>\n{not json\n" + "x" * 5000),
    "endless": lambda: [sys.stdout.write("y" * 65_536) for _ in iter(int, 1)],
}

if __name__ == "__main__":
    hang(sys.argv[2]) if sys.argv[1] == "hang" else MODES[sys.argv[1]]()
