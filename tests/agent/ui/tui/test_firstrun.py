"""The first run, each way to its end: nothing is kept that was not seen to work."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, OptionList, ProgressBar, Static

from agent.admin import setup
from agent.config.config import Config, load_config
from agent.config.keys import KeyStore
from agent.errors import UsageError
from agent.ledger.book import Ledger
from agent.llm.models.catalogue import ListedModel
from agent.llm.models.endpoint import WELL_KNOWN, ModelFacts
from agent.local import fetch as fetching
from agent.local.discover import Found
from agent.ui.tui.dialogs.first_run import FirstRun
from agent.ui.tui.dialogs.form import Form
from tests.support.endpoint import ScriptedEndpoint
from tests.support.screen import dump
from tests.support.script import Behaviour, Say, Script
from tests.support.waiting import forever, until
from tests.support.widgets import WidgetStage


class Bench(WidgetStage):
    """A first run on a screen of its own."""

    def __init__(self, folder: Path, found: list[Found]) -> None:
        super().__init__()
        self.folder = folder
        self.ledger = Ledger(folder / "ledger.db")
        self.found = found
        self.result: list[str | None] = []

    def config(self) -> Config:
        return load_config({f"MOA_{kind}_DIR": str(self.folder) for kind in ("CONFIG", "STATE", "CACHE")})

    def go(self, drive: Callable[[Bench, Any], Awaitable[None]], size: tuple[int, int] = (90, 30)) -> None:
        async def look() -> list[Found]:
            return self.found

        async def scene(bench: Bench, pilot: Any) -> None:
            self.push_screen(FirstRun(self.config(), self.ledger, look=look), self.result.append)
            await self.asked()
            await drive(bench, pilot)

        self.play(scene, size)

    @property
    def form(self) -> Form:
        return self.screen.query_one(Form)

    def text(self) -> str:
        return "\n".join(str(part.render()) for part in self.form.query(Static) if "empty" not in part.classes)

    async def until(self, condition: Callable[[], bool], what: str = "that") -> None:
        await until(condition, lambda: f"{what}; on the screen: {self.text()}")

    async def asked(self) -> None:
        await self.until(
            lambda: self.form_there() and "empty" not in self.form.query_one(".keys").classes, "a question"
        )

    async def choose(self, id: str) -> None:
        await self.asked()
        options = self.form.query_one(OptionList)
        options.highlighted = options.get_option_index(id)
        options.action_select()
        await self.until(lambda: not options.is_attached, "the next step")

    def form_there(self) -> bool:
        return bool(self.screen.query(Form))

    async def type(self, text: str) -> None:
        await self.asked()
        entry = self.form.query_one(Input)
        entry.value = text
        await entry.action_submit()
        await self.until(lambda: not entry.is_attached, "the next step")

    async def done(self) -> str | None:
        await self.until(lambda: bool(self.result), "the end")
        return self.result[0]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, [])
    yield bench
    bench.ledger.close()


def two_models(**more: Any) -> Script:
    return Script(models={"alpha": Behaviour(steps=(Say(text="hi"),)), "beta": Behaviour()}, **more)


def test_the_choice_that_enter_would_take_is_seen_on_the_smallest_screen(bench: Bench) -> None:
    async def drive(bench: Bench, pilot: Any) -> None:
        await bench.until(lambda: "Paste a key" in dump(bench), "the first choice")
        for label in ("Give an address", "Fetch a small", "Explore without"):
            await pilot.press("down")
            await bench.until(lambda label=label: label in dump(bench), label)  # type: ignore[misc]

    bench.go(drive, size=(40, 12))


def test_an_address_is_tried_with_and_without_v1_and_written_with_the_model(
    bench: Bench, endpoint: ScriptedEndpoint
) -> None:
    endpoint.script = two_models()
    (bench.folder / "config.toml").write_text("# mine\n[budget]\nday_usd = 3.0\n")

    async def drive(bench: Bench, pilot: Any) -> None:
        await bench.choose("url")
        await bench.type(endpoint.base_url.removesuffix("/v1").removeprefix("http://"))
        await bench.asked()
        assert "Which model" in bench.text()
        await bench.choose("beta")
        assert await bench.done() == "mine:beta"

    bench.go(drive)
    config = bench.config()
    assert (config.model, config.endpoints["mine"].base_url) == ("mine:beta", endpoint.base_url)
    assert "# mine" in (bench.folder / "config.toml").read_text()


def test_an_address_that_wants_a_key_asks_for_one_and_keeps_it_privately(
    bench: Bench, endpoint: ScriptedEndpoint
) -> None:
    endpoint.script = two_models(api_key="right")

    async def drive(bench: Bench, pilot: Any) -> None:
        await bench.choose("url")
        await bench.type(endpoint.base_url)
        await bench.asked()
        assert "needs a key" in bench.text()
        assert bench.form.query_one(Input).password
        await bench.type("wrong")
        await bench.asked()
        assert not (bench.folder / "keys.toml").exists()
        await bench.type("right")
        await bench.choose("alpha")
        assert await bench.done() == "mine:alpha"

    bench.go(drive)
    assert stat.S_IMODE((bench.folder / "keys.toml").stat().st_mode) == 0o600
    assert bench.config().endpoints["mine"].api_key == "right"
    assert "right" not in (bench.folder / "config.toml").read_text()


def test_a_pasted_key_is_recognised_checked_and_kept(
    bench: Bench, endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.script = two_models(api_key="gsk_right")
    monkeypatch.setitem(WELL_KNOWN, "groq", WELL_KNOWN["groq"].with_(base_url=endpoint.base_url))

    async def drive(bench: Bench, pilot: Any) -> None:
        await bench.choose("key")
        await bench.type("gsk_wrong")
        await bench.asked()
        assert "401" in bench.text() or "key" in bench.text()
        assert not (bench.folder / "keys.toml").exists()
        await bench.type("gsk_right")
        await bench.choose("alpha")
        assert await bench.done() == "groq:alpha"

    bench.go(drive)
    assert KeyStore(bench.folder / "keys.toml").key_for("groq", endpoint.base_url) == "gsk_right"
    config = bench.config()
    assert config.model == "groq:alpha"
    assert config.endpoints["groq"].key_source == str(bench.folder / "keys.toml")
    assert "endpoints" not in (bench.folder / "config.toml").read_text()


def test_a_key_is_not_lost_with_the_network(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WELL_KNOWN, "groq", WELL_KNOWN["groq"].with_(base_url="http://127.0.0.1:9/v1"))

    async def drive(bench: Bench, pilot: Any) -> None:
        await bench.choose("key")
        await bench.type("gsk_mine")
        await bench.asked()
        assert "the same key again" in bench.text() and "Enter goes on" in bench.text()
        await pilot.pause()
        assert bench.form.query_one(Input).value == "gsk_mine", "Enter tries it again"
        await pilot.press("x")
        assert bench.form.query_one(Input).value == "x", "what is pasted now takes its place"

    bench.go(drive)


def test_a_key_of_unknown_form_asks_whose_it_is_and_esc_leads_back(bench: Bench) -> None:
    async def drive(bench: Bench, pilot: Any) -> None:
        await bench.choose("key")
        await bench.type("0123456789abcdef")
        await bench.asked()
        assert "Whose key" in bench.text()
        await pilot.press("escape")
        await bench.asked()
        assert "Paste a key" in bench.text()
        await pilot.press("escape")
        await bench.asked()
        assert "Welcome" in bench.text()
        await pilot.press("escape")
        assert await bench.done() is None

    bench.go(drive)
    assert not (bench.folder / "config.toml").exists()
    assert not (bench.folder / "keys.toml").exists()


def test_a_running_server_is_offered_first(bench: Bench, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = two_models()
    bench.found = [Found("ollama", endpoint.base_url, "0.9", {"alpha": ModelFacts(), "beta": ModelFacts()})]

    async def drive(bench: Bench, pilot: Any) -> None:
        options = bench.form.query_one(OptionList)
        assert "ollama" in str(options.get_option_at_index(0).prompt)
        await bench.choose("0")
        await bench.choose("alpha")
        assert await bench.done() == "ollama:alpha"

    bench.go(drive)
    assert bench.config().endpoints["ollama"].base_url == endpoint.base_url


def test_a_local_model_is_fetched_with_a_bar(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    halfway = asyncio.Event()

    async def fetch(name: str, folder: Path, *, progress: Any) -> Path:
        progress(fetching.Progress("hub", 50, 100))
        await halfway.wait()
        progress(fetching.Progress("hub", 100, 100))
        return folder / name

    monkeypatch.setattr(fetching, "fetch", fetch)

    async def drive(bench: Bench, pilot: Any) -> None:
        await bench.choose("local")
        await bench.until(lambda: bool(bench.form.query(ProgressBar)), "the bar")
        await bench.until(lambda: bench.form.query_one(ProgressBar).percentage == 0.5, "half of it")
        assert "model hub" in bench.text()
        halfway.set()
        assert await bench.done() == "local:smollm2"

    bench.go(drive)
    assert bench.config().model == "local:smollm2"


def test_esc_stops_a_download_and_nothing_is_chosen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetch(name: str, folder: Path, *, progress: Any) -> Path:
        await forever()

    monkeypatch.setattr(fetching, "fetch", fetch)

    async def drive(bench: Bench, pilot: Any) -> None:
        await bench.choose("local")
        await bench.until(lambda: bool(bench.form.query(ProgressBar)), "the bar")
        await pilot.press("escape")
        await bench.asked()
        assert "Stopped." in bench.text()

    bench.go(drive)
    assert not (bench.folder / "config.toml").exists()


def test_a_server_that_is_not_there_says_so_and_asks_again(bench: Bench) -> None:
    async def drive(bench: Bench, pilot: Any) -> None:
        await bench.choose("url")
        await bench.type("http://127.0.0.1:9/v1")
        await bench.asked()
        assert "127.0.0.1:9" in bench.text()
        assert bench.form.query_one(Input)

    bench.go(drive, size=(40, 12))


def test_a_model_name_is_no_markup(bench: Bench, endpoint: ScriptedEndpoint) -> None:
    endpoint.script = Script(models={"[/a/b] [red]x": Behaviour()})

    async def drive(bench: Bench, pilot: Any) -> None:
        await bench.choose("url")
        await bench.type(endpoint.base_url)
        await bench.asked()
        assert "[/a/b] [red]x" in str(bench.form.query_one(OptionList).get_option_at_index(0).prompt)

    bench.go(drive)


# Without a face


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("localhost:1234/v1/", "http://localhost:1234/v1"),
        ("box.local", "http://box.local/v1"),
        ("api.example.com", "https://api.example.com/v1"),
        ("https://api.example.com/v2/chat/completions", "https://api.example.com/v2"),
        (" http://127.0.0.1:1/v1 ", "http://127.0.0.1:1/v1"),
    ],
)
def test_what_an_address_means(typed: str, first: str) -> None:
    assert setup.addresses(typed)[0] == first


@pytest.mark.parametrize("typed", ["ftp://x", "http://", "http://a b", "http://user:pw@host/v1", "http://h:99999"])
def test_what_is_no_address(typed: str) -> None:
    with pytest.raises(UsageError):
        setup.addresses(typed)


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("sk-or-v1-1", ("openrouter",)),
        ("sk-ant-api", ("anthropic",)),
        ("AIzaSy", ("gemini",)),
        ("sk-proj-x", ("openai",)),
    ],
)
def test_whose_key_it_is(key: str, names: tuple[str, ...]) -> None:
    assert setup.recognise(key) == names


def test_what_does_not_chat_comes_last() -> None:
    models = [ListedModel(name) for name in ("text-embedding-3", "gpt-4", "gpt-5.5", "whisper-1")]
    assert setup.ranked(WELL_KNOWN["openai"], models) == ["gpt-5.5", "gpt-4", "text-embedding-3", "whisper-1"]
