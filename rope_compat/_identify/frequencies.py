"""Theta and scaling from measured frequencies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .result import Frequencies

__all__ = ["explain", "rates"]

#: Frequencies are read from float32 cosines and sines; a channel's frequency is right to about this share.
CLOSE = 2e-5


def rates(angles: Tensor, positions: Tensor) -> Tensor | None:
    """Radians a position, ``[P]``, from angles ``[T, P]`` at positions ``[T]`` which have 0 and 1 among them.

    None where the angles do not grow linearly with the position.
    """
    angles, positions = angles.double(), positions.double()
    start, step = angles[positions == 0], angles[positions == 1]
    if not (len(start) and len(step)):
        return None
    rate = step[0]
    wanted = positions[:, None] * rate
    apart = torch.remainder(angles - wanted + math.pi, 2 * math.pi) - math.pi
    room = 1e-5 * (1 + positions[:, None].abs())
    return rate if bool((apart.abs() <= room).all()) else None


def explain(values: Sequence[float], width: int | None = None) -> Frequencies:
    """Theta and scaling of frequencies, one a pair.

    `width` is the number of channels that the exponents count by, twice the number of pairs if None. What
    nothing known explains has no theta.
    """
    found = tuple(float(value) for value in values)
    turning = [abs(value) for value in found if abs(value) > 1e-12]
    resting = len(found) - len(turning)
    if len(turning) < 2:
        return Frequencies(found, None, (), resting=resting)
    width = width or 2 * len(found)
    for scaled in (_geometric, _by_parts):
        result = scaled(turning, width)
        if result is not None:
            theta, scaling, factor = result
            if resting and scaling == ("default",):
                scaling = ("proportional",)
            return Frequencies(found, theta, scaling, factor, resting)
    return Frequencies(found, None, (), resting=resting)


Explained = tuple[float, tuple[str, ...], float]


def _geometric(values: list[float], width: int) -> Explained | None:
    """``theta ** (-2 i / width) / factor``."""
    last = len(values) - 1
    theta = (values[0] / values[last]) ** (width / (2 * last))
    if theta <= 1.0 + CLOSE:
        return None
    factor = 1.0 / values[0]
    wanted = [theta ** (-2 * i / width) / factor for i in range(len(values))]
    if not _all_close(values, wanted):
        return None
    if abs(factor - 1) < CLOSE:
        return _round(theta), ("default",), 1.0
    return _round(theta), ("linear",), _round(factor)


def _by_parts(values: list[float], width: int) -> Explained | None:
    """Fast pairs as they are, slow ones divided, a ramp between: YaRN and Llama 3."""
    if abs(values[0] - 1) > CLOSE or len(values) < 6:
        return None
    last = len(values) - 1
    theta = (values[last - 1] / values[last]) ** (width / 2)  # the slow end, where all are divided
    factor = theta ** (-2 * last / width) / values[last]
    if factor <= 1 + 1e-3 or abs(theta ** (-2 * (last - 2) / width) / factor / values[last - 2] - 1) > 1e-3:
        return None
    theta, factor = _round(theta, 5), _round(factor, 5)
    plain = [theta ** (-2 * i / width) for i in range(len(values))]
    shares = [(v - p / factor) / (p - p / factor) for v, p in zip(values, plain, strict=True)]
    between = [i for i, share in enumerate(shares) if 1e-3 < share < 1 - 1e-3]
    if any(share < -1e-3 or share > 1 + 1e-3 for share in shares):
        return None
    if len(between) < 3:
        return theta, ("yarn", "llama3"), factor
    chosen = [shares[i] for i in between]
    fits = []
    if _is_line([float(i) for i in between], chosen):
        fits.append("yarn")
    if _is_line([plain[i] for i in between], chosen):
        fits.append("llama3")
    return (theta, tuple(fits), factor) if fits else None


def _is_line(x: list[float], y: list[float]) -> bool:
    slope = (y[-1] - y[0]) / (x[-1] - x[0])
    return all(abs(y[0] + slope * (a - x[0]) - b) < 2e-3 for a, b in zip(x, y, strict=True))


def _all_close(values: list[float], wanted: list[float]) -> bool:
    return all(abs(one / other - 1) < CLOSE * 5 for one, other in zip(values, wanted, strict=True))


def _round(value: float, digits: int = 6) -> float:
    """To the digits that were measured, so that 9999.98 reads 10000."""
    short = float(f"{value:.3g}")
    return short if abs(short / value - 1) < 1e-4 else float(f"{value:.{digits}g}")
