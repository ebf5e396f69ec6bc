"""What is wrong with the cosines and sines that a rotary module gives."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .expected import EPS, Described, Expected
from .frequency_faults import Cause, name_cause
from .probe import Answer

__all__ = ["cause_of_answer"]


def _wrapped(angles: Tensor) -> Tensor:
    return torch.remainder(angles + math.pi, 2 * math.pi) - math.pi


def cause_of_answer(
    answer: Answer,
    positions: Tensor,
    given: Described,
    right: Expected,
    limit: Tensor,
    model_dtype: torch.dtype,
) -> Cause | None:
    """The mistake that the answer shows, None if it is right.

    Args:
        answer: phases and amplitudes for `positions`.
        positions: int64 ``[n]``.
        given: what the config says.
        right: what it means for a text of this length.
        limit: radians that a phase may be off, ``[n, pairs]``.
        model_dtype: of the model's parameters; half-precision tables are right for half-precision models.
    """
    is_half = answer.dtype in (torch.bfloat16, torch.float16)
    rounding = torch.finfo(answer.dtype).eps / 2 if is_half else 8 * EPS
    if not bool(answer.phases.isfinite().all() and answer.amplitudes.isfinite().all()):
        return Cause("non-finite", "cos or sin is not finite")

    def fits(phases: Tensor) -> bool:
        return bool((_wrapped(answer.phases - phases).abs() <= limit + rounding).all())

    turning = positions[:, None] * right.inv_freq
    if fits(turning):
        if is_half and model_dtype not in (torch.bfloat16, torch.float16):
            name = str(answer.dtype).removeprefix("torch.")
            return Cause("half-precision", f"cos and sin are {name}, and the model {model_dtype}")
        return _amplitude(answer, right, rounding) or _layout(answer)
    # A mistake about positions has the rounding of the position that it takes, which may be any.
    limit = limit.amax(dim=0, keepdim=True)
    for cause, phases in _mistakes(positions, right):
        if fits(phases):
            return cause
    if len({tuple(row) for row in answer.phases.tolist()}) == 1 < len(positions):
        return Cause("positions-ignored", "every position has the same cos and sin")
    if is_half or _like_half_precision(answer, positions, right):
        return Cause(
            "half-precision", "angles are computed in half precision: positions themselves are rounded"
        )
    small = positions == 1
    measured = answer.phases[small][0].abs() if bool(small.any()) else None
    return name_cause(given, measured, lambda inv_freq: fits_frequencies(inv_freq, positions, fits, right))


def fits_frequencies(inv_freq: Tensor, positions: Tensor, fits: object, right: Expected) -> bool:
    """Whether phases are those of `inv_freq` throughout."""
    if inv_freq.shape != right.inv_freq.shape:
        return False
    return bool(fits(positions[:, None] * inv_freq))  # type: ignore[operator]


def _mistakes(positions: Tensor, right: Expected) -> Iterator[tuple[Cause, Tensor]]:
    turning = positions[:, None] * right.inv_freq
    for step, words in ((1, "one ahead"), (-1, "one behind")):
        yield Cause("off-by-one", f"every position is {words}"), turning + step * right.inv_freq
    yield Cause("sign", "sin has the wrong sign"), -turning
    yield Cause("swapped", "cos and sin are interchanged"), math.pi / 2 - turning
    order = torch.arange(len(positions), dtype=torch.float64)[:, None] * right.inv_freq
    yield Cause("positions-ignored", "rows are counted, position_ids are not looked at"), order


def _like_half_precision(answer: Answer, positions: Tensor, right: Expected) -> bool:
    """Whether angles computed in bfloat16 or float16 come close to what was given."""
    turning = positions[:, None] * right.inv_freq
    for dtype in (torch.bfloat16, torch.float16):
        coarse = (positions.to(dtype)[:, None] * right.inv_freq.to(dtype)).double()
        rounded = turning.to(dtype).double()
        unit = torch.finfo(dtype).eps
        for phases in (coarse, rounded):
            near = _wrapped(answer.phases - phases).abs() <= 2 * unit
            if bool(near.all()):
                return True
        # Right for small angles to the dtype's own precision, and increasingly wrong after.
        allowed = turning * 4 * unit + 2 * unit
        off = _wrapped(answer.phases - turning).abs()
        exact = off <= turning * 64 * EPS + 64 * EPS
        if bool((off <= allowed).all()) and not bool(exact.all()) and _is_rounded(answer, dtype):
            return True
    return False


def _is_rounded(answer: Answer, dtype: torch.dtype) -> bool:
    cos = answer.phases.cos() * answer.amplitudes
    return bool(((cos - cos.to(dtype).double()).abs() <= 4 * EPS).all())


def _amplitude(answer: Answer, right: Expected, rounding: float) -> Cause | None:
    if answer.layout == "angles":
        return None
    off = (answer.amplitudes - right.factor).abs().max()
    if float(off) <= (8 * EPS + 2 * rounding) * max(right.factor, 1.0):
        return None
    found = float(answer.amplitudes.mean())
    if abs(found - right.factor**2) <= 1e-6 and right.factor != 1.0:
        return Cause("attention-factor", f"the attention factor {right.factor:g} is applied twice")
    return Cause(
        "attention-factor", f"cos and sin are multiplied by {found:.6g} instead of {right.factor:.6g}"
    )


def _layout(answer: Answer) -> Cause | None:
    if answer.layout == "neither":
        return Cause("tables", "cos and sin hold every angle twice, but neither as halves nor side by side")
    return None
