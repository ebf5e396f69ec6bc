"""Adapters for `apply_rotary_pos_emb_vision` and `_flashatt`: ``(tensor, freqs)`` and ``(q, k, cos, sin)``.

Which of the two a call is in, the number of its arguments tells. One of them is the native function's; the
other is computed by it where that can be had exactly, else by `rope_compat.rotary`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ..._facts.call_forms import FREQS, PAIR
from ...errors import CallFormError
from ...rotary import flash
from ...rotary.layouts import cos_sin_to_freqs, freqs_to_cos_sin
from ...rotary.mismatch import explain_mismatch
from ...rotary.operations import vision
from .base import AdapterInfo, Context, as_restored, count, dress, misfit, refuse
from .generation import Generation
from .signature import code_of, globals_of

__all__ = ["adapt_flashatt", "adapt_vision", "pairs_halves", "restore_flashatt"]

Function = Callable[..., Any]

_PAIR, _FREQS = ("q", "k", "cos", "sin"), ("tensor", "freqs")


def adapt_vision(native: Function, generation: Generation, context: Context) -> Function | None:
    """Build the adapter that stands in the place of `native`; None if its generation is not of this family.

    Where ``(tensor, freqs)`` is native (Qwen2-VL 4.45.0 to 4.48.3, Qwen2.5-Omni to 5.16.1), a call
    ``(q, k, cos, sin)`` is computed by `rope_compat.rotary`: angles cannot be had from cos and sin without
    rounding. Where ``(q, k, cos, sin)`` is native, the native function computes ``(tensor, freqs)``.
    """
    if generation.order == "freqs":
        info = AdapterInfo(context, native, generation.signature, (PAIR,))
        pair = vision if context.is_library else _pair_of_freqs(native)
        return dress(_in_either_form(info, pair=pair, freqs=native, native="freqs"), info)
    if generation.tensors != 2 or generation.trailing:
        return None
    info = AdapterInfo(context, native, generation.signature, (FREQS,) if pairs_halves(native) else ())
    # (tensor, freqs) of 4.45.0 to 4.48.3 gave [S, H, D] back as [1, S, H, D].
    freqs = _freqs_of_pair(native, adds_batch=True)
    return dress(_in_either_form(info, pair=native, freqs=freqs, native="pair"), info)


def adapt_flashatt(native: Function, generation: Generation, context: Context) -> Function | None:
    """Build the adapter that stands in the place of `native`; None if its generation is not of this family.

    The library's own functions (4.49.0 to 4.52.4, and the ``(tensor, freqs)`` of 4.49.0 development builds)
    call flash-attn, which has no CPU code and may not be installed: tensors on the CPU, and all tensors where
    the module has no kernel, are computed by `rope_compat.rotary` with torch.
    """
    takes_freqs = generation.order == "freqs"
    if not takes_freqs and (generation.tensors != 2 or generation.trailing or generation.order != "cos_sin"):
        return None
    info = AdapterInfo(context, native, generation.signature, (PAIR if takes_freqs else FREQS,))
    # 4.49.0 to 4.51.3 bind the name to None where flash-attn is missing, 4.52.1 and later do not bind it.
    kernel = getattr(native, "__globals__", {}).get("apply_rotary_emb")
    pair: Function
    freqs: Function
    if takes_freqs:
        pair, freqs = _pair_of_freqs(native), native
        if context.is_library:
            pair, freqs = flash.make_flashatt(kernel), _unless_cpu(native, kernel, flash.flashatt_single)
        return dress(_in_either_form(info, pair=pair, freqs=freqs, native="freqs"), info)
    pair, freqs = native, _freqs_of_pair(native, adds_batch=False)
    if context.is_library:
        pair, freqs = _unless_cpu(native, kernel, flash.flashatt), flash.make_flashatt_single(kernel)
    return dress(_in_either_form(info, pair=pair, freqs=freqs, native="pair"), info)


def restore_flashatt(context: Context) -> Function:
    """The function for releases that no longer have it, taking both forms that it had."""
    info = AdapterInfo(context, None, PAIR.signature, (FREQS,))
    either = _in_either_form(info, pair=flash.flashatt, freqs=flash.flashatt_single, native="pair")
    return as_restored(
        dress(either, info),
        "Rotary position embedding of Qwen2.5-VL's vision attention, restored by rope_compat.\n\n"
        "transformers had it from 4.49.0 to 4.52.4. From 4.53.0 on nothing in transformers calls it.",
    )


def _in_either_form(
    info: AdapterInfo, *, pair: Function, freqs: Function, native: Literal["pair", "freqs"]
) -> Function:
    """An adapter that takes both forms: four arguments go to `pair`, two to `freqs`.

    `native` says which of them is the native function.
    """
    pair_is_native, freqs_is_native = native == "pair", native == "freqs"
    takes_freqs = info.forms != ()

    def in_either_form(*args: Any, **kwargs: Any) -> Any:
        given = len(args) + len(kwargs)
        if given == 4 and (not kwargs or set(kwargs).issubset(_PAIR[len(args) :])):
            is_native, compute, problem_of = pair_is_native, pair, _pair_problem
        elif given == 2 and takes_freqs and (not kwargs or set(kwargs).issubset(_FREQS[len(args) :])):
            is_native, compute, problem_of = freqs_is_native, freqs, _freqs_problem
            problem = None if is_native else _freqs_problem(args, kwargs, ranks_only=True)
            if problem is not None:
                raise misfit(info, problem)
        else:
            why = f"it has {given} arguments; the forms have 4, {', '.join(_PAIR)}, or 2, {', '.join(_FREQS)}"
            raise refuse(info, args, kwargs, why)
        if not is_native:
            count(info, "pair" if given == 4 else "freqs")
        try:
            return compute(*args, **kwargs)
        except CallFormError as error:
            # rope_compat's own operations say what does not fit, but not who was called.
            raise misfit(info, str(error)) from None
        except (RuntimeError, AttributeError) as error:
            problem = problem_of(args, kwargs)
            if problem is None:
                raise
            raise misfit(info, problem) from error

    return in_either_form


def _pair_of_freqs(function: Function) -> Function:
    """Make a ``(tensor, freqs)`` function that a user wrote serve ``(q, k, cos, sin)`` calls.

    The angles are taken from cos and sin by atan2, in fp32: exact to 3e-7 for unscaled cos and sin, which
    is what vision attention uses.
    """

    def pair(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Any, Any]:
        freqs = cos_sin_to_freqs(cos, sin)
        return function(q, freqs), function(k, freqs)

    return pair


def _freqs_of_pair(function: Function, *, adds_batch: bool) -> Function:
    """Make a ``(q, k, cos, sin)`` function serve ``(tensor, freqs)`` calls."""

    def single(tensor: Tensor, freqs: Tensor) -> Any:
        cos, sin = freqs_to_cos_sin(freqs)
        output = function(tensor, tensor, cos.float(), sin.float())[0]
        return output.unsqueeze(0) if adds_batch and tensor.dim() == 3 and output.dim() == 3 else output

    return single


def _unless_cpu(native: Function, kernel: Function | None, by_torch: Function) -> Function:
    """`native` for tensors that its kernel takes, `by_torch` for those on the CPU, or without a kernel."""
    if not kernel:
        return by_torch

    def where_it_lies(*args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else kwargs.get("q", kwargs.get("tensor"))
        compute = by_torch if isinstance(first, Tensor) and first.is_cpu else native
        return compute(*args, **kwargs)

    return where_it_lies


def _freqs_problem(args: tuple[Any, ...], kwargs: dict[str, Any], *, ranks_only: bool = False) -> str | None:
    """Why two arguments cannot be a tensor and angles: q and k may have been given, without cos and sin."""
    given = dict(zip(_FREQS, args, strict=False)) | kwargs
    tensor, freqs = given["tensor"], given["freqs"]
    if not isinstance(tensor, Tensor) or not isinstance(freqs, Tensor):
        return f"tensor and freqs must be tensors, not {type(tensor).__name__} and {type(freqs).__name__}"
    if tensor.dim() in (3, 4) and freqs.dim() == 2:
        meets = freqs.shape[0] == tensor.shape[-3] and 2 * freqs.shape[1] == tensor.shape[-1]
        if ranks_only or meets:
            return None
    return (
        f"tensor has shape {tuple(tensor.shape)}, freqs {tuple(freqs.shape)}; expected a tensor (b, s, h, d) "
        "and freqs (s, d / 2), angles in radians, one for each pair of channels"
    )


def _pair_problem(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """What is wrong with q, k, cos and sin, as far as it can be seen from outside."""
    given = dict(zip(_PAIR, args, strict=False)) | kwargs
    for name, value in given.items():
        if not isinstance(value, Tensor):
            return f"{name} must be a tensor, not {type(value).__name__}"
    cos, sin = tuple(given["cos"].shape), tuple(given["sin"].shape)
    if cos != sin:
        return f"cos has shape {cos}, sin {sin}; they must be equal"
    for name in ("q", "k"):
        message = explain_mismatch(tuple(given[name].shape), cos, -2, name=name, adjustable=False)
        if message is not None:
            return message
    return None


def pairs_halves(native: Function) -> bool:
    """Whether the function's own `rotate_half` turns (0, 1, 2, 3) into (-2, -3, 0, 1).

    Inkling 2 (5.23.0) pairs neighbours; GLM's text `rotate_half` does too, under the same name.
    """
    code = code_of(native)
    if code is None or "rotate_half" not in code.co_names:
        return False
    rotate = globals_of(native).get("rotate_half")
    try:
        turned = rotate(torch.arange(4.0, device="cpu"))  # type: ignore[misc]
        return bool(turned.tolist() == [-2.0, -3.0, 0.0, 1.0])
    except Exception:
        # Any failure of a function of that name says only that it is not the one we know.
        return False
