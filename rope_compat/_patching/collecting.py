"""Keep the garbage collector out of the way while much is made that stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["paused_collector"]


@contextmanager
def paused_collector() -> Iterator[None]:
    """No collection in the body of the ``with``; afterwards everything is as it was.

    With every modeling module of transformers loaded, one full collection takes longer than all of a patch:
    it walks every object of the process, and none of the new ones can be freed.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
