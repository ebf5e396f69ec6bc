"""Adapters for `apply_rotary_pos_emb_vision`: ``(tensor, freqs)`` and ``(q, k, cos, sin)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..._facts.call_forms import FREQS, PAIR
from ...rotary.layouts import freqs_to_cos_sin
from ...rotary.operations import vision
from .base import AdapterInfo, Context, dress, refuse
from .generation import Generation
from .pair_or_freqs import from_angles, pair_or_freqs
from .signature import code_of, globals_of

__all__ = ["adapt_vision", "pairs_halves"]


def adapt_vision(
    native: Callable[..., Any], generation: Generation, context: Context
) -> Callable[..., Any] | None:
    """Build the adapter that stands in the place of `native`; None if its generation is not of this family.

    Where ``(tensor, freqs)`` is native (Qwen2-VL 4.45.0 to 4.48.3, Qwen2.5-Omni to 5.16.1), a call
    ``(q, k, cos, sin)`` is computed by `rope_compat.rotary`: angles cannot be had from cos and sin without
    rounding. Where ``(q, k, cos, sin)`` is native, the native function computes ``(tensor, freqs)``.
    """
    if generation.order == "freqs":
        info = AdapterInfo(context, native, generation.signature, (PAIR,))
        pair = vision if context.is_library else from_angles(native)
        return dress(pair_or_freqs(info, pair=pair, freqs=native, native="freqs"), info)
    if generation.tensors != 2 or generation.trailing:
        return None
    info = AdapterInfo(context, native, generation.signature, (FREQS,) if pairs_halves(native) else ())

    def freqs(tensor: Tensor, freqs: Tensor) -> Tensor:
        if not info.forms:
            raise refuse(
                info, (tensor, freqs), {}, "it does not pair channels by halves, so freqs cannot be laid out"
            )
        cos, sin = freqs_to_cos_sin(freqs)
        output: Tensor = native(tensor, tensor, cos.float(), sin.float())[0]
        # (tensor, freqs) of 4.45.0 to 4.48.3 gave [S, H, D] back as [1, S, H, D].
        return output.unsqueeze(0) if tensor.dim() == 3 and output.dim() == 3 else output

    return dress(pair_or_freqs(info, pair=native, freqs=freqs, native="pair"), info)


def pairs_halves(native: Callable[..., Any]) -> bool:
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
