"""The angle of every pair of channels in float64: text, multimodal sections, the two axes of an image.

Angles are radians, float64 ``[..., S, R / 2]`` for R rotated channels: position times inverse frequency. What
differs between models is which coordinate of a token each pair is turned by, its *axis*, and which
frequencies the axes have. `reference.rotate_by_angle` applies the angles, in either pairing.

- sections, Qwen2-VL (Wang et al. 2024, arXiv 2409.12191, section 2.1), ``mrope_section``: `contiguous`
- sections, Qwen3-VL: time, height and width take turns, so that each has slow and fast pairs: `interleaved`
- images, Qwen2-VL's and SAM 2's (Ravi et al. 2024, arXiv 2408.00714; RoPE-ViT, Heo et al. 2024, arXiv
  2403.13298, section 3.2, "axial"): each axis has all frequencies of half a head: `axial`
- images, Pixtral (Agrawal et al. 2024, arXiv 2410.07073): the axes share those of a head: `dealt`
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rope_compat.rotary import exact

__all__ = ["angles", "axial", "by_axis", "contiguous", "dealt", "grid", "interleaved"]

#: Inverse frequencies of all pairs, float64 [R / 2], and the axis of each.
Axes = tuple[Tensor, list[int]]


def angles(position_ids: Tensor, inv_freq: Tensor) -> Tensor:
    """``m * inv_freq[i]`` for each position m: ``[..., S]`` and ``[R / 2]`` give ``[..., S, R / 2]``."""
    return position_ids.double()[..., None] * inv_freq.double()


def by_axis(position_ids: Tensor, inv_freq: Tensor, axes: Sequence[int]) -> Tensor:
    """Pair i turns by the coordinate ``axes[i]``: ``p[axes[i]] * inv_freq[i]``.

    ``position_ids``: ``[axes, ..., S]``, one row a coordinate; ``inv_freq``: ``[R / 2]``. Returns ``[..., S,
    R / 2]``. Raises ValueError if there is not one axis for each pair.
    """
    if len(axes) != inv_freq.shape[-1]:
        raise ValueError(f"{len(axes)} axes were given for {inv_freq.shape[-1]} pairs; expected one for each")
    return torch.stack(
        [position_ids[axis].double() * inv_freq[pair].double() for pair, axis in enumerate(axes)], dim=-1
    )


def contiguous(sections: Sequence[int]) -> list[int]:
    """The axis of each pair, Qwen2-VL: the first ``sections[0]`` have axis 0, the next axis 1, and so on."""
    return [axis for axis, pairs in enumerate(sections) for _ in range(pairs)]


def interleaved(sections: Sequence[int]) -> list[int]:
    """The axis of each pair, Qwen3-VL: axes take turns, and axis 0 has what the others leave.

    Pair i belongs to axis ``i mod n``, of n, as long as that axis has not had its ``sections[axis]`` pairs;
    later ones belong to axis 0. (``recomposition_frequencies``, before 5.17 ``apply_interleaved_mrope``.)
    """
    count = len(sections)
    return [pair % count if pair // count < sections[pair % count] else 0 for pair in range(sum(sections))]


def axial(dim: int, theta: float) -> Axes:
    """Qwen2-VL's images, SAM 2, Llama 4's images: each axis has the frequencies of half a head.

    ``theta ** (-4 i / dim)`` for ``i < dim / 4``, for axis 0 and again for axis 1. Axis 0 is the row in
    Qwen2-VL, the column in SAM 2 and Llama 4, where positions are (x, y), from 1 on in Llama 4. Raises
    ValueError unless 4 divides dim.
    """
    rates = exact.default(_in_fours(dim) // 2, theta)[0]
    return torch.cat([rates, rates]), [0] * (dim // 4) + [1] * (dim // 4)


def dealt(dim: int, theta: float) -> Axes:
    """Pixtral: of the frequencies of a whole head, axis 0 has the even ones and axis 1 the odd ones.

    ``theta ** (-4 i / dim)`` for the row and ``theta ** (-(4 i + 2) / dim)`` for the column, ``i < dim / 4``;
    the row's pairs come first. Raises ValueError unless 4 divides dim.
    """
    rates = exact.default(_in_fours(dim), theta)[0]
    return torch.cat([rates[0::2], rates[1::2]]), [0] * (dim // 4) + [1] * (dim // 4)


def grid(height: int, width: int, merge: int = 1) -> Tensor:
    """Row and column of each patch of an image, int64 ``[2, height * width]``.

    Row by row; with `merge` (Qwen2-VL's ``spatial_merge_size``) the patches of one merge-by-merge square come
    together, and the squares row by row. Raises ValueError unless `merge` divides both sizes.
    """
    if height % merge or width % merge:
        raise ValueError(f"a grid of {height} by {width} patches was given; expected multiples of {merge}")
    patches = [
        (top + row, left + column)
        for top in range(0, height, merge)
        for left in range(0, width, merge)
        for row in range(merge)
        for column in range(merge)
    ]
    return torch.tensor(patches, dtype=torch.int64).reshape(-1, 2).T


def _in_fours(dim: int) -> int:
    if dim % 4:
        raise ValueError(f"a head of {dim} was given; expected a multiple of 4, two pairs for two axes")
    return dim
