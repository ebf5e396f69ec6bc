"""A page: what is said, apart from how it is shown, and its plain text; `_report.terminal` has the colours.

It knows nothing of what pages are about. A record that prints itself makes its own page: the arrow is from
`Plan`, `Status`, `Report`, `Identity` and the commands to here, and none goes back.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "MARKS",
    "WIDTH",
    "Entry",
    "Item",
    "Page",
    "Row",
    "Section",
    "Tone",
    "counted",
    "page_text",
    "some",
]

WIDTH = 100
"""Columns that every page fits."""

Tone = Literal["good", "warn", "bad", "plain"]
MARKS: dict[Tone, str] = {"good": "+", "warn": "!", "bad": "X", "plain": "-"}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: a short label, and text beside it."""

    label: str
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Item:
    """A point of a list, and what belongs to it on lines of its own."""

    text: str
    tone: Tone = "plain"
    details: tuple[str, ...] = ()


Entry: TypeAlias = Row | Item


@dataclass(frozen=True, slots=True)
class Section:
    """Entries under a title."""

    title: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The first line says what matters most; a section without entries is not shown."""

    headline: str
    sections: tuple[Section, ...]
    tone: Tone = "plain"
    footer: str = ""


def page_text(page: Page) -> str:
    """The page in ASCII marks and lines of at most `WIDTH` columns."""
    blocks = [_wrapped(page.headline)]
    for section in page.sections:
        if section.entries:
            blocks.append("\n".join([_wrapped(section.title), *_lines(section.entries)]))
    if page.footer:
        blocks.append(_wrapped(page.footer))
    return "\n\n".join(blocks)


def counted(number: int, noun: str) -> str:
    """``1 module``, ``2 modules``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def some(names: Sequence[str], shown: int) -> str:
    """The first of some names, and how many there are besides."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def _lines(entries: Sequence[Entry]) -> list[str]:
    width = max((len(entry.label) for entry in entries if isinstance(entry, Row)), default=0)
    lines = []
    for entry in entries:
        if isinstance(entry, Row):
            lines.append(_wrapped(entry.text, f"  {entry.label:<{width}}  "))
        else:
            lines.append(_wrapped(entry.text, f"  {MARKS[entry.tone]} "))
            for detail in entry.details:
                lines.append(_wrapped(detail, "      "))
    return lines


def _wrapped(text: str, start: str = "") -> str:
    """`text` after `start`, wrapped to the page. Not at hyphens: a command would lose its ``--option``."""
    indent, room = " " * len(start), WIDTH - len(start)
    usual = text.isprintable() and "  " not in text and text.strip() == text
    if not usual or max(map(len, text.split(" "))) > room:
        filled = textwrap.fill(
            text, WIDTH, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False
        )
        return filled or start.rstrip()
    # The same as textwrap's, which takes 60 calls a line: a plan of all models has 5,000 lines.
    lines = []
    while len(text) > room:
        end = text.rindex(" ", 0, room + 1)
        lines.append(text[:end])
        text = text[end + 1 :]
    return (start + f"\n{indent}".join([*lines, text])).rstrip()
