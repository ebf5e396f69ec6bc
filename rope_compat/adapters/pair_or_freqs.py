"""Tell the two forms of the vision families apart: ``(q, k, cos, sin)`` and ``(tensor, freqs)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from ..errors import LayoutError
from ..rotary.layouts import cos_sin_to_freqs
from ..rotary.mismatch import explain_mismatch
from .base import AdapterInfo, is_compiling, refuse

__all__ = ["from_angles", "pair_or_freqs"]

_PAIR = ("q", "k", "cos", "sin")
_FREQS = ("tensor", "freqs")

Function = Callable[..., Any]


def pair_or_freqs(
    info: AdapterInfo, *, pair: Function, freqs: Function, native: Literal["pair", "freqs"]
) -> Function:
    """An adapter that takes both forms: four arguments go to `pair`, two to `freqs`.

    `native` says which of them is the native function.
    """
    four, two = native == "pair", native == "freqs"
    refused = info.forms == ()

    def adapter(*args: Any, **kwargs: Any) -> Any:
        count = len(args) + len(kwargs)
        if count == 4 and (not kwargs or _named(kwargs, _PAIR[len(args) :])):
            if not four and not is_compiling():
                info.count("pair")
            try:
                return pair(*args, **kwargs)
            except LayoutError:
                raise
            except RuntimeError as error:
                explained = _explain(info, args, kwargs)
                if explained is None:
                    raise
                raise explained from error
        if count == 2 and not refused and (not kwargs or _named(kwargs, _FREQS[len(args) :])):
            if not two and not is_compiling():
                info.count("freqs")
            return freqs(*args, **kwargs)
        why = f"it has {count} arguments; the forms have 4, {', '.join(_PAIR)}, or 2, {', '.join(_FREQS)}"
        raise refuse(info, args, kwargs, why)

    return adapter


def from_angles(function: Function) -> Function:
    """Make a ``(tensor, freqs)`` function that a user wrote serve ``(q, k, cos, sin)`` calls.

    The angles are taken from cos and sin by atan2, in fp32: exact to 3e-7 for unscaled cos and sin, which
    is what vision attention uses.
    """

    def pair(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Any, Any]:
        freqs = cos_sin_to_freqs(cos, sin)
        return function(q, freqs), function(k, freqs)

    return pair


def _named(kwargs: dict[str, Any], names: tuple[str, ...]) -> bool:
    return all(name in names for name in kwargs)


def _explain(info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LayoutError | None:
    given = dict(zip(_PAIR, args, strict=False)) | kwargs
    if not all(isinstance(value, Tensor) for value in given.values()):
        return None
    for name in ("q", "k"):
        message = explain_mismatch(
            tuple(given[name].shape), tuple(given["cos"].shape), -2, name=name, adjustable=False
        )
        if message is not None:
            return LayoutError(f"{info.context.family} of {info.context.module}: {message}")
    return None
