"""Show on standard error how far something long is: with rich where it is installed, as a counter otherwise.

Where nobody watches a terminal there are a few lines instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Phase", "shown", "watched"]

Phase = Literal["fetching", "reading"]
_UNITS = {"fetching": "releases", "reading": "MB"}
_LINE_EVERY = 25  # percent


@contextmanager
def _display(*, amounts: bool) -> Iterator[Progress | None]:
    """rich's display on a terminal; None where rich is not installed, for a counter in one line."""
    try:
        import rich.progress as bars
    except ImportError:
        try:
            yield None
        finally:
            # The counter's line would otherwise stay under what is printed next.
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        return
    columns = bars.Progress.get_default_columns()
    if amounts:
        columns = "{task.description}", bars.BarColumn(), "{task.fields[amount]}", bars.TimeRemainingColumn()
    console = bars.Console(file=sys.stderr)
    # What modules print while they are imported, without amounts, is not to be redirected onto the page.
    with bars.Progress(
        *columns, console=console, transient=True, redirect_stdout=amounts, redirect_stderr=amounts
    ) as progress:
        yield progress


@contextmanager
def watched(names: Sequence[str], title: str) -> Iterator[Iterator[str]]:
    """An iterator over ``names`` that shows its progress."""
    if not sys.stderr.isatty():
        print(f"rope-compat: {title} ...", file=sys.stderr, flush=True)
        yield iter(names)
        return
    with _display(amounts=False) as progress:
        yield iter(progress.track(names, description=title)) if progress else _counter(names, title)


def _counter(names: Sequence[str], title: str) -> Iterator[str]:
    for number, name in enumerate(names, start=1):
        print(f"\rrope-compat: {title}: {number}", end="", file=sys.stderr, flush=True)
        yield name


@contextmanager
def shown() -> Iterator[Callable[[Phase, int, int], None]]:
    """A function to call with what is done, how much of it is, and of how much: see `Phase`.

    Fetching is counted in releases, reading in bytes.
    """
    if not sys.stderr.isatty():
        yield _lines()
        return
    with _display(amounts=True) as progress:
        yield _counted if progress is None else _bars(progress)


def _bars(progress: Progress) -> Callable[[Phase, int, int], None]:
    tasks: dict[str, Any] = {}

    def show(phase: Phase, done: int, total: int) -> None:
        if phase not in tasks:
            tasks[phase] = progress.add_task(phase, amount="")
        progress.update(tasks[phase], completed=done, total=total, amount=_amount(phase, done, total))

    return show


def _counted(phase: Phase, done: int, total: int) -> None:
    text = f"\r\033[Krope-compat: {phase}: {_amount(phase, done, total)}"
    print(text, end="", file=sys.stderr, flush=True)


def _lines() -> Callable[[Phase, int, int], None]:
    told: dict[str, int] = {}

    def show(phase: Phase, done: int, total: int) -> None:
        quarter = 100 * done // max(total, 1) // _LINE_EVERY
        if quarter != told.get(phase):
            told[phase] = quarter
            print(f"rope-compat: {phase}: {_amount(phase, done, total)}", file=sys.stderr, flush=True)

    return show


def _amount(phase: Phase, done: int, total: int) -> str:
    scale = 1_000_000 if phase == "reading" else 1
    return f"{done / scale:,.0f} of {total / scale:,.0f} {_UNITS[phase]}"
