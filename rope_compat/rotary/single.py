"""Functions of one tensor that releases have dropped: ESM's, NPU's, and ModernBERT's of packed tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import CallFormError, LayoutError
from .layouts import half_to_full
from .rotation import rotate

__all__ = ["npu", "rotate_rank4", "unpadded"]


def rotate_rank4(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """``apply_rotary_pos_emb_esm`` of ``modeling_evolla.py``, 4.54.0 to 5.5.4.

    ``x``: ``[B, H, S, D]``; ``cos``, ``sin``: ``[1, 1, N, D]`` tables (or ``[B, 1, N, D]``), of which the
    first S rows are used. The result has the dtype to which torch promotes x and cos.
    """
    length = x.shape[-2]
    return rotate(x, cos[:, :, :length], sin[:, :, :length])


def npu(x: Tensor, cos: Tensor, sin: Tensor, **kwargs: Any) -> Tensor:
    """``npu_apply_rotary_emb`` of ``integrations/npu_flash_attention.py``, 4.53.0 to 4.55.2, by torch.

    ``x``: ``[B, S, H, D]``; ``cos``, ``sin``: ``[S, D/2]``, or what broadcasts with x. Further keywords are
    ignored, as upstream does.
    """
    if cos.dim() == 2 and 2 * cos.shape[-1] == x.shape[-1]:
        cos = half_to_full(cos)[None, :, None]
    if sin.dim() == 2 and 2 * sin.shape[-1] == x.shape[-1]:
        sin = half_to_full(sin)[None, :, None]
    return rotate(x, cos, sin)


def unpadded(
    qkv: Tensor, cos: Tensor, sin: Tensor, cu_seqlens: Tensor | None = None, max_seqlen: int | None = None
) -> Tensor:
    """``apply_rotary_unpadded`` of ``modeling_modernbert.py``, 4.48.0 to 5.0.0, by torch.

    - ``qkv``: ``[T, 3, H, D]``, the tokens of all sequences one after the other; v passes through.
    - ``cos``, ``sin``: ``[N, R/2]`` tables, one row a position.
    - ``cu_seqlens``: where each sequence begins, and T at the end.
    - ``max_seqlen``: ignored; flash-attn's kernel wants it.

    Computes in float32 and returns a new tensor of qkv's dtype; upstream's writes into qkv as well. Raises
    `CallFormError` without ``cu_seqlens``, `LayoutError` for shapes that do not meet.
    """
    if cu_seqlens is None:
        raise CallFormError("cu_seqlens is missing: without it nobody knows where sequences begin")
    if qkv.dim() != 4 or qkv.shape[1] != 3 or cos.dim() != 2 or 2 * cos.shape[-1] > qkv.shape[-1]:
        raise LayoutError(
            f"qkv has shape {tuple(qkv.shape)}, cos {tuple(cos.shape)}; expected [T, 3, H, D] and [N, R/2], "
            "one column a pair"
        )
    tokens = torch.arange(qkv.shape[0], device=qkv.device)
    starts = cu_seqlens[torch.searchsorted(cu_seqlens, tokens, right=True) - 1]
    rows = tokens - starts
    cos, sin = (half_to_full(table[rows].float())[:, None, None] for table in (cos, sin))
    turned = rotate(qkv[:, :2].float(), cos, sin).to(qkv.dtype)
    return torch.cat([turned, qkv[:, 2:]], dim=1)
