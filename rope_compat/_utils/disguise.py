"""What a function that stands in a library function's place looks like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["dressed"]


def dressed(function: Callable[..., Any], original: Any) -> Callable[..., Any]:
    """`function` with the name, the documentation and the signature of what it stands for.

    Not by `functools.wraps`: that would set ``__wrapped__``, which `inspect` follows.
    """
    import inspect

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(function, name, getattr(original, name, None))
    function.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    return function
