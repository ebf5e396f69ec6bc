"""Inverse frequencies of every rope type in float64, by definition, to judge other implementations.

Written from the papers and apart from `frequencies`, the production code: one pair of channels at a time, in
Python floats, nothing imported from it, as tests and `rope_compat.verify` judge by it what production code
and transformers compute. Names and parameters are the same, but there is no `device`: float64 results are on
the CPU.

- RoFormer, Su et al. 2021, arXiv 2104.09864, section 3.2.2: `default`
- Position Interpolation, Chen et al. 2023, arXiv 2306.15595: `linear`
- NTK-aware scaling and its dynamic form: YaRN's paper, sections 3.1 and 3.3: `dynamic`
- YaRN, Peng et al. 2023, arXiv 2309.00071, sections 3.2 and 3.4: `yarn`
- LongRoPE, Ding et al. 2024, arXiv 2402.13753, section 3: `longrope`
- Llama 3.1, ``apply_scaling`` of its published model code: `llama3`
- Gemma 4, ``_compute_proportional_rope_parameters`` of transformers 5.5.0: `proportional`

In all of them i counts pairs from 0, d is the number of channels that are rotated, and ``d / 2`` results are
given: radians per position, float64 ``[d / 2]``, with the factor by which cos and sin are multiplied. Every
function raises ValueError for an odd d.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["default", "dynamic", "linear", "llama3", "longrope", "mscale", "proportional", "yarn"]

Frequencies = tuple[Tensor, float]


def default(dim: int, theta: float) -> Frequencies:
    """RoFormer: pair i turns by ``theta ** (-2 i / dim)`` radians per position."""
    return _float64(_rates(dim, theta)), 1.0


def linear(dim: int, theta: float, factor: float) -> Frequencies:
    """Position Interpolation: position m is taken as ``m / factor``; on the angle it is the same."""
    return _float64([rate / factor for rate in _rates(dim, theta)]), 1.0


def dynamic(
    dim: int, theta: float, factor: float, max_position_embeddings: int, seq_len: int | Tensor | None = None
) -> Frequencies:
    """Dynamic NTK: theta grows to ``theta * s ** (dim / (dim - 2))``; the slowest pair is divided by s.

    ``s = factor * l / max_position_embeddings - (factor - 1)`` for a text of length l, `seq_len`; texts up to
    `max_position_embeddings`, and None, have s = 1. (The paper's s is ``l / max``, which is this one for a
    factor of 1; the factor is transformers' own, 4.31.0.)
    """
    length = max_position_embeddings if seq_len is None else max(int(seq_len), max_position_embeddings)
    stretch = factor * length / max_position_embeddings - (factor - 1)
    return default(dim, theta * stretch ** (dim / (dim - 2)))


def yarn(
    dim: int,
    theta: float,
    factor: float,
    original_max_position_embeddings: int,
    *,
    attention_factor: float | None = None,
    beta_fast: float | None = None,
    beta_slow: float | None = None,
    mscale: float | None = None,
    mscale_all_dim: float | None = None,
    truncate: bool = True,
) -> Frequencies:
    """YaRN: pairs with more than `beta_fast` turns over the original length stay, the slow are divided.

    The share that stays falls linearly with the number of the pair, from the pair that makes `beta_fast` (32)
    turns to the one that makes `beta_slow` (1); with `truncate` these ends are rounded outwards. This is the
    authors' code (and transformers'); the paper's equation has a ramp linear in the number of turns.

    The factor is ``0.1 ln(factor) + 1``, or with both mscales the ratio of `mscale` of each.
    """
    rates = _rates(dim, theta)

    def pair_with(turns: float) -> float:  # from length * theta ** (-2 i / dim) = 2 pi turns
        return dim / 2 * math.log(original_max_position_embeddings / (2 * math.pi * turns), theta)

    first, last = pair_with(beta_fast or 32), pair_with(beta_slow or 1)
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, dim - 1)
    width = (last - first) or 0.001
    scaled = []
    for pair, rate in enumerate(rates):
        slow = min(max((pair - first) / width, 0.0), 1.0)
        scaled.append(slow * rate / factor + (1 - slow) * rate)
    if attention_factor is None:
        attention_factor = _mscale(factor, 1)
        if mscale and mscale_all_dim:
            attention_factor = _mscale(factor, mscale) / _mscale(factor, mscale_all_dim)
    return _float64(scaled), attention_factor


def longrope(
    dim: int,
    theta: float,
    short_factor: Sequence[float],
    long_factor: Sequence[float],
    original_max_position_embeddings: int,
    factor: float,
    *,
    attention_factor: float | None = None,
    seq_len: int | Tensor | None = None,
) -> Frequencies:
    """LongRoPE: each pair has a divisor of its own, the long ones if the text passes the original length.

    Without `seq_len` the short ones. The factor is ``sqrt(1 + ln(factor) / ln(original length))``, or 1 if
    `factor`, the ratio of the lengths, is not above 1. Raises ValueError unless there are dim / 2 divisors.
    """
    is_long = seq_len is not None and int(seq_len) > original_max_position_embeddings
    divisors, rates = long_factor if is_long else short_factor, _rates(dim, theta)
    if len(divisors) != len(rates):
        name = "long_factor" if is_long else "short_factor"
        raise ValueError(f"{name} has {len(divisors)} divisors; expected {len(rates)}, one for each pair")
    if attention_factor is None:
        attention_factor = 1.0
        if factor > 1:
            attention_factor = math.sqrt(1 + math.log(factor, original_max_position_embeddings))
    return _float64([rate / divisor for rate, divisor in zip(rates, divisors, strict=True)]), attention_factor


def llama3(
    dim: int,
    theta: float,
    factor: float,
    low_freq_factor: float,
    high_freq_factor: float,
    original_max_position_embeddings: int,
) -> Frequencies:
    """Llama 3.1: by the number of turns over the original length.

    Pairs with more than `high_freq_factor` turns stay, with fewer than `low_freq_factor` are divided by
    `factor`; between them the share that stays is linear in the number of turns.
    """
    scaled = []
    for rate in _rates(dim, theta):
        turns = original_max_position_embeddings * rate / (2 * math.pi)
        share = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor)
        share = min(max(share, 0.0), 1.0)
        scaled.append((1 - share) * rate / factor + share * rate)
    return _float64(scaled), 1.0


def proportional(head_dim: int, theta: float, part: float = 1.0, factor: float = 1.0) -> Frequencies:
    """Gemma 4: the first `part` of the pairs turn as in a whole head, slower by `factor`; the rest do not.

    ``theta ** (-2 i / head_dim) / factor`` for ``i < int(part * head_dim // 2)``, else 0.
    """
    turning = int(part * head_dim // 2)
    rates = _rates(head_dim, theta)
    return _float64([rate / factor if pair < turning else 0.0 for pair, rate in enumerate(rates)]), 1.0


def mscale(scale: float = 1, mscale: float = 1) -> float:
    """``0.1 mscale ln(scale) + 1``, 1 for a scale up to 1: DeepSeek's form of YaRN's temperature."""
    return _mscale(scale, mscale)


def _mscale(scale: float, weight: float) -> float:
    return 1.0 if scale <= 1 else 0.1 * weight * math.log(scale) + 1.0


def _rates(dim: int, theta: float) -> list[float]:
    if dim % 2:
        raise ValueError(f"a rotary width of {dim} was given; expected an even number, two channels per pair")
    return [float(theta) ** (-2 * pair / dim) for pair in range(dim // 2)]


def _float64(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
