"""Functions of flash-attn that modules of transformers re-exported: from the package, or what stands for it.

Without the package, what plain torch can do is done; what needs a kernel says so when it is called, so that
code that only imports it can be imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import IncompatibleVersionError

__all__ = ["find"]

_PLACES = {
    "flash_attn_func": "flash_attn",
    "flash_attn_varlen_func": "flash_attn",
    "index_first_axis": "flash_attn.bert_padding",
    "pad_input": "flash_attn.bert_padding",
    "unpad_input": "flash_attn.bert_padding",
}


def find(module: str, name: str) -> Any:
    """The function of that name."""
    import importlib

    try:
        return getattr(importlib.import_module(_PLACES[name]), name)
    except ImportError:
        pass
    own = {"index_first_axis": _index_first_axis, "pad_input": _pad_input}.get(name)
    return own if own is not None else _missing(name)


def _missing(name: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise IncompatibleVersionError(
            f"{name} is a function of flash-attn, which is not installed here: pip install flash-attn, or "
            'use attn_implementation="sdpa"'
        )

    function.__name__ = function.__qualname__ = name
    return function


def _index_first_axis(input: Any, indices: Any) -> Any:  # flash-attn's own name for it
    """The rows of `input` that `indices` name."""
    return input[indices]


def _pad_input(hidden_states: Any, indices: Any, batch: int, seqlen: int) -> Any:
    """Put the rows of packed tokens back where they were in a padded batch; zeros elsewhere."""
    padded = hidden_states.new_zeros((batch * seqlen, *hidden_states.shape[1:]))
    # Not in place on a leaf: gradients reach the rows.
    return padded.index_put((indices,), hidden_states).view(batch, seqlen, *hidden_states.shape[1:])
