"""The page of a report on a model: what was wrong first, then what was left alone."""

from __future__ import annotations

from rope_compat._outcome import Item as Found
from rope_compat._outcome import Report
from rope_compat._report.page import Item, Page, Section, Tone
from rope_compat._report.words import counted

__all__ = ["page"]

_TITLES: dict[str, tuple[str, Tone]] = {
    "wrong": ("Wrong:", "bad"),
    "repaired": ("Repaired:", "good"),
    "note": ("Worth knowing:", "plain"),
    "skipped": ("Left alone:", "plain"),
}


def page(report: Report) -> Page:
    """What is wrong, what was repaired and what was left alone, by name."""
    sections = tuple(
        Section(title, tuple(_entry(item, tone) for item in report if item.status == status))
        for status, (title, tone) in _TITLES.items()
    )
    return Page(_headline(report), sections, "plain" if report.ok else "bad")


def _headline(report: Report) -> str:
    right = sum(item.status == "ok" for item in report)
    if report.purpose == "verify":
        return f"{report.subject}: {right} right, {len(report.wrong)} wrong."
    repaired = counted(len(report.repaired), "tensor")
    return f"{report.subject}: {repaired} repaired, {right} right as they were."


def _entry(item: Found, tone: Tone) -> Item:
    where = "" if item.position is None else f" at position {item.position}"
    size = f" (off by {item.max_error:.3g}{where})" if item.max_error not in (None, 0.0) else ""
    return Item(f"{item.name}: {item.reason}{size}", tone, (item.advice,) if item.advice else ())
