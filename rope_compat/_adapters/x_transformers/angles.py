"""Angles and xPos scales as x-transformers defines them, for what a release's own forward cannot compute.

In the order of operations of ``RotaryEmbedding.forward`` in ``x_transformers/x_transformers.py``, 1.16.0 to
1.27.11. xPos is "A Length-Extrapolatable Transformer" (Sun et al., 2022, arXiv 2212.10554), section 3.2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...rotary.layouts import half_to_full
from ...rotary.pairing import Pairing

__all__ = ["angles", "scales"]


def angles(module: Any, positions: Tensor, pairing: Pairing) -> Tensor:
    """The angles of `positions`, in radians.

    `module`: a ``RotaryEmbedding``, of which ``inv_freq`` ``[d / 2]`` and ``interpolation_factor`` are read
    (from 1.16.16 on; 1 before). `positions`: ``[...]``, any real dtype. Returns ``[..., d]`` in the dtype
    of ``inv_freq``, one column for each channel.
    """
    # A product, not einsum: autocast would round that.
    rates = module.inv_freq
    steps = positions.type_as(rates) / getattr(module, "interpolation_factor", 1.0)
    return half_to_full(steps[..., None] * rates, pairing)


def scales(module: Any, positions: Tensor, pairing: Pairing) -> Tensor | float:
    """The factors of xPos for queries at `positions`; keys take their inverse. 1.0 for a module without.

    Channel pair i at position m has ``s_i ** ((m - c) / scale_base)`` with
    ``s_i = (2 i + 0.4 d) / (1.4 d)``, and c half of the largest position plus one: the score of a query and
    a key depends on their distance whatever c is, as long as both have the same. Returns ``[..., d]``.
    """
    if module.scale is None:
        return 1.0
    centre = torch.div(positions.max() + 1, 2, rounding_mode="floor")
    power = (positions - centre) / module.scale_base
    return half_to_full(module.scale ** power.to(module.scale.device)[..., None], pairing)
