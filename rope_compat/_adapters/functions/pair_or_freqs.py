"""Tell the two forms of the vision families apart: ``(q, k, cos, sin)`` and ``(tensor, freqs)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from ...errors import CallFormError
from ...rotary.layouts import cos_sin_to_freqs
from ...rotary.mismatch import explain_mismatch
from .base import AdapterInfo, is_compiling, misfit, refuse

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
            except CallFormError as error:
                # rope_compat's own operations say what does not fit, but not who was called.
                raise misfit(info, str(error)) from None
            except (RuntimeError, AttributeError) as error:
                problem = _pair_problem(args, kwargs)
                if problem is None:
                    raise
                raise misfit(info, problem) from error
        if count == 2 and not refused and (not kwargs or _named(kwargs, _FREQS[len(args) :])):
            problem = None if two else _rank_problem(args, kwargs)
            if problem is not None:
                raise misfit(info, problem)
            if not two and not is_compiling():
                info.count("freqs")
            try:
                return freqs(*args, **kwargs)
            except CallFormError as error:
                raise misfit(info, str(error)) from None
            except (RuntimeError, AttributeError) as error:
                problem = _shape_problem(args, kwargs)
                if problem is None:
                    raise
                raise misfit(info, problem) from error
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


def _tensor_and_freqs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    given = dict(zip(_FREQS, args, strict=False)) | kwargs
    return given["tensor"], given["freqs"]


def _rank_problem(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Why two arguments cannot be a tensor and angles: q and k may have been given, without cos and sin."""
    tensor, freqs = _tensor_and_freqs(args, kwargs)
    if not isinstance(tensor, Tensor) or not isinstance(freqs, Tensor):
        return f"tensor and freqs must be tensors, not {type(tensor).__name__} and {type(freqs).__name__}"
    if tensor.dim() in (3, 4) and freqs.dim() == 2:
        return None
    return _expected(tensor, freqs)


def _shape_problem(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    problem = _rank_problem(args, kwargs)
    if problem is not None:
        return problem
    tensor, freqs = _tensor_and_freqs(args, kwargs)
    fits = freqs.shape[0] == tensor.shape[-3] and 2 * freqs.shape[1] == tensor.shape[-1]
    return None if fits else _expected(tensor, freqs)


def _expected(tensor: Tensor, freqs: Tensor) -> str:
    return (
        f"tensor has shape {tuple(tensor.shape)}, freqs {tuple(freqs.shape)}; expected a tensor (b, s, h, d) "
        "and freqs (s, d / 2), angles in radians, one for each pair of channels"
    )


def _named(kwargs: dict[str, Any], names: tuple[str, ...]) -> bool:
    return all(name in names for name in kwargs)


def _pair_problem(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """What is wrong with q, k, cos and sin, as far as it can be seen from outside."""
    given = dict(zip(_PAIR, args, strict=False)) | kwargs
    for name, value in given.items():
        if not isinstance(value, Tensor):
            return f"{name} must be a tensor, not {type(value).__name__}"
    if given["cos"].shape != given["sin"].shape:
        return (
            f"cos has shape {tuple(given['cos'].shape)}, sin {tuple(given['sin'].shape)}; they must be equal"
        )
    for name in ("q", "k"):
        shape, cos = tuple(given[name].shape), tuple(given["cos"].shape)
        message = explain_mismatch(shape, cos, -2, name=name, adjustable=False)
        if message is not None:
            return message
    return None
