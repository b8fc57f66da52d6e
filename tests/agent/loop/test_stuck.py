"""Going in circles, seen from the calls alone."""

from __future__ import annotations

import json
import pickle

from hypothesis import given
from hypothesis import strategies as st

from agent.loop.stuck import REMEMBERED, Stuck, Watch
from agent.tools.edit import Edit
from agent.tools.write import Write


def edit(watch: Watch, old: str, new: str, path: str = "a.py") -> Stuck | None:
    arguments = {"path": path, "old": old, "new": new}
    text, change = f"changed {old} to {new} in {path}", Edit().change(arguments)
    return watch.saw("edit", json.dumps(arguments), text, change=change)


def write(watch: Watch, content: str) -> Stuck | None:
    arguments = {"path": "a.py", "content": content}
    return watch.saw("write", json.dumps(arguments), f"wrote {len(content)}", change=Write().change(arguments))


def test_the_same_call_with_the_same_result_counts_up() -> None:
    watch = Watch()
    assert watch.saw("read", '{"path": "a"}', "one") is None
    assert watch.saw("read", '{"path": "b"}', "one") is None
    second = watch.saw("read", '{"path": "a"}', "one")
    assert second is not None and (second.kind, second.times) == ("same_result", 2)
    assert watch.saw("read", '{"path": "a"}', "two") is None
    assert watch.saw("read", '{"path": "a"}', "one") is None  # it changed in between


def test_an_edit_that_is_undone_and_made_again() -> None:
    watch = Watch()
    assert edit(watch, "x", "y") is None
    assert edit(watch, "y", "x") is None
    assert edit(watch, "x", "y", path="b.py") is None
    again = edit(watch, "x", "y")
    assert again is not None and again.kind == "edit_redone"


def test_a_file_written_back_and_forth() -> None:
    watch = Watch()
    before = [write(watch, text) for text in ("one", "two", "one")]
    assert "edit_redone" not in [sign.kind for sign in before if sign]  # taken back once: that happens
    again = write(watch, "two")
    assert again is not None and again.kind == "edit_redone"


def test_the_same_error_three_times_whatever_the_call_and_its_numbers() -> None:
    watch = Watch()
    said = [
        watch.saw("shell", json.dumps({"command": f"pytest {n}"}), f"line {n}: boom", is_error=True) for n in range(6)
    ]
    assert [sign.kind if sign else None for sign in said] == [None, None, "same_error", None, None, "same_error"]
    assert watch.saw("shell", '{"command": "ls"}', "another error", is_error=True) is None


def test_a_failed_edit_changes_nothing() -> None:
    watch = Watch()
    edit(watch, "x", "y")
    edit(watch, "y", "x")
    arguments = json.dumps({"path": "a.py", "old": "x", "new": "y"})
    assert watch.saw("edit", arguments, "not found", is_error=True) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["edit", "write", "read"]), st.text(max_size=20), st.text(max_size=20), st.booleans()
        ),
        max_size=60,
    )
)
def test_it_takes_whatever_models_write(calls: list[tuple[str, str, str, bool]]) -> None:
    watch = Watch()
    for name, arguments, text, failed in calls:
        watch.saw(name, arguments, text, is_error=failed)


def test_its_memory_is_bounded() -> None:
    def size(calls: int) -> int:
        watch = Watch()
        for n in range(calls):
            edit(watch, "x", f"{n}", path=f"{n}.py")
            watch.saw("shell", json.dumps({"command": f"{n}"}), f"failed {chr(0x4E00 + n)}", is_error=True)
        for n in range(calls):
            edit(watch, "x", f"{n}", path="always.py")
        return len(pickle.dumps(watch))

    assert size(4 * REMEMBERED) < 1.1 * size(2 * REMEMBERED)
