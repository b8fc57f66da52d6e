"""Unified diffs that take bounded time and space."""

from __future__ import annotations

from agent.text.encodable import whole

CONTEXT = 3
MAX_COMPARED = 2_000
"""Lines on either side that are compared one by one; a larger change is shown as one block taken out and one put in."""
MAX_SHOWN = 2_000
"""Lines of diff."""


def unified_diff(before: str, after: str, name: str, *, created: bool = False) -> str:
    """The change as a unified diff for people; empty where nothing changed.

    What both begin and end with is set aside first, which leaves little to compare in all but wholesale rewrites: `difflib` alone needs
    minutes for two long files. Line ends are not shown.
    """
    import difflib

    old, new = before.splitlines(), after.splitlines()
    if before == after:
        return ""
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    low = max(0, start - CONTEXT)
    old_high, new_high = len(old) - max(0, end - CONTEXT), len(new) - max(0, end - CONTEXT)
    old_part, new_part = old[low:old_high], new[low:new_high]
    if max(len(old_part), len(new_part)) <= MAX_COMPARED:
        groups = list(difflib.SequenceMatcher(None, old_part, new_part).get_grouped_opcodes(CONTEXT))
    else:
        lead, tail = start - low, min(end, CONTEXT)
        old_mid, new_mid = len(old_part) - tail, len(new_part) - tail
        groups = [
            [
                ("equal", 0, lead, 0, lead),
                ("replace", lead, old_mid, lead, new_mid),
                ("equal", old_mid, len(old_part), new_mid, len(new_part)),
            ]
        ]
    lines = ["--- /dev/null" if created else f"--- a/{name}", f"+++ b/{name}"]
    for group in groups:
        first, last = group[0], group[-1]
        lines.append(f"@@ -{_range(first[1] + low, last[2] + low)} +{_range(first[3] + low, last[4] + low)} @@")
        for kind, i1, i2, j1, j2 in group:
            if kind == "equal":
                lines += [" " + line for line in old_part[i1:i2]]
                continue
            lines += ["-" + line for line in old_part[i1:i2]]
            lines += ["+" + line for line in new_part[j1:j2]]
    if len(lines) == 2:
        lines.append("(only line ends changed)")
    if len(lines) > MAX_SHOWN:
        lines[MAX_SHOWN:] = [f"… {len(lines) - MAX_SHOWN:,} more lines"]
    return whole("\n".join(lines) + "\n")


def _common(one: list[str], other: list[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _range(low: int, high: int) -> str:
    # As in diff's own format: an empty range names the line before it.
    count = high - low
    if count == 1:
        return str(low + 1)
    return f"{low + 1 if count else low},{count}"
