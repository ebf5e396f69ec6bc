"""What a function that stands in a library function's place looks like."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["dressed", "native_of"]


def dressed(
    function: Callable[..., Any],
    original: Any,
    *,
    mark: tuple[str, object] | None = None,
    signature: inspect.Signature | None = None,
) -> Callable[..., Any]:
    """`function` with the name, the documentation and the signature of what it stands for.

    Not by `functools.wraps`: that would set ``__wrapped__``, which `inspect` follows.

    Args:
        function: it is changed, and returned.
        original: the library's function.
        mark: an attribute by which rope_compat knows its own again, and its value.
        signature: that of `original`, where it is known: reading one takes 30 microseconds.
    """
    for name in ("__name__", "__qualname__", "__module__"):
        # A callable object need not have them: what `function` is called then stays.
        setattr(function, name, getattr(original, name, None) or getattr(function, name))
    function.__doc__ = getattr(original, "__doc__", None)
    function.__signature__ = signature or inspect.signature(original)  # type: ignore[attr-defined]
    if mark is not None:
        setattr(function, *mark)
    return function


def native_of(function: Any) -> Any:
    """The function or method behind an adapter; any other object itself."""
    info = getattr(function, "__rope_compat__", None)
    return function if info is None else info.native
