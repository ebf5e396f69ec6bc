"""The explicit API: rotary functions that take every call form and touch no globals.

>>> from rope_compat.functional import apply_rotary_pos_emb
>>> q, k = apply_rotary_pos_emb(q, k, cos, sin, position_ids)  # to 4.37
>>> q, k = apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=2)  # from 5.0
>>> q, k = apply_rotary_pos_emb(q, k, cos, sin, layout="bshd")  # q is (b, s, h, d), and that is checked

All of them take ``layout="bhsd"`` or ``"bshd"``, by keyword. `rope_compat.strict` has the same functions and
refuses calls that do not say how their tensors lie, where both layouts fit.

Numbers and dtypes are those of transformers' models: `apply_rotary_pos_emb` is Llama's, `_interleave`
DeepSeek-V3's, `_vision` and `apply_multimodal_rotary_pos_emb` Qwen2-VL's, `_flashatt` Qwen2.5-VL's, `_2d` SAM
2's; see `rope_compat.rotary`. Needs torch, and not transformers.
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

apply_rotary_pos_emb: Function = make("apply_rotary_pos_emb", __name__)
apply_rotary_pos_emb_vision: Function = make("apply_rotary_pos_emb_vision", __name__)
apply_rotary_pos_emb_flashatt: Function = make("apply_rotary_pos_emb_flashatt", __name__)
apply_rotary_pos_emb_interleave: Function = make("apply_rotary_pos_emb_interleave", __name__)
apply_rotary_pos_emb_2d: Function = make("apply_rotary_pos_emb_2d", __name__)
apply_multimodal_rotary_pos_emb: Function = make("apply_multimodal_rotary_pos_emb", __name__)

apply_rotary_pos_emb.__doc__ = """Rotate q and k.

    Args:
        q: ``[B, H, S, D]``, or ``[B, S, H, D]`` with ``unsqueeze_dim=2``.
        k: as q; H may differ.
        cos: ``[B or 1, S, R]``, R at most D; a table ``[S, R]`` or ``[1, 1, S, R]`` beside ``position_ids``.
        sin: as cos.
        unsqueeze_dim: the axis of q that cos and sin lack.
        layout: ``"bhsd"`` or ``"bshd"``, which is ``unsqueeze_dim`` 1 or 2, and has to agree with the sizes.

    Also takes ``position_ids``, the fifth argument to 4.57: integers that pick rows of a table, and are
    ignored beside cos and sin that are already gathered.

    Returns:
        q and k, in the dtype that torch promotes q (k) and cos to.

    Raises:
        CallFormError: the call is in no form that `apply_rotary_pos_emb` has had, or `layout` and
            `unsqueeze_dim` contradict each other.
        LayoutError: the axes do not meet, or do not lie as declared; the message says what to pass.

    Source: transformers 5.0.0, models/llama/modeling_llama.py.
    """
