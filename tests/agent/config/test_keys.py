"""Pasted keys: private from the first byte, bound to their address, beaten by the environment."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from agent.build import build
from agent.config.config import load_config
from agent.config.keys import KeyStore
from agent.errors import UsageError
from agent.host import Options

OPENROUTER = "https://openrouter.ai/api/v1"
posix = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


def load(folder: Path, text: str = "", **env: str):  # type: ignore[no-untyped-def]
    (folder / "config.toml").write_text(text)
    places = {f"MOA_{kind}_DIR": str(folder) for kind in ("CONFIG", "STATE", "CACHE")}
    return load_config({**places, **env})


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.toml")


def test_a_stored_key_opens_its_endpoint_and_doctor_can_name_its_source(store: KeyStore, tmp_path: Path) -> None:
    store.put("openrouter", OPENROUTER, " sk-or-1\n")
    endpoint = load(tmp_path).endpoints["openrouter"]
    assert endpoint.api_key == "sk-or-1"
    assert endpoint.key_source == str(store.path)


@posix
def test_the_file_is_private_under_any_umask_and_stays_so(store: KeyStore) -> None:
    before = os.umask(0)
    try:
        store.put("openrouter", OPENROUTER, "sk-1")
        store.put("groq", "https://api.groq.com/openai/v1", "gsk-2")
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert sorted(store.read()) == ["groq", "openrouter"]
    assert [path.name for path in store.path.parent.iterdir()] == ["keys.toml"]


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_a_file_that_others_can_read_is_refused_with_the_command_that_mends_it(store: KeyStore, mode: int) -> None:
    store.put("openrouter", OPENROUTER, "sk-secret")
    store.path.chmod(mode)
    with pytest.raises(UsageError) as caught:
        load(store.path.parent)
    assert caught.value.remedy == f"chmod 600 {store.path}"
    assert "sk-secret" not in caught.value.message
    with pytest.raises(UsageError):
        store.put("groq", "https://api.groq.com/openai/v1", "gsk-2")


def test_the_environment_beats_the_file(store: KeyStore, tmp_path: Path) -> None:
    store.put("openrouter", OPENROUTER, "sk-stored")
    endpoint = load(tmp_path, OPENROUTER_API_KEY="sk-env").endpoints["openrouter"]
    assert (endpoint.api_key, endpoint.key_source) == ("sk-env", "environment: OPENROUTER_API_KEY")


def test_a_key_does_not_follow_an_endpoint_to_another_address(store: KeyStore, tmp_path: Path) -> None:
    store.put("openrouter", OPENROUTER, "sk-1")
    moved = load(tmp_path, '[endpoints.openrouter]\nbase_url = "https://elsewhere.example/v1"\n')
    assert moved.endpoints["openrouter"].api_key is None
    assert store.key_for("openrouter", "https://elsewhere.example/v1") is None
    assert store.key_for("openrouter", OPENROUTER + "/") == "sk-1"


def test_an_endpoint_of_the_users_own_gets_its_stored_key(store: KeyStore, tmp_path: Path) -> None:
    store.put("mine", "http://127.0.0.1:4000/v1/", "abcdefgh")
    config = load(tmp_path, '[endpoints.mine]\nbase_url = "http://127.0.0.1:4000/v1"\n')
    assert config.endpoints["mine"].api_key == "abcdefgh"
    assert config.redact("it is abcdefgh") == "it is [key]"


def test_a_stored_openrouter_key_is_enough_to_have_a_model(store: KeyStore, tmp_path: Path) -> None:
    store.put("openrouter", OPENROUTER, "sk-1")
    assert load(tmp_path).model == "openrouter:~anthropic/claude-opus-latest"


@pytest.mark.parametrize("text", ["", "  ", "two words", "schlüssel", "a\x1b[2Jb"])
def test_what_can_be_no_key_is_not_stored(store: KeyStore, text: str) -> None:
    with pytest.raises(UsageError):
        store.put("openrouter", OPENROUTER, text)
    assert not store.path.exists()


def test_a_malformed_file_names_itself(store: KeyStore) -> None:
    store.put("openrouter", OPENROUTER, "sk-1")
    store.path.write_text('[openrouter]\nkey = "x"\n')
    with pytest.raises(UsageError, match=r"keys\.toml: openrouter\.key"):
        store.read()


def test_a_key_is_forgotten_and_never_printed(store: KeyStore) -> None:
    store.put("openrouter", OPENROUTER, "sk-secret")
    assert "sk-secret" not in repr(store.read())
    assert store.remove("openrouter")
    assert not store.remove("openrouter")
    assert store.read() == {}


def test_no_tool_reads_the_file(store: KeyStore, tmp_path: Path) -> None:
    store.put("openrouter", OPENROUTER, "sk-1")
    places = {f"MOA_{kind}_DIR": str(tmp_path) for kind in ("CONFIG", "STATE", "CACHE")}
    host = build(Options(cwd=tmp_path), env=places, makers={})
    try:
        assert host.agent.tools.context.deny_paths.match(store.path)
    finally:
        asyncio.run(host.aclose())
