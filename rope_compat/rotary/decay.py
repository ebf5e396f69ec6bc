"""RoFormer's bound on scores over long distances, in float64: what "long-term decay" states, and no more.

RoFormer (arXiv 2104.09864), section 3.4.3. With ``h_i = q_i * conj(k_i)``, the pairs as complex numbers, and
``S_j(r) = sum of exp(1j r rate_i) for i < j``, summation by parts gives for the score at distance r::

    |score(r)| <= max_i |h_(i+1) - h_i| * sum_j |S_j(r)|,    h_(d/2) = 0, j = 1 .. d / 2

It is this bound that decays, by trend and not monotonically; a score may grow with the distance below it.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mean_partial_sum", "score_bound"]


def mean_partial_sum(distances: Tensor, inv_freq: Tensor) -> Tensor:
    """The mean of ``|S_j(r)|`` over j, figure 2 of the paper: float64 of the shape of ``distances``.

    ``distances``: in positions, any shape; ``inv_freq``: ``[d / 2]``. At distance 0 it is (d / 2 + 1) / 2.
    """
    angles = distances.double()[..., None] * inv_freq.double()
    sums = torch.polar(torch.ones_like(angles), angles).cumsum(dim=-1)
    return sums.abs().mean(dim=-1)


def score_bound(q: Tensor, k: Tensor, distances: Tensor, inv_freq: Tensor, pairing: str = "half") -> Tensor:
    """The bound of ``q . k`` at each distance: float64 of the shape of ``distances``.

    ``q``, ``k``: ``[d]`` before rotation. Raises ValueError for an unknown pairing.
    """
    if pairing not in ("half", "interleaved"):
        raise ValueError(f'pairing={pairing!r} was given; expected "half" or "interleaved"')
    half = q.shape[-1] // 2
    firsts = slice(0, half) if pairing == "half" else slice(0, None, 2)
    seconds = slice(half, None) if pairing == "half" else slice(1, None, 2)
    complex_q, complex_k = (torch.complex(x.double()[firsts], x.double()[seconds]) for x in (q, k))
    product = complex_q * complex_k.conj()
    steps = torch.diff(product, append=torch.zeros(1, dtype=product.dtype)).abs()
    return steps.max() * mean_partial_sum(distances, inv_freq) * inv_freq.shape[-1]
