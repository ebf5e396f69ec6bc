"""A page: what is said, apart from how it is shown (as plain text, or with rich on a terminal)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["WIDTH", "Entry", "Item", "Page", "Row", "Section", "Tone"]

WIDTH = 100
"""Columns that every page fits."""

Tone = Literal["good", "warn", "bad", "plain"]


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
