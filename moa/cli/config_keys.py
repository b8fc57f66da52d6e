"""`moa config docs | schema`: every key of config.toml and of a preset, as the readers of both files ask for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from agent.config import toml
from agent.config.toml import MOST_NUMBER, Asked, Table

MEANINGS = Path(__file__).with_name("config_keys.toml")
"""What each key means. All else of the page comes from the readers."""
CHOSEN = ("NAME", "PROGRAM", "REPLAY", "MODEL", "VARIABLE", "HEADER")
"""What stands in a key's path for a name of the user's choosing."""

_CONFIG = """
[endpoints.NAME]
base_url = "http://127.0.0.1"
headers.HEADER = ""
[endpoints.NAME.models.MODEL]
price = { prompt = 1, completion = 1 }
native_tools = true
images = true
logprobs = true
[endpoints.PROGRAM]
dialect = "command"
command = ["program"]
env.VARIABLE = ""
[endpoints.REPLAY]
dialect = "replay"
answers = 'ANSWERS'
"""
_SECTIONS: Mapping[str, dict[str, Any]] = {
    "goal": {"turns": 20},
    "sandbox": {"mode": "auto"},
    "delegate": {"enabled": True},
    "mcp": {"servers": {"NAME": {"command": "program", "env": {"VARIABLE": ""}, "headers": {"HEADER": ""}}}},
}
_PRESET = """
main = "e:m"
[[references]]
model = "e:m"
[aggregator]
model = "e:m"
fallback = "e:m"
deep = "e:m"
"""

Reader = Callable[[Mapping[str, Any], Path], Any]


class Key(NamedTuple):
    """One key: what its reader says of it, and what it means. `default` and `range` are in words; empty where there is none."""

    asked: Asked
    path: tuple[str, ...]
    default: str
    range: str
    meaning: str

    @property
    def name(self) -> str:
        """As the page names it."""
        return ".".join(self.path)


def of_config(ui: Reader) -> list[Key]:
    """Every key of config.toml. `ui` reads the faces' section."""
    return _keys(_heard_of_config(ui), "config")


def of_preset() -> list[Key]:
    """Every key of a preset."""
    from moa.store import reading

    with toml.listening() as heard:
        reading.read(_PRESET, name="sample", path=Path("sample.toml"))
    return _keys(heard, "preset")


def _heard_of_config(ui: Reader) -> list[Asked]:
    from agent import userhooks
    from agent.config import mcp
    from agent.config.config import load_config
    from agent.delegate import tool as delegate
    from agent.goal import settings as goal
    from agent.sandbox import sandbox
    from agent.web import settings as web
    from moa import settings as moa
    from moa.serve import settings as serve

    readers: dict[str, Reader] = {
        "moa": moa.read,
        "goal": goal.read,
        "web": lambda section, file: web.read(section, file, {}),
        "mcp": mcp.read,
        "delegate": delegate.read_settings,
        "sandbox": sandbox.read_settings,
        "serve": serve.read,
        "ui": ui,
    }
    with TemporaryDirectory() as folder, toml.listening() as heard:
        file = Path(folder) / "config.toml"
        file.write_text(_CONFIG.replace("ANSWERS", str(Path(__file__))), "utf-8")
        load_config({"MOA_CONFIG_DIR": folder, "MOA_STATE_DIR": folder}, plugins=frozenset(("moa", "goal", "web")))
        for name, read in readers.items():
            read(_SECTIONS.get(name, {}), file)
        hook = {"event": "turn_end", "command": "true"}
        userhooks.read(Table({"hooks": [hook]}, file).rows("hooks"), Path(folder))
    return heard


def _keys(heard: Iterable[Asked], part: str) -> list[Key]:
    """Each key once, in the order of the file of meanings; those that it lacks come last, with an empty meaning."""
    found = {re.sub(r"\[\d+\]", "[]", asked.name): asked for asked in reversed(list(heard))}
    meanings = {
        name: said if isinstance(said, dict) else {"means": said} for name, said in toml.load(MEANINGS)[part].items()
    }
    tables = [
        name for name, asked in found.items() if asked.what.endswith(("a table", "tables")) and name not in meanings
    ]
    unsaid = [
        name for name in found if name not in meanings and name not in tables and name.split(".")[-1] not in CHOSEN
    ]
    keys = []
    for name in (*(each for each in meanings if each in found), *unsaid):
        asked, said = found[name], meanings.get(name, {})
        default, allowed = said.get("default", _default(asked)), said.get("range", _range(asked))
        keys.append(Key(asked, tuple(name.split(".")), default, allowed, said.get("means", "")))
    return keys


def _default(asked: Asked) -> str:
    value = asked.default
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (int, float)):
        return f"{value:_}" if value >= 10_000 else f"{value:g}"
    return "[]" if isinstance(value, list) else ""


def _range(asked: Asked) -> str:
    if asked.choices:
        return ", ".join(choice for choice in asked.choices if choice)
    if asked.least is not None:
        return f"from {asked.least}" if asked.most in (None, MOST_NUMBER) else f"{asked.least} to {asked.most:_}"
    return "from 0" if asked.what == "a number" else ""


HEAD = """# Configuration: every key

Made by `moa config docs` from what reads the two files; `moa config schema` and `moa config schema preset` print the same as JSON schemas, for editors that
complete TOML. A key that is not here is an error that names the file, the key and what is known there. Names in capitals are yours to choose.

`moa doctor` says where your `config.toml` is. The environment beats the file (`MOA_MODEL`, `MOA_EFFORT`), an option of the command line beats both, and
caps only ever tighten.
"""


def document(ui: Reader) -> str:
    """The page, in Markdown."""
    parts = [HEAD, "## config.toml\n", *_tables(of_config(ui)), "## A preset\n"]
    parts.append(
        "One file a panel, in `presets/` beside `config.toml`; the file's name is the preset's. `moa preset new NAME` makes one.\n"
    )
    return "\n".join([*parts, *_tables(of_preset())]).rstrip() + "\n"


def _tables(keys: list[Key]) -> list[str]:
    lines: list[str] = []
    for section in dict.fromkeys(_section(key.path) for key in keys):
        if section:
            head = f"[[{section.removesuffix('[]')}]]" if section.endswith("[]") else f"[{section}]"
            lines.append(f"### `{head}`\n")
        lines += ["| key | type | default | allowed | meaning |", "| --- | --- | --- | --- | --- |"]
        lines += [_row(key, section) for key in keys if _section(key.path) == section]
        lines.append("")
    return lines


def _section(path: tuple[str, ...]) -> str:
    """The table that a key is in; one within a line (`price`) stands in that of the line."""
    return ".".join(path[:-1]).removesuffix(".price")


def _row(key: Key, section: str) -> str:
    name = key.name.removeprefix(section).lstrip(".")
    default = f"`{key.default}`" if key.default == _default(key.asked) != "" else key.default
    kind = key.asked.what.removeprefix("a ").removeprefix("an ")
    return f"| `{name}` | {kind} | {default} | {key.range} | {key.meaning} |"


_TYPES: Mapping[str, dict[str, Any]] = {
    "a string": {"type": "string"},
    "true or false": {"type": "boolean"},
    "a whole number": {"type": "integer"},
    "a number": {"type": "number", "minimum": 0},
    "a list of strings": {"type": "array", "items": {"type": "string"}},
    "a table": {"type": "object", "additionalProperties": {"type": "string"}},
}


def schema(keys: list[Key], title: str) -> dict[str, Any]:
    """The JSON schema of a file with these keys."""
    top: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **_object()}
    for key in keys:
        place = top
        for part in key.path[:-1]:
            place = _into(place, part)
        place["properties"].setdefault(key.path[-1], _property(key))
    return top


def _object() -> dict[str, Any]:
    return {"type": "object", "properties": {}, "additionalProperties": False}


def _into(place: dict[str, Any], part: str) -> dict[str, Any]:
    if part in CHOSEN:  # endpoints of all kinds have one schema: which keys go with which dialect their reader says
        if place["additionalProperties"] is False:
            place["additionalProperties"] = _object()
        found = place["additionalProperties"]
    elif part.endswith("[]"):
        found = place["properties"].setdefault(part[:-2], {"type": "array", "items": _object()})["items"]
    else:
        found = place["properties"].setdefault(part, _object())
    assert isinstance(found, dict)
    return found


def _property(key: Key) -> dict[str, Any]:
    asked = key.asked
    found: dict[str, Any] = {**_TYPES[asked.what], "description": key.meaning}
    if asked.choices:
        found["enum"] = [choice for choice in asked.choices if choice]
    if asked.least is not None:
        found["minimum"] = asked.least
    if asked.most not in (None, MOST_NUMBER):
        found["maximum"] = asked.most
    if asked.default is not None and asked.default != "":
        found["default"] = asked.default
    return found
