"""What is armed in a session, and the panels that are at work: all that the hooks and the slash commands of the plugin share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.llm.request import ModelRef
from agent.plugin import ComposedModel, Plugin
from moa import preflight, settings
from moa.counsel.cadence import Receipts
from moa.preset.preset import FUSE, Preset
from moa.store.store import load

if TYPE_CHECKING:
    from agent.events import Emit
    from agent.llm.accounting import CallContext
    from agent.llm.request import Effort
    from agent.plugin import ModelCall, PluginHost
    from moa.counsel.counsel import Counsel
    from moa.counsel.take import Council
    from moa.counsel.turn import TurnCounsel
    from moa.fuse import FuseTurn


class Armed(Plugin):
    """The state of `/moa` in one session; the hooks are `moa.plugin.Moa`.

    Which preset is armed is decided, in this order, by the turn's options (`/moa ask`), the command line, the session, and config.toml.
    """

    name = "moa"

    def __init__(self, host: PluginHost) -> None:
        self.host = host
        self.settings = settings.read(host.settings, host.config_file)
        self._receipts: Receipts | None = None
        self.turn: TurnCounsel | FuseTurn | None = None
        self.last: Counsel | None = None
        self.aside: Council | None = None
        """The panel that works for a command, outside of a turn."""
        self._councils: dict[str, Council] = {}
        self.call: ModelCall | None = None
        """The last call of the main model."""
        self.emit: Emit | None = None
        """The stream of its turn."""
        stored = host.session.get_state(self.name) or {}
        self.armed: str | None = stored.get("preset") if "preset" in stored else None
        if "preset" not in stored and self.settings.armed:
            self.armed = self.settings.preset
        self.tool_mode: str = stored.get("tool", "off")
        self._preset: Preset | None = None
        if host.options.get("off"):
            self.armed = None
        elif name := host.options.get("preset"):
            self.armed = str(name)
            self._preset = self.load(self.armed)

    def main_model(self) -> str | None:
        """The `main` of a preset that the command line names."""
        return self._preset.main if self._preset else None

    def main_effort(self) -> Effort | None:
        """The `effort` of a preset that the command line names."""
        return self._preset.effort if self._preset else None

    @property
    def at_work(self) -> Council | None:
        """The panel that is at work now, or would be next in this turn."""
        return self.turn.council if self.turn else self.aside

    @property
    def receipts(self) -> Receipts:
        """Why counsel was or was not taken in this session, earlier processes included."""
        if self._receipts is None:
            self._receipts = Receipts()
            if self.host.session.records("counsel"):
                from moa.counsel import restore

                restore.receipts(self.host.session, self._receipts)
        return self._receipts

    def load(self, name: str) -> Preset:
        """A preset by name. Raises UsageError, which names config.toml where that is what names the preset."""
        try:
            return load(name, config_dir=self.host.config_dir, project_dir=self.host.project_dir, cwd=self.host.cwd)
        except UsageError as error:
            if name != self.settings.preset or name == self.host.options.get("preset"):
                raise
            text = f"{self.host.config_file}: moa.preset is {name!r}: {error.message}"
            raise UsageError(text, remedy=error.remedy, kind=error.kind) from error

    def main(self) -> ModelRef | None:
        """The main model as far as it is known: of the last call, else as it was named at the start."""
        if self.call is not None:
            return self.call.model
        named = self.main_model() or self.host.main_model
        try:
            if named and (composed := self.composed(named)) is not None:
                named = composed.main or self.host.single_model
            return ModelRef.parse(named) if named else None
        except (ValueError, UsageError):
            return None

    def receivers(self, preset: Preset) -> tuple[str, ...]:
        """Who receives the conversation, or a part of it, where this preset is asked."""
        lookups = [who for found in self.host.registry.lookups for who in found()]
        return preflight.receivers(preset, self.host.client, self.main(), lookups)

    def composed(self, name: str) -> ComposedModel | None:
        """The model `fuse/PRESET`; None for a name of another kind. Raises UsageError for a preset that there is not."""
        if not name.startswith(FUSE):
            return None
        preset = self.load(name.removeprefix(FUSE))
        options = self.host.options
        return ComposedModel(name, preset.main, preset.effort, bool(options.get("off") or options.get("preset")))

    def fused(self) -> str:
        """The preset whose panel answers every message, where the main model is `fuse/PRESET`; else nothing."""
        composed = self.host.composed()
        return composed.removeprefix(FUSE) if composed.startswith(FUSE) else ""

    def arm(self, name: str | None) -> Preset | None:
        """Arm a preset, or with None disarm, for this session from the next turn on. Raises UsageError; nothing changes then."""
        preset = None if name is None else self.load(name)
        if preset is not None:
            self.check(preset)
        self.armed = name
        self._store()
        return preset

    def check(self, preset: Preset) -> None:
        """Raises UsageError where a preset can't be armed here."""
        host = self.host
        preflight.check(preset, host.client, self.main(), host.account.caps, host.member_tools())

    def obstacles(self, preset: Preset) -> tuple[str, ...]:
        """Why a preset can't be armed here, in short; empty where it can."""
        host = self.host
        return preflight.obstacles(preset, host.client, self.main(), host.account.caps, host.member_tools())

    def set_tool(self, mode: str) -> None:
        """Offer the consult tool, insist on it, or neither; kept with the session."""
        self.tool_mode = mode
        self._store()

    def _store(self) -> None:
        self.host.session.set_state(self.name, {"preset": self.armed, "tool": self.tool_mode})

    def council(self, name: str) -> Council:
        """The panel of a preset, read again where its file has changed. Raises UsageError where it can't be armed."""
        from moa.counsel.take import Council

        preset = self.load(name)
        kept = self._councils.get(name)
        if kept is not None and kept.preset == preset:
            return kept
        self.check(preset)
        council = Council(preset, self.host.client, run_member=self.host.run_member)
        self._councils[name] = council
        return council

    async def close_councils(self) -> None:
        """End what the panels still do."""
        for council in self._councils.values():
            await council.close()

    def account(self) -> tuple[CallContext, Emit] | None:
        """The last call's account and the stream of its turn; None before the first."""
        return None if self.call is None or self.emit is None else (self.call.context, self.emit)
