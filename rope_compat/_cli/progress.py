"""Show on standard error how far a long loop is: with rich where it is installed, as a counter otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

__all__ = ["watched"]


@contextmanager
def watched(names: Sequence[str], title: str) -> Iterator[Iterator[str]]:
    """An iterator over ``names`` that shows its progress; one line where nobody watches a terminal."""
    stream = sys.stderr
    if not stream.isatty():
        print(f"rope-compat: {title} ...", file=stream, flush=True)
        yield iter(names)
        return
    try:
        import rich.progress
    except ImportError:
        try:
            yield _counter(names, title, stream)
        finally:
            # The counter's line would otherwise stay under what is printed next.
            stream.write("\r\033[K")
            stream.flush()
        return
    console = rich.console.Console(file=stream)
    # Without redirection: what modules print while they are imported is not to be shown.
    with rich.progress.Progress(
        console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        yield iter(progress.track(names, description=title))


def _counter(names: Sequence[str], title: str, stream: TextIO) -> Iterator[str]:
    for number, name in enumerate(names, start=1):
        stream.write(f"\rrope-compat: {title}: {number}")
        stream.flush()
        yield name
