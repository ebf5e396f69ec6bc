"""What was found out about a model or a set of functions, item by item, and the page that it prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from ._report import page as pages
from ._report.page import Page, Section, Tone, counted

__all__ = ["Item", "Report", "page"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was looked at.

    Attributes:
        name: its path in the model, such as ``model.rotary_emb.inv_freq``.
        kind: what it is: ``rotary buffer``, ``buffer``, ``function``, ``known drift``.
        status: ``ok`` (it was right), ``repaired``, ``wrong``, ``skipped``, or ``note`` (worth knowing, and
            not wrong).
        reason: what was wrong with it, or why it was left alone.
        max_error: the largest absolute difference from the right value; None where it cannot be told.
        tolerance: how large that may be; 0.0 where bits have to agree.
        fault: one word or two for what is wrong, such as ``theta``, for programs to compare.
        position: the position in the text at which the error is `max_error`.
        advice: what to do about it.
    """

    name: str
    kind: str
    status: Literal["ok", "repaired", "wrong", "skipped", "note"]
    reason: str = ""
    max_error: float | None = None
    tolerance: float | None = None
    fault: str = ""
    position: int | None = None
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, and what came of it."""

    subject: str
    items: tuple[Item, ...]
    purpose: Literal["repair", "verify"] = "repair"

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong any more."""
        return all(item.status != "wrong" for item in self.items)

    @property
    def wrong(self) -> tuple[Item, ...]:
        """The items that are wrong."""
        return tuple(item for item in self.items if item.status == "wrong")

    @property
    def repaired(self) -> tuple[Item, ...]:
        """The items that were wrong and are right now."""
        return tuple(item for item in self.items if item.status == "repaired")

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def to_dict(self) -> dict[str, object]:
        """The report as JSON-ready data."""
        return {"ok": self.ok, "subject": self.subject, "items": [asdict(item) for item in self.items]}

    def __str__(self) -> str:
        return pages.page_text(page(self))


_TITLES: dict[str, tuple[str, Tone]] = {
    "wrong": ("Wrong:", "bad"),
    "repaired": ("Repaired:", "good"),
    "note": ("Worth knowing:", "plain"),
    "skipped": ("Left alone:", "plain"),
}


def page(report: Report) -> Page:
    """What is wrong first, then what was repaired and what was left alone, by name."""
    right = sum(item.status == "ok" for item in report)
    headline = f"{report.subject}: {right} right, {len(report.wrong)} wrong."
    if report.purpose == "repair":
        repaired = counted(len(report.repaired), "tensor")
        headline = f"{report.subject}: {repaired} repaired, {right} right as they were."
    sections = tuple(
        Section(title, tuple(_entry(item, tone) for item in report if item.status == status))
        for status, (title, tone) in _TITLES.items()
    )
    return Page(headline, sections, "plain" if report.ok else "bad")


def _entry(item: Item, tone: Tone) -> pages.Item:
    where = "" if item.position is None else f" at position {item.position}"
    size = f" (off by {item.max_error:.3g}{where})" if item.max_error not in (None, 0.0) else ""
    return pages.Item(f"{item.name}: {item.reason}{size}", tone, (item.advice,) if item.advice else ())
