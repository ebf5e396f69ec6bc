"""How far float32 may be from float64 in what rotary code computes: bounds from the rounding of each step.

u is 2 ** -24, the largest relative error of one rounded float32 operation. The bounds are of first order in u
and add what never all comes together: larger than what is seen, but not by orders of magnitude.
"""

from __future__ import annotations

import math

from torch import Tensor

U = 2.0**-24


def rate_bounds(rates: Tensor, theta: float, *, steps: int = 0, condition: Tensor | float = 0.0) -> Tensor:
    """Absolute bounds for inverse frequencies computed in float32, for each of the exact `rates`.

    ``1 / theta ** e`` with e in [0, 1]: the rounding of e changes the power by ``u ln(theta)`` and that of
    theta by u at most; the power itself is within one unit in the last place, 2 u, and the division adds u.
    `steps` are the operations after it; `condition` is what a mix of two rates adds, in u of the rate.
    """
    return U * rates * (math.log(theta) + 4 + steps + condition)


def mix_condition(share_error: Tensor | float) -> Tensor | float:
    """What ``(1 - share) * rate / factor + share * rate`` adds: the share, 1 - share, products, the sum."""
    return share_error + 5


def angle_bounds(angles: Tensor, theta: float, *, steps: int = 0) -> Tensor:
    """Absolute bounds, in radians, for position times inverse frequency in float32: one product more.

    cos and sin have slope 1 at most, so these are bounds for their errors too, with u for their own rounding.
    """
    return rate_bounds(angles.abs(), theta, steps=steps + 1)
