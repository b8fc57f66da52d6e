"""The suite `repo` with scripted models of known strength: does a bench of the agent's loop find the effect that was put in?

Three settings: advice that is better than the main model, as good as it, and worse. All is simulated but the loop, the files, the tests
and the statistics.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from moa.bench.repo.suite import ALL
from tests.bench.figures import Figure
from tests.support import repo_models as models
from tests.support.endpoint import ScriptedEndpoint
from tests.support.program import Program, endpoint_config, preset_text
from tests.support.script import Script

KNOWS, FOLLOWS = 0.5, 0.8
ADVICE = {"good": 0.95, "even": 0.5, "bad": 0.1}
ARMS = ("solo", "counsel:iteration", "counsel:signal", "counsel:last", "placebo:other", "placebo:shuffled")


def measure(folder: Path, python: Path, _rounds: int | None) -> Iterator[tuple[str, Sequence[Figure]]]:
    """One table for each strength of the advice."""
    for name, advised in ADVICE.items():
        script = Script(
            models={
                "main": models.main(knows=KNOWS, follows=FOLLOWS, seed=3),
                "member": models.member(right=advised, seed=3),
            },
            only=True,
        )
        with ScriptedEndpoint(script) as endpoint:
            program = Program(folder / name, executable=python.parent / "moa")
            program.config(endpoint_config(endpoint.base_url, model="fake:main"))
            program.preset("one", preset_text(["fake:member"], aggregate="raw"))
            words = ("bench", "run", "repo", "--preset", "one", "--arms", ",".join(ARMS), "--yes")
            found = json.loads(program(*words, "--output-format", "json", timeout_s=1_800).out)
        known = {
            counsel: sum(
                models.expected(each, knows=KNOWS, follows=FOLLOWS, advised=advised, counsel=counsel, seed=3)
                for each in ALL
            )
            for counsel in (False, True)
        }
        yield f"repo, {name} advice (simulated)", _figures(found, known)


def _figures(found: dict, known: dict[bool, int]) -> list[Figure]:  # type: ignore[type-arg]
    pairs = {pair["arm"]: pair for pair in found["pairs"]}
    figures = []
    for arm in found["arms"]:
        right, sure = round(arm["score"] * arm["n"]), known[arm["name"].startswith("counsel:")]
        pair, loop = pairs.get(arm["name"]), arm["loop"]
        note = f"of {arm['n']}, {loop['steps']} calls, {loop['sent']} sent"
        if loop["followed"] + loop["ignored"]:
            note += f", followed {loop['followed']} of {loop['followed'] + loop['ignored']} (done without: {(loop['beside'] or {}).get('anyway')})"
        if pair is not None:
            low, high = (100 * end for end in pair["ci95"])
            note += f"; help {pair['wrong_right']}, harm {pair['right_wrong']}, {100 * pair['delta']:+.0f} points ({low:+.0f} to {high:+.0f})"
        figures.append(
            Figure(arm["name"], abs(right - sure), "off what is known", target=0, note=f"{right} right {note}")
        )
    return figures
