"""Whatever clients do with their conversations, what was sent stays sent: random histories against an endpoint that binds thoughts."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.support.script import Say
from tests.support.served import WIRES, Client, Desk, Refused

OPS = st.one_of(
    st.tuples(st.just("say"), st.integers(0, 3)),
    st.tuples(st.just("work"), st.integers(1, 4)),
    st.tuples(st.just("branch"), st.integers(0, 9)),
    st.tuples(st.just("turn to"), st.integers(0, 9)),
    st.tuples(st.just("edit"), st.integers(0, 3)),
    st.tuples(st.just("compact"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("cut, again"), st.integers(1, 12)),
    st.tuples(st.just("cut, go on"), st.integers(1, 12)),
    st.tuples(st.just("fails, again"), st.just(0)),
    st.tuples(st.just("fails, go on"), st.just(0)),
    st.tuples(st.just("later"), st.integers(1, 40)),
    st.tuples(st.just("counsel"), st.sampled_from([None, "off", "on"])),
    st.tuples(st.just("grade"), st.sampled_from(["note", "nothing", "blocker"])),
)


class Clients:
    """The clients of one desk, and what the operations do with the one whose turn it is."""

    def __init__(self, desk: Desk, stream: bool) -> None:
        self.desk = desk
        self.all = [desk.client(), desk.client()]
        self.client = self.all[0]
        for client in self.all:
            client.stream = stream
            client.say("the same first words")

    def do(self, what: str, how: object) -> None:
        client, desk = self.client, self.desk
        match what, how:
            case "say", int(word):
                client.say(f"words {word}")
                client.ask()
                client.work()
            case "work", int(rounds):
                client.loop(rounds)
            case "branch", int(back):
                client = client.branch()
                starts = [at for at, item in enumerate(client.items) if item.get("role") == "user"]
                del client.items[starts[back % len(starts)] + 1 :]
                self._begin(client)
            case "turn to", int(which):
                self.client = self.all[which % len(self.all)]
            case "edit", int(word):
                words = [at for at, item in enumerate(client.items) if item.get("role") == "user"]
                del client.items[words[-1] :]
                client.say(f"other words {word}")
            case "compact", _:
                client.items.clear()
                client.say(f"a summary of {client.requests} requests")
            case "restart", _:
                desk.restart()
            case "cut, again", int(after):
                client.ask(keep=False, cut=after)
                before = desk.asked
                client.ask()
                assert desk.asked == before or client.said != "reused"
                client.work()
            case "cut, go on", int(after):
                self._keep_words(client.ask(keep=False, cut=after))
                client.say("go on")
            case "fails, again", _:
                self._fails()
                asked = desk.asked
                client.ask()
                assert desk.asked == asked or client.asked.get("wanted") == "on", "a second panel was paid"
                client.work()
            case "fails, go on", _:
                self._fails()
                client.say("try again")
            case "later", int(minutes):
                desk.now += 60.0 * minutes
            case "counsel", wanted:
                client.asked["wanted"] = wanted
            case "grade", str(grade):
                desk.grade = lambda _number: grade
            case _:
                raise AssertionError(what)

    def _begin(self, client: Client) -> None:
        client.asked = dict(client.asked)
        self.all.append(client)
        self.client = client

    def _fails(self) -> None:
        script = self.desk.endpoint.script.models
        kept = script["main"]
        script["main"] = lambda _body, _earlier: Say(status=529)  # type: ignore[index]
        with pytest.raises(Refused, match="529"):
            self.client.ask()
        script["main"] = kept  # type: ignore[index]

    def _keep_words(self, items: list[dict[str, object]]) -> None:
        """A client that was interrupted keeps what it has shown: no call that was not run, and no thought without its words."""
        for item in items:
            content = item.get("content")
            if isinstance(content, list):
                kept = [block for block in content if block.get("type") in ("text", "output_text")]
                if kept and item.get("role") == "assistant":
                    self.client.items.append({"role": "assistant", "content": kept})
            elif isinstance(content, str) and content:
                self.client.items.append({"role": "assistant", "content": content})


@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(ops=st.lists(OPS, min_size=1, max_size=25), stream=st.booleans())
def test_histories(wire: str, ops: list[tuple[str, object]], stream: bool) -> None:
    went_as_they_should(wire, ops, stream)


@pytest.mark.slow
@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(ops=st.lists(OPS, min_size=1, max_size=25), stream=st.booleans())
def test_many_histories(wire: str, ops: list[tuple[str, object]], stream: bool) -> None:
    went_as_they_should(wire, ops, stream)


def went_as_they_should(wire: str, ops: list[tuple[str, object]], stream: bool) -> None:
    with TemporaryDirectory() as folder, Desk(Path(folder), wire) as desk:
        clients = Clients(desk, stream)
        clients.do("work", 1)
        for what, how in ops:
            event(what)
            clients.do(what, how)
        for client in clients.all:
            clients.client = client
            clients.do("work", 2)
        desk.holds()
