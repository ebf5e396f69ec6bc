"""The rotation itself, as transformers writes it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import LayoutError
from .pairing import Pairing, quarter_turn

__all__ = ["rotate", "rotate_pair"]


def rotate(x: Tensor, cos: Tensor, sin: Tensor, *, pairing: Pairing = "half") -> Tensor:
    """Turn each pair of channels of x: ``(x * cos) + (rotate_half(x) * sin)``.

    - ``x``: ``[..., D]``, any floating dtype.
    - ``cos``, ``sin``: full width, already broadcastable with x on all axes but the last, where they are R
      columns wide, R even and at most D: the first R channels turn, the others pass through.
    - ``pairing``: "half" (i, i + R/2) or "interleaved" (2i, 2i + 1).

    The result has x's shape and the dtype to which torch promotes x and cos, as ``apply_rotary_pos_emb`` of
    ``modeling_llama.py`` (4.28.0 to 5.23.0): bfloat16 q with float32 cos gives float32. The order of
    operations is upstream's, so results are equal to the bit; for R < D that of ``modeling_gpt_neox.py``.
    Formula: RoFormer (arXiv 2104.09864), equation 34. Raises `LayoutError` for a width that is odd, wider
    than x, or not one for both, `CallFormError` for an unknown pairing.
    """
    width = cos.shape[-1]
    if width != sin.shape[-1] or width > x.shape[-1] or width % 2 != 0:
        raise LayoutError(
            f"the tensor to rotate has shape {tuple(x.shape)}, cos {tuple(cos.shape)}, sin "
            f"{tuple(sin.shape)}; expected cos and sin of one even width of at most {x.shape[-1]}"
        )
    if width == x.shape[-1]:
        return (x * cos) + (quarter_turn(x, pairing) * sin)
    turning, passing = x[..., :width], x[..., width:]
    turned = (turning * cos) + (quarter_turn(turning, pairing) * sin)
    return torch.cat([turned, passing], dim=-1)


def rotate_pair(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """``apply_rotary_pos_emb`` of ``modeling_llama.py``, from 5.0.0 on; R < D as in ``modeling_gpt_neox.py``.

    ``q``, ``k``: ``[B, H, S, D]``, or ``[B, S, H, D]`` with ``unsqueeze_dim=2``; ``cos``, ``sin``: ``[B, S,
    R]``. Dtypes and errors are those of `rotate`.
    """
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return rotate(q, cos, sin), rotate(k, cos, sin)
