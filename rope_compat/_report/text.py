"""Pages, plans and states as plain text that fits a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rope_compat._report.page import WIDTH, Item, Page, Row, Section, Tone

if TYPE_CHECKING:
    from rope_compat._outcome import Report
    from rope_compat._plan import Plan
    from rope_compat._status import Status

__all__ = ["MARKS", "page_text", "plan_text", "report_text", "status_text"]

MARKS: dict[Tone, str] = {"good": "+", "warn": "!", "bad": "X", "plain": "-"}


def plan_text(plan: Plan) -> str:
    """The plan, shim by shim, with each shim's reason."""
    from rope_compat._report.plan import page

    return page_text(page(plan))


def status_text(status: Status) -> str:
    """What is adapted, what was skipped, and what calls came in foreign forms."""
    from rope_compat._report.status import page

    return page_text(page(status))


def report_text(report: Report) -> str:
    """What was looked at, and what came of it."""
    from rope_compat._report.outcome import page

    return page_text(page(report))


def page_text(page: Page) -> str:
    """The page in ASCII marks and lines of at most `WIDTH` columns."""
    blocks = [_wrapped(page.headline, "", "")]
    blocks += ["\n".join(_section(section)) for section in page.sections if section.entries]
    if page.footer:
        blocks.append(_wrapped(page.footer, "", ""))
    return "\n\n".join(blocks)


def _section(section: Section) -> Iterator[str]:
    yield _wrapped(section.title, "", "")
    width = max((len(entry.label) for entry in section.entries if isinstance(entry, Row)), default=0)
    for entry in section.entries:
        yield from _row(entry, width) if isinstance(entry, Row) else _item(entry)


def _row(row: Row, width: int) -> Iterator[str]:
    start = f"  {row.label:<{width}}  "
    yield _wrapped(row.text, start, " " * len(start))


def _item(item: Item) -> Iterator[str]:
    yield _wrapped(item.text, f"  {MARKS[item.tone]} ", "    ")
    for detail in item.details:
        yield _wrapped(detail, "      ", "      ")


def _wrapped(text: str, first: str, rest: str) -> str:
    """`text` wrapped to the page. Not at hyphens: a command would lose its ``--option``."""
    filled = textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    return filled or first.rstrip()
