"""xPos in float64: rotary embedding whose scores fade with distance.

Sun et al. 2022, "A Length-Extrapolatable Transformer", arXiv 2212.10554, section 2.2 and algorithm 1; as in
torchscale and x-transformers. q is multiplied by the scale of its position and k divided by that of its
own, so that a score has ``zeta_i ** ((m - n) / scale_base)`` in it: at most 1 where a token looks back.
transformers has no such model; x-transformers has it as ``rotary_xpos=True``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rope_compat.rotary import reference

__all__ = ["apply", "bases", "scales"]


def bases(dim: int, gamma: float = 0.4) -> Tensor:
    """``zeta_i = (2 i / dim + gamma) / (1 + gamma)``, float64 ``[dim / 2]``: below 1, nearest for slow pairs.

    Raises ValueError for an odd dim.
    """
    if dim % 2:
        raise ValueError(f"a rotary width of {dim} was given; expected an even number, two channels per pair")
    return torch.tensor([(2 * i / dim + gamma) / (1 + gamma) for i in range(dim // 2)], dtype=torch.float64)


def scales(
    position_ids: Tensor, dim: int, scale_base: float = 512.0, *, center: float = 0.0, gamma: float = 0.4
) -> Tensor:
    """What q is multiplied by: ``zeta_i ** ((m - center) / scale_base)``, float64 ``[..., S, dim / 2]``.

    k has the inverse. `center` keeps the powers small, torchscale and x-transformers take half the length of
    the text; scores do not depend on it. `scale_base` is in positions.
    """
    power = (position_ids.double() - center) / scale_base
    return bases(dim, gamma) ** power[..., None]


def apply(
    q: Tensor, k: Tensor, angles: Tensor, scale: Tensor, pairing: str = "half"
) -> tuple[Tensor, Tensor]:
    """Rotate, multiply q by `scale` and divide k by it, both channels of a pair alike; float64.

    ``q``, ``k``: ``[..., S, D]``; ``angles``, ``scale``: ``[..., S, R / 2]``, broadcastable with them;
    channels from R on pass through. Raises ValueError for an unknown pairing.
    """
    both, width = [scale, scale], 2 * scale.shape[-1]
    wide = torch.stack(both, dim=-1).flatten(-2) if pairing == "interleaved" else torch.cat(both, dim=-1)
    turned_q, turned_k = (reference.rotate_by_angle(x, angles, pairing) for x in (q, k))
    return (
        torch.cat([turned_q[..., :width] * wide, turned_q[..., width:]], dim=-1),
        torch.cat([turned_k[..., :width] / wide, turned_k[..., width:]], dim=-1),
    )
