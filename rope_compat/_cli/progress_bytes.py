"""Show on standard error how far fetching and reading are: with rich where it is installed, else plainly."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal, TextIO

__all__ = ["Phase", "shown"]

Phase = Literal["fetching", "reading"]
_UNITS = {"fetching": "releases", "reading": "MB"}
_LINE_EVERY = 25  # percent


@contextlib.contextmanager
def shown() -> Iterator[Callable[[Phase, int, int], None]]:
    """A function to call with what is done, how much of it is, and of how much: see `Phase`.

    Fetching is counted in releases, reading in bytes. Where nobody watches a terminal, each has a few lines.
    """
    stream = sys.stderr
    if not stream.isatty():
        yield _Lines(stream)
        return
    try:
        import rich.progress
    except ImportError:
        try:
            yield _Counter(stream)
        finally:
            # The counter's line would otherwise stay under what is printed next.
            stream.write("\r\033[K")
            stream.flush()
        return
    columns = (
        "{task.description}",
        rich.progress.BarColumn(),
        "{task.fields[amount]}",
        rich.progress.TimeRemainingColumn(),
    )
    console = rich.console.Console(file=stream)
    with rich.progress.Progress(*columns, console=console, transient=True) as progress:
        yield _Bars(progress)


class _Bars:
    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def __call__(self, phase: Phase, done: int, total: int) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase, amount="")
        self._progress.update(
            self._tasks[phase], completed=done, total=total, amount=_amount(phase, done, total)
        )


class _Counter:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, phase: Phase, done: int, total: int) -> None:
        self._stream.write(f"\r\033[Krope-compat: {phase}: {_amount(phase, done, total)}")
        self._stream.flush()


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: dict[str, int] = {}

    def __call__(self, phase: Phase, done: int, total: int) -> None:
        quarter = 100 * done // max(total, 1) // _LINE_EVERY
        if quarter != self._shown.get(phase):
            self._shown[phase] = quarter
            print(f"rope-compat: {phase}: {_amount(phase, done, total)}", file=self._stream, flush=True)


def _amount(phase: Phase, done: int, total: int) -> str:
    scale = 1_000_000 if phase == "reading" else 1
    return f"{done / scale:,.0f} of {total / scale:,.0f} {_UNITS[phase]}"
