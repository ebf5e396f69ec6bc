"""`no_init_weights`, which moved from ``modeling_utils`` to ``initialization`` in 5.0.0."""

from __future__ import annotations

import contextlib
from typing import Any

__all__ = ["no_init_weights"]


def no_init_weights(_enable: bool = True) -> Any:
    """A context in which models are constructed without initialising their weights."""
    # `_enable` was a parameter up to 4.52.
    if not _enable:
        return contextlib.nullcontext()
    from transformers.initialization import no_init_weights as moved

    return moved()
