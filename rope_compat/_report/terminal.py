"""Show pages and JSON documents: with rich on a terminal where rich is installed, plainly everywhere else."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rope_compat._report.page import MARKS, WIDTH, Page, Row, Tone, page_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["console", "show", "show_json", "styled", "write"]

_STYLES: dict[Tone, str] = {"good": "green", "warn": "yellow", "bad": "bold red", "plain": ""}


def show(page: Page) -> None:
    """Print the page on standard output. ``NO_COLOR`` takes the colours away, as rich reads it."""
    terminal = console()
    if terminal is None:
        write(page_text(page) + "\n")
    else:
        terminal.width = min(terminal.width, WIDTH)
        _show_rich(page, terminal)


def show_json(document: Mapping[str, object]) -> None:
    """Print one document, indented, in ASCII, with a final newline."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def write(text: str) -> None:
    """Print as it is."""
    sys.stdout.write(_encodable(text))


def console() -> Console | None:
    """rich's console of standard output; None where that is no terminal, or rich is not installed."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    # Highlighting would colour every number; emoji codes (":x:") could be part of a path.
    return Console(file=sys.stdout, highlight=False, emoji=False)


def styled(*pieces: tuple[str, str]) -> Text:
    """Texts with their styles; they are no markup: "transformers[torch]" is no style."""
    from rich.text import Text

    return Text.assemble(*((_encodable(text), style) for text, style in pieces))


def _encodable(text: str) -> str:
    """A directory's name may hold what the terminal's encoding does not have."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _show_rich(page: Page, terminal: Console) -> None:
    from rich.panel import Panel
    from rich.table import Table

    style = _STYLES[page.tone]
    terminal.print(Panel(styled((page.headline, f"bold {style}".strip())), border_style=style or "none"))
    for section in page.sections:
        if not section.entries:
            continue
        terminal.print()
        terminal.print(styled((section.title, "bold")))
        for is_row, entries in groupby(section.entries, lambda entry: isinstance(entry, Row)):
            grid: Any = Table.grid(padding=(0, 2 if is_row else 1, 0, 0))
            grid.add_column(no_wrap=True)
            # Long paths and URLs go over the line rather than off it.
            grid.add_column(overflow="fold")
            for entry in entries:
                style = _STYLES[entry.tone]
                if isinstance(entry, Row):
                    grid.add_row(styled((f"  {entry.label}", "cyan")), styled((entry.text, style)))
                else:
                    details = ((f"\n{detail}", "dim") for detail in entry.details)
                    mark = styled((f"  {MARKS[entry.tone]}", style))
                    grid.add_row(mark, styled((entry.text, style), *details))
            terminal.print(grid)
    if page.footer:
        terminal.print()
        terminal.print(styled((page.footer, "dim")))
