"""The page of a plan: shim by shim, with each shim's reason."""

from __future__ import annotations

from collections.abc import Iterator

from rope_compat._plan import Plan, Step
from rope_compat._report.examination import is_unexpected
from rope_compat._report.page import Entry, Item, Page, Row, Section
from rope_compat._rules.rooms import changes_by_part
from rope_compat._rules.shim import Shim

__all__ = ["page", "period", "unexpected"]


def page(plan: Plan) -> Page:
    """The plan, shim by shim."""
    if not plan.shims:
        return Page("rope_compat does nothing here: ROPE_COMPAT=off.", (), "warn")
    options = "; ".join(f"{name} {value}" for name, value in plan.options if value)
    skipped = unexpected(plan)
    headline = f"Plan {plan.digest} for transformers {plan.transformers or '(not installed)'}"
    if plan.x_transformers is not None:
        headline += f" and x-transformers {plan.x_transformers}"
    headline += f"; {options}"
    if skipped:
        headline += f"; {len(skipped)} left alone, marked with !"
    busy = [shim for shim in plan.shims if any(step.shim == shim.name for step in plan.steps)]
    idle = [shim for shim in plan.shims if shim not in busy]
    return Page(
        headline,
        (
            Section("Changes to what is loaded, by part:", tuple(_changes(plan))),
            *(Section(_title(shim), tuple(_entries(shim, plan))) for shim in busy),
            Section("Nothing to do here:", tuple(Item(_title(shim)) for shim in idle)),
        ),
        "warn" if skipped else "plain",
    )


def unexpected(plan: Plan) -> list[Step]:
    """The steps whose target is there, should be adapted, and cannot be."""
    return [step for step in plan.steps if is_unexpected(step)]


def period(shim: Shim) -> str:
    """The releases on which a shim has something to do."""
    when = f"{shim.since} to {shim.until}" if shim.until else f"since {shim.since}"
    return when if shim.package == "transformers" else f"{shim.package} {when}"


def _changes(plan: Plan) -> Iterator[Entry]:
    for part, count in changes_by_part(step.shim for step in plan.steps if step.state == "now"):
        yield Item(f"{part}: {count}")


def _title(shim: Shim) -> str:
    return f"{shim.name} ({shim.kind}, {period(shim)})"


def _entries(shim: Shim, plan: Plan) -> Iterator[Entry]:
    yield Row("why", f"{shim.why}.")
    yield Row("helps", f"{shim.helps}.")
    if shim.note:
        yield Row("note", f"{shim.note}.")
    for step in plan.steps:
        if step.shim == shim.name:
            yield Item(
                f"{step.state}: {step.target}: {step.detail}", "warn" if is_unexpected(step) else "plain"
            )
