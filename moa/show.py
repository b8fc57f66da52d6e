"""A recorded counsel as a View: who said what, the analysis, the guidance as sent. Everything models wrote stays literal text."""

from __future__ import annotations

from typing import Any

from agent.llm.money import NANO, show_usd
from agent.views import TableView, TabsView, TreeView, View


def counsel_view(data: dict[str, Any], *, number: int | None = None, of: int | None = None) -> View:
    """Three tabs, from a record's `data` (see `moa.record`)."""
    tabs: list[tuple[str, View]] = [("members", _members(data, number, of))]
    if data.get("analysis"):
        tabs.append(("analysis", _analysis(data)))
    tabs.append(("guidance", TreeView(label="as sent to the main model", text=data.get("guidance") or "none")))
    tabs.append(("facts", _facts(data)))
    return TabsView(tabs=tuple(tabs))


def _members(data: dict[str, Any], number: int | None, of: int | None) -> View:
    which = f"counsel {number} of {of}" if number else "counsel"
    said = [
        TreeView(
            label=" · ".join(
                part
                for part in (
                    member["slot"],
                    member["model_served"],
                    member["role"],
                    "cut off" if member["incomplete"] else "",
                    f"from step {member['step']}" if member["step"] != data["iteration"] - data["age"] else "",
                    f"{member['duration_s']:.1f} s",
                    _money(member["cost"]),
                )
                if part
            ),
            text=member["text"],
        )
        for member in data.get("members", [])
    ]
    said += [
        TreeView(label=f"{failed['slot']} · {failed['model']} · no answer: {failed['kind']}", text=failed["message"])
        for failed in data.get("failed", [])
    ]
    return TreeView(label=f"{which}: {data['answered']} of {data.get('asked', '?')} answered", children=tuple(said))


def _analysis(data: dict[str, Any]) -> View:
    """The analysis by section, each quote of the evidence with its check."""
    sections = []
    for key, items in data["analysis"].items():
        if not items or key == "evidence":
            continue
        leaves = tuple(TreeView(label=_item(item)) for item in items)
        sections.append(TreeView(label=f"{key.replace('_', ' ')} ({len(items)})", children=leaves))
    checks = tuple(
        TreeView(
            label=f"{check['path']} · {check['source']} · {'verified' if check['verified'] else 'not verified'}",
            text=check["quote"],
        )
        for check in data.get("evidence", [])
    )
    if checks:
        sections.append(TreeView(label=f"evidence ({len(checks)})", children=checks))
    return TreeView(label=f"analysis (rung {data['rung']})", children=tuple(sections))


def _item(item: Any) -> str:
    if isinstance(item, str):
        return item
    if "stances" in item:
        stances = "; ".join(f"{stance['model']}: {stance['stance']}" for stance in item["stances"])
        return f"{item['topic']}: {stances}"
    if "models" in item:
        return f"{', '.join(item['models'])}: {item['point']}"
    return f"{item['model']}: {item['insight']}"


def _facts(data: dict[str, Any]) -> View:
    aggregator = data.get("aggregator") or {}
    receipt = data.get("receipt") or {}
    rows = [
        ("preset", data["preset"]),
        ("taken", f"{data['trigger']}: {data.get('reason', '')}"),
        ("sent with", f"call {data['iteration']}, {data['age']} calls after it was taken"),
        ("rung", data["rung"] or "none"),
        ("aggregator", aggregator.get("model_served") or "none was called"),
        ("cost", _money(data["cost"])),
        ("took", f"{data['duration_s']:.1f} s"),
        ("late", ", ".join(f"{late['slot']} (step {late['step']})" for late in data["late"]) or "nobody"),
        ("still at work", ", ".join(data.get("running", [])) or "nobody"),
        ("receipt", str(receipt.get("reason", "none"))),
    ]
    rows += [("warning", warning) for warning in data.get("warnings", [])]
    return TableView(columns=("", ""), rows=tuple((key, str(value)) for key, value in rows))


def _money(cost: dict[str, Any]) -> str:
    if cost["usd"] is None:
        return "unknown"
    return ("≥ " if cost["lower_bound"] else "") + show_usd(round(cost["usd"] * NANO))
