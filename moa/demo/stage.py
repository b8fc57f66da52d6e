"""Where the recording is played: the program itself, in folders that are thrown away, with the player in place of the network."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands import Act, Command, CommandContext, Result, Said
from agent.errors import UsageError
from agent.events import Notice
from agent.plugin import Continue, Ending, Plugin
from agent.views import MarkdownView
from moa.demo.recording import Pace, Player, Recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.events import Emit
    from agent.host import Host, Options
    from agent.llm.accounting import CallContext
    from agent.plugin import PluginHost, TurnState

SKIP_KEY = "f8"
OWN = "moa opens a chat of your own"

CONFIG = """\
model = "demo:oak"

[endpoints.demo]
base_url = "https://recording.invalid/v1"    # nothing is ever sent there

[endpoints.demo.models]
oak = { context_window = 200_000, price = { prompt = 5.0, completion = 25.0 } }
birch = { context_window = 128_000, price = { prompt = 0.3, completion = 1.5 } }
cedar = { context_window = 128_000, price = { prompt = 0.6, completion = 4.0 } }
maple = { context_window = 128_000, price = { prompt = 0.5, completion = 4.0 } }
aspen = { context_window = 128_000, price = { prompt = 0.6, completion = 3.0 } }
"""
PRESET = """\
description = "The panel of the recording"
cadence = "turn"

[[references]]
model = "demo:birch"

[[references]]
model = "demo:cedar"

[[references]]
model = "demo:maple"

[aggregator]
model = "demo:aspen"
"""


class Demo(Plugin):
    """Says that it is a recording, skips ahead, and sends nothing further when it is over."""

    name = "demo"

    def __init__(self, recording: Recording, pace: Pace) -> None:
        self._recording = recording
        self._pace = pace
        self._played = False

    def greeting(self) -> str:
        """What this is, at its head."""
        return f"{self._recording.told} {SKIP_KEY.upper()} or /skip goes ahead; Ctrl+D leaves."

    def status(self) -> str:
        """On the screen all the time."""
        return "RECORDING"

    def commands(self) -> Sequence[Command]:
        """/skip."""
        return (Command("skip", "recording: go ahead to the next part", self._skip, busy_ok=True, key=SKIP_KEY),)

    async def before_turn(self, turn: TurnState, emit: Emit) -> None:
        """One turn was recorded. Raises UsageError for another, in another conversation, too."""
        if self._played or turn.prompt.text != self._recording.prompt:
            raise UsageError(
                "this is a recording: nothing can be sent from it",
                remedy=f"F4 or /moa show: who said what; /cost: the bill; {OWN}",
                kind="recording",
            )
        self._played = True

    async def next_turn(
        self, turn: TurnState, ending: Ending, context: CallContext, emit: Emit
    ) -> Continue | Ending | None:
        """Say that it is over."""
        if ending.status == "usage":  # refused: it was over before
            return None
        text = f"The recording ends here. F4 or /moa show: who said what, who disagreed; /cost: the bill; {OWN}."
        emit(Notice(level="info", code="recording", text=text, source=self.name))
        return None

    async def _skip(self, context: CommandContext, _args: str) -> Result:
        self._pace.skip()
        return Act("done") if context.busy else Said(MarkdownView(text="The recording is over."))


@dataclass(frozen=True, slots=True)
class Stage:
    """The recording, ready to be played."""

    recording: Recording
    pace: Pace
    options: Options
    """The chat that plays it."""

    def build(self, options: Options, **outside: Any) -> Host:
        """An agent on the recording; the arguments are those of `agent.build.build`."""
        from agent.build import build
        from agent.chat import disclosure
        from agent.installed import plugin_makers

        def demo(_host: PluginHost) -> Plugin:
            return Demo(self.recording, self.pace)

        host = build(
            options,
            makers={"demo": demo, **plugin_makers()},
            transport=Player(self.recording, self.pace),
            **outside,
        )
        host.agent.session.passing = True
        # Nobody receives anything, so there is nothing to be asked about.
        if told := disclosure.pending(host.plugins, options.first, host.config.paths.state):
            disclosure.agree(told, host.config.paths.state)
        return host


@contextmanager
def opened(*, still: bool = False) -> Iterator[Stage]:
    """The stage, in folders of its own that are gone afterwards; of the user's settings only the looks hold. `still`: without pauses."""
    from agent.host import Options

    with tempfile.TemporaryDirectory(prefix="moa-demo-", ignore_cleanup_errors=True) as place, _elsewhere(Path(place)):
        recording = Recording.read()
        options = Options(
            cwd=Path(place) / "project", approve="deny", first=recording.prompt, plugins={"moa": {"preset": "recorded"}}
        )
        yield Stage(recording, Pace(still=still), options)


@contextmanager
def _elsewhere(folder: Path) -> Iterator[None]:
    """Every face and part of this process finds its folders here instead of at the user's, and no key."""
    from agent.config.paths import Paths

    looks = _looks(Paths.from_env(os.environ).config_file)
    before = dict(os.environ)
    for name in ("config/presets", "state", "cache", "project"):
        (folder / name).mkdir(parents=True)
    (folder / "config" / "config.toml").write_text(CONFIG + looks, "utf-8")
    (folder / "config" / "presets" / "recorded.toml").write_text(PRESET, "utf-8")
    for name in [name for name in os.environ if name.startswith("MOA_") or name.endswith("_API_KEY")]:
        del os.environ[name]
    os.environ.update({f"MOA_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE")})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _looks(file: Path) -> str:
    """The user's `[ui]` section as it stands; nothing where there is none, or none that can be read."""
    from agent.config.toml import load

    try:
        section: Any = load(file).get("ui")
    except UsageError:
        return ""
    if not isinstance(section, Mapping) or not section:
        return ""
    import tomlkit

    return "\n" + tomlkit.dumps({"ui": dict(section)})
