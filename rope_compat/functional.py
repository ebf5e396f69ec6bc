"""The explicit API: rotary functions that take every call form and touch no globals.

>>> from rope_compat.functional import apply_rotary_pos_emb
>>> q, k = apply_rotary_pos_emb(q, k, cos, sin, position_ids)  # to 4.37
>>> q, k = apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=2)  # from 5.0

Numbers and dtypes are those of transformers' models: `apply_rotary_pos_emb` is Llama's, `_interleave`
DeepSeek-V3's, `_vision` and `apply_multimodal_rotary_pos_emb` Qwen2-VL's, `_flashatt` Qwen2.5-VL's, `_2d` SAM
2's; see `rope_compat.rotary`. Needs torch, and not transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .adapters.base import Context
from .adapters.build import build_adapter
from .adapters.restoring import restore
from .rotary.interleaved import deinterleave
from .rotary.rotation import rotate_pair
from .rotary.vision import vision as _vision

__all__ = [
    "apply_multimodal_rotary_pos_emb",
    "apply_rotary_pos_emb",
    "apply_rotary_pos_emb_2d",
    "apply_rotary_pos_emb_flashatt",
    "apply_rotary_pos_emb_interleave",
    "apply_rotary_pos_emb_vision",
]

Function = Callable[..., Any]


def _context(family: str) -> Context:
    return Context(target=f"{__name__}:{family}")


def _adapted(family: str, compute: Function) -> Function:
    return _named(build_adapter(compute, _context(family)), family)


def _restored(family: str, operation: str) -> Function:
    return _named(restore(operation, _context(family)), family)


def _named(function: Function, family: str) -> Function:
    function.__name__ = function.__qualname__ = family
    function.__module__ = __name__
    return function


apply_rotary_pos_emb: Function = _adapted("apply_rotary_pos_emb", rotate_pair)
apply_rotary_pos_emb_vision: Function = _adapted("apply_rotary_pos_emb_vision", _vision)
apply_rotary_pos_emb_flashatt: Function = _restored("apply_rotary_pos_emb_flashatt", "flashatt")
apply_rotary_pos_emb_interleave: Function = _adapted("apply_rotary_pos_emb_interleave", deinterleave)
apply_rotary_pos_emb_2d: Function = _restored("apply_rotary_pos_emb_2d", "pairwise 2d")
apply_multimodal_rotary_pos_emb: Function = _restored("apply_multimodal_rotary_pos_emb", "multimodal")

apply_rotary_pos_emb.__doc__ = """Rotate q and k.

    Args:
        q: ``[B, H, S, D]``, or ``[B, S, H, D]`` with ``unsqueeze_dim=2``.
        k: as q; H may differ.
        cos: ``[B or 1, S, R]``, R at most D; a table ``[S, R]`` or ``[1, 1, S, R]`` beside ``position_ids``.
        sin: as cos.
        unsqueeze_dim: the axis of q that cos and sin lack.

    Also takes ``position_ids``, the fifth argument to 4.57: integers that pick rows of a table, and are
    ignored beside cos and sin that are already gathered.

    Returns:
        q and k, in the dtype that torch promotes q (k) and cos to.

    Raises:
        CallFormError: the call is in no form that `apply_rotary_pos_emb` has had.
        LayoutError: the axes do not meet; the message names the ``unsqueeze_dim`` to use.

    Source: transformers 5.0.0, models/llama/modeling_llama.py.
    """
