"""One foreign server over its life: started, asked what it can do, called, and started again after it died or hung."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from agent.config.mcp import ServerSettings, filled
from agent.errors import UsageError
from agent.mcp.http import make_client
from agent.mcp.names import LONGEST_DESCRIPTION, LONGEST_FOREIGN, RemoteTool, remote_tools, small_schema
from agent.process import children, depth
from agent.text.cleaning import last_words
from agent.text.numbers import plural
from agent.tools.base import ToolError

if TYPE_CHECKING:
    from agent.mcp.stdio import Traffic

START_S = 60.0
"""The most that a start may take: a package runner may have to fetch the server first."""
ANSWER_S = 5.0
"""So long a server that let a call pass has to answer a ping, before it is taken for hung."""
END_S = 4.0
"""So long its end may take by itself, a goodbye over HTTP with it. Then it is cut off."""
CEILING_S = 1_800.0
MOST_DEATHS = 3
"""In a row, without a call that came out: then it stays down until the user starts it (`/mcp restart`)."""
MOST_PAGES = 50
MOST_LISTED = 1_000
State = Literal["idle", "starting", "ready", "failed"]
Tell = Callable[[str, str], None]
"""`tell(code, text)`: what the user should know."""


class Place(NamedTuple):
    """Where servers work: the user's folder, one of our own for those that are to know no other, and the environment they start from.
    `changed` says why none of the project may be started any more (empty: it may)."""

    cwd: Path
    own: Path
    env: Mapping[str, str]
    changed: Callable[[], str] = str


class Connection:
    """A server and what is known of it. `changed` is called when its tools are others than before."""

    def __init__(
        self,
        settings: ServerSettings,
        place: Place,
        *,
        tell: Tell = lambda _code, _text: None,
        changed: Callable[[], None] = lambda: None,
        redact: Callable[[str], str] = lambda text: text,
        start_s: float = START_S,
    ) -> None:
        self.settings = settings
        self.state: State = "idle"
        self.tools: tuple[RemoteTool, ...] = ()
        self.problem = ""
        """Why it can't be used, where it can't."""
        self.about = ""
        """What it says that it is, and the version of the protocol that is spoken."""
        self.instructions = ""
        self.left_out: tuple[str, ...] = ()
        self.deaths = 0
        self._place = place
        self._tell = tell
        self._changed = changed
        self._redact = redact
        self._start_s = start_s
        self._told_of = ""
        self._status: tuple[int, str] | None = None
        """The last refusal of an address: status and reason."""
        self._client: Any = None
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._stop = asyncio.Event()
        self._relist = asyncio.Event()
        self._restarts: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self.settings.name

    # Its life

    def start(self) -> None:
        """Begin to start it, where it neither runs nor starts."""
        if self._task is None or self._task.done():
            self.state, self.problem, self._status = "starting", "", None
            self._settled, self._stop, self._relist = asyncio.Event(), asyncio.Event(), asyncio.Event()
            self._task = asyncio.create_task(self._live(), name=f"mcp {self.name}")

    async def settled(self) -> None:
        """Wait until it is ready or has failed."""
        await self._settled.wait()

    async def aclose(self) -> None:
        """End it."""
        for task in self._restarts:
            task.cancel()
        await self._end()
        self.state = "idle"

    async def restart(self) -> None:
        """End it and start it anew, whatever happened before."""
        self.deaths = 0
        await self._again()

    async def _again(self) -> None:
        await self._end()
        self.start()

    async def _end(self) -> None:
        self._stop.set()
        if self._task is not None:
            if self.state == "starting":  # which nothing else cuts short
                self._task.cancel()
            await asyncio.wait([self._task], timeout=END_S)
            if not self._task.done():
                self._task.cancel()
                await asyncio.wait([self._task], timeout=END_S)

    async def _live(self) -> None:
        """From start to end. Everything of the SDK is entered and left in this one task, as its scopes demand."""
        was_ready, traffic = False, None
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._start_s):
                    await asyncio.to_thread(_load)
                    transport, traffic = self._transport(stack)
                    self._client = await stack.enter_async_context(self._open(await transport))
                    self._client.session.validate_tool_result = _taken_as_it_is
                    await self._list()
                was_ready = True
                self.state = "ready"
                self._settled.set()
                self._changed()
                await self._until_over(traffic)
        except Exception as error:
            self.problem = self._why(error, traffic)
        finally:
            self._client = None
            over = self._stop.is_set()
            if not over and was_ready:
                self.problem = self._why(None, traffic)
            self.state = "idle" if over else "failed"
            self._settled.set()
        if not over:
            self._died(was_ready)

    def _died(self, was_ready: bool) -> None:
        if was_ready or self.settings.kind == "stdio":  # an address may answer again at any time
            self.deaths += 1
        if not was_ready:
            if self.problem != self._told_of:
                self._told_of = self.problem
                self._tell("mcp_failed", f"the MCP server {self.name} did not start: {self.problem}")
        elif self.deaths < MOST_DEATHS:
            self._tell("mcp_restarted", f"the MCP server {self.name} is started again: {self.problem}")
            task = asyncio.create_task(self._again())
            self._restarts.add(task)
            task.add_done_callback(self._restarts.discard)
        else:
            text = f"the MCP server {self.name} stays down after {plural(self.deaths, 'time')} in a row (/mcp restart {self.name} starts it): {self.problem}"
            self._tell("mcp_failed", text)

    async def _until_over(self, traffic: Traffic | None) -> None:
        """Until it ends, or is to end; its tools are listed anew when it says that they have changed."""
        ends = [asyncio.create_task(self._stop.wait())]
        if traffic is not None:
            ends.append(asyncio.create_task(traffic.gone.wait()))
        if self._client.protocol_version >= "2026-07-28" and self._client.server_capabilities.tools:
            ends_not = asyncio.create_task(self._subscribe())
        else:
            ends_not = None
        try:
            while not any(task.done() for task in ends):
                news = asyncio.create_task(self._relist.wait())
                await asyncio.wait([*ends, news], return_when=asyncio.FIRST_COMPLETED)
                if news.done():
                    self._relist.clear()
                    await self._list_again(ends)
                news.cancel()
        finally:
            for task in (*ends, *([ends_not] if ends_not is not None else [])):
                task.cancel()

    async def _list_again(self, ends: list[asyncio.Task[Any]]) -> None:
        """Ask for its tools once more. Where it is over first, or no answer comes, they are what they were: nobody waits for that answer."""
        listing = asyncio.create_task(self._list())
        try:
            await asyncio.wait([*ends, listing], timeout=self._start_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listing.cancel()
        wrong = (await asyncio.gather(listing, return_exceptions=True))[0]
        if wrong is None:  # it may have died of it; that is told then
            self._changed()

    async def _subscribe(self) -> None:
        """Hear of changes from a server of today's protocol, which says them only to who asks."""
        with suppress(Exception):
            async with self._client.listen(tools_list_changed=True) as events:
                async for _event in events:
                    self._relist.set()

    def _transport(self, stack: AsyncExitStack) -> tuple[Any, Traffic | None]:
        """The transport, to be awaited for, and what is known of a child. Raises UsageError for a variable that is not set, and where the
        project is another one than the user trusted."""
        settings, place = self.settings, self._place
        where = f"{settings.source}: mcp.servers.{self.name}"
        if settings.of_project and (changed := place.changed()):
            raise UsageError(changed, remedy="look at what has changed there", kind="trust")
        fill = partial(self._filled, where=where)
        if settings.kind == "stdio":
            from agent.mcp.stdio import Traffic, stdio

            env = children.environment("python", "fetch", project=place.cwd, env=place.env)
            env |= {name: fill(text) for name, text in settings.env.items()}
            env[depth.VARIABLE] = str(depth.depth() + 1)
            cwd = place.own / self.name if settings.cwd is None else place.cwd / Path(settings.cwd).expanduser()
            if settings.cwd is None:
                cwd.mkdir(parents=True, exist_ok=True, mode=0o700)
            traffic = Traffic()
            argv = [settings.command, *(fill(text).replace("{cwd}", str(place.cwd)) for text in settings.args)]
            opened = stdio(argv, env=env, cwd=cwd, project=place.cwd, traffic=traffic)
            return stack.enter_async_context(opened), traffic
        url, headers = fill(settings.url), {name: fill(text) for name, text in settings.headers.items()}
        headers |= depth.headers(depth.depth() + 1)
        if settings.kind == "sse":
            from mcp.client.sse import sse_client

            def made(headers: Any = None, timeout: Any = None, auth: Any = None) -> Any:
                return make_client(headers or {}, self._note_status, timeout=timeout, auth=auth)

            return stack.enter_async_context(sse_client(url, headers=headers, httpx_client_factory=made)), None
        from mcp.client.streamable_http import streamable_http_client

        async def over_http() -> Any:
            client = await stack.enter_async_context(make_client(headers, self._note_status))
            return await stack.enter_async_context(streamable_http_client(url, http_client=client))

        return over_http(), None

    def _filled(self, text: str, *, where: str) -> str:
        """A value with its variables. What a project names gets no key of the user's: that would go wherever the project says."""
        value = filled(text, self._place.env, where=where)
        if self.settings.of_project and value != text and self._redact(value) != value:
            raise UsageError(
                f"{where} asks for a key of yours ({text})",
                remedy=f"to give it that, name the server in your own settings: moa mcp add {self.name} …",
                kind="config",
            )
        return value

    def _note_status(self, status: int, reason: str) -> None:
        self._status = (status, reason) if status >= 400 else None

    def _open(self, streams: Any) -> Any:
        from contextlib import asynccontextmanager

        import mcp_types
        from mcp.client import Client

        @asynccontextmanager
        async def opened() -> Any:
            yield streams

        async def roots(context: Any) -> Any:
            uri = self._place.cwd.resolve().as_uri()
            return mcp_types.ListRootsResult(roots=[mcp_types.Root(uri=uri, name=self._place.cwd.name)])

        async def heard(message: Any) -> None:
            if isinstance(message, mcp_types.ToolListChangedNotification):
                self._relist.set()

        return Client(
            opened(),
            list_roots_callback=roots,
            message_handler=heard,
            client_info=mcp_types.Implementation(name="moa", version=_version()),
            cache=None,
        )

    async def _list(self) -> None:
        """Ask for its tools, page by page."""
        client, cursor = self._client, None
        listed: list[tuple[str, str, Any]] = []
        info = client.server_info
        named = f"{info.name} {info.version}".strip() if info is not None else "a server without a name"
        self.about = f"{last_words(named, 100, whole=True)}, protocol {client.protocol_version}"
        self.instructions = (client.instructions or "")[:2_000]
        if client.server_capabilities.tools is not None:
            for _ in range(MOST_PAGES):
                page = await client.list_tools(cursor=cursor)
                for tool in page.tools[: MOST_LISTED - len(listed)]:
                    # Cut here: nobody holds 50 pages of 16 MB.
                    told = (tool.description or tool.title or "")[: 2 * LONGEST_DESCRIPTION]
                    listed.append((tool.name[: LONGEST_FOREIGN + 1], told, small_schema(tool.input_schema)))
                cursor = page.next_cursor
                if cursor is None or len(listed) >= MOST_LISTED:
                    break
        tools, left_out = remote_tools(self.name, listed)
        self.tools, self.left_out = tuple(tools), tuple(left_out)

    def _why(self, error: BaseException | None, traffic: Traffic | None) -> str:
        """Why it does not work, in words: what happened, and the end of what it wrote."""
        parts = []
        if traffic is not None and traffic.why:
            parts.append(traffic.why)
        if (
            error is not None
            and (text := _told(error, self._start_s, self.settings))
            and not (parts and _is_closed(error))
        ):
            parts.append(text)
        if error is not None and self._status is not None:
            status, reason = self._status
            key = "; it needs a key: name it under headers, or take the one there out" if status in (401, 403) else ""
            parts = [f"it answers {status} {last_words(reason, 60, whole=True)}{key}"]
        if traffic is not None:
            if noise := traffic.noise():
                parts.append(noise)
            if words := traffic.last_words():
                parts.append(f"its last words: {words}")
        return self._redact("; ".join(parts) or "the connection was lost")

    # Its tools

    def find(self, tool: str) -> RemoteTool | None:
        """A tool by the name that the server gives it, or that requests list it under."""
        return next((each for each in self.tools if tool in (each.name, each.spec.name)), None)

    async def call(self, tool: str, arguments: dict[str, Any], progress: Callable[[str], None]) -> Any:
        """Call a tool. Returns the SDK's result; raises ToolError that says what became of the call.

        A call is never made a second time: nobody knows what the first one did.
        """
        await self._ready()
        client, task, settings = self._client, self._task, self.settings
        if client is None:
            raise ToolError(f"the MCP server {self.name} is not there: {self.problem or 'it is being started'}")
        began = time.monotonic()
        try:
            async with asyncio.timeout(settings.timeout_s) as clock:

                async def on_progress(done: float, total: float | None, message: str | None) -> None:
                    if time.monotonic() - began < CEILING_S:
                        clock.reschedule(asyncio.get_running_loop().time() + settings.timeout_s)
                    of = f" of {total:g}" if total else ""
                    progress(f"{done:g}{of}{': ' + last_words(message, 200, whole=True) if message else ''}\n")

                result = await client.call_tool(tool, arguments, progress_callback=on_progress)
        except TimeoutError:
            raise ToolError(await self._overdue(tool)) from None
        except Exception as error:
            if _is_closed(error) or self._client is not client:
                if task is not None and self._stop is not None:
                    await asyncio.wait([task], timeout=ANSWER_S)
                raise ToolError(self._lost(tool)) from None
            raise ToolError(f"{tool} of the MCP server {self.name} failed: {self._redact(_told(error))}") from None
        self.deaths = 0
        return result

    async def _ready(self) -> None:
        if self.state in ("idle", "failed") and self.deaths < MOST_DEATHS:
            self.start()
        if self.state == "starting":
            with suppress(TimeoutError):
                await asyncio.wait_for(self.settled(), self._start_s)
        if self.state == "failed":
            raise ToolError(
                f"the MCP server {self.name} is not there: {self.problem}. Go on without it, or tell the user."
            )

    async def _overdue(self, tool: str) -> str:
        """A call has said nothing for too long. One that hangs as a whole is started again."""
        silent = f"{tool} of the MCP server {self.name} said nothing for {self.settings.timeout_s:g} s and was given up"
        client, alive = self._client, False
        if client is not None:
            with suppress(Exception):
                async with asyncio.timeout(min(ANSWER_S, self.settings.timeout_s)):
                    await (
                        client.session.send_ping()
                    ) if client.protocol_version < "2026-07-28" else await client.list_tools()
                    alive = True
        if alive:
            return f"{silent}; what it has done by then is not known"
        self.deaths += 1
        self._tell("mcp_restarted", f"the MCP server {self.name} hangs and is started again")
        await self._again()
        return (
            f"{silent}; the server answers nothing any more and is started again. What the call has done is not known"
        )

    def _lost(self, tool: str) -> str:
        after = "it is started again" if self.deaths < MOST_DEATHS else "it stays down"
        return (
            f"the MCP server {self.name} broke off during {tool} ({self.problem or 'the connection was closed'}); {after}. "
            "What the call has done by then is not known."
        )


async def _taken_as_it_is(_name: str, _result: Any) -> None:
    """A result is text for the model here. The SDK would hold it to the server's own output schema, whose patterns can take for ever."""


def _load() -> None:
    """Import the SDK: half a second, in a thread. Its log would write into the terminal; what matters of it is told otherwise."""
    for name in ("mcp", "client", "httpx2"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    import mcp.client
    import mcp.client.streamable_http  # noqa: F401


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("moa-agent")
    except PackageNotFoundError:
        return "0"


def _is_closed(error: BaseException) -> bool:
    from mcp.shared.exceptions import MCPError
    from mcp_types import CONNECTION_CLOSED

    if isinstance(error, BaseExceptionGroup):
        return any(_is_closed(each) for each in error.exceptions)
    # A server may use the code for errors of its own; the words are the SDK's.
    return isinstance(error, MCPError) and error.code == CONNECTION_CLOSED and error.message == "Connection closed"


def _told(error: BaseException, start_s: float = START_S, settings: ServerSettings | None = None) -> str:
    """An error in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, UsageError):
        return f"{error.message} ({error.remedy})" if error.remedy else error.message
    if isinstance(error, TimeoutError):
        return f"it was not ready within {start_s:g} s"
    if isinstance(error, FileNotFoundError) and settings is not None:
        return (
            f"there is no program {settings.command} on this machine (what lies in the project itself is not started)"
        )
    return last_words(str(error) or type(error).__name__, 400, whole=True)
