"""Adapters for `apply_rotary_pos_emb_flashatt`, and the function itself for releases without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..._facts.call_forms import FREQS, PAIR
from ...rotary import flash
from .base import AdapterInfo, Context, dress
from .generation import Generation
from .pair_or_freqs import from_angles, pair_or_freqs

__all__ = ["adapt_flashatt", "restore_flashatt"]


def adapt_flashatt(
    native: Callable[..., Any], generation: Generation, context: Context
) -> Callable[..., Any] | None:
    """Build the adapter that stands in the place of `native`; None if its generation is not of this family.

    The library's own functions (4.49.0 to 4.52.4, and the ``(tensor, freqs)`` of 4.49.0 development builds)
    call flash-attn, which has no CPU code and may not be installed: tensors on the CPU, and all tensors where
    the module has no kernel, are computed by `rope_compat.rotary` with torch.
    """
    if generation.order == "freqs":
        info = AdapterInfo(context, native, generation.signature, (PAIR,))
        if not context.is_library:
            return dress(pair_or_freqs(info, pair=from_angles(native), freqs=native, native="freqs"), info)
        kernel = _kernel(native)
        freqs = _unless_cpu(native, flash.flashatt_single) if kernel else flash.flashatt_single
        pair = flash.make_flashatt(kernel)
        return dress(pair_or_freqs(info, pair=pair, freqs=freqs, native="freqs"), info)
    if generation.tensors != 2 or generation.trailing or generation.order != "cos_sin":
        return None
    info = AdapterInfo(context, native, generation.signature, (FREQS,))
    if not context.is_library:
        return dress(pair_or_freqs(info, pair=native, freqs=_one_of_pair(native), native="pair"), info)
    kernel = _kernel(native)
    pair = _unless_cpu(native, flash.flashatt) if kernel else flash.flashatt
    freqs = flash.make_flashatt_single(kernel)
    return dress(pair_or_freqs(info, pair=pair, freqs=freqs, native="pair"), info)


def restore_flashatt(context: Context) -> Callable[..., Any]:
    """The function for releases that no longer have it, taking both forms that it had."""
    info = AdapterInfo(context, None, PAIR.signature, (FREQS,))
    adapter = pair_or_freqs(info, pair=flash.flashatt, freqs=flash.flashatt_single, native="pair")
    adapter.__doc__ = (
        "Rotary position embedding of Qwen2.5-VL's vision attention, restored by rope_compat.\n\n"
        "transformers had it from 4.49.0 to 4.52.4. From 4.53.0 on nothing in transformers calls it."
    )
    return dress_restored(adapter, info)


def dress_restored(adapter: Callable[..., Any], info: AdapterInfo) -> Callable[..., Any]:
    """Name a function that has no native counterpart; its own documentation stays."""
    documentation = adapter.__doc__
    dressed = dress(adapter, info)
    dressed.__doc__ = documentation
    return dressed


def _kernel(native: Callable[..., Any]) -> Callable[..., Any] | None:
    """The kernel that the module of `native` found when it was imported.

    4.49.0 to 4.51.3 bind the name to None where flash-attn is missing, 4.52.1 and later do not bind it.
    """
    found: Callable[..., Any] | None = getattr(native, "__globals__", {}).get("apply_rotary_emb")
    return found


def _unless_cpu(native: Callable[..., Any], fallback: Callable[..., Any]) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else kwargs.get("q", kwargs.get("tensor"))
        return (
            fallback(*args, **kwargs)
            if isinstance(first, Tensor) and first.is_cpu
            else native(*args, **kwargs)
        )

    return function


def _one_of_pair(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a user's ``(q, k, cos, sin)`` replacement serve ``(tensor, freqs)`` calls."""
    from ...rotary.layouts import freqs_to_cos_sin

    def freqs(tensor: Tensor, freqs: Tensor) -> Any:
        cos, sin = freqs_to_cos_sin(freqs)
        return function(tensor, tensor, cos.float(), sin.float())[0]

    return freqs
