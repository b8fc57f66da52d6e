"""The local model's server: what goes wrong without a model, and (slow) what holds with a real one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import agent
from agent.config.paths import Paths
from agent.errors import StateError, UsageError
from agent.extras import install
from agent.llm.models.endpoint import Endpoint
from agent.local.fetch import fetch
from agent.local.server import LocalServer
from tests.support.processes import alive, children
from tests.support.waiting import until, wait_until

pytestmark = pytest.mark.alone

SLOT = 1024
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@asynccontextmanager
async def local_server(tmp_path: Path, **options: Any) -> AsyncIterator[LocalServer]:
    """A `LocalServer` that is closed in the end."""
    server = LocalServer(tmp_path / "models", tmp_path / "state" / "local.log", slot_tokens=SLOT, **options)
    try:
        yield server
    finally:
        await server.aclose()


@pytest.fixture(scope="session")
def model() -> str:
    """A real model: $MOA_TEST_MODEL, or smollm2 in the program's own cache."""
    if given := os.environ.get("MOA_TEST_MODEL"):
        return given
    return str(asyncio.run(fetch("smollm2", Paths.from_env(os.environ).cache / "models")))


def body(prompt: str, **more: Any) -> dict[str, Any]:
    """A chat request."""
    return {
        "model": "any",
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": 16,
        **more,
    }


async def ask(endpoint: Endpoint, prompt: str, **more: Any) -> dict[str, Any]:
    """One call, answered whole."""
    headers = {"Authorization": f"Bearer {endpoint.api_key}"}
    async with httpx.AsyncClient(timeout=120, trust_env=False) as client:
        answer = await client.post(f"{endpoint.base_url}/chat/completions", json=body(prompt, **more), headers=headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def test_a_broken_model_is_one_clear_error_with_the_servers_own_words(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\xff" * 1000)
    said: list[str] = []

    async def main() -> None:
        async with local_server(tmp_path, notice=said.append) as server:
            with pytest.raises(StateError, match=r"broken\.gguf could not be loaded: .*gguf") as caught:
                await server.launch(str(broken))
            assert str(server.log_path) in (caught.value.remedy or "")
            with pytest.raises(StateError):
                await server.launch(str(broken))

    asyncio.run(main())
    assert said == [f"loading {broken} …"] * 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smollm3", "no local model 'smollm3'"),
        ("/nowhere/x.gguf", "/nowhere/x.gguf: No such file"),
        ("{tmp}/text.gguf", "not a GGUF file"),
        ("{tmp}/", "directory"),
    ],
)
def test_a_name_that_is_no_model(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("hello")

    async def main() -> None:
        async with local_server(tmp_path) as server:
            with pytest.raises(UsageError, match=message) as caught:
                await server.launch(name.format(tmp=tmp_path))
            assert caught.value.remedy
            assert caught.value.kind == "unknown_model"

    asyncio.run(main())


def test_a_log_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    (tmp_path / "x.gguf").write_bytes(b"GGUF")

    async def main() -> None:
        async with local_server(tmp_path) as server:
            with pytest.raises(StateError, match="state"):
                await server.launch(str(tmp_path / "x.gguf"))

    asyncio.run(main())


def test_without_the_extra_the_remedy_is_named() -> None:
    """In an interpreter that sees no installed packages (-S)."""
    code = textwrap.dedent("""
        import asyncio
        from pathlib import Path
        from agent.errors import UsageError
        from agent.local.server import LocalServer

        try:
            asyncio.run(LocalServer(Path("models"), Path("log")).launch("smollm2"))
        except UsageError as error:
            print(error.kind, error.remedy)
    """)
    root = Path(agent.__file__).parents[1]
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == f"not_installed {install('local')}\n"


def test_the_child_needs_a_parent(tmp_path: Path) -> None:
    """Nothing on standard input: it ends at once, without a word."""
    child = Path(agent.__file__).parent / "local" / "child.py"
    done = subprocess.run([sys.executable, "-P", child], stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.slow
def test_one_load_for_all_who_ask(model: str, tmp_path: Path) -> None:
    alias = tmp_path / "alias.gguf"
    alias.symlink_to(model)
    said: list[str] = []

    async def main() -> None:
        async with local_server(tmp_path, notice=said.append) as server:
            first, second = await asyncio.gather(server.launch(model), server.launch(str(alias)))
            assert first.base_url == second.base_url
            assert first.is_loopback
            assert not first.native_tools
            assert second.models[model].context_window == SLOT
            assert second.models[str(alias)].price is not None
            await server.aclose()
        assert (tmp_path / "state" / "local.log").read_bytes() == b""

    asyncio.run(main())
    assert len(said) == 1


@pytest.mark.slow
@LINUX
def test_the_key_is_needed_and_hidden(model: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with local_server(tmp_path) as server, httpx.AsyncClient(trust_env=False) as client:
            endpoint = await server.launch(model)
            assert endpoint.api_key
            assert endpoint.api_key not in repr(endpoint)
            refused = await client.post(f"{endpoint.base_url}/chat/completions", json=body("Hello"))
            assert refused.status_code == 401
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        assert endpoint.api_key.encode() not in (process / name).read_bytes()
                    except OSError:
                        continue

    asyncio.run(main())


@pytest.mark.slow
def test_a_repeated_prompt_comes_out_of_the_cache_even_with_all_slots_busy(model: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with local_server(tmp_path) as server:
            endpoint = await server.launch(model)
            prompt = "Count the words of this sentence, and say what they mean. " * 8
            first = (await ask(endpoint, prompt))["usage"]
            again = (await ask(endpoint, prompt))["usage"]
            assert first["prompt_tokens"] > 100
            assert again["prompt_tokens_details"]["cached_tokens"] >= first["prompt_tokens"] - 1
            answers = await asyncio.gather(*(ask(endpoint, f"Say {number}.", max_tokens=6) for number in range(6)))
            assert all(answer["usage"]["completion_tokens"] for answer in answers)

    asyncio.run(main())


@pytest.mark.slow
def test_an_answer_holds_to_its_schema(model: str, tmp_path: Path) -> None:
    """Both forms that tool calls take without native tools: an answer, or one call with its arguments."""
    call = {
        "tool": {"const": "read"},
        "arguments": {
            "type": "object",
            "properties": {"path": {"type": "string", "maxLength": 40}},
            "required": ["path"],
            "additionalProperties": False,
        },
    }
    forms = [{"answer": {"type": "string", "maxLength": 60}}, call]
    schema = {
        "anyOf": [
            {"type": "object", "properties": form, "required": list(form), "additionalProperties": False}
            for form in forms
        ]
    }

    async def main() -> None:
        async with local_server(tmp_path) as server:
            endpoint = await server.launch(model)
            held = {"type": "json_schema", "json_schema": {"name": "form", "strict": True, "schema": schema}}
            for prompt in ("Say hello.", 'Answer with {"tool": "read", "arguments": {"path": "README.md"}}'):
                answer = await ask(endpoint, prompt, response_format=held, max_tokens=120)
                said = json.loads(answer["choices"][0]["message"]["content"])
                assert said.keys() in ({"answer"}, {"tool", "arguments"})
                if "tool" in said:
                    assert said["tool"] == "read"
                    assert list(said["arguments"]) == ["path"]

    asyncio.run(main())


@pytest.mark.slow
@LINUX
def test_a_child_that_died_is_started_anew(model: str, tmp_path: Path) -> None:
    async def main() -> None:
        others = children(os.getpid())
        async with local_server(tmp_path) as server:
            before = await server.launch(model)
            (pid,) = set(children(os.getpid())) - set(others)
            os.kill(pid, signal.SIGKILL)

            async def anew() -> bool:  # asyncio hears of it from a thread
                return (await server.launch(model)).base_url != before.base_url

            await until(anew)
            after = await server.launch(model)
            assert (await ask(after, "Hello"))["choices"]

    asyncio.run(main())


@pytest.mark.slow
@LINUX
def test_kill_9_of_the_parent_ends_the_child(model: str, tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from agent.local.server import LocalServer

        async def main():
            await LocalServer(Path(sys.argv[2]), Path(sys.argv[2]) / "log", slot_tokens=512).launch(sys.argv[1])
            print("ready", flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", code, model, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"ready\n"
        (child,) = children(parent.pid)
        parent.kill()
        parent.wait()
        wait_until(lambda: not alive(child))


@pytest.mark.slow
def test_the_end_of_standard_input_ends_it_in_mid_stream(model: str, tmp_path: Path) -> None:
    """The way that also works where the kernel sends no signal."""
    child = Path(agent.__file__).parent / "local" / "child.py"
    settings = {"model": model, "alias": ["m"], "api_key": "k", "slots": 1, "slot_tokens": 512, "parent": os.getpid()}
    with subprocess.Popen([sys.executable, "-P", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
        url = json.loads(process.stdout.readline())["listening_address"]
        request = body("Tell a long story.", stream=True, max_tokens=400)
        with (
            httpx.Client(trust_env=False, timeout=60) as client,
            client.stream(
                "POST", f"{url}/v1/chat/completions", json=request, headers={"Authorization": "Bearer k"}
            ) as answer,
        ):
            next(answer.iter_lines())
            process.stdin.close()
            process.wait(timeout=1.0)
