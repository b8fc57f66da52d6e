"""Pages from loopback sites, each as it must be."""

import asyncio
import gzip
import io
import re
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.config.domains import Domains
from agent.events import Record
from agent.llm.messages import user
from agent.session.session import Session
from agent.tools.base import ToolError
from agent.web.addresses import Resolve
from agent.web.download import MAX_BYTES
from agent.web.settings import WebSettings
from agent.web.web import Asker, Web
from tests.support.sites import Asked, Handler, Sites, goes_to, page, serving

pytest.importorskip("trafilatura")
LONG = "<p>The river rises in the hills and flows west for ninety miles before it meets the sea at Port Ellis.</p>"
ARTICLE = f"<html><head><title>A river</title></head><body><nav>Home About</nav><article><h1>A river</h1>{LONG * 3}</article></body></html>"


def conversation(root: Path, *said: str) -> Session:
    session = Session.create(root / "sessions", redact=lambda text: text)
    for words in said:
        session.add(user(words))
    return session


async def here(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


def web(
    root: Path,
    session: Session | None = None,
    *,
    resolve: Resolve = here,
    total_s: float | None = None,
    domains: Domains = Domains(),  # noqa: B008 - frozen
) -> Web:
    settings = WebSettings(allow_private=("127.0.0.1", "site.example", "other.example"), domains=domains)
    session = session or conversation(root)
    return Web(settings, session, cache=root / "pages", native=_none, resolve=resolve, total_s=total_s)


def _none(_context: object) -> Any:
    raise AssertionError("nobody asked for it")


def with_sites(pages: Mapping[str, Handler], check: Callable[[Sites], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with serving(pages) as sites:
            await check(sites)

    asyncio.run(main())


def a_pdf() -> bytes:
    from pypdf import PdfWriter
    from pypdf.generic import ContentStream, DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    sheet = writer.add_blank_page(300, 300)
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    fonts = DictionaryObject({NameObject("/F1"): font})
    sheet[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    stream = DecodedStreamObject()
    stream.set_data(b"BT /F1 12 Tf 20 200 Td (The tide tables of Port Ellis) Tj ET")
    sheet.replace_contents(ContentStream(stream, writer))
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()


async def endless(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    """A gigabyte, of which nobody reads more than the bound."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1073741824\r\n\r\n")
    for _ in range(1024):
        writer.write(b"x" * (1 << 20))
        await writer.drain()


async def dripping(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
    while not writer.is_closing():
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.02)


async def wall(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """A site that answers only who brings its cookie back."""
    if "seen=1" in asked.headers.get("cookie", ""):
        await page(ARTICLE)(asked, writer)
    else:
        await page("", status=302, location=asked.path, set_cookie="seen=1; Path=/")(asked, writer)


async def cut_off(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5000\r\n\r\nhalf a page")


BOMB = gzip.compress(b"\0" * (64 << 20))
CONSENT = "<html><body><p>We value your privacy.</p><button>Accept all</button></body></html>"
PAGES: dict[str, Handler] = {
    "/article": page(ARTICLE),
    "/latin": page(ARTICLE.replace("hills", "h\xfcgel").encode("latin-1"), "text/html; charset=iso-8859-1"),
    "/sniffed": page(ARTICLE.replace("<head>", '<head><meta charset="windows-1251">').replace("hills", "горы").encode("cp1251"), "text/html"),
    "/pdf": page(a_pdf(), "application/pdf"),
    "/not-a-pdf": page(b"%PDF-1.7 and then nothing of the kind", "application/pdf"),
    "/image": page(b"\x89PNG\0\0", "image/png"),
    "/bomb": page(BOMB, "text/plain", content_encoding="gzip"),
    "/packed": page(gzip.compress(ARTICLE.encode()), content_encoding="gzip"),
    "/brotli": page(b"????", content_encoding="br"),
    "/huge": endless,
    "/slow": dripping,
    "/wall": wall,
    "/consent": page(CONSENT),
    "/gone": page("no", status=404),
    "/login": page("no", status=401),
    "/moved": goes_to("/article"),
    "/round": goes_to("/round"),
    "/inward": goes_to("http://127.0.0.2:1/secret"),
    "/to-file": goes_to("file:///etc/passwd"),
    "/with-key": goes_to("http://user:pw@site.example/"),
    "/squared": page("river " + "a" * 2_000_000 + "-" + "b" * 2_000_000, "text/plain; charset=punycode"),
    "/undefined": page("a river", "text/plain; charset=undefined"),
    "/json": page('{"a": 1}', "application/json"),
    "/liar": page(ARTICLE.replace("hills", "h\xfcgel").encode("latin-1")),
    "/cut-off": cut_off,
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/article", "flows west for ninety miles"),
        ("/latin", "in the h\xfcgel"),
        ("/sniffed", "in the горы"),
        ("/pdf", "The tide tables of Port Ellis"),
        ("/packed", "flows west"),
        ("/huge", "only its first 8 MB"),
        ("/bomb", "only its first 8 MB"),
        ("/wall", "flows west"),
        ("/consent", "cookies or a login"),
        ("/moved", "flows west"),
        ("/json", '{"a": 1}'),
        ("/squared", "river aaa"),
        ("/undefined", "a river"),
        ("/liar", "flows west"),
        ("/cut-off", "!"),
        ("/not-a-pdf", "!the PDF can't be read"),
        ("/image", "!image/png, which can't be read"),
        ("/brotli", "!packed as br"),
        ("/slow", "!took longer than"),
        ("/gone", "!answered 404: there is no such page"),
        ("/login", "!401: it wants a login"),
        ("/round", "!more than 5 redirects"),
        ("/inward", "!private|this machine|another site"),
        ("/to-file", "!only http|another site"),
        ("/with-key", "!user name or a password|another site"),
    ],
)
def test_each_site_is_as_it_must_be(tmp_path: Path, path: str, said: str) -> None:
    async def check(sites: Sites) -> None:
        made = web(tmp_path, total_s=0.5 if path == "/slow" else 30.0)
        try:
            text = await made.fetch(sites.url(path), Asker())
        except ToolError as error:
            text = f"!{error}"
        assert text.startswith("!") == said.startswith("!"), text[:300]
        assert re.search(said.lstrip("!") if said.startswith("!") else re.escape(said), text), text[:300]

    with_sites(PAGES, check)


def test_a_redirect_to_a_private_address_is_refused_where_redirects_are_followed(tmp_path: Path) -> None:
    async def inside(host: str, _port: int) -> list[str]:
        return ["127.0.0.1" if host == "127.0.0.1" else "10.0.0.7"]

    async def check(sites: Sites) -> None:
        paths = ("/inward", "/with-key", "/to-file")
        session = conversation(tmp_path, *(f"read {sites.url(path)}" for path in paths))
        made = web(tmp_path, session, resolve=inside)
        for path in paths:
            with pytest.raises(ToolError, match=r"never|only http|fetched from"):
                await made.fetch(sites.url(path), Asker())
        assert {asked.path for asked in sites.asked} == {"/inward", "/with-key", "/to-file"}

    with_sites(PAGES, check)


def test_the_connection_goes_where_the_one_look_up_said(tmp_path: Path) -> None:
    async def check(sites: Sites) -> None:
        answers = [["127.0.0.1"], ["10.9.9.9"]]

        async def changing(_host: str, _port: int) -> list[str]:
            return answers.pop(0)

        made = web(tmp_path, resolve=changing)
        assert "flows west" in await made.fetch(sites.url("/article", "site.example"), Asker())
        assert answers == [["10.9.9.9"]]
        assert sites.asked[0].headers["host"] == f"site.example:{sites.port}"

    with_sites(PAGES, check)


def test_a_second_fetch_asks_whether_the_page_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tagged(asked: Asked, writer: asyncio.StreamWriter) -> None:
        same = asked.headers.get("if-none-match") == '"v1"'
        await page("" if same else ARTICLE, status=304 if same else 200, etag='"v1"')(asked, writer)

    async def check(sites: Sites) -> None:
        first = await web(tmp_path).fetch(sites.url("/a"), Asker())
        assert await web(tmp_path).fetch(sites.url("/a"), Asker()) == first
        assert len(sites.asked) == 1  # fresh: nobody was asked
        monkeypatch.setattr("agent.web.cache.FRESH_S", 0)
        assert await web(tmp_path).fetch(sites.url("/a"), Asker()) == first
        assert sites.asked[1].headers["if-none-match"] == '"v1"'
        monkeypatch.undo()
        with pytest.raises(ToolError, match="excluded"):  # what is kept is under the policy, too
            await web(tmp_path, domains=Domains(excluded=("127.0.0.1",))).fetch(sites.url("/a"), Asker())
        kept = list((tmp_path / "pages").iterdir())
        assert [file.stat().st_mode & 0o077 for file in kept] == [0]

    with_sites({"/a": tagged}, check)


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/open", ""),
        ("/closed/a", "robots.txt"),
        ("/leads", "robots.txt"),
        ("/elsewhere", "excluded"),
        ("/unasked", "members fetch only"),
    ],
)
def test_members_hold_to_robots_and_to_what_was_supplied(tmp_path: Path, path: str, refused: str) -> None:
    pages = {
        "/robots.txt": page("User-agent: *\nDisallow: /closed/", "text/plain"),
        "/open": page(ARTICLE),
        "/closed/a": page(ARTICLE),
        "/leads": goes_to("/closed/a"),
        "/unasked": page(ARTICLE),
    }

    async def check(sites: Sites) -> None:
        sites.pages = {**pages, "/elsewhere": goes_to(sites.url("/open", "other.example"))}
        words = " ".join(sites.url(each) for each in sites.pages if each != "/unasked")
        made = web(tmp_path, conversation(tmp_path, f"look at {words}."))
        member = Asker("2", Domains(excluded=("other.example",)))
        try:
            text = await made.fetch(sites.url(path), member)
        except ToolError as error:
            assert refused and refused in str(error), str(error)
        else:
            assert not refused and "flows west" in text

    with_sites(pages, check)


@pytest.mark.parametrize("way", ["written", "found"])
def test_another_spelling_of_a_known_address_carries_nothing_out(tmp_path: Path, way: str) -> None:
    """A page that gives orders would have a model write what it knows into what counts as the same address."""
    spellings = (
        "?utm_source=SECRET",
        "?UTM_X=SECRET&fbclid=SECRET",
        "?gclid=SECRET&mc_eid=1",
        "//////",
        "?&&&&",
        "#SECRET",
    )

    async def check(sites: Sites) -> None:
        for spelling in spellings:
            session = conversation(tmp_path / spelling[1:6])
            made = web(tmp_path / spelling[1:6], session)
            if way == "written":
                session.add(user(f"look at {sites.url('/article')}."))
            else:
                data = {"searches": [{"results": [sites.url("/article")]}]}
                session.add_record(Record(kind="sources", data=data), turn="t", iteration=1)
            asker = Asker() if way == "written" else Asker("1")
            assert "flows west" in await made.fetch(sites.url("/article") + spelling, asker)
        assert {asked.path for asked in sites.asked} <= {"/article", "/robots.txt"}

    pages = {**PAGES, "/article": page("The river flows west.", "text/plain")}
    with_sites({**pages, "/robots.txt": page("", "text/plain")}, check)


def test_a_site_whose_rules_cannot_be_had_is_left_alone_by_members(tmp_path: Path) -> None:
    async def check(sites: Sites) -> None:
        made = web(tmp_path, conversation(tmp_path, sites.url("/a")))
        with pytest.raises(ToolError, match="robots"):
            await made.fetch(sites.url("/a"), Asker("1"))

    with_sites({"/robots.txt": page("", status=503), "/a": page(ARTICLE)}, check)


def test_a_made_up_address_does_not_lead_on_to_another_site(tmp_path: Path) -> None:
    async def check(sites: Sites) -> None:
        sites.pages = {**PAGES, "/out": goes_to(sites.url("/article", "other.example"))}
        session = conversation(tmp_path)
        made = web(tmp_path, session)
        with pytest.raises(ToolError, match="another site"):
            await made.fetch(sites.url("/out"), Asker())
        session.add(user(f"<{sites.url('/out')}>"))
        assert "flows west" in await made.fetch(sites.url("/out"), Asker())

    with_sites(PAGES, check)


def test_a_long_page_comes_in_parts(tmp_path: Path) -> None:
    async def check(sites: Sites) -> None:
        made = web(tmp_path)
        first = await made.fetch(sites.url("/long"), Asker())
        assert "26,000 characters more: call again with offset 24000" in first
        assert (await made.fetch(sites.url("/long"), Asker(), offset=49_990)).endswith("\n\n" + "y" * 10)
        with pytest.raises(ToolError, match="nothing at"):
            await made.fetch(sites.url("/long"), Asker(), offset=50_000)

    assert MAX_BYTES > 50_000
    with_sites({"/long": page("y" * 50_000, "text/plain")}, check)
