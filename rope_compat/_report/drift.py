"""The lines of ``rope-compat doctor --model`` about releases that compute other numbers for the model."""

from __future__ import annotations

from collections.abc import Iterator

from rope_compat._outcome import Item as Found
from rope_compat._outcome import Report
from rope_compat._report.page import Item, Section

__all__ = ["drift_section"]


def drift_section(report: Report | None) -> Section:
    """Each difference with its size and the way to the other numbers; empty where no model was named."""
    if report is None:
        return Section("", ())
    title = f"Numbers of {report.subject} on other releases"
    return Section(title, tuple(_items(report)) or (Item("the same on every release, as far as is known"),))


def _items(report: Report) -> Iterator[Item]:
    for found in report:
        yield Item(f"{found.name}: {found.reason}", "warn", (*_size(found), f"-> {found.advice}"))


def _size(found: Found) -> Iterator[str]:
    if found.max_error:
        yield f"phase error {found.max_error:.3g} rad at position {found.position}"
