"""`moa preset edit | remove | import | export`: a preset as one file that people change, hand on and take over."""

from __future__ import annotations

import os
import shlex
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from agent.admin import sessions
from agent.admin.report import Report
from agent.config.config import Config
from agent.errors import StateError, UsageError
from agent.llm.request import ModelRef
from agent.process import children
from agent.process.folder import here
from agent.views import MarkdownView, TableView, TabsView
from moa import preflight
from moa.preset.preset import Preset
from moa.store import reading, store

MOST_BYTES = 256 * 1024
"""A preset of more than this is none: it is refused before it is read."""
DRAFT = ".draft"
"""Behind the name of a file that an editor left wrong: it is gone on with, and nothing is armed with it."""


async def edit(name: str) -> Report:
    """`edited`, with the user's settings and $VISUAL or $EDITOR."""
    config = sessions.configuration()
    return await edited(
        name, config.paths.config, config.trusted_project(here()), lambda path: _run_editor(path, os.environ)
    )


async def edited(
    name: str,
    config_dir: Path,
    project_dir: Path | None,
    run_editor: Callable[[Path], Awaitable[None]],
    *,
    verbs: str = "moa preset",
) -> Report:
    """Open a preset of the user's in an editor, and take it over where it can be read; a shipped one is copied first.

    `verbs`: what the commands on presets begin with where this is asked.

    Raises UsageError, with the place of what was written, where it can't.
    """
    own = config_dir / "presets" / f"{name}.toml"
    draft = own.with_name(own.name + DRAFT)
    found = store.locate(name, config_dir=config_dir, project_dir=project_dir)
    before = store.text_at(found.path)
    if not draft.exists():
        store.write(draft, before)
    await run_editor(draft)
    text = store.text_at(draft)
    try:
        reading.read(text, name=name, path=draft)
    except UsageError as error:
        remedy = f"{error.remedy}; what you wrote is kept, and `{verbs} edit {name}` opens it again"
        raise UsageError(error.message, remedy=remedy, kind=error.kind) from None
    draft.unlink()
    if text == before:
        return Report(MarkdownView(text=f"{found.path} is as it was."), {"file": str(found.path), "changed": False})
    store.write(own, text)
    said = f"{own} is saved" + ("" if found.path == own else f"; it comes before the {found.origin} preset")
    return Report(MarkdownView(text=f"{said}. `{verbs} check {name}` tries it."), {"file": str(own), "changed": True})


async def _run_editor(path: Path, env: Mapping[str, str]) -> None:
    command = env.get("VISUAL") or env.get("EDITOR")
    if not command:
        raise UsageError(
            "no editor is named in VISUAL or EDITOR", remedy=f"set EDITOR, or edit {path} yourself", kind="no_editor"
        )
    words = [*shlex.split(command), str(path)]
    try:
        # It has the terminal for itself, so it inherits all three streams and stays in our process group.
        editor = await children.start(
            words, env=children.environment("editor"), stdin=None, stdout=None, stderr=None, new_session=False
        )
    except OSError as error:
        raise UsageError(f"the editor {words[0]} can't be started: {error.strerror}", remedy="set EDITOR") from None
    if code := await editor.wait():
        raise UsageError(
            f"the editor {words[0]} ended with {code}; nothing was changed", remedy=f"your edits are in {path}"
        )


def remove(name: str) -> Report:
    """Take a preset of the user's away. Raises UsageError for one that is not the user's, or that config.toml arms."""
    config = sessions.configuration()
    return removed(name, config, config.trusted_project(here()))


def removed(name: str, config: Config, project: Path | None) -> Report:
    """The same, for a project's folder that is known."""
    found = store.find(config.paths.config, project).get(name)
    if found is None:
        raise store.unknown(name, sorted(store.find(config.paths.config, project)))
    if found.origin != "user":
        ships = {"shipped": "ships with the program", "project": "belongs to the project"}[found.origin]
        raise UsageError(
            f"{name} {ships} ({found.path})", remedy="only presets of your own can be removed", kind="preset"
        )
    named = config.plugins.get("moa", {}).get("preset")
    if named == name and not found.shadowed:
        raise UsageError(
            f"{config.paths.config_file}: moa.preset is {name!r}", remedy="name another one there first", kind="preset"
        )
    try:
        found.path.unlink()
    except OSError as error:
        raise StateError(f"{found.path} can't be removed: {error.strerror}", remedy="check the folder") from None
    left = f" From now on {name} is the {found.shadowed[0]} one." if found.shadowed else ""
    return Report(
        MarkdownView(text=f"{found.path} is gone.{left}"), {"file": str(found.path), "now": [*found.shadowed[:1]]}
    )


def export(name: str) -> Report:
    """A preset's file as it stands: a whole stack in one file, to be handed on. It names models, and neither addresses nor keys."""
    config = sessions.configuration()
    project = config.trusted_project(here())
    path, text = store.text_of(name, config_dir=config.paths.config, project_dir=project)
    reading.read(text, name=name, path=path)
    return Report(MarkdownView(text=text), {"name": name, "file": str(path), "text": text})


async def take_over(file: str) -> Report:
    """Read a preset that somebody handed on, and put it among the user's own, under the name of its file.

    It is shown with it who would receive the conversation, and at what price. Nothing is armed, and nothing is sent. Raises UsageError
    for a file that is no preset, a name that is taken, and a preset that says where a model is (which only the user's config.toml may).
    """
    path = Path(file).expanduser()
    name, text = path.stem, _read(path)
    read = reading.read(text, name=name, path=path)
    config = sessions.configuration()
    known = store.find(config.paths.config, config.trusted_project(here()))
    if name in known:
        remedy = f"rename the file: its name becomes the preset's (there is {known[name].path})"
        raise UsageError(f"there is a preset {name} already", remedy=remedy, kind="preset")
    view, data = await _shown(read, config)
    target = config.paths.config / "presets" / f"{name}.toml"
    store.write(target, text)
    said = (
        f"{target} created; nothing is armed. Look at who receives what; `moa preset check {name}` tries it, and "
        f"`moa run --preset {name}` takes counsel with it."
    )
    tabs = (
        ("imported", MarkdownView(text=said)),
        ("price", view),
        ("file", MarkdownView(text=f"```toml\n{text}\n```")),
    )
    return Report(TabsView(tabs=tabs), {"file": str(target), "name": name, **data})


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} is larger than {MOST_BYTES // 1024} KiB", remedy="a preset is a small TOML file")
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", remedy="name a preset's file") from None
    return store.text_at(path)


async def _shown(read: Preset, config: Config) -> tuple[TableView, dict[str, object]]:
    """What it costs and who receives the conversation, from what is known offline."""
    from agent.client import make_client
    from moa.quote import quote

    named = read.main or config.single_model
    main = ModelRef.parse(named) if named else None
    books = sessions.ledger(config)
    client = make_client(config, books)
    try:
        receivers = preflight.receivers(read, client, main)
        problem = None
        try:
            preflight.check(read, client, main, tools=member_tools())
            priced = quote(read, client, (), main)
        except UsageError as error:
            problem = f"{error.message} ({error.remedy})"
            priced = None
    finally:
        await client.aclose()
        books.close()
    data: dict[str, object] = {
        "receivers": list(receivers),
        "models": [str(model) for _key, model in preflight.models(read, main)],
        "problem": problem,
        "usd": None if priced is None else {"low": priced.low.usd, "high": priced.high.usd},
        "times_solo": None if priced is None else priced.times_solo,
    }
    return (_unpriced(read, receivers, problem or "") if priced is None else priced.view(receivers)), data


def member_tools() -> frozenset[str] | None:
    """What members can be given in this program: the tools that only look, and those of the web. None where plugins of others are
    installed, which may bring more: then it is asked when a panel is armed."""
    from agent.installed import entry_points
    from agent.tools.builtin import builtin_tools
    from agent.web.plugin import NAMES

    if any(entry.value.partition(".")[0] not in ("agent", "moa") for entry in entry_points()):
        return None

    return frozenset((*(tool.spec.name for tool in builtin_tools() if tool.read_only), *NAMES))


def _unpriced(read: Preset, receivers: tuple[str, ...], problem: str) -> TableView:
    rows = tuple((key, str(model)) for key, model in preflight.models(read, None))
    title = f"{read.name} sends the conversation to {', '.join(receivers)}. Who is asked"
    return TableView(title=title, columns=("who", "model"), rows=rows, note=f"It can't be armed here: {problem}.")
