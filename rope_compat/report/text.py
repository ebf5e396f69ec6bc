"""Plans, states and environments as plain text that fits a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..planning import Plan
    from ..state import Status

__all__ = ["plan_text", "status_text"]

_WIDTH = 100


def wrap(text: str, indent: str = "    ") -> str:
    """`text` wrapped to the page, every line indented."""
    return textwrap.fill(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )


def plan_text(plan: Plan) -> str:
    """The plan, shim by shim, with each shim's reason."""
    if not plan.shims:
        return "rope_compat does nothing here: ROPE_COMPAT=off."
    options = "; ".join(f"{name} {value}" for name, value in plan.options if value)
    lines = [f"Plan {plan.digest} for transformers {plan.transformers or '(not installed)'}; {options}", ""]
    idle = []
    for shim in plan.shims:
        steps = [step for step in plan.steps if step.shim == shim.name]
        if not steps:
            idle.append(shim)
            continue
        lines += [
            f"{shim.name} ({shim.kind}, {shim.since} to {shim.until or 'now'})",
            wrap(f"why: {shim.why}."),
        ]
        if shim.note:
            lines.append(wrap(f"note: {shim.note}."))
        lines += [wrap(f"{step.state}: {step.target}: {step.detail}", "    - ") for step in steps]
        lines.append("")
    if idle:
        lines.append("Nothing to do here:")
        lines += [
            wrap(f"{shim.name} ({shim.kind}, {shim.since} to {shim.until or 'now'})", "    - ")
            for shim in idle
        ]
    return "\n".join(lines).rstrip()


def status_text(status: Status) -> str:
    """What is adapted, what was skipped, and what calls came in foreign forms."""
    if not status.active:
        return "rope_compat is off: nothing is patched."
    lines = [f"rope_compat is on: {len(status.adapted)} targets adapted by {status.patches} patch() call(s)."]
    called = [item for item in status.adapted if item.foreign_calls]
    if called:
        lines.append("Calls in foreign forms:")
        for item in called:
            counts = ", ".join(f"{count} {form}" for form, count in sorted(item.foreign_calls.items()))
            lines.append(wrap(f"{item.target}: {counts}", "    - "))
    if status.skipped:
        lines.append("Left alone:")
        lines += [wrap(f"{target}: {reason}", "    - ") for target, reason in status.skipped]
    lines += [wrap(f"note: {note}", "") for note in status.notes]
    return "\n".join(lines)
