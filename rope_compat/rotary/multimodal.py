"""The multimodal rotary functions: cos and sin of several axes, each channel's taken from one of them.

Qwen2-VL's tokens have three positions (time, height, width). Its rotary module gave cos and sin of each axis,
``[3, B, S, D]``, up to 5.16.1, and the function picked: the channels are cut into sections, twice, since
both halves of the width hold the same angles, and the sections take turns among the axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import CallFormError, LayoutError
from .layouts import full_to_half, half_to_full
from .rotation import rotate

__all__ = ["merge_sections", "multimodal", "multimodal_float32", "multimodal_interleaved"]


def merge_sections(table: Tensor, sections: Sequence[int], axes: int = 3) -> Tensor:
    """``[axes, B, S, D]`` to ``[B, S, D]``: the i-th section of channels is that of axis ``i % axes``.

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
