"""Server-sent events, cut into pieces anywhere."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.llm.net.sse import Event, EventReader

PARTS = (
    b"data: {}",
    b"data:x",
    b"data: \xc3\xa9",
    b"event: e",
    b": alive",
    b"\n",
    b"\n\n",
    b"\r\n",
    b"\r",
    b"stray",
    b"",
)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(st.sampled_from(PARTS), max_size=14), cuts=st.sets(st.integers(0, 80), max_size=6))
def test_what_is_read_depends_on_no_cut(parts: list[bytes], cuts: set[int]) -> None:
    """A byte at a time each line is read by itself; many events in one piece are read as one."""
    stream = b"".join(parts)
    slow, quick = EventReader(), EventReader()
    expected = [event for at in range(len(stream)) for event in slow.feed(stream[at : at + 1])] + slow.close()
    places = [0, *sorted(cuts), len(stream)]
    found = [event for start, stop in pairwise(places) for event in quick.feed(stream[start:stop])]
    assert (found + quick.close(), quick.stray) == (expected, slow.stray)


def test_many_events_come_in_one_piece() -> None:
    reader = EventReader()
    assert reader.feed(b"data: a\n\n" * 3 + b"data: b") == [Event("message", "a")] * 3
    assert reader.feed(b"c\n\n") == [Event("message", "bc")]
