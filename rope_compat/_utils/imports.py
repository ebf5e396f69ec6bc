"""Import modules of others without what they print, and say in one line what they raised."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout

__all__ = ["quiet", "reason_of"]

_LONGEST_REASON = 240


def reason_of(error: BaseException) -> str:
    """The type and the first line of an exception, shortened."""
    lines: Iterable[str] = filter(None, map(str.strip, str(error).splitlines()))
    text = f"{type(error).__name__}: {next(iter(lines), '(no message)')}"
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + " ..."


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing that modules print, warn or log while they are imported belongs on the page."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
