"""Rotary classes asked in half precision: cos and sin are those of float32, rounded once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..._adapters.classes.shape import native_of, parameters
from ..._outcome import Item
from ..model.embeddings import Unit
from ..tolerances import bound, unit

__all__ = ["half_precision"]

_POSITIONS = torch.tensor([0, 1, 2, 3, 17, 100, 511, 1000])


def half_precision(unit_: Unit) -> Iterator[Item]:
    """What is wrong with the cos and sin that a class gives in bfloat16 and float16; nothing if right.

    Computed in float32 and rounded at the end they are off by one unit roundoff. Angles that are computed in
    half precision are off by radians.
    """
    given = unit_.described
    if given is None:
        return
    positions = _POSITIONS[_POSITIONS.lt(given.length)]
    try:
        right = _asked(unit_, positions, torch.float32)
        for dtype in (torch.bfloat16, torch.float16):
            found = _asked(unit_, positions, dtype)
            for one, other in zip(found, right, strict=True):
                error = (one.double() - other.double()).abs()
                # One rounding to the dtype, or a multiplication by the attention factor in it.
                limit = bound(other.double().abs(), dtype, 2) + 2 * unit(torch.float32)
                if not bool((error <= limit).all()):
                    at = int((error / limit).argmax())
                    words = f"in {str(dtype).removeprefix('torch.')} the angles themselves are rounded"
                    place = int(positions[at // one.shape[-1] % len(positions)])
                    yield Item("", "class", "wrong", words, float(error.flatten()[at]),
                               float(limit.flatten()[at]), "half-precision", place)  # fmt: skip
                    return
    except Exception:
        return  # it has given float32 already; a form that cannot be asked here is no fault


def _asked(unit_: Unit, positions: Tensor, dtype: torch.dtype) -> list[Tensor]:
    module, described = copy.deepcopy(unit_.module), unit_.described
    assert described is not None
    x = torch.zeros(1, 1, len(positions), described.dim, dtype=dtype)
    names = parameters(native_of(type(module).forward))
    more: dict[str, Any] = {"layer_type": unit_.layer_type} if unit_.by_type else {}
    with torch.no_grad():
        if names[1:2] == ("seq_len",):
            found = module(x, seq_len=int(positions.max()) + 1)
            return [table.reshape(-1, table.shape[-1])[positions] for table in found]
        at = positions[None]
        if "mrope_section" in described.spec.parameters:
            at = at.expand(3, 1, -1)
        return [table.reshape(-1, table.shape[-1])[-len(positions) :] for table in module(x, at, **more)]
