"""Show a page: with rich on a terminal where rich is installed, as plain text everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from typing import IO, TYPE_CHECKING

from rope_compat._report.page import WIDTH, Entry, Item, Page, Row, Tone
from rope_compat._report.text import MARKS, page_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

__all__ = ["encodable", "show"]

_STYLES: dict[Tone, str] = {"good": "green", "warn": "yellow", "bad": "bold red", "plain": ""}


def show(page: Page) -> None:
    """Print the page on standard output. ``NO_COLOR`` takes the colours away, as rich reads it."""
    stream = sys.stdout
    if stream.isatty():
        try:
            from rich.console import Console
        except ImportError:
            pass
        else:
            # Highlighting would colour every number; emoji codes (":x:") could be part of a path.
            console = Console(file=stream, highlight=False, emoji=False)
            console.width = min(console.width, WIDTH)
            _show_rich(page, console)
            return
    stream.write(encodable(page_text(page), stream) + "\n")


def encodable(text: str, stream: IO[str]) -> str:
    """A directory's name may hold what the terminal's encoding does not have."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _show_rich(page: Page, console: Console) -> None:
    from rich.panel import Panel
    from rich.text import Text

    def text(words: str, style: str = "") -> Text:
        # Text, not markup: "transformers[torch]" is no style.
        return Text(encodable(words, console.file), style)

    style = _STYLES[page.tone]
    console.print(Panel(text(page.headline, f"bold {style}".strip()), border_style=style or "none"))
    for section in page.sections:
        if section.entries:
            console.print()
            console.print(text(section.title, "bold"))
            for is_row, entries in groupby(section.entries, lambda entry: isinstance(entry, Row)):
                console.print(_grid(list(entries), console, is_row=is_row))
    if page.footer:
        console.print()
        console.print(text(page.footer, "dim"))


def _grid(entries: Sequence[Entry], console: Console, *, is_row: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1 if not is_row else 2, 0, 0))
    grid.add_column(no_wrap=True)
    # Long paths and URLs go over the line rather than off it.
    grid.add_column(overflow="fold")
    for entry in entries:
        style = _STYLES[entry.tone]
        if isinstance(entry, Row):
            cell = Text(encodable(entry.text, console.file), style)
            grid.add_row(Text(f"  {entry.label}", "cyan"), cell)
        else:
            grid.add_row(Text(f"  {MARKS[entry.tone]}", style), _item_cell(entry, console.file, style))
    return grid


def _item_cell(item: Item, stream: IO[str], style: str) -> Text:
    from rich.text import Text

    cell = Text(encodable(item.text, stream), style)
    for detail in item.details:
        cell.append(encodable(f"\n{detail}", stream), "dim")
    return cell
