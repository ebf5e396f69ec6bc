"""The functions of transformers' models, as transformers writes them: equal to the bit where they say so.

All are plain functions of tensors: differentiable, traceable by ``torch.compile(fullgraph=True)``, valid for
meta and fake tensors, and free of reads of tensor values.

| functions | stand for | compute in | result dtype |
| --- | --- | --- | --- |
| `rotate`, `rotate_pair` | Llama's ``apply_rotary_pos_emb`` | promotion of x and cos | the same |
| `deinterleave`, `from_halves`, `in_pairs` | those that pair channels 2i and 2i + 1 | promotion | the same |
| `pairwise_2d` | SAM 2's ``apply_rotary_pos_emb_2d`` | float32 | each input's own |
| `vision`, `vision_single` | ``apply_rotary_pos_emb_vision`` | float32 | each input's own |
| `flashatt`, `flashatt_single` | ``apply_rotary_pos_emb_flashatt`` | float32 | each input's own |
| `multimodal` and its kin | ``apply_multimodal_rotary_pos_emb`` | see there | see there |
| `rotate_rank4`, `npu`, `unpadded` | functions of one tensor that are gone: ESM's, NPU's, ModernBERT's | | |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import CallFormError, LayoutError
from .flash import FlashKernel, flash_kernel, flashatt, flashatt_single, make_flashatt, make_flashatt_single
from .layouts import check_pair, full_to_half, half_to_full
from .mismatch import explain_mismatch
from .pairing import Pairing, interleaved_to_half, rotate_every_two, rotate_half
from .rotation import rotate, rotate_pair

__all__ = [
    "FlashKernel",
    "Pairing",
    "deinterleave",
    "flash_kernel",
    "flashatt",
    "flashatt_single",
    "from_halves",
    "in_pairs",
    "make_flashatt",
    "make_flashatt_single",
    "merge_sections",
    "multimodal",
    "multimodal_float32",
    "multimodal_interleaved",
    "npu",
    "pairwise_2d",
    "rotate",
    "rotate_every_two",
    "rotate_half",
    "rotate_pair",
    "rotate_rank4",
    "unpadded",
    "vision",
    "vision_single",
]


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


def merge_sections(table: Tensor, sections: Sequence[int], axes: int = 3) -> Tensor:
    """``[axes, B, S, D]`` to ``[B, S, D]``: the i-th section of channels is that of axis ``i % axes``.

    Qwen2-VL's tokens have three positions (time, height, width). Its rotary module gave cos and sin of each
    axis up to 5.16.1, and the function picked: the channels are cut into sections, twice, since both halves
    of the width hold the same angles, and the sections take turns among the axes.

    ``sections``: widths that add up to D. Raises `LayoutError` where they do not, or where `table` has
    another rank or fewer axes.
    """
    if table.dim() != 4 or table.shape[0] < min(axes, len(sections)):
        raise LayoutError(f"cos or sin has shape {tuple(table.shape)}; expected [{axes}, B, S, D]")
    if sum(sections) != table.shape[-1]:
        raise LayoutError(
            f"the sections {list(sections)} add up to {sum(sections)} channels, cos and sin have "
            f"{table.shape[-1]}"
        )
    parts, start = [], 0
    for place, width in enumerate(sections):
        parts.append(table[place % axes, ..., start : start + width])
        start += width
    return torch.cat(parts, dim=-1)


def multimodal(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, mrope_section: Sequence[int], unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """``apply_multimodal_rotary_pos_emb`` of ``modeling_qwen2_vl.py``, 4.45.0 to 5.16.1.

    - ``q``, ``k``: ``[B, H, S, D]``, or ``[B, S, H, D]`` with ``unsqueeze_dim=2``.
    - ``cos``, ``sin``: ``[3, B, S, R]``, R at most D (``modeling_glm4v_moe.py`` rotates a part).
    - ``mrope_section``: how many pairs of channels each axis has; they add up to R / 2.

    Equal to the bit, in the dtype to which torch promotes q (k) and cos. Raises `LayoutError` for shapes and
    sections that do not meet.
    """
    cos, sin = (_merged(table, mrope_section, unsqueeze_dim) for table in (cos, sin))
    return rotate(q, cos, sin), rotate(k, cos, sin)


def multimodal_interleaved(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, mrope_section: Sequence[int], unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """The same of ``modeling_glm4v.py``, 4.53.0 to 4.57.6: channels 2i and 2i + 1 make a pair.

    cos and sin come as for `multimodal`, with equal halves, and are laid out for the pairs here.
    """
    cos, sin = (
        half_to_full(full_to_half(_merged(table, mrope_section, unsqueeze_dim)), "interleaved")
        for table in (cos, sin)
    )
    return rotate(q, cos, sin, pairing="interleaved"), rotate(k, cos, sin, pairing="interleaved")


def multimodal_float32(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, mrope_section: Sequence[int], unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """The same of ``modeling_hunyuan_vl.py``, 5.13.0 to 5.16.1: as many axes as sections, in float32.

    Here each section is twice as wide, instead of all of them coming twice: sections and pairs of channels
    of both halves are not the same ones as in Qwen2-VL. Both results have q's dtype.
    """
    widths = [2 * int(section) for section in mrope_section]
    cos, sin = (
        merge_sections(table, widths, len(widths)).unsqueeze(unsqueeze_dim).float() for table in (cos, sin)
    )
    return rotate(q.float(), cos, sin).to(q.dtype), rotate(k.float(), cos, sin).to(q.dtype)


def _merged(table: Tensor, mrope_section: Sequence[int], unsqueeze_dim: int) -> Tensor:
    if not isinstance(mrope_section, (list, tuple)):
        raise CallFormError(f"mrope_section must be a list of ints, not {type(mrope_section).__name__}")
    return merge_sections(table, [*mrope_section, *mrope_section]).unsqueeze(unsqueeze_dim)


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


def vision(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """``apply_rotary_pos_emb_vision(q, k, cos, sin)`` of ``modeling_qwen2_vl.py``, from 4.50.0 on.

    - ``q``, ``k``: ``[S, H, D]`` or ``[B, S, H, D]``, any floating dtype each.
    - ``cos``, ``sin``: ``[S, D]`` or ``[B, S, D]``, any floating dtype.

    Computes in float32 (also for float64 input, as upstream does), equal to the bit, and returns q and k in
    their own dtypes and shapes. 4.49.0 differs only where cos and sin are not float32: it did not cast
    these. Raises `LayoutError` for shapes that do not meet, `CallFormError` for cos and sin of different
    shapes.
    """
    check_pair(cos, sin)
    _check_layout(q, cos, "q")
    _check_layout(k, cos, "k")
    orig_q_dtype = q.dtype
    orig_k_dtype = k.dtype
    q, k = q.float(), k.float()
    cos, sin = cos.unsqueeze(-2).float(), sin.unsqueeze(-2).float()
    q_embed = (q * cos) + (rotate_half(q) * sin)
    k_embed = (k * cos) + (rotate_half(k) * sin)
    return q_embed.to(orig_q_dtype), k_embed.to(orig_k_dtype)


def vision_single(tensor: Tensor, freqs: Tensor) -> Tensor:
    """``apply_rotary_pos_emb_vision(tensor, freqs)`` of ``modeling_qwen2_vl.py``, 4.45.0 to 4.48.3.

    - ``tensor``: ``[1, S, H, D]`` (or ``[B, S, H, D]``; ``[S, H, D]`` comes back with a leading axis of 1),
      any floating dtype.
    - ``freqs``: ``[S, D/2]`` angles in radians, any floating dtype; cos and sin are taken in that dtype.

    Computes in float32 and returns the tensor in its own dtype; equal to the bit to upstream.
    ``modeling_qwen2_5_omni.py`` has this form up to 5.16.1. Raises `LayoutError` for shapes that do not
    meet.
    """
    _check_freqs(tensor, freqs)
    orig_dtype = tensor.dtype
    tensor = tensor.float()
    cos = freqs.cos().unsqueeze(1).repeat(1, 1, 2).unsqueeze(0).float()
    sin = freqs.sin().unsqueeze(1).repeat(1, 1, 2).unsqueeze(0).float()
    output = (tensor * cos) + (rotate_half(tensor) * sin)
    return output.to(orig_dtype)


def _check_layout(x: Tensor, cos: Tensor, name: str) -> None:
    message = explain_mismatch(
        tuple(x.shape), tuple(cos.shape), -2, name=name, allow_growth=False, adjustable=False
    )
    if message is not None:
        raise LayoutError(message)


def _check_freqs(tensor: Tensor, freqs: Tensor) -> None:
    ranks_fit = freqs.ndim == 2 and tensor.ndim in (3, 4)
    if ranks_fit and (freqs.shape[0], 2 * freqs.shape[1]) == (tensor.shape[-3], tensor.shape[-1]):
        return
    raise LayoutError(
        f"tensor has shape {tuple(tensor.shape)}, freqs {tuple(freqs.shape)}; expected a tensor "
        "(b, s, h, d) and freqs (s, d / 2), angles in radians. Pass one angle per pair of channels, "
        "not the concatenation of both halves, and not cos or sin"
    )
