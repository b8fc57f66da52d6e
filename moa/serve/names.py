"""What the names of models mean here: `moa/PRESET`, `moa/PRESET/ENDPOINT:MODEL`, `fuse/PRESET`, `ENDPOINT:MODEL`, and a client's own side
models. Of Fusion's own models (`moa.serve.fusion.prepare`) only what they are called is known here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.llm.errors import ModelError, ModelNotFound
from agent.llm.request import ModelRef
from moa import preflight
from moa.preset.preset import FUSE
from moa.serve.fusion.prepare import ROUTERS
from moa.serve.wires.errors import unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.llm.accounting import Cap
    from agent.llm.client import ModelClient
    from moa.preset.preset import Preset
    from moa.serve.keys.account import Account

COUNSEL = "moa"
FRESH_S = 3600.0
"""So old an endpoint's list may be before it is asked again for a name that is not in it."""
_MOST_NAMED = 12
_MOST_CHECKED = 1_000
_DATED = re.compile(r"-20\d{6}$|-20\d\d-\d\d-\d\d$")


@dataclass(frozen=True, slots=True)
class Named:
    """What a name stands for: who answers, and whose panel is asked (None: nobody's). `fuse`: that panel answers the question itself.
    `own`: who answers is the preset's main model, and not chosen by the name."""

    main: ModelRef
    preset: Preset | None = None
    fuse: bool = False
    own: bool = False


@dataclass(slots=True)
class Names:
    """Of one server. `load` reads a preset, `presets` lists them; `main` is config's main model, `default` the preset of a bare `moa`."""

    client: ModelClient
    load: Callable[[str], Preset]
    presets: Callable[[], Sequence[str]]
    default: str
    main: str | None = None
    caps: Sequence[Cap] = ()
    account: Account | None = None
    """Whose names these are: what is not for that key is neither read nor named (None: everything is)."""
    hides: bool = False
    """What is wrong with a preset is not for this key."""
    _checked: set[tuple[Preset, ModelRef]] = field(default_factory=set)

    def seen_by(self, account: Account) -> Names:
        """The same for one key."""
        if account.is_own:
            return self
        return replace(self, account=account if account.models or account.presets else None, hides=True)

    def read(self, name: str) -> Preset:
        """A preset. Raises UsageError, and AuthError for one that is not for this key, whether there is one or not."""
        if self.account is not None:
            self.account.check_panel(name, ())
        try:
            return self.load(name)
        except UsageError as error:
            if error.kind != "unknown_preset":
                raise self._told(name, error) from None
            if self.account is None:
                raise
            raise UsageError(error.message, remedy="GET /v1/models lists what there is", kind=error.kind) from None

    def offered(self) -> list[str]:
        """The presets that there are for this key."""
        return [name for name in self.presets() if self._offers(name)]

    async def find(self, name: str, preset: str | None = None) -> Named:
        """What a name stands for; `preset` replaces the panel, or adds one. Raises UsageError and ModelNotFound."""
        if name == COUNSEL or name.startswith(f"{COUNSEL}/"):
            chosen, _slash, model = name.removeprefix(COUNSEL).removeprefix("/").partition("/")
            found = self.read(preset or chosen or self.default)
            named = self._with(found, self._ref(model) if model else self._main_of(found))
            return named if model else replace(named, own=True)
        if name.startswith(FUSE):
            found = self.read(preset or name.removeprefix(FUSE))
            return replace(self._with(found, self._main_of(found)), fuse=True, own=True)
        ref = await self._plain(name)
        return Named(ref) if preset is None else self._with(self.read(preset), ref)

    def listed(self) -> Iterator[tuple[str, str]]:
        """The names that are offered, each with whose it is."""
        for prefix in (f"{COUNSEL}/", FUSE):
            for name in self.offered():
                yield f"{prefix}{name}", "moa"
        for router, name in ROUTERS.items():
            if self._offers(name):
                yield router, "moa"
        if (main := self._main()) is not None:
            listed = self.client.catalogue.listed(self.client.endpoint(main.endpoint))
            every = dict.fromkeys((str(main), *(f"{main.endpoint}:{model.id}" for model in listed)))
            yield from ((name, main.endpoint) for name in every if not self.account or self.account.takes_model(name))

    def _offers(self, preset: str) -> bool:
        account = self.account
        if account is None:
            return True
        if not account.takes_preset(preset):
            return False
        if preset in account.presets or not account.models:
            return True
        try:
            return account.takes_model(str(self._main_of(self.load(preset))), preset, own=True)
        except UsageError:
            return False

    def _with(self, preset: Preset, main: ModelRef) -> Named:
        key = (preset, main)
        if key not in self._checked:
            try:
                preflight.check(preset, self.client, main, self.caps, tools=None)
            except UsageError as error:
                raise self._told(preset.name, error) from None
            if len(self._checked) >= _MOST_CHECKED:  # clients name models as they like
                self._checked.clear()
            self._checked.add(key)
        return Named(main, preset)

    def _main_of(self, preset: Preset) -> ModelRef:
        if preset.main:
            try:
                return self._ref(preset.main)
            except UsageError as error:
                raise self._told(preset.name, error) from None
        if (main := self._main()) is not None:
            return main
        raise UsageError(
            f"moa/{preset.name} has no main model",
            remedy=f"set model in config.toml, or ask for moa/{preset.name}/ENDPOINT:MODEL",
            kind="no_model",
        )

    def _told(self, preset: str, error: UsageError) -> UsageError:
        return unusable(f"the preset {preset!r}", error) if self.hides else error

    def _main(self) -> ModelRef | None:
        return self._ref(self.main) if self.main else None

    def _ref(self, text: str) -> ModelRef:
        try:
            ref = ModelRef.parse(text)
        except ValueError as error:
            raise UsageError(str(error), remedy="see GET /v1/models", kind="unknown_model") from None
        if self.account is not None and not self._is_endpoint(
            ref.endpoint
        ):  # the client's own words name the nearest one
            raise UsageError(
                f"there is no endpoint {ref.endpoint!r}", remedy="see GET /v1/models", kind="unknown_endpoint"
            )
        self.client.endpoint(ref.endpoint)
        return ref

    async def _plain(self, name: str) -> ModelRef:
        endpoint, colon, model = name.partition(":")
        if colon and model and self._is_endpoint(endpoint):
            return ModelRef(endpoint, model)
        main = self._main()
        if main is not None and (listed := await self._listed_name(main.endpoint, name)):
            return ModelRef(main.endpoint, listed)
        offered = [each for each, _owner in self.listed()]
        shown = ", ".join(offered[:_MOST_NAMED]) + (", …" if len(offered) > _MOST_NAMED else "")
        raise ModelNotFound(
            f"there is no model {name[:120]!r} here", status=404, remedy=f"there are: {shown}; GET /v1/models has all"
        )

    def _is_endpoint(self, name: str) -> bool:
        try:
            self.client.endpoint(name)
        except UsageError:
            return False
        return True

    async def _listed_name(self, endpoint: str, name: str) -> str | None:
        """The name under which an endpoint lists a model: as it is, or without the date that clients put behind it."""
        found = self._in_list(endpoint, name)
        if found is None and self._is_old(endpoint):
            try:
                await self.client.models(endpoint)
            except (ModelError, UsageError):
                return None
            found = self._in_list(endpoint, name)
        return found

    def _in_list(self, endpoint: str, name: str) -> str | None:
        names = {model.id for model in self.client.catalogue.listed(self.client.endpoint(endpoint))}
        bare = _DATED.sub("", name)
        own = (name, bare, *(f"{vendor}/{bare}" for vendor in ("anthropic", "openai", "google")))
        return next((each for each in own if each in names), None)

    def _is_old(self, endpoint: str) -> bool:
        age = self.client.catalogue.age(self.client.endpoint(endpoint))
        return age is None or age > FRESH_S
