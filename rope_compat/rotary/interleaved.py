"""Functions that pair channels 2i and 2i + 1: DeepSeek-V3's, GLM-4V's, SAM 2's."""

from __future__ import annotations

import torch
from torch import Tensor

from .layouts import full_to_half, half_to_full
from .pairing import interleaved_to_half
from .rotation import rotate

__all__ = ["deinterleave", "from_halves", "in_pairs", "pairwise_2d"]


def deinterleave(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """``apply_rotary_pos_emb_interleave`` of ``modeling_deepseek_v3.py``, from 4.51.0 on.

    Channels 2i and 2i + 1 of the input make a pair; in the result they stand at i and i + D/2, where q and k
    still meet. Otherwise as Llama's ``apply_rotary_pos_emb``; equal to the bit, where both halves of cos and
    of sin are the same. From 5.11 on upstream reads the first half only.
    """
    cos, sin = (half_to_full(full_to_half(table)).unsqueeze(unsqueeze_dim) for table in (cos, sin))
    return rotate(interleaved_to_half(q), cos, sin), rotate(interleaved_to_half(k), cos, sin)


def from_halves(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """``apply_rotary_pos_emb`` of ``modeling_glm4v.py``, 5.0.0 to 5.16.1: the halves of cos are laid out."""
    cos, sin = (half_to_full(full_to_half(table), "interleaved") for table in (cos, sin))
    return in_pairs(q, k, cos, sin, unsqueeze_dim)


def in_pairs(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    """``apply_rotary_pos_emb`` of ``modeling_glm4v.py``, from 5.17.0 on: cos is laid out for the pairs."""
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return rotate(q, cos, sin, pairing="interleaved"), rotate(k, cos, sin, pairing="interleaved")


def pairwise_2d(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    num_k_exclude_rope: int = 0,
    repeat_freqs_k: bool = False,
) -> tuple[Tensor, Tensor]:
    """``apply_rotary_pos_emb_2d`` of ``modeling_sam2_video.py``, from 4.56.0 on.

    - ``q``, ``k``: ``[B, H, S, D]``; ``cos``, ``sin``: ``[S, D]``, laid out for the pairs.
    - ``num_k_exclude_rope``: so many of k's last tokens pass through.
    - ``repeat_freqs_k``: k is several times as long as q, and the angles are repeated for it; cos and sin are
      ``[1, 1, S, D]`` then.

    Computes in float32 and returns q and k in their own dtypes; equal to the bit.
    """
    turning = k.shape[-2] - num_k_exclude_rope
    k_turning, k_passing = k[..., :turning, :], k[..., turning:, :]
    q_embed = rotate(q.float(), cos, sin, pairing="interleaved").type_as(q)
    if turning == 0:
        return q_embed, k
    if repeat_freqs_k and turning != q.shape[-2]:
        times = turning // q.shape[-2]
        cos, sin = (table.repeat(1, 1, times, 1) for table in (cos, sin))
    k_embed = rotate(k_turning.float(), cos, sin, pairing="interleaved").type_as(k)
    return q_embed, torch.cat([k_embed, k_passing], dim=-2)
