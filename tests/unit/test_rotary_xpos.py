"""xPos against x-transformers, where that is installed: the one library at hand that computes it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.rounding import U, angle_bounds
from torch import Tensor

from rope_compat.rotary import angles, exact, xpos

HAS_2 = importlib.util.find_spec("x_transformers") is not None and (
    Version("2.0.0") <= Version(importlib.metadata.version("x-transformers"))
)

# Before, some releases paired halves, and some failed: that is the business of the target's own tests.
pytestmark = pytest.mark.only(HAS_2, "needs x-transformers 2")

DIM, LENGTH, BASE, THETA = 32, 600, 512.0, 10000.0


def widen(pairs: Tensor) -> Tensor:
    """One number for each pair, on both of its channels, neighbours."""
    return pairs.repeat_interleave(2, dim=-1)


def installed(x: Tensor) -> tuple[Tensor, Tensor]:
    """Both q and k x, ``[1, 1, S, DIM]``: as attention of x-transformers turns and scales them."""
    from x_transformers import x_transformers

    module: Any = x_transformers
    freqs, scale = module.RotaryEmbedding(DIM, use_xpos=True).forward_from_seq_len(x.shape[-2])
    return (
        module.apply_rotary_pos_emb(x, freqs, scale),
        module.apply_rotary_pos_emb(x, freqs, scale**-1),
    )


def test_x_transformers() -> None:
    """Within the rounding of float32: of angle and rotation, and of the scale.

    ``zeta ** p``: the rounding of zeta, two operations old, counts p times, and that of p, a quotient,
    ``p ln zeta`` times; the power is within 2 u and the product one more, and k's inverse another.
    """
    x = torch.randn(1, 1, LENGTH, DIM, generator=torch.Generator().manual_seed(0))
    positions = torch.arange(LENGTH)
    by = angles.angles(positions, exact.default(DIM, THETA)[0])
    scale = xpos.scales(positions, DIM, BASE, center=LENGTH // 2)
    power = ((positions.double() - LENGTH // 2) / BASE).abs()[:, None]
    relative = U * (power * (3 - 2 * xpos.bases(DIM).log()) + 4)
    wanted = xpos.apply(x, x, by, scale, "interleaved")
    norms = torch.hypot(x.double()[..., 0::2], x.double()[..., 1::2])
    for given, exactly, scaled in zip(installed(x), wanted, (scale, 1 / scale), strict=True):
        bounds = widen(norms * scaled * (angle_bounds(by, THETA) + 6 * U + relative))
        assert bool(((given.double() - exactly).abs() <= bounds).all())
