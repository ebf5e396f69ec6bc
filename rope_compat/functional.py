"""The rotary functions as an explicit API: every call form, no patching, no globals touched.

>>> from rope_compat.functional import apply_rotary_pos_emb
>>> q, k = apply_rotary_pos_emb(q, k, cos, sin, position_ids)  # to 4.37
>>> q, k = apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=2)  # from 5.0

Numbers and dtypes are those of Llama, Qwen2-VL and Qwen2.5-VL in transformers: see
`rope_compat.rotary.operations`. Needs torch, and not transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .adapters.base import Context
from .adapters.build import build_adapter
from .adapters.flashatt import restore_flashatt
from .rotary.rotation import rotate
from .rotary.vision import vision as _vision

__all__ = ["apply_rotary_pos_emb", "apply_rotary_pos_emb_flashatt", "apply_rotary_pos_emb_vision"]


def _llama(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    """Rotate q and k.

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
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return rotate(q, cos, sin), rotate(k, cos, sin)


def _context(family: str) -> Context:
    return Context(target=f"{__name__}:{family}")


Function = Callable[..., Any]

apply_rotary_pos_emb: Function = build_adapter(_llama, _context("apply_rotary_pos_emb"))
apply_rotary_pos_emb_vision: Function = build_adapter(_vision, _context("apply_rotary_pos_emb_vision"))
apply_rotary_pos_emb_flashatt: Function = restore_flashatt(_context("apply_rotary_pos_emb_flashatt"))

for _name, _function in (
    ("apply_rotary_pos_emb", apply_rotary_pos_emb),
    ("apply_rotary_pos_emb_vision", apply_rotary_pos_emb_vision),
    ("apply_rotary_pos_emb_flashatt", apply_rotary_pos_emb_flashatt),
):
    _function.__name__ = _function.__qualname__ = _name
    _function.__module__ = __name__
