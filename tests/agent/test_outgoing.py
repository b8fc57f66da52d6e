"""No configured key leaves in an event, whatever pieces it comes in; nothing that steers a terminal leaves in JSON or a document."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.config import load_config
from agent.events import (
    ErrorInfo,
    ModelFinished,
    Notice,
    ReasoningDeltaEvent,
    Record,
    SideFinished,
    SideProgress,
    TextDeltaEvent,
    ToolFinished,
    ToolProgress,
    TurnFinished,
    TurnStarted,
)
from agent.llm.messages import ImagePart, Message, ToolCallPart, assistant, user
from agent.outgoing import Outgoing
from agent.serialize import dumps, to_plain
from agent.session.export import export
from agent.session.session import Session
from agent.text.cleaning import harmless, last_words, visible

KEY = "sk-or-v1-0123456789abcdef"


def outgoing(folder: Path, key: str = KEY) -> Outgoing:
    env = {f"MOA_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "STATE", "CACHE")}
    return Outgoing(load_config({**env, "OPENROUTER_API_KEY": key}).redaction())


END = TurnFinished(turn="t", status="done", text="")


@given(before=st.text(), after=st.text(), cuts=st.lists(st.integers(0, 60), max_size=6), reasoning=st.booleans())
def test_a_key_in_pieces_is_held_back_and_nothing_else_is_lost(
    tmp_path_factory: pytest.TempPathFactory, before: str, after: str, cuts: list[int], reasoning: bool
) -> None:
    text = before + KEY + after
    kind = ReasoningDeltaEvent if reasoning else TextDeltaEvent
    out = outgoing(Path("/nowhere"))
    marks = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(marks)]
    said = [event for piece in pieces for event in out.events(kind(text=piece))] + list(out.events(END))
    assert "".join(event.text for event in said if isinstance(event, kind)) == text.replace(KEY, "[key]")
    assert said[-1] == END


@pytest.mark.parametrize("between", ["\x00", "\u202e", "\r\x1b", "\x00" * 5_000])
def test_what_is_left_out_later_puts_no_key_together(tmp_path: Path, between: str) -> None:
    out = outgoing(tmp_path)
    said = [event for letter in KEY for event in out.events(TextDeltaEvent(text=letter + between))] + list(
        out.events(END)
    )
    shown = "".join(event.text for event in said if isinstance(event, TextDeltaEvent))
    assert harmless(shown) == "[key]"
    env = {f"MOA_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "STATE", "CACHE")}
    config = load_config({**env, "OPENROUTER_API_KEY": KEY})
    session = Session.create(tmp_path, redact=config.redact)
    session.add(user("a" + between.join(KEY)))
    assert KEY not in "".join(harmless(message.text) for message in session.transcript())


CALL = ToolCallPart(id="c", name="read", arguments=json.dumps({"path": KEY}))


@pytest.mark.parametrize(
    "event",
    [
        Notice(level="info", code="c", text=f"a {KEY}"),
        ToolFinished(call=CALL, outcome="error", text=KEY, diff=f"+{KEY}"),
        ModelFinished(iteration=1, call_id="c", message=assistant(KEY, CALL), finish="stop"),
        SideFinished(id="s", outcome="failed", text=KEY, error=ErrorInfo(kind="k", message=KEY, remedy=KEY)),
        SideProgress(id="s", state="writing", elapsed_s=1.0, last_words=f"so {KEY}"),
        SideProgress(id="s", state="writing", elapsed_s=1.0, last_words=f"so {KEY[:-1]}"),
        Record(kind="counsel", data={"answers": [{KEY: "x", "text": KEY}]}),
        TurnFinished(turn="t", status="failed", text=KEY, error=ErrorInfo(kind="k", message=KEY)),
        TextDeltaEvent(text=f"{KEY[:8]}\u200e{KEY[8:]}"),
        Notice(level="info", code="c", text=f"{KEY[:8]}\x1b{KEY[8:]}"),
    ],
)
def test_no_event_carries_a_key(tmp_path: Path, event: object) -> None:
    said = dumps([to_plain(each) for each in outgoing(tmp_path).events(event)])  # type: ignore[arg-type]
    assert KEY[:-1] not in said


def test_output_of_a_tool_in_pieces(tmp_path: Path) -> None:
    out = outgoing(tmp_path)
    said = list(out.events(ToolProgress(id="a", text=f"x {KEY[:10]}")))
    said += out.events(ToolProgress(id="b", text="other"))
    said += out.events(ToolProgress(id="a", text=f"{KEY[10:]} y"))
    said += out.events(ToolFinished(call=CALL, outcome="ok", text="done"))
    assert [event.text for event in said] == ["x ", "other", "[key] y", "done"]  # type: ignore[union-attr]


def test_a_key_that_is_a_word_of_ours_breaks_nothing(tmp_path: Path) -> None:
    out = outgoing(tmp_path, "assistant")
    image = Message(role="user", parts=(ImagePart(media_type="image/png", data="assistant"),))
    (event,) = out.events(ModelFinished(iteration=1, call_id="c", message=assistant("assistant"), finish="stop"))
    assert isinstance(event, ModelFinished)
    assert (event.message.role, event.message.text) == ("assistant", "[key]")
    (begun,) = out.events(TurnStarted(session="s", turn="t", prompt=image))
    assert isinstance(begun, TurnStarted) and begun.prompt == image


@pytest.mark.parametrize(
    ("window", "whole", "shown"),
    [
        ("I read\n the file", True, "I read the file"),
        (f"{KEY[9:]} is the key", False, "is the key"),
        (f"{KEY[9:]}", False, ""),
        ("\u6f22\u5b57" * 100, False, "\u6f22\u5b57" * 60),
        (f"a {KEY} " + "x" * 101, True, "x" * 101),
    ],
)
def test_last_words_begin_with_a_whole_word(window: str, whole: bool, shown: str) -> None:
    assert last_words(window, 120, whole=whole) == shown


# What steers a terminal

STEERING = ["\x1b", "\x9b", "\x85", "\x7f", "\x07", "\r", "\u202e", "\u2066", "\u200e", "\u200f", "\u061c"]
LINE_ENDS = ("\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("char", LINE_ENDS)
def test_an_event_is_one_line_for_whoever_reads_lines(char: str, raw: bool) -> None:
    line = dumps({"text": f"a{char}b", f"k{char}": 1}, raw=raw)
    assert line.splitlines() == [line]
    if raw or char in "\n\u2028\u2029":
        assert json.loads(line)["text"] == f"a{char}b"


@pytest.mark.parametrize("char", STEERING)
def test_json_and_documents_are_clean_but_for_raw(tmp_path: Path, char: str) -> None:
    assert char not in json.loads(dumps({"text": f"a{char}b", f"k{char}": [f"{char}"]}))["text"]
    assert char not in dumps({f"k{char}": [f"a{char}"]})
    raw = dumps({"text": f"a{char}b"}, raw=True)
    assert char not in raw and json.loads(raw)["text"] == f"a{char}b"
    session = Session.create(tmp_path)
    call = ToolCallPart(id="1", name=f"x{char}", arguments=f'{{"a": "{char}"}}')
    session.add(user("hi"))
    session.add(assistant(f"a{char}b &#{ord(char)};", call))
    for form in ("md", "html", "json"):
        assert char not in export(session, form), form  # type: ignore[arg-type]
    assert f"a{char}b" in export(session, "md", raw=True)
    assert json.loads(export(session, "json", raw=True))["messages"][1]["parts"][0]["text"].startswith(f"a{char}b")


@pytest.mark.parametrize(
    "char",
    list(
        "\x00\x1b\x7f\x85\x9b\xad\u034f\u061c\u115f\u1160\u17b4\u180e\u180b\u200b\u200c\u200d\u200e\u202e\u2028\u2029\u2060\u2063"
        "\u2066\u206a\u2800\u3164\ufe00\ufe0f\ufeff\uffa0\ufff9\U0001d173\U000e0041\U000e0100\xa0\u2003\u202f\u3000\ue000\u0378"
    ),
)
def test_whatever_is_unseen_is_written_out(char: str) -> None:
    shown = visible(f"rm a{char}b")
    assert char not in shown and shown == f"rm a{char.encode('unicode_escape').decode()}b"


@pytest.mark.parametrize(
    "text", ["naïve\n\tčaj", "日本語", "👨\u200d👩\u200d👧", "❤\ufe0f", "❤\ufe0f\u200d🔥", "👍🏽", "e\u0301"]
)
def test_what_is_seen_stays(text: str) -> None:
    assert visible(text) == text


@given(st.text())
def test_cleaning_is_bounded_and_done_once(text: str) -> None:
    assert harmless(harmless(text)) == harmless(text)
    assert visible(visible(text)) == visible(text)
