"""The body that goes out: the client's own, with guidance in its places and without the thoughts that can't hold. Pure, and the same each
time. What is not touched stays the client's very object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.session.sent import form_of
from moa.serve.guidance.path import REFUSED

if TYPE_CHECKING:
    from agent.session.sent import Form, Guidance
    from moa.serve.guidance.path import Path
    from moa.serve.guidance.rows import Row
    from moa.serve.guidance.wire import Wire


class Place(NamedTuple):
    """Where something new stands at the end of a request: its form, and the call whose result it is the end of."""

    form: Form
    host: str = ""


def place_of(wire: Wire, items: Sequence[Any], *, alternate: bool) -> Place:
    """Where guidance goes in a request whose end was never sent. `alternate`: the endpoint insists that roles take turns."""
    results = wire.ends_with_results(items)
    joinable = _joinable(wire, items, len(items))
    form = form_of("tool" if results else "user" if joinable else "assistant", fresh=True, alternate=alternate)
    return Place(form, wire.hosts(items, len(items))[-1].call if form == "result" else "")


def fitting(wire: Wire, items: Sequence[Any]) -> Callable[[Row, int], bool]:
    """Whether what a row inserted can stand before an item now."""

    def fits(row: Row, at: int) -> bool:
        if row.guidance is None or row.guidance.form == "message":
            return True
        if row.guidance.form == "joined":
            return _joinable(wire, items, at)
        return any(host.call == row.host for host in wire.hosts(items, at))

    return fits


def outgoing(
    wire: Wire,
    body: dict[str, Any],
    path: Path,
    *,
    new: tuple[Guidance, str] | None = None,
    binding: bool = True,
    bare: bool = False,
) -> dict[str, Any]:
    """The body with the guidance of `path`, and `new` (with the call that hosts it) at its end; itself where nothing is to be done.

    `binding`: the model's thoughts are bound to what stands before them, so that those which can't hold stay behind. `bare`: no thought
    goes, because the endpoint has refused one.
    """
    items = wire.items(body)
    given = [(step.at, step.row.guidance, step.row.host) for step in path.steps if step.row and step.row.guidance]
    if new is not None:
        given.append((len(items), *new))
    left = _left(path, len(items), binding=binding, bare=bare)
    if not given and not left:
        return body
    made: list[Any] = list(items)
    alone: dict[int, list[Any]] = {}
    for at, guidance, host in given:
        _insert(wire, items, made, alone, at, guidance, host)
    sent: list[Any] = []
    for at, item in enumerate(made):
        sent += alone.get(at, ())
        if at in left and isinstance(item, dict):
            kept = wire.without_thoughts(item, all=bare or left[at])
            sent += [] if kept is None else [kept]
        else:
            sent.append(item)
    sent += alone.get(len(items), ())
    if len(sent) == len(items) and all(new is old for new, old in zip(sent, items, strict=True)):
        return body
    return {**body, wire.key: sent}


def _left(path: Path, count: int, *, binding: bool, bare: bool) -> dict[int, bool]:
    """The items whose thoughts stay behind, and whether that is all of them, because the endpoint has refused some."""
    if bare:
        return dict.fromkeys(range(count), True)
    return {
        item: step.left == REFUSED
        for step in path.steps
        if step.left is not None and (binding or step.left == REFUSED)
        for item in step.items
    }


def _insert(
    wire: Wire,
    items: Sequence[Any],
    made: list[Any],
    alone: dict[int, list[Any]],
    at: int,
    guidance: Guidance,
    host: str,
) -> None:
    behind = wire.place(items, at)
    if guidance.form == "message":
        alone.setdefault(behind, []).append(wire.message(guidance.sent))
        return
    if guidance.form == "joined":
        made[behind - 1] = wire.joined(made[behind - 1], guidance.joint)
        return
    for found in reversed(wire.hosts(items, at)):
        if found.call == host:
            made[found.item] = wire.with_end(made[found.item], found.block, guidance.joint)
            return


def _joinable(wire: Wire, items: Sequence[Any], stop: int) -> bool:
    at = wire.place(items, stop) - 1
    return at >= 0 and isinstance(items[at], dict) and wire.joined(items[at], "") is not None


def thoughts_left(path: Path, items: Iterable[Any], wire: Wire, *, binding: bool) -> list[str]:
    """Why thoughts stayed behind: a reason for each reply that had some."""
    listed = list(items)
    reasons = []
    for step in path.steps:
        if step.left is None or not (binding or step.left == REFUSED):
            continue
        held = [listed[at] for at in step.items if isinstance(listed[at], dict)]
        if any(wire.without_thoughts(item, all=step.left == REFUSED) is not item for item in held):
            reasons.append(step.left)
    return reasons
