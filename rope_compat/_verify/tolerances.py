"""How far a right result in floating point may be from the exact one: bounds that follow from the arithmetic.

Every bound follows from a model, none is fitted. The standard model of floating-point arithmetic (Higham,
*Accuracy and Stability of Numerical Algorithms*, 2002, section 2.2) says that one operation gives
``fl(a op b) = (a op b)(1 + d) + e`` with ``|d| <= u`` and ``|e| <= t``; u is the unit roundoff of the dtype
and t half of its smallest subnormal number. A result that passes through n operations is then off by at most

    gamma(n) * M + n * t * (1 + gamma(n)),    gamma(n) = n u / (1 - n u)

where M is the same expression with every term replaced by its absolute value (Higham, lemma 3.1).

**A rotation** is ``a cos - b sin``: each input passes one product and one sum, n = 2, and
``M = |a cos| + |b sin|``. Code that computes in a wider dtype (bf16 and fp16 in fp32) rounds twice there and
once to the result: ``(1 + u)(1 + u_wide)^2 - 1 < gamma(2)``, so the same bound holds. The gradient is the
transposed rotation, with the same two operations; where q reaches the result along two paths whose gradients
are rounded and then added it is two roundings of the dtype again. Inputs are drawn in the dtype, so that they
have no error of their own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["ROTATION", "bound", "cosine_error", "gamma", "unit"]

#: Operations that an input of a rotation passes through: a product and a sum.
ROTATION = 2


def unit(dtype: torch.dtype) -> float:
    """The unit roundoff: 2^-24 for float32, 2^-11 for float16, 2^-8 for bfloat16, 2^-53 for float64."""
    return torch.finfo(dtype).eps / 2


def gamma(count: int, dtype: torch.dtype) -> float:
    """``n u / (1 - n u)``: the relative error of `count` operations in `dtype`, one after the other."""
    error = count * unit(dtype)
    return error / (1 - error)


def bound(magnitude: Tensor, dtype: torch.dtype, count: int = ROTATION, more: float = 0.0) -> Tensor:
    """The largest error of a result of `count` operations.

    Args:
        magnitude: the expression with absolute values for its terms, float64, any shape.
        dtype: in which is computed, or to which the result is rounded where that is coarser.
        count: operations that a term passes through; 0 where nothing is computed, and bits have to agree.
        more: relative error that the inputs have already.

    Returns:
        Float64, of the shape of `magnitude`.
    """
    if count == 0 and more == 0.0:
        return torch.zeros_like(magnitude)
    relative = (1 + gamma(count, dtype)) * (1 + more) - 1 if count else more
    info = torch.finfo(dtype)
    return relative * magnitude + count * info.tiny * info.eps * (1 + relative) / 2


def cosine_error(angles: Tensor, theta: float, dtype: torch.dtype) -> Tensor:
    """How far cos and sin of angles may be off that the code itself computes in `dtype`: absolute, float64.

    ``theta ** -e`` with e in [0, 1): e is rounded (u e), which the power amplifies by ln theta; the power is
    right to one unit in the last place (2 u), its reciprocal is rounded (u), the position (u), and their
    product (u). The angle is off by at most ``(ln theta + 5) u`` of itself, and cos and sin, whose slopes
    are at most 1, by as much; computing them adds a unit in the last place (2 u).
    """
    steps = math.log(theta) + 5
    return (steps * angles.abs() + 2) * unit(dtype) / (1 - steps * unit(dtype))
