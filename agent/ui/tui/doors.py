"""What the app does beside wiring: dialogs, the clipboard, themes, notifications, the first run. Each imports its own when it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.chatevents import Action, Shown
from agent.config import Paths
from agent.errors import StateError, UsageError
from agent.uisettings import UiSettings, read, read_section

if TYPE_CHECKING:
    from agent.chat import Chat
    from agent.chatevents import ChatEvent
    from agent.events import TurnFinished
    from agent.host import Host
    from agent.llm.messages import ImagePart
    from agent.local.fetch import Progress
    from agent.ui.tui.app import ChatApp

# Settings


def early_settings() -> UiSettings:
    """The [ui] section before the rest is read, so that the first frame has the right colours. What is wrong with it is said later."""
    from agent.toml import load

    file = Paths.from_env(os.environ).config_file
    try:
        section = load(file).get("ui", {})
        return read_section(section if isinstance(section, dict) else {}, file)
    except UsageError:
        return UiSettings()


def settle_in(app: ChatApp, host: Host) -> None:
    """Follow the [ui] section. Raises UsageError where it is wrong."""
    app.settings = read(host.config)
    try:
        dress(app)
    except UsageError as error:
        file = host.config.paths.config_file
        raise UsageError(f"{file}: ui.theme: {error.message}", remedy=error.remedy, kind=error.kind) from None


def dress(app: ChatApp) -> None:
    """Theme and motion, as the settings have them."""
    from agent.ui.tui.themes import check

    if app.settings.theme is not None:
        app.theme = check(app, app.settings.theme)
    if app.settings.reduced_motion:
        app.animation_level = "none"


def end_with_terminal(app: ChatApp) -> None:
    """A terminal that is closed, or a polite kill, ends the program in order: the session is kept, children are ended."""
    loop = asyncio.get_running_loop()
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None:
            with contextlib.suppress(NotImplementedError, ValueError):  # Windows; not the main thread
                loop.add_signal_handler(number, lambda: app.run_worker(app.action_quit(), exit_on_error=False))


# The clipboard


def clipboard_reader() -> Callable[[], ImagePart | str | None] | None:
    """What Ctrl+V reads, where something can be read."""
    from agent.pasteboard import reader

    return reader()


def copy(app: ChatApp, text: str) -> None:
    """Put a text on the clipboard and say how that went."""
    from agent import clipboard

    # Textual's own copy writes to the driver, too; there is no public way.
    write = app._driver.write if app._driver is not None else None

    async def work() -> None:
        app.notify(str(await clipboard.copy(text, write)), timeout=3, markup=False)

    app.run_worker(work(), group="copy", exit_on_error=False)


def tell_end(app: ChatApp, event: TurnFinished) -> None:
    """A long turn is over: say so to somebody who looks elsewhere."""
    if event.duration_s < app.settings.notify_after_s or app._driver is None:
        return
    from agent import notify

    words = " ".join((event.error.message if event.error else event.text).split()) or event.status
    title = "moa" if event.status == "done" else f"moa: {event.status}"
    if sequence := notify.sequence(title, words, app.settings.notify):
        app._driver.write(sequence)


# What commands ask of a face


def act(app: ChatApp, event: Action) -> None:
    """Carry out an `Action`."""
    from agent.ui.tui.composer import Composer

    match event.name:
        case "copy":
            app.copy_to_clipboard(event.text)
        case "theme":
            _theme(app, event.text)
        case "resume":
            app.run_worker(_resume(app), group="resume", exclusive=True, exit_on_error=False)
        case "compose":
            app.query_one(Composer).take_back([event.text])
        case "quit":
            app.run_worker(app.action_quit(), exit_on_error=False)


def is_session_list(event: ChatEvent) -> bool:
    """The list that stands before the picker with the same list."""
    return isinstance(event, Shown) and event.command.strip() == "/resume"


async def _resume(app: ChatApp) -> None:
    import time

    from agent.sessionlist import summaries
    from agent.ui.tui.picker import Item, Picker

    host = app.chat.host
    found = await asyncio.to_thread(summaries, host.config.paths.sessions, 200)
    items = [
        Item(
            one.id,
            one.name or one.first or "(nothing said)",
            f"{time.strftime('%d %b %H:%M', time.localtime(one.changed))}, {one.messages} messages, {one.id}",
        )
        for one in found
        if one.id != host.agent.session.id
    ]
    if not items:
        app.notify("There is no other session yet", markup=False)
        return
    chosen = await app.push_screen_wait(Picker("Go on with a session", items))
    if chosen is not None:
        app.submit(f"/resume {chosen}")


def _theme(app: ChatApp, name: str) -> None:
    from agent.ui.tui.themes import ThemePicker, check

    def chosen(theme: str | None) -> None:
        if theme is None:
            return
        app.theme = theme
        app.run_worker(_remember_theme(app, theme), group="theme", exclusive=True, exit_on_error=False)

    if not name:
        app.push_screen(ThemePicker(app), chosen)
        return
    try:
        chosen(check(app, name))
    except UsageError as error:
        app.notify(f"{error.message}; {error.remedy}", severity="warning", markup=False)


async def _remember_theme(app: ChatApp, theme: str) -> None:
    from agent.configfile import set_value

    try:
        await asyncio.to_thread(set_value, app.chat.host.config.paths.config_file, ("ui", "theme"), theme)
    except (UsageError, StateError) as error:
        app.notify(f"The theme is not remembered: {error.message}", severity="warning", markup=False)


# Side work


def inspect(app: ChatApp, group: str | None) -> None:
    """Open the inspector at a group, or at the newest."""
    from agent.ui.tui.inspector import Inspector

    if not app.work_log.inspectable():
        app.notify("No counsel was taken in this session yet", markup=False)
        return
    app.push_screen(Inspector(app.work_log, group))


def fetching(app: ChatApp, progress: Progress) -> None:
    """A local model comes: how far it is stands in the model's place."""
    from agent.ui.tui.status import StatusLine

    share = f" {progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB" if progress.total else ""
    app.query_one(StatusLine).show(model=f"{progress.step}{share}")


# Before anything is sent


async def agreed(app: ChatApp, chat: Chat, line: str) -> bool:
    """Whether a line may be sent: what it discloses was seen and agreed to. Asks where it was not; to be awaited in a worker."""
    from agent.commands import CommandContext, Said
    from agent.disclosure import agree, pending

    host, state = chat.host, chat.host.config.paths.state
    disclosure = await asyncio.to_thread(pending, host.plugins, line, state)
    if disclosure is None:
        return True
    context = CommandContext(session=host.agent.session, emit=lambda _event: None, busy=chat.busy)
    try:
        told = await host.commands.run(disclosure.command, context)
    except (UsageError, StateError):
        return True  # what is wrong with it the turn says, and sends nothing
    if not isinstance(told, Said):
        return True
    from agent.ui.tui.consent import Consent

    decision = await app.push_screen_wait(Consent(told.view, without=bool(disclosure.off)))
    if decision == "yes":
        await asyncio.to_thread(agree, disclosure, state)
    elif decision == "without":
        await chat.submit(disclosure.off)
    return decision != "back"


def is_message(chat: Chat, line: str) -> bool:
    """Whether a line is for the model: no command, and none of the user's own shell."""
    try:
        return not line.startswith("!") and chat.host.commands.parse(line) is None
    except UsageError:
        return False


def missing(host: Host) -> str | None:
    """Why there is no model to talk to, in words; empty where nothing is set up at all; None where there is one."""
    error = host.model_error
    if error is None:
        try:
            host.agent.client.require_key(host.agent.model.endpoint)
        except UsageError as problem:
            return f"{host.agent.model} can't be called yet: {problem.message}."
        return None
    return "" if error.kind == "no_model" else f"{error.message}."


async def first_run(app: ChatApp, chat: Chat, why: str) -> bool:
    """Lead to a model, and open the chat anew with it; False where the user only wants to look around."""
    from agent.ui.tui.firstrun import FirstRun

    old = chat.host
    if await app.push_screen_wait(FirstRun(old.config, old.agent.ledger, missing=why)) is None:
        return False
    chat.open()
    await old.aclose()
    return True
