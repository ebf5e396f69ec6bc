"""The functions of `rope_compat.functional`, for those who want no layout to be taken for granted.

>>> from rope_compat.strict import apply_rotary_pos_emb
>>> q, k = apply_rotary_pos_emb(q, k, cos, sin, layout="bhsd")

Where there are as many heads as positions, (b, h, s, d) and (b, s, h, d) both fit cos and sin, and one of the
two gives wrong numbers without a word. Here such a call is a `LayoutError` unless it says ``layout`` or
``unsqueeze_dim``, or, with `apply_rotary_pos_emb` and `_interleave`, unless the tensors lie in memory as a
projection leaves them that was split into heads and transposed. Needs torch, and not transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._adapters.functions.explicit import make

__all__ = [
    "apply_multimodal_rotary_pos_emb",
    "apply_rotary_pos_emb",
    "apply_rotary_pos_emb_2d",
    "apply_rotary_pos_emb_flashatt",
    "apply_rotary_pos_emb_interleave",
    "apply_rotary_pos_emb_vision",
]

Function = Callable[..., Any]

apply_rotary_pos_emb: Function = make("apply_rotary_pos_emb", __name__, strict=True)
apply_rotary_pos_emb_vision: Function = make("apply_rotary_pos_emb_vision", __name__, strict=True)
apply_rotary_pos_emb_flashatt: Function = make("apply_rotary_pos_emb_flashatt", __name__, strict=True)
apply_rotary_pos_emb_interleave: Function = make("apply_rotary_pos_emb_interleave", __name__, strict=True)
apply_rotary_pos_emb_2d: Function = make("apply_rotary_pos_emb_2d", __name__, strict=True)
apply_multimodal_rotary_pos_emb: Function = make("apply_multimodal_rotary_pos_emb", __name__, strict=True)
