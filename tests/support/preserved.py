"""A conversation on models whose thoughts are bound, from outside: the installed command, or the chat, and what the endpoint saw of it.

    with BoundWorld(tmp_path, "messages") as world:
        world.preset(cadence="iteration")
        session = world.run("Look around.").result["session"]     # what `moa run` does; process=True: in a process of its own
        world.chat("/moa panel", "And again.", session=session)   # the chat, on the same folders
        world.holds()

The main model is `fake:main`, the panel is `alpha`, `beta` and their `judge`, who says something new each time (`POINT-n.`).
"""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.build import build
from agent.host import Options
from agent.installed import plugin_makers
from agent.plugin import Plugin, PluginHost
from agent.ui.run import headless
from moa.cli.options import goal_options, parse
from tests.support import appended, prompt
from tests.support.chatbench import ChatBench
from tests.support.exchange import Exchange
from tests.support.program import Finished, Program, preset_text
from tests.support.script import ANALYSIS, Behaviour, Decide, Say, Script, tool_loop
from tests.support.signing import SigningEndpoint

CONFIG_NAME = {"messages": "anthropic", "chat": "chat", "responses": "responses"}
WIRES = tuple(CONFIG_NAME)
VENDORS = {
    "anthropic": ("messages", "claude-opus-5-5"),
    "openrouter": ("chat", "anthropic/claude-opus-5.5"),
    "openai": ("responses", "gpt-5.6"),
}
"""Endpoints by the names under which the program knows what is peculiar about them, each with a wire and a model."""
POINT = re.compile(r"POINT-\d+\.")
KEY = "key-one-0123456789"


def point(number: int) -> str:
    """What the judge says the n-th time."""
    return f"POINT-{number}."


def adviser(name: str, seconds: float = 0.0) -> Decide:
    """A member that has something new to say each time."""
    return lambda _body, earlier: Say(text=f"BLOCKER\n{name} says: look at line {earlier} again.", spread_s=seconds)


def judging(_body: Mapping[str, Any], earlier: int) -> Say:
    """The aggregator: one new point each time."""
    return Say(analysis={**ANALYSIS, "consensus": [f"Look twice. {point(earlier)}"], "severity": "blocker"})


def sequence(*says: Say) -> Decide:
    """One answer after the other, whatever was asked; the last repeats."""
    return lambda _body, earlier: says[min(earlier, len(says) - 1)]


class BoundWorld:
    """`folder` gets the program's folders. `wire` is the dialect, or one of VENDORS; more options go to the signing endpoint.

    `main` is the main model's whole name. Where a model is named in here, "main" stands for it.
    """

    def __init__(self, folder: Path, wire: str = "messages", *, calls: int = 3, **endpoint: Any) -> None:
        self.place = wire if wire in VENDORS else "fake"
        self.wire, self.model = VENDORS.get(wire, (wire, "main"))
        # Where nothing may change, sealed items are held to what stands before them, too, though OpenAI does not.
        self.endpoint = SigningEndpoint(**{"sealed_items_bind": True, **endpoint})
        self.script(main=Behaviour(steps=tool_loop(calls)))
        self.key = KEY
        self.environment: dict[str, str] = {}
        self._folder = folder
        self.program: Program

    def __enter__(self) -> Self:
        self.endpoint.__enter__()
        self.program = Program(self._folder, self.endpoint.base_url)
        self.configure()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.program.close()
        self.endpoint.__exit__(kind, error, trace)

    # What it is made of

    def script(self, **models: Behaviour | Decide) -> None:
        """What models say; the panel stays where it is not named."""
        panel = {"alpha": adviser("alpha"), "beta": adviser("beta"), "judge": judging}
        named = {self._named(name): says for name, says in models.items()}
        self.endpoint.script = Script(models={**panel, **self.endpoint.script.models, **named})

    @property
    def main(self) -> str:
        """The main model: ENDPOINT:MODEL."""
        return f"{self.place}:{self.model}"

    def _named(self, model: str) -> str:
        return self.model if model == "main" else model

    def configure(self, more: str = "", *, endpoint: str = "") -> None:
        """Write config.toml: `more` at its top, `endpoint` among the endpoint's keys."""
        keys = (
            f'base_url = "{self.endpoint.base_url}"\ndialect = "{CONFIG_NAME[self.wire]}"\napi_key_env = "FAKE_KEY"\n'
        )
        own = "" if self.place == "fake" else f"[endpoints.{self.place}]\n{keys}"
        self.config = f'model = "{self.main}"\n{more}\n{own}\n[endpoints.fake]\n{keys}{endpoint}\n'
        self.program.config(self.config)

    def preset(
        self, name: str = "panel", *, members: Sequence[str] = ("alpha", "beta"), more: str = "", **settings: Any
    ) -> None:
        """A panel; `settings` are its top-level keys, `more` is written behind them as TOML."""
        self.program.preset(name, preset_text([f"fake:{member}" for member in members], **settings) + more)

    @property
    def env(self) -> dict[str, str]:
        """What the program finds in its environment."""
        return {**self.program.environment, "FAKE_KEY": self.key, **self.environment}

    # Driving it

    def stream(self, words: str, *options: str) -> Finished:
        """`moa run --output-format stream-json` with the panel, in this process: its `lines` are the events, and the result."""
        done = self._headless("run", "--output-format", "stream-json", "--preset", "panel", *options, words)
        assert done.code == 0, done.lines[-1]
        return done

    def run(self, words: str, *options: str, status: str = "done", process: bool = False) -> Finished:
        """`moa run` with the panel unless told otherwise: in this process, on a host of its own, or in a `process` of its own."""
        if not {"--no-moa", "--preset"} & set(options):
            options = ("--preset", "panel", *options)
        line = ("run", "--output-format", "json", *options, words)
        done = self.program(*line, env=self.env, timeout_s=60) if process else self._headless(*line)
        assert done.result["status"] == status, (done.result["status"], done.result["error"], done.err)
        return done

    def _headless(self, *line: str) -> Finished:
        """What `moa.cli.main` does with such a line, without a process."""
        words = parse(line)
        counsel = {"preset": words.preset} if words.preset else {"off": True} if words.no_moa else {}
        chosen = Options(
            model=words.model,
            cwd=self.program.work_dir,
            session=words.session,
            approve=words.approve or "deny",
            max_iterations=words.max_iterations or 90,
            plugins={"moa": counsel, "goal": goal_options(words)},
        )
        output = headless.Output(words.output_format, out=io.StringIO(), err=io.StringIO())
        prompt = f"/goal set {words.prompt}" if words.goal else words.prompt

        async def main() -> int:
            host = build(chosen, env=self.env)
            try:
                return await headless.run(host, prompt, output, most_calls=words.max_iterations)
            finally:
                await host.aclose()

        started = time.monotonic()
        code = asyncio.run(main())
        out, err = output.out.getvalue(), output.err.getvalue()  # type: ignore[attr-defined]
        return Finished(code, out, err, started, time.monotonic() - started)

    def chat(
        self,
        *lines: str | Callable[[], Awaitable[None]],
        session: str | None = None,
        approve: str = "all",
        on: Callable[[ChatBench, Any], None] | None = None,
        makers: Mapping[str, Callable[[PluginHost], Plugin]] | None = None,
        **options: Any,
    ) -> ChatBench:
        """The chat, in this process, on the same folders: a new one, or `session`. `makers` are plugins beside the installed."""
        chosen = Options(cwd=self.program.work_dir, session=session, approve=approve, **options)  # type: ignore[arg-type]
        bench = ChatBench(self._folder, options=chosen, config=self.config, scripted=False)
        bench.env = self.env
        bench.plugins = {**plugin_makers(), **(makers or {})}
        if on is not None:
            bench.on = lambda event: on(bench, event)
        bench.run(*lines)
        return bench

    # What came of it

    def calls(self, model: str = "main") -> list[Exchange]:
        """What the endpoint saw of a model."""
        return self.endpoint.calls(self._named(model))

    @property
    def next(self) -> int:
        """The number that the next request will have: what `holds(since=…)` takes."""
        return len(self.endpoint.exchanges) + 1

    def points(self, model: str = "main") -> list[str]:
        """Every point that was ever in a request to a model, in the order in which they came."""
        return list(
            dict.fromkeys(
                found for call in self.calls(model) for found in POINT.findall(prompt.texts(prompt.items_of(call.body)))
            )
        )

    def problems(
        self, *, since: int = 0, epochs: Sequence[int] = (), linear: bool = True, models: Sequence[str] = ("main",)
    ) -> list[str]:
        """Everything that did not hold, in words.

        `since`: from this request on. `epochs`: requests with which an epoch began; what did not outlive it is no fault. `linear`: the
        main model's calls are one conversation that only grew.
        """
        found = [f"refused: {refusal}" for refusal in self.endpoint.found if refusal.request >= since]
        for model in map(self._named, models):
            gone = self.endpoint.losses(model=model, since=since) + self.endpoint.breaks(model=model, since=since)
            gone += appended.marks_moved(self.endpoint, model=model, since=since)
            found += [finding.what for finding in gone if not finding.across(epochs)]
        if linear:
            calls = [call for call in self.calls() if call.number >= since]
            found += appended.chain(calls)
            for words in self.points():
                found += appended.missing(words, calls) if any(words in texts(call) for call in calls) else []
            if self.wire == "messages" or self.place == "openrouter":
                found += [why for before, after in pairwise(calls) if (why := appended.uncached(before, after))]
        return found

    def holds(self, *, guided: bool = True, **where: Any) -> None:
        """Nothing was refused, nothing lost, nothing changed (see `problems`); and the panel was heard (`guided`)."""
        problems = self.problems(**where)
        assert not problems, "\n".join(problems)
        assert self.calls(), "the main model was never called"
        if guided:
            assert self.points(), "no request had guidance"


def texts(call: Exchange) -> str:
    """All the words of a request."""
    return prompt.texts(prompt.items_of(call.body))
