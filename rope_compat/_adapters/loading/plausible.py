"""Is it possible that a rotary buffer holds what its name says?"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

__all__ = ["fault", "is_rotary"]

_FREQUENCIES = re.compile(r"inv_freq")
_ANGLES = re.compile(r"(cos|sin)|freqs_(cis|cos|sin)|cos_sin")

#: Inverse frequencies are at most 1 for text; image models count in pixels (max_freq / 2 * pi, 16 for 10).
_HIGHEST_FREQUENCY = 1e4
#: A cosine times an attention factor; yarn's is 0.1 * ln(factor) + 1.
_LARGEST_COSINE = 1e2


def is_rotary(module: nn.Module, attribute: str) -> bool:
    """Whether a buffer is part of a rotary embedding, by its name or its module's."""
    if _FREQUENCIES.search(attribute) or attribute.startswith("freqs"):
        return True
    return bool(_ANGLES.match(attribute)) and "rotary" in type(module).__name__.lower()


def fault(attribute: str, value: Tensor) -> str:
    """What is impossible about a rotary buffer, in words; empty if nothing is."""
    if value.is_meta:
        return "it is on the meta device, without values"
    if not value.is_floating_point() and not value.is_complex():
        return ""
    sizes = value.detach().abs()
    sizes = sizes if sizes.dtype == torch.float64 else sizes.float()
    if not bool(sizes.isfinite().all()):
        return "it has values that are not finite"
    if value.numel() == 0:
        return ""
    if _FREQUENCIES.search(attribute) and not value.is_complex():
        return _fault_of_frequencies(value, float(sizes.max()))
    if _ANGLES.match(attribute) and float(sizes.max()) > _LARGEST_COSINE:
        return f"no cosine or sine is as large as {float(sizes.max()):.3g}"
    return ""


def _fault_of_frequencies(value: Tensor, largest: float) -> str:
    if largest > _HIGHEST_FREQUENCY:
        return f"no inverse frequency is as large as {largest:.3g}"
    if largest == 0:
        return "all of its inverse frequencies are zero"
    if float(value.min()) < 0:
        return f"no inverse frequency is negative, as {float(value.min()):.3g} is"
    return ""
