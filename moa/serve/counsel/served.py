"""One request as it is served: read, counselled, sent with everything in its place, and remembered when its reply has ended.

    served = serving.read(asked)
    await take(served, context, emit)         # `taking.take`: as long as a panel takes; cancelled, it stops the panel
    body = served.body()                      # what goes out; after the named refusal `served.bare()`
    served.answer.event(event)                # each event that the client gets, or `whole(body)`
    await served.ended("done")                # before the client gets the last of it; "cut" where it broke off

What the frame says of it: `served.said` (for `x-moa-counsel`) and `served.left` (thoughts that stayed behind, and why).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from agent.errors import StateError, UsageError
from agent.ledger.database import BUSY_S
from agent.ledger.patient import AFTER_S
from agent.llm.binding import key_digest
from agent.llm.models.families import family_of
from agent.llm.refusals import wordings
from agent.session.sent import Guidance
from moa.serve.counsel import side_calls
from moa.serve.counsel.standing import Standing, standing
from moa.serve.guidance import anchors, placing
from moa.serve.guidance.path import REFUSED, ROOT, Path, Step, resolve
from moa.serve.guidance.rows import RETRY_S, Row, Rows, State, new_id, sweep
from moa.serve.guidance.wire import Wire
from moa.serve.guidance.wires import wire_of
from moa.serve.keys import stored

if TYPE_CHECKING:
    from agent.ledger.book import Ledger
    from agent.llm.accounting import CallContext
    from agent.llm.models.endpoint import Endpoint
    from agent.llm.request import ModelRef
    from moa.preset.preset import Preset
    from moa.serve.counsel.lookups import Lookups
    from moa.serve.counsel.panels import Panels
    from moa.serve.counsel.saving import Saving
    from moa.serve.guidance.anchors import Anchor, Reading
    from moa.serve.guidance.wire import Answer

Wanted = Literal["on", "off"]
CounselFor = Literal["auto", "all", "none"]

_BOUND_SINCE = (5, 1)
"""The lines of Claude bind thoughts from the first version on that is named in agent/llm/models/families.py and is no older: 5.1 of Fable and
Mythos, 5.5 of the others (platform.claude.com, "Preserved thinking")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request of a client, as the frame has read it.

    `wire` is the client's; `body` is never changed. `key` names the client's key; `shares`: it is one of several at the endpoint's one account. `main` at `endpoint` answers. `preset`: whose panel is
    asked (None: no `moa/…` model was named). `wanted` is `x-moa-counsel`, `depth` how many panels are around it, `client` its user agent.
    `alternate`: the endpoint insists that roles take turns. `counting`: only its tokens are to be counted.
    `fuse`: the model is `fuse/PRESET`, so the panel answers the question itself, once a turn, and the main model writes from that.
    `reading` is its conversation, where that was read already.
    """

    wire: str
    body: dict[str, Any]
    key: str
    main: ModelRef
    endpoint: Endpoint
    shares: bool = False
    preset: Preset | None = None
    wanted: Wanted | None = None
    counsel_for: CounselFor = "auto"
    depth: int = 0
    client: str = ""
    alternate: bool = False
    counting: bool = False
    fuse: bool = False
    reading: Reading | None = None


@dataclass(slots=True)
class Serving:
    """What serves requests: one a process. `redact` takes configured keys out of what members see, `lookups` is what they look things up
    with (None: nothing is looked up),
    `saving` what keeps whole counsels (None: only their facts are kept)."""

    ledger: Ledger
    panels: Panels
    redact: Callable[[str], str] = lambda text: text
    lookups: Lookups | None = None
    saving: Saving | None = None

    def read(self, asked: Asked) -> Served:
        """Find the request's place. Raises StateError, and UsageError where it goes on with a conversation that nobody here knows."""
        return Served(self, asked)

    def sweep(self, guidance_mb: int) -> int:
        """Let go of guidance that is too old, or too much; for the start, and now and then. Returns how many conversations went."""
        return sweep(self.ledger.database, most_bytes=guidance_mb * 2**20, now=self.ledger.clock())


@dataclass(slots=True)
class Served:
    """See the module. `said` is what became of counsel, `row` what the database has of this reply, `again` the row of the same request
    whose reply has not ended, `stored` that of the reply which it goes on from, where the endpoint keeps the conversation."""

    serving: Serving
    asked: Asked
    said: str = field(init=False, default="skipped; not asked yet")
    row: Row | None = field(init=False, default=None)
    again: Row | None = field(init=False)
    stored: Row | None = field(init=False)
    wire: Wire = field(init=False)
    rows: Rows = field(init=False)
    reading: Reading = field(init=False)
    path: Path = field(init=False)
    answer: Answer = field(init=False)
    conversation: str = field(init=False)
    """Under which name its rows, and its calls in the ledger, belong together."""
    run: str = field(init=False, default="")
    """Under which name the calls of this very request stand in the ledger."""
    _items: list[Any] = field(init=False)
    _standing: Standing | None = field(init=False, default=None)
    _bare: bool = field(init=False, default=False)
    _kept: list[tuple[Row, list[Anchor]]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        asked, ledger = self.asked, self.serving.ledger
        self.wire = wire_of(asked.wire)
        self.answer = self.wire.answer()
        self.rows = Rows(ledger.database, asked.key, _account(asked.endpoint), ledger.clock)
        self._items = self.wire.items(asked.body)
        if asked.shares and self.wire.name == "responses":
            self._check_references()
        if asked.preset is None and not self._keeps_or_kept and not self.rows.any():
            # Nothing was ever given here: the request is passed through unread.
            self.reading, self.path, self.stored, self.again = anchors.NOTHING, Path((), ROOT), None, None
            self.conversation = new_id()
            return
        self.reading = asked.reading or anchors.read(self.wire, self._items)
        found = self.rows.find(self.reading.anchors())
        self.stored = self._kept_upstream()
        start = ROOT if self.stored is None else self.stored.id
        self.path = resolve(self.reading, found, placing.fitting(self.wire, self._items), start=start)
        self.again = self._retried(found.get(anchors.newest(self.reading.place), []))
        known = [row for row in (self.stored, *self.path.rows, self.again) if row is not None]
        self.conversation = known[-1].conversation if known else new_id()
        self._kept = self._adopted(found)

    @property
    def _keeps_or_kept(self) -> bool:
        """Whether the endpoint keeps this reply, or the conversation that it belongs to."""
        body = self.asked.body
        kept = body.get("store") is not False or "previous_response_id" in body
        return self.wire.name == "responses" and kept and not self.asked.counting

    def _kept_upstream(self) -> Row | None:
        """The reply that the request goes on from, where the endpoint keeps the conversation.

        Everybody's requests go out under one account: an id that this key was not given may be another's.
        """
        name = self.asked.body.get("previous_response_id")
        if not isinstance(name, str) or self.wire.name != "responses":
            return None
        if found := self.rows.find([anchors.stored_at(name)]):
            return next(iter(found.values()))[0]
        raise UsageError(
            f"previous_response_id: this server gave no response {name[:80]!r} to this key",
            remedy='send the whole conversation as "input", with "store": false',
            kind="previous_response_not_found",
        )

    def _check_references(self) -> None:
        """Raise UsageError where an item stands for one that the endpoint keeps, and that this key was not given."""
        for name in stored.items(self.asked.body):
            if not self.rows.find([anchors.item(name)]):
                raise UsageError(
                    f"input: this server gave no item {name[:80]!r} to this key",
                    remedy='send the whole item, with "store": false',
                    kind="item_not_found",
                )

    def _retried(self, rows: list[Row]) -> Row | None:
        """The newest row of this very place, as long as its reply has not ended."""
        since = self.rows.clock() - RETRY_S
        return next((row for row in rows if row.path == self.path.node and row.made >= since and row.taken), None)

    def _adopted(self, found: Mapping[Anchor, list[Row]]) -> list[tuple[Row, list[Anchor]]]:
        """Replies that were cut off are known by their place alone, until the client sends back what it kept of them."""
        kept = []
        for step in self.path.steps:
            if step.row is not None and step.row.state != "done":
                own = [part for part in self.reading.parts if part.at in step.items]
                if new := [each for part in own for each in part.anchors if step.row not in found.get(each, ())]:
                    kept.append((step.row, new))
        return kept

    # What it is

    @property
    def standing(self) -> Standing:
        """Its turn and its step, and what has happened."""
        if self._standing is None:
            found = standing(self.reading, self.path, self.asked.preset.name if self.asked.preset else "")
            if (before := self.stored) is not None:
                new_turn = any(piece.role == "user" and not piece.is_reminder for piece in self.reading.pieces)
                turn, step = (before.turn + 1, 1) if new_turn else (before.turn, before.step + 1)
                found = replace(found, turn=turn, step=step)
            self._standing = found
        return self._standing

    def context(self, base: CallContext) -> CallContext:
        """Whose account its calls are on: `base` with its conversation (where it has no session), turn and step. Turns of two branches are two."""
        now = self.standing
        first = next((row for row in self.path.rows if row.turn == now.turn), None)
        begins = (self.path.node, self.reading.lead) if first is None else (first.path, first.lead)
        turn = f"{self.conversation}/t{now.turn}-{anchors.short_hash(' '.join(begins))}"
        return replace(base, session=base.session or self.conversation, turn=turn, iteration=now.step)

    @property
    def _binding(self) -> bool:
        """Whether the main model's thoughts are bound to what stands before them; of a model that nobody knows they may be."""
        family = family_of(self.asked.main.model)
        return family is None or not family.line.startswith("claude") or family.since >= _BOUND_SINCE

    @property
    def left(self) -> list[str]:
        """A reason for each reply whose thoughts stayed behind."""
        if self._bare:
            return [REFUSED]
        return placing.thoughts_left(self.path, self._items, self.wire, binding=self._binding)

    def step_of(self, row: Row) -> Step:
        """The reply that is being made, as the next on the path."""
        return Step(len(self._items), (), row)

    @property
    def headers(self) -> dict[str, str]:
        """What the response says of it."""
        found = {"x-moa-counsel": self.said}
        if left := self.left:
            found["x-moa-thoughts"] = f"left {len(left)}; {'; '.join(dict.fromkeys(left))}"
        return found

    @property
    def receipt(self) -> dict[str, Any]:
        """The same for the record: what became of counsel, why, what it cost (US dollars, seconds), and of how many replies thoughts stayed
        behind."""
        facts = dict(self.row.counsel or {}) if self.row is not None else {}
        kept = (
            "trigger",
            "reason",
            "preset",
            "withheld",
            "severity",
            "asked",
            "answered",
            "failed",
            "cost",
            "duration_s",
        )
        found = {key: facts[key] for key in kept if key in facts}
        return {
            **found,
            "counsel": self.said,
            "turn": self.standing.turn,
            "step": self.standing.step,
            "left": self.left,
        }

    # What goes out

    def goes_bare(self, status: int, words: str) -> bool:
        """Whether a refusal is the named one, of thoughts, to which the answer is the same request once more without any."""
        return status == 400 and not self._bare and wordings.bound(words)

    def body(self) -> dict[str, Any]:
        """The client's body, with guidance in its places and without thoughts that can't hold; itself where nothing is to be done."""
        row = self.again if self.row is None else self.row
        new = None if row is None or row.guidance is None else (row.guidance, row.host)
        return placing.outgoing(self.wire, self.asked.body, self.path, new=new, binding=self._binding, bare=self._bare)

    def bare(self) -> dict[str, Any]:
        """The same without any thought, once the endpoint has refused one. The row remembers it, or each later request would be refused."""
        self._bare = True
        return self.body()

    # Rows

    @property
    def is_remembered(self) -> bool:
        """Whether its reply gets a row: all of a panel's model do, others where there is one on their path, or where the endpoint keeps it."""
        if self.asked.counting:
            return False
        return self.asked.preset is not None or bool(self.path.rows) or self._keeps_or_kept

    async def begin(self, facts: Mapping[str, Any], text: str | None = None, *, taken: str = "") -> None:
        """Write down what goes out before it does: from now on the same request finds it. Raises StateError."""
        if not self.is_remembered:
            return
        now, asked = self.standing, self.asked
        row = Row(
            id=new_id(),
            conversation=self.conversation,
            path=self.path.node,
            place=self.reading.place,
            lead=self.reading.lead,
            taken=taken,
            counsel={**facts, "run": self.run},
            turn=now.turn,
            step=now.step,
            tools=side_calls.has_tools(asked.body),
            client=side_calls.program(asked.client),
            made=self.rows.clock(),
        )
        if text:
            form, host = placing.place_of(self.wire, self._items, alternate=asked.alternate)
            where = {"entry": row.id, "after": host, "place": 0, "turn": str(now.turn), "iteration": now.step}
            row = replace(row, host=host, guidance=Guidance(plugin="moa", text=text, form=form, **where))  # type: ignore[arg-type]
        # A panel's work is not to be lost; where nothing was paid for yet, the client may as well ask again.
        wait_s = AFTER_S if taken else BUSY_S
        await self.serving.ledger.patiently(partial(self.rows.begin, row, self._kept), wait_s)
        self.row = row

    async def ended(self, state: State) -> None:
        """The reply has ended: what it is known by from now on. What goes on behind it is stopped where nobody waits for it. Raises StateError."""
        row = self.row
        if row is None:
            return
        found = list(anchors.anchors_of_answer(self.wire, self.answer, row.lead))
        if name := self.answer.response:
            found.append(anchors.stored_at(name))
        await self.serving.ledger.patiently(partial(self.rows.ended, row, found, state, bare=self._bare), AFTER_S)
        self.row = replace(row, state=state, bare=self._bare)
        if state != "done":
            await self.serving.panels.drop(row.taken)
        elif not any(piece.kind == "call" for piece in self.wire.pieces(self.answer.items())):  # the turn is over
            await self.serving.panels.drop(row.taken, *(each.taken for each in self.path.rows))

    async def broke_off(self) -> None:
        """The request has failed, or its client has left. What is in force then is what an open row says, too: nothing is raised."""
        if self.row is None or self.row.state != "open":
            return
        with suppress(StateError):
            await self.ended("cut")


def _account(endpoint: Endpoint) -> str:
    """What keeps rows of two accounts apart. The local model has another address and key each time it is started, and is nobody's account."""
    return endpoint.name if endpoint.name == "local" else f"{endpoint.name} {key_digest(endpoint)}"
