"""The `moa` command. The one module that knows both the plugin and the faces; it imports each only when it is needed."""

from __future__ import annotations

import sys

from moa.cli import console, startup

TYPE_CHECKING = False  # as typing's, whose import takes long enough for a Ctrl+C to fall into it
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import Any

    from agent.admin.report import Report
    from agent.approval.approval import Mode
    from agent.host import Host, Options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code of contracts.md: 0, 1, 2, 3, 75 or 130."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        console.hold()
        from moa.cli import (
            outputs,  # only now: what falls into an import that comes before is not held
            ownership,
        )

        if (why := ownership.lost()) is not None:
            return ownership.tell(why, words)
        outputs.forget()
        startup.pause_collector()
        console.prepare()
        code = _told(words)
        console.finish()
        outputs.finish()
        console.deaf()  # as Python ends it would put back what kills, and the exit code would be another than the one that was said
        return code
    except KeyboardInterrupt:
        return _interrupted(words)
    except OSError as error:
        return console.give_up(error)
    except Exception as error:  # not even what holds signals, or tells failures, can be loaded
        from moa.cli import ownership

        if (why := ownership.lost() or ownership.broken_by(error)) is not None:
            return ownership.tell(why, words)
        raise


def _told(words: Sequence[str]) -> int:
    """Do what the command line says; every failure is told in the format that it asks for, but for those of standard output."""
    if words in (["--version"], ["-V"]):  # before argparse: scripts ask this often
        from moa import __version__

        print(f"moa {__version__}")
        return 0
    from moa.cli import outputs, ownership

    try:
        return _dispatch(words)
    except Exception as error:
        if (why := ownership.broken_by(error)) is not None:
            return ownership.tell(why, words)
        # The reader went away (`moa … | head`), or the disk is full: there is nobody to tell more to.
        if console.output_lost(error):
            return console.give_up(error)
        return outputs.failed(error, words)


def _interrupted(words: Sequence[str]) -> int:
    """Ctrl+C before there was anything to stop in order."""
    console.deaf()
    from agent.events import ErrorInfo
    from moa.cli import outputs

    try:
        code = outputs.fail("interrupted", ErrorInfo(kind="interrupted", message="stopped by the user"), words)
        console.finish()
        outputs.finish()
        return code
    except OSError as error:
        console.give_up(error)
    except Exception:  # an import was cut short: it can't be said, and the exit code says it
        pass
    return 130


def _dispatch(words: Sequence[str]) -> int:
    from moa.cli.options import parse

    arguments = parse(words)
    if arguments.handler != "run":  # which loads what it needs first
        console.hear()
    return HANDLERS[arguments.handler](arguments)


# What the commands do


def _chat(arguments: argparse.Namespace) -> int:
    """The chat: Textual, or line mode where it is asked for or the terminal can do no better."""
    import os
    from dataclasses import replace
    from functools import partial

    from agent.errors import UsageError
    from agent.process import depth, handover

    choosing = arguments.session == ""
    arguments.session = arguments.session or None
    first = "/resume" if choosing else arguments.prompt or ""
    options = replace(_agent_options(arguments, "ask"), first=first)
    handover.take()
    depth.mark()
    # Behind a tab of `moa web`. Taken out of the environment: what the agent's shell starts is behind none.
    note = os.environ.pop("MOA_WEB_SESSION", None)
    build = partial(_build_host, note)
    if note is None:
        if not _at_terminal():
            raise UsageError("the chat needs a terminal", remedy='for one turn without one: moa run "what to do"')
        return _face(build, options, plain=arguments.plain)
    from agent.ui.web.lifeline import watch

    watch()
    return _face(build, options, full=True)


def _demo(arguments: argparse.Namespace) -> int:
    """The chat on a recording; where there is no terminal, what it says as plain lines, at once."""
    import asyncio

    from agent.process import depth
    from moa.cli import outputs, running
    from moa.demo.stage import opened

    with opened(still=not _at_terminal()) as stage:
        if _at_terminal():
            depth.mark()
            return _face(stage.build, stage.options, plain=arguments.plain)
        output = outputs.output("text")
        output.say(f"· {stage.recording.told}\n\n{stage.recording.prompt}\n")
        console.hold()
        return asyncio.run(
            running.run_async(stage.options, stage.options.first, output, None, typed=False, build=stage.build)
        )


def _at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _face(build: Callable[..., Host], options: Options, *, plain: bool = False, full: bool = False) -> int:
    """The chat: line mode where it is asked for, or where the terminal can do no better; `full`: not even then."""
    if not full and (plain or _simple_terminal()):
        from agent.ui import line

        return line.run(build, options)
    from agent.ui.tui import app

    return app.run(build, options)


def _simple_terminal() -> bool:
    """True where a full-screen program would be a mess: no cursor movement, or no size."""
    import os

    if sys.platform != "win32" and os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        return True
    try:
        return 0 in os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return True


def _web(arguments: argparse.Namespace) -> int:
    """The chat in a browser: each tab runs this program anew, with what the command line said."""
    import os

    from agent.config.paths import Paths
    from agent.ui.web import run as web

    _agent_options(arguments, "ask")  # what contradicts itself is told here, not in a page
    # -P: a folder named `agent` or `moa` where the user works must not be taken for ours.
    words = [sys.executable, "-P", "-m", "moa"]
    for name in ("model", "effort", "preset", "cwd", "approve", "budget"):
        if (value := getattr(arguments, name)) is not None:
            words += [f"--{name}={value}"]
    if arguments.no_moa:
        words.append("--no-moa")
    first = [f"--resume={arguments.session}"] if arguments.session else ["-c"] if arguments.resume_latest else []

    def command(session: str | None) -> list[str]:
        go_on, first[:] = [f"--resume={session}"] if session else list(first), []
        return [*words, *go_on]

    sessions = Paths.from_env(os.environ).sessions
    return web.run(command, sessions, port=arguments.port, open_browser=not arguments.no_open)


def _acp(arguments: argparse.Namespace) -> int:
    from agent.ui.text import render
    from moa.acp.serve import serve

    return serve(_agent_options(arguments, "ask"), render)


def _serve(arguments: argparse.Namespace) -> int:
    """Counsel for other agents; its keys."""
    if arguments.verb is not None:
        from moa.cli import serving

        return _report(serving.keys(arguments), arguments.json)
    from moa.serve import command

    options = {name: getattr(arguments, name) for name in ("host", "port", "preset", "save", "database", "workers")}
    return command.run(**options, auth=not arguments.no_auth)


def _build_host(note: str | None, options: Options, **outside: Any) -> Host:
    """An agent for a chat; `outside`: who is told what happens outside of a turn.

    `note` is a file for the session's id, where `moa web` looks it up: a reload then comes back to that one.
    """
    from pathlib import Path

    from agent.build import build

    host = build(options, **outside)
    if note is not None:
        Path(note).write_text(host.agent.session.id, "utf-8")
    return host


def _run(arguments: argparse.Namespace) -> int:
    from moa.cli import running

    return running.run(arguments)


def _agent_options(arguments: argparse.Namespace, approve: Mode) -> Options:
    from moa.cli import running

    return running.agent_options(arguments, approve)


def _report(report: Report, as_json: bool) -> int:
    from moa.cli import outputs

    if as_json:
        from agent.serialize import dumps

        print(dumps(outputs.redaction().value({"schema": 1, **report.data})))
    else:
        from agent.ui.columns import of_terminal
        from agent.ui.text import render

        print(outputs.redaction().whole(render(report.view, of_terminal(sys.stdout))))
    return 0 if report.ok else 1


def _activity(arguments: argparse.Namespace) -> int:
    from contextlib import closing

    from agent.admin.sessions import configuration, ledger
    from agent.ledger.activity import activity, activity_json, parse_since
    from agent.ui.columns import of_terminal
    from agent.ui.text import render

    with closing(ledger(configuration(), arguments.database)) as books:
        since = parse_since(arguments.since) if arguments.since else None
        if arguments.follow:
            from agent.ledger.follow import follow

            for line in follow(books, session=arguments.session, since=since, as_json=arguments.json):
                sys.stdout.write(line)
                sys.stdout.flush()
        asked: Any = {"session": arguments.session, "since": since, "by": arguments.by}
        if arguments.json:
            sys.stdout.writelines(activity_json(books, **asked))
        else:
            print(render(activity(books, **asked), of_terminal(sys.stdout)))
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    from moa.cli import bench

    report, code = bench.answer(arguments)
    # A card is a file: it is JSON in any case.
    _report(report, arguments.output_format == "json" or arguments.verb == "card")
    return code


def _preset(arguments: argparse.Namespace) -> int:
    from moa.admin import presets

    names = [getattr(arguments, name) for name in arguments.names]
    report = presets.answer(arguments.verb, *names)
    if arguments.verb == "export" and not arguments.json:
        sys.stdout.write(report.data["text"])  # byte for byte: it goes into a file
        return 0
    return _report(report, arguments.json)


def _models_list(arguments: argparse.Namespace) -> int:
    import asyncio

    from agent.admin.models import list_models

    return _report(asyncio.run(list_models(arguments.endpoint)), arguments.json)


def _models_fetch(arguments: argparse.Namespace) -> int:
    from agent.ui.run.progress import FetchBar
    from moa.cli import fetching

    return fetching.fetch_model(arguments.name, FetchBar(sys.stderr))


def _replay(arguments: argparse.Namespace) -> int:
    from moa.cli import replays

    return _report(replays.replay(arguments), arguments.json)


def _diff(arguments: argparse.Namespace) -> int:
    from moa.cli import replays

    return _report(replays.diff(arguments), arguments.json)


def _session(arguments: argparse.Namespace) -> int:
    from agent.admin import sessions as admin

    config = admin.configuration()
    match arguments.verb:
        case "list":
            report = admin.sessions(config)
        case "search":
            report = admin.search(config, " ".join(arguments.text))
        case _:
            report = admin.session(config, arguments.id)
    return _report(report, arguments.json)


def _session_export(arguments: argparse.Namespace) -> int:
    from agent.admin import sessions as admin

    sys.stdout.write(admin.export(admin.configuration(), arguments.id, arguments.format, raw=arguments.raw))
    return 0


def _mcp(arguments: argparse.Namespace) -> int:
    from moa.cli import servers

    if arguments.verb is None:
        servers.no_verb(at_terminal=_at_terminal())
    if arguments.verb in (None, "serve"):
        return servers.serve(arguments)
    return _report(servers.answer(arguments), arguments.json)


def _trust(arguments: argparse.Namespace) -> int:
    from moa.cli import trusting

    return trusting.trust_folder(arguments.folder, sure=arguments.yes)


def _doctor(arguments: argparse.Namespace) -> int:
    import asyncio

    from agent.admin.doctor import doctor
    from moa.admin.presets import examined

    more = examined()
    if arguments.check_update:  # nothing else in this program asks for that
        from agent.admin import update
        from moa import DISTRIBUTION, __version__

        more.append(asyncio.run(update.check(DISTRIBUTION, __version__)))
    return _report(asyncio.run(doctor(more)), arguments.json)


def _config(arguments: argparse.Namespace) -> int:
    from agent.ui.settings import read_section
    from moa.cli import config_keys

    if arguments.verb == "docs":
        sys.stdout.write(config_keys.document(read_section))
        return 0
    import json

    keys = config_keys.of_preset() if arguments.file == "preset" else config_keys.of_config(read_section)
    title = "a preset of moa" if arguments.file == "preset" else "config.toml of moa"
    sys.stdout.write(json.dumps(config_keys.schema(keys, title), indent=2, ensure_ascii=False) + "\n")
    return 0


def _completion(arguments: argparse.Namespace) -> int:
    from agent.errors import UsageError
    from moa.cli import completion
    from moa.cli.options import whole_parser

    if arguments.names:
        sys.stdout.write("".join(f"{name}\n" for name in completion.names(arguments.names)))
    elif arguments.shell:
        sys.stdout.write(completion.script(arguments.shell, whole_parser()))
    else:
        raise UsageError("which shell?", remedy=f"moa completion {' | '.join(completion.SHELLS)}")
    return 0


HANDLERS: dict[str, Callable[[argparse.Namespace], int]] = {
    "acp": _acp,
    "activity": _activity,
    "bench": _bench,
    "chat": _chat,
    "completion": _completion,
    "config": _config,
    "demo": _demo,
    "diff": _diff,
    "doctor": _doctor,
    "mcp": _mcp,
    "models_fetch": _models_fetch,
    "models_list": _models_list,
    "preset": _preset,
    "replay": _replay,
    "run": _run,
    "serve": _serve,
    "session": _session,
    "session_export": _session_export,
    "trust": _trust,
    "web": _web,
}
