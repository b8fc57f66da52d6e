"""The questions of the live script, asked of the signing endpoint: the script itself works. Nothing leaves the process."""

from __future__ import annotations

import httpx
import pytest

from tests.live import preserved
from tests.support.script import Behaviour, Script, tool_loop
from tests.support.signing import SigningEndpoint


def test_the_questions_get_their_documented_answers() -> None:
    steps = tool_loop(2, tools=(("read_log", {"day": "Monday"}),))
    endpoint = SigningEndpoint(
        Script(models={"m": Behaviour(steps=steps)}), thoughts=["empty"], text_after_results="empty"
    )
    with httpx.Client(transport=endpoint.transport(), base_url="http://model/v1") as http:
        asking = preserved.Asking(http, "m")
        asking.all()
    came = {row.asked: row.came for row in asking.rows}
    assert came["guidance at the end of the tool result"] == "200: thinking (empty, signed), text, tool_use; tool_use"
    assert came["as a text block behind the tool result"] == "200: nothing; end_turn"
    assert came["the empty end_turn, and a user message that asks to go on"].startswith("200: thinking")
    assert "bound to a different conversation" in came["the same conversation, guidance taken out"]
    assert "bound to a different conversation" in came["the same in count_tokens"]
    for asked in ("the same conversation, guidance kept", "the same with drop_block", "they go back as they came"):
        assert came[asked].startswith("200: thinking"), asked
    assert asking.requests <= 13 and 0 < asking.spent < 0.1
    assert preserved.table(asking.rows).count("\n") == len(asking.rows) + 1


def test_nothing_is_sent_without_a_key_and_a_yes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert preserved.main(["--yes"]) == 2
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    assert preserved.main([]) == 2
    assert "$0.10" in capsys.readouterr().err
