"""What an editor asks for, answered by one `Chat` a session."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import acp
from acp import helpers, schema

from agent import events
from agent.approval.approval import MODES, ApprovalRequest, UserAnswer, parse_mode
from agent.build import build
from agent.chat.chat import Chat
from agent.chat.events import Action, Answered, Asked, ChatEvent, Inquired, Opened, Refused, Settled, Shown
from agent.errors import StateError, UsageError
from agent.forms import Choices
from agent.host import Host, Options
from agent.llm.messages import ImagePart
from agent.session.index import summaries
from agent.text.cleaning import harmless, visible
from agent.text.images import KINDS, media_type_of
from moa import __version__
from moa.acp.updates import Updates, cleaned, commands

if TYPE_CHECKING:
    from agent.views import View

STOPS: dict[str, schema.StopReason] = {"interrupted": "cancelled", "limit": "max_turn_requests"}
OPTIONS = (
    schema.PermissionOption(option_id="once", name="Allow", kind="allow_once"),
    schema.PermissionOption(option_id="session", name="Allow for this session", kind="allow_always"),
    schema.PermissionOption(option_id="no", name="Reject", kind="reject_once"),
)
MOST_LISTED = 100
MOST_RULE = 200
"""Characters of a rule in the name of an answer."""


class Conversation:
    """One session of the editor's. Updates leave in the order of the events; a question waits until what came before it has left."""

    def __init__(self, conn: acp.Client, options: Options, render: Callable[[View], str]) -> None:
        assert options.cwd is not None
        self.id = ""
        self._conn = conn
        self._render = render
        self._updates = Updates(options.cwd, lambda name: self.chat.host.agent.tools.kind(name))
        self._out: asyncio.Queue[Any] = asyncio.Queue()
        self._questions: dict[str, asyncio.Task[None]] = {}
        self._ended: events.TurnFinished | None = None
        self._replays = False
        self.opened: Opened | None = None
        self.chat = Chat(self._build, options, self._listen)
        self._sender = asyncio.create_task(self._send())

    def open(self) -> None:
        """Open it. Raises UsageError, StateError."""
        self.chat.open()
        assert self.opened is not None
        self.id = self.opened.session

    def replay(self) -> None:
        """Tell the editor what was said in it before."""
        assert self.opened is not None
        for update in self._updates.history(self.opened.history[1:]):
            self.put(update)

    async def offer(self) -> None:
        """Tell the editor the slash commands; what is found while they are collected is told, too."""
        self.put(commands(self.chat.host.commands.commands))
        await self.told()

    async def prompt(self, text: str, images: list[ImagePart]) -> schema.PromptResponse:
        """One line of the user's, to its end: of a goal, that of its last turn."""
        self._ended = None
        await self.chat.submit(text, images)
        await self.chat.idle()
        ended = self._ended
        if ended is not None and ended.error is not None and ended.status != "interrupted":
            remedy = f"\n{ended.error.remedy}" if ended.error.remedy else ""
            self.put(helpers.update_agent_message_text(f"\n{ended.error.message}{remedy}\n"))
        await self.told()
        if ended is None:
            return schema.PromptResponse(stop_reason="end_turn")
        refused = ended.error is not None and ended.error.kind == "refusal"
        usage = ended.usage
        return schema.PromptResponse(
            stop_reason="refusal" if refused else STOPS.get(ended.status, "end_turn"),
            usage=schema.Usage(
                total_tokens=usage.total,
                input_tokens=usage.prompt,
                output_tokens=usage.completion,
                thought_tokens=usage.reasoning,
                cached_read_tokens=usage.cached,
                cached_write_tokens=usage.cache_write,
            ),
            field_meta={
                "moa": {"status": ended.status, "cost_usd": ended.cost.usd, "lower_bound": ended.cost.lower_bound}
            },
        )

    async def told(self) -> None:
        """Wait until the editor has been sent everything."""
        await self._out.join()

    async def aclose(self) -> None:
        """Stop what runs and close the session."""
        try:
            await self.chat.aclose()
        finally:
            self._sender.cancel()

    def abandon(self) -> None:
        """It could not be opened."""
        self._sender.cancel()

    def _build(self, options: Options) -> Host:
        return build(
            options, notice=lambda code, text: self._listen(events.Notice(level="warning", code=code, text=text))
        )

    def put(self, update: Any) -> None:
        """Tell the editor something, after all that waits to be told."""
        self._out.put_nowait(update)

    async def _send(self) -> None:
        while True:
            update = await self._out.get()
            try:
                if update is not None:
                    await self._conn.session_update(session_id=self.id, update=cleaned(update))
            except Exception:  # an editor that has gone ends the program by its closed pipe, not by this
                pass
            finally:
                self._out.task_done()

    def _listen(self, event: ChatEvent) -> None:
        match event:
            case Opened():
                self.opened = event
            case Asked():
                self._questions[event.id] = asyncio.create_task(self._ask(event))
            case Answered():
                task = self._questions.pop(event.id, None)
                if event.answer is None and task is not None:
                    task.cancel()
            case Inquired(form=Choices() as form) if not form.ticks:
                self._questions[event.id] = asyncio.create_task(self._choose(event.id, form))
            case Settled():
                if (task := self._questions.pop(event.id, None)) is not None:
                    task.cancel()
            case Inquired():
                text = "This command asks for more than an editor can show; use it in the terminal (`moa`), or give it arguments.\n"
                self.put(helpers.update_agent_message_text(text))
                asyncio.get_running_loop().call_soon(self.chat.reply, event.id, None)
            case Shown():
                self.put(helpers.update_agent_message_text(f"{self._render(event.view)}\n"))
            case Refused():
                remedy = f"\n{event.remedy}" if event.remedy else ""
                self.put(helpers.update_agent_message_text(f"{event.message}{remedy}\n"))
            case Action():
                if event.name not in ("compose", "quit"):
                    self.put(helpers.update_agent_message_text(f"`{event.name}` is for the terminal.\n"))
            case events.TurnFinished():
                self._ended = event
            case _:
                for update in self._updates.of(event):
                    self.put(update)

    async def _ask(self, asked: Asked) -> None:
        request = asked.request
        await self.told()
        call = self._updates.permission(request)
        try:
            answer = await self._conn.request_permission(session_id=self.id, tool_call=call, options=_options(request))
        except asyncio.CancelledError:
            raise
        except Exception as problem:
            self.chat.answer(asked.id, UserAnswer("no", f"the editor could not ask the user: {problem}"))
            return
        self.chat.answer(asked.id, _verdict(answer))

    async def _choose(self, inquiry: str, form: Choices) -> None:
        """A form of single answers as a question of the editor's; the first is the one that changes nothing."""
        await self.told()
        view = [self._render(form.view)] if form.view is not None else []
        content = [helpers.tool_content(helpers.text_block("\n".join(filter(None, [form.text, *view]))))]
        call = schema.ToolCallUpdate(
            tool_call_id=inquiry, title=form.title, kind="think", status="pending", content=content
        )
        options = [
            schema.PermissionOption(
                option_id=choice.id,
                name=f"{choice.label} ({choice.note})" if choice.note else choice.label,
                kind="allow_once" if at else "reject_once",
            )
            for at, choice in enumerate(form.choices)
        ]
        chosen = ""
        try:
            shown = cleaned(call, visible)
            answer = await self._conn.request_permission(session_id=self.id, tool_call=shown, options=options)
            chosen = getattr(answer.outcome, "option_id", "")
        except asyncio.CancelledError:
            raise
        except Exception:
            chosen = ""  # an editor that can't ask: it is as if the user wanted none of it
        self.chat.reply(inquiry, (chosen,) if chosen else None)


class EditorAgent:
    """An `acp.Agent`: sessions by id. `options` hold for each of them, but for its folder."""

    def __init__(self, options: Options, render: Callable[[View], str]) -> None:
        self._options = options
        self._render = render
        self._conn: acp.Client | None = None
        self._open: dict[str, Conversation] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def on_connect(self, conn: acp.Client) -> None:
        """The editor is there."""
        self._conn = conn

    async def initialize(self, protocol_version: int, **_more: Any) -> schema.InitializeResponse:
        """Protocol v1, whatever newer one the editor asks for."""
        return schema.InitializeResponse(
            protocol_version=min(protocol_version, acp.PROTOCOL_VERSION) or acp.PROTOCOL_VERSION,
            agent_info=schema.Implementation(name="moa", title="moa", version=__version__),
            agent_capabilities=schema.AgentCapabilities(
                load_session=True,
                prompt_capabilities=schema.PromptCapabilities(image=True, embedded_context=True),
                session_capabilities=schema.SessionCapabilities(list=schema.SessionListCapabilities()),
            ),
        )

    async def authenticate(self, method_id: str, **_more: Any) -> None:
        """Nothing to do: keys are set where they are for the terminal."""

    async def new_session(self, cwd: str, **more: Any) -> schema.NewSessionResponse:
        """A new conversation in a folder."""
        conversation = self._begin(_folder(cwd), None)
        self._later(conversation, bool(more.get("mcp_servers")))
        return schema.NewSessionResponse(session_id=conversation.id, modes=_modes(conversation))

    async def load_session(self, cwd: str, session_id: str, **more: Any) -> schema.LoadSessionResponse:
        """A conversation of an earlier day, told again; one made in the terminal will do."""
        folder = _folder(cwd)
        if not session_id:
            raise acp.RequestError.invalid_params({"message": "the session's id is empty"})
        if (old := self._open.pop(session_id, None)) is not None:
            await old.aclose()
        conversation = self._begin(folder, session_id)
        conversation.replay()
        await conversation.told()
        self._later(conversation, bool(more.get("mcp_servers")))
        return schema.LoadSessionResponse(modes=_modes(conversation))

    async def list_sessions(self, cwd: str | None = None, **_more: Any) -> schema.ListSessionsResponse:
        """The newest conversations."""
        from agent.config.paths import Paths

        folder = Paths.from_env(os.environ).sessions
        found = await asyncio.to_thread(summaries, folder)
        return schema.ListSessionsResponse(
            sessions=[
                schema.SessionInfo(
                    session_id=each.id, cwd=cwd or str(Path.cwd()), title=harmless(each.name or each.first[:80]) or None
                )
                for each in found[:MOST_LISTED]
            ]
        )

    async def set_session_mode(self, session_id: str, mode_id: str, **_more: Any) -> schema.SetSessionModeResponse:
        """What runs without asking."""
        try:
            mode = parse_mode(mode_id, source="mode")
        except UsageError as error:
            raise _refused(error) from error
        self._of(session_id).chat.host.agent.tools.approvals.mode = mode
        return schema.SetSessionModeResponse()

    async def prompt(self, session_id: str, prompt: list[Any], **_more: Any) -> schema.PromptResponse:
        """A message, or a slash command."""
        conversation = self._of(session_id)
        text, images = _entered(prompt)
        if not text.strip() and not images:
            raise acp.RequestError.invalid_params({"message": "the prompt is empty"})
        return await conversation.prompt(text, images)

    async def cancel(self, session_id: str, **_more: Any) -> None:
        """Stop what runs; its prompt ends with `cancelled`."""
        if (conversation := self._open.get(session_id)) is not None:
            conversation.chat.stop()

    async def close_session(self, session_id: str, **_more: Any) -> schema.CloseSessionResponse:
        """Stop what runs and close it."""
        if (conversation := self._open.pop(session_id, None)) is not None:
            await conversation.aclose()
        return schema.CloseSessionResponse()

    async def ext_method(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """None are known."""
        raise acp.RequestError.method_not_found(method)

    async def ext_notification(self, method: str, params: dict[str, Any]) -> None:
        """None are known."""

    async def aclose(self) -> None:
        """The editor has gone: end everything."""
        for conversation in self._open.values():
            with suppress(Exception):
                await conversation.aclose()

    def _begin(self, cwd: Path, session: str | None) -> Conversation:
        assert self._conn is not None
        options = replace(self._options, cwd=cwd, session=session or self._options.session, resume_latest=False)
        conversation = Conversation(self._conn, options, self._render)
        try:
            conversation.open()
        except (UsageError, StateError) as error:
            conversation.abandon()
            raise _refused(error) from error
        self._open[conversation.id] = conversation
        return conversation

    def _later(self, conversation: Conversation, servers: bool) -> None:
        """After the answer: editors know a session only once they have its id."""

        async def tell() -> None:
            await conversation.offer()
            if servers:
                text = "The editor's MCP servers are not passed on; name those that you want under [mcp.servers] in config.toml.\n"
                conversation.put(helpers.update_agent_thought_text(text))

        def start() -> None:
            task = asyncio.create_task(tell())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        asyncio.get_running_loop().call_later(0.05, start)

    def _of(self, session_id: str) -> Conversation:
        conversation = self._open.get(session_id)
        if conversation is None:
            raise acp.RequestError.invalid_params({"message": f"there is no open session {session_id}"})
        return conversation


def _options(request: ApprovalRequest) -> list[schema.PermissionOption]:
    """The answers that can be given; what "for this session" would allow is said."""
    rule = visible(request.rule)
    remembered = f"Allow for this session: {rule if len(rule) <= MOST_RULE else rule[:MOST_RULE] + '…'}"
    return [each.model_copy(update={"name": remembered}) if each.option_id == "session" else each for each in OPTIONS]


def _verdict(answer: schema.RequestPermissionResponse) -> UserAnswer:
    match getattr(answer.outcome, "option_id", ""):
        case "once":
            return UserAnswer("once")
        case "session":
            return UserAnswer("session")
        case _:
            return UserAnswer("no")


def _modes(conversation: Conversation) -> schema.SessionModeState:
    return schema.SessionModeState(
        current_mode_id=conversation.chat.host.agent.tools.approvals.mode,
        available_modes=[schema.SessionMode(id=mode, name=mode, description=text) for mode, text in MODES.items()],
    )


def _refused(error: UsageError | StateError) -> acp.RequestError:
    about = {"message": visible(error.message), "remedy": visible(error.remedy or "")}
    if error.kind == "unknown_session":  # a client that hears so begins a new one: nothing was said in its own yet
        return acp.RequestError(-32002, "Resource not found", about)
    return acp.RequestError.invalid_params(about)


def _folder(cwd: str) -> Path:
    """The folder of a session, as the protocol has it: absolute. A relative one would be beside wherever the editor started us."""
    if not Path(cwd).is_absolute():
        raise acp.RequestError.invalid_params({"message": f"cwd {visible(cwd)[:200]!r} is not an absolute path"})
    return Path(cwd)


def _image(data: str) -> ImagePart:
    if (kind := media_type_of(data)) is None:
        raise acp.RequestError.invalid_params({"message": f"an image is no {KINDS} in base64"})
    return ImagePart(media_type=kind, data=data)


def _entered(blocks: list[Any]) -> tuple[str, list[ImagePart]]:
    """The blocks of a prompt as a text with what it embeds, and its images."""
    texts: list[str] = []
    images: list[ImagePart] = []
    for block in blocks:
        match block:
            case schema.TextContentBlock():
                texts.append(block.text)
            case schema.ImageContentBlock():
                images.append(_image(block.data))
            case schema.ResourceContentBlock():
                texts.append(block.uri.removeprefix("file://"))
            case schema.EmbeddedResourceContentBlock() if isinstance(block.resource, schema.TextResourceContents):
                texts.append(f"\n{block.resource.uri.removeprefix('file://')}:\n```\n{block.resource.text}\n```\n")
            case _:
                texts.append("(something that can't be read here)")
    return "".join(texts), images
