"""The page of a report on a model: what was wrong first, then what was left alone."""

from __future__ import annotations

from rope_compat.outcome import Item as Found
from rope_compat.outcome import Report
from rope_compat.report.page import Item, Page, Section, Tone
from rope_compat.report.words import counted

__all__ = ["page"]

_TITLES: dict[str, tuple[str, Tone]] = {
    "wrong": ("Wrong:", "bad"),
    "repaired": ("Repaired:", "good"),
    "skipped": ("Left alone:", "plain"),
}


def page(report: Report) -> Page:
    """What is wrong, what was repaired and what was left alone, by name."""
    right = sum(item.status == "ok" for item in report)
    sections = tuple(
        Section(title, tuple(Item(_line(item), tone) for item in report if item.status == status))
        for status, (title, tone) in _TITLES.items()
    )
    headline = (
        f"{report.subject}: {counted(len(report.repaired), 'tensor')} repaired, {right} right as they were."
    )
    return Page(headline, sections, "plain" if report.ok else "bad")


def _line(item: Found) -> str:
    size = f" (off by {item.max_error:.3g})" if item.max_error not in (None, 0.0) else ""
    return f"{item.name}: {item.reason}{size}"
