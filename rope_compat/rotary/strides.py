"""What the order of a tensor in memory says about its axes.

Heads come out of a projection ``[B, S, H * D]`` by ``view(B, S, H, D)``, so that the heads of one token lie
together; (b, h, s, d) is made from that by ``transpose(1, 2)``, which moves nothing. A tensor made as
(b, h, s, d) to begin with, or copied, lies in the order of its axes, whatever these mean.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["is_transposed", "lies_in_order"]


def is_transposed(x: Tensor) -> bool:
    """Whether the second last axis of ``[..., H, S, D]`` is the outer one in memory, as after ``transpose``.

    False where either axis has length 1: its stride says nothing.
    """
    heads, length = x.shape[-3], x.shape[-2]
    return heads > 1 and length > 1 and x.stride(-3) < x.stride(-2)


def lies_in_order(x: Tensor) -> bool:
    """Whether the third last axis of a tensor is the outer one in memory; not where the strides are equal."""
    return x.stride(-3) > x.stride(-2)
