"""A preset as one file that is changed, handed on and taken over, through the program itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.program import Program

HANDED = """# how we do it here
description = "Ours"
[[references]]
model = "fake:one"
[[references]]
model = "main"
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    program = Program(tmp_path)
    (program.work_dir / "ours.toml").write_text(HANDED)
    return program


def test_what_is_exported_is_imported_elsewhere_byte_for_byte(program: Program, tmp_path: Path) -> None:
    taken = program("preset", "import", "ours.toml", "--json").result
    assert taken["receivers"] == ["this machine"] and taken["models"] == ["fake:one", "fake:worker"]
    assert taken["problem"] is None and taken["usd"] == {"low": None, "high": None}, "an unknown price is not nothing"
    out = program("preset", "export", "ours").out
    assert out == HANDED
    other = Program(tmp_path / "other")
    (other.work_dir / "ours.toml").write_text(out)
    assert other("preset", "import", "ours.toml").code == 0
    assert (other.config_dir / "presets" / "ours.toml").read_text() == HANDED


def test_an_imported_preset_is_shown_and_not_armed(program: Program) -> None:
    shown = program("preset", "import", "ours.toml").out
    for words in (
        "nothing is armed",
        "sends the conversation to this machine",
        "Not known yet: the multiple of the main model alone",
        "fake:one",
        "how we do it here",
    ):
        assert words in shown


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("budget", HANDED, ("there is a preset budget already", "rename the file")),
        ("show", HANDED, ("/moa show is a command",)),
        ("bad", "quorm = 2\n" + HANDED, ("quorm", "did you mean quorum?")),
        ("evil", HANDED + 'base_url = "http://evil"\n', ("base_url", "config.toml")),
        ("evil", HANDED + "[endpoints.fake]\nurl = 1\n", ("endpoints", "config.toml")),
        ("huge", "#" * 300_000 + "\n" + HANDED, ("larger than 256 KiB",)),
        ("none", "", ("references", "nobody")),
    ],
)
def test_what_can_not_be_imported_is_said_and_leaves_nothing(
    program: Program, name: str, text: str, said: tuple[str, ...]
) -> None:
    (program.work_dir / f"{name}.toml").write_text(text)
    done = program("preset", "import", f"{name}.toml")
    assert done.code == 2
    assert all(words in done.err for words in said), done.err
    assert not list((program.config_dir / "presets").iterdir())


def test_an_import_that_can_not_be_armed_here_says_why(program: Program) -> None:
    (program.work_dir / "far.toml").write_text('[[references]]\nmodel = "elsewhere:opus"\n')
    shown = program("preset", "import", "far.toml").out
    assert "can't be armed here" in shown and "there is no endpoint 'elsewhere'" in shown
    refused = program("run", "--preset", "far", "hello")
    assert refused.code == 2 and "there is no endpoint 'elsewhere'" in refused.err


def test_an_edit_is_taken_over_where_it_can_be_read_and_kept_where_not(program: Program) -> None:
    own = program.config_dir / "presets" / "budget.toml"
    spoil = program("preset", "edit", "budget", env={"EDITOR": "sed -i s/quorum/qorum/"})
    assert spoil.code == 2 and "did you mean quorum?" in spoil.err and "opens it again" in spoil.err
    assert not own.exists()
    mended = program("preset", "edit", "budget", env={"VISUAL": "sed -i s/qorum.*/quorum=3/"})
    assert mended.code == 0 and "before the shipped preset" in mended.out
    assert "quorum=3" in own.read_text() and own.read_text().startswith("# Three cheap models")
    assert [path.name for path in own.parent.iterdir()] == ["budget.toml"]
    assert "is as it was" in program("preset", "edit", "budget", env={"EDITOR": "true"}).out
    assert "VISUAL or EDITOR" in program("preset", "edit", "budget").err


def test_only_ones_own_preset_is_removed_and_none_that_is_named(program: Program) -> None:
    program("preset", "import", "ours.toml")
    program.config((program.config_dir / "config.toml").read_text() + '[moa]\npreset = "ours"\n')
    named = program("preset", "remove", "ours")
    assert named.code == 2 and "moa.preset" in named.err
    program.config((program.config_dir / "config.toml").read_text().replace("ours", "budget"))
    assert program("preset", "remove", "ours", "--json").result["now"] == []
    assert "ships with the program" in program("preset", "remove", "budget").err
    assert "did you mean" in program("preset", "remove", "bugdet").err
    program("preset", "copy", "budget", "budget")
    assert program("preset", "remove", "budget", "--json").result["now"] == ["shipped"]
