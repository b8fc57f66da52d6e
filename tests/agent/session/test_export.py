"""A conversation as a document: whole, literal, and without secrets."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import UsageError
from agent.events import Record
from agent.llm.messages import (
    ImagePart,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    assistant,
    system,
    tool_result,
    user,
)
from agent.session.export import Format, export, fenced, parse_format
from agent.session.session import Session
from agent.text.masking import MASK, mask, mask_all
from tests.support.effort import at_most

FORMATS: tuple[Format, ...] = ("md", "json", "html")
# Put together here, so that no scanner takes this file for a leak.
SECRETS = {
    "openrouter": "sk-or-" + "v1-" + "0123456789abcdef" * 2,
    "github": "ghp" + "_" + "A1b2C3d4E5f6G7h8I9j0K1l2",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "google": "AIza" + "SyA-1234567890abcdefghijklmnopqrstu",
    "slack": "xoxb" + "-123456789012-abcdefghij",
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0." + "abcdefghijk",
    "private": "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE" + " KEY-----",
}
CALL = ToolCallPart(id="t1", name="shell", arguments='{"command": "echo `hi` <b>"}')


def session_of(folder: Path, *messages: Message) -> Session:
    session = Session.create(folder)
    for message in (system("be good"), *messages):
        session.add(message)
    return session


def conversation(folder: Path) -> Session:
    session = session_of(
        folder,
        Message(
            role="user",
            parts=(TextPart(text="<script>alert(1)</script>"), ImagePart(media_type="image/png", data="aGk=")),
        ),
        Message(
            role="assistant",
            parts=(
                ReasoningPart(text="hm\nso"),
                TextPart(text="**bold** <img src=x onerror=y>\n\n[x](javascript:alert(1))"),
                CALL,
            ),
            origin="fake:main",
        ),
        tool_result(CALL, "````\nfence\n````", is_error=True),
        Message(role="assistant", parts=(TextPart(text="half"),), incomplete=True),
    )
    session.add_record(Record(kind="counsel", data={"rung": "raw"}), turn="t", iteration=1)
    return session


def test_json_has_everything_and_can_be_read_again(tmp_path: Path) -> None:
    session = conversation(tmp_path)
    data = json.loads(export(session, "json"))
    assert (data["schema"], data["session"]) == (1, session.id)
    assert [message["role"] for message in data["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    assert data["messages"][1]["parts"][1]["data"] == "aGk="
    assert data["records"] == [{"kind": "counsel", "data": {"rung": "raw"}, "after": 5}]


def test_markdown_keeps_a_fence_within_a_fence(tmp_path: Path) -> None:
    text = export(conversation(tmp_path), "md")
    assert "`````\n````\nfence\n````\n`````" in text
    assert "## Assistant (fake:main)" in text and "## Result (shell, failed)" in text and "(incomplete)" in text
    assert "> hm\n> so" in text and "![image](data:image/png;base64,aGk=)" in text


class Page(HTMLParser):
    """What a browser would take for elements."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_nothing_that_was_said_is_markup_in_the_page(tmp_path: Path) -> None:
    text = export(conversation(tmp_path), "html")
    page = Page()
    page.feed(text)
    assert "script" not in page.tags and "strong" in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not any((value or "").startswith(("javascript:", "http")) for _, value in page.attributes)
    assert page.tags.count("img") == 1
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text


@given(st.text(max_size=200))
def test_a_fenced_text_ends_where_it_should(text: str) -> None:
    block = fenced(text)
    fence = block.split("\n", 1)[0]
    assert block.endswith(f"\n{fence}") and fence not in text
    assert block[len(fence) + 1 : -len(fence) - 1] == text


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", SECRETS)
def test_secrets_are_masked_wherever_they_are(tmp_path: Path, form: Format, kind: str) -> None:
    secret = SECRETS[kind]
    call = ToolCallPart(id="t1", name="shell", arguments=json.dumps({"command": f"curl {secret}"}))
    session = session_of(
        tmp_path,
        user(f"here: {secret}"),
        Message(role="assistant", parts=(ReasoningPart(text=secret), TextPart(text=f"so {secret}."), call)),
        tool_result(call, f"[{secret}]"),
    )
    session.add_record(Record(kind="counsel", data={"guidance": secret}), turn="t", iteration=1)
    text = export(session, form)
    assert secret not in text and secret.replace("\n", "\\n") not in text
    assert "MIIEow" not in text
    assert text.count(MASK) >= 4


@pytest.mark.parametrize("form", FORMATS)
def test_configured_keys_are_masked_whatever_they_look_like(tmp_path: Path, form: Format) -> None:
    session = session_of(tmp_path, user("it is hunter2"), assistant("hunter2?"))
    assert "hunter2" not in export(session, form, redact=lambda text: text.replace("hunter2", "[key]"))


@pytest.mark.parametrize("form", FORMATS)
def test_what_steers_a_terminal_hides_no_secret(tmp_path: Path, form: Format) -> None:
    secret = SECRETS["openrouter"]
    hidden = f"{secret[:9]}\x00{secret[9:]}"
    call = ToolCallPart(id="c", name="read", arguments=hidden)
    session = session_of(tmp_path, user(hidden), assistant(hidden, call), tool_result(call, hidden))
    session.add_record(Record(kind="counsel", data={"guidance": hidden}), turn="t", iteration=1)
    assert secret not in export(session, form)


def test_what_is_no_secret_stays() -> None:
    plain = (
        "see the task-list, sk-learn, the risk-free-rate-of-return, AKIA, ghp_, bearer of news; max_tokens = 16000; "
        "git show 4f2a9c1d8e7b6a5f4e3d2c1b0a9f8e7d6c5b4a39"
    )
    assert mask(plain) == plain
    assert mask_all({"a": [1, None, plain]}) == {"a": [1, None, plain]}


def test_bearers_and_assignments_keep_their_names() -> None:
    token = "abcdefghijklmnop"
    assert mask(f"Authorization: Bearer {token}") == f"Authorization: Bearer {MASK}"
    assert mask(f"MY_API_KEY={token} next") == f"MY_API_KEY={MASK} next"
    assert mask(f'{{"client_secret_key": "{token}"}}') == f'{{"client_secret_key": "{MASK}"}}'


def test_long_texts_are_masked_in_reasonable_time() -> None:
    text = "sk" * 200_000 + "password" * 20_000 + "eyJ-" * 100_000 + "-----BEGIN " * 10_000 + "password = " * 9_000
    with at_most(2):
        mask(text)


def test_an_unknown_format_names_the_known_ones() -> None:
    assert parse_format("md") == "md"
    with pytest.raises(UsageError) as problem:
        parse_format("pdf")
    assert re.search("md, json, html", problem.value.remedy or "")
