"""What the app does beside wiring: dialogs, the clipboard, themes, notifications, the first run. Each imports its own when it is needed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from agent.chat.events import Action, Shown
from agent.config.paths import Paths
from agent.errors import StateError, UsageError
from agent.forms import EditFile
from agent.text.numbers import plural
from agent.ui.ready import missing, why_lead
from agent.ui.settings import UiSettings, read, read_section

if TYPE_CHECKING:
    from textual.driver import Driver

    from agent.chat.chat import Chat
    from agent.chat.events import ChatEvent, Inquired, Settled
    from agent.events import TurnFinished
    from agent.forms import Answer
    from agent.host import Host
    from agent.llm.messages import ImagePart
    from agent.local.source import Progress
    from agent.ui.tui.app import ChatApp

# Settings


def early_settings() -> UiSettings:
    """The [ui] section before the rest is read, so that the first frame has the right colours. What is wrong with it is said later."""
    from agent.config.toml import load

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


def driver_class(chosen: type[Driver]) -> type[Driver]:
    """The driver to use where Textual would use `chosen`: our own for a terminal on POSIX."""
    if chosen.__name__ != "LinuxDriver":
        return chosen
    from agent.ui.tui.driver import TerminalDriver

    return TerminalDriver


def abandon_terminal(app: ChatApp) -> None:
    """Give the terminal back as the process is ended out of order."""
    if (abandon := getattr(app._driver, "abandon", None)) is not None:
        abandon()


def terminal_lost(app: ChatApp) -> bool:
    """Whether nobody can read what is printed any more."""
    return bool(getattr(app._driver, "lost", False))


# The clipboard


def clipboard_reader() -> Callable[[], ImagePart | str | None] | None:
    """What Ctrl+V reads, where something can be read."""
    from agent.ui.read_clipboard import reader

    return reader()


def copy(app: ChatApp, text: str) -> None:
    """Put a text on the clipboard and say how that went."""
    from agent.ui import clipboard

    # Textual's own copy writes to the driver, too; there is no public way.
    write = app._driver.write if app._driver is not None else None

    async def work() -> None:
        app.notify(str(await clipboard.copy(text, write)), timeout=3, markup=False)

    app.run_worker(work(), group="copy", exit_on_error=False)


def tell_end(app: ChatApp, event: TurnFinished) -> None:
    """A long turn is over: say so to somebody who looks elsewhere."""
    if event.duration_s < app.settings.notify_after_s or app._driver is None:
        return
    from agent.ui import notify

    words = " ".join((event.error.message if event.error else event.text).split()) or event.status
    title = "moa" if event.status == "done" else f"moa: {event.status}"
    if sequence := notify.sequence(title, words, app.settings.notify):
        app._driver.write(sequence)


# What commands ask of a face


def act(app: ChatApp, event: Action) -> None:
    """Carry out an `Action`."""
    from agent.ui.tui.composer.composer import Composer

    match event.name:
        case "copy":
            app.copy_to_clipboard(event.text)
        case "theme":
            _theme(app, event.text)
        case "resume":
            app.run_worker(_resume(app), group="resume", exclusive=True, exit_on_error=False)
        case "compose":
            app.query_one(Composer).take_back([event.text])
        case "setup":
            app.run_worker(_setup(app, event.text), group="first run", exclusive=True, exit_on_error=False)
        case "quit":
            app.run_worker(app.action_quit(), exit_on_error=False)


def inquire(app: ChatApp, event: Inquired) -> None:
    """Put a command's form to the user, and give it the answer."""
    app.run_worker(_inquire(app, event), group="form", exit_on_error=False)


async def _inquire(app: ChatApp, event: Inquired) -> None:
    chat = app.chat
    answer: Answer = None
    try:
        if isinstance(event.form, EditFile):
            from agent.ui.tui.composer.external import edit_file

            answer = () if await edit_file(app, event.form.path) else None
        else:
            from agent.ui.tui.dialogs.choices import ChoicesScreen

            answer = await app.push_screen_wait(ChoicesScreen(event.form, event.id))
    except UsageError as error:
        app.notify(f"{error.message}; {error.remedy}", severity="warning", markup=False)
    finally:
        chat.reply(event.id, answer)


def settle(app: ChatApp, event: Settled) -> None:
    """A form that is answered, or whose command was stopped, need not be shown."""
    from agent.ui.tui.dialogs.choices import ChoicesScreen

    if isinstance(app.screen, ChoicesScreen) and app.screen.inquiry == event.id:
        app.screen.dismiss(None)


async def _setup(app: ChatApp, line: str) -> None:
    if await first_run(app, app.chat, why_lead(app.chat.host)) and line:
        app.submit(line)


def is_session_list(event: ChatEvent) -> bool:
    """The list that stands before the picker with the same list."""
    return isinstance(event, Shown) and event.command.strip() == "/resume"


async def _resume(app: ChatApp) -> None:
    import time

    from agent.session.index import line, summaries
    from agent.ui.tui.dialogs.picker import Item, Picker

    host = app.chat.host
    found = await asyncio.to_thread(summaries, host.config.paths.sessions, 200)
    items = [
        Item(
            one.id,
            line(one.name or one.first or "(nothing said)", 76),
            f"{time.strftime('%d %b %H:%M', time.localtime(one.changed))}, {plural(one.messages, 'message')}, {one.id}",
        )
        for one in found
        if one.id != host.agent.session.id and (one.messages or one.name)
    ]
    if not items:
        app.notify("There is no other session yet", markup=False)
        return
    chosen = await app.push_screen_wait(Picker("Resume a session", items))
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
    from agent.config.edit import set_value

    try:
        await asyncio.to_thread(set_value, app.chat.host.config.paths.config_file, ("ui", "theme"), theme)
    except (UsageError, StateError) as error:
        app.notify(f"The theme is not remembered: {error.message}", severity="warning", markup=False)


# The conversation as a whole


def whole_transcript(app: ChatApp) -> None:
    """Show all of it in full, the newest first in view."""
    from agent.ui.tui.dialogs.full_text import FullText
    from agent.ui.tui.transcript.transcript import Transcript
    from agent.ui.tui.transcript.whole import whole

    if isinstance(app.screen, FullText):
        return
    text = whole(app.query_one(Transcript).items, app.size.width - 3)
    if text:
        app.push_screen(FullText(text, at_end=True))
    else:
        app.notify("Nothing was said yet", markup=False)


def next_mode(app: ChatApp) -> None:
    """Take the next approval mode, and say what it means."""
    from agent.approval.approval import MODES, next_mode

    approvals = app.chat.host.agent.tools.approvals
    approvals.mode = next_mode(approvals.mode)
    severity: Literal["information", "warning"] = "warning" if approvals.mode == "all" else "information"
    app.clear_notifications()
    app.notify(f"{approvals.mode}: {MODES[approvals.mode]}", timeout=3, severity=severity, markup=False)


def go_back(app: ChatApp) -> None:
    """Let the user choose an earlier message, and go back behind it."""
    app.run_worker(_go_back(app), group="back", exclusive=True, exit_on_error=False)


async def _go_back(app: ChatApp) -> None:
    from agent.slash.undo import files_since, places
    from agent.ui.tui.dialogs.picker import Item, Picker

    host = app.chat.host
    app.clear_notifications()
    found = places(host.agent.session)
    if not found:
        app.notify("There is no earlier message yet", markup=False)
        return
    items = [Item(str(place.number), " ".join(place.text.split()) or "(an image)") for place in found]
    chosen = await app.push_screen_wait(Picker("Go back to a message, and change it", items))
    if chosen is None:
        return
    touched = await asyncio.to_thread(files_since, host, int(chosen))
    word = ""
    if touched and (touched.restore or touched.changed or touched.lost):
        show = host.agent.tools.context.show
        ways = [Item("conversation", "The conversation alone", "files stay as they are")]
        if touched.restore:
            names = ", ".join(show(change.path) for change in touched.restore)
            ways.insert(0, Item("keep", "The conversation and the files", f"restored: {names}"))
        others = ", ".join(show(change.path) for change in (*touched.changed, *touched.lost))
        title = "What should be undone?" + (f" (changed since, and stays: {others})" if others else "")
        way = await app.push_screen_wait(Picker(title, ways, filter=False))
        if way is None:
            return
        word = f" {way}"
    app.submit(f"/undo {chosen}{word}")


def note(app: ChatApp, text: str) -> None:
    """Ask where a line for AGENTS.md belongs, and add it there."""
    if app.chat_is_open:
        app.run_worker(_note(app, text), group="note", exit_on_error=False)
    else:
        from agent.ui.tui.composer.composer import Composer

        app.query_one(Composer).take_back([text])


async def _note(app: ChatApp, text: str) -> None:
    from agent.chat.remember import add, places
    from agent.ui.tui.composer.composer import Composer
    from agent.ui.tui.dialogs.picker import Item, Picker

    host = app.chat.host
    found = {place.id: place for place in places(host)}
    show = host.agent.tools.context.show
    items = [Item(place.id, f"Add it to {show(place.path)}", place.about) for place in found.values()]
    items.append(Item("message", "Send it as a message"))
    chosen = await app.push_screen_wait(
        Picker("A line for AGENTS.md? A new conversation begins with it", items, filter=False)
    )
    if chosen == "message":
        app.submit(text)
    elif chosen is None:
        app.query_one(Composer).take_back([text])
    else:
        try:
            await asyncio.to_thread(add, host, found[chosen], text)
        except (UsageError, StateError) as error:
            app.query_one(Composer).take_back([text])
            app.notify(f"{error.message}; {error.remedy}", severity="error", markup=False)
            return
        app.notify(f"Added to {show(found[chosen].path)}", timeout=3, markup=False)


# Side work


def inspect(app: ChatApp, group: str | None) -> None:
    """Open the inspector at a group, or at the newest."""
    from agent.ui.tui.counsel.inspector import Inspector

    if not app.work_log.inspectable():
        app.notify("Nothing ran beside the main model in this session yet", markup=False)
        return
    app.push_screen(Inspector(app.work_log, app.chat.view, group))


def fetching(app: ChatApp, progress: Progress) -> None:
    """A local model comes: how far it is stands in the model's place."""
    from agent.ui.tui.status import StatusLine

    share = f" {progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB" if progress.total else ""
    app.query_one(StatusLine).show(model=f"{progress.step}{share}")


# Before anything is sent


async def agreed(app: ChatApp, chat: Chat, line: str) -> bool:
    """Whether a line may be sent: what it discloses was seen and agreed to. Asks where it was not; to be awaited in a worker."""
    from agent.chat.disclosure import agree, pending
    from agent.commands import CommandContext, Said

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
    from agent.ui.tui.dialogs.consent import Consent

    decision = await app.push_screen_wait(Consent(told.view, without=bool(disclosure.off)))
    if decision == "yes":
        await asyncio.to_thread(agree, disclosure, state)
    elif decision == "without":
        await chat.submit(disclosure.off)
    return decision != "back"


async def first_run(app: ChatApp, chat: Chat, why: str) -> bool:
    """Lead to a model, and open the chat anew with it; False where the user only wants to look around."""
    from agent.ui.tui.dialogs.first_run import FirstRun

    host = chat.host
    model = await app.push_screen_wait(
        FirstRun(host.config, host.agent.ledger, missing=why, present=missing(host) is None)
    )
    if model is not None:
        await chat.renew(model)
    return model is not None
